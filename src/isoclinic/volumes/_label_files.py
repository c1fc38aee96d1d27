"""Label maps from image files: one volume of labels, one of channels, or layers of segments."""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
import SimpleITK as sitk
from numpy.typing import NDArray

from .._locale import decimal_point
from ..errors import InputError
from . import readers
from ._bounds import check_declared_size
from ._grid import RAS_FROM_LPS, LabelArray, check_affine, decoding
from ._itk import open_itk
from ._itk_header import mm_per_unit, read_fields
from ._label_names import Names, names_beside, names_in_nifti, segments_of
from ._layers import Layers
from ._nifti import open_nifti
from ._warnings import warn_geometry

IMAGE_SUFFIXES = (".nii.gz", ".nii", ".nrrd", ".nhdr", ".mha", ".mhd")
_LARGEST_LABEL = 65535
# How far labels may lie from whole numbers, as a rescale slope that is not exactly 1 leaves them.
_OFF_WHOLE = 1e-3
# Programs write one or two negative values for "nothing here"; an image has many.
_MOST_NEGATIVE_VALUES = 4
# Label maps number so many at most that have the air of a CT, -1000 or so, as background.
_USUAL_LABELS = 255
_SLAB = 16
_MM_PER_UNIT = {"meter": 1e3, "micron": 1e-3}


@dataclass(frozen=True, kw_only=True, eq=False)
class LabelMap:
    """Labelled structures on a grid of their own.

    Attributes:
        labels: structure of every voxel [nx, ny, nz], uint8 or uint16, 0 for none.
        world_from_voxel: affine [4, 4]; voxel centres at integers, world in RAS mm.
        names: the names of the structures by label.
    """

    labels: LabelArray
    world_from_voxel: NDArray[np.float64]
    names: Names = field(default_factory=dict)


def read_label_file(path: Path) -> LabelMap:
    """The label map in an image file, its names from a file beside it or else from its header.

    Volumes of channels (one-hot: each channel a mask, one of them perhaps the background) and the layers of
    .seg.nrrd become one label map.

    Raises:
        InputError: as for `readers.read_grid`, values that are no labels, or structures that others cover.

    Warns:
        GeometryWarning: structures that overlap or are empty, or channels, with the labels they became.
    """
    segments = segments_of(dict(_segment_lines(path)), path)
    if is_image(path) and path.is_file() and _components(path) > 1:
        channels, affine = _channels(path)
        found = _from_segments(segments, channels, path) if segments else _from_channels(channels, path)
        labels, names = found.labels, found.names
    else:
        labels, affine = read_plain(path)
        names = {value: name for name, _, value in reversed(segments)}
        names = names or (names_in_nifti(path) if is_nifti(path) else {})
    return LabelMap(labels=labels, world_from_voxel=affine, names=names_beside(path) or names)


def read_plain(path: Path) -> tuple[LabelArray, NDArray[np.float64]]:
    """Labels (uint8 or uint16, [nx, ny, nz]) and world_from_voxel [4, 4] of one volume of labels.

    Raises:
        InputError: as for `readers.read_grid`, or values that are no labels.

    Warns:
        GeometryWarning: negative values beside 0, all of which are taken for no structure.
    """
    values, affine = readers.read_grid(path)
    return as_labels(values, path), affine


def as_labels(values: NDArray[np.generic], path: Path) -> LabelArray:
    """Values as labels; those that are not positive mean no structure."""
    low, high = float(values.min()), float(values.max())
    refusal = (
        f"{path} is no label map: labels are whole numbers from 0 to {_LARGEST_LABEL}, but its values run"
        f" from {low:g} to {high:g}"
    )
    if high > _LARGEST_LABEL or (low < -_USUAL_LABELS and high > _USUAL_LABELS):  # the latter in HU
        raise InputError(refusal, code="labels.not-labels")
    labels: LabelArray = np.zeros(values.shape, dtype=np.uint8 if high < 255.5 else np.uint16)
    negative: set[float] = set()
    background = False
    for first in range(0, values.shape[-1], _SLAB):
        slab = np.asarray(values[..., first : first + _SLAB], dtype=np.float64)
        whole = np.rint(slab)
        if not (np.abs(slab - whole) <= _OFF_WHOLE).all():
            odd = slab[~(np.abs(slab - whole) <= _OFF_WHOLE)][0]
            raise InputError(
                f"{refusal}, some of them between whole numbers ({odd:.4g}): save it without interpolation,"
                " or probabilities as masks",
                code="labels.not-labels",
            )
        if low < 0:
            negative.update(np.unique(whole[whole < 0]).tolist())
            background = background or bool((whole == 0).any())
            if len(negative) > _MOST_NEGATIVE_VALUES:
                raise InputError(
                    f"{refusal}, many of them negative: it looks like an image", code="labels.not-labels"
                )
        labels[..., first : first + _SLAB] = np.maximum(whole, 0)
    if negative and background:
        listed = ", ".join(f"{value:g}" for value in sorted(negative))
        warn_geometry(
            f"{path} has voxels of {listed} and of 0: neither is taken as a structure; if 0 is a "
            "structure, number the structures from 1"
        )
    return labels


def is_nifti(path: Path) -> bool:
    """Tell whether the name is one of NIfTI."""
    return path.name.lower().endswith((".nii", ".nii.gz"))


