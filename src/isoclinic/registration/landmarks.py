"""A first pose from landmarks: points marked in the CT and in the X-ray (perspective-n-point)."""

from __future__ import annotations

import warnings
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from numpy.typing import ArrayLike, NDArray
from torch import Tensor

from ..errors import InputError
from ..geometry import Camera, se3
from ..solver import L2, Linearization, LMConfig, levenberg_marquardt, normal_equations
from ..volumes import GeometryWarning, XRay
from ._distinct import distinct
from ._landmark_files import Points, read_pixel_points, read_world_points

__all__ = [
    "LandmarkPairs",
    "LandmarkPose",
    "pose_from_landmark_files",
    "pose_from_landmarks",
    "read_landmark_pairs",
    "read_pixel_points",
    "read_world_points",
]

_LEAST_POINTS = 4  # three leave up to four poses (Grunert 1841)
# Spread across the line through the points, relative to that along it, below which they count as collinear:
# the turn about that line would be uncertain by tens of degrees.
_LEAST_WIDTH = 0.01
_MARKING_MM = 1.0  # what a person can mark, on the detector
_DISTINCT_DEG = 3.0
_POLISHED = 8
_BAD_FIT_MM = 5.0
_LEAST_CURVATURE = 1e-10  # of the weakest direction relative to the strongest


@dataclass(frozen=True, kw_only=True, eq=False)
class LandmarkPairs:
    """Landmarks that are marked in both the CT and the X-ray.

    Attributes:
        names: N names.
        points_world: [N, 3] float64, world RAS [mm].
        stored_px: [N, 2] float64, (u, v) = (column, row) of the X-ray as stored [px].
        unmatched: names that only one of the two has.
    """

    names: tuple[str, ...]
    points_world: NDArray[np.float64]
    stored_px: NDArray[np.float64]
    unmatched: tuple[str, ...]


@dataclass(frozen=True, kw_only=True, eq=False)
class LandmarkPose:
    """A pose fitted to landmarks, and how well it fits.

    Attributes:
        camera_from_world: [4, 4] float64.
        residuals_px: [N] float64, distance of each mark from where its point is projected [px].
        residuals_mm: [N] float64, the same at the depth of the point [mm].
        alternatives: [K, 4, 4] float64, other poses that fit as well as marks can tell, best first; flat sets
            of landmarks far from the source have one.
        names: N names of the landmarks, where they have any.
        unmatched: names that were marked in the CT or in the X-ray only.
    """

    camera_from_world: Tensor
    residuals_px: Tensor
    residuals_mm: Tensor
    alternatives: Tensor
    names: tuple[str, ...] = ()
    unmatched: tuple[str, ...] = ()

    @property
    def rms_px(self) -> float:
        """Root mean square of the residuals [px].

        Marks with Gaussian errors of s px along each axis leave s sqrt(2 - 6 / N) of it.
        """
        return float(self.residuals_px.square().mean().sqrt())

    @property
    def rms_mm(self) -> float:
        """Root mean square of the residuals [mm]."""
        return float(self.residuals_mm.square().mean().sqrt())


def read_landmark_pairs(world_file: Path | str, pixel_file: Path | str | None = None) -> LandmarkPairs:
    """Landmarks of a CT and of an X-ray, matched by name.

    Args:
        world_file: see `read_world_points`.
        pixel_file: see `read_pixel_points`; None where the first file holds both.

    Raises:
        InputError: a file that cannot be used, or fewer than four names in common.
    """
    pixel_file = world_file if pixel_file is None else pixel_file
    return _matched(
        read_world_points(world_file), read_pixel_points(pixel_file), f"{world_file}, {pixel_file}"
    )


