"""Small valid files of every kind that isoclinic reads, and what reads them."""

from __future__ import annotations

import importlib.util
import json
import sys
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import nibabel as nib
import numpy as np
import SimpleITK as sitk
import skimage.io
from pydicom.dataset import Dataset, FileMetaDataset
from pydicom.uid import (
    CTImageStorage,
    EnhancedCTImageStorage,
    ExplicitVRLittleEndian,
    JPEG2000Lossless,
    RLELossless,
    SegmentationStorage,
    XRayAngiographicImageStorage,
    generate_uid,
)

from isoclinic.cli._options import _read_toml
from isoclinic.datasets import CaseFolder, DeepFluoro, Ljubljana
from isoclinic.datasets._documents import read_document
from isoclinic.evaluation import read_evaluation
from isoclinic.exchange import PosedCamera, read_pose, write_pose
from isoclinic.geometry import Camera, gantry_view
from isoclinic.networks import Checkpoint
from isoclinic.registration import PoseFile, views_from_file
from isoclinic.registration.landmarks import read_pixel_points, read_world_points
from isoclinic.registration.pose_file import read_initial_pose
from isoclinic.volumes import Volume, XRay, XRayOptions, line_integrals

Make = Callable[[Path], None]
_RNG = np.random.default_rng(0)
HU = _RNG.integers(-1000, 1500, (7, 6, 5)).astype(np.int16)
LABELS = (_RNG.integers(0, 3, HU.shape)).astype(np.uint8)
PIXELS = _RNG.integers(100, 4000, (20, 30)).astype(np.uint16)
AFFINE = np.diag([0.7, 0.9, 2.5, 1.0])
GEOMETRY = XRayOptions(sdd_mm=1000, pixel_spacing_mm=(0.4, 0.4), polarity="bright_air")
CAMERA = Camera.from_pixel_spacing(width=30, height=20, pixel_spacing_mm=(4, 4), sdd_mm=1000)
POSE = gantry_view(10.0, 20.0, 700.0)


@dataclass(frozen=True, kw_only=True)
class Seed:
    """A valid input.

    Attributes:
        name: of its kind.
        make: writes its files into a folder.
        read: reads it from there.
        certain: whether this version reads it; otherwise it may refuse it.
    """

    name: str
    make: Make
    read: Callable[[Path], object]
    certain: bool = True


# CTs and label maps -------------------------------------------------------------------------------------


def nifti(name: str, values: np.ndarray = HU) -> Make:
    return lambda folder: nib.save(nib.Nifti1Image(values, AFFINE), folder / name)


def itk(name: str, values: np.ndarray = HU, **metadata: str) -> Make:
    def make(folder: Path) -> None:
        order = (2, 1, 0, 3)[: values.ndim] if values.ndim != 2 else (1, 0)
        image = sitk.GetImageFromArray(values.transpose(order), isVector=values.ndim == 4)
        image.SetSpacing([0.7, 0.9, 2.5][: image.GetDimension()])
        for key, value in metadata.items():
            image.SetMetaData(key, value)
        sitk.WriteImage(image, str(folder / name), useCompression=name.endswith(".seg.nrrd"))

    return make


def item(**attributes: Any) -> Dataset:
    dataset = Dataset()
    for keyword, value in attributes.items():
        setattr(dataset, keyword, value)
    return dataset


def dicom(
    path: Path, pixels: np.ndarray, storage: str, syntax: str = ExplicitVRLittleEndian, **more: Any
) -> None:
    dataset = item(SOPClassUID=storage, SOPInstanceUID=generate_uid(), Modality="XA")
    dataset.file_meta = FileMetaDataset()
    dataset.file_meta.TransferSyntaxUID = ExplicitVRLittleEndian
    dataset.file_meta.MediaStorageSOPClassUID = storage
    dataset.file_meta.MediaStorageSOPInstanceUID = dataset.SOPInstanceUID
    dataset.SamplesPerPixel, dataset.PhotometricInterpretation = 1, "MONOCHROME2"
    dataset.PixelRepresentation = int(pixels.dtype.kind == "i")
    dataset.Rows, dataset.Columns = pixels.shape[-2:]
    if pixels.ndim == 3:
        dataset.NumberOfFrames = len(pixels)
    dataset.BitsAllocated = dataset.BitsStored = 8 * pixels.itemsize
    dataset.HighBit = dataset.BitsStored - 1
    dataset.PixelData = pixels.tobytes()
    for keyword, value in more.items():
        setattr(dataset, keyword, value)
    if syntax != ExplicitVRLittleEndian:
        dataset.compress(syntax)
    dataset.save_as(path, enforce_file_format=True)


