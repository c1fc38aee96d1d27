"""Several X-rays with one pose: normal equations, refined geometry, priors and bounds."""

import math
from dataclasses import replace

import numpy as np
import pytest
import torch
from torch import Tensor

from isoclinic.errors import UsageError
from isoclinic.geometry import Camera, se3
from isoclinic.rendering import Projector, RenderConfig
from isoclinic.similarity import (
    ImageSimilarity,
    IntrinsicsRefinement,
    JointSimilarity,
    SimilarityConfig,
    SimilarityTerm,
    ViewRefinement,
    refined_camera,
)
from isoclinic.solver import LMConfig, Status, levenberg_marquardt
from phantoms import CAMERA, phantom, true_pose
from raising import raises

from .blobs import AP, ISOCENTRE, BlobProjector, BlobSimilarity
from .blobs import CAMERA as BLOB_CAMERA

VIEWS = ViewRefinement(rotation_deg=3.0, translation_mm=8.0)
INTRINSICS = IntrinsicsRefinement(focal_percent=4.0, principal_point_mm=9.0)
REFINEMENTS = {
    "nothing": {},
    "views": {"refine_views": VIEWS},
    "intrinsics": {"refine_intrinsics": INTRINSICS},
    "both": {"refine_views": VIEWS, "refine_intrinsics": INTRINSICS},
    "turns alone": {"refine_views": ViewRefinement(rotation_deg=3.0)},
    "focal length alone": {"refine_intrinsics": IntrinsicsRefinement(focal_percent=4.0)},
}


def _tangent(*values: float) -> Tensor:
    return torch.tensor(values, dtype=torch.float64)


def _seen_from(angle_deg: float) -> Tensor:
    """view_from_first [4, 4] of a camera turned about the isocentre, tilted and moved a little."""
    turned = se3.perturb(AP, _tangent(0.1, math.radians(angle_deg), -0.2, 4, -7, 15), ISOCENTRE)
    return turned @ se3.inverse(AP)


FROM_FIRST = torch.stack([torch.eye(4, dtype=torch.float64), _seen_from(70), _seen_from(-40)])
CAMERAS = (
    BLOB_CAMERA,
    replace(BLOB_CAMERA, fx=-60.0, sdd_mm=980.0),
    BLOB_CAMERA.crop(top=2, left=1, height=15, width=19),
)


def _problem(count: int = 3, **refined) -> JointSimilarity:
    """Blobs as seen from AP, and as the cameras lie and are."""
    views = [
        BlobSimilarity(
            projector=BlobProjector(camera=camera),
            fixed=BlobProjector(camera=camera).image((view_from_first @ AP)[None])[0],
        )
        for camera, view_from_first in zip(CAMERAS[:count], FROM_FIRST, strict=False)
    ]
    return JointSimilarity(views=tuple(views), view_from_first=FROM_FIRST[:count], **refined)


def _point(problem: JointSimilarity) -> Tensor:
    """[1, 4 + R, 4]: beside the truth, values within half their bounds."""
    generator = torch.Generator().manual_seed(1)
    point = problem.start(se3.perturb(AP, _tangent(0.06, -0.04, 0.05, 5, -4, 12), ISOCENTRE)[None])
    point[0, 4:, :3] = (torch.rand(problem.bounds.shape, generator=generator).double() - 0.5) * problem.bounds
    return point


def test_items_of_a_batch_are_independent():
    problem = _problem(2, refine_views=VIEWS, refine_intrinsics=INTRINSICS)
    points = torch.cat([_point(problem), problem.start(AP[None])])
    together = problem.linearize(points, torch.arange(2))
    for index in range(2):
        alone = problem.linearize(points[index : index + 1], torch.arange(1))
        for name in ("cost", "gradient", "hessian"):
            torch.testing.assert_close(getattr(together, name)[index], getattr(alone, name)[0])


def _residuals(problem: JointSimilarity, points: Tensor) -> Tensor:
    """Whose squares, halved and added, are the cost [b, N]: images, then priors of noise 4e-5."""
    values = []
    for view, image in zip(problem.views, problem.images(points), strict=True):
        pixels = (image - view.fixed).flatten(1)
        values.append(pixels / math.sqrt(pixels.shape[1] * len(problem.views)))
    bounds = problem.bounds.flatten()
    priors = points[:, 4:, :3].flatten(1)[:, bounds > 0] / (bounds[bounds > 0] / 2)
    return torch.cat([*values, 4e-5**0.5 * priors], dim=1)


