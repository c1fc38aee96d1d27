"""A CT's geometry and Hounsfield units, and oddities of them."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator

import numpy as np
from numpy.typing import NDArray
from scipy import ndimage

from ..volumes import AttenuationConfig, Finding, Volume
from .records import InspectedValue, Inspection

_WORLD = "world, RAS"
_OPPOSITE = dict(zip("RLAPSI", "LRPAIS", strict=True))

# Voxels looked at for statistics, evenly spread.
_SAMPLED = 2_000_000
_PERCENTILES = (1.0, 50.0, 99.0)
# Between lung and fat: voxels above it belong to the body (or to the table).
_BODY_FROM_HU = -300.0
_AIR_TO_HU = -200.0
# Air with the noise of thin slices; fat is above the other.
_LIGHTER_THAN_AIR_HU = -1250.0
_MUCH_BELOW_AIR = 0.02
_HEAVIER_THAN_AIR_HU = -250.0

# A body ends in air. A table touches a side of the scan in a strip of a few percent.
_CUT_SHARE = 0.08
_SLICES_LOOKED_AT = 9
# Of the area of a slice, about that of the circle inscribed in it.
_CIRCLE_SHARE = (0.74, 0.82)

# A registration needs bone in three dimensions; the shortest vertebra-to-vertebra CTs in use cover more.
_LEAST_EXTENT_MM = 80.0
_THICKEST_MM = 4.0
_MOST_ANISOTROPIC = 5.0
# No scanner covers more; 3 m is a whole-body scan with room to spare.
_LARGEST_EXTENT_MM = 3000.0
_FINEST_MM = 0.15
# Of the longest side: dental scans, the smallest ones of patients, cover 40 mm.
_SMALLEST_MM = 39.0
_SHEAR_DEG = 0.5
# Difference of neighbouring slices over that of distant ones; 1 for slices in random order.
_SHUFFLED = 0.9


def inspect_volume(volume: Volume) -> Inspection:
    """Size, place, orientation and Hounsfield units of a CT, and its labels.

    What its reading has found (`Volume.findings`) comes first.
    """
    hu = _sample(volume)
    extent_mm = volume.spacing_mm * volume.shape
    readings = [
        InspectedValue(
            name="size", value=volume.shape, unit="voxels", frame="voxel axes", source=str(volume.path)
        ),
        InspectedValue(name="spacing", value=_rounded(volume.spacing_mm), unit="mm", frame="voxel axes"),
        InspectedValue(
            name="orientation",
            value=volume.orientation,
            frame="voxel axes point to",
            source=f"affine; {_turn_deg(volume):.1f} deg off the patient's axes, {_handedness(volume)}",
        ),
        InspectedValue(name="extent", value=_rounded(extent_mm), unit="mm", frame="voxel axes"),
        InspectedValue(
            name="centre", value=_rounded(volume.isocentre_world), unit="mm", frame=_WORLD, source="affine"
        ),
        *_hounsfield(volume, hu),
        *_labels(volume),
    ]
    findings = [
        *volume.findings,
        *_odd_units(volume.spacing_mm, extent_mm),
        *_odd_grid(volume, extent_mm),
        *_odd_values(hu),
        *_odd_order(volume),
        *_cut_off(volume),
        *_odd_labels(volume),
    ]
    return Inspection(readings=tuple(readings), findings=tuple(findings))


def _finding(message: str, remedy: str = "", *, note: bool = False) -> Finding:
    return Finding(level="note" if note else "warning", subject="CT", message=message, remedy=remedy)


def _rounded(values: NDArray[np.float64]) -> tuple[float, ...]:
    return tuple(float(f"{value:.6g}") for value in values)


def _sample(volume: Volume) -> NDArray[np.float32]:
    step = int(np.ceil((volume.hu.size / _SAMPLED) ** (1 / 3)))
    return volume.hu[::step, ::step, ::step].astype(np.float32)


# Geometry ---------------------------------------------------------------------------------------------


def _turn_deg(volume: Volume) -> float:
    """Largest angle between a voxel axis and the patient axis it is named after [deg]."""
    cosines = np.abs(volume.world_from_voxel[:3, :3] / volume.spacing_mm).max(axis=0)
    return float(np.degrees(np.arccos(np.clip(cosines.min(), 0, 1))))


def _handedness(volume: Volume) -> str:
    mirrored = np.linalg.det(volume.world_from_voxel[:3, :3]) < 0
    return "left-handed voxel axes, as usual for LAS" if mirrored else "right-handed voxel axes"


def _odd_units(spacing_mm: NDArray[np.float64], extent_mm: NDArray[np.float64]) -> Iterator[Finding]:
    largest = float(extent_mm.max())
    size = f"the scan is {' x '.join(f'{mm:.3g}' for mm in extent_mm)} mm large"
    correct = "`length_unit` {} `save_ct` FILE.nii.gz"
    if largest < 1.5:
        yield _finding(f"{size}: its unit seems to be metres", correct.format("m"))
    elif largest < _SMALLEST_MM or (largest < 150 and spacing_mm.min() < _FINEST_MM):
        yield _finding(f"{size}: its unit seems to be centimetres", correct.format("cm"))
    elif largest > 100 * _LARGEST_EXTENT_MM / 3:
        yield _finding(f"{size}: its unit seems to be micrometres", correct.format("um"))
    elif largest > _LARGEST_EXTENT_MM:
        yield _finding(f"{size}, more than any scanner covers", "save the CT again with its spacing in mm")


def _odd_grid(volume: Volume, extent_mm: NDArray[np.float64]) -> Iterator[Finding]:
    spacing_mm = volume.spacing_mm
    shortest = int(extent_mm.argmin())
    if extent_mm.max() > 1.5 and extent_mm[shortest] < _LEAST_EXTENT_MM:
        yield _finding(
            f"the scan covers only {extent_mm[shortest]:.3g} mm ({volume.shape[shortest]} slices) along "
            f"{volume.orientation[shortest]}: little to register, and the X-ray shows more than the CT",
            "use a CT that covers the anatomy in the X-ray, or crop the X-ray to it with `crop_px`",
        )
    if spacing_mm.max() > _THICKEST_MM:
        yield _finding(
            f"slices are {spacing_mm.max():.3g} mm thick: poses will be accurate to about as much",
            "reconstruct the CT with thinner slices",
        )
    elif spacing_mm.max() > _MOST_ANISOTROPIC * spacing_mm.min():
        ratio = spacing_mm.max() / spacing_mm.min()
        yield _finding(
            f"voxels are {ratio:.1f} times as long as wide", "reconstruct thinner slices", note=True
        )
    axes = volume.world_from_voxel[:3, :3] / spacing_mm
    shear_deg = np.degrees(np.arcsin(np.clip(np.abs(axes.T @ axes - np.eye(3)).max(), 0, 1)))
    if shear_deg > _SHEAR_DEG:
        yield _finding(
            f"the voxel axes are {shear_deg:.1f} deg off right angles, as of an uncorrected gantry tilt",
            "give the DICOM files it was made from, whose tilt is corrected, or convert them with dcm2niix",
        )


# Hounsfield units -------------------------------------------------------------------------------------


def _hounsfield(volume: Volume, hu: NDArray[np.float32]) -> Iterator[InspectedValue]:
    config = AttenuationConfig()
    bone_from_hu = (config.bone_from_hu + config.bone_to_hu) / 2
    low, high = float(volume.hu.min()), float(volume.hu.max())
    yield InspectedValue(
        name="values", value=(low, high), unit="HU", source=f"lowest, highest, {volume.hu.dtype}"
    )
    yield InspectedValue(
        name="percentiles",
        value=_rounded(np.percentile(hu, _PERCENTILES)),
        unit="HU",
        source=", ".join(f"{percent:g} %" for percent in _PERCENTILES),
    )
    air, bone = float((hu < _AIR_TO_HU).mean()), float((hu > bone_from_hu).mean())
    yield InspectedValue(
        name="air, soft tissue, bone",
        value=_rounded(100 * np.array([air, 1 - air - bone, bone])),
        unit="%",
        source=f"limits at {_AIR_TO_HU:g} and {bone_from_hu:g} HU",
    )


def _odd_values(hu: NDArray[np.float32]) -> Iterator[Finding]:
    if hu.min() >= 0 or (hu.min() >= -1.5 and hu.max() <= 1.5):
        return  # of which the reader warns
    air, soft, shifted = (
        float(((hu > low) & (hu < high)).mean()) for low, high in ((-1100, -500), (-150, 100), (874, 1124))
    )
    below_air = float(((hu < _LIGHTER_THAN_AIR_HU) & (hu > hu.min())).mean())  # the least may fill corners
    if below_air > _MUCH_BELOW_AIR:
        yield _finding(
            f"{100 * below_air:.2g} % of the voxels are below {_LIGHTER_THAN_AIR_HU:g} HU, lighter than air: "
            "the rescale slope was lost or the intercept was added twice",
            "`hu_scale` or `hu_offset`, with `save_ct` FILE.nii.gz",
        )
    elif shifted > 0.05 and air < 0.01:
        yield _finding(
            f"most tissue lies around {np.median(hu[(hu > 874) & (hu < 1124)]):.0f} HU, where water should "
            "be 0: the rescale intercept seems missing",
            "`hu_offset` -1024 `save_ct` FILE.nii.gz",
        )
    elif hu.min() > _HEAVIER_THAN_AIR_HU:
        yield _finding(
            f"no voxel is below {hu.min():.4g} HU, while air has -1000 HU: the rescale slope was lost, "
            "unless the scan shows neither air nor lungs nor gas",
            "`hu_scale` with `save_ct` FILE.nii.gz, or export the CT in Hounsfield units",
        )
    elif soft < 0.01:
        yield _finding(
            f"only {100 * soft:.2g} % of the voxels are soft tissue (-150 to 100 HU): the values seem "
            "windowed, rescaled or of another modality",
            "export the CT in Hounsfield units",
        )
    elif hu.max() < 300:
        yield _finding(
            f"no voxel exceeds {hu.max():g} HU: there is no bone, or the values were clipped",
            "export the CT in full range",
        )


def _odd_order(volume: Volume) -> Iterator[Finding]:
    """Slices that are as unlike their neighbours as any others, or the same as them."""
    axial = _axial(volume)
    step = [1 if axis == axial else max(1, volume.shape[axis] // 64) for axis in range(3)]
    slices = np.moveaxis(volume.hu[:: step[0], :: step[1], :: step[2]], axial, 0)
    slices = slices.astype(np.float32)
    distant = len(slices) // 4
    if distant < 2:
        return
    near, far = (np.abs(slices[apart:] - slices[:-apart]).mean(axis=(1, 2)) for apart in (1, distant))
    if np.median(far) > 0 and np.median(near) > _SHUFFLED * np.median(far):
        yield _finding(
            f"neighbouring slices along {volume.orientation[axial]} differ as much as distant ones: they are "
            "out of order",
            "convert the CT again from DICOM, whose positions tell the order",
        )
    repeated = np.flatnonzero((near == 0) & (np.ptp(slices[1:], axis=(1, 2)) > 0))
    if len(repeated) and len(repeated) < len(near):
        names = ", ".join(f"{index} and {index + 1}" for index in repeated[:3])
        yield _finding(
            f"{len(repeated)} slices along {volume.orientation[axial]} repeat the one before "
            f"({names}{', ...' if len(repeated) > 3 else ''}, counted from 0): those after are displaced",
            "convert the CT again without the doubled slices",
        )


def _axial(volume: Volume) -> int:
    """The voxel axis nearest to the patient's long axis."""
    return int(np.abs(volume.world_from_voxel[2, :3] / volume.spacing_mm).argmax())


