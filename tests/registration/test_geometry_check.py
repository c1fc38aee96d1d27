"""What a wrong geometry does to a result, and what the X-ray itself says about it."""

import math
from dataclasses import replace
from functools import cache
from pathlib import Path

import numpy as np
import pytest
import torch

from isoclinic import Volume, XRay, XRayOptions
from isoclinic.datasets import CaseFolder
from isoclinic.geometry import Camera, Distortion, mean_target_registration_error_mm, sampled
from isoclinic.registration import (
    IntrinsicsConfig,
    IntrinsicsRefinement,
    RegistrationConfig,
    SearchConfig,
    register,
)
from isoclinic.registration._geometry_check import _left, _Said
from isoclinic.solver import Status
from phantoms import displaced, phantom, true_pose, xray_of

VOLUME = phantom(0)
TRUTH = true_pose(VOLUME)
XRAY = xray_of(VOLUME, TRUTH, seed=0)
NEAR = RegistrationConfig(searches=(SearchConfig(candidates=0),))


@cache
def _case(data: Path, name: str):
    """A validation X-ray of a real CT, simulated by somebody else."""
    return CaseFolder(data / "xrays", {"pelvis": data / "abdomen_pelvis_3mm.nii.gz"})[name]


def _off_mm(case, result) -> float:
    return float(
        mean_target_registration_error_mm(
            result.camera_from_world, case.camera_from_world, case.landmarks_world
        )
    )


def _start(case):
    return displaced(case.volume, case.camera_from_world, 8, seed=1)


def _as_given(xray: XRay, factor: float) -> XRay:
    """The X-ray with another source-detector distance in its file."""
    camera: Camera = xray.camera
    wrong = replace(camera, fx=camera.fx * factor, fy=camera.fy * factor, sdd_mm=camera.sdd_mm * factor)
    return xray.recalibrated(wrong)


def _distorted(xray: XRay, distortion: Distortion) -> XRay:
    image = torch.from_numpy(xray.pixels)[None]
    return replace(xray, pixels=sampled(image, distortion.source_px(xray.camera))[0].numpy())


@pytest.mark.slow
@pytest.mark.parametrize("name", ["pelvis/00", "pelvis/03"])
def test_right_geometry_is_neither_doubted_nor_changed(shared_data, name):
    case = _case(shared_data, name)
    result = register(case.volume, case.xray, _start(case), NEAR)
    exact = register(case.volume, case.xray, _start(case), replace(NEAR, intrinsics=IntrinsicsConfig.exact()))
    assert result.status is Status.CONVERGED and _off_mm(case, result) < 0.5
    assert torch.equal(result.camera_from_world, exact.camera_from_world), "it looks and does not touch"
    view = result.confidence.geometry.views[0]
    assert abs(view.focal_percent) < 2 * view.focal_deviation_percent < 2.0
    assert result.confidence.geometry.findings == ()
    # Depth is uncertain by what is left of one per cent of some 700 mm, and by hardly less.
    assert 1 < result.confidence.expected_error_by_axis_mm[2] < 7
    assert result.confidence.geometry.depth_per_percent_mm == pytest.approx(7, rel=0.25)


@pytest.mark.slow
@pytest.mark.parametrize("percent", [-3.0, 3.0])
def test_a_wrong_distance_is_said_and_doubted(shared_data, percent):
    case = _case(shared_data, "pelvis/00")
    xray = _as_given(case.xray, 1 + percent / 100)
    result = register(case.volume, xray, _start(case), NEAR)
    assert _off_mm(case, result) > 15
    assert result.status is Status.DOUBTFUL
    (doubt,) = result.confidence.doubts
    assert "source-detector distance" in doubt and ("longer" if percent < 0 else "shorter") in doubt
    view = result.confidence.geometry.views[0]
    true_percent = 100 * (1 / (1 + percent / 100) - 1)
    assert abs(view.focal_percent - true_percent) < 3 * view.focal_deviation_percent < 3.0
    # That is what the pose is off by, as far as it is known.
    assert abs(view.depth_change_mm) == pytest.approx(_off_mm(case, result), rel=0.3)


@pytest.mark.slow
def test_refined_intrinsics_are_used_where_they_are_wrong_and_left_where_right(shared_data):
    case = _case(shared_data, "pelvis/00")
    refine = replace(NEAR, refine_intrinsics=IntrinsicsRefinement(focal_percent=5.0))
    with pytest.warns(UserWarning, match="intrinsics were refined"):
        mended = register(case.volume, _as_given(case.xray, 0.97), _start(case), refine)
    assert _off_mm(case, mended) < 5, "it was 21 mm"
    left = register(case.volume, case.xray, _start(case), refine)
    assert left.cameras == (case.xray.camera,) and _off_mm(case, left) < 0.5