@pytest.mark.parametrize("name", REFINEMENTS)
@pytest.mark.parametrize("count", [1, 2, 3])
def test_linearization_is_that_of_all_residuals_together(name, count):
    """With central differences of images and priors along `retract`; no rule of how views add up is used."""
    problem = _problem(count, **REFINEMENTS[name])
    point = _point(problem)
    at = problem.linearize_freely(point)
    scale = torch.tensor(problem.step_scale(60.0), dtype=torch.float64)
    steps = torch.diag(1e-3 * scale)
    ahead, behind = (
        _residuals(problem, problem.retract(point.expand(len(scale), -1, -1), sign * steps))
        for sign in (1, -1)
    )
    jacobian = (ahead - behind).T / 2e-3
    residual = _residuals(problem, point)[0]
    torch.testing.assert_close(at.cost[0], 0.5 * residual.square().sum(), rtol=1e-12, atol=0)
    # Values without room do not move.
    moves = torch.cat([torch.ones(6, dtype=torch.bool), problem.bounds.flatten() > 0])
    gradient, hessian = jacobian.T @ residual, jacobian.T @ jacobian
    size = hessian.diagonal().sqrt()[moves]
    # Truncation: (1e-3 mm / 25 mm)^2; rounding: 1e-16 over 1e-3, relative to a cosine of 1.
    off = (at.gradient[0] * scale - gradient)[moves] / size
    assert off.abs().max() < 1e-6 * residual.norm()
    off = (at.hessian[0] * scale * scale[:, None] - hessian)[moves][:, moves] / size / size[:, None]
    assert off.abs().max() < 1e-6


def _rendered_views() -> tuple[ImageSimilarity, ...]:
    volume = phantom(5, (24, 24, 24))
    truth = true_pose(volume)
    config = SimilarityConfig(terms=(SimilarityTerm(), SimilarityTerm(image="gradient")))
    cameras: list[Camera] = [
        CAMERA.crop(top=32, left=30, height=64, width=68).resize(height=32, width=30),
        CAMERA.crop(top=30, left=24, height=66, width=72).resize(height=33, width=36),
    ]
    views = []
    for index, camera in enumerate(cameras):
        projector = Projector.of(volume, camera, truth[None], RenderConfig(voxel_mm="full", backend="cpu"))
        image = projector.image((FROM_FIRST[index] @ truth)[None])[0]
        weight = torch.ones_like(image)
        weight[: 5 * index] = 0
        views.append(
            ImageSimilarity(projector=projector, fixed=3 + 0.7 * image.square(), weight=weight, config=config)
        )
    return tuple(views)


def test_rendered_views_add_up_turned_into_the_first_cameras_axes():
    views = _rendered_views()
    problem = JointSimilarity(views=views, view_from_first=FROM_FIRST[:2])
    truth = true_pose(phantom(5, (24, 24, 24)))
    poses = se3.perturb(
        truth, torch.stack([_tangent(0.02, 0.05, 0, 3, 2, 9), _tangent(0, 0, 0.1, -2, 3, 0)]),
        views[0].projector.isocentre_world,
    )  # fmt: skip
    joint = problem.linearize(poses, torch.arange(2))
    first = views[0].linearize(poses, torch.arange(2))
    second = views[1].linearize(FROM_FIRST[1] @ poses, torch.arange(2))
    turn = np.kron(np.eye(2), FROM_FIRST[1, :3, :3].numpy())
    gradient = (first.gradient.numpy() + second.gradient.numpy() @ turn) / 2
    hessian = (first.hessian.numpy() + turn.T @ second.hessian.numpy() @ turn) / 2
    # float32 images, rendered in batches of the same size: rounding of float64 sums only.
    np.testing.assert_allclose(joint.cost, (first.cost + second.cost) / 2, rtol=1e-12)
    np.testing.assert_allclose(joint.gradient, gradient, rtol=1e-9, atol=1e-12)
    np.testing.assert_allclose(joint.hessian, hessian, rtol=1e-9, atol=1e-9)
    correlations = [views[0].correlation(poses), views[1].correlation(FROM_FIRST[1] @ poses)]
    torch.testing.assert_close(problem.correlation(poses), sum(correlations) / 2)