RESCALE = {"RescaleSlope": "1", "RescaleIntercept": "-1024", "RescaleType": "HU"}
SPACING_AT_DETECTOR = {"DistanceSourceToDetector": "1000", "ImagerPixelSpacing": ["0.4", "0.5"]}


def series(folder: Path) -> None:
    (folder / "ct").mkdir()
    for k in range(4):
        dicom(
            folder / "ct" / f"{k}.dcm",
            (HU[:, :, k].T + 1024).astype(np.uint16),
            CTImageStorage,
            **{
                "Modality": "CT",
                "SeriesInstanceUID": "1.2.3",
                "ImagePositionPatient": [0, 0, 2.5 * k],
                **RESCALE,
            },
            **{
                "ImageOrientationPatient": [1, 0, 0, 0, 1, 0],
                "PixelSpacing": [0.9, 0.7],
                "InstanceNumber": k,
            },
        )


def places(**more: Any) -> list[Dataset]:
    return [
        item(
            PlaneOrientationSequence=[item(ImageOrientationPatient=[-1, 0, 0, 0, -1, 0])],
            PixelMeasuresSequence=[item(PixelSpacing=[0.9, 0.7], SliceThickness=2.5)],
            **more,
        )
    ]


def enhanced(folder: Path) -> None:
    dicom(
        folder / "ct.dcm",
        (HU.T + 1024).astype(np.uint16),
        EnhancedCTImageStorage,
        Modality="CT",
        SeriesInstanceUID="1.2.4",
        SharedFunctionalGroupsSequence=places(PixelValueTransformationSequence=[item(**RESCALE)]),
        PerFrameFunctionalGroupsSequence=[
            item(PlanePositionSequence=[item(ImagePositionPatient=[0, 0, 2.5 * k])])
            for k in range(HU.shape[2])
        ],
    )


def segmentation(kind: str) -> Make:
    def make(folder: Path) -> None:
        nifti("ct.nii")(folder)
        frames = [(label, k) for label in (1, 2) for k in range(HU.shape[2])]
        images = np.array([label == LABELS[:, :, k].T for label, k in frames])
        bits = {"BitsAllocated": 1, "BitsStored": 1, "HighBit": 0} if kind == "BINARY" else {}
        packed = np.packbits(images.ravel(), bitorder="little").tobytes()
        dicom(
            folder / "seg.dcm",
            images.astype(np.uint8) * (1 if kind == "BINARY" else 255),
            SegmentationStorage,
            **{"Modality": "SEG", "SegmentationType": kind, "MaximumFractionalValue": 255, **bits},
            **({"PixelData": packed + b"\0" * (len(packed) % 2)} if bits else {}),
            SegmentSequence=[item(SegmentNumber=label, SegmentLabel=f"bone {label}") for label in (1, 2)],
            SharedFunctionalGroupsSequence=places(),
            PerFrameFunctionalGroupsSequence=[
                item(
                    PlanePositionSequence=[item(ImagePositionPatient=[0, 0, 2.5 * k])],
                    SegmentIdentificationSequence=[item(ReferencedSegmentNumber=label)],
                )
                for label, k in frames
            ],
        )

    return make


def labels_with(*others: Make) -> Make:
    def make(folder: Path) -> None:
        nifti("ct.nii")(folder)
        for other in others:
            other(folder)

    return make


def masks(folder: Path) -> None:
    (folder / "masks").mkdir()
    for label in (1, 2):
        nifti(f"masks/bone_{label}.nii.gz", (label == LABELS).astype(np.uint8))(folder)


def total_segmentator(folder: Path) -> None:
    image = nib.Nifti1Image(LABELS, AFFINE)
    table = "".join(f'<Label Key="{k}" Red="1"><![CDATA[bone {k}]]></Label>' for k in (1, 2))
    content = f"<CaretExtension><LabelTable>{table}</LabelTable></CaretExtension>".encode()
    image.header.extensions.append(nib.nifti1.Nifti1Extension(0, content))
    nib.save(image, folder / "labels.nii")


def labelled(name: str) -> Callable[[Path], object]:
    return lambda folder: Volume.read(folder / "ct.nii", labels=folder / name)


def written(name: str, text: str) -> Make:
    return lambda folder: (folder / name).write_text(text, encoding="utf-8") and None


