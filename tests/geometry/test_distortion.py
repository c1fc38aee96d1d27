"""The distortion of image intensifiers: its formula, its inverse, its derivative."""

import numpy as np
import pytest
import torch

from isoclinic.errors import UsageError
from isoclinic.geometry import Camera, Distortion, distortion_jacobian, sampled
from raising import raises

CAMERA = Camera(width=96, height=80, fx=1000.0, fy=1000.0, cx=50.0, cy=37.0, sdd_mm=1000.0)
STRONG = Distortion(radial=-0.03, spiral=0.02)


def _waves(u, v):
    """An image known everywhere, smooth enough for interpolation to add little."""
    return np.sin(u / 9) + np.cos(v / 7 + u / 31)


def _grid(camera: Camera):
    v, u = np.mgrid[: camera.height, : camera.width].astype(float)
    return u, v


def _places(distortion: Distortion, camera: Camera):
    """Where each pixel looks, written out anew."""
    u, v = _grid(camera)
    half = max(camera.width, camera.height) / 2
    x, y = (u - camera.cx) / half, (v - camera.cy) / half
    r2 = x * x + y * y
    return (
        u + half * r2 * (distortion.radial * x + distortion.spiral * y),
        v + half * r2 * (distortion.radial * y - distortion.spiral * x),
    )


def test_pixels_look_where_the_formula_says():
    u, v = _grid(CAMERA)
    moved = STRONG.source_px(CAMERA).numpy()
    there = _places(STRONG, CAMERA)
    np.testing.assert_allclose(moved[..., 0], there[0] - u, atol=1e-9)
    np.testing.assert_allclose(moved[..., 1], there[1] - v, atol=1e-9)
    # Half of the longer side from the principal point, 3 % of that length towards it.
    assert np.hypot(*STRONG.source_px(Camera(**{**vars(CAMERA), "cx": 0.0, "cy": 0.0}))[0, 48]) == (
        pytest.approx(48 * np.hypot(0.03, 0.02), rel=1e-6)
    )


def test_a_distorted_image_is_straightened():
    distorted = _waves(*_places(STRONG, CAMERA))
    straight = STRONG.undistorted(torch.from_numpy(distorted)[None], CAMERA)[0].numpy()
    inner = np.s_[6:-6, 6:-6]
    expected = _waves(*_grid(CAMERA))
    assert abs(distorted - expected)[inner].max() > 0.1, "it was distorted"
    # Cubic interpolation of waves 44 px long and more.
    assert abs(straight - expected)[inner].max() < 2e-3


def test_ramps_stay_ramps():
    u, v = _grid(CAMERA)
    moved = sampled(torch.from_numpy(2 * u - v)[None], torch.tensor([0.3, -0.6]).expand(80, 96, 2).double())[
        0
    ]
    inner = np.s_[2:-2, 2:-2]
    np.testing.assert_allclose(moved.numpy()[inner], (2 * (u + 0.3) - (v - 0.6))[inner], atol=1e-5)


def test_straightening_by_nothing_changes_nothing():
    image = np.random.default_rng(0).normal(size=(1, 80, 96))
    np.testing.assert_allclose(Distortion().undistorted(torch.from_numpy(image), CAMERA), image, atol=1e-9)


@pytest.mark.parametrize("flip", [1, -1])
def test_the_derivative_is_that_of_looking_elsewhere(flip):
    """Moving the principal point by s shows what lies s / pixel size on the other side."""
    camera = Camera(**{**vars(CAMERA), "fx": flip * 1250.0})
    u, v = _grid(camera)
    per_px = np.stack([np.cos(u / 9) / 9 - np.sin(v / 7 + u / 31) / 31, -np.sin(v / 7 + u / 31) / 7])
    per_mm = -per_px * np.array([camera.fx, camera.fy])[:, None, None] / camera.sdd_mm
    derivative = distortion_jacobian(torch.from_numpy(per_mm)[None], camera)[0].numpy()
    step = 1e-5
    for index, (radial, spiral) in enumerate([(step, 0), (0, step)]):
        ahead, behind = (
            _waves(*_places(Distortion(radial=sign * radial, spiral=sign * spiral), camera))
            for sign in (1, -1)
        )
        np.testing.assert_allclose(derivative[index], (ahead - behind) / (2 * step), rtol=1e-4, atol=1e-4)


@pytest.mark.parametrize("value", [float("nan"), 0.5, -0.3, float("inf")])
def test_a_distortion_that_folds_the_image_is_refused(value):
    with raises(UsageError, "geometry.invalid-value", "distortion"):
        Distortion(radial=value)
