"""A CT series of single-frame DICOM files through pydicom."""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Iterable, Iterator
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from pydicom.dataset import FileDataset
from pydicom.errors import InvalidDicomError

from ..errors import InputError
from ._bounds import read_dicom
from ._grid import DECODER_ERRORS, RAS_FROM_LPS, Grid, compact, decoding

# Scanners write positions rounded to 0.01 mm or so; a missing slice is an error of 100 %.
_STEP_TOLERANCE = 0.05
# Sideways drift per axial millimetre: 0.1 degree of gantry tilt.
_TILT_TOLERANCE = 2e-3
# Attributes that every slice needs -> how many numbers each holds.
_NEEDED = {
    "ImagePositionPatient": 3,
    "ImageOrientationPatient": 6,
    "PixelSpacing": 2,
    "RescaleSlope": 1,
    "RescaleIntercept": 1,
    "Rows": 1,
    "Columns": 1,
}
_USED = (*_NEEDED, "Modality", "ImageType", "NumberOfFrames", "SeriesInstanceUID", "SeriesDescription")
# Of the two directions in ImageOrientationPatient: off unit length or a right angle.
_ORIENTATION_TOLERANCE = 1e-2
# Projections, as opposed to a CT's slices.
_PROJECTIONS = ("CR", "DX", "RF", "RG", "XA")

_Slice = tuple[Path, FileDataset]  # a file and its header


def read_dicom_series(path: Path) -> Grid:
    """Values and world_from_voxel of the one CT series in a folder, or of the series a file belongs to.

    Slices are ordered by their position along the normal of the image plane (DICOM PS3.3 C.7.6.2), never by
    name or InstanceNumber. DICOM's world is LPS and is turned into RAS here.

    Raises:
        InputError: no CT or several CT series, missing tags, slices that are missing, doubled, unevenly
            spaced, tilted or of different shape or orientation, or a compression that cannot be decoded.
    """
    slices = _ct_slices(path)
    headers = [header for _, header in slices]
    _check_consistent(slices)
    along_columns = np.array(headers[0].ImageOrientationPatient[:3], dtype=np.float64)
    along_rows = np.array(headers[0].ImageOrientationPatient[3:], dtype=np.float64)
    normal = np.cross(along_columns, along_rows)
    slices.sort(key=lambda item: float(np.dot(normal, _position(item[1]))))
    step = _slice_step(slices, normal)
    row_mm, column_mm = (float(value) for value in headers[0].PixelSpacing)
    lps_from_voxel = np.eye(4)
    lps_from_voxel[:3, 0] = along_columns * column_mm
    lps_from_voxel[:3, 1] = along_rows * row_mm
    lps_from_voxel[:3, 2] = step
    lps_from_voxel[:3, 3] = _position(slices[0][1])
    shape = (int(headers[0].Columns), int(headers[0].Rows), len(slices))
    return compact(shape, _slabs(slices), path), RAS_FROM_LPS @ lps_from_voxel


def _ct_slices(path: Path) -> list[_Slice]:
    """The files of the one CT series meant by `path`."""
    folder = path if path.is_dir() else path.parent
    series: dict[str, list[_Slice]] = defaultdict(list)
    modalities: Counter[str] = Counter()
    for file in sorted(folder.rglob("*") if path.is_dir() else folder.iterdir()):
        header = _header(file) if file.is_file() else None
        if header is None:
            continue
        modalities[str(header.get("Modality", "unknown"))] += 1
        if header.get("Modality") == "CT" and "LOCALIZER" not in (header.get("ImageType") or ()):
            series[str(header.get("SeriesInstanceUID", ""))].append((file, header))
    if path.is_file():
        for slices in series.values():
            if any(file == path for file, _ in slices):
                return slices
        header = _header(path)
        if header is None:
            raise InputError(f"{path} is empty, damaged or not DICOM; copy or export it again")
        modality = str(header.get("Modality", "unknown"))
        raise InputError(f"{path} is not a CT slice: its modality is {modality}{_hint([modality])}")
    if not series:
        found = (
            ", ".join(f"{count} of modality {name}" for name, count in modalities.items()) or "none at all"
        )
        raise InputError(f"{path} holds no CT images; DICOM files found: {found}{_hint(modalities)}")
    if len(series) > 1:
        listing = "\n".join(
            f"  {len(slices)} slices, {header.get('SeriesDescription', 'no description')}: {file}"
            for slices in series.values()
            for file, header in slices[:1]
        )
        raise InputError(f"{path} holds {len(series)} CT series; give one file of the wanted one:\n{listing}")
    return next(iter(series.values()))


def _hint(modalities: Iterable[str]) -> str:
    """What to do with files that are no CT."""
    if any(modality in _PROJECTIONS for modality in modalities):
        return "; an X-ray is given as the X-ray, and the CT as the volume"
    return ""


def _header(file: Path) -> FileDataset | None:
    try:
        with decoding(file, " as DICOM"):
            header = read_dicom(file, stop_before_pixels=True)
            for name in _USED:  # decoded on first access
                header.get(name)
    except InputError as error:
        if isinstance(error.__cause__, InvalidDicomError):
            return None
        raise
    return header