SEGMENTS = {
    **{"Segment0_Name": "a", "Segment0_Layer": "0", "Segment0_LabelValue": "1"},
    **{"Segment1_Name": "b", "Segment1_Layer": "1", "Segment1_LabelValue": "1"},
}
LAYERS = np.stack([LABELS == 1, LABELS == 2], axis=-1).astype(np.uint8)


# X-rays -------------------------------------------------------------------------------------------------


def xray(name: str, options: XRayOptions | None = None) -> Callable[[Path], object]:
    def read(folder: Path) -> object:
        image = XRay.read(folder / name, options or XRayOptions())
        return image, line_integrals(image)

    return read


def angiogram(folder: Path) -> None:
    more: dict[str, Any] = {
        "PixelIntensityRelationship": "LIN",
        "PositionerPrimaryAngle": "10",
        "BodyPartExamined": "HIP",
    }
    more |= {"FieldOfViewOrigin": [0.0, 0.0], "FieldOfViewRotation": 0.0, "FieldOfViewHorizontalFlip": "NO"}
    more |= {"ShutterShape": "RECTANGULAR", "ShutterLeftVerticalEdge": 2, "ShutterRightVerticalEdge": 28}
    more |= {"ShutterUpperHorizontalEdge": 2, "ShutterLowerHorizontalEdge": 18, "PatientID": "1"}
    dicom(
        folder / "xray.dcm",
        np.stack([PIXELS] * 3),
        XRayAngiographicImageStorage,
        **SPACING_AT_DETECTOR,
        **more,
    )


def radiograph(syntax: str) -> Make:
    more = {"Modality": "DX", "RescaleSlope": "1", "RescaleIntercept": "0", "PixelPaddingValue": 0}
    more |= {"EstimatedRadiographicMagnificationFactor": "1.3", "WindowCenter": "2000", "WindowWidth": "4000"}
    pixels = np.tile(PIXELS, (2, 2))  # JPEG 2000 needs some
    return lambda folder: dicom(
        folder / "xray.dcm", pixels, XRayAngiographicImageStorage, syntax, **SPACING_AT_DETECTOR, **more
    )


SIDECAR = json.dumps({"sdd_mm": 1000, "pixel_spacing_mm": [0.4, 0.4], "polarity": "bright_air"})


def picture(name: str) -> Make:
    def make(folder: Path) -> None:
        skimage.io.imsave(folder / name, PIXELS, check_contrast=False)
        (folder / "xray.json").write_text(SIDECAR)

    return make


# Poses and what goes with them --------------------------------------------------------------------------

POSED = PosedCamera(camera_from_world=POSE, camera=CAMERA)
LANDMARKS = {
    **{"format": "isoclinic.landmarks", "version": 1, "world": "LPS", "units": "mm"},
    **{"world_points": {"a": [1, 2, 3], "b": [4, 5, 6]}, "pixel_points": {"a": [1, 2], "b": [3.5, 4]}},
}
MARKUPS = {
    "@schema": "https://raw.githubusercontent.com/slicer/slicer/master/markups-schema-v1.0.3.json#",
    "markups": [
        {
            **{"type": "Fiducial", "coordinateSystem": "LPS", "coordinateUnits": "mm"},
            "controlPoints": [{"label": "a", "position": [1, 2, 3], "positionStatus": "defined"}],
        }
    ],
}
FCSV = "# CoordinateSystem = LPS\n# columns = id,x,y,z,label\n1,-1,-2,3,a\n2,4,5,6,b\n"
YAML = """%YAML:1.0
---
image_width: 256
image_height: 256
camera_matrix: !!opencv-matrix
   rows: 3
   cols: 3
   dt: d
   data: [ 850., 0., 127.5, 0., 850., 127.5, 0., 0., 1. ]
rvec: !!opencv-matrix
   rows: 3
   cols: 1
   data: [ 0., 2.2, 2.2 ]
tvec: !!opencv-matrix
   rows: 3
   cols: 1
   data: [ 0., 0., 700. ]
"""


def pose_file(folder: Path) -> None:
    PoseFile(camera_from_world=POSE, camera=CAMERA, similarity=0.9, doubts=("a",)).write(folder / "pose.json")


def exchanged(name: str, program: str) -> Seed:
    return Seed(
        name=f"pose, {program}, {name}",
        make=lambda folder: write_pose(folder / name, POSED, program),
        read=lambda folder: read_pose(folder / name, program, CAMERA),
    )