def pose_from_landmark_files(
    xray: XRay, world_file: Path | str, pixel_file: Path | str | None = None
) -> LandmarkPose:
    """The pose that projects a CT's landmarks onto their marks in an X-ray; see `pose_from_landmarks`.

    Marks are pixels of the image as stored, however the X-ray has been flipped, turned, cropped or binned
    since; so are the residuals. (`XRay.pixels_from_stored` takes marks into the X-ray as it is used.) Warns
    of names without a partner, of a bad fit, and of a second pose that fits as well.

    Args:
        xray: the X-ray.
        world_file: see `read_world_points`.
        pixel_file: see `read_pixel_points`; None where the first file holds both.

    Raises:
        InputError: as for `read_landmark_pairs` and `pose_from_landmarks`, or a mark outside the image.
    """
    pairs = read_landmark_pairs(world_file, pixel_file)
    camera = xray.stored_camera or xray.camera
    where = str(pixel_file or world_file)
    _check_inside(pairs, camera, where)
    try:
        fit = pose_from_landmarks(pairs.points_world, pairs.stored_px, camera)
    except InputError as error:
        raise InputError(f"{where}: {error}", code=error.code) from error
    for warning in _doubts(pairs, fit):
        warnings.warn(f"{where}: {warning}", GeometryWarning, stacklevel=2)
    turn = torch.from_numpy(xray.camera_from_stored)
    return LandmarkPose(
        camera_from_world=turn @ fit.camera_from_world,
        residuals_px=fit.residuals_px,
        residuals_mm=fit.residuals_mm,
        alternatives=turn @ fit.alternatives,
        names=pairs.names,
        unmatched=pairs.unmatched,
    )


def pose_from_landmarks(points_world: ArrayLike, pixels: ArrayLike, camera: Camera) -> LandmarkPose:
    """The pose with the least squared distances between marks and projected points [px].

    Levenberg-Marquardt from the 60 rotations of the icosahedral group, one of which is within 44.5 degrees of
    any rotation, each at the distance that the size of the marks suggests. Poses with a point behind the
    source or beyond the detector do not count.

    Landmarks say little about depth. With marks wrong by s px along each axis, N landmarks at a distance z
    from the source, and R the root mean square of their distances from their centre across the beam, the
    standard deviations of the position along and across the beam are, to first order and at best,

        along = z^2 s / (f R sqrt(N)),    across = z s / (f sqrt(N)),    along / across = z / R.

    Eight landmarks at z = 700 mm, R = 50 mm, f = 850 px, marked to a pixel: 4.1 mm in depth, 0.3 mm across.

    Args:
        points_world: [N, 3] [mm], N >= 4: three points leave up to four poses.
        pixels: [N, 2], (u, v) = (column, row) of the marks [px]; they may lie outside the image.
        camera: the camera of the image the marks were made in; mirrored ones (negative fx or fy) are fine.

    Raises:
        InputError: fewer than four points, other shapes, values that are not finite, points on a line or in
            one place, marks in one place, or points that fit no pose between source and detector.
    """
    world, marks = _checked(points_world, pixels)
    problem = _Reprojection(points_world=world, pixels=marks, camera=camera)
    radius_mm = float((world - problem.centre).square().sum(-1).mean().sqrt())
    sweep = levenberg_marquardt(problem, _starts(world, marks, camera), _solver(radius_mm, max_steps=25))
    rough = sweep.x[_distinct(sweep.x, sweep.cost)[:_POLISHED]]
    solution = levenberg_marquardt(problem, rough, _solver(radius_mm, max_steps=100))
    depth = (world @ solution.x[:, 2, :3].T + solution.x[:, 2, 3]).T
    possible = ((depth > 0) & (depth < camera.sdd_mm)).all(-1).nonzero()[:, 0]
    if not len(possible):
        raise InputError(
            "no pose between source and detector projects the landmarks onto their marks; check their names "
            "and units, and the X-ray's source-detector distance and pixel spacing",
            code="landmarks.undetermined",
        )
    ranked = possible[_distinct(solution.x[possible], solution.cost[possible])]
    best = ranked[0]
    _check_determined(solution.hessian[best], radius_mm)
    rms_px = (2 * solution.cost[ranked] / len(world)).sqrt()
    indistinct = rms_px <= rms_px[0] + _MARKING_MM / max(camera.pixel_spacing_mm)
    residuals = camera.project(world, solution.x[best]) - marks
    focal = torch.tensor([camera.fx, camera.fy], dtype=torch.float64)
    return LandmarkPose(
        camera_from_world=solution.x[best],
        residuals_px=residuals.norm(dim=-1),
        residuals_mm=(residuals / focal * depth[best, :, None]).norm(dim=-1),
        alternatives=solution.x[ranked[indistinct][1:]],
    )


