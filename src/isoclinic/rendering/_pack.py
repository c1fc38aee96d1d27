"""A CT in the form that the kernels read: 16-bit attenuation, two neighbours a word, an empty border."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Any
from weakref import WeakKeyDictionary

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from ..errors import InputError
from ..volumes import Material, Volume, mu_from_hu
from ..volumes.attenuation import attenuation_of
from ._pack_kernel import pack_whole_numbers

Structures = Sequence[int | str] | None

_STORED_MAX = 65535
# A cache line of 64 bytes.
_LINE_WORDS = 16
# The kernels' indices are signed 32-bit numbers; see `_ray`.
_MOST_WORDS = 2**31 - 1
_WHOLE_NUMBERS = np.arange(-32768, 32768, dtype=np.int16)
_cache: WeakKeyDictionary[Volume, dict[tuple[Any, ...], PackedVolume]] = WeakKeyDictionary()


_borders: WeakKeyDictionary[PackedVolume, PackedVolume] = WeakKeyDictionary()


@dataclass(frozen=True, kw_only=True, eq=False)
class PackedVolume:
    """Linear attenuation of a volume, quantised and packed.

    A word holds voxel (i, j, k) in its low and voxel (i, j, k + 1) in its high half, so that one 32-bit load
    fetches both; a CT has at most 16 bits to begin with. Memory: that of the volume in float32, and a little
    more where rows are padded.

    Attributes:
        words: [nx + 2, ny + 2, row], uint32, C order. Rows begin at cache lines, which makes rendering up to
            twice as fast; what is beyond `size` is 0.
        size: voxels per axis with the border of one empty voxel on each side.
        scale_per_mm: attenuation of one stored unit [1/mm].
        voxel_from_world: [4, 4], float64; voxel centres at integers, the border included.
    """

    words: NDArray[np.uint32]
    size: tuple[int, int, int]
    scale_per_mm: float
    voxel_from_world: NDArray[np.float64]

    def dense(self, dtype: torch.dtype = torch.float32) -> Tensor:
        """The attenuation the kernels see [1/mm], border included, [nx + 2, ny + 2, nz + 2]."""
        low = (self.words[:, :, : self.size[2]] & np.uint32(0xFFFF)).astype(np.int32)
        return torch.from_numpy(low).to(dtype) * self.scale_per_mm

    def border(self) -> PackedVolume:
        """Nothing but the outermost layer of voxels on each of the six sides."""
        if self not in _borders:
            _borders[self] = self._border()
        return _borders[self]

    def _border(self) -> PackedVolume:
        whole, words = self.words, _empty_words(self.size)
        # Along these two, a voxel and its neighbour in the same word lie in the same layer.
        for layer in (1, self.size[0] - 2):
            words[layer] = whole[layer]
        for layer in (1, self.size[1] - 2):
            words[:, layer] = whole[:, layer]
        for layer in (1, self.size[2] - 2):
            voxels = whole[:, :, layer] & np.uint32(0xFFFF)
            words[:, :, layer] |= voxels
            words[:, :, layer - 1] |= voxels << np.uint32(16)
        return replace(self, words=words)


def pack(
    volume: Volume,
    factors: tuple[int, int, int] = (1, 1, 1),
    *,
    structures: Structures = None,
    material: Material = "all",
) -> PackedVolume:
    """The packed attenuation of a volume, averaged over blocks of `factors` voxels; kept while it lives.

    Averaging attenuation, not Hounsfield units, keeps line integrals: the conversion is not linear. A block
    that reaches beyond the volume is averaged with the empty space there. Works through the volume slab by
    slab, so that no full float copy ever exists.

    Args:
        volume: the CT.
        factors: block size per axis [voxels].
        structures: labels or names to keep; all tissue when None.
        material: all of the attenuation, or its soft-tissue or bone component.

    Raises:
        UsageError: a structure or material the volume does not have.
    """
    key = (factors, None if structures is None else tuple(structures), material)
    levels = _cache.setdefault(volume, {})
    if key not in levels:
        levels[key] = _pack(volume, factors, structures, material)
    return levels[key]


def _pack(
    volume: Volume, factors: tuple[int, int, int], structures: Structures, material: Material
) -> PackedVolume:
    if structures is not None:
        volume = volume.crop_to_structures(structures, margin_mm=0.0)
    shape = tuple(-(-n // f) for n, f in zip(volume.hu.shape, factors, strict=True))
    size = (shape[0] + 2, shape[1] + 2, shape[2] + 2)
    peak = float(mu_from_hu(volume.hu.max()))
    scale = peak / _STORED_MAX if peak > 0 else 1.0
    words = _empty_words(size)
    if volume.hu.dtype == np.int16 and structures is None:
        table = attenuation_of(_WHOLE_NUMBERS, material)
        pack_whole_numbers(volume.hu, table, factors, np.float32(scale), words)
    else:
        _pack_slabs(volume, factors, scale, words[:, :, : size[2]], structures, material)
    world_from_voxel = volume.world_from_voxel @ _block_affine(factors)
    return PackedVolume(
        words=words,
        size=size,
        scale_per_mm=scale,
        voxel_from_world=np.linalg.inv(world_from_voxel).astype(np.float64, copy=False),
    )


def _empty_words(size: tuple[int, int, int]) -> NDArray[np.uint32]:
    """Words for so many voxels per axis, all zero, with rows that begin at cache lines.

    Rows are odd numbers of cache lines long: were they powers of two, the voxels of neighbouring rows would
    displace each other from the caches.

    Raises:
        InputError: more words than an index of the kernels reaches.
    """
    lines = -(-size[2] // _LINE_WORDS)
    row = _LINE_WORDS * (lines + 1 - lines % 2)
    count = size[0] * size[1] * row
    if count > _MOST_WORDS:
        raise InputError(
            f"the CT has too many voxels to be rendered at this resolution, {' x '.join(map(str, size))}; "
            "crop it, or render it with larger voxels (`voxel_mm`)",
            code="ct.too-large",
        )
    memory = np.zeros(count + _LINE_WORDS, dtype=np.uint32)
    begin = -(memory.ctypes.data // memory.itemsize) % _LINE_WORDS
    return memory[begin : begin + count].reshape(size[0], size[1], row)


def _pack_slabs(
    volume: Volume,
    factors: tuple[int, int, int],
    scale: float,
    words: NDArray[np.uint32],
    structures: Structures,
    material: Material,
) -> None:
    """`pack_whole_numbers` for any values and for structures."""
    for i in range(words.shape[0] - 2):
        rows = slice(i * factors[0], (i + 1) * factors[0])
        mu = volume.attenuation(rows, structures=structures, material=material).sum(axis=0) / factors[0]
        mu = _block_mean(mu, factors[1:])
        stored = np.rint(mu / scale).astype(np.uint32)
        words[i + 1, 1:-1, 1:-1] = stored
        words[i + 1, 1:-1, :-2] |= stored << np.uint32(16)


def _block_mean(plane: NDArray[np.float32], factors: tuple[int, ...]) -> NDArray[np.float32]:
    if factors == (1, 1):
        return plane
    padding = [(0, -n % f) for n, f in zip(plane.shape, factors, strict=True)]
    plane = np.pad(plane, padding)
    rows, columns = (n // f for n, f in zip(plane.shape, factors, strict=True))
    blocks: NDArray[np.float32] = plane.reshape(rows, factors[0], columns, factors[1]).mean(axis=(1, 3))
    return blocks


def _block_affine(factors: tuple[int, int, int]) -> NDArray[np.float64]:
    """Fine voxel from packed voxel: block centres, and the border shifts indices by one."""
    scale = np.asarray(factors, dtype=np.float64)
    affine = np.diag([*scale, 1.0])
    affine[:3, 3] = (scale - 1) / 2 - scale
    return affine
