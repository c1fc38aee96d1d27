"""Every image operation done on an image of blobs, which must lie where the new camera projects them."""

import math
from dataclasses import replace

import numpy as np
import pytest
import torch
from scipy.ndimage import zoom

from isoclinic.errors import InputError, UsageError
from isoclinic.geometry import Camera, roll, se3
from isoclinic.geometry.camera import turn_pixels
from raising import raises

CAMERA = Camera(width=96, height=72, fx=700.0, fy=650.0, cx=44.3, cy=37.6, sdd_mm=1020.0)
POSE = se3.exp(torch.tensor([0.2, -0.1, 0.3, 5.0, -4.0, 700.0], dtype=torch.float64))
WORLD = torch.tensor([[0.0, 0, 0], [14.0, 9, -20], [-12.0, -6, 30]], dtype=torch.float64)
POINTS = WORLD + (torch.linalg.inv(POSE) @ torch.tensor([0.0, 0, 700, 1], dtype=torch.float64))[:3]


def images(camera: Camera, sigma: float = 2.5) -> np.ndarray:
    """One image [N, H, W] per point: a Gaussian blob where it is projected."""
    u, v = np.meshgrid(np.arange(camera.width), np.arange(camera.height))
    pixels = camera.project(POINTS, POSE).numpy()
    return np.stack([np.exp(-((u - x) ** 2 + (v - y) ** 2) / (2 * sigma**2)) for x, y in pixels])


def centroids(blobs: np.ndarray) -> np.ndarray:
    """(u, v) [N, 2] of blobs [N, H, W]; a sampled Gaussian of sigma > 1 px has its own centre to 1e-8 px."""
    u, v = np.meshgrid(np.arange(blobs.shape[2]), np.arange(blobs.shape[1]))
    mass = blobs.sum((1, 2))
    return np.stack([(blobs * u).sum((1, 2)) / mass, (blobs * v).sum((1, 2)) / mass], axis=1)


def assert_projects_to(camera: Camera, blobs: np.ndarray, atol_px: float) -> None:
    assert blobs.shape[1:] == (camera.height, camera.width)
    np.testing.assert_allclose(camera.project(POINTS, POSE).numpy(), centroids(blobs), atol=atol_px)


def test_the_blobs_are_inside_and_where_they_should_be() -> None:
    # Truncating the blobs at the border, 5 sigma away, shifts a centroid by 1e-5 px at most.
    assert_projects_to(CAMERA, images(CAMERA), 1e-5)


def test_crop() -> None:
    cropped = CAMERA.crop(top=5, left=9, height=60, width=80)
    assert_projects_to(cropped, images(CAMERA)[:, 5:65, 9:89], 1e-3)
    assert CAMERA.crop(top=0, left=0, height=72, width=96) == CAMERA


def test_pad_and_crop_beyond_the_image() -> None:
    padded = np.pad(images(CAMERA), ((0, 0), (3, 4), (5, 6)))
    assert_projects_to(CAMERA.pad(top=3, bottom=4, left=5, right=6), padded, 1e-5)
    assert CAMERA.crop(top=-3, left=-5, height=79, width=107) == CAMERA.pad(top=3, bottom=4, left=5, right=6)


@pytest.mark.parametrize("factor", [1, 2, 3, 5])
def test_bin_drops_a_remainder(factor: int) -> None:
    height, width = 72 // factor, 96 // factor
    kept = images(CAMERA, sigma=4.0)[:, : height * factor, : width * factor]
    blocks = kept.reshape(3, height, factor, width, factor).mean((2, 4))
    # Binning by 5 cuts 2 rows off: the tails of the wider blobs cost 0.02 px.
    assert_projects_to(CAMERA.bin(factor), blocks, 0.02)


@pytest.mark.parametrize(("height", "width"), [(36, 96), (144, 48), (100, 130)])
def test_resize_keeps_pixel_edges(height: int, width: int) -> None:
    # scipy's grid_mode samples with pixel edges kept; cubic splines of a blob of 4 px are good to 0.02 px.
    resized = zoom(
        images(CAMERA, sigma=4.0), (1, height / 72, width / 96), order=3, mode="grid-constant", grid_mode=True
    )
    assert_projects_to(CAMERA.resize(height=height, width=width), resized, 0.02)


@pytest.mark.parametrize(("left_right", "top_bottom"), [(True, False), (False, True), (True, True)])
def test_flip(left_right: bool, top_bottom: bool) -> None:
    blobs = images(CAMERA)
    blobs = blobs[:, :, ::-1] if left_right else blobs
    blobs = blobs[:, ::-1] if top_bottom else blobs
    flipped = CAMERA.flip(left_right=left_right, top_bottom=top_bottom)
    assert_projects_to(flipped, blobs, 1e-5)
    assert flipped.flip(left_right=left_right, top_bottom=top_bottom) == CAMERA
    assert flipped.pixel_spacing_mm == CAMERA.pixel_spacing_mm


@pytest.mark.parametrize(
    "camera",
    [CAMERA, CAMERA.flip(left_right=True), CAMERA.bin(4), CAMERA.pad(top=7, left=2)],
    ids=["plain", "mirrored", "binned", "padded"],
)
def test_rays_end_on_the_detector_and_project_to_their_pixels(camera: Camera) -> None:
    rays = camera.rays()
    assert rays.shape == (camera.height, camera.width, 3)
    assert (rays[..., 2] == camera.sdd_mm).all()
    v, u = torch.meshgrid(torch.arange(camera.height), torch.arange(camera.width), indexing="ij")
    pixels = torch.stack([u, v], dim=-1).double().reshape(-1, 2)
    for depth in (0.1, 1.0, 3.0):
        found = camera.project(depth * rays.reshape(-1, 3), torch.eye(4, dtype=torch.float64))
        torch.testing.assert_close(found, pixels, rtol=0, atol=1e-10)


