"""An X-ray's geometry and pixels, and oddities of them."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np
from numpy.typing import NDArray

from ..volumes import Finding, Masks, PreprocessConfig, XRay, find_masks, line_integrals
from ..volumes.polarity import polarity_from_statistics
from .records import InspectedValue, Inspection

_STORED = "image as stored"
_USED = "image as used"
_DETECTOR = "detector"

_MOST_SATURATED = 0.05
_MOST_MASKED = 0.5
_MOST_METAL = 0.15
_FEW_LEVELS = 256


def inspect_xray(xray: XRay, config: PreprocessConfig | None = None) -> Inspection:
    """Camera, meaning of the pixels, and what of the image does not show the patient.

    What its reading has found (`XRay.findings`) comes first.

    Args:
        xray: the X-ray as it will be registered.
        config: settings of its preprocessing.
    """
    config = config or PreprocessConfig()
    image, weight = line_integrals(xray, config)
    masks = find_masks(xray.pixels, image, config.masks)
    findings = [
        *xray.findings,
        *_odd_principal_point(xray),
        *_odd_meaning(xray),
        *_odd_pixels(xray),
        *_odd_masks(masks, weight),
    ]
    readings = [*_geometry(xray), *_pixels(xray), *_masked(xray, masks, weight)]
    return Inspection(readings=tuple(readings), findings=tuple(findings))


def _finding(message: str, remedy: str = "", *, note: bool = False) -> Finding:
    return Finding(level="note" if note else "warning", subject="X-ray", message=message, remedy=remedy)


# Geometry ---------------------------------------------------------------------------------------------


def _geometry(xray: XRay) -> Iterator[InspectedValue]:
    camera = xray.camera

    def reading(
        name: str, value: float | tuple[float, ...] | str | None, unit: str, frame: str
    ) -> InspectedValue:
        found = xray.provenance.get(name, "")
        return InspectedValue(
            name=name,
            value="unknown" if value is None else value,
            unit="" if value is None else unit,
            frame=frame,
            source=found if value is not None else found or "not in the file",
        )

    yield InspectedValue(
        name="size", value=(camera.width, camera.height), unit="px", frame=_USED, source=str(xray.path)
    )
    if "frame" in xray.provenance:
        yield reading("frame", xray.provenance["frame"].split(" (")[0], "", _STORED)
    yield reading("sdd_mm", camera.sdd_mm, "mm", "source to detector")
    yield reading("source_isocentre_mm", xray.source_isocentre_mm, "mm", "source to isocentre")
    yield reading("pixel_spacing_mm", camera.pixel_spacing_mm, "mm (row, column)", _DETECTOR)
    yield reading("principal_point_px", (camera.cx, camera.cy), "px (column, row)", _USED)
    yield reading("turn", xray.turned_deg, "deg clockwise", _STORED)
    row_mm, column_mm = camera.pixel_spacing_mm
    field_mm = (camera.width * column_mm, camera.height * row_mm)
    yield InspectedValue(name="field of view", value=field_mm, unit="mm (width, height)", frame=_DETECTOR)
    for name in ("primary_angle_deg", "secondary_angle_deg"):
        yield reading(name, getattr(xray, name), "deg", "patient, DICOM C.8.7.5")


def _odd_principal_point(xray: XRay) -> Iterator[Finding]:
    camera = xray.camera
    if not (-0.5 <= camera.cx <= camera.width - 0.5 and -0.5 <= camera.cy <= camera.height - 0.5):
        yield _finding(
            f"the principal point ({camera.cx:.1f}, {camera.cy:.1f}) lies outside of the image of "
            f"{camera.width} x {camera.height} px, as it may in one cut out of a larger one",
            "`principal_point_px`",
            note=True,
        )


# Pixels -----------------------------------------------------------------------------------------------


def _pixels(xray: XRay) -> Iterator[InspectedValue]:
    yield InspectedValue(
        name="polarity", value=xray.polarity, frame=_STORED, source=xray.provenance.get("polarity", "")
    )
    yield InspectedValue(
        name="pixel_scale",
        value=xray.pixel_scale,
        frame=_STORED,
        source=xray.provenance.get("pixel_scale", ""),
    )
    yield InspectedValue(
        name="values",
        value=(float(xray.pixels.min()), float(xray.pixels.max())),
        frame=_STORED,
        source=f"lowest, highest, {_levels(xray.pixels)} different ones",
    )
    mirrored = [name for name, focal in (("columns", xray.camera.fx), ("rows", xray.camera.fy)) if focal < 0]
    yield InspectedValue(
        name="mirrored",
        value=", ".join(mirrored) or "no",
        frame="seen from the source",
        source="`flip_left_right`, `flip_top_bottom`",
    )


def _odd_meaning(xray: XRay) -> Iterator[Finding]:
    source = xray.provenance.get("polarity", "")
    seen = polarity_from_statistics(xray.pixels, xray.excluded)
    if seen.polarity != xray.polarity and not source.startswith("option"):
        yield _finding(
            f"polarity is {xray.polarity} ({source}), while {'all' if seen.agreed else 'most'} signs in the "
            f"image suggest {seen.polarity}: bone must be bright in the picture of `save`",
            f"`polarity` {seen.polarity}, or `polarity` {xray.polarity} to confirm",
            note=not seen.agreed,
        )


def _odd_pixels(xray: XRay) -> Iterator[Finding]:
    levels = _levels(xray.pixels)
    if levels <= _FEW_LEVELS:
        yield _finding(
            f"only {levels} grey levels: exported for display, with tones no longer linear in the exposure",
            "the original DICOM file, else `pixel_scale` log for an image shown like a radiograph",
        )
    if "middle one" in xray.provenance.get("frame", ""):
        yield _finding(f"{xray.provenance['frame']} is used", "`frame`", note=True)
    constant = [_constant_border(pixels) for pixels in (xray.pixels, xray.pixels.T)]
    if any(constant):
        yield _finding(
            f"a border of {constant[0]} rows and {constant[1]} columns holds one value; it is masked",
            "`crop_px`",
            note=True,
        )


def _levels(pixels: NDArray[np.float32]) -> int:
    return len(np.unique(pixels))


def _constant_border(pixels: NDArray[np.float32]) -> int:
    """Rows at the top and at the bottom in which all pixels are equal."""
    varied = np.flatnonzero(np.ptp(pixels, axis=1) > 0)
    return len(pixels) - (int(varied[-1]) - int(varied[0]) + 1) if len(varied) else 0


# Masks ------------------------------------------------------------------------------------------------


def _masked(xray: XRay, masks: Masks, weight: NDArray[np.float32]) -> Iterator[InspectedValue]:
    yield InspectedValue(
        name="collimation",
        value=_percent(masks.collimation),
        unit="% masked",
        frame=_USED,
        source=f"image; exposed field is {_shape(~masks.collimation)}",
    )
    yield InspectedValue(
        name="saturation", value=_percent(masks.saturation), unit="% masked", frame=_USED, source="image"
    )
    yield InspectedValue(
        name="metal", value=_percent(masks.metal), unit="% masked", frame=_USED, source="image"
    )
    if xray.excluded is not None:
        yield InspectedValue(
            name="excluded",
            value=_percent(xray.excluded),
            unit="% masked",
            frame=_USED,
            source=xray.provenance.get("exclude", "option `exclude`"),
        )
    yield InspectedValue(
        name="weight",
        value=_percent(weight),
        unit="% used",
        frame=_USED,
        source="the part of the image that the masks leave for the comparison",
    )


def _percent(share: NDArray[np.bool_] | NDArray[np.float32]) -> float:
    return round(100 * float(share.mean()), 2)


def _shape(exposed: NDArray[np.bool_]) -> str:
    """Name of the exposed field's outline, from how much of its bounding box it fills."""
    if exposed.all() or not exposed.any():
        return "the whole image" if exposed.all() else "empty"
    rows, columns = (np.flatnonzero(exposed.any(axis=axis)) for axis in (1, 0))
    box = exposed[rows[0] : rows[-1] + 1, columns[0] : columns[-1] + 1]
    filled = float(box.mean())
    if filled > 0.97:
        return "a rectangle"
    # A circle cut by the image's sides fills more of its box than pi / 4.
    corners = box[[0, 0, -1, -1], [0, -1, 0, -1]]
    return "round" if 0.72 < filled < 0.95 and not corners.any() else "a polygon"


def _odd_masks(masks: Masks, weight: NDArray[np.float32]) -> Iterator[Finding]:
    saturated = float(masks.saturation.mean())
    if saturated > _MOST_SATURATED:
        yield _finding(
            f"{100 * saturated:.0f} % of the image is at the detector's limit: clipped, or windowed on "
            "export",
            "export the image in full range; `preprocess.masks.find_saturation` off keeps those pixels",
        )
    if masks.metal.mean() > _MOST_METAL:
        yield _finding(
            f"{_percent(masks.metal):.0f} % of the image is masked as metal",
            "`preprocess.masks.find_metal` off, where it is anatomy",
        )
    if weight.mean() < 1 - _MOST_MASKED:
        yield _finding(
            f"only {_percent(weight):.0f} % of the image is left after masking",
            "look at `save` FILE.png; the options `preprocess.masks` say what is masked",
        )
