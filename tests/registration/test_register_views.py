"""Several X-rays of one patient: depth, wrong geometry, unknown intrinsics."""

import re
from dataclasses import replace

import numpy as np
import pytest
import torch
from torch import Tensor

from isoclinic.errors import InputError
from isoclinic.geometry import se3
from isoclinic.registration import (
    IntrinsicsConfig,
    IntrinsicsRefinement,
    RegistrationConfig,
    SearchConfig,
    Stage,
    View,
    ViewRefinement,
    register,
    register_views,
)
from isoclinic.registration._search import SearchView, search
from isoclinic.rendering import Projector, RenderConfig, render
from isoclinic.solver import Status
from isoclinic.volumes import GeometryWarning, XRay
from phantoms import CAMERA, detected, displaced, error_mm, phantom, true_pose, xray_of
from raising import raises

VOLUME = phantom(0)
TRUTH = true_pose(VOLUME)
ISOCENTRE = torch.from_numpy(VOLUME.isocentre_world)
FINE = RegistrationConfig(
    searches=(SearchConfig(candidates=0),), stages=(Stage(pixels=32), Stage(pixels=64), Stage(pixels=128))
)


def _tangent(*values: float) -> Tensor:
    return torch.tensor(values, dtype=torch.float64)


def _turned(angle_rad: float) -> Tensor:
    """A pose of another camera, turned about the vertical and not quite at the same distance."""
    return se3.perturb(TRUTH, _tangent(0.1, angle_rad, 0.05, 6, -5, 12), ISOCENTRE)


def _views(*angles_rad: float) -> list[View]:
    views = [View(xray=xray_of(VOLUME, TRUTH, seed=0))]
    for index, angle in enumerate(angles_rad):
        pose = _turned(angle)
        xray = xray_of(VOLUME, pose, seed=index + 1)
        views.append(View(xray=xray, view_from_first=pose @ se3.inverse(TRUTH)))
    return views


def _smooth(views: list[View]) -> list[View]:
    """The same from the registration's own renderer, whose only error is the noise."""
    config = RenderConfig(method="trilinear", voxel_mm="full", backend="cpu")
    poses = [TRUTH, *(view.view_from_first @ TRUTH for view in views[1:])]
    images = [render(VOLUME, CAMERA, pose, config)[0].numpy().astype(np.float64) for pose in poses]
    return [
        replace(view, xray=detected(image, seed=index))
        for index, (view, image) in enumerate(zip(views, images, strict=True))
    ]


def _off(pose: Tensor) -> Tensor:
    """Tangent [6] from the truth."""
    return se3.perturbation(TRUTH, pose, ISOCENTRE)


@pytest.mark.slow
def test_one_view_is_register():
    view = _views()[0]
    start = displaced(VOLUME, TRUTH, 8, seed=1)
    one, joint = register(VOLUME, view.xray, start, FINE), register_views(VOLUME, [view], start, FINE)
    assert torch.equal(one.camera_from_world, joint.camera_from_world)
    # The covariance is that of matrix products in float32, whose order of summing is not fixed.
    torch.testing.assert_close(one.confidence.covariance, joint.confidence.covariance, rtol=1e-3, atol=1e-6)
    assert one.similarity == joint.similarity
    assert torch.equal(one.cameras_from_world[0], one.camera_from_world) and one.cameras == (CAMERA,)


@pytest.mark.slow
def test_second_view_shows_depth():
    """The phantom is boxes to the X-ray and smooth to the registration, a bias of depth for one view."""
    start = displaced(VOLUME, TRUTH, 10, seed=1)
    views = _views(1.3)
    one, two = (register_views(VOLUME, chosen, start, FINE) for chosen in (views[:1], views))
    assert two.status is Status.CONVERGED
    assert _off(two.camera_from_world)[5].abs() < 0.3 * _off(one.camera_from_world)[5].abs()
    assert two.confidence.covariance[5, 5] < 0.2 * one.confidence.covariance[5, 5]
    assert error_mm(VOLUME, two.camera_from_world, TRUTH) < 0.3
    assert two.cameras_from_world.shape == (2, 4, 4) and len(two.cameras) == 2
    assert torch.equal(two.cameras_from_world[0], two.camera_from_world)
    torch.testing.assert_close(two.cameras_from_world[1], views[1].view_from_first @ two.camera_from_world)
    assert two.trace[-1].name == "128 x 128 px + 128 x 128 px"