@dataclass(frozen=True, kw_only=True, eq=False)
class _Reprojection:
    """Problem of the solver: marks [N, 2] against projections of points [N, 3], with its exact Jacobian."""

    points_world: Tensor
    pixels: Tensor
    camera: Camera

    @property
    def centre(self) -> Tensor:
        return self.points_world.mean(0)

    def linearize(self, x: Tensor, items: Tensor) -> Linearization:
        points = se3.transform_points(x, self.points_world)
        focal = points.new_tensor([self.camera.fx, self.camera.fy])
        per_depth = focal / points[..., 2:]
        by_depth = -per_depth * points[..., :2] / points[..., 2:]
        pixels_by_point = torch.cat([torch.diag_embed(per_depth), by_depth[..., None]], dim=-1)
        # Moved by (w, v), the point p goes to p + w x (p - c) + v.
        arms = points - points.mean(1, keepdim=True)
        point_by_tangent = torch.cat([-se3.hat(arms), torch.eye(3).to(arms).expand(*arms.shape, 3)], dim=-1)
        residual = self.camera.project(self.points_world, x) - self.pixels
        jacobian = pixels_by_point @ point_by_tangent
        return normal_equations(residual.flatten(1), jacobian.flatten(1, 2), None, L2())

    def retract(self, x: Tensor, delta: Tensor) -> Tensor:
        return se3.perturb(x, delta, self.centre)


def _solver(radius_mm: float, *, max_steps: int) -> LMConfig:
    return LMConfig(
        max_steps=max_steps,
        step_scale=(1 / radius_mm,) * 3 + (1.0,) * 3,
        max_step=200.0,
        step_deviation_tolerance=0.0,
        step_tolerance=1e-7,
        decrease_tolerance=1e-12,
        gradient_tolerance=1e-12,
    )


def _starts(world: Tensor, marks: Tensor, camera: Camera) -> Tensor:
    """Every rotation [60, 4, 4] of the group, at the depth at which points and marks spread alike."""
    from scipy.spatial.transform import Rotation  # it takes long to import

    rotations = torch.from_numpy(Rotation.create_group("I").as_matrix())
    focal = torch.tensor([camera.fx, camera.fy], dtype=torch.float64)
    principal = torch.tensor([camera.cx, camera.cy], dtype=torch.float64)
    rays = (marks - principal) / focal
    arms = (world - world.mean(0)) @ rotations.mT
    spread = arms[..., :2].square().sum((1, 2)) / (rays - rays.mean(0)).square().sum()
    nearest = 1.2 * arms[..., 2].abs().amax(-1)  # all points in front of the source
    depth = spread.sqrt().clamp(max=camera.sdd_mm).maximum(nearest)
    centre = torch.cat([rays.mean(0), rays.new_ones(1)]) * depth[:, None]
    return se3.rigid(rotations, centre - rotations @ world.mean(0))


def _distinct(poses: Tensor, cost: Tensor) -> Tensor:
    """Indices [K] of the poses of finite cost that differ from every better one, best first."""

    def apart_deg(one: int, others: list[int]) -> Tensor:
        return se3.rotation_angle_deg(poses[one], poses[others])

    ranked = [index for index in cost.argsort().tolist() if cost[index].isfinite()]
    return torch.tensor(distinct(ranked, apart_deg, _DISTINCT_DEG), dtype=torch.long)


