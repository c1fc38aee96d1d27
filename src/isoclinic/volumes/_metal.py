"""Metal in an X-ray: bars by stroke width, any other compact shape by its closed sharp outline."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from scipy import ndimage

from .config import MetalConfig

Image = NDArray[np.float32]
Mask = NDArray[np.bool_]

# Anatomy fades into its surroundings, metal does not: seen through a Gaussian derivative of 1 px, an ideal
# step of height D peaks at D / (sqrt(2 pi) s) with s = 1 px, widened by detector and binning to about 1.4.
_SHARPNESS_PX = (0.5, 1.7)
_PARALLEL = np.cos(np.deg2rad(12.0))  # direction noise of a gradient on an edge at the detection limit
_SEEDS = 128
_MAX_BARS = 24
_MIN_AREA_PX = 20
_BAND_PX = 3  # half the width at which a blurred step looks steep


@dataclass(frozen=True, eq=False)
class _Slopes:
    along_y: Image
    along_x: Image
    magnitude: Image  # zero where invalid
    valid: Mask
    typical: float


@dataclass(frozen=True, eq=False)
class _Strokes:
    """Cross-sections of possible bars: centres and unit normals as (row, column), [N, 2], and widths [N]."""

    centres: NDArray[np.float64]
    normals: NDArray[np.float64]
    widths: NDArray[np.float64]

    def __getitem__(self, index: NDArray[np.bool_]) -> _Strokes:
        return _Strokes(self.centres[index], self.normals[index], self.widths[index])

    def __len__(self) -> int:
        return len(self.widths)


def find_metal(attenuation: Image, valid: Mask, config: MetalConfig) -> Mask:
    """Metal in an image that grows with attenuation; pixels that are not `valid` are not looked at.

    Bars are found with the stroke width transform (Epshtein, Ofek & Wexler, CVPR 2010): from every steep
    edge walk across, to the opposite edge of about the same slope; strokes of equal width whose centres
    line up are a bar. Implants of other shapes are what lies inside a closed steep outline.
    """
    slopes = _slopes(attenuation, valid)
    if slopes.typical == 0:
        return np.zeros_like(valid)
    strokes = _find_strokes(attenuation, slopes, config)
    return (_bars(strokes, attenuation, slopes, config) | _outlined(attenuation, slopes, config)) & valid


def _slopes(attenuation: Image, valid: Mask) -> _Slopes:
    along_y = ndimage.gaussian_filter(attenuation, 1.0, order=(1, 0))
    along_x = ndimage.gaussian_filter(attenuation, 1.0, order=(0, 1))
    magnitude = np.hypot(along_y, along_x)
    typical = float(np.percentile(magnitude[valid], 75)) if valid.any() else 0.0
    return _Slopes(along_y, along_x, np.where(valid, magnitude, np.float32(0)), valid, typical)


def _find_strokes(attenuation: Image, slopes: _Slopes, config: MetalConfig) -> _Strokes:
    steep = np.argwhere(slopes.magnitude > config.edge_ratio * slopes.typical)
    rows, columns = steep[:, 0], steep[:, 1]
    slope = slopes.magnitude[rows, columns]
    normals = np.stack(
        [slopes.along_y[rows, columns], slopes.along_x[rows, columns]], axis=1, dtype=np.float64
    )
    normals /= slope[:, None]
    ahead, behind = (_sample(slopes.magnitude, steep + step * normals) for step in (1.0, -1.0))
    crest = (slope >= ahead) & (slope > behind)
    steep, slope, normals = steep[crest], slope[crest], normals[crest]
    if len(steep) == 0:
        return _Strokes(np.zeros((0, 2)), np.zeros((0, 2)), np.zeros(0))

    # Slope across the stroke, relative to its start: 1 at the first edge, about -1 at the opposite one.
    distances = np.arange(config.max_width_px + 2)
    points = steep[None] + distances[:, None, None] * normals[None]
    height, width = attenuation.shape
    nearest = np.rint(points).astype(np.intp)
    inside = ((nearest >= 0) & (nearest < (height, width))).all(axis=-1)
    y, x = np.clip(nearest[..., 0], 0, height - 1), np.clip(nearest[..., 1], 0, width - 1)
    across = slopes.along_y[y, x] * normals[:, 0] + slopes.along_x[y, x] * normals[:, 1]
    across = np.where(inside & (slopes.magnitude[y, x] > 0), across, 0) / slope
    opposite = (across[2:-1] < -0.5) & (across[2:-1] <= across[1:-2]) & (across[2:-1] <= across[3:])
    found = opposite.any(axis=0)
    widths = opposite.argmax(axis=0) + 2.0
    found &= across[widths.astype(np.intp), np.arange(len(steep))] > -2.0

    to_middle, to_other_side = widths[:, None] / 2 * normals, (widths[:, None] + 2) * normals
    before = _sample(attenuation, steep - 2 * normals)
    beyond = _sample(attenuation, steep + to_other_side)
    contrast = _sample(attenuation, steep + to_middle) - np.maximum(before, beyond)
    blur = contrast / slope / np.sqrt(2 * np.pi)
    found &= (blur > _SHARPNESS_PX[0]) & (blur < _SHARPNESS_PX[1])
    return _Strokes((steep + to_middle)[found], normals[found], widths[found])


def _sample(image: Image, points: NDArray[np.float64]) -> NDArray[np.float64]:
    """Image values at (row, column) points [N, 2]."""
    return ndimage.map_coordinates(image, points.T, order=1, mode="nearest")


def _bars(strokes: _Strokes, attenuation: Image, slopes: _Slopes, config: MetalConfig) -> Mask:
    """Greedy consensus: draw the bars on the line that most strokes agree on, drop its strokes, repeat."""
    drawn = np.zeros(attenuation.shape, dtype=bool)
    fewest = 2 * config.min_coverage * config.min_length_px
    for _ in range(_MAX_BARS):
        if len(strokes) < fewest:
            break
        seeds = np.linspace(0, len(strokes) - 1, min(_SEEDS, len(strokes))).astype(np.intp)
        votes = _aligned(strokes, strokes.centres[seeds], strokes.normals[seeds])
        votes &= np.abs(strokes.widths[seeds, None] - strokes.widths) <= 2
        members = votes[votes.sum(axis=1).argmax()]
        if members.sum() < fewest:
            break
        origin = strokes.centres[members].mean(axis=0)
        direction = np.linalg.svd(strokes.centres[members] - origin, full_matrices=False)[2][0]
        members |= _aligned(strokes, origin[None], _across(direction)[None])[0] & (
            np.abs(strokes.widths - np.median(strokes.widths[members])) <= 2
        )
        line = _Line(origin, direction, float(np.median(strokes.widths[members])))
        bars = _confirmed(line, (strokes.centres[members] - origin) @ direction, attenuation, slopes, config)
        if bars:
            _draw(drawn, line, _grown(line, bars, slopes))
        strokes = strokes[~members]
    return drawn


def _across(direction: NDArray[np.float64]) -> NDArray[np.float64]:
    return np.array([-direction[1], direction[0]])


def _aligned(strokes: _Strokes, points: NDArray[np.float64], normals: NDArray[np.float64]) -> Mask:
    """Which strokes [N] cross each of the lines [L] through `points` with unit `normals` squarely: [L, N]."""
    off_line = normals @ strokes.centres.T - np.sum(normals * points, axis=1, keepdims=True)
    return (np.abs(off_line) < 1.5) & (np.abs(normals @ strokes.normals.T) > _PARALLEL)


@dataclass(frozen=True, eq=False)
class _Line:
    """Axis of possible bars, through `origin` along the unit `direction` (row, column), and their width."""

    origin: NDArray[np.float64]
    direction: NDArray[np.float64]
    width: float

    def sample(self, image: Image, along: NDArray[np.float64], off: float) -> NDArray[np.float64]:
        axis = self.origin + off * _across(self.direction)
        return _sample(image, axis + along[:, None] * self.direction)

    def edge_slopes(self, slopes: _Slopes, along: NDArray[np.float64]) -> NDArray[np.float64]:
        """The flatter one of the two edges' slopes towards the axis, at positions along it."""
        down, right = _across(self.direction)
        steepest = []
        for side in (-1.0, 1.0):
            offs = side * self.width / 2 + np.array([-1.0, 0.0, 1.0])
            outwards = [
                self.sample(slopes.along_y, along, off) * down
                + self.sample(slopes.along_x, along, off) * right
                for off in offs
            ]
            steepest.append(np.max(-side * np.stack(outwards), axis=0))
        return np.minimum(*steepest)