@pytest.mark.slow
def test_order_of_views_only_chooses_whose_pose_it_is():
    start = displaced(VOLUME, TRUTH, 6, seed=2)
    views = _views(1.3, -0.9)
    result = register_views(VOLUME, views, start, FINE)
    first = views[1].view_from_first
    swapped = [
        View(xray=views[1].xray),
        View(xray=views[2].xray, view_from_first=views[2].view_from_first @ se3.inverse(first)),
        View(xray=views[0].xray, view_from_first=se3.inverse(first)),
    ]
    other = register_views(VOLUME, swapped, first @ start, FINE)
    # Both stop within the solver's tolerance of 0.03 mm, by different ways.
    difference = se3.perturbation(result.camera_from_world, other.cameras_from_world[2], ISOCENTRE)
    assert difference[3:].norm() < 0.1


def test_search_takes_depth_from_the_other_view():
    """A start too far from the source: the first view slides it beside, the second one back."""
    camera = CAMERA.bin(4)
    views = []
    for pose in (TRUTH, _turned(1.3)):
        projector = Projector.of(VOLUME, camera, pose[None], RenderConfig(voxel_mm=4.0, backend="cpu"))
        fixed = projector.image(pose[None])[0]
        from_first = pose @ se3.inverse(TRUTH)
        views.append(
            SearchView(
                projector=projector, fixed=fixed, weight=torch.ones_like(fixed), view_from_first=from_first
            )
        )
    start = se3.perturb(TRUTH, _tangent(0, 0, 0, 15, -10, 55), ISOCENTRE)
    in_place = SearchConfig(candidates=1)
    one, two = (search(chosen, start, in_place) for chosen in (views[:1], views))
    assert _off(one[0][0])[5] > 50
    # Half a pixel is 3.3 mm; the depth of the start changes the size of the picture a little.
    assert _off(two[0][0])[3:].norm() < 10
    assert 0.5 < two[1][0] <= 1


def test_search_leaves_depth_alone_where_views_do_not_differ():
    camera = CAMERA.bin(4)
    projector = Projector.of(VOLUME, camera, TRUTH[None], RenderConfig(voxel_mm=4.0, backend="cpu"))
    fixed = projector.image(TRUTH[None])[0]
    identity = torch.eye(4, dtype=torch.float64)
    view = SearchView(
        projector=projector, fixed=fixed, weight=torch.ones_like(fixed), view_from_first=identity
    )
    poses, _ = search([view, view], TRUTH, SearchConfig(candidates=1))
    assert _off(poses[0])[5].abs() < 5


@pytest.mark.slow
def test_far_start_with_two_views():
    start = displaced(VOLUME, TRUTH, 60, seed=2)
    config = RegistrationConfig(searches=(SearchConfig(candidates=64, keep=8),))
    result = register_views(VOLUME, _views(1.3), start, config)
    assert error_mm(VOLUME, result.camera_from_world, TRUTH) < 0.5
    assert result.status is Status.CONVERGED


@pytest.mark.slow
def test_wrong_relative_geometry_is_corrected_within_bounds():
    views = _smooth(_views(1.3))
    wrong = se3.perturb(_turned(1.3), _tangent(0.02, -0.015, 0.01, 2.5, -2, 3), ISOCENTRE)
    views[1] = replace(views[1], view_from_first=wrong @ se3.inverse(TRUTH))
    start = displaced(VOLUME, TRUTH, 8, seed=3)
    refine = ViewRefinement(rotation_deg=2.0, translation_mm=5.0)
    trusting = register_views(VOLUME, views, start, FINE)
    refined = register_views(VOLUME, views, start, replace(FINE, refine_views=refine))  # warnings are errors
    # The prior of 2.5 mm holds the shift back, by what the X-rays know too little: depth in either.
    off = [error_mm(VOLUME, result.camera_from_world, TRUTH) for result in (trusting, refined)]
    assert off[1] < 0.4 * off[0]
    second = refined.cameras_from_world[1]
    assert error_mm(VOLUME, second, _turned(1.3)) < 0.5 * error_mm(VOLUME, second, wrong)
    assert refined.camera_from_world.shape == (4, 4) and refined.confidence.covariance.shape == (6, 6)
    assert all(stage.course.shape[1:] == (4, 4) for stage in refined.trace)
    tight = replace(FINE, refine_views=ViewRefinement(rotation_deg=0.5, translation_mm=0.5))
    held = register_views(VOLUME, views, start, tight)
    assert held.status is Status.DOUBTFUL
    doubts = "; ".join(held.confidence.doubts)
    assert re.search(r"as far as allowed: (turn|shift) of X-ray 2.*`refine_views`", doubts)
    bounded = held.trace[-1]
    values = bounded.solution.x[bounded.best, 4:, :3]
    assert (values.abs() <= bounded.problem.bounds).all()
    assert (values.abs() == bounded.problem.bounds).any()


def _uncalibrated(xray: XRay) -> XRay:
    """The focal length 3 % off; a principal point that is off moves the patient and hardly tells."""
    camera, scale = xray.camera, 1.03
    wrong = replace(camera, fx=camera.fx * scale, fy=camera.fy * scale, sdd_mm=camera.sdd_mm * scale)
    return replace(xray, camera=wrong)


