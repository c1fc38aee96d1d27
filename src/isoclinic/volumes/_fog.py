"""Shadows of collimator blades that scatter and noise light up, by their round or straight outlines."""

from __future__ import annotations

from dataclasses import dataclass
from itertools import combinations
from typing import Any, TypeVar

import numpy as np
from numpy.typing import NDArray
from scipy import ndimage

Image = NDArray[np.float32]
Mask = NDArray[np.bool_]
Array = NDArray[np.float64]

_LEAST_SIZE_PX = 64
_RAYS = 240
_EDGES_PER_RAY = 3
_STEEPEST_FIRST = (0.6, 0.25, 0.15)  # how often each of them is drawn
_BLUR_PX = 1.5  # of the gradient: evens out the noise in a shadow and keeps neighbouring bones apart
_DRAWS = 1500
_NEAR_PX = 1.75
_FACING = np.cos(np.deg2rad(30.0))
_LEAST_VOTES = _RAYS // 20
_MAX_LINES = 6  # candidates; one to four of them bound the field
_CHECKED = 4
_STRUCTURE_PX = (2.0, 6.0)  # scales of what anatomy shows everywhere and scatter nowhere
_NOISE_PX = (1.0, 2.0)


@dataclass(frozen=True)
class _Criteria:
    """Limits that make a dark rim a shadow.

    Attributes:
        length: least length of each round or straight piece of the outline, as a share of the image's
            shorter side.
        coverage: least share of that length on which an edge is found.
        darker: least share of it on which the outer side is the darker one.
        step: least median step across it, as a share of the image's span.
        sharpness: least share of the change over 8 px to either side that is made within 3 px, as medians.
        lasting: least share of the latter that is left of it after 8 px: a layer of skin or cloth is not.
        smoothness: most structure outside the outline over that inside, as medians: metal is no measure.
    """

    length: float = 0.35
    coverage: float = 0.75
    darker: float = 0.85
    step: float = 0.04
    sharpness: float = 0.5
    lasting: float = 0.6
    smoothness: float = 0.5


_CRITERIA = _Criteria()


@dataclass(frozen=True, eq=False)
class _Edges:
    """Edges beyond which it gets darker, the steepest ones on every ray from the image's centre.

    Attributes:
        rays: [R, 2] unit vectors (row, column).
        reach: [R] length of each ray inside the image [px].
        points: [R, E, 2] from the image's centre [px]; far away where a ray has fewer edges.
        normals: [R, E, 2] unit gradients.
    """

    rays: Array
    reach: Array
    points: Array
    normals: Array


@dataclass(frozen=True, eq=False)
class _Circles:
    centres: Array  # [N, 2], from the image's centre
    radii: Array  # [N]

    def __getitem__(self, index: Any) -> _Circles:
        return _Circles(self.centres[index], self.radii[index])

    def beyond(self, points: Array) -> Array:
        """Distance outwards [..., N] of points [..., 2]."""
        squared = np.sum(points**2, axis=-1)[..., None] - 2 * points @ self.centres.T
        return np.sqrt(np.maximum(squared + np.sum(self.centres**2, axis=1), 0)) - self.radii

    def facing(self, points: Array, normals: Array) -> Array:
        """Cosine [..., N] between unit vectors at points on the outline and its outer normal."""
        return (np.sum(points * normals, axis=-1)[..., None] - normals @ self.centres.T) / self.radii

    def along(self, rays: Array) -> Array:
        """Return where rays [R, 2] from the image's centre leave the outline [px], [R, N]."""
        middle = rays @ self.centres.T
        return middle + np.sqrt(np.maximum(middle**2 - np.sum(self.centres**2, axis=1) + self.radii**2, 0))

    def steepness(self, rays: Array) -> Array:
        """Cosine between those rays and the outer normal where they leave, [R, N]."""
        return (self.along(rays) - rays @ self.centres.T) / self.radii

    def outwards(self, points: Array) -> Array:
        """Outer normals [P, 2] at points [P, 2] on the only circle."""
        return (points - self.centres) / self.radii

    def fitted(self, points: Array) -> _Circles:
        """Least squares |x|^2 = 2 c.x + k over points [P, 2] (Kasa 1976, IEEE Trans. Instrum. Meas. 25:8)."""
        system = np.column_stack([2 * points, np.ones(len(points))])
        *centre, rest = np.linalg.lstsq(system, np.sum(points**2, axis=1), rcond=None)[0]
        return _Circles(np.array([centre]), np.sqrt(np.maximum([rest + np.dot(centre, centre)], 1.0)))