def _confirmed(
    line: _Line, positions: NDArray[np.float64], attenuation: Image, slopes: _Slopes, config: MetalConfig
) -> list[tuple[float, float]]:
    """Stretches (from, to) of the line that are long, have both edges all along and an even contrast.

    Bone also has thin straight borders (the pelvic brim, ribs on edge), but fades in and out along them.
    """
    positions = np.sort(positions)
    # Gaps as wide as a crossing bar are bridged.
    pieces = np.split(positions, np.flatnonzero(np.diff(positions) > config.max_width_px) + 1)
    bars = []
    for piece in pieces:
        length = piece[-1] - piece[0] + 1
        fewest = 2 * config.min_coverage * length  # strokes start at both edges
        if length < max(config.min_length_px, 2 * line.width) or len(piece) < fewest:
            continue
        along = np.arange(piece[0], piece[-1] + 0.5)
        beside = line.width / 2 + 2.5
        outside = line.sample(attenuation, along, -beside) + line.sample(attenuation, along, beside)
        contrast = line.sample(attenuation, along, 0.0) - outside / 2
        lower, median, upper = np.percentile(contrast, (25, 50, 75))
        weakest = np.percentile(line.edge_slopes(slopes, along), 15)
        evidence = length * weakest / slopes.typical
        if upper - lower < config.max_contrast_spread * median and evidence > config.min_evidence_px:
            bars.append((float(piece[0]), float(piece[-1])))
    return bars


