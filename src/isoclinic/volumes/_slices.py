"""Parallel slices at any positions to one grid with axes at right angles."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from scipy import ndimage

from ..errors import InputError

# A slice this far from an even grid is taken as on it [mm]: a quarter of a thick pixel.
_OFF_GRID_MM = 0.25
# The same as a share of the spacing: a slice that is missing puts others off by half of it.
_OFF_GRID_SHARE = 0.25
# What positions rounded to 0.1 mm leave against a grid between two of them; more is told [mm].
_ROUNDING_MM = 0.11
# Sideways drift per axial millimetre that is kept as a shear of the affine: 0.1 degree of gantry tilt.
_DRIFT_KEPT = 2e-3
# Of uneven slices, how many must lie on one even grid for it to be theirs.
_ON_GRID_SHARE = 0.8
# No gantry tilts further [deg]; scanners stop at 30.
_MOST_TILT_DEG = 45.0
# A gap of one slice, with rounding, over the usual step.
_ONE_MISSING = 2.25
# No CT has slices further apart [mm].
_WIDEST_STEP_MM = 30.0
# Steps that differ by less are the same [mm, share].
_SAME_STEP_MM, _SAME_STEP_SHARE = 0.12, 0.05
# Outside of what was scanned.
_AIR_HU = -1000.0

_Vector = NDArray[np.float64]
_Image = NDArray[np.float32]


@dataclass(frozen=True, eq=False, kw_only=True)
class Stack:
    """Parallel slices sorted along their normal, which is the cross product of the axes.

    Attributes:
        positions: centre of each slice's first voxel [n, 3] [mm].
        axes: unit vectors at right angles [2, 3], along which the first and second voxel index grow.
        spacing_mm: distance of neighbouring voxels along both axes.
        shape: voxels along both axes.
        names: the names of the slices, for messages.
    """

    positions: _Vector
    axes: _Vector
    spacing_mm: tuple[float, float]
    shape: tuple[int, int]
    names: Sequence[str]

    @property
    def axial(self) -> _Vector:
        """Positions along the normal [n] [mm]."""
        axial: _Vector = self.positions @ np.cross(*self.axes)
        return axial

    @property
    def tilt_deg(self) -> float:
        """Angle between the normal and the line from the first slice to the last [deg]."""
        along = self.positions[-1] - self.positions[0]
        sideways = float(np.linalg.norm(self.axes @ along))
        return float(np.degrees(np.arctan2(sideways, self.axial[-1] - self.axial[0])))


@dataclass(frozen=True, eq=False, kw_only=True)
class Grid:
    """Where the voxels of the volume come from.

    Attributes:
        shape: the shape of the volume.
        world_from_voxel: affine [4, 4] in the world of the slices' positions.
        sources: for each slice of the volume, the slice before it and the weight of the one after that one.
        shifts: by how many voxels each source is displaced along both axes [n, 2]; None if it is not.
        notes: what was done to the slices, as sentences.
    """

    shape: tuple[int, int, int]
    world_from_voxel: _Vector
    sources: tuple[tuple[int, float], ...]
    shifts: _Vector | None
    notes: tuple[str, ...]

    @property
    def interpolated(self) -> bool:
        """Tell whether its slices are others than those that were given, as these are not evenly spaced."""
        return self.sources != tuple((index, 0.0) for index in range(len(self.sources)))


def is_even(axial: _Vector) -> bool:
    """Tell whether sorted places along the normal [n] [mm] lie on an even grid."""
    off, step = _off_grid(axial)
    return bool(off.max(initial=0) <= min(_OFF_GRID_MM, _OFF_GRID_SHARE * step) + 1e-6)


def _off_grid(axial: _Vector) -> tuple[_Vector, float]:
    """How far each place is off the even grid between the first and the last, and that grid's step."""
    if len(axial) < 2:
        return np.zeros(len(axial)), 0.0
    step = float(axial[-1] - axial[0]) / (len(axial) - 1)
    return np.abs(axial - axial[0] - step * np.arange(len(axial))), step


