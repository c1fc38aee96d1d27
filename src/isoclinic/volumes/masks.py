"""Parts of an X-ray that do not show the patient: collimation, saturation and metal."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray
from scipy import ndimage

from ._fog import find_fog
from ._metal import find_metal
from .config import MaskConfig

Image = NDArray[np.float32]
Mask = NDArray[np.bool_]

_WORKING_SIZE_PX = 256  # detection runs on block averages of about this many pixels across
_LEAST_SIZE_PX = 16  # below this there are no corners to speak of
_ROUNDING = 1e-9  # of a hull's facets
_LEAST_STEP = 0.05  # between shadow and field, as a share of the span of the image
_LEAST_WEIGHT = 0.05
_SAME_OUTLINE_PX = 4


@dataclass(frozen=True, eq=False, kw_only=True)
class Masks:
    """Where an X-ray does not show the patient, and the weight that follows. All [H, W].

    Attributes:
        collimation: True outside the exposed field.
        saturation: True where the exposed field is at the detector's upper or lower limit.
        metal: True on instruments and implants.
        weight: float32 in 0..1; 0 on all of the above and near collimation and metal, 1 elsewhere.
    """

    collimation: NDArray[np.bool_]
    saturation: NDArray[np.bool_]
    metal: NDArray[np.bool_]
    weight: NDArray[np.float32]


def find_masks(
    pixels: NDArray[np.float32], attenuation: NDArray[np.float32], config: MaskConfig | None = None
) -> Masks:
    """Find what does not show the patient.

    Outlines are exact to about 1/256 of the image's longer side. If the masks together leave less than a
    twentieth of the image, metal and then saturation are reported but not applied.

    Args:
        pixels: [H, W] detector values as stored; saturation is seen there.
        attenuation: [H, W] the same as line integrals: larger where less of the beam arrives.
        config: what to look for.
    """
    config = config or MaskConfig()
    factor = max(1, min(round(max(pixels.shape) / _WORKING_SIZE_PX), *pixels.shape))
    small = _blocks(attenuation, factor)
    nothing = np.zeros(small.shape, dtype=bool)
    margin_px = config.margin * max(small.shape)

    plateaus = _blocks(_plateaus(pixels, config.min_plateau).astype(np.float32), factor) > 0.5
    collimation = _find_collimation(small, plateaus) if config.find_collimation else nothing
    if config.find_collimation:
        fog = find_fog(small)
        # An outline found twice stays that of the even shadow, which is exact to the pixel.
        if (fog & (_distance(~collimation) > _SAME_OUTLINE_PX)).any():
            collimation = collimation | fog
    saturation = plateaus & ~collimation if config.find_saturation else nothing
    exposed = _distance(~collimation) > margin_px
    metal = find_metal(small, exposed, config.metal) if config.find_metal else nothing

    for kept_clear, dropped in ((metal, saturation), (nothing, saturation), (nothing, nothing)):
        distance = _distance(~(collimation | kept_clear))
        weight = np.clip((distance - margin_px) / max(margin_px, 1.0), 0, 1) * ~dropped
        if weight.mean() >= _LEAST_WEIGHT:
            break
    return Masks(
        collimation=_enlarge(collimation, factor, pixels.shape),
        saturation=_enlarge(saturation, factor, pixels.shape),
        metal=_enlarge(metal, factor, pixels.shape),
        weight=_enlarge(weight.astype(np.float32), factor, pixels.shape),
    )


# Collimation ------------------------------------------------------------------------------------------


def _find_collimation(attenuation: Image, plateaus: Mask) -> Mask:
    """Everything beyond the convex hull of what is not shadow.

    A shadow is an even area that reaches from a corner of the image to a step but not across its middle: dark
    behind lead, or blanked by the device, which may as well be white. Blades, rotated or not, and round
    fields all leave a convex exposed field, so a shadow that seeps into a dark organ or tool at its rim is
    cut back to its straight or round outline.
    """
    found = np.zeros(attenuation.shape, dtype=bool)
    span = float(np.ptp(np.percentile(attenuation, (0.5, 99.5))))
    if span == 0 or min(attenuation.shape) < _LEAST_SIZE_PX:
        return found
    coarse = _blocks(attenuation, 2)
    usual = float(np.median(attenuation[_middle(attenuation, 1 / 4)]))
    for corner in ((0, 0), (0, -1), (-1, 0), (-1, -1)):
        if found[corner]:
            continue
        patch = coarse[tuple(slice(0, 4) if end == 0 else slice(-4, None) for end in corner)]
        level = float(np.median(patch))
        white = level < usual
        if white and not plateaus[corner]:
            continue  # open air
        evidence = _BLANK if white else _LEAD
        tolerance = _shadow_tolerance(np.abs(coarse - level) / span, corner, evidence)
        if tolerance is not None:
            difference = np.abs(attenuation - level) / span
            region = _connected(difference <= tolerance, corner)
            beyond = ~_convex_hull(_largest_piece(~region))
            # The hull of pixels cuts into a round shadow by up to a pixel or two.
            shadow = beyond | (region & ndimage.binary_dilation(beyond, iterations=2))
            found |= _distance(~shadow) < _penumbra_px(difference, shadow) + 0.5
    return found


def _penumbra_px(difference: Image, shadow: Mask) -> int:
    """How far from the shadow half of the step to the exposed field is reached, for blurred edges."""
    away = np.where(shadow, 0, np.rint(_distance(~shadow)))
    if not 9 <= away.max() < np.inf:
        return 0
    exposed = np.median(difference[(away >= 7) & (away <= 9)])
    profile = [np.median(difference[away == ring]) for ring in range(1, 7)]
    return int(np.argmax(np.append(profile, np.inf) >= exposed / 2))


def _middle(image: NDArray[Any], share: float) -> tuple[slice, ...]:
    """The window around the centre that covers that share of the height and of the width."""
    margins = [round(size * (1 - share) / 2) for size in image.shape]
    return tuple(slice(margin, size - margin) for margin, size in zip(margins, image.shape, strict=True))


@dataclass(frozen=True)
class _Evidence:
    """What makes an even area a shadow.

    Attributes:
        unevenness: most that its pixels may differ, as a share of the step at its edge.
        steepness: least share of the step to the exposed field that is made close to the edge: air beside
            the patient is even too, but attenuation goes on rising from the skin.
    """

    unevenness: float
    steepness: float


_BLANK = _Evidence(0.22, 0.45)
_LEAD = _Evidence(0.35, 0.3)  # scatter lights it unevenly, and its edge is blurred


def _shadow_tolerance(difference: Image, corner: tuple[int, int], evidence: _Evidence) -> float | None:
    """How far pixels of the shadow in this corner stray from its level, or None where there is no shadow.

    Args:
        difference: from the corner's level, as a share of the image's span.
        corner: (row, column) index, 0 or -1 each.
        evidence: what it takes.
    """
    best, best_gap = None, 0.0
    for tolerance in np.geomspace(0.004, 0.25, 10):
        region = _connected(difference <= tolerance, corner)
        if region.mean() < 0.002 or region[_middle(region, 1 / 2)].mean() > 0.8:
            continue
        # One pixel beside the shadow may be half in it, so the step is measured on the next one.
        touching = ndimage.binary_dilation(region)
        beside = ndimage.binary_dilation(touching)
        if not (beside & ~touching).any():
            continue
        within = 2 * float(np.sqrt(np.mean(np.square(difference[region]))))
        lower, step = np.quantile(difference[beside & ~touching], (0.25, 0.5))
        gap = float(lower) - within
        # Of equally good tolerances the largest one reaches furthest into a noisy or blurred rim.
        if gap < max(_LEAST_STEP, 0.9 * best_gap) or within > evidence.unevenness * step:
            continue
        further = ndimage.binary_dilation(beside, iterations=2)
        distant = ndimage.binary_dilation(further, iterations=2) & ~further
        if distant.any() and gap < evidence.steepness * np.median(difference[distant]):
            continue
        exposed = _largest_piece(~region)
        if np.count_nonzero(exposed) > 0.93 * np.count_nonzero(_convex_hull(exposed)):
            best, best_gap = float(tolerance), max(gap, best_gap)
    return best


def _connected(mask: Mask, corner: tuple[int, int]) -> Mask:
    """The part of the mask that is connected to this corner; empty where the corner is not in the mask."""
    labels, _ = ndimage.label(mask)
    return (labels == labels[corner]) & mask[corner]


def _largest_piece(mask: Mask) -> Mask:
    """The mask's largest connected piece, without specks and spurs up to four pixels wide."""
    opened = ndimage.binary_dilation(ndimage.binary_erosion(mask, iterations=2, border_value=1), iterations=2)
    labels, count = ndimage.label(opened)
    return labels == np.bincount(labels.ravel())[1:].argmax() + 1 if count else mask


