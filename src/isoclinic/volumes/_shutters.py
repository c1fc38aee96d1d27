"""Where DICOM says that an X-ray shows nothing: display shutters and collimators."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from typing import Any

import numpy as np
from numpy.typing import NDArray
from pydicom.multival import MultiValue
from skimage.draw import polygon

from ._dicom_tables import describe

# An opening of a smaller share of the image is not believed.
_SMALLEST_OPENING = 0.1

Find = Callable[[str], Any]


def openings(
    find: Find, shape: tuple[int, int], pixel_spacing_mm: tuple[float, float] | None
) -> tuple[NDArray[np.bool_] | None, list[str], list[str]]:
    """Return where an image shows something by its display shutter and collimator (PS3.3 C.7.6.11, C.8.7.3).

    Several shapes leave what all of them leave. Rows and columns are those of the image as stored, counted
    from 1; the edges belong to the image.

    Args:
        find: the value of an attribute by its keyword, None where there is none.
        shape: (height, width) of the image.
        pixel_spacing_mm: (row, column) spacing, which a circle of non-square pixels depends on.

    Returns:
        [H, W] bool, None where nothing is shuttered; the attributes it comes from; what to warn of.
    """
    opened = np.ones(shape, dtype=bool)
    sources: list[str] = []
    doubts: list[str] = []
    for device in ("Shutter", "Collimator"):
        for name in _names(find(f"{device}Shape")):
            source = f"{describe(f'{device}Shape')} {name}"
            try:
                shown = _SHAPES[name](find, device, shape, pixel_spacing_mm)
            except KeyError:
                doubts.append(
                    f"{source} is not read: what it hides counts as image; `exclude` IMAGE leaves it out"
                )
                continue
            except (TypeError, ValueError) as error:
                doubts.append(
                    f"{source} is malformed and not used: {error}; `exclude` IMAGE leaves pixels out"
                )
                continue
            if shown.mean() < _SMALLEST_OPENING:
                doubts.append(
                    f"{source} would leave {shown.mean():.1%} of the image and is not used;"
                    " `exclude` IMAGE leaves pixels out"
                )
            elif not shown.all():
                opened &= shown
                sources.append(source)
    if sources and opened.mean() < _SMALLEST_OPENING:
        doubts.append(
            f"{' and '.join(sources)} together would leave {opened.mean():.1%} of the image and are not used;"
            " `exclude` IMAGE leaves pixels out"
        )
        sources = []
    return opened if sources else None, sources, doubts


def _names(value: Any) -> Iterable[str]:
    if value is None:
        return ()
    return [str(name).strip().upper() for name in (value if isinstance(value, MultiValue) else [value])]


def _number(find: Find, keyword: str) -> float:
    value = find(keyword)
    if value is None or isinstance(value, MultiValue):
        raise ValueError(f"{describe(keyword)} is {value}, not one number")
    number = float(value)
    if not np.isfinite(number):
        raise ValueError(f"{describe(keyword)} is {value}")
    return number


def _numbers(find: Find, keyword: str) -> NDArray[np.float64]:
    value = find(keyword)
    if not isinstance(value, MultiValue) or len(value) % 2:
        raise ValueError(f"{describe(keyword)} is {value}, not pairs of row and column")
    numbers = np.array([float(number) for number in value])
    if not np.isfinite(numbers).all():
        raise ValueError(f"{describe(keyword)} is {value}")
    return numbers.reshape(-1, 2)


def _rectangle(
    find: Find, device: str, shape: tuple[int, int], _: tuple[float, float] | None
) -> NDArray[np.bool_]:
    left, right, upper, lower = (
        _number(find, f"{device}{edge}Edge")
        for edge in ("LeftVertical", "RightVertical", "UpperHorizontal", "LowerHorizontal")
    )
    if right < left or lower < upper:
        raise ValueError(f"columns {left:g} to {right:g}, rows {upper:g} to {lower:g}")
    rows, columns = np.indices(shape) + 1
    return np.asarray((columns >= left) & (columns <= right) & (rows >= upper) & (rows <= lower))


def _circle(
    find: Find, device: str, shape: tuple[int, int], pixel_spacing_mm: tuple[float, float] | None
) -> NDArray[np.bool_]:
    """The radius counts pixels along the row, so that it is a length of column spacings."""
    centres = _numbers(find, f"CenterOfCircular{device}")
    radius = _number(find, f"RadiusOfCircular{device}")
    if len(centres) != 1 or radius <= 0:
        raise ValueError(f"centres {centres.tolist()}, radius {radius:g}")
    row_mm, column_mm = pixel_spacing_mm or (1.0, 1.0)
    rows, columns = np.indices(shape) + 1
    distance = np.hypot((rows - centres[0, 0]) * (row_mm / column_mm), columns - centres[0, 1])
    return np.asarray(distance <= radius)


def _polygon(
    find: Find, device: str, shape: tuple[int, int], _: tuple[float, float] | None
) -> NDArray[np.bool_]:
    vertices = _numbers(find, f"VerticesOfThePolygonal{device}") - 1
    if len(vertices) < 3:
        raise ValueError(f"{len(vertices)} vertices")
    shown = np.zeros(shape, dtype=bool)
    shown[polygon(vertices[:, 0], vertices[:, 1], shape)] = True
    return shown


_SHAPES = {"RECTANGULAR": _rectangle, "CIRCULAR": _circle, "POLYGONAL": _polygon}
