"""CTs as DICOM files: of random values, and of a phantom that is a function of places in the world."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pydicom
from pydicom.dataset import Dataset, FileDataset, FileMetaDataset
from pydicom.uid import CTImageStorage, EnhancedCTImageStorage, ExplicitVRLittleEndian, generate_uid
from scipy.spatial.transform import Rotation

from isoclinic.volumes import Volume

TURN = Rotation.from_euler("xyz", [5, -10, 20], degrees=True).as_matrix()
SPACING = (0.8, 0.6, 2.5)  # along columns' index, rows' index, slices
ORIGIN_LPS = np.array([-12.0, -34.0, 56.0])


def hounsfield(shape: tuple[int, int, int] = (7, 6, 5)) -> np.ndarray:
    return np.random.default_rng(0).integers(-1000, 1500, shape).astype(np.int16)


def world_from_voxel(turn: np.ndarray = TURN) -> np.ndarray:
    """RAS, from the definition of the tags; nothing but signs between it and LPS."""
    affine = np.eye(4)
    affine[:3, :3] = turn * np.array(SPACING)
    affine[:3, 3] = ORIGIN_LPS
    return np.diag([-1, -1, 1, 1]) @ affine


def write_series(folder: Path, hu: np.ndarray, turn: np.ndarray = TURN, **tags) -> list[Path]:
    """One file per slice, named and numbered in an order that has nothing to do with position."""
    folder.mkdir(exist_ok=True)
    series, paths = generate_uid(), []
    shuffled = np.random.default_rng(1).permutation(hu.shape[2])
    for index in range(hu.shape[2]):
        meta = FileMetaDataset()
        meta.MediaStorageSOPClassUID, meta.TransferSyntaxUID = CTImageStorage, ExplicitVRLittleEndian
        meta.MediaStorageSOPInstanceUID = generate_uid()
        path = folder / f"IM{shuffled[index]:03d}.dcm"
        slice_ = FileDataset(path, {}, file_meta=meta, preamble=bytes(128))
        slice_.SOPClassUID, slice_.SOPInstanceUID = CTImageStorage, meta.MediaStorageSOPInstanceUID
        slice_.Modality, slice_.SeriesInstanceUID, slice_.InstanceNumber = "CT", series, shuffled[index] + 1
        slice_.ImageType = ["ORIGINAL", "PRIMARY", "AXIAL"]
        slice_.ImageOrientationPatient = turn[:, :2].T.ravel().tolist()
        slice_.ImagePositionPatient = (ORIGIN_LPS + index * SPACING[2] * turn[:, 2]).tolist()
        slice_.PixelSpacing = [SPACING[1], SPACING[0]]  # DICOM: between rows, then between columns
        slice_.Rows, slice_.Columns = hu.shape[1], hu.shape[0]
        slice_.SamplesPerPixel, slice_.PhotometricInterpretation = 1, "MONOCHROME2"
        slice_.BitsAllocated = slice_.BitsStored = 16
        slice_.HighBit, slice_.PixelRepresentation = 15, 0
        slice_.RescaleSlope, slice_.RescaleIntercept = 1, -1024
        slice_.PixelData = (hu[:, :, index].T.astype(np.int32) + 1024).astype(np.uint16).tobytes()
        for name, value in tags.items():
            setattr(slice_, name, value)
        slice_.save_as(path, enforce_file_format=True)
        paths.append(path)
    return paths


def edit(path: Path, **tags) -> None:
    """Change tags of a file; None removes one."""
    dataset = pydicom.dcmread(path)
    for name, value in tags.items():
        if value is None:
            delattr(dataset, name)
        else:
            setattr(dataset, name, value)
    dataset.save_as(path)


def empty_dataset(path: Path, storage: str = CTImageStorage) -> FileDataset:
    """What every image has, of unsigned 16-bit pixels; the caller adds what makes it one."""
    meta = FileMetaDataset()
    meta.MediaStorageSOPClassUID, meta.TransferSyntaxUID = storage, ExplicitVRLittleEndian
    meta.MediaStorageSOPInstanceUID = generate_uid()
    dataset = FileDataset(path, {}, file_meta=meta, preamble=bytes(128))
    dataset.SOPClassUID, dataset.SOPInstanceUID = storage, meta.MediaStorageSOPInstanceUID
    dataset.Modality, dataset.SeriesInstanceUID = "CT", generate_uid()
    dataset.SamplesPerPixel, dataset.PhotometricInterpretation = 1, "MONOCHROME2"
    dataset.BitsAllocated = dataset.BitsStored = 16
    dataset.HighBit, dataset.PixelRepresentation = 15, 0
    return dataset


def item(**attributes: Any) -> list[Dataset]:
    """A sequence of one item."""
    dataset = Dataset()
    for keyword, value in attributes.items():
        setattr(dataset, keyword, value)
    return [dataset]


def write_enhanced(
    path: Path,
    hu: np.ndarray,
    *,
    turn: np.ndarray = TURN,
    order: np.ndarray | None = None,
    change: Callable[[Dataset, int], None] | None = None,
) -> Path:
    """An enhanced multi-frame CT (PS3.3 A.38): positions and rescale of each frame, the rest shared.

    Args:
        path: to write.
        hu: [nx, ny, nz] on the grid of `write_series`.
        turn: orientation of the voxel axes in LPS.
        order: of the slices among the frames.
        change: alters the functional groups of a frame, given its slice.
    """
    path.parent.mkdir(exist_ok=True)
    dataset = empty_dataset(path, EnhancedCTImageStorage)
    order = np.arange(hu.shape[2]) if order is None else order
    dataset.Rows, dataset.Columns, dataset.NumberOfFrames = hu.shape[1], hu.shape[0], len(order)
    (shared,) = item(
        PlaneOrientationSequence=item(ImageOrientationPatient=turn[:, :2].T.ravel().tolist()),
        PixelMeasuresSequence=item(PixelSpacing=[SPACING[1], SPACING[0]], SliceThickness=SPACING[2]),
    )
    dataset.SharedFunctionalGroupsSequence = [shared]
    frames, stored = [], []
    for slice_ in order.tolist():
        slope, intercept = (1, -1024 - slice_) if slice_ % 2 else (0.5, -1000)  # each frame its own
        (groups,) = item(
            PlanePositionSequence=item(
                ImagePositionPatient=(ORIGIN_LPS + slice_ * SPACING[2] * turn[:, 2]).tolist()
            ),
            PixelValueTransformationSequence=item(
                RescaleSlope=slope, RescaleIntercept=intercept, RescaleType="HU"
            ),
            FrameContentSequence=item(StackID="1", InStackPositionNumber=slice_ + 1, TemporalPositionIndex=1),
        )
        if change is not None:
            change(groups, slice_)
        frames.append(groups)
        stored.append((hu[:, :, slice_].T.astype(float) - intercept) / slope)
    dataset.PerFrameFunctionalGroupsSequence = frames
    dataset.PixelData = np.rint(stored).astype(np.uint16).tobytes()
    dataset.save_as(path, enforce_file_format=True)
    return path


# A phantom ----------------------------------------------------------------------------------------------

# Centre, radii [mm] and Hounsfield units of ellipsoids along the axes of LPS, the last one over the others;
# unlike left and right, front and back, head and feet.
ELLIPSOIDS = (
    ((0.0, 0.0, 0.0), (42.0, 33.0, 30.0), 40.0),
    ((15.0, -8.0, 6.0), (10.0, 8.0, 14.0), 700.0),
    ((-18.0, 6.0, -9.0), (7.0, 9.0, 10.0), 1100.0),
)


def phantom(lps: np.ndarray) -> np.ndarray:
    """Hounsfield units at places [..., 3] in LPS [mm]."""
    hu = np.full(lps.shape[:-1], -1000.0)
    for centre, radii, value in ELLIPSOIDS:
        hu[(((lps - centre) / radii) ** 2).sum(axis=-1) < 1] = value
    return hu


def from_surfaces_mm(lps: np.ndarray) -> np.ndarray:
    """At least how far places [..., 3] in LPS are from the nearest surface of the phantom [mm]."""
    depths = [
        np.abs(np.linalg.norm((lps - centre) / radii, axis=-1) - 1) * min(radii)
        for centre, radii, _ in ELLIPSOIDS
    ]
    return np.min(depths, axis=0)


def write_planes(
    folder: Path,
    centres: np.ndarray,
    axes: np.ndarray,
    values: Callable[[np.ndarray], np.ndarray] = phantom,
    *,
    shape: tuple[int, int] = (64, 52),
    spacing: tuple[float, float] = (1.6, 1.5),
) -> list[Path]:
    """Slices of a function of places, around their centres [n, 3] in LPS; axes [2, 3] of rows and columns."""
    folder.mkdir(exist_ok=True)
    series, paths = generate_uid(), []
    i, j = np.indices(shape)
    for index, centre in enumerate(centres):
        path = folder / f"IM{index:03d}.dcm"
        dataset = empty_dataset(path)
        first = centre - axes.T @ ((np.array(shape) - 1) / 2 * spacing)
        places = first + (i * spacing[0])[..., None] * axes[0] + (j * spacing[1])[..., None] * axes[1]
        dataset.SeriesInstanceUID, dataset.Rows, dataset.Columns = series, shape[1], shape[0]
        dataset.ImagePositionPatient, dataset.ImageOrientationPatient = first.tolist(), axes.ravel().tolist()
        dataset.PixelSpacing = [spacing[1], spacing[0]]
        dataset.RescaleSlope, dataset.RescaleIntercept = 1, -2000
        dataset.PixelData = np.rint(values(places).T + 2000).astype(np.uint16).tobytes()
        dataset.save_as(path, enforce_file_format=True)
        paths.append(path)
    return paths


def places_of(volume: Volume) -> np.ndarray:
    """Where the centres of the voxels are [nx, ny, nz, 3] in LPS [mm]."""
    voxels = np.moveaxis(np.indices(volume.shape), 0, -1)
    ras = voxels @ volume.world_from_voxel[:3, :3].T + volume.world_from_voxel[:3, 3]
    return ras * [-1, -1, 1]