@dataclass(frozen=True, eq=False)
class _Lines:
    """The same as `_Circles` for the sides of a field that contains the image's centre."""

    directions: Array  # [N, 2], unit outer normals
    offsets: Array  # [N], distance from the image's centre

    def __getitem__(self, index: Any) -> _Lines:
        return _Lines(self.directions[index], self.offsets[index])

    def beyond(self, points: Array) -> Array:
        distance: Array = points @ self.directions.T - self.offsets
        return distance

    def facing(self, points: Array, normals: Array) -> Array:
        cosine: Array = normals @ self.directions.T
        return cosine

    def along(self, rays: Array) -> Array:
        cosine = rays @ self.directions.T
        return np.where(cosine > 1e-6, self.offsets / np.maximum(cosine, 1e-6), np.inf)

    def steepness(self, rays: Array) -> Array:
        cosine: Array = rays @ self.directions.T
        return cosine

    def outwards(self, points: Array) -> Array:
        return np.broadcast_to(self.directions, points.shape)

    def fitted(self, points: Array) -> _Lines:
        middle = points.mean(axis=0)
        direction = np.linalg.svd(points - middle, full_matrices=False)[2][1]
        direction = direction * np.sign(direction @ middle)
        return _Lines(direction[None], np.array([direction @ middle]))


_Outline = _Circles | _Lines  # of the field inside all of them
_Piece = TypeVar("_Piece", _Circles, _Lines)


def find_fog(attenuation: Image) -> Mask:
    """Return what lies beyond a round or polygonal field around the image's centre, if there is one.

    Edges that face away from the centre are collected on rays; circles through three of them and lines
    through two are drawn at random and kept where many others agree (RANSAC, Fischler & Bolles 1981, Commun.
    ACM 24:381). They end the field if the edge is seen along most of them and what lies beyond is darker and
    plain.
    """
    nothing = np.zeros(attenuation.shape, dtype=bool)
    span = float(np.ptp(np.percentile(attenuation, (0.5, 99.5))))
    if span == 0 or min(attenuation.shape) < _LEAST_SIZE_PX:
        return nothing
    smooth = ndimage.gaussian_filter(attenuation, _BLUR_PX)
    edges = _find_edges(smooth)
    rng = np.random.default_rng(0)
    outlines: list[tuple[float, _Outline]] = []
    for candidates, most in ((_find_circle(edges, rng), 1), (_find_lines(edges, rng), 4)):
        outlines += _supported(candidates, most, edges, _CRITERIA.length * min(attenuation.shape))
    outlines.sort(key=lambda scored: -scored[0])

    pixels = np.moveaxis(np.indices(attenuation.shape), 0, -1) - _centre(attenuation)
    for _, outline in outlines[:_CHECKED]:
        beyond: Array = outline.beyond(pixels).max(axis=-1)
        if _gets_darker(smooth, outline, edges, span) and _is_plain(attenuation, beyond):
            return np.asarray(beyond > -1)
    return nothing


def _centre(image: Image) -> Array:
    return (np.array(image.shape) - 1) / 2


def _sample(image: NDArray[Any], points: Array) -> NDArray[np.float32]:
    """Image values at points [..., 2] relative to the image's centre."""
    coordinates = np.moveaxis(points + _centre(image), -1, 0)
    sampled: NDArray[np.float32] = ndimage.map_coordinates(image, coordinates, order=1, mode="nearest")
    return sampled