def transform(name: str, kind: Callable[[], sitk.Transform]) -> Seed:
    return Seed(
        name=f"transform, {name}",
        make=lambda folder: sitk.WriteTransform(kind(), str(folder / name)),
        read=lambda folder: read_pose(folder / name, "itk", CAMERA),
    )


def composite() -> sitk.Transform:
    euler = sitk.Euler3DTransform((10.0, 20.0, -30.0), 0.3, -0.2, 2.9, (5.0, -6.0, 700.0))
    return sitk.CompositeTransform([euler, sitk.TranslationTransform(3, (1.0, 2.0, 3.0))])


# Networks and data sets ---------------------------------------------------------------------------------


def checkpoint(folder: Path) -> None:
    from isoclinic.networks import PoseRegressor, PoseRegressorConfig, TrainingRecord
    from tiny_networks import space

    record = TrainingRecord(
        volume_sha256="0" * 64,
        camera=CAMERA,
        space=space(),
        rotation_deg=(30.0, 45.0, 15.0),
        translation_mm=(60.0, 60.0, 150.0),
        curves={"pose_regressor": {"images": (0.0, 1000.0), "loss": (1.5, 0.25)}},
    )
    networks = {"pose_regressor": PoseRegressor(PoseRegressorConfig(width=8))}
    Checkpoint(networks=networks, record=record).save(folder / "model.safetensors")


def data_set(folder: Path, kind: str) -> None:
    files = _beside("datasets/files.py")
    # DeepFluoro's readers cut 50 pixels off at every side.
    detector = {"size": (130, 140), "spacing_mm": (3.0, 3.0), "principal_px": (70.0, 64.0)}
    volume = Volume(hu=HU.astype(np.float32), world_from_voxel=np.diag([-8.0, 8.0, 8.0, 1.0]))
    views = [files.scene(volume, seed, **detector) for seed in (2, 4)]
    points = files.landmarks(volume, 2, 0)
    if kind == "deepfluoro":
        files.write_deepfluoro(folder / "data.h5", volume, views, points)
    else:
        files.write_ljubljana(folder / "data.h5", volume, {"ap": views[0], "lat": views[1]}, points)


def _beside(name: str) -> Any:
    """A module of the tests by its file: its package's name, `datasets`, is that of others, too."""
    spec = importlib.util.spec_from_file_location("fuzz_files", Path(__file__).resolve().parents[1] / name)
    assert spec is not None and spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    sys.modules[spec.name] = module
    spec.loader.exec_module(module)
    return module


def samples(dataset: Any) -> object:
    return [dataset[name] for name in dataset.names]


def case_folder(folder: Path) -> None:
    (folder / "cases" / "00").mkdir(parents=True)
    radiograph(ExplicitVRLittleEndian)(folder / "cases" / "00")
    truth = {"extrinsic": POSE.tolist(), "landmarks": [[1, 2, 3]], "inits": {"5": POSE.tolist()}}
    (folder / "cases" / "00" / "truth.json").write_text(json.dumps(truth))


SUMMARY = {"format": "isoclinic.evaluation", "version": 1, "metrics": {}}

