"""Patients made up: a body of soft tissue with bones of the kinds there are, in no order found in nature.

Networks that compare images need shapes with the edges and densities of bone, not anatomy. Every bone is
given by a distance field, negative inside, and is compact at its surface and spongy below.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray
from scipy.spatial.transform import Rotation

from ..volumes import Volume
from .config import Counts, SkeletonConfig

Floats = NDArray[np.float64]
Field = NDArray[np.float32]

# Hounsfield units of the tissues, as ranges: Schneider, Bortfeld & Schlegel 2000, Phys. Med. Biol. 45:459.
_AIR, _FAT, _SOFT, _SPONGY, _COMPACT = -1000.0, (-110, -70), (10, 60), (120, 350), (600, 1300)
_FAR_MM = 1e3


def synthetic_skeleton(config: SkeletonConfig, generator: np.random.Generator) -> Volume:
    """A patient nobody has, centred at the world's origin, RAS."""
    size, mm = config.voxels, config.voxel_mm
    axis = (np.arange(size, dtype=np.float64) - (size - 1) / 2) * mm
    canvas = _Canvas(axis, generator)
    hu = canvas.body()
    for cavity, counts in ((False, config.organs), (True, config.cavities)):
        for _ in range(_count(counts, generator)):
            canvas.organ(hu, cavity=cavity)
    distance = np.full(hu.shape, _FAR_MM, np.float32)
    drawers = (
        (canvas.column, config.columns),
        (canvas.tube, config.tubes),
        (canvas.plate, config.plates),
        (canvas.ball, config.balls),
    )
    for draw, counts in drawers:
        for _ in range(_count(counts, generator)):
            draw(distance)
    _mineralise(hu, distance, mm, generator)
    affine = np.diag([mm, mm, mm, 1.0])
    affine[:3, 3] = axis[0]
    return Volume(hu=hu, world_from_voxel=affine)


