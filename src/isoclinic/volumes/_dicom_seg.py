"""DICOM segmentations (SEG, PS3.3 A.51): binary, fractional and label map, placed in the world."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from pydicom.dataset import Dataset
from pydicom.errors import InvalidDicomError
from pydicom.pixels.utils import pixel_array

from ..errors import InputError
from ._bounds import read_dicom
from ._grid import RAS_FROM_LPS, check_affine, decoding
from ._label_files import LabelMap
from ._layers import Layers
from ._warnings import warn_geometry

_SEGMENTATION = "SEG"
_STRUCTURE_SET = "RTSTRUCT"
_MOST_SLICES = 10_000
_LARGEST_VOXELS = 1 << 31
# Frames count as slices of one grid up to this share of a step or pixel, and of the cosines.
_OFF_GRID = 0.2
_COSINE_TOLERANCE = 1e-3


@dataclass(frozen=True, kw_only=True, eq=False)
class _Frame:
    """One image of one segment, or of all (0, in label maps); its first pixel at `position` [3] (LPS, mm)."""

    index: int
    segment: int
    position: NDArray[np.float64]


def find_segmentations(path: Path) -> list[Path]:
    """Paths of the DICOM segmentations that a file is or a folder holds; none for files of other kinds.

    Raises:
        InputError: contours (RTSTRUCT) instead of a segmentation.
    """
    files = sorted(path.rglob("*")) if path.is_dir() else [path]
    modalities = {file: _modality(file) for file in files if file.is_file()}
    found = [file for file, modality in modalities.items() if modality == _SEGMENTATION]
    contours = [file for file, modality in modalities.items() if modality == _STRUCTURE_SET]
    if contours and not found:
        raise InputError(
            f"{contours[0]} is an RT structure set (RTSTRUCT): contours, not voxels; convert it to a label"
            " map or to a folder of masks in NIfTI or NRRD, with 3D Slicer (SlicerRT), plastimatch convert or"
            " dcmrtstruct2nii",
            code="labels.contours",
        )
    return found


def read_segmentation(path: Path) -> LabelMap:
    """The segments of a DICOM SEG file as a label map on the grid of its frames, by their SegmentNumber.

    Frames may come in any order, and be absent where they would be empty. Of fractional segments (PS3.3
    C.8.20.2.3), what reaches half of MaximumFractionalValue counts.

    Raises:
        InputError: a damaged file, one without the place of its frames, or frames that form no grid.

    Warns:
        GeometryWarning: fractional segments, slices within a segment that have no frame, or segments that
            overlap or are empty.
    """
    with decoding(path, " as a DICOM segmentation"):
        dataset = read_dicom(path)
        names = _names(dataset, path)
        kind = str(dataset.get("SegmentationType", "BINARY"))
        frames, orientation, spacing_mm, step_mm = _geometry(dataset, path, labels=kind == "LABELMAP")
        slices, affine = _grid(frames, orientation, spacing_mm, step_mm, path)
        shape = (int(dataset.Columns), int(dataset.Rows), int(slices.max()) + 1)
        if np.prod(np.array(shape, dtype=np.float64)) > _LARGEST_VOXELS:
            raise InputError(
                f"{path} spans {' x '.join(map(str, shape))} voxels, more than any scan has",
                code="labels.malformed-header",
            )
        layers = Layers(shape, path)
        for number, name in names.items():  # those without a frame are empty
            layers.add(number, name, np.zeros((0, 0, 0), dtype=np.bool_), (slice(0), slice(0), slice(0)))
        for frame in sorted(frames, key=lambda frame: frame.segment):
            pixels = _pixels(dataset, frame.index, path)
            for number, mask in _masks(dataset, kind, frame, pixels):
                if number not in names:
                    raise InputError(
                        f"{path}: a frame is of segment {number}, which SegmentSequence lacks",
                        code="labels.malformed-header",
                    )
                layers.add(number, names[number], mask.T, (..., int(slices[frame.index])))
    if kind == "FRACTIONAL":
        warn_geometry(
            f"{path} holds fractional segments: a voxel belongs to a segment if its value is at least half "
            "of the largest one"
        )
    _warn_of_gaps(frames, slices, names, path)
    layers.finish()
    return LabelMap(labels=layers.labels, world_from_voxel=affine, names=names)


def _modality(file: Path) -> str:
    try:
        with decoding(file, " as DICOM"):
            header = read_dicom(file, stop_before_pixels=True, specific_tags=["Modality"])
            return str(header.get("Modality", ""))
    except InputError as error:
        if isinstance(error.__cause__, InvalidDicomError):
            return ""
        raise


def _names(dataset: Dataset, path: Path) -> dict[int, str]:
    names = {}
    for segment in dataset.get("SegmentSequence") or ():
        number = int(segment.get("SegmentNumber", 0))
        label = str(segment.get("SegmentLabel", "")).strip()
        if number > 0:  # 0 is the background that label maps may describe
            names[number] = label or f"segment_{number}"
    if not names:
        raise InputError(
            f"{path} describes no segment (SegmentSequence); export it again", code="labels.malformed-header"
        )
    return names


# Where frames are ---------------------------------------------------------------------------------------


def _geometry(
    dataset: Dataset, path: Path, *, labels: bool
) -> tuple[list[_Frame], NDArray[np.float64], NDArray[np.float64], list[float]]:
    """Frames, axes of rows and columns [2, 3], (row, column) spacing [mm], and distances a step may have."""
    count = int(dataset.get("NumberOfFrames") or 1)
    groups = dataset.get("PerFrameFunctionalGroupsSequence") or ()
    shared = dataset.get("SharedFunctionalGroupsSequence") or ()
    if len(groups) != count:
        raise InputError(
            f"{path} has {count} frames (NumberOfFrames) but describes {len(groups)}"
            " (PerFrameFunctionalGroupsSequence), so their places are unknown; export it again",
            code="labels.malformed-header",
        )
    frames, orientations, spacings, steps = [], [], [], []
    for index, group in enumerate(groups):
        places = (group, *shared[:1])
        position = _numbers(places, "PlanePositionSequence", "ImagePositionPatient", 3, path)
        orientations.append(_numbers(places, "PlaneOrientationSequence", "ImageOrientationPatient", 6, path))
        spacings.append(_numbers(places, "PixelMeasuresSequence", "PixelSpacing", 2, path))
        measures = _macro(places, "PixelMeasuresSequence")
        steps.append([measures.get(name) for name in ("SpacingBetweenSlices", "SliceThickness")])
        segment = _macro(places, "SegmentIdentificationSequence").get("ReferencedSegmentNumber", 0)
        if not labels and not segment:
            raise InputError(
                f"{path}: frame {index} does not say of which segment (ReferencedSegmentNumber)",
                code="labels.malformed-header",
            )
        frames.append(_Frame(index=index, segment=0 if labels else int(segment), position=position))
    for name, values, tolerance in (
        ("ImageOrientationPatient", orientations, _COSINE_TOLERANCE),
        ("PixelSpacing", spacings, _COSINE_TOLERANCE * np.min(spacings)),
    ):
        if np.ptp(values, axis=0).max() > tolerance:
            raise InputError(
                f"{path}: {name} differs between frames; save each part on its own",
                code="labels.malformed-header",
            )
    axes = np.mean(orientations, axis=0).reshape(2, 3)
    if np.abs(axes @ axes.T - np.eye(2)).max() > 1e-2 or np.min(spacings) <= 0:
        raise InputError(
            f"{path}: ImageOrientationPatient {axes.ravel().tolist()} must be two unit vectors at right"
            f" angles, and PixelSpacing {spacings[0].tolist()} positive",
            code="labels.malformed-header",
        )
    known = [float(value) for value in steps[0] if value not in (None, "")]
    return frames, axes, np.mean(spacings, axis=0), [value for value in known if value > 0]


def _macro(places: Sequence[Dataset], name: str) -> Dataset:
    """The item of a functional group of a frame, or else of all frames; empty where there is none."""
    for place in places:
        sequence = place.get(name)
        if sequence:
            return sequence[0]
    return Dataset()


def _numbers(places: Sequence[Dataset], macro: str, name: str, count: int, path: Path) -> NDArray[np.float64]:
    value: Any = _macro(places, macro).get(name)
    numbers = np.atleast_1d(np.array([] if value is None else value, dtype=np.float64))
    if numbers.shape != (count,) or not np.isfinite(numbers).all():
        raise InputError(
            f"{path} lacks {name} of a frame, or it is not {count} numbers; export it again",
            code="labels.malformed-header",
        )
    return numbers


def _grid(
    frames: Sequence[_Frame],
    axes: NDArray[np.float64],
    spacing_mm: NDArray[np.float64],
    steps_mm: Sequence[float],
    path: Path,
) -> tuple[NDArray[np.int64], NDArray[np.float64]]:
    """Slice of every frame [F], counted from 0, and world_from_voxel [4, 4] of the grid."""
    positions = np.array([frame.position for frame in frames])
    normal = np.cross(axes[0], axes[1])
    heights = positions @ normal
    heights = heights - heights.min()
    gaps = np.diff(np.unique(heights))
    usual = gaps[gaps > 1e-2]
    candidates = [*steps_mm, *([float(usual.min())] if usual.size else [1.0])]
    fitting = (
        (np.rint(heights / step).astype(np.int64), step)
        for step in candidates
        if heights.max() / step < _MOST_SLICES
        and np.abs(heights / step - np.rint(heights / step)).max() <= _OFF_GRID
        # A step between two frames at the same slice would lay one over the other.
        and not (usual.size and usual.min() < (1 - _OFF_GRID) * step)
    )
    slices, step = next(fitting, (None, 0.0))
    if slices is None:
        raise InputError(
            f"{path}: its frames (ImagePositionPatient) are not evenly spaced; resample the segmentation to"
            " even slices, with 3D Slicer for one, and save it as NRRD or NIfTI",
            code="labels.malformed-header",
        )
    along, origin = normal * step, positions[int(slices.argmin())]
    if slices.max() > 0:  # the step of positions that are rounded, or sheared against the normal
        design = np.stack([slices, np.ones(len(slices))], axis=1)
        (along, origin), *_ = np.linalg.lstsq(design, positions, rcond=None)
    off_mm = np.linalg.norm(positions - origin - slices[:, None] * along, axis=1)
    if off_mm.max() > _OFF_GRID * max(spacing_mm.min(), step):
        raise InputError(
            f"{path}: its frames lie up to {off_mm.max():.3g} mm off one grid (ImagePositionPatient); save"
            " each part on its own",
            code="labels.wrong-shape",
        )
    lps_from_voxel = np.eye(4)
    lps_from_voxel[:3, 0] = axes[0] * spacing_mm[1]
    lps_from_voxel[:3, 1] = axes[1] * spacing_mm[0]
    lps_from_voxel[:3, 2] = along
    lps_from_voxel[:3, 3] = origin
    check_affine(lps_from_voxel, path)
    return slices, RAS_FROM_LPS @ lps_from_voxel


def _warn_of_gaps(
    frames: Sequence[_Frame], slices: NDArray[np.int64], names: dict[int, str], path: Path
) -> None:
    """Slices between those of a segment that have no frame: empty, or of a scan with uneven slices."""
    for number in sorted({frame.segment for frame in frames}):
        own = np.unique([slices[frame.index] for frame in frames if frame.segment == number])
        missing = int(own[-1] - own[0] + 1 - len(own))
        if missing:
            warn_geometry(
                f"{path}: {missing} slices within {names.get(number, 'the segments')} have no frame and are"
                " taken as empty; if the CT's slices are unevenly spaced, resample the segmentation"
            )
            return


# What frames hold ---------------------------------------------------------------------------------------


def _pixels(dataset: Dataset, index: int, path: Path) -> NDArray[np.generic]:
    """Values [rows, columns] of a frame; single bits are packed across frames, lowest first (PS3.5 8.1.1)."""
    rows, columns = int(dataset.Rows), int(dataset.Columns)
    if dataset.BitsAllocated == 1 and not dataset.file_meta.TransferSyntaxUID.is_encapsulated:
        first = index * rows * columns
        content = np.frombuffer(dataset.PixelData, dtype=np.uint8)
        if len(content) * 8 < first + rows * columns:
            raise InputError(
                f"{path} is cut short: frame {index} lacks pixels (PixelData)", code="labels.unreadable"
            )
        bits = np.unpackbits(content[first // 8 : -(-(first + rows * columns) // 8)], bitorder="little")
        return bits[first % 8 : first % 8 + rows * columns].reshape(rows, columns)
    pixels = pixel_array(dataset, index=index)
    if pixels.shape != (rows, columns):
        raise InputError(
            f"{path}: frame {index} is an array of shape {pixels.shape}, not one grey image",
            code="labels.wrong-shape",
        )
    return pixels


def _masks(
    dataset: Dataset, kind: str, frame: _Frame, pixels: NDArray[Any]
) -> Iterator[tuple[int, NDArray[np.bool_]]]:
    """Segments in a frame, and where they are [rows, columns]."""
    if kind == "LABELMAP":
        padding = dataset.get("PixelPaddingValue")
        for value in np.unique(pixels).tolist():
            if value > 0 and value != padding:
                yield value, pixels == value
    elif kind == "FRACTIONAL":
        largest = int(dataset.get("MaximumFractionalValue") or 255)
        yield frame.segment, pixels.astype(np.float64) * 2 >= largest
    else:
        yield frame.segment, pixels != 0