def test_one_view_is_the_single_problem_to_the_bit():
    view = _rendered_views()[0]
    problem = JointSimilarity(views=(view,), view_from_first=FROM_FIRST[:1])
    poses = true_pose(phantom(5, (24, 24, 24))).expand(3, 4, 4) + torch.zeros(3, 4, 4)
    delta = torch.linspace(-1, 1, 18, dtype=torch.float64).reshape(3, 6) / 20
    moved = problem.retract(problem.start(poses), delta)
    assert torch.equal(moved, view.retract(poses, delta))
    joint, single = (each.linearize(moved, torch.arange(3)) for each in (problem, view))
    for name in ("cost", "gradient", "hessian"):
        assert torch.equal(getattr(joint, name), getattr(single, name))
    assert torch.equal(problem.correlation(moved), view.correlation(moved))


def test_tiles_add_up_to_the_gradient_and_priors_have_the_size_of_one_deviation():
    problem = _problem(refine_views=VIEWS, refine_intrinsics=INTRINSICS)
    points = _point(problem)
    points[:, 4:] = 0
    tiles, curvature = problem.scatter(points, 1)
    count = 3 * len(problem.bounds)
    at = problem.linearize_freely(points)
    torch.testing.assert_close(tiles[:, :-count].sum(1), at.gradient, rtol=1e-9, atol=1e-12)
    deviation = problem.retract(points, torch.cat([torch.zeros(6), problem.bounds.flatten() / 2])[None])
    slope = problem._prior(deviation).gradient
    torch.testing.assert_close(tiles[:, -count:].sum(1), slope)
    # Differences of images, not their correlation, are what this similarity squares.
    torch.testing.assert_close(curvature, at.hessian, rtol=1e-9, atol=1e-12)


def test_refined_geometry_is_applied_as_it_says():
    """A turn about the isocentre and a shift in the camera's axes; the first camera stays."""
    problem = _problem(2, refine_views=VIEWS, refine_intrinsics=INTRINSICS)
    point = problem.start(AP[None])
    point[0, 4, :3], point[0, 5, :3] = _tangent(0.02, -0.01, 0.03), _tangent(1, -2, 3)
    point[0, 6:, :3] = torch.stack([_tangent(0.02, 3, -4), _tangent(-0.01, 1, 2)])
    first, second = problem.cameras_from_world(point)[0]
    assert torch.equal(first, AP)
    nominal = FROM_FIRST[1] @ AP
    centre, moved = (pose[:3, :3] @ ISOCENTRE + pose[:3, 3] for pose in (nominal, second))
    torch.testing.assert_close(moved - centre, _tangent(1, -2, 3))
    expected = torch.linalg.matrix_exp(se3.hat(_tangent(0.02, -0.01, 0.03))) @ nominal[:3, :3]
    torch.testing.assert_close(second[:3, :3], expected)
    cameras = problem.cameras(point[0], CAMERAS[:2])
    assert cameras[0].sdd_mm == pytest.approx(1050 * math.exp(0.02))
    # Pixels keep their size; 3 mm are 3 / 15 columns, -4 mm are -4 / 14 rows.
    assert cameras[0].pixel_spacing_mm == pytest.approx(CAMERAS[0].pixel_spacing_mm)
    assert (cameras[0].cx, cameras[0].cy) == pytest.approx((9 + 3 / 15, 10 - 4 / 14))
    mirrored = cameras[1]
    assert mirrored.cx < CAMERAS[1].cx, "x runs against the columns of a mirrored image"


def test_refined_camera_is_the_same_at_every_resolution():
    values = _tangent(0.03, 4, -2)
    camera = CAMERA.flip(left_right=True)
    fine, coarse = refined_camera(camera, values).bin(4), refined_camera(camera.bin(4), values)
    for name in ("fx", "fy", "cx", "cy", "sdd_mm"):
        assert getattr(fine, name) == pytest.approx(getattr(coarse, name), rel=1e-12)


