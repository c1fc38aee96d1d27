"""Windows of X-rays around what a pose puts there."""

import math

import numpy as np
import pytest
import torch

from isoclinic.geometry import Camera, se3
from isoclinic.registration._fixed import FixedImage
from isoclinic.registration._region import Region, extremes, region_of

CAMERA = Camera.from_pixel_spacing(width=200, height=160, pixel_spacing_mm=(1.0, 1.0), sdd_mm=1000.0)
ISOCENTRE = torch.zeros(3, dtype=torch.float64)
CORNERS = torch.tensor([[x, y, z] for x in (-10, 10) for y in (-6, 6) for z in (-4, 4)], dtype=torch.float64)


def _pose(right_mm: float = 0.0, down_mm: float = 0.0) -> torch.Tensor:
    return se3.rigid(
        torch.eye(3, dtype=torch.float64), torch.tensor([right_mm, down_mm, 800.0], dtype=torch.float64)
    )[None]


def test_holds_the_model_and_the_margin():
    """Seen from 796 mm the box is 25.1 pixels wide and 15.1 high, about the pixel (99.5, 79.5)."""
    region = region_of(CAMERA, _pose(), CORNERS, 10.0)
    half_width, half_height = 10 * 1000 / 796, 6 * 1000 / 796
    assert region.left == math.floor(99.5 - half_width - 10)
    assert region.left + region.width == math.ceil(99.5 + half_width + 10) + 1
    assert region.top == math.floor(79.5 - half_height - 10)
    assert region.top + region.height == math.ceil(79.5 + half_height + 10) + 1
    assert np.isclose(region.span_px, 2 * half_width)


@pytest.mark.parametrize("share", [0.0, 0.2, 0.5, 30.0])
def test_a_margin_as_a_share_is_that_of_what_the_model_fills(share):
    span = region_of(CAMERA, _pose(), CORNERS, 0.0).span_px
    assert region_of(CAMERA, _pose(), CORNERS, 0.0, margin_share=share) == (
        region_of(CAMERA, _pose(), CORNERS, share * span)
    )


def test_holds_the_model_at_all_poses():
    poses = torch.cat([_pose(-20), _pose(20)])
    region = region_of(CAMERA, poses, CORNERS, 0.0)
    for pose in poses:
        u, v = CAMERA.project(CORNERS, pose).unbind(-1)
        assert region.left <= float(u.min()) and float(u.max()) < region.left + region.width
        assert region.top <= float(v.min()) and float(v.max()) < region.top + region.height


@pytest.mark.parametrize("right_mm", [-400.0, 400.0])
def test_a_model_beside_the_image_leaves_a_window_within_it(right_mm):
    region = region_of(CAMERA, _pose(right_mm), CORNERS, 0.0)
    assert 0 <= region.left < region.left + region.width <= CAMERA.width
    assert 0 <= region.top < region.top + region.height <= CAMERA.height
    assert min(region.width, region.height) >= 16


def test_a_model_that_fills_the_image_means_all_of_it():
    assert region_of(CAMERA, _pose(), 10 * CORNERS, 0.0) == Region.whole(CAMERA)


def test_a_model_behind_the_source_means_all_of_the_image():
    assert region_of(CAMERA, _pose() - 2000 * torch.eye(4)[2:3].mT * torch.eye(4)[3:], CORNERS, 0.0) == (
        Region.whole(CAMERA)
    )


def test_cropping_keeps_the_rays():
    rng = np.random.default_rng(0)
    image = torch.from_numpy(rng.random((160, 200), dtype=np.float32))
    fixed = FixedImage(image=image, weight=torch.ones_like(image), camera=CAMERA)
    region = region_of(CAMERA, _pose(20, -10), CORNERS, 5.0)
    cropped = region.crop(fixed)
    assert torch.equal(cropped.image, image[region.top :, region.left :][: region.height, : region.width])
    assert torch.allclose(
        cropped.camera.rays(), CAMERA.rays()[region.top :, region.left :][: region.height, : region.width]
    )


def test_extremes_are_the_ends_of_the_reach():
    start = _pose()[0]
    poses = extremes(start, (10.0, 20.0, 170.0), 30.0, ISOCENTRE)
    angles = sorted(float(se3.rotation_angle_deg(start, pose)) for pose in poses)
    # A turn by more than a right angle shows nothing that one by a right angle does not.
    assert np.allclose(angles, [0, 0, 0, 10, 10, 20, 20, 90, 90], atol=1e-6)
    assert sorted(set((poses[:, 2, 3] - 800).round().tolist())) == [-30, 0, 30]
