"""A CT volume: Hounsfield units, their place in the world, and labelled structures."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from itertools import pairwise
from pathlib import Path
from typing import Any

import nibabel as nib
import numpy as np
from numpy.typing import NDArray

from ..errors import InputError, UsageError
from . import readers
from ._ct_identity import ct_identity
from ._grid import HuArray, LabelArray, check_affine
from .attenuation import AttenuationConfig, attenuation_of
from .config import Material
from .correction import CTCorrection
from .findings import Finding, gathered
from .identity import Identity
from .labels import read_labels_onto

Structures = Sequence[int | str]


@dataclass(frozen=True, eq=False, kw_only=True)
class Volume:
    """A CT on its voxel grid.

    The world is the patient frame, right-anterior-superior (RAS+), in millimetres. Nothing is reoriented on
    reading: `world_from_voxel` says where the voxels are.

    Attributes:
        hu: Hounsfield units [nx, ny, nz], int16 or float32, C-contiguous.
        world_from_voxel: affine [4, 4], float64; voxel centres at integers, world in RAS mm.
        labels: structure of every voxel on the same grid, uint8 or uint16, 0 for none.
        label_names: names of the structures by label.
        path: the file or folder it was read from.
        identity: whom the file says it shows.
        findings: what is odd about the file.

    Raises:
        InputError: arrays of another shape or type, or an affine that is singular or not finite.
    """

    hu: HuArray
    world_from_voxel: NDArray[np.float64]
    labels: LabelArray | None = None
    label_names: Mapping[int, str] = field(default_factory=dict)
    path: Path | None = None
    identity: Identity = field(default_factory=Identity)
    findings: tuple[Finding, ...] = ()

    def __post_init__(self) -> None:
        if self.hu.ndim != 3 or self.hu.size == 0:
            raise InputError(
                f"hu must be an array [nx, ny, nz] with at least one voxel, not {self.hu.shape}",
                code="ct.wrong-shape",
            )
        if self.hu.dtype not in (np.int16, np.float32):
            raise InputError(f"hu must be int16 or float32, not {self.hu.dtype}", code="ct.invalid-value")
        affine = np.array(self.world_from_voxel, dtype=np.float64)
        check_affine(affine, "world_from_voxel")
        object.__setattr__(self, "hu", np.ascontiguousarray(self.hu))
        object.__setattr__(self, "world_from_voxel", affine)
        if self.labels is not None:
            if self.labels.shape != self.hu.shape:
                raise InputError(
                    f"labels {self.labels.shape} and hu {self.hu.shape} must have the same shape",
                    code="ct.wrong-shape",
                )
            if self.labels.dtype not in (np.uint8, np.uint16):
                raise InputError(
                    f"labels must be uint8 or uint16, not {self.labels.dtype}", code="ct.invalid-value"
                )
            object.__setattr__(self, "labels", np.ascontiguousarray(self.labels))

    @classmethod
    def read(
        cls,
        path: str | Path,
        *,
        labels: str | Path | None = None,
        correction: CTCorrection | None = None,
    ) -> Volume:
        """Read a CT from NIfTI (.nii, .nii.gz), NRRD, MetaImage, DICOM files or a folder with one of these.

        One DICOM file stands for its whole series, in the folder it lies in, and a DICOMDIR for all files
        below its folder. Slices that are uneven, or displaced as by a tilted gantry, are resampled; voxels
        that are NaN outside of what was scanned are air. The label map may have any of the image formats; a
        JSON file of its name beside it, {"1": "hip_left", ...}, names the structures. A correction holds for
        the label map's position as well.

        Raises:
            InputError: files that are missing, broken, not a three-dimensional CT, or label maps on another
                grid.
            UsageError: a correction that this file has no use for.

        Warns:
            GeometryWarning: everything that was assumed, resampled, filled or left out, or values unlike
                Hounsfield units.
        """
        path, correction = Path(path), correction or CTCorrection()
        with gathered("CT") as found:
            volume = cls._read(path, labels, correction)
        return replace(volume, identity=ct_identity(path, correction), findings=tuple(found))

    @classmethod
    def _read(cls, path: Path, labels: str | Path | None, correction: CTCorrection) -> Volume:
        values, affine = readers.read_grid(path, correction)
        hu, affine = correction.hu(values), correction.world_from_voxel(affine)
        readers.warn_unless_hounsfield(hu, path)
        volume = cls(hu=hu, world_from_voxel=affine, path=path)
        if labels is None:
            return volume
        return volume.with_labels(
            *read_labels_onto(Path(labels), volume.shape, volume.world_from_voxel, correction)
        )

    @property
    def shape(self) -> tuple[int, int, int]:
        """Voxels along each axis (nx, ny, nz)."""
        nx, ny, nz = self.hu.shape
        return nx, ny, nz

    @property
    def spacing_mm(self) -> NDArray[np.float64]:
        """Distance of neighbouring voxels along each axis [3] [mm]."""
        return np.linalg.norm(self.world_from_voxel[:3, :3], axis=0)

    @property
    def isocentre_world(self) -> NDArray[np.float64]:
        """Centre of the grid [3] in the world [mm]."""
        centre = (np.array(self.shape) - 1) / 2
        return self.world_from_voxel[:3, :3] @ centre + self.world_from_voxel[:3, 3]

    @property
    def orientation(self) -> str:
        """The direction in which each axis points most nearly, such as 'LAS'."""
        return "".join(nib.aff2axcodes(self.world_from_voxel))

    def attenuation(
        self,
        slices: slice = slice(None),
        *,
        structures: Structures | None = None,
        material: Material = "all",
        config: AttenuationConfig | None = None,
    ) -> NDArray[np.float32]:
        """Linear attenuation [1/mm] of some rows of the first axis, float32 [rows, ny, nz].

        Work slab by slab to avoid a float32 copy of the whole volume beside the result.

        Args:
            slices: rows of the first axis.
            structures: labels or names of the structures to keep; the rest becomes 0.
            material: keep only that component (`split_materials`).

        Raises:
            UsageError: structures of a volume without labels, an unknown structure or material.
        """
        mu = attenuation_of(self.hu[slices], material, config)
        if structures is not None:
            mu *= self.structure_mask(structures, slices)
        return mu

    def structure_mask(
        self,
        structures: Structures,
        slices: slice = slice(None),
    ) -> NDArray[np.bool_]:
        """Return where the voxels of some rows belong to one of the structures, bool [rows, ny, nz].

        Raises:
            UsageError: a volume without labels, or an unknown structure.
        """
        if self.labels is None:
            raise UsageError(
                "structures can be selected only where the volume has a label map (`labels`)",
                code="labels.missing",
            )
        wanted = np.zeros(np.iinfo(self.labels.dtype).max + 1, dtype=bool)
        wanted[[self._label(structure) for structure in structures]] = True
        return wanted[self.labels[slices]]

    def with_labels(self, labels: LabelArray, label_names: Mapping[int, str]) -> Volume:
        """Return the CT with a label map [nx, ny, nz], uint8 or uint16, and the names of its structures."""
        return replace(self, labels=labels, label_names=dict(label_names))

    def crop(self, lower: Sequence[int], upper: Sequence[int]) -> Volume:
        """The voxels from `lower` up to but without `upper` (both [3]); what remains stays where it is.

        Raises:
            UsageError: bounds outside the volume, or nothing between them.
        """
        bounds = list(zip(lower, upper, self.shape, strict=True))
        if not all(0 <= first < last <= count for first, last, count in bounds):
            raise UsageError(
                f"crop bounds {tuple(lower)} to {tuple(upper)} must be whole voxels within {self.shape}",
                code="ct.wrong-shape",
            )
        window = tuple(slice(first, last) for first, last, _ in bounds)
        affine = self.world_from_voxel.copy()
        affine[:3, 3] += affine[:3, :3] @ np.array(lower)
        return replace(
            self,
            hu=self.hu[window],
            world_from_voxel=affine,
            labels=None if self.labels is None else self.labels[window],
        )

    def crop_to_structures(self, structures: Structures, margin_mm: float) -> Volume:
        """The smallest box around the structures, wider by `margin_mm` on every side within the volume.

        Raises:
            UsageError: as for `structure_mask`, a negative margin, or structures without any voxel.
        """
        if margin_mm < 0:
            raise UsageError(f"margin_mm must not be negative, not {margin_mm}", code="ct.invalid-value")
        mask = self.structure_mask(structures)
        if not mask.any():
            raise UsageError(
                f"the label map has no voxel of {', '.join(map(str, structures))}",
                code="labels.structure-missing",
            )
        margin = np.ceil(margin_mm / self.spacing_mm).astype(int)
        lower, upper = [], []
        for axis in range(3):
            occupied = np.flatnonzero(mask.any(axis=tuple({0, 1, 2} - {axis})))
            lower.append(max(int(occupied[0] - margin[axis]), 0))
            upper.append(min(int(occupied[-1] + 1 + margin[axis]), self.shape[axis]))
        return self.crop(lower, upper)

    def downsample(self, factors: tuple[int, int, int]) -> Volume:
        """Average blocks of voxels, for a coarser level; hu becomes float32.

        A remainder at the far end is filled up with its last voxel. Every new voxel lies at the centre of its
        block and takes the block's most frequent label, the smallest of equals.

        Raises:
            UsageError: a factor below one.
        """
        if len(factors) != 3 or min(factors) < 1:
            raise UsageError(
                f"downsampling needs three factors of at least 1, not {factors}", code="ct.invalid-value"
            )
        scale = np.eye(4)
        scale[range(3), range(3)] = factors
        scale[:3, 3] = (np.array(factors) - 1) / 2
        return replace(
            self,
            hu=_reduce_blocks(self.hu, factors, _mean, np.float32),
            world_from_voxel=self.world_from_voxel @ scale,
            labels=None
            if self.labels is None
            else _reduce_blocks(self.labels, factors, _mode, self.labels.dtype),
        )

    def coarsened(self, voxel_mm: float) -> Volume:
        """`downsample` to voxels of about this size [mm]; what is as coarse already stays."""
        i, j, k = np.clip(np.rint(voxel_mm / self.spacing_mm).astype(int), 1, self.shape).tolist()
        return self.downsample((i, j, k))

    def _label(self, structure: int | str) -> int:
        if isinstance(structure, str):
            labels = [label for label, name in self.label_names.items() if name == structure]
            if not labels:
                known = ", ".join(self.label_names.values()) or "none: the label map came without names"
                raise UsageError(
                    f"unknown structure {structure!r}; known names: {known}", code="labels.structure-missing"
                )
            return labels[0]
        assert self.labels is not None
        if not 0 < structure <= np.iinfo(self.labels.dtype).max:
            raise UsageError(
                f"label {structure} is outside the label map's range", code="labels.structure-missing"
            )
        return structure


def check_same_grid(
    volume: Volume, labels: NDArray[np.generic], affine: NDArray[np.float64], source: str
) -> None:
    """Refuse a label map that does not lie on the CT's grid.

    Args:
        volume: the CT.
        labels: [nx, ny, nz].
        affine: the affine of the label map, world_from_voxel [4, 4].
        source: what it is and where it is from, for the message.

    Raises:
        InputError: it has other voxels, or they lie more than a tenth of a voxel off.
    """
    if labels.shape != volume.shape:
        raise InputError(
            f"{source} has {labels.shape} voxels but the CT {volume.shape}: resample it to the CT's grid",
            code="ct.wrong-shape",
        )
    far_corner = np.array([*volume.shape, 1.0])
    reach = np.abs(affine - volume.world_from_voxel) @ far_corner
    if reach.max() > 0.1 * volume.spacing_mm.min():
        raise InputError(
            f"{source} lies up to {reach.max():.3g} mm off the CT's grid: resample it to the CT's grid",
            code="ct.wrong-shape",
        )


def _reduce_blocks(
    array: NDArray[Any],
    factors: tuple[int, int, int],
    reduce: Callable[[NDArray[Any]], NDArray[Any]],
    dtype: type[np.generic] | np.dtype[Any],
) -> NDArray[Any]:
    """Apply `reduce` to blocks [fx, cy, fy, cz, fz] -> [cy, cz], one row of the result at a time."""
    cx, cy, cz = (-(-count // factor) for count, factor in zip(array.shape, factors, strict=True))
    fx, fy, fz = factors
    missing = ((0, 0), (0, cy * fy - array.shape[1]), (0, cz * fz - array.shape[2]))
    reduced = np.empty((cx, cy, cz), dtype)
    for row in range(cx):
        sources = np.minimum(np.arange(row * fx, (row + 1) * fx), array.shape[0] - 1)
        slab = np.pad(array[sources], missing, mode="edge")
        reduced[row] = reduce(slab.reshape(fx, cy, fy, cz, fz))
    return reduced


def _mean(blocks: NDArray[Any]) -> NDArray[Any]:
    # Axis by axis: numpy sums over leading axes much faster than over short trailing ones.
    return blocks.mean(axis=0, dtype=np.float32).mean(axis=1).mean(axis=-1)


def _mode(blocks: NDArray[Any]) -> NDArray[Any]:
    """Most frequent value of each block: the longest run of its sorted voxels."""
    fx, cy, fy, cz, fz = blocks.shape
    ordered = np.sort(blocks.transpose(0, 2, 4, 1, 3).reshape(fx * fy * fz, cy, cz), axis=0)
    mode = ordered[0].copy()
    run = np.ones((cy, cz), dtype=np.int64)
    longest = run.copy()
    for previous, current in pairwise(ordered):
        run = np.where(current == previous, run + 1, 1)
        longer = run > longest
        mode[longer] = current[longer]
        longest[longer] = run[longer]
    return mode