def _check_consistent(slices: list[_Slice]) -> None:
    first_file, first = slices[0]
    for file, header in slices:
        missing = [name for name in _NEEDED if header.get(name) is None]
        if missing:
            remedy = "; convert it to NIfTI with dcm2niix" if "NumberOfFrames" in header else ""
            raise InputError(f"{file} lacks {', '.join(missing)}, without which it is no CT slice{remedy}")
        for name, count in _NEEDED.items():
            with decoding(file, f": its {name}"):
                numbers = np.atleast_1d(np.array(header[name].value, dtype=np.float64))
            if numbers.shape != (count,) or not np.isfinite(numbers).all():
                raise InputError(
                    f"{file} has a malformed {name}: {header[name].value}, not {count} number(s)"
                )
        if min(map(float, header.PixelSpacing)) <= 0:
            raise InputError(f"PixelSpacing of {file} is {list(header.PixelSpacing)} mm, not positive")
        axes = np.reshape(np.array(header.ImageOrientationPatient, dtype=np.float64), (2, 3))
        if np.abs(axes @ axes.T - np.eye(2)).max() > _ORIENTATION_TOLERANCE:
            raise InputError(
                f"ImageOrientationPatient of {file} is {axes.ravel().tolist()}, not two unit vectors at "
                "right angles: export the series again"
            )
        if (header.Rows, header.Columns) != (first.Rows, first.Columns):
            raise InputError(
                f"{file} has {header.Rows}x{header.Columns} pixels, "
                f"but {first_file} {first.Rows}x{first.Columns}: put one series into a folder of its own"
            )
        for name in ("ImageOrientationPatient", "PixelSpacing"):
            ours, theirs = (np.array(h[name].value, dtype=np.float64) for h in (header, first))
            if not np.allclose(ours, theirs, rtol=0, atol=1e-4):
                raise InputError(
                    f"{name} of {file} is {ours.tolist()}, but of {first_file} {theirs.tolist()}: "
                    "put one series into a folder of its own"
                )
    if len(slices) < 2:
        raise InputError(f"{first_file} is the only slice of its series; a CT volume needs at least two")


def _slice_step(slices: list[_Slice], normal: NDArray[np.float64]) -> NDArray[np.float64]:
    """Vector from each slice to the next [3] [mm], LPS, of slices sorted along the normal."""
    positions = np.array([_position(header) for _, header in slices])
    steps = np.diff(positions, axis=0)
    axial = steps @ normal
    usual = float(np.median(axial))
    for index, distance in enumerate(axial):
        before, after = slices[index][0].name, slices[index + 1][0].name
        if distance < _STEP_TOLERANCE * usual or distance <= 0:
            raise InputError(
                f"{before} and {after} lie at the same position: "
                "the folder holds a slice twice or several phases"
            )
        if abs(distance - usual) > _STEP_TOLERANCE * usual:
            missing = distance / usual - 1
            cause = (
                f"{missing:.0f} slice(s) are missing"
                if missing > 0.5 and abs(missing - round(missing)) < 2 * _STEP_TOLERANCE
                else "the slices are not evenly spaced; resample the CT"
            )
            raise InputError(
                f"{before} and {after} are {distance:.4g} mm apart but slices usually {usual:.4g} mm: {cause}"
            )
    step: NDArray[np.float64] = (positions[-1] - positions[0]) / (len(slices) - 1)
    sideways = np.linalg.norm(step - normal * np.dot(step, normal))
    if sideways > _TILT_TOLERANCE * usual:
        tilt = np.degrees(np.arctan2(sideways, np.dot(step, normal)))
        raise InputError(
            f"{slices[0][0].parent} was scanned with the gantry tilted by {tilt:.1f} deg: "
            "convert it to NIfTI with a tool that corrects tilt, such as dcm2niix"
        )
    return step


def _position(header: FileDataset) -> NDArray[np.float64]:
    return np.array(header.ImagePositionPatient, dtype=np.float64)


def _slabs(slices: list[_Slice]) -> Iterator[NDArray[np.float32]]:
    for file, _ in slices:
        with decoding(file, " as DICOM"):
            dataset = read_dicom(file)
            syntax = dataset.file_meta.TransferSyntaxUID.name
        try:
            stored = dataset.pixel_array
        except DECODER_ERRORS as error:
            raise InputError(f"the pixels of {file} ({syntax}) cannot be decoded: {error}") from error
        if stored.shape != (dataset.Rows, dataset.Columns):
            raise InputError(f"{file} holds an array of shape {stored.shape}, not one grey image")
        with np.errstate(over="ignore", invalid="ignore"):  # `compact` counts what is not finite
            slope, intercept = np.float32(dataset.RescaleSlope), np.float32(dataset.RescaleIntercept)
            hu = stored.astype(np.float32) * slope + intercept
        yield hu.T[:, :, None]