def _find_edges(smooth: Image) -> _Edges:
    angles = np.arange(_RAYS) * (2 * np.pi / _RAYS)
    rays = np.column_stack([np.sin(angles), np.cos(angles)])
    # Derivatives at the border itself are one-sided.
    reach = ((_centre(smooth) - 3) / np.maximum(np.abs(rays), 1e-9)).min(axis=1)
    distances = np.arange(0.12 * min(smooth.shape), reach.max())
    points = rays[:, None] * distances[:, None]
    slopes = [np.gradient(smooth, axis=axis) for axis in (0, 1)]
    gradient = np.stack([_sample(slope, points) for slope in slopes], axis=-1)
    outwards = np.sum(gradient * rays[:, None], axis=-1) * (distances <= reach[:, None])
    crest = (outwards > 0) & (outwards == ndimage.maximum_filter1d(outwards, 5, axis=1))
    steepness = np.where(crest, outwards, 0)
    best = np.argsort(-steepness, axis=1)[:, :_EDGES_PER_RAY]
    ray = np.arange(_RAYS)[:, None]
    normals = gradient[ray, best].astype(np.float64)
    normals /= np.maximum(np.linalg.norm(normals, axis=-1, keepdims=True), 1e-12)
    distance = np.where(steepness[ray, best] > 0, distances[best], 1e6)
    return _Edges(rays, reach, distance[..., None] * rays[:, None], normals)


def _draw(edges: _Edges, rays: NDArray[np.intp], rng: np.random.Generator) -> tuple[Array, Array]:
    """An edge of each ray: points and normals, [..., 2]."""
    which = rng.choice(_EDGES_PER_RAY, size=rays.shape, p=_STEEPEST_FIRST)
    return edges.points[rays, which], edges.normals[rays, which]


def _find_circle(edges: _Edges, rng: np.random.Generator) -> _Circles:
    """The circle that most edges agree on; none or one."""
    points, normals = _draw(edges, rng.integers(_RAYS, size=(_DRAWS, 3)), rng)
    # Equal distances to the points p: 2 (p1 - p0).c = |p1|^2 - |p0|^2, and so on.
    system, squared = 2 * (points[:, 1:] - points[:, :1]), np.sum(points**2, axis=-1)
    solvable = np.abs(np.linalg.det(system)) > 1000
    points, normals, system, squared = (a[solvable] for a in (points, normals, system, squared))
    centres = np.linalg.solve(system, (squared[:, 1:] - squared[:, :1])[..., None])[..., 0]
    circles = _Circles(centres, np.linalg.norm(points[:, 0] - centres, axis=1))
    size = edges.reach.min()
    off_centre = np.linalg.norm(centres, axis=1)
    plausible = (off_centre < 0.6 * np.minimum(size, circles.radii)) & (circles.radii < 2.2 * size)
    outwards = (points - centres[:, None]) / circles.radii[:, None, None]
    plausible &= (np.sum(outwards * normals, axis=-1) > _FACING).all(axis=1)
    circles = circles[plausible]
    votes = _hits(circles, edges).any(axis=1).sum(axis=0)
    if votes.max(initial=0) < _LEAST_VOTES:
        return circles[:0]
    return _refined(circles[[votes.argmax()]], edges)


