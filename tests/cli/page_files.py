"""The files that the documentation's commands name and that it does not show, made from one phantom."""

from __future__ import annotations

import json
import plistlib
import shutil
from pathlib import Path

import nibabel as nib
import numpy as np
import pydicom
import torch
from numpy.typing import NDArray
from pydicom.dataset import Dataset, FileMetaDataset
from pydicom.uid import CTImageStorage, ExplicitVRLittleEndian, generate_uid
from skimage.io import imsave
from torch import Tensor

from isoclinic import Camera, Volume
from isoclinic.geometry import gantry_view, se3
from isoclinic.simulation import SimulationConfig, simulate_xray
from phantoms import phantom
from spine import spine, write_original

from ..datasets.files import landmarks, scene, write_deepfluoro

# The pages show landmarks, sidecars and view matrices that fit this geometry.
CAMERA = Camera.from_pixel_spacing(width=256, height=256, pixel_spacing_mm=(0.75, 0.75), sdd_mm=1000.0)
SOURCE_ISOCENTRE_MM = 650.0
ANGLES_DEG = {"ap.dcm": (180.0, 0.0), "lateral.dcm": (90.0, 0.0)}
# About the origin of the phantom's CT: how the patient lies differently on the table.
PATIENT_MOTION = (0.05, -0.08, 0.04, 4.0, -3.0, 5.0)
LANDMARKS_WORLD = {
    "left ASIS": (-42.0, 30.0, 48.0),
    "right ASIS": (42.0, 30.0, 48.0),
    "sacral promontory": (0.0, -30.0, 30.0),
    "pubic symphysis": (0.0, 36.0, -48.0),
    "left ischial spine": (-30.0, -24.0, -36.0),
    "right ischial spine": (30.0, -24.0, -36.0),
}
STRUCTURES = {1: "hip_left", 2: "hip_right", 3: "sacrum", 4: "vertebrae_T11"}


def camera_from_world(name: str) -> Tensor:
    """True pose of an X-ray: the patient is where the AP view shows a motion by `PATIENT_MOTION`."""
    ap = gantry_view(*ANGLES_DEG["ap.dcm"], SOURCE_ISOCENTRE_MM)
    moved = se3.perturb(ap, torch.tensor(PATIENT_MOTION, dtype=torch.float64), torch.zeros(3).double())
    return gantry_view(*ANGLES_DEG[name], SOURCE_ISOCENTRE_MM) @ se3.inverse(ap) @ moved


def write_page_files(folder: Path, ct: Path, xray: Path, cases: Path) -> None:
    """Fill a folder.

    Args:
        folder: to fill.
        ct: the phantom as NIfTI.
        xray: some X-ray as DICOM, whose header is taken over.
        cases: for `isoclinic evaluate`.
    """
    volume = Volume.read(ct)
    shutil.copy(ct, folder / "ct.nii.gz")
    shutil.copytree(cases, folder / "cases")
    (folder / "cts").mkdir()
    shutil.copy(ct, folder / "cts" / "one.nii.gz")
    _write_head(folder / "head" / "project", volume)
    shutil.copy(ct, folder / "ulna.nii.gz")
    _write_series(folder / "ct", volume)
    _write_labels(folder / "labels.nii.gz", volume)
    for name in ANGLES_DEG:
        pixels = _pixels(volume, camera_from_world(name))
        _write_xray(folder / name, xray, pixels, ANGLES_DEG[name])
        pose = gantry_view(*ANGLES_DEG[name], SOURCE_ISOCENTRE_MM)
        (folder / f"{Path(name).stem}-phantom.json").write_text(json.dumps(pose.tolist()))
    pixels = _pixels(volume, camera_from_world("ap.dcm"))
    _write_xray(folder / "xray.dcm", xray, pixels, None)
    (folder / "xrays").mkdir()
    for name in ANGLES_DEG:
        shutil.copy(folder / name, folder / "xrays" / name)
    for name, still in (("cine.dcm", "ap.dcm"), ("cine-side.dcm", "lateral.dcm")):
        _write_cine(folder / name, xray, volume, still)
    _write_screenshot(folder / "xray.png", pixels)
    _write_mask(folder / "tool-mask.png")
    (folder / "ct.mrk.json").write_text(json.dumps(_markups()))
    pelvis = phantom(3, (40, 36, 44))
    view = scene(pelvis, 1, size=(200, 220), spacing_mm=(1.5, 1.5), principal_px=(109.5, 99.5))
    write_deepfluoro(folder / "ipcai_2020_full_res_data.h5", pelvis, [view], landmarks(pelvis, 14, seed=1))
    write_original(folder / "CTSpine1K", "liver_106", spine((3.0, 3.0, 3.0)))


def _write_head(folder: Path, volume: Volume) -> None:
    """A CT in the files of InVesalius: whole numbers, slice by slice, and their shape."""
    folder.mkdir(parents=True)
    hu = np.rint(volume.hu).astype(np.int16).transpose(2, 1, 0)
    hu.tofile(folder / "matrix.dat")
    spacing_mm = np.linalg.norm(volume.world_from_voxel[:3, :3], axis=0).tolist()
    description = {"matrix": {"shape": list(hu.shape)}, "spacing": spacing_mm}
    (folder / "main.plist").write_bytes(plistlib.dumps(description))