class _Canvas:
    """Draws on a cubic grid with voxel centres at `axis` x `axis` x `axis` [mm]."""

    def __init__(self, axis: Floats, generator: np.random.Generator) -> None:
        self.axis = axis.astype(np.float32)
        self.reach_mm = float(-axis[0])
        self.generator = generator

    def body(self) -> Field:
        """Air around a rounded trunk or limb with a layer of fat; along z it goes on beyond the grid."""
        u = self.generator.uniform
        semi = self.reach_mm * np.array([u(0.5, 0.95), u(0.4, 0.75)])
        power = u(2.0, 3.0)
        x, y = np.abs(self.axis[:, None] / semi[0]), np.abs(self.axis[None] / semi[1])
        depth = ((1 - (x**power + y**power) ** (1 / power)) * semi.min()).astype(np.float32)
        fat_mm, fat, soft = u(3, 30), u(*_FAT), u(*_SOFT)
        section = np.interp(depth, (-2, 2, fat_mm, fat_mm + 6), (_AIR, fat, fat, soft)).astype(np.float32)
        return np.repeat(section[:, :, None], len(self.axis), axis=2)

    def organ(self, hu: Field, *, cavity: bool) -> None:
        """A ball of another density inside the body."""
        u = self.generator.uniform
        window, inside = self._ellipsoid(u(15, 70, size=3), self._place(0.5))
        value = u(-950, -800) if cavity else u(-30, 90)
        share = np.clip(0.5 - inside / 6, 0, 1) * (hu[window] > -500)
        hu[window] += share * (value - hu[window])

    def column(self, distance: Field) -> None:
        """Blocks in a gently bent row, each with three processes."""
        u = self.generator.uniform
        path = self._curve(length_mm=1.8 * self.reach_mm, bend=0.15, upright=True)
        radius, height = u(14, 24), u(18, 34)
        along = np.concatenate([[0], np.cumsum(np.linalg.norm(np.diff(path, axis=0), axis=1))])
        side, back = self._across(path[-1] - path[0])
        for place in np.arange(0, along[-1], height + u(3, 9)):
            centre = np.array([np.interp(place, along, path[:, a]) for a in range(3)])
            self._block(distance, centre, path[-1] - path[0], radius, height)
            for direction in (back, (side + back) / 2, (back - side) / 2):
                self._stamp(distance, centre + np.outer(np.linspace(1, 2.2, 8), radius * direction), u(3, 6))

    def tube(self, distance: Field) -> None:
        """A straight or bent tube, wider at its ends."""
        u = self.generator.uniform
        bent = self.generator.random() < 0.6
        path = self._curve(length_mm=u(60, 350), bend=u(0.2, 0.6) if bent else u(0, 0.05), upright=False)
        radius = u(3, 7) if bent else u(6, 18)
        ends = np.linspace(-1, 1, len(path)) ** 4
        self._stamp(distance, path, radius * (1 + u(0, 0.8) * ends))

    def plate(self, distance: Field) -> None:
        """A part of the shell of an ellipsoid."""
        u, centre = self.generator.uniform, self._place(0.4)
        thickness, normal = u(5, 14), self._direction()
        window, inside = self._ellipsoid(u(35, 110, size=3), centre)
        x, y, z = (self.axis[part] - c for part, c in zip(window, centre, strict=True))
        plane = x[:, None, None] * normal[0] + y[:, None] * normal[1] + z * normal[2]
        shell = np.maximum(np.abs(inside) - thickness / 2, plane - u(-20, 40))
        distance[window] = np.minimum(distance[window], shell)

    def ball(self, distance: Field) -> None:
        """A ball, hardly flattened."""
        window, inside = self._ellipsoid(
            self.generator.uniform(12, 28) * self.generator.uniform(0.85, 1.15, 3), self._place(0.6)
        )
        distance[window] = np.minimum(distance[window], inside)

    def _block(self, distance: Field, centre: Floats, along: Floats, radius: float, height: float) -> None:
        """A cylinder about the direction `along`, as a vertebral body is."""
        window = self._window(centre, np.full(3, max(radius, height)))
        x, y, z = (self.axis[part] - c for part, c in zip(window, centre, strict=True))
        direction = along / np.linalg.norm(along)
        height_at = x[:, None, None] * direction[0] + y[:, None] * direction[1] + z * direction[2]
        squared = (x**2)[:, None, None] + (y**2)[:, None] + z**2
        around = np.sqrt(np.maximum(squared - height_at**2, 0)) - radius
        inside = np.maximum(around, np.abs(height_at) - height / 2)
        distance[window] = np.minimum(distance[window], inside)

    def _stamp(self, distance: Field, path: Floats, radius_mm: float | Floats) -> None:
        """A tube of given radii about points [N, 3]."""
        for point, radius in zip(path, np.broadcast_to(radius_mm, len(path)), strict=True):
            window = self._window(point, np.full(3, radius))
            x, y, z = (self.axis[part] - c for part, c in zip(window, point, strict=True))
            ball = np.sqrt((x**2)[:, None, None] + (y**2)[:, None] + z**2) - radius
            distance[window] = np.minimum(distance[window], ball)

    def _ellipsoid(self, semi_mm: Floats, centre: Floats) -> tuple[tuple[slice, ...], Field]:
        """Roughly the distance to a turned ellipsoid's surface, where it is small."""
        window = self._window(centre, np.full(3, semi_mm.max()))
        rotation = Rotation.random(random_state=self.generator).as_matrix() / semi_mm
        x, y, z = (self.axis[part] - c for part, c in zip(window, centre, strict=True))
        scaled = [x[:, None, None] * r[0] + y[:, None] * r[1] + z * r[2] for r in rotation.T]
        inside = (np.sqrt(sum(part**2 for part in scaled)) - 1) * semi_mm.min()
        return window, inside.astype(np.float32)

    def _window(self, centre: Floats, reach_mm: Floats) -> tuple[slice, ...]:
        """The part of the grid within a reach, and two voxels more."""
        step = float(self.axis[1] - self.axis[0])
        first = np.floor((centre - reach_mm - self.axis[0]) / step).astype(int) - 1
        last = np.ceil((centre + reach_mm - self.axis[0]) / step).astype(int) + 2
        return tuple(slice(*np.clip((a, b), 0, len(self.axis))) for a, b in zip(first, last, strict=True))

    def _curve(self, *, length_mm: float, bend: float, upright: bool) -> Floats:
        """Points [N, 3] 3 mm apart or nearer on an arc; `bend` is its height over its length."""
        middle, direction = self._place(0.5), self._direction()
        if upright:
            middle[2], direction = 0.0, np.array([0.0, 0.0, 1.0]) + 0.15 * direction
        side, _ = self._across(direction)
        along = np.linspace(-0.5, 0.5, max(int(length_mm / 3) + 1, 2))
        height = bend * (1 - 4 * along**2)
        points: Floats = middle + length_mm * (np.outer(along, direction) + np.outer(height, side))
        return points

    def _across(self, direction: Floats) -> tuple[Floats, Floats]:
        """Two unit vectors perpendicular to a direction and to each other."""
        side = np.cross(direction, self._direction())
        side /= np.linalg.norm(side)
        back = np.cross(direction, side)
        return side, back / np.linalg.norm(back)

    def _direction(self) -> Floats:
        vector = self.generator.normal(size=3)
        unit: Floats = vector / np.linalg.norm(vector)
        return unit

    def _place(self, share: float) -> Floats:
        """Somewhere in the middle of the grid."""
        return self.generator.uniform(-share, share, size=3) * self.reach_mm


def _mineralise(hu: Field, distance: Field, voxel_mm: float, generator: np.random.Generator) -> None:
    """Turn what lies inside of bones to bone: compact to a depth, spongy below."""
    compact, spongy = generator.uniform(*_COMPACT), generator.uniform(*_SPONGY)
    shell_mm = generator.uniform(1.5, 5)
    bone = np.interp(-distance, (shell_mm - 1, shell_mm + 2), (compact, spongy)).astype(np.float32)
    share = np.clip(0.5 - distance / voxel_mm, 0, 1)
    hu += share * (bone - hu)


def _count(counts: Counts, generator: np.random.Generator) -> int:
    return int(generator.integers(counts[0], counts[1], endpoint=True))