def fit_grid(stack: Stack, *, widest_gap_mm: float | None = None) -> Grid:
    """The grid on which a stack of two or more slices at different positions lies, or comes to lie.

    Slices on an even grid within a quarter of a millimetre stay as they are, end to end over their number.
    Uneven ones are interpolated linearly to the finer of their spacings, over a single missing slice too:
    what lies next to it has its right place either way, and the warning tells of it. Slices that are
    displaced sideways, as by a tilted gantry, are shifted back within their planes.

    Args:
        stack: the slices.
        widest_gap_mm: interpolate over gaps up to this wide, instead of over one missing slice.

    Raises:
        InputError: wider gaps, or slices displaced by more than a gantry tilts.
    """
    notes: list[str] = []
    axial = stack.axial
    places, sources = _along_normal(stack, axial, widest_gap_mm, notes)
    normal = np.cross(*stack.axes)
    step, start = float(places[1] - places[0]), float(places[0] - axial[0])
    sideways = (stack.positions - stack.positions[0]) @ stack.axes.T
    line = (axial - axial[0])[:, None] * sideways[-1] / (axial[-1] - axial[0])
    drift = float(np.linalg.norm(sideways[-1]) / (axial[-1] - axial[0]))
    residual = float(np.linalg.norm(sideways - line, axis=1).max())
    affine = np.eye(4)
    affine[:3, :2] = stack.axes.T * stack.spacing_mm
    if drift <= _DRIFT_KEPT and residual <= _OFF_GRID_MM:
        along = (stack.positions[-1] - stack.positions[0]) / (axial[-1] - axial[0])
        affine[:3, 2] = along * step
        affine[:3, 3] = stack.positions[0] + along * start
        shape, shifts = stack.shape, None
    else:
        notes.append(_sideways_note(stack, drift, residual))
        first = sideways.min(axis=0)
        shifts = (sideways - first) / stack.spacing_mm
        extra = np.ceil(shifts.max(axis=0) - 1e-6).astype(int)
        shape = (stack.shape[0] + int(extra[0]), stack.shape[1] + int(extra[1]))
        affine[:3, 2] = normal * step
        affine[:3, 3] = stack.positions[0] + first @ stack.axes + normal * start
    return Grid(
        shape=(*shape, len(sources)),
        world_from_voxel=affine,
        sources=tuple(sources),
        shifts=shifts,
        notes=tuple(notes),
    )


def resampled(grid: Grid, read: Callable[[int], _Image]) -> Iterator[_Image]:
    """The volume's slices [nx, ny, 1] in order, from a function that reads a slice [nu, nv] by its number.

    Values between whole numbers are rounded if the slices hold whole numbers, as Hounsfield units do.
    """
    kept: dict[int, _Image] = {}

    def source(index: int) -> _Image:
        if index not in kept:
            for old in [each for each in kept if each < index - 1]:
                del kept[old]
            image = read(index)
            kept[index] = image if grid.shifts is None else _shifted(image, grid.shifts[index], grid.shape)
        return kept[index]

    for before, weight in grid.sources:
        image = source(before)
        if weight:
            image = _rounded_like(image, (1 - weight) * image + weight * source(before + 1))
        yield image[:, :, None]


# Along the normal ---------------------------------------------------------------------------------------


def _along_normal(
    stack: Stack, axial: _Vector, widest_gap_mm: float | None, notes: list[str]
) -> tuple[_Vector, list[tuple[int, float]]]:
    """Return where the volume's slices lie along the normal [mm], and where each comes from."""
    off, step = _off_grid(axial)
    if is_even(axial):
        if off.max() > _ROUNDING_MM:
            worst = stack.names[int(off.argmax())]
            notes.append(
                f"{worst} lies {off.max():.2g} mm off its place among slices {step:.4g} mm apart; the slices "
                "are taken as evenly spaced"
            )
        return axial[0] + step * np.arange(len(axial)), [(index, 0.0) for index in range(len(axial))]
    steps = np.diff(axial)
    fine = _usual_step(steps)
    _check_gaps(stack, steps, fine, widest_gap_mm)
    notes.append(_uneven_note(stack, steps, fine))
    places = _common_grid(axial, fine)
    if places is None:
        places = np.linspace(axial[0], axial[-1], round(float(axial[-1] - axial[0]) / fine) + 1)
    return places, _sources(axial, places)


def _common_grid(axial: _Vector, fine: float) -> _Vector | None:
    """Places of the even grid on which nearly all slices lie, some of them empty; None if there is none."""
    index = np.concatenate([[0], np.cumsum(np.maximum(np.rint(np.diff(axial) / fine), 1))])
    on_grid = np.ones(len(axial), dtype=bool)
    for _ in range(2):  # once more without those that are off
        step, first = np.polyfit(index[on_grid], axial[on_grid], 1)
        on_grid = np.abs(axial - first - step * index) <= _ROUNDING_MM
        if on_grid.sum() < max(2, _ON_GRID_SHARE * len(axial)):
            return None
    places: _Vector = first + step * np.arange(index[-1] + 1)
    scanned = (places >= axial[0] - _ROUNDING_MM) & (places <= axial[-1] + _ROUNDING_MM)
    return places[scanned]


def _usual_step(steps: _Vector) -> float:
    """The finest step that occurs more than by chance, else the median."""
    for finest in np.sort(steps):
        alike = np.abs(steps - finest) <= max(_SAME_STEP_MM, _SAME_STEP_SHARE * finest)
        if alike.sum() >= max(2, 0.1 * len(steps)):
            return float(steps[alike].mean())
    return float(np.median(steps))


