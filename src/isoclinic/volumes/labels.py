"""Label maps of every kind, brought onto the grid of a CT by where they are in the world."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import replace
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from scipy.ndimage import affine_transform

from ..errors import InputError
from ._dicom_seg import find_segmentations, read_segmentation
from ._grid import LabelArray, of_kind
from ._label_files import IMAGE_SUFFIXES, LabelMap, is_image, read_label_file, read_plain
from ._label_names import Names
from ._layers import Layers, listed
from ._warnings import warn_geometry
from .correction import CTCorrection

__all__ = ["LabelMap", "read_labels_onto", "read_plain"]

Shape = tuple[int, int, int]

# Up to here voxels count as the CT's own: a share of a voxel and a length [mm], of which the smaller holds.
_SAME_VOXEL = 0.25
_SAME_PLACE_MM = 0.5
# A structure that keeps less of its volume than this within the CT is named.
_WHOLE = 0.98
_FLIP_XY = np.diag([-1.0, -1.0, 1.0, 1.0])


@of_kind("labels")
def read_labels_onto(
    path: Path, shape: Shape, world_from_voxel: NDArray[np.float64], correction: CTCorrection | None = None
) -> tuple[LabelArray, Names]:
    """Structures of a label map on the grid of a CT, and their names.

    The label map is an image file of labels or channels, a .seg.nrrd, a DICOM segmentation (SEG), or a folder
    with a mask for every structure, named by its file. It may have other axes than the CT, other voxels, and
    cover another part of the patient: what counts is where it is in the world. Where its voxels are not those
    of the CT, every voxel of the CT takes the nearest label.

    Args:
        path: the path of the file or folder.
        shape: voxels of the CT (nx, ny, nz).
        world_from_voxel: affine [4, 4] of the CT, world in RAS mm.
        correction: the correction of the CT's file, which holds for the label map's position as well.

    Returns:
        Labels [nx, ny, nz], uint8 or uint16, 0 for none; names by label.

    Raises:
        InputError: files that cannot be read or are no label maps, that do not overlap the CT, or of which a
            structure would be lost.

    Warns:
        GeometryWarning: labels that were resampled, structures that reach beyond the CT, that overlap or
            that are empty.
    """
    correction = correction or CTCorrection()
    placed = Placing(shape, world_from_voxel, path)
    parts = _parts(path)
    if isinstance(parts, LabelMap):
        labels = placed.place(parts, correction)
        placed.finish()
        return labels, parts.names
    layers = Layers(shape, path)
    for number, mask in enumerate(parts, start=1):
        (name,) = mask.names.values()
        layers.add(number, name, placed.place(mask, correction) != 0)
    placed.finish()
    layers.finish()
    return layers.labels, layers.names


class Placing:
    """Label maps taken to one grid, and what is to be said about that in the end.

    Args:
        shape: the shape of the grid (nx, ny, nz).
        world_from_voxel: affine [4, 4] of the grid.
        source: file or folder that the label maps come from, for messages.
    """

    def __init__(self, shape: Shape, world_from_voxel: NDArray[np.float64], source: Path) -> None:
        self._shape = shape
        self._affine = world_from_voxel
        self._source = source
        self._resampled: list[NDArray[np.float64]] = []
        self._vanished: list[str] = []
        self._outside: list[str] = []
        self._within = False
        self._boxes: list[NDArray[np.float64]] = []

    def place(self, label_map: LabelMap, correction: CTCorrection) -> LabelArray:
        """The labels [nx, ny, nz] on the grid, 0 where the label map does not reach."""
        affine = correction.world_from_voxel(label_map.world_from_voxel)
        index_from_grid = np.linalg.inv(affine) @ self._affine
        found = _same_voxels(label_map.labels, index_from_grid, affine, self._shape)
        exact = found is not None
        if found is None:
            self._resampled.append(np.linalg.norm(affine[:3, :3], axis=0))
            found = affine_transform(
                *(label_map.labels, index_from_grid[:3, :3], index_from_grid[:3, 3]),
                output_shape=self._shape,
                order=0,
                mode="grid-constant",
            )
        self._compare(label_map, affine, found, exact)
        return found

    def finish(self) -> None:
        """Say what the places of the label maps come to.

        Raises:
            InputError: nothing of them lies within the grid, or a structure in it has lost all its voxels.

        Warns:
            GeometryWarning: labels that were resampled, or structures that reach beyond the grid.
        """
        if self._boxes and not self._within:
            raise InputError(self._apart(), code="labels.wrong-shape")
        spacing_mm = np.linalg.norm(self._affine[:3, :3], axis=0)
        if self._vanished:
            raise InputError(
                f"{self._source}: {listed(self._vanished)} would be lost, because no voxel of the CT, of"
                f" {_size(spacing_mm)} mm, has its centre there; take a finer CT, or leave them out",
                code="labels.structure-lost",
            )
        if self._resampled:
            warn_geometry(
                f"{self._source} has other voxels than the CT, of {_size(self._resampled[0])} mm where the"
                f" CT's have {_size(spacing_mm)} mm, or turned or shifted ones: every voxel of the CT takes"
                " the label of the nearest"
            )
        if self._outside:
            warn_geometry(
                f"{self._source} reaches beyond the CT, which lacks part of {listed(self._outside)}; check"
                " that both are of one scan"
            )

    def _compare(
        self, label_map: LabelMap, affine: NDArray[np.float64], found: LabelArray, exact: bool
    ) -> None:
        """Note what became of every structure of a label map."""
        before, after = _counts(label_map.labels), _counts(found)
        after = np.pad(after, (0, max(len(before) - len(after), 0)))
        present = np.flatnonzero(before[1:]) + 1
        if not present.size:
            return
        self._boxes.append(_box(label_map.labels, affine))
        self._within = self._within or bool(after[present].any())
        volume_ratio = abs(np.linalg.det(self._affine[:3, :3]) / np.linalg.det(affine[:3, :3]))
        kept = dict(zip(present.tolist(), after[present] * volume_ratio / before[present], strict=True))
        suspects = [label for label, share in kept.items() if share < _WHOLE]
        if not exact and suspects:  # shares of resampled voxels are rough
            kept = self._shares_within(label_map.labels, affine, suspects)
        for label in suspects:
            name = label_map.names.get(label, f"label {label}")
            if kept[label] < _WHOLE:
                self._outside.append(f"{name} ({100 * kept[label]:.2g} % within)")
            elif not after[label]:
                self._vanished.append(name)

    def _shares_within(
        self, labels: LabelArray, affine: NDArray[np.float64], wanted: list[int]
    ) -> dict[int, float]:
        """Which share of the voxels of some structures lies within the grid."""
        grid_from_index = np.linalg.inv(self._affine) @ affine
        limits = np.array(self._shape)[:, None] - 0.5
        total = np.zeros(int(labels.max()) + 1, dtype=np.int64)
        inside = total.copy()
        chosen = np.zeros(len(total), dtype=bool)
        chosen[wanted] = True
        for row, slab in enumerate(labels):
            j, k = np.nonzero(chosen[slab])
            places = grid_from_index[:3] @ np.stack([np.full(len(j), row), j, k, np.ones(len(j))])
            within = ((places >= -0.5) & (places < limits)).all(axis=0)
            total += np.bincount(slab[j, k], minlength=len(total))
            inside += np.bincount(slab[j[within], k[within]], minlength=len(total))
        return {label: float(inside[label] / total[label]) for label in wanted}

    def _apart(self) -> str:
        """That the structures lie outside of the grid, where both are, and what may have happened."""
        corners = np.array(np.meshgrid(*[(-0.5, n - 0.5) for n in self._shape])).reshape(3, -1)
        world = self._affine[:3, :3] @ corners + self._affine[:3, 3:]
        ct = np.stack([world.min(axis=1), world.max(axis=1)])
        labels = np.stack(
            [np.min([box[0] for box in self._boxes], axis=0), np.max([box[1] for box in self._boxes], axis=0)]
        )
        mirrored = np.sort(labels @ _FLIP_XY[:3, :3], axis=0)
        hint = ""
        if (np.maximum(ct[0], mirrored[0]) < np.minimum(ct[1], mirrored[1])).all():
            hint = (
                "; with left and right, front and back swapped it would: one of them is in LPS where it says"
                " RAS, or the reverse"
            )
        return (
            f"{self._source} does not overlap the CT: its structures lie at {_extent(labels)} mm (RAS), the"
            f" CT at {_extent(ct)} mm{hint}; take the label map of this scan"
        )


def _same_voxels(
    labels: LabelArray, index_from_grid: NDArray[np.float64], affine: NDArray[np.float64], shape: Shape
) -> LabelArray | None:
    """The labels on the grid where their voxels are those of the grid: permuted, flipped, cropped or padded.

    None where they are not.
    """
    turn = np.rint(index_from_grid[:3, :3])
    if not np.array_equal(np.abs(turn) @ np.ones(3), np.ones(3)) or np.linalg.det(turn) == 0:
        return None
    middle = (np.array(labels.shape) - 1) / 2
    grid_middle = np.linalg.solve(index_from_grid[:3, :3], middle - index_from_grid[:3, 3])
    shift = np.rint(middle - turn @ grid_middle)
    # Axis of the labels that runs along each axis of the grid, and in which direction.
    order = np.abs(turn).argmax(axis=0)
    signs = turn[order, range(3)]
    counts = np.array(labels.shape)[order]
    offsets = np.where(signs > 0, shift[order], counts - 1 - shift[order])
    lower = np.clip(-offsets, 0, shape).astype(int)
    upper = np.clip(counts - offsets, 0, shape).astype(int)
    placed = np.zeros(shape, dtype=labels.dtype)
    if (lower >= upper).any():
        return placed
    corners = np.array(np.meshgrid(*zip(lower, upper - 1, strict=True))).reshape(3, -1)
    off = (index_from_grid[:3, :3] - turn) @ corners + (index_from_grid[:3, 3] - shift)[:, None]
    off_mm = np.linalg.norm(affine[:3, :3] @ off, axis=0)
    if np.abs(off).max() > _SAME_VOXEL or off_mm.max() > _SAME_PLACE_MM:
        return None
    aligned = labels.transpose(order)[tuple(slice(None, None, int(sign)) for sign in signs)]
    first = lower + offsets.astype(int)
    last = upper + offsets.astype(int)
    placed[tuple(map(slice, lower, upper))] = aligned[tuple(map(slice, first, last))]
    return placed


def _box(labels: LabelArray, affine: NDArray[np.float64]) -> NDArray[np.float64]:
    """Lowest and highest world coordinates [2, 3] of the structures [mm]."""
    ends = []
    for axis in range(3):
        occupied = np.flatnonzero(labels.any(axis=tuple({0, 1, 2} - {axis})))
        ends.append((occupied[0] - 0.5, occupied[-1] + 0.5))
    world = affine[:3, :3] @ np.array(np.meshgrid(*ends)).reshape(3, -1) + affine[:3, 3:]
    return np.stack([world.min(axis=1), world.max(axis=1)])


def _size(spacing_mm: NDArray[np.float64]) -> str:
    return " x ".join(f"{value:.3g}" for value in spacing_mm)


def _extent(box: NDArray[np.float64]) -> str:
    return " x ".join(f"{low:.0f}..{high:.0f}" for low, high in box.T)


# What a path holds --------------------------------------------------------------------------------------


def _parts(path: Path) -> LabelMap | Iterator[LabelMap]:
    """One label map, or label maps with the one structure that each names."""
    files = (
        sorted(filter(_is_mask, path.iterdir()), key=lambda file: file.name.lower()) if path.is_dir() else []
    )
    if files:
        return _single_masks(path, files)
    segmentations = find_segmentations(path) if path.exists() else []
    if len(segmentations) > 1:
        return (one for file in segmentations for one in _each(read_segmentation(file)))
    return read_segmentation(segmentations[0]) if segmentations else read_label_file(path)


def _is_mask(path: Path) -> bool:
    return is_image(path) and path.is_file() and not path.name.startswith(".")


def _single_masks(folder: Path, files: Sequence[Path]) -> Iterator[LabelMap]:
    """The structure in every file of a folder, named by the file; of a single file all structures.

    Raises:
        InputError: a file with several structures beside others.
    """
    for file in files:
        label_map = read_label_file(file)
        present = np.flatnonzero(_counts(label_map.labels)[1:]) + 1
        if len(present) > 1 and len(files) > 1:
            raise InputError(
                f"{file} has {len(present)} labels, but a folder of masks has one structure a file: take it"
                f" out of {folder}, or give that file alone as the label map",
                code="labels.not-labels",
            )
        if len(present) > 1:
            names = {label: label_map.names.get(label, f"label_{label}") for label in present.tolist()}
            yield from _each(replace(label_map, names=names))
        else:
            label = int(present[0]) if len(present) else 1
            yield replace(label_map, names={label: label_map.names.get(label, _stem(file))})


def _each(label_map: LabelMap) -> Iterator[LabelMap]:
    """Every named structure of a label map on its own."""
    for label, name in label_map.names.items():
        mask = (label_map.labels == label).astype(np.uint8)
        yield LabelMap(labels=mask, world_from_voxel=label_map.world_from_voxel, names={1: name})


def _stem(file: Path) -> str:
    suffix = next(suffix for suffix in IMAGE_SUFFIXES if file.name.lower().endswith(suffix))
    stem = file.name[: -len(suffix)]
    return stem[:-4] if stem.lower().endswith(".seg") else stem


def _counts(labels: LabelArray) -> NDArray[np.int64]:
    """Number of voxels of every label; row by row, because it makes 64-bit numbers of them."""
    counts = np.zeros(int(labels.max()) + 1, dtype=np.int64)
    for row in labels:
        counts += np.bincount(row.ravel(), minlength=len(counts))
    return counts
