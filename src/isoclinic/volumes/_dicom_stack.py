"""The images of one CT in order, without copies, and without what is no slice of it."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Callable, Sequence
from itertools import pairwise
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from ..errors import InputError
from ._dicom_choice import text_of
from ._dicom_files import LeftOut, read_dataset, relative_name, some
from ._dicom_pixels import hounsfield_units
from ._dicom_planes import STRETCHED_MM, TURNED_MM, Plane, at_right_angles, stretched_mm, turned_mm
from ._slices import Stack, is_even
from ._warnings import warn_geometry

# Of planes that differ from the others in size or orientation: how many of them may be left out.
_ODD_SHARE = 0.25
# Distances below this are none [mm], and below this share of the usual distance.
_SAME_PLACE_MM, _SAME_PLACE_SHARE = 0.01, 0.1
_LEAST_STEP_MM = 0.05
# A turn of slices against each other that is more than rounding, at their farthest pixel [mm].
_TOLD_TURN_MM = 0.25
# What may tell phases, reconstructions and stacks apart, best first.
_TELLING = (
    *("AcquisitionNumber", "TemporalPositionIdentifier", "TemporalPositionIndex", "StackID"),
    *("NominalPercentageOfCardiacPhase", "NominalCardiacTriggerDelayTime", "TriggerTime"),
    *("FrameAcquisitionNumber", "SeriesNumber", "ConvolutionKernel", "KVP", "ImageType", "SliceThickness"),
    *("ReconstructionDiameter", "ImageComments", "ContrastBolusAgent", "AcquisitionTime"),
    *("AcquisitionDateTime", "FrameAcquisitionDateTime", "FrameReferenceDateTime", "ContentTime"),
    *("SeriesTime", "SeriesInstanceUID"),
)

_Vector = NDArray[np.float64]


def ordered(planes: Sequence[Plane], path: Path, left_out: list[LeftOut]) -> tuple[list[Plane], Stack]:
    """The slices of the CT sorted along their normal, and where they are; what is none is added to left_out.

    Raises:
        InputError: images that do not belong together, several at one position, or a single one.

    Warns:
        GeometryWarning: copies of an image, or directions that jitter.
    """
    planes, axes, spacing_mm = _parallel(planes, path, left_out)
    planes = _without_copies(_sorted(planes, axes), path)
    if len(planes) < 2:
        raise InputError(
            f"{planes[0].path} is the only slice of its series; a CT volume needs at least two",
            code="ct.single-slice",
        )
    _check_phases(planes, axes, path)
    references = {str(plane.file.header.get("FrameOfReferenceUID", "")) for plane in planes}
    if len(references) > 1:
        warn_geometry(
            f"the slices of {path} have {len(references)} frames of reference (FrameOfReferenceUID); their "
            "positions are taken as those of one, as they form one stack"
        )
    return planes, _stack(planes, axes, spacing_mm, path)


def _name(plane: Plane, path: Path) -> str:
    name = relative_name(plane.path, path)
    return f"{name}, frame {plane.frame}" if plane.frames > 1 else name


def _stack(planes: Sequence[Plane], axes: _Vector, spacing_mm: _Vector, path: Path) -> Stack:
    return Stack(
        positions=np.array([plane.position for plane in planes]),
        axes=axes,
        spacing_mm=(float(spacing_mm[0]), float(spacing_mm[1])),
        shape=planes[0].shape,
        names=[_name(plane, path) for plane in planes],
    )


def _axial(planes: Sequence[Plane], axes: _Vector) -> _Vector:
    axial: _Vector = np.array([plane.position for plane in planes]) @ np.cross(*axes)
    return axial


def _sorted(planes: Sequence[Plane], axes: _Vector) -> list[Plane]:
    """Along the normal; of planes at one place, the one with the shortest name first."""
    axial = _axial(planes, axes)
    order = sorted(
        range(len(planes)),
        key=lambda each: (axial[each], len(planes[each].path.name), str(planes[each].path)),
    )
    return [planes[each] for each in order]


# Planes of one CT ---------------------------------------------------------------------------------------


def _parallel(
    planes: Sequence[Plane], path: Path, left_out: list[LeftOut]
) -> tuple[list[Plane], _Vector, _Vector]:
    """The planes of the size, orientation and spacing that most have, and these axes and this spacing."""
    shapes = [plane.shape for plane in planes]
    shape = max(dict.fromkeys(shapes), key=shapes.count)
    sized = [plane for plane in planes if plane.shape == shape]
    axes = at_right_angles(np.median([plane.axes for plane in sized], axis=0))
    spacing_mm = np.median([plane.spacing_mm for plane in sized], axis=0)
    kept = [plane for plane in sized if _fits(plane, axes, spacing_mm)]
    if 2 * len(kept) <= len(sized):  # two kinds: the median is of neither
        axes, spacing_mm = sized[0].axes, sized[0].spacing_mm
        kept = [plane for plane in sized if _fits(plane, axes, spacing_mm)]
    odd = [plane for plane in planes if not any(plane is each for each in kept)]
    if odd:
        axial = np.sort(_axial(kept, axes))
        if len(kept) < 3 or len(odd) > _ODD_SHARE * len(kept) or not is_even(axial):
            raise InputError(_why_odd(odd[0], kept, path), code="ct.odd-slices")
        left_out += [LeftOut(plane.path, "of another size, orientation or pixel spacing") for plane in odd]
    turned = max(turned_mm(plane, axes) for plane in kept)
    if turned > _TOLD_TURN_MM:
        warn_geometry(
            f"ImageOrientationPatient differs between the slices of {path}, by up to {turned:.2g} mm at "
            "their corners; the mean is used"
        )
    axes = at_right_angles(np.mean([plane.axes for plane in kept], axis=0))
    return kept, axes, np.mean([plane.spacing_mm for plane in kept], axis=0)


def _fits(plane: Plane, axes: _Vector, spacing_mm: _Vector) -> bool:
    return turned_mm(plane, axes) <= TURNED_MM and stretched_mm(plane, spacing_mm) <= STRETCHED_MM


def _attribute_between(odd: Plane, kept: Sequence[Plane]) -> str:
    """An attribute and its value that all kept planes have and the odd one has not; else empty."""
    for keyword in _TELLING:
        values = {text_of(plane.header.get(keyword)) for plane in kept}
        if len(values) == 1 and not values & {"None", text_of(odd.header.get(keyword))}:
            return f"{keyword}={values.pop()}"
    return ""


def _why_odd(odd: Plane, kept: Sequence[Plane], path: Path) -> str:
    remedy = "put one series into a folder of its own"
    if way := _attribute_between(odd, kept):
        remedy += f", or choose it by isoclinic inspect with `slices_where` '{way}' `save_ct` FILE.nii.gz"
    first = kept[0]
    ours, theirs = _name(odd, path), _name(first, path)
    if odd.shape != first.shape:
        return (
            f"{ours} has {odd.shape[1]}x{odd.shape[0]} pixels, but {theirs} "
            f"{first.shape[1]}x{first.shape[0]}: {remedy}"
        )
    if turned_mm(odd, first.axes) > TURNED_MM:
        name, values = "ImageOrientationPatient", [p.axes.ravel().round(4).tolist() for p in (odd, first)]
    else:
        name, values = "PixelSpacing", [p.spacing_mm[::-1].tolist() for p in (odd, first)]
    return f"{name} of {ours} is {values[0]}, but of {theirs} {values[1]}: {remedy}"


# Copies and phases --------------------------------------------------------------------------------------


def _same_place_mm(axial: _Vector) -> float:
    """Distance [mm] of sorted places below which two are one."""
    steps = np.diff(axial)
    steps = steps[steps > _LEAST_STEP_MM]
    usual = float(np.median(steps)) if len(steps) else 0.0
    return max(_SAME_PLACE_MM, _SAME_PLACE_SHARE * usual)


def _without_copies(planes: list[Plane], path: Path) -> list[Plane]:
    """Planes sorted along the normal, those left out that repeat another's identity, place and pixels."""
    kept: list[Plane] = []
    alike: dict[tuple[str, int], list[Plane]] = defaultdict(list)
    copies: list[str] = []
    for plane in planes:
        same = alike[str(plane.file.header.get("SOPInstanceUID", "")), plane.frame]
        original = next((each for each in same if _is_copy(plane, each)), None)
        if original is None:
            kept.append(plane)
            same.append(plane)
        else:
            copies.append(f"{_name(plane, path)} (of {_name(original, path)})")
    if copies:
        warn_geometry(
            f"{path} holds copies of images, with the same SOPInstanceUID and pixels; each counts once: "
            f"{some(copies)}"
        )
    return kept


