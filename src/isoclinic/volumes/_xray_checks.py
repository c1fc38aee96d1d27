"""What about an X-ray's geometry and meaning is unlike any C-arm's, whichever file or option says it."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

from .findings import Finding

# C-arms have about 1000 mm, angiography units up to 1300, chest radiographs 1800 mm.
_SDD_MM = (500.0, 2500.0)
# Share of the way to the detector at which patients lie.
_ISOCENTRE_SHARE = (0.4, 0.97)
# Detector pixels: 0.05 mm (mammography) to what a heavily binned image intensifier has.
_PIXEL_MM = (0.04, 6.0)
_SQUARE = 0.01
# Beyond them the same directions come again (PS3.3 C.8.7.5).
_MOST_DEG = {"primary_angle_deg": 180.0, "secondary_angle_deg": 90.0}


def checks(values: Mapping[str, Any], provenance: Mapping[str, str]) -> list[Finding]:
    """Return what is odd about an X-ray as it will be used.

    Args:
        values: by the names of options.
        provenance: where each is from.
    """
    return [
        *_distances(values),
        *_angles(values),
        *_spacing(values["pixel_spacing_mm"]),
        *_principal_point(provenance["principal_point_px"]),
        *_meaning(values["pixel_scale"], provenance["pixel_scale"]),
    ]


def _finding(message: str, remedy: str, *, note: bool = False) -> Finding:
    return Finding(level="note" if note else "warning", subject="X-ray", message=message, remedy=remedy)


def _distances(values: Mapping[str, Any]) -> Iterator[Finding]:
    sdd_mm, isocentre_mm = values["sdd_mm"], values.get("source_isocentre_mm")
    low, high = _SDD_MM
    if not low <= sdd_mm <= high:
        units = {"centimetres": 10, "metres": 1000}
        guess = next((unit for unit, factor in units.items() if low <= factor * sdd_mm <= high), None)
        what = f"it seems to be in {guess}" if guess else f"C-arms have {low:g} to {high:g} mm"
        yield _finding(f"the source-detector distance is {sdd_mm:g} mm: {what}", "`sdd_mm`")
    if isocentre_mm is None:
        yield _finding(
            "the distance from the source to the isocentre is unknown; views are started at two thirds of "
            "the way to the detector",
            "`source_isocentre_mm`",
            note=True,
        )
    elif not _ISOCENTRE_SHARE[0] <= isocentre_mm / sdd_mm <= _ISOCENTRE_SHARE[1]:
        yield _finding(
            f"the isocentre lies {isocentre_mm:g} mm from the source, that is "
            f"{100 * isocentre_mm / sdd_mm:.0f} % of the way to the detector",
            "`source_isocentre_mm`",
        )


def _angles(values: Mapping[str, Any]) -> Iterator[Finding]:
    missing = [name for name in _MOST_DEG if values.get(name) is None]
    if missing:
        names = ", ".join(name.replace("_", " ") for name in missing)
        yield _finding(
            f"C-arm angles are missing ({names}), so a registration starts from a standard view",
            "`init`, `primary_angle_deg`, `secondary_angle_deg`",
            note=True,
        )
    for name, most_deg in _MOST_DEG.items():
        angle_deg = values.get(name)
        if angle_deg is not None and abs(angle_deg) > most_deg:
            angle = name.removesuffix("_deg").replace("_", " ")
            yield _finding(
                f"the {angle} is {angle_deg:g} deg; no C-arm goes beyond {most_deg:g} deg",
                f"`{name}`",
            )


def _spacing(spacing_mm: tuple[float, float]) -> Iterator[Finding]:
    row_mm, column_mm = spacing_mm
    if abs(row_mm / column_mm - 1) > _SQUARE:
        yield _finding(
            f"pixels are not square, {row_mm:.4g} x {column_mm:.4g} mm (row, column)",
            "`pixel_spacing_mm`",
            note=True,
        )
    if not _PIXEL_MM[0] <= min(row_mm, column_mm) <= max(row_mm, column_mm) <= _PIXEL_MM[1]:
        yield _finding(
            f"pixels of {row_mm:.4g} x {column_mm:.4g} mm are unlike any detector's: another unit?",
            "`pixel_spacing_mm`",
        )


def _principal_point(source: str) -> Iterator[Finding]:
    if "assumed" in source:
        yield _finding(
            "the principal point is assumed at the centre of the stored image; for an image cut out of a "
            "larger one it is elsewhere",
            "`principal_point_px`",
            note=True,
        )


def _meaning(scale: str, source: str) -> Iterator[Finding]:
    if "assumed" in source:
        yield _finding(
            f"the file does not say whether pixels are linear or logarithmic; {scale} is {source}",
            "`pixel_scale`",
            note=True,
        )