def _checked(points_world: ArrayLike, pixels: ArrayLike) -> tuple[Tensor, Tensor]:
    world, marks = (np.asarray(values, dtype=np.float64) for values in (points_world, pixels))
    if world.ndim != 2 or world.shape[1] != 3 or marks.shape != (len(world), 2):
        raise InputError(
            f"landmarks must be points [N, 3] and pixels [N, 2], not {world.shape} and {marks.shape}",
            code="landmarks.wrong-shape",
        )
    if not (np.isfinite(world).all() and np.isfinite(marks).all()):
        raise InputError(
            "landmarks must be finite numbers; some are NaN or infinite", code="landmarks.not-finite"
        )
    different = len(np.unique(world, axis=0))
    if different < _LEAST_POINTS:
        raise InputError(
            f"a pose needs at least {_LEAST_POINTS} different landmarks, not {different}; mark more of them"
            " in both the CT and the X-ray",
            code="landmarks.invalid-value",
        )
    along, across = np.linalg.svd(world - world.mean(0), compute_uv=False)[:2]
    if across <= _LEAST_WIDTH * along:
        raise InputError(
            f"the {len(world)} landmarks in the CT lie on a line, about which the pose could turn freely;"
            " mark another one off the line",
            code="landmarks.undetermined",
        )
    if np.ptp(marks, axis=0).max() == 0:
        raise InputError(
            "all landmarks are marked at the same pixel of the X-ray", code="landmarks.undetermined"
        )
    return torch.from_numpy(world), torch.from_numpy(marks)


def _check_determined(hessian: Tensor, radius_mm: float) -> None:
    """Some direction without influence on the marks means that there are many solutions."""
    scale = torch.tensor([1 / radius_mm] * 3 + [1.0] * 3, dtype=torch.float64)
    curvature = torch.linalg.eigvalsh(hessian * scale * scale[:, None])
    if not curvature[0] > _LEAST_CURVATURE * curvature[-1]:
        raise InputError(
            "the landmarks do not determine the pose; mark more of them, further apart",
            code="landmarks.undetermined",
        )


def _matched(world: Points, pixels: Points, where: str) -> LandmarkPairs:
    names = tuple(name for name in world if name in pixels)
    unmatched = tuple(sorted(world.keys() ^ pixels.keys()))
    if len(names) < _LEAST_POINTS:
        others = f"; without a partner: {', '.join(unmatched)}" if unmatched else ""
        raise InputError(
            f"{where}: CT and X-ray have {len(names)} landmarks in common, but at least {_LEAST_POINTS} are"
            f" needed; names must be spelled alike{others}",
            code="landmarks.invalid-value",
        )
    return LandmarkPairs(
        names=names,
        points_world=np.stack([world[name] for name in names]),
        stored_px=np.stack([pixels[name] for name in names]),
        unmatched=unmatched,
    )


def _check_inside(pairs: LandmarkPairs, camera: Camera, where: str) -> None:
    beyond = (pairs.stored_px < -0.5) | (pairs.stored_px > (camera.width - 0.5, camera.height - 0.5))
    if beyond.any():
        which = [
            f"{pairs.names[index]!r} at ({pairs.stored_px[index, 0]:g}, {pairs.stored_px[index, 1]:g})"
            for index in np.flatnonzero(beyond.any(axis=1))
        ]
        raise InputError(
            f"{where}: outside the X-ray of {camera.width} x {camera.height} pixels: {', '.join(which)};"
            " pixel_points are (column, row) of the image as stored, the top left pixel being (0, 0)",
            code="landmarks.outside",
        )


def _doubts(pairs: LandmarkPairs, fit: LandmarkPose) -> list[str]:
    doubts = []
    if pairs.unmatched:
        doubts.append(f"not used, marked only once: {', '.join(pairs.unmatched)}")
    if fit.rms_mm > _BAD_FIT_MM:
        worst = int(fit.residuals_mm.argmax())
        doubts.append(
            f"the landmarks fit badly, by {fit.rms_mm:.1f} mm (root mean square), the worst of them, "
            f"{pairs.names[worst]!r}, by {float(fit.residuals_mm[worst]):.1f} mm; check names and sides"
        )
    if len(fit.alternatives):
        turn_deg = float(se3.rotation_angle_deg(fit.camera_from_world, fit.alternatives[0]))
        doubts.append(
            f"another pose, turned by {turn_deg:.0f} degrees, fits about as well; mark a landmark at another "
            "depth to tell them apart"
        )
    return doubts