def _convex_hull(mask: Mask) -> Mask:
    """Pixels whose centres lie in the convex hull of the mask's pixels; empty for an empty mask."""
    rows = np.flatnonzero(mask.any(axis=1))
    if len(rows) == 0:
        return mask
    first, last = mask[rows].argmax(axis=1), mask.shape[1] - mask[rows, ::-1].argmax(axis=1)
    corners = [np.column_stack([rows + step, ends]) for step in (0, 1) for ends in (first, last)]
    from scipy.spatial import ConvexHull  # it takes long to import, and few X-rays have shadows

    # Facets n . (row, column) + c <= 0 bound the columns of each row from the left or from the right.
    down, right, offset = ConvexHull(np.concatenate(corners)).equations.T
    centres = np.arange(len(mask))[:, None] + 0.5
    bounds = -(offset + down * centres)
    starts, ends = right < -_ROUNDING, right > _ROUNDING
    left_end = (bounds[:, starts] / right[starts]).max(axis=1, keepdims=True) - _ROUNDING
    right_end = (bounds[:, ends] / right[ends]).min(axis=1, keepdims=True) + _ROUNDING
    columns = np.arange(mask.shape[1]) + 0.5
    within = (centres > rows[0]) & (centres < rows[-1] + 1)
    return within & (columns >= left_end) & (columns <= right_end)