def _cut_off(volume: Volume) -> Iterator[Finding]:
    """The body where it touches the sides of the scan: what lies beyond is missing in every rendering."""
    if volume.hu.min() > _BODY_FROM_HU:
        return  # values without air are of something else than a body in Hounsfield units
    axial = _axial(volume)
    cut: dict[str, float] = {}
    for axis in {0, 1, 2} - {axial}:
        towards = volume.orientation[axis]
        for index, letter in ((-1, towards), (0, _OPPOSITE[towards])):
            cut[letter] = float((volume.hu.take(index, axis=axis) > _BODY_FROM_HU).mean())
    touched = {letter: share for letter, share in cut.items() if share > _CUT_SHARE}
    if touched:
        sides = ", ".join(f"{letter} {100 * share:.0f} %" for letter, share in touched.items())
        where = f"touches the sides of the scan ({sides} of that side)"
    elif (share := _cut_by_circle(volume, axial)) > _CUT_SHARE:
        where = f"touches {100 * share:.0f} % of the scanner's round field of view"
    else:
        return
    yield _finding(
        f"the body is cut off: it {where}; oblique and lateral views will lack the rest of it",
        "register bones only (`labels`, `structures`), or use a CT with a larger field of view",
    )


def _cut_by_circle(volume: Volume, axial: int) -> float:
    """Share of a round field's edge at which there is body; 0 where there is no round field.

    A round field leaves the corners of a slice at one value lower than anything inside.
    """
    shares = []
    for index in np.linspace(0, volume.shape[axial] - 1, _SLICES_LOOKED_AT).astype(int):
        plane = volume.hu.take(index, axis=axial)
        field = ndimage.binary_fill_holes(plane > plane.min())
        corners = plane[[0, 0, -1, -1], [0, -1, 0, -1]]
        if (corners > plane.min()).any() or not _CIRCLE_SHARE[0] < field.mean() < _CIRCLE_SHARE[1]:
            return 0.0
        # Two pixels in: the outermost are partly filled.
        rim = ndimage.binary_erosion(field, iterations=2) & ~ndimage.binary_erosion(field, iterations=4)
        shares.append(float((plane[rim] > _BODY_FROM_HU).mean()))
    return float(np.mean(shares))