def _find_lines(edges: _Edges, rng: np.random.Generator) -> _Lines:
    """Lines that many edges agree on, the longest first, none of them twice."""
    first = rng.integers(_RAYS, size=_DRAWS)
    second = (first + rng.integers(_RAYS // 48, _RAYS // 6, size=_DRAWS)) % _RAYS
    points, normals = _draw(edges, np.column_stack([first, second]), rng)
    tangents = points[:, 1] - points[:, 0]
    directions = tangents[:, ::-1] * (-1, 1) / np.maximum(np.linalg.norm(tangents, axis=1, keepdims=True), 1)
    offsets = np.sum(directions * points[:, 0], axis=1)
    lines = _Lines(directions * np.sign(offsets)[:, None], np.abs(offsets))
    plausible = (np.sum(lines.directions[:, None] * normals, axis=-1) > _FACING).all(axis=1)
    plausible &= (lines.offsets > 0.25 * edges.reach.min()) & (lines.offsets < edges.reach.max())
    lines = lines[plausible]

    found = lines[:0]
    votes = _hits(lines, edges).any(axis=1) * _lengths(lines, edges)
    while len(found.offsets) < _MAX_LINES and np.count_nonzero(votes, axis=0).max(initial=0) >= _LEAST_VOTES:
        best = votes.sum(axis=0).argmax()
        line = _refined(lines[[best]], edges)
        found = _Lines(
            np.append(found.directions, line.directions, axis=0), np.append(found.offsets, line.offsets)
        )
        alike = (lines.directions @ line.directions[0] > 0.97) & (np.abs(lines.offsets - line.offsets) < 8)
        votes[votes[:, best] > 0] = 0
        votes[:, alike] = 0
        votes[:, best] = 0
    return found


def _hits(outline: _Outline, edges: _Edges) -> Mask:
    """Which edges lie on each of the outline's pieces and face outwards, [R, E, N]."""
    hits: Mask = np.abs(outline.beyond(edges.points)) < _NEAR_PX
    hits &= outline.facing(edges.points, edges.normals) > _FACING
    return hits


def _refined(piece: _Piece, edges: _Edges) -> _Piece:
    for _ in range(2):
        on_it = edges.points[_hits(piece, edges)[..., 0]]
        if len(on_it) < _LEAST_VOTES:
            break
        piece = piece.fitted(on_it)
    return piece


def _lengths(outline: _Outline, edges: _Edges) -> Array:
    """Length of each piece between one ray and the next, where it lies inside the image [px], [R, N]."""
    distance = outline.along(edges.rays)
    distance = np.where(distance < edges.reach[:, None], distance, 0)
    cosine = outline.steepness(edges.rays)
    return distance * (2 * np.pi / _RAYS) / np.maximum(cosine, 0.2)


def _supported(
    candidates: _Outline, most: int, edges: _Edges, least_px: float
) -> list[tuple[float, _Outline]]:
    """Fields of up to `most` pieces with edges nearly all around, and their length with less that without."""
    along = candidates.along(edges.rays)
    count = along.shape[1]
    hit = np.asarray(_hits(candidates, edges).any(axis=1))
    lengths = _lengths(candidates, edges)
    supported = []
    for size in range(1, min(most, count) + 1):
        for chosen in map(list, combinations(range(count), size)):
            first = np.equal(along[:, chosen], along[:, chosen].min(axis=1, keepdims=True))
            visible = lengths[:, chosen] * first
            all_px, hit_px = visible.sum(axis=0), (visible * hit[:, chosen]).sum(axis=0)
            if (all_px >= least_px).all() and (hit_px >= _CRITERIA.coverage * all_px).all():
                supported.append((float(np.sum(2 * hit_px - all_px)), candidates[chosen]))
    return supported


def _gets_darker(smooth: Image, outline: _Outline, edges: _Edges, span: float) -> bool:
    """Tell whether nearly all of each piece of the outline is an abrupt step to a darker outside."""
    along = outline.along(edges.rays)
    nearest = along.min(axis=1)
    for n in range(along.shape[1]):
        visible = np.equal(along[:, n], nearest) & (nearest < edges.reach)
        points = nearest[visible, None] * edges.rays[visible]
        outwards = outline[[n]].outwards(points)
        near, far = (
            _sample(smooth, points + offset * outwards) - _sample(smooth, points - offset * outwards)
            for offset in (3.0, 8.0)
        )
        step, change = float(np.median(near)), float(np.median(far))
        abrupt = step > _CRITERIA.sharpness * change and change > _CRITERIA.lasting * step
        if not abrupt or step < _CRITERIA.step * span or np.mean(near > 0) < _CRITERIA.darker:
            return False
    return True


def _is_plain(attenuation: Image, beyond: Array) -> bool:
    """Tell whether there is far less structure outside the outline than inside, but for the noise."""
    noise, structure = (
        np.square(ndimage.gaussian_filter(attenuation, fine) - ndimage.gaussian_filter(attenuation, coarse))
        for fine, coarse in (_NOISE_PX, _STRUCTURE_PX)
    )
    gain = _white_noise(*_STRUCTURE_PX) / _white_noise(*_NOISE_PX)
    beside = 1.5 * _STRUCTURE_PX[1]
    sides = beyond > beside, beyond < -beside
    if min(np.count_nonzero(side) for side in sides) < 100:
        return False
    outside, inside = (np.median(structure[side]) - gain * np.median(noise[side]) for side in sides)
    return bool(outside < _CRITERIA.smoothness**2 * inside)


def _white_noise(fine: float, coarse: float) -> float:
    """Share of white noise's variance that the difference of two Gaussians lets through."""
    return (1 / fine**2 + 1 / coarse**2 - 4 / (fine**2 + coarse**2)) / (4 * np.pi)