def is_image(path: Path) -> bool:
    """Tell whether the name is one of a format that holds volumes, other than DICOM."""
    return path.name.lower().endswith(IMAGE_SUFFIXES)


# More than one value a voxel ----------------------------------------------------------------------------


def _components(path: Path) -> int:
    """Number of values at every voxel: length of what comes after the three dimensions of space."""
    with decoding(path):
        check_declared_size(path)
        if is_nifti(path):
            with open_nifti(path) as image:
                return image.shape[3] if len(image.shape) == 4 else 1
        reader = open_itk(path)
        size = reader.GetSize()
        return size[3] if len(size) == 4 else reader.GetNumberOfComponents()


def _channels(path: Path) -> tuple[list[NDArray[np.generic]], NDArray[np.float64]]:
    """Volumes [nx, ny, nz] of a file with several values a voxel, and world_from_voxel [4, 4]."""
    with decoding(path):
        if is_nifti(path):
            with open_nifti(path) as image:
                data = np.asanyarray(image.dataobj)
                scale = _MM_PER_UNIT.get(image.header.get_xyzt_units()[0], 1.0)
                affine = np.diag([scale, scale, scale, 1.0]) @ np.asarray(image.affine, dtype=np.float64)
        else:
            data, affine = _itk_channels(path)
    check_affine(affine, path)
    if data.ndim != 4 or data.size == 0 or data.dtype.kind not in "biuf":
        raise InputError(
            f"{path} holds an array of shape {data.shape}, type {data.dtype}, not label maps",
            code="labels.wrong-shape",
        )
    return [data[..., channel] for channel in range(data.shape[3])], affine


def _itk_channels(path: Path) -> tuple[NDArray[np.generic], NDArray[np.float64]]:
    with decimal_point():
        image = open_itk(path).Execute()
    data = sitk.GetArrayViewFromImage(image)
    # [nz, ny, nx, channel], or as four dimensions of space [channel, nz, ny, nx].
    data = data.transpose(2, 1, 0, 3) if image.GetDimension() == 3 else data.transpose(3, 2, 1, 0)
    dimension = image.GetDimension()
    direction = np.reshape(image.GetDirection(), (dimension, dimension))[:3, :3]
    lps_from_voxel = np.eye(4)
    lps_from_voxel[:3, :3] = direction * np.array(image.GetSpacing())[:3]
    lps_from_voxel[:3, 3] = image.GetOrigin()[:3]
    lps_from_voxel[:3] *= mm_per_unit(read_fields(path), path)
    return np.array(data), RAS_FROM_LPS @ lps_from_voxel


def _from_segments(
    segments: list[tuple[str, int, int]], channels: list[NDArray[np.generic]], path: Path
) -> Layers:
    """Segments of a .seg.nrrd; where two layers use one label value, they are numbered from 1."""
    layers = Layers(channels[0].shape, path)
    values = [value for _, _, value in segments]
    own = len(set(values)) == len(values) and min(values) > 0
    for number, (name, layer, value) in enumerate(segments, start=1):
        if not 0 <= layer < len(channels):
            raise InputError(
                f"{path}: {name} is said to be in layer {layer}, but there are {len(channels)}; save it "
                "again",
                code="labels.malformed-header",
            )
        layers.add(value if own else number, name, channels[layer] == value)
    layers.finish()
    return layers


def _from_channels(channels: list[NDArray[np.generic]], path: Path) -> Layers:
    """Masks, one a channel, numbered from 1; or from 0 where every voxel belongs to one (one-hot)."""
    count = np.zeros(channels[0].shape, dtype=np.int64)
    masks = []
    for index, channel in enumerate(channels):
        values = np.unique(channel)
        if len(values) > 2 or (len(values) == 2 and values[0] != 0) or not np.isfinite(values).all():
            raise InputError(
                f"{path} has {len(channels)} values a voxel, and those of number {index} are no mask but run"
                f" from {values[0]:g} to {values[-1]:g}: save one volume of labels on its own",
                code="labels.not-labels",
            )
        masks.append(channel != 0)
        count += masks[-1]
    one_hot = bool((count == 1).all())
    if one_hot and np.argmax([np.count_nonzero(mask) for mask in masks]) != 0:
        raise InputError(
            f"{path} has {len(channels)} masks of which every voxel has one, and the largest, which should be"
            " the background, is not the first: save it as one volume of labels",
            code="labels.not-labels",
        )
    layers = Layers(channels[0].shape, path)
    for number, mask in enumerate(masks, start=0 if one_hot else 1):
        if number:
            layers.add(number, f"channel_{number}", mask)
    layers.finish()
    background = ", the first of them as background" if one_hot else ""
    warn_geometry(
        f"{path} has {len(channels)} masks instead of one label map: they are read as labels"
        f" 1 to {max(layers.names)}{background}"
    )
    return layers


# Headers -----------------------------------------------------------------------------------------------


def _segment_lines(path: Path) -> Iterator[tuple[str, str]]:
    """Keys and values about segments in the header of NRRD, which ends with the first empty line."""
    if not path.name.lower().endswith((".nrrd", ".nhdr")) or not path.is_file():
        return
    with decoding(path), path.open("rb") as file:
        while line := file.readline(1 << 16).rstrip(b"\r\n"):
            if match := re.fullmatch(rb"(Segment\d{1,6}_\w+):=(.*)", line):
                yield match[1].decode("ascii"), match[2].decode("utf-8", "replace")