def _sources(axial: _Vector, places: _Vector) -> list[tuple[int, float]]:
    """For each place the slice before it, and the weight of the one after that one."""
    near = min(_ROUNDING_MM, (places[1] - places[0]) / 10)
    found = []
    for place in places:
        nearest = int(np.abs(axial - place).argmin())
        if abs(axial[nearest] - place) <= near or not axial[0] < place < axial[-1]:
            found.append((nearest, 0.0))
        else:
            before = int(np.searchsorted(axial, place)) - 1
            weight = (place - axial[before]) / (axial[before + 1] - axial[before])
            found.append((before, float(weight)))
    return found


def _alone(steps: _Vector, index: int) -> bool:
    """Whether a step is not one of three or more alike in a row, so that the spacing did not change there."""
    alike = np.abs(steps - steps[index]) <= max(_SAME_STEP_MM, _SAME_STEP_SHARE * steps[index])
    first = last = index
    while first > 0 and alike[first - 1]:
        first -= 1
    while last + 1 < len(steps) and alike[last + 1]:
        last += 1
    return last - first < 2


def _check_gaps(stack: Stack, steps: _Vector, fine: float, widest_gap_mm: float | None) -> None:
    for index, step in enumerate(steps):
        if widest_gap_mm is None:
            too_wide = step > _ONE_MISSING * fine and (step > _WIDEST_STEP_MM or _alone(steps, index))
        else:
            too_wide = step > max(widest_gap_mm, _ONE_MISSING * fine)
        if too_wide:
            missing = step / fine - 1
            whole = abs(missing - round(missing)) < 0.1
            raise InputError(
                f"{_between(stack, index)} are {step:.4g} mm apart but slices usually {fine:.4g} mm: "
                + (f"{missing:.0f} slice(s) are missing" if whole else "there is a gap in the scan")
                + "; copy or export the series again, or, if they are lost, interpolate over the gap by "
                f"isoclinic inspect with `fill_gaps_mm` {np.ceil(step):.0f} `save_ct` FILE.nii.gz",
                code="ct.slices-missing",
            )


def _between(stack: Stack, index: int) -> str:
    return f"{stack.names[index]} and {stack.names[index + 1]}"


def _uneven_note(stack: Stack, steps: _Vector, fine: float) -> str:
    wide = [index for index, step in enumerate(steps) if step > 1.5 * fine]
    done = f"the CT is interpolated linearly to slices {fine:.4g} mm apart"
    if wide and all(_alone(steps, index) for index in wide):
        places = ", ".join(
            f"{_between(stack, index)} ({steps[index]:.4g} mm apart)" for index in wide[:3]
        ) + (f" and {len(wide) - 3} other places" if len(wide) > 3 else "")
        return f"a slice is missing between {places}; {done}"
    changes = np.flatnonzero(np.abs(np.diff(steps)) > _SAME_STEP_MM)
    where = stack.names[int(changes[0]) + 1] if len(changes) else stack.names[0]
    return (
        f"the slices are not evenly spaced: the distance between them changes from {steps.min():.4g} to "
        f"{steps.max():.4g} mm (first at {where}); {done}"
    )


# Within the planes --------------------------------------------------------------------------------------


def _sideways_note(stack: Stack, drift: float, residual: float) -> str:
    tilt_deg = float(np.degrees(np.arctan(drift)))
    steps = np.abs(np.diff(stack.positions, axis=0) @ stack.axes.T)
    jump = int((steps / (np.array(stack.spacing_mm) * stack.shape)).max(axis=1).argmax())
    if tilt_deg > _MOST_TILT_DEG or (steps[jump] > 0.5 * np.array(stack.spacing_mm) * stack.shape).any():
        raise InputError(
            f"{_between(stack, jump)} lie {np.linalg.norm(steps[jump]):.4g} mm apart along their own planes, "
            f"and the whole series {tilt_deg:.0f} deg off its normal, more than any gantry tilts: "
            "ImagePositionPatient and ImageOrientationPatient contradict each other; export the series again",
            code="ct.odd-slices",
        )
    done = "each slice is shifted within its plane, to voxel axes at right angles"
    if residual <= _OFF_GRID_MM:
        return f"the CT was scanned with the gantry tilted by {tilt_deg:.1f} deg; {done}"
    return (
        f"the slices are displaced against each other along their planes, by up to {residual:.3g} mm from "
        f"a straight line (most between {_between(stack, jump)}); {done}"
    )


def _shifted(image: _Image, shift: _Vector, shape: tuple[int, int, int]) -> _Image:
    """The image moved by a shift in voxels on a larger one of air, interpolated linearly."""
    larger = np.full(shape[:2], _AIR_HU, dtype=np.float32)
    larger[: image.shape[0], : image.shape[1]] = image
    moved = ndimage.shift(larger, shift, order=1, mode="grid-constant", cval=_AIR_HU, prefilter=False)
    return _rounded_like(image, moved)


def _rounded_like(image: _Image, interpolated: _Image) -> _Image:
    return np.rint(interpolated) if np.array_equal(image, np.rint(image)) else interpolated