def _is_copy(plane: Plane, other: Plane) -> bool:
    """Tell whether two images of one identity (SOPInstanceUID and frame) are the same."""
    if not plane.file.header.get("SOPInstanceUID"):
        return False
    if not np.allclose(plane.position, other.position, rtol=0, atol=_SAME_PLACE_MM):
        return False
    ours, theirs = (
        hounsfield_units(read_dataset(each.path), str(each.path), each.frame)[0] for each in (plane, other)
    )
    return np.array_equal(ours, theirs)


def _check_phases(planes: list[Plane], axes: _Vector, path: Path) -> None:
    """Refuse several images at one position, or stacks that reach into each other."""
    axial = _axial(planes, axes)
    same_mm = _same_place_mm(axial)
    doubled = np.flatnonzero(np.diff(axial) < same_mm)
    splits = {what: groups for what, groups in _splits(planes, path) if _tells(groups, axes, same_mm)}
    if len(doubled):
        first, second = (_name(planes[doubled[0] + each], path) for each in (0, 1))
        problem = f"{first} and {second} lie at the same position"
    else:
        splits = {what: groups for what, groups in splits.items() if _interleaved(groups, axes)}
        if not splits:
            return
        problem = "its slices belong to stacks that reach into each other"
    raise InputError(
        f"{path} holds a slice twice or several phases, reconstructions or stacks: {problem}. "
        + _way_to_choose(splits, path),
        code="ct.several-phases",
    )