def _pixels(volume: Volume, pose: Tensor) -> NDArray[np.uint16]:
    config = SimulationConfig(full_scale=60000.0)
    image = simulate_xray(volume, CAMERA, pose, config, generator=np.random.default_rng(0))
    return np.clip(np.rint(image.pixels), 0, 65535).astype(np.uint16)


def _write_xray(
    path: Path, template: Path, pixels: NDArray[np.uint16], angles_deg: tuple[float, float] | None
) -> None:
    dataset = pydicom.dcmread(template)
    dataset.Rows, dataset.Columns = pixels.shape
    dataset.PixelData = pixels.tobytes()
    dataset.ImagerPixelSpacing = list(CAMERA.pixel_spacing_mm)
    if angles_deg is not None:
        dataset.PositionerPrimaryAngle, dataset.PositionerSecondaryAngle = angles_deg
    dataset.save_as(path)


def _write_cine(path: Path, template: Path, volume: Volume, still: str) -> None:
    """A few frames of a patient who moves by a millimetre from frame to frame."""
    frames = []
    for index in range(4):
        motion = torch.eye(4, dtype=torch.float64)
        motion[:3, 3] = torch.tensor([0.5, 0.3, 1.0]) * index
        frames.append(_pixels(volume, camera_from_world(still) @ motion))
    _write_xray(path, template, frames[0], ANGLES_DEG[still])
    dataset = pydicom.dcmread(path)
    dataset.NumberOfFrames, dataset.FrameTime = len(frames), "66.7"
    dataset.PixelData = np.stack(frames).tobytes()
    dataset.save_as(path)


def _write_screenshot(path: Path, pixels: NDArray[np.uint16]) -> None:
    """As a monitor shows it: bone white, eight bits, and burned-in text in a bar below."""
    shown = 255 - 255 * np.log(pixels + 1.0) / np.log(65536)
    bar = np.zeros((24, pixels.shape[1]))
    bar[8:16, 10:90:3] = 255
    imsave(path, np.vstack([shown, bar]).astype(np.uint8), check_contrast=False)


def _write_mask(path: Path) -> None:
    mask = np.zeros((CAMERA.height, CAMERA.width), dtype=np.uint8)
    mask[:, 40:52] = 255
    imsave(path, mask, check_contrast=False)


def _write_labels(path: Path, volume: Volume) -> None:
    """The phantom's bones by side, +x being right, and a piece of it above what the X-rays show."""
    voxels = np.moveaxis(np.indices(volume.shape), 0, -1)
    x_mm, _, z_mm = np.moveaxis(
        voxels @ volume.world_from_voxel[:3, :3].T + volume.world_from_voxel[:3, 3], -1, 0
    )
    labels = np.select([x_mm < -15, x_mm > 15], [1, 2], 3) * (volume.hu > 300)
    labels[(z_mm > 80) & (volume.hu > -200)] = 4
    nib.save(nib.Nifti1Image(labels.astype(np.uint8), volume.world_from_voxel), path)
    path.with_name("labels.json").write_text(json.dumps(STRUCTURES))


def _write_series(folder: Path, volume: Volume) -> None:
    """The CT slice by slice, in DICOM's LPS."""
    folder.mkdir()
    series = generate_uid()
    lps_from_voxel = np.diag([-1.0, -1.0, 1.0, 1.0]) @ volume.world_from_voxel
    directions = lps_from_voxel[:3, :2] / volume.spacing_mm[:2]
    for index in range(volume.shape[2]):
        dataset = Dataset()
        dataset.file_meta = FileMetaDataset()
        dataset.file_meta.TransferSyntaxUID = ExplicitVRLittleEndian
        dataset.SOPClassUID = dataset.file_meta.MediaStorageSOPClassUID = CTImageStorage
        dataset.SOPInstanceUID = dataset.file_meta.MediaStorageSOPInstanceUID = generate_uid()
        dataset.Modality, dataset.SeriesInstanceUID = "CT", series
        dataset.PhotometricInterpretation, dataset.SamplesPerPixel = "MONOCHROME2", 1
        dataset.Columns, dataset.Rows = volume.shape[:2]
        dataset.BitsAllocated, dataset.BitsStored, dataset.HighBit = 16, 16, 15
        dataset.PixelRepresentation = 1
        dataset.RescaleSlope, dataset.RescaleIntercept = 1, 0
        dataset.PixelSpacing = [volume.spacing_mm[1], volume.spacing_mm[0]]
        dataset.ImageOrientationPatient = directions.T.ravel().tolist()
        dataset.ImagePositionPatient = (lps_from_voxel @ [0, 0, index, 1])[:3].tolist()
        dataset.PixelData = volume.hu[:, :, index].T.astype(np.int16).tobytes()
        dataset.save_as(folder / f"{index:03}.dcm", enforce_file_format=True)


def _markups() -> dict[str, object]:
    """Landmarks as 3D Slicer saves them, in LPS."""
    points = [
        {"label": name, "position": [-x, -y, z], "positionStatus": "defined"}
        for name, (x, y, z) in LANDMARKS_WORLD.items()
    ]
    schema = (
        "https://raw.githubusercontent.com/slicer/slicer/master/Modules/Loadable/Markups/Resources/Schema/"
    )
    return {
        "@schema": f"{schema}markups-schema-v1.0.3.json#",
        "markups": [{"type": "Fiducial", "coordinateSystem": "LPS", "controlPoints": points}],
    }