# Saturation -------------------------------------------------------------------------------------------


def _plateaus(pixels: Image, min_share: float) -> Mask:
    """Connected areas of the image's lowest or highest value."""
    plateaus = np.zeros(pixels.shape, dtype=bool)
    for extreme in (pixels.min(), pixels.max()):
        labels, _ = ndimage.label(pixels == extreme)
        area = np.bincount(labels.ravel())
        area[0] = 0
        plateaus |= (area >= min_share * pixels.size)[labels]
    return plateaus


# Grids ------------------------------------------------------------------------------------------------


def _blocks(image: Image, factor: int) -> Image:
    """Averages over blocks of `factor` x `factor` pixels; a remainder is filled up with its last pixels."""
    if factor == 1:
        return image
    padded = np.pad(image, [(0, -size % factor) for size in image.shape], mode="edge")
    height, width = padded.shape
    return padded.reshape(height // factor, factor, width // factor, factor).mean((1, 3))


def _enlarge(image: NDArray[Any], factor: int, shape: tuple[int, ...]) -> NDArray[Any]:
    """The inverse of `_blocks`, cut to `shape`."""
    return image.repeat(factor, axis=0).repeat(factor, axis=1)[: shape[0], : shape[1]]


def _distance(mask: Mask) -> NDArray[np.float64]:
    """Distance of each pixel in the mask to the nearest one outside it [px]; infinite if there is none."""
    if mask.all():
        return np.full(mask.shape, np.inf)
    return ndimage.distance_transform_edt(mask)