def _splits(planes: list[Plane], path: Path) -> list[tuple[str, dict[str, list[Plane]]]]:
    """The planes by what may tell them apart: folder, file, and each telling attribute that all have."""
    ways: list[tuple[str, Callable[[Plane], str]]] = [
        ("folder", lambda plane: str(plane.path.parent)),
        ("file", lambda plane: str(plane.path)),
        *(
            (keyword, lambda plane, keyword=keyword: text_of(plane.header.get(keyword)))
            for keyword in _TELLING
        ),
    ]
    found = []
    for what, key in ways:
        groups: dict[str, list[Plane]] = defaultdict(list)
        for plane in planes:
            groups[key(plane)].append(plane)
        if 2 <= len(groups) <= len(planes) / 2 and "None" not in groups:
            found.append((what, dict(groups)))
    return found


def _tells(groups: dict[str, list[Plane]], axes: _Vector, same_mm: float) -> bool:
    """Tell whether no group has two images at one position."""
    return all((np.diff(np.sort(_axial(group, axes))) >= same_mm).all() for group in groups.values())


def _interleaved(groups: dict[str, list[Plane]], axes: _Vector) -> bool:
    """Tell whether every group is an even stack by itself, and two of them overlap by more than a slice."""
    places = [np.sort(_axial(group, axes)) for group in groups.values()]
    if any(len(each) < 3 or not is_even(each) for each in places):
        return False
    places.sort(key=lambda each: float(each[0]))
    return any(
        before[-1] - after[0] > max(before[1] - before[0], after[1] - after[0])
        for before, after in pairwise(places)
    )


def _way_to_choose(splits: dict[str, dict[str, list[Plane]]], path: Path) -> str:
    if not splits:
        return (
            "Nothing in their headers tells them apart: export one of them alone, put its images into a "
            "folder of its own, or remove what is there twice"
        )
    what, groups = next(iter(splits.items()))
    if what in ("folder", "file"):
        names = some(
            [f"{relative_name(Path(name), path.parent)} ({len(g)} images)" for name, g in groups.items()]
        )
        return f"They lie in {what}s of their own: {names}; give one of these {what}s as the CT"
    names = some([f"{value} ({len(group)} images)" for value, group in sorted(groups.items())])
    largest = max(groups, key=lambda value: len(groups[value]))
    also = [other for other in splits if other != what]
    return (
        f"{what} tells them apart: {names}"
        + (f" (and so do {some(also)})" if also else "")
        + f"; choose one by isoclinic inspect with `slices_where` '{what}={largest}' "
        "`save_ct` FILE.nii.gz"
    )