def test_matrix_is_the_projection() -> None:
    seen = POINTS @ POSE[:3, :3].T + POSE[:3, 3]
    homogeneous = seen @ CAMERA.matrix.T
    torch.testing.assert_close(homogeneous[:, :2] / homogeneous[:, 2:], CAMERA.project(POINTS, POSE))
    torch.testing.assert_close(
        CAMERA.detector_from_pixel @ CAMERA.matrix, CAMERA.sdd_mm * torch.eye(3, dtype=torch.float64)
    )


def test_a_point_farther_right_down_is_seen_farther_right_down() -> None:
    centre = torch.tensor([[0.0, 0.0, 500.0]], dtype=torch.float64)
    pixels = CAMERA.project(
        torch.cat([centre, centre + torch.tensor([1.0, 2.0, 0.0])]), torch.eye(4).double()
    )
    torch.testing.assert_close(pixels[0], torch.tensor([44.3, 37.6], dtype=torch.float64))
    torch.testing.assert_close(pixels[1] - pixels[0], torch.tensor([700 / 500, 2 * 650 / 500]).double())


def test_points_no_ray_reaches_are_nan() -> None:
    behind = torch.tensor([[0.0, 0.0, -10.0], [1.0, 1.0, 0.0], [0.0, 0.0, 10.0]], dtype=torch.float64)
    pixels = CAMERA.project(behind, torch.eye(4, dtype=torch.float64))
    assert pixels.isnan().all(dim=1).tolist() == [True, True, False]


def test_project_broadcasts_over_poses() -> None:
    poses = torch.stack([POSE, POSE @ POSE])
    pixels = CAMERA.project(POINTS, poses)
    assert pixels.shape == (2, 3, 2)
    torch.testing.assert_close(pixels[0], CAMERA.project(POINTS, POSE))


def test_from_pixel_spacing() -> None:
    camera = Camera.from_pixel_spacing(width=100, height=60, pixel_spacing_mm=(0.5, 0.25), sdd_mm=1000)
    assert (camera.fy, camera.fx) == (2000, 4000)
    assert (camera.cx, camera.cy) == (49.5, 29.5)
    assert camera.pixel_spacing_mm == (0.5, 0.25)
    # Neighbouring pixels are their spacing apart on the detector.
    rays = camera.rays()
    assert (rays[1, 0] - rays[0, 0])[1].item() == pytest.approx(0.5)
    assert (rays[0, 1] - rays[0, 0])[0].item() == pytest.approx(0.25)
    shifted = Camera.from_pixel_spacing(
        width=100, height=60, pixel_spacing_mm=(0.5, 0.25), sdd_mm=1000, principal_point_px=(1.0, 2.0)
    )
    assert (shifted.cx, shifted.cy) == (1, 2)


@pytest.mark.parametrize(
    ("name", "value", "code"),
    [
        ("width", 0, "geometry.invalid-value"),
        ("height", 2.5, "geometry.invalid-value"),
        ("fx", 0.0, "geometry.invalid-value"),
        ("fy", 0.0, "geometry.invalid-value"),
        ("fx", math.nan, "geometry.not-finite"),
        ("cx", math.inf, "geometry.not-finite"),
        ("sdd_mm", 0.0, "geometry.invalid-value"),
        ("sdd_mm", -1000.0, "geometry.invalid-value"),
        ("sdd_mm", math.inf, "geometry.not-finite"),
    ],
)
def test_impossible_cameras_are_refused(name: str, value: float, code: str) -> None:
    with raises(InputError, code, name):
        replace(CAMERA, **{name: value})


@pytest.mark.parametrize("spacing", [(0.0, 1.0), (1.0, -1.0), (math.nan, 1.0), (1.0, math.inf)])
def test_impossible_spacing_is_refused(spacing: tuple[float, float]) -> None:
    with raises(InputError, "geometry.invalid-value", "pixel_spacing_mm"):
        Camera.from_pixel_spacing(width=10, height=10, pixel_spacing_mm=spacing, sdd_mm=1000)


@pytest.mark.parametrize("factor", [0, -1, 73])
def test_impossible_bins_are_refused(factor: int) -> None:
    with raises(InputError, "geometry.invalid-value", "bin factor"):
        CAMERA.bin(factor)


@pytest.mark.parametrize("degrees", [0, 90, 180, 270, -90, 450])
def test_turn(degrees: int) -> None:
    """The turned camera's picture, from the pose that is rolled with it, is the picture turned by numpy."""
    blobs = np.rot90(images(CAMERA), -(degrees // 90), axes=(1, 2))
    turned, pose = CAMERA.turn(degrees), roll(degrees) @ POSE
    assert blobs.shape[1:] == (turned.height, turned.width)
    np.testing.assert_allclose(turned.project(POINTS, pose).numpy(), centroids(blobs), atol=1e-5)
    assert turned.turn(-degrees) == CAMERA
    placed = turn_pixels(centroids(images(CAMERA)), width=96, height=72, degrees=degrees)
    np.testing.assert_allclose(placed, centroids(blobs), atol=1e-5)


def test_a_mirrored_image_stays_mirrored_when_turned() -> None:
    turned = CAMERA.flip(left_right=True).turn(90)
    assert turned.fx > 0 > turned.fy


def test_turns_by_right_angles_only() -> None:
    for turn in (CAMERA.turn, roll):
        with raises(UsageError, "geometry.invalid-value", "90"):
            turn(30)