# Labels -----------------------------------------------------------------------------------------------


def _present(volume: Volume) -> list[int]:
    """Labels that some voxel has."""
    assert volume.labels is not None
    present: list[int] = (np.flatnonzero(np.bincount(volume.labels.ravel())[1:]) + 1).tolist()
    return present


def _labels(volume: Volume) -> Iterator[InspectedValue]:
    if volume.labels is None:
        return
    names = tuple(f"{label} {volume.label_names.get(label, '(no name)')}" for label in _present(volume))
    yield InspectedValue(name="labels", value=names, source="label map")


def _odd_labels(volume: Volume) -> Iterator[Finding]:
    if volume.labels is None:
        return
    present = _present(volume)
    if not present:
        yield _finding("the label map is empty: every voxel is 0", "`labels` with another file")
    missing = [f"{label} {name}" for label, name in volume.label_names.items() if label not in present]
    if missing:
        yield _finding(
            f"names without any voxel in the label map: {', '.join(missing)}",
            "check that the file beside `labels` that names them belongs to it",
            note=True,
        )
    doubled = [name for name, count in Counter(volume.label_names.values()).items() if count > 1]
    if doubled:
        yield _finding(
            f"several labels are named {', '.join(doubled)}; the name means the first of them",
            "choose `structures` by number, or name them in a JSON file beside `labels`",
        )