SEEDS: tuple[Seed, ...] = (
    *(
        Seed(name=f"CT, {name}", make=itk(name), read=lambda f, n=name: Volume.read(f / n))
        for name in ("ct.nrrd", "ct.nhdr", "ct.mha", "ct.mhd")
    ),
    *(
        Seed(name=f"CT, {name}", make=nifti(name), read=lambda f, n=name: Volume.read(f / n))
        for name in ("ct.nii", "ct.nii.gz")
    ),
    Seed(name="CT, DICOM series", make=series, read=lambda f: Volume.read(f / "ct")),
    Seed(name="CT, enhanced DICOM", make=enhanced, read=lambda f: Volume.read(f / "ct.dcm"), certain=False),
    Seed(
        name="labels with JSON",
        make=labels_with(nifti("labels.nii", LABELS), written("labels.json", '{"1": "a", "2": "b"}')),
        read=labelled("labels.nii"),
    ),
    Seed(
        name="labels with a colour table",
        make=labels_with(
            nifti("labels.nii.gz", LABELS), written("labels.ctbl", "1 a 1 2 3 255\n2 b 1 2 3 255\n")
        ),
        read=labelled("labels.nii.gz"),
    ),
    Seed(name="labels with names in NIfTI", make=labels_with(total_segmentator), read=labelled("labels.nii")),
    Seed(name="labels one-hot", make=labels_with(nifti("l.nii.gz", LAYERS)), read=labelled("l.nii.gz")),
    Seed(
        name="labels in layers",
        make=labels_with(itk("l.seg.nrrd", LAYERS, **SEGMENTS)),
        read=labelled("l.seg.nrrd"),
    ),
    Seed(name="masks", make=labels_with(masks), read=labelled("masks")),
    Seed(name="DICOM SEG, binary", make=segmentation("BINARY"), read=labelled("seg.dcm")),
    Seed(name="DICOM SEG, fractional", make=segmentation("FRACTIONAL"), read=labelled("seg.dcm")),
    Seed(name="X-ray, XA run", make=angiogram, read=xray("xray.dcm")),
    Seed(name="X-ray, DX", make=radiograph(ExplicitVRLittleEndian), read=xray("xray.dcm")),
    Seed(name="X-ray, RLE", make=radiograph(RLELossless), read=xray("xray.dcm")),
    Seed(name="X-ray, JPEG 2000", make=radiograph(JPEG2000Lossless), read=xray("xray.dcm")),
    Seed(name="X-ray, PNG", make=picture("xray.png"), read=xray("xray.png")),
    Seed(name="X-ray, TIFF", make=picture("xray.tif"), read=xray("xray.tif")),
    Seed(name="X-ray, NIfTI", make=nifti("xray.nii.gz", PIXELS), read=xray("xray.nii.gz", GEOMETRY)),
    Seed(name="X-ray, MHA", make=itk("xray.mha", PIXELS), read=xray("xray.mha", GEOMETRY), certain=False),
    Seed(name="pose file", make=pose_file, read=lambda f: PoseFile.read(f / "pose.json")),
    Seed(
        name="matrix",
        make=written("start.json", json.dumps(np.round(POSE.numpy(), 3).tolist())),
        read=lambda f: read_initial_pose(f / "start.json"),
    ),
    Seed(
        name="views",
        make=written("views.json", json.dumps([POSE.tolist()])),
        read=lambda f: views_from_file([SimpleNamespace(path=None)] * 2, f / "views.json"),
    ),
    Seed(
        name="landmarks",
        make=written("l.json", json.dumps(LANDMARKS)),
        read=lambda f: read_world_points(f / "l.json"),
    ),
    Seed(
        name="pixels",
        make=written("l.json", json.dumps(LANDMARKS)),
        read=lambda f: read_pixel_points(f / "l.json"),
    ),
    Seed(
        name="markups",
        make=written("l.json", json.dumps(MARKUPS)),
        read=lambda f: read_world_points(f / "l.json"),
    ),
    Seed(name="fiducials", make=written("l.fcsv", FCSV), read=lambda f: read_world_points(f / "l.fcsv")),
    exchanged("pose.json", "opencv"),
    exchanged("pose.json", "diffdrr"),
    exchanged("pose.json", "nanodrr"),
    exchanged("pose.xml", "rtk"),
    exchanged("pose.tfm", "slicer"),
    exchanged("pose.h5", "xreg"),
    transform("transform.tfm", composite),
    transform("transform.h5", composite),
    transform("transform.mat", lambda: sitk.AffineTransform(3)),
    Seed(
        name="pose, OpenCV YAML",
        make=written("p.yml", YAML),
        read=lambda f: read_pose(f / "p.yml", "opencv", CAMERA),
    ),
    Seed(
        name="options",
        make=written("o.toml", 'output = "a"\n[config]\nbin = 2\n'),
        read=lambda f: _read_toml("--config", str(f / "o.toml")),
    ),
    Seed(
        name="document",
        make=written("d.json", '{"key": "a", "cases": {}}'),
        read=lambda f: read_document(f / "d.json", "key"),
    ),
    Seed(
        name="evaluation",
        make=written("summary.json", json.dumps(SUMMARY)),
        read=read_evaluation,
        certain=False,
    ),
    Seed(name="checkpoint", make=checkpoint, read=lambda f: Checkpoint.load(f / "model.safetensors")),
    Seed(
        name="DeepFluoro",
        make=lambda f: data_set(f, "deepfluoro"),
        read=lambda f: samples(DeepFluoro(f / "data.h5")),
    ),
    Seed(
        name="Ljubljana",
        make=lambda f: data_set(f, "ljubljana"),
        read=lambda f: samples(Ljubljana(f / "data.h5")),
    ),
    Seed(name="cases", make=case_folder, read=lambda f: CaseFolder(f / "cases", {}).names, certain=True),
)