def _grown(line: _Line, bars: list[tuple[float, float]], slopes: _Slopes) -> list[tuple[float, float]]:
    """Bars lengthened as long as both edges can still be made out; an end near a border runs on beyond it."""
    height, width = slopes.magnitude.shape
    along = np.arange(-np.hypot(height, width), np.hypot(height, width))
    points = np.rint(line.origin[:, None] + line.direction[:, None] * along).astype(np.intp)
    known = (points[0] >= 0) & (points[0] < height) & (points[1] >= 0) & (points[1] < width)
    known[known] = slopes.valid[points[0, known], points[1, known]]
    seen = line.edge_slopes(slopes, along) > slopes.typical
    covered = ndimage.uniform_filter1d((seen & known).astype(np.float32), size=9) > 0.6
    for first, last in bars:
        covered |= (along >= first) & (along <= last)
    covered |= ~known & ndimage.binary_dilation(covered, iterations=round(line.width / 2 + 8))
    covered = ndimage.binary_closing(covered, iterations=8) | covered
    labels, _ = ndimage.label(covered)
    chosen = {int(labels[np.searchsorted(along, first)]) for first, _ in bars}
    runs = [along[labels == label] for label in chosen]
    return [(float(run[0]) - 1, float(run[-1]) + 1) for run in runs]


def _draw(drawn: Mask, line: _Line, bars: list[tuple[float, float]]) -> None:
    rows, columns = np.ogrid[: drawn.shape[0], : drawn.shape[1]]
    y, x = rows - line.origin[0], columns - line.origin[1]
    along = y * line.direction[0] + x * line.direction[1]
    beside = np.abs(y * line.direction[1] - x * line.direction[0]) <= line.width / 2 + 0.5
    for first, last in bars:
        drawn |= beside & (along >= first) & (along <= last)


def _outlined(attenuation: Image, slopes: _Slopes, config: MetalConfig) -> Mask:
    """Return what lies inside closed steep outlines and attenuates more than what lies around them."""
    steep = slopes.magnitude > config.outline_ratio * slopes.typical
    filled = ndimage.binary_fill_holes(steep)
    labels, count = ndimage.label(filled & ~steep)
    if count == 0:
        return np.zeros_like(steep)
    outlines, outline_count = ndimage.label(filled)
    around = ndimage.grey_dilation(outlines, size=(7, 7)) * ~ndimage.binary_dilation(filled)
    surroundings = ndimage.median(attenuation, around, np.arange(outline_count + 1))

    inside = np.arange(1, count + 1)
    least = ndimage.minimum(attenuation, labels, inside)
    outline_of = ndimage.maximum(outlines, labels, inside).astype(np.intp)
    area = np.bincount(labels.ravel(), minlength=count + 1)[1:]
    metal = least > surroundings[outline_of]
    metal &= (area >= _MIN_AREA_PX) & (area <= config.max_area * steep.size)
    core = np.concatenate([[False], metal])[labels]
    return ndimage.binary_dilation(core, iterations=_BAND_PX) & filled