@pytest.mark.slow
def test_a_distortion_is_said_and_taken_out_on_demand(shared_data):
    case, distortion = _case(shared_data, "pelvis/00"), Distortion(radial=-0.02, spiral=0.018)
    xray = _distorted(case.xray, distortion)
    told = register(case.volume, xray, _start(case), NEAR)
    assert told.status is Status.DOUBTFUL and told.distortions == (None,)
    assert any("distorted as by an image intensifier" in doubt for doubt in told.confidence.doubts)
    view = told.confidence.geometry.views[0]
    for found, true in ((view.radial, -0.02), (view.spiral, 0.018)):
        assert abs(found - true) < 0.004
    mended = register(case.volume, xray, _start(case), replace(NEAR, refine_distortion=True))
    assert mended.status is Status.CONVERGED
    assert _off_mm(case, mended) < 2 < 4 < _off_mm(case, told)
    (straight,) = mended.xrays
    inner = np.s_[40:-40, 40:-40]
    before, after = (np.abs(each.pixels - case.xray.pixels)[inner].mean() for each in (xray, straight))
    assert after < 0.3 * before


@pytest.mark.slow
def test_an_undistorted_xray_is_left_alone(shared_data):
    case = _case(shared_data, "pelvis/03")
    result = register(case.volume, case.xray, _start(case), replace(NEAR, refine_distortion=True))
    assert result.distortions == (None,) and result.status is Status.CONVERGED


@pytest.mark.slow
def test_uncertain_intrinsics_add_what_geometry_says():
    """Similar triangles: depth goes with the focal length, and moving the centre turns the C-arm."""
    exact = IntrinsicsConfig.exact()
    base, focal, centre = (
        register(VOLUME, XRAY, TRUTH, replace(NEAR, intrinsics=settings)).confidence
        for settings in (exact, replace(exact, sdd_percent=2.0), replace(exact, principal_point_mm=3.0))
    )
    depth_mm = float(TRUTH[2, :3] @ torch.from_numpy(VOLUME.isocentre_world) + TRUTH[2, 3])
    added = math.sqrt(focal.expected_error_by_axis_mm[2] ** 2 - base.expected_error_by_axis_mm[2] ** 2)
    assert added == pytest.approx(0.02 * depth_mm, rel=0.2)
    sdd_mm = XRAY.camera.sdd_mm
    for axis in (0, 1):
        added = math.sqrt(
            centre.expected_error_by_axis_mm[axis] ** 2 - base.expected_error_by_axis_mm[axis] ** 2
        )
        assert added == pytest.approx(3.0 * depth_mm / sdd_mm, rel=0.2)
    assert base.image_error_mm == focal.image_error_mm == centre.image_error_mm


@pytest.mark.parametrize("given", [0.001, 0.01, 0.1])
def test_what_is_left_of_a_focal_lengths_uncertainty(given):
    """One Gaussian observation of one value: variances add up by their reciprocals, the mean is weighted.

    As the given value stays in use, it is off by the square of that mean besides.
    """
    seen, deviation = 0.03, 0.012
    said = _Said(
        log_focal=torch.tensor([seen], dtype=torch.float64),
        focal_covariance=torch.tensor([[deviation**2]], dtype=torch.float64),
        distortion=torch.zeros(1, 2, dtype=torch.float64),
        distortion_covariance=torch.eye(2, dtype=torch.float64)[None],
    )
    variance = 1 / (1 / given**2 + 1 / deviation**2)
    mean = variance * seen / deviation**2
    left = _left(torch.tensor([given], dtype=torch.float64), said)
    assert left.shape == (1, 1) and left.item() == pytest.approx(variance + mean**2, rel=1e-9)
    silent = replace(said, focal_covariance=torch.full((1, 1), math.inf, dtype=torch.float64))
    assert _left(torch.tensor([given], dtype=torch.float64), silent).item() == pytest.approx(given**2)


def test_what_was_not_looked_at_is_not_said():
    result = register(VOLUME, XRAY, TRUTH, replace(NEAR, intrinsics=IntrinsicsConfig(check=False)))
    check = result.confidence.geometry
    assert check.findings == () and check.views[0].focal_deviation_percent == math.inf
    assert result.confidence.expected_error_by_axis_mm[2] == pytest.approx(
        check.depth_per_percent_mm * check.views[0].given_percent, rel=0.1
    )


@pytest.mark.slow
def test_a_doubtful_result_is_not_looked_at_twice():
    other = xray_of(phantom(5), TRUTH, seed=3)
    result = register(VOLUME, other, TRUTH, NEAR)
    assert result.status is Status.DOUBTFUL and result.confidence.geometry is None


@pytest.mark.slow
def test_the_file_is_what_options_change(shared_data):
    """The option that mends the distance, as the message says."""
    path = shared_data / "xrays" / "pelvis" / "00" / "xray.dcm"
    case = _case(shared_data, "pelvis/00")
    wrong = XRay.read(path, XRayOptions(sdd_mm=990.0))
    volume = Volume.read(shared_data / "abdomen_pelvis_3mm.nii.gz")
    with_option = register(volume, wrong, _start(case), NEAR)
    assert "990 mm given" in with_option.confidence.doubts[0]