@pytest.mark.slow
def test_wrong_intrinsics_are_corrected_in_the_last_stage_with_a_warning():
    views = [replace(view, xray=_uncalibrated(view.xray)) for view in _smooth(_views(1.3))]
    start = displaced(VOLUME, TRUTH, 8, seed=3)
    refine = replace(FINE, refine_intrinsics=IntrinsicsRefinement(focal_percent=5.0, principal_point_mm=6.0))
    trusting = register_views(VOLUME, views, start, FINE)
    with pytest.warns(
        GeometryWarning, match=r"1 % of the focal length .* mm of depth.*principal point"
    ) as caught:
        refined = register_views(VOLUME, views, start, refine)
    assert len(caught) == 1
    assert [len(stage.problem.bounds) for stage in refined.trace] == [0, 0, 2]
    off = [error_mm(VOLUME, result.camera_from_world, TRUTH) for result in (trusting, refined)]
    assert off[1] < 0.5 * off[0]
    for camera, view in zip(refined.cameras, views, strict=True):
        assert abs(camera.sdd_mm - CAMERA.sdd_mm) < abs(view.xray.camera.sdd_mm - CAMERA.sdd_mm)
        assert camera.width == CAMERA.width
    assert trusting.cameras == tuple(view.xray.camera for view in views)


@pytest.mark.slow
def test_intrinsics_that_end_at_their_bound_are_told():
    views = [replace(view, xray=_uncalibrated(view.xray)) for view in _smooth(_views(1.3))]
    refine = replace(FINE, refine_intrinsics=IntrinsicsRefinement(focal_percent=0.5))
    with pytest.warns(GeometryWarning, match="1 % of the focal length"):
        result = register_views(VOLUME, views, displaced(VOLUME, TRUTH, 8, seed=3), refine)
    told = [doubt for doubt in result.confidence.doubts if "as far as allowed" in doubt]
    assert len(told) == 1 and result.status is Status.DOUBTFUL
    for number, (camera, view) in enumerate(zip(result.cameras, views, strict=True), start=1):
        change = abs(np.log(camera.sdd_mm / view.xray.camera.sdd_mm))
        assert (f"focal length of X-ray {number}" in told[0]) == bool(np.isclose(change, np.log1p(0.005)))
    assert "principal point" not in told[0]


@pytest.mark.slow
def test_one_view_cannot_tell_focal_length_from_depth_and_says_so():
    """Keeping a refined focal length of a calibrated camera only costs certainty of depth."""
    view = _smooth(_views())[0]
    start = displaced(VOLUME, TRUTH, 8, seed=3)
    exact = replace(FINE, intrinsics=IntrinsicsConfig.exact())
    refine = replace(
        exact,
        refine_intrinsics=IntrinsicsRefinement(focal_percent=2.0),
        intrinsics=replace(exact.intrinsics, above_deviations=0),
    )
    trusting = register(VOLUME, view.xray, start, exact)
    with pytest.warns(GeometryWarning, match="focal length looks like") as caught:
        refined = register(VOLUME, view.xray, start, refine)
    assert "principal point looks like" not in str(caught[0].message)
    # To first order depth grows with the focal length: 1 % of about 690 mm.
    told_mm = float(str(caught[0].message).split("focal length looks like ")[1].split(" mm")[0])
    assert told_mm == pytest.approx(6.9, rel=0.3)
    assert refined.confidence.covariance[5, 5] > 4 * trusting.confidence.covariance[5, 5]
    assert np.isclose(abs(refined.cameras[0].sdd_mm / CAMERA.sdd_mm - 1), 0, atol=0.02 + 1e-9)


@pytest.mark.slow
def test_a_right_focal_length_is_not_refined_away():
    """The image gives no reason to: the result is that of the given intrinsics, and nothing is told."""
    view = _smooth(_views())[0]
    start = displaced(VOLUME, TRUTH, 8, seed=3)
    refine = replace(FINE, refine_intrinsics=IntrinsicsRefinement(focal_percent=2.0))
    trusting, refined = (register(VOLUME, view.xray, start, config) for config in (FINE, refine))
    assert refined.cameras == (view.xray.camera,)
    # Both stopped by steps below 0.03 mm.
    assert error_mm(VOLUME, refined.camera_from_world, trusting.camera_from_world) < 0.1
    assert not refined.confidence.doubts


def test_a_second_camera_that_looks_away_is_refused():
    away = torch.eye(4, dtype=torch.float64)
    away[0, 3] = 900.0
    (view,) = _views()
    with raises(InputError, "start.ct-not-seen", "matrix", "relative to it"):
        register_views(VOLUME, [view, View(xray=view.xray, view_from_first=away)], TRUTH, FINE)