@pytest.mark.slow
def test_values_stop_at_their_bounds_and_the_rest_settles():
    """The second camera is shifted by more than its bound: a constrained optimum (KKT conditions)."""
    problem = _problem(2, refine_views=ViewRefinement(rotation_deg=3.0, translation_mm=2.0))
    wrong = se3.perturb(FROM_FIRST[1] @ AP, _tangent(0.01, 0, 0, 9, 0.5, 0), ISOCENTRE) @ se3.inverse(AP)
    problem = replace(problem, view_from_first=torch.stack([FROM_FIRST[0], wrong]))
    config = LMConfig(max_steps=100, step_scale=problem.step_scale(60.0), step_deviation_tolerance=0.0)
    start = problem.start(se3.perturb(AP, _tangent(0.02, 0.01, 0, 3, 1, 5), ISOCENTRE)[None])
    solution = levenberg_marquardt(problem, start, config)
    assert solution.status[0] is Status.CONVERGED
    values = solution.x[0, 4:, :3].flatten()
    limits = problem.bounds.flatten()
    assert (values.abs() <= limits).all()
    assert values[3] == -limits[3], "9 mm off, 2 mm allowed"
    slope = problem.linearize_freely(solution.x).gradient[0]
    at_bound = torch.cat([torch.zeros(6, dtype=torch.bool), values.abs() == limits])
    assert slope[9] > 0, "further out it would be cheaper yet"
    scaled = slope * torch.tensor(problem.step_scale(60.0))
    assert scaled[~at_bound].abs().max() < 1e-3 * scaled[9].abs()


@pytest.mark.parametrize("sign", [1, -1])
def test_value_pushed_back_from_its_bound_is_free(sign):
    problem = _problem(1, refine_intrinsics=INTRINSICS)
    point = problem.start(AP[None])
    point[0, 4, :3] = sign * problem.bounds[0]
    at, free = problem.linearize(point, torch.arange(1)), problem.linearize_freely(point)
    assert (sign * free.gradient[0, 6:] > 0).all(), "the truth is 0"
    for name in ("cost", "gradient", "hessian"):
        assert torch.equal(getattr(at, name), getattr(free, name))


@pytest.mark.slow
@pytest.mark.parametrize("name", ["views", "intrinsics"])
def test_recovers_wrong_geometry_within_the_bounds(name):
    """Without noise only the priors hold values back."""
    problem = _problem(3, **REFINEMENTS[name])
    truth = problem.start(AP[None])
    truth[0, 4:, :3] = problem.bounds * torch.linspace(-0.6, 0.6, 3 * len(problem.bounds)).reshape(-1, 3)
    views = zip(problem.views, problem.images(truth), strict=True)
    problem = replace(problem, views=tuple(replace(view, fixed=image[0]) for view, image in views))
    trusting = replace(problem, refine_views=ViewRefinement(), refine_intrinsics=IntrinsicsRefinement())
    start = se3.perturb(AP, _tangent(0.05, 0.03, -0.02, 5, -3, 9), ISOCENTRE)[None]
    off_mm = []
    for each in (trusting, problem):
        config = LMConfig(max_steps=60, step_scale=each.step_scale(60.0))
        solution = levenberg_marquardt(each, each.start(start), config)
        off_mm.append(se3.perturbation(AP, solution.x[0, :4], ISOCENTRE)[3:].norm().item())
    assert off_mm[1] < 0.3 * off_mm[0], off_mm


@pytest.mark.parametrize("bad", [-1.0, math.nan, math.inf])
def test_bounds_without_meaning(bad):
    for kind, name in (
        (ViewRefinement, "rotation_deg"),
        (ViewRefinement, "translation_mm"),
        (IntrinsicsRefinement, "focal_percent"),
        (IntrinsicsRefinement, "principal_point_mm"),
    ):
        with raises(UsageError, "similarity.invalid-value", "bounds"):
            kind(**{name: bad})
    with raises(UsageError, "similarity.invalid-value", "focal_percent", "50", "60.0"):
        IntrinsicsRefinement(focal_percent=60.0)


def test_refinement_is_off_unless_asked_for():
    assert not ViewRefinement().on and not IntrinsicsRefinement().on
    assert len(_problem(3).bounds) == 0
    assert len(_problem(3, refine_views=VIEWS).bounds) == 4
    assert len(_problem(3, refine_views=VIEWS, refine_intrinsics=INTRINSICS).bounds) == 7
