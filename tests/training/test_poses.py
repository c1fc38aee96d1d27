"""Poses lie within their ranges and are distributed as said; so are perturbations."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from scipy.stats import kstest, truncnorm

from isoclinic import UsageError
from isoclinic.geometry import se3
from isoclinic.networks import PoseSpace
from isoclinic.training import PoseConfig
from isoclinic.training.poses import draw_perturbations, draw_poses, farthest_rad
from raising import raises

MANY = 3000
LEVEL = 1e-4
ISOCENTRE = torch.tensor([35.0, -120.0, 900.0], dtype=torch.float64)
CONFIG = {
    "primary_angle_deg": 90.0,
    "secondary_angle_deg": 10.0,
    "source_isocentre_mm": 650.0,
    "primary_reach_deg": 40.0,
    "secondary_reach_deg": 25.0,
    "in_plane_reach_deg": 12.0,
    "lateral_reach_mm": 50.0,
    "depth_reach_mm": 120.0,
}


def deviations(poses: np.ndarray) -> np.ndarray:
    """From the middle of the ranges above, in units of the reach [B, 6].

    From where the detector lies (DICOM PS3.3 C.8.7.5.1.2: patient's left at primary 90, head at secondary 90,
    in RAS), from the direction of the patient's left in the image, and from where the isocentre lies.
    """
    x, y, z = poses[:, 2, :3].T
    primary, secondary = np.arctan2(-x, y), np.arcsin(z)
    # The camera's x axis of a C-arm that is not turned in plane, level for an upright patient.
    level = np.stack([np.cos(primary), np.sin(primary), np.zeros_like(primary)], axis=1)
    right, down = (np.einsum("bk,bk->b", poses[:, row, :3], level) for row in (0, 1))
    isocentre = poses[:, :3, :3] @ ISOCENTRE.numpy() + poses[:, :3, 3]
    angles = np.rad2deg(np.stack([primary, secondary, np.arctan2(down, right)], axis=1))
    off = np.concatenate([angles - [90, 10, 0], isocentre - [0, 0, 650]], axis=1)
    return off / [40, 25, 12, 50, 50, 120]


@pytest.mark.slow
@pytest.mark.parametrize("distribution", ["uniform", "normal"])
def test_poses_are_distributed_within_their_ranges(distribution):
    config = PoseConfig(**CONFIG, distribution=distribution)
    poses = draw_poses(config, ISOCENTRE, torch.Generator().manual_seed(0), MANY).numpy()
    identity = np.broadcast_to(np.eye(3), (MANY, 3, 3))
    np.testing.assert_allclose(poses[:, :3, :3] @ poses[:, :3, :3].transpose(0, 2, 1), identity, atol=1e-12)
    shares = deviations(poses)
    # Rounding of angles and of positions near 1000 mm.
    assert abs(shares).max() <= 1 + 1e-9
    for column in shares.T:
        if distribution == "uniform":
            assert kstest(column, "uniform", args=(-1, 2)).pvalue > LEVEL
        else:
            assert kstest(2 * column, truncnorm(-2, 2).cdf).pvalue > LEVEL
    # Independent of each other: 5 standard deviations of a correlation.
    assert abs(np.corrcoef(shares.T) - np.eye(6)).max() < 5 / np.sqrt(MANY)


def test_turned_pictures_are_turned_by_quarters():
    """The other poses are what they are without; five standard deviations of a share of 3000 are 0.046."""
    upright = draw_poses(PoseConfig(**CONFIG), ISOCENTRE, torch.Generator().manual_seed(0), MANY)
    config = PoseConfig(**CONFIG, turned_probability=0.4)
    assert config.upright == PoseConfig(**CONFIG)
    poses = draw_poses(config, ISOCENTRE, torch.Generator().manual_seed(0), MANY)
    between = poses @ torch.linalg.inv(upright)
    angle = torch.rad2deg(torch.atan2(between[:, 1, 0], between[:, 0, 0])) % 360
    quarters = (angle / 90).round() % 4
    torch.testing.assert_close(
        angle % 90 - 90 * (angle % 90 > 45), torch.zeros_like(angle), atol=1e-9, rtol=0
    )
    # A turn of the picture about the central ray moves nothing along it.
    torch.testing.assert_close(between[:, 2, :3], torch.eye(3).double()[2].expand(MANY, 3))
    for quarter, share in ((0, 0.6), (1, 0.4 / 3), (2, 0.4 / 3), (3, 0.4 / 3)):
        assert (quarters == quarter).double().mean() == pytest.approx(share, abs=0.046)


def test_views_from_anywhere():
    """Primary angles and turns all around, secondary angles and shifts as before."""
    config = PoseConfig(**CONFIG, anywhere_probability=1.0)
    poses = draw_poses(config, ISOCENTRE, torch.Generator().manual_seed(0), MANY).numpy()
    x, y, z = poses[:, 2, :3].T
    primary, secondary = np.rad2deg(np.arctan2(-x, y)), np.rad2deg(np.arcsin(z))
    level = np.stack([y, -x, np.zeros_like(x)], axis=1) / np.hypot(x, y)[:, None]
    right, down = (np.einsum("bk,bk->b", poses[:, row, :3], level) for row in (0, 1))
    for angle in (primary, np.rad2deg(np.arctan2(down, right))):
        assert kstest(angle, "uniform", args=(-180, 360)).pvalue > LEVEL
    assert kstest(secondary, "uniform", args=(-15, 50)).pvalue > LEVEL
    depth = (poses[:, :3, :3] @ ISOCENTRE.numpy() + poses[:, :3, 3])[:, 2]
    assert kstest(depth, "uniform", args=(530, 240)).pvalue > LEVEL


def test_no_reach_is_the_view_itself():
    reach = dict.fromkeys((name for name in CONFIG if "_reach_" in name), 0.0)
    poses = draw_poses(PoseConfig(**CONFIG | reach), ISOCENTRE, torch.Generator(), 2).numpy()
    np.testing.assert_allclose(deviations(poses), 0, atol=1e-12)


@pytest.mark.parametrize("size_mm", [1.0, 20.0, 60.0])
def test_how_far_a_perturbation_leads_in_so4(size_mm):
    config = PoseConfig(**CONFIG, perturbation_mm=(size_mm, size_mm))
    generator = torch.Generator().manual_seed(0)
    poses = draw_poses(config, ISOCENTRE, generator, 20)
    space = PoseSpace.about(config.middle(ISOCENTRE), ISOCENTRE, 100.0)
    moved = se3.perturb(poses, draw_perturbations(config, generator, 20), ISOCENTRE)
    ratio = space.squared_distance(poses, moved).sqrt() / farthest_rad(size_mm, 100.0)
    # Far from the nominal view (up to 140 mm off) translations count for less; a turn takes a shift along.
    assert ratio.median() == pytest.approx(1.0, abs=0.12)
    assert ((ratio > 0.7) & (ratio < 1.15)).all()


def test_perturbations_are_log_uniform_with_a_third_as_many_degrees():
    config = PoseConfig(perturbation_mm=(0.1, 60.0))
    tangents = draw_perturbations(config, torch.Generator().manual_seed(2), MANY).numpy()
    size_mm = np.linalg.norm(tangents[:, 3:], axis=1)
    low, high = np.log([0.1, 60.0])
    assert kstest(np.log(size_mm), "uniform", args=(low, high - low)).pvalue > LEVEL
    np.testing.assert_allclose(np.rad2deg(np.linalg.norm(tangents[:, :3], axis=1)), size_mm / 3, rtol=1e-9)
    # Directions are uniform on the sphere (each coordinate is uniform: Archimedes) and independent.
    axes = np.concatenate(
        [tangents[:, :3] / np.deg2rad(size_mm / 3)[:, None], tangents[:, 3:] / size_mm[:, None]], 1
    )
    for column in axes.T:
        assert kstest(column, "uniform", args=(-1, 2)).pvalue > LEVEL
    assert abs(np.corrcoef(axes.T) - np.eye(6)).max() < 5 / np.sqrt(MANY)


@pytest.mark.parametrize(
    "change",
    [
        {"primary_reach_deg": -1.0},
        {"lateral_reach_mm": float("nan")},
        {"anywhere_probability": 1.5},
        {"distribution": "cauchy"},
        {"source_isocentre_mm": 100.0},
        {"perturbation_mm": (0.0, 60.0)},
        {"perturbation_mm": (60.0, 0.1)},
    ],
)
def test_ranges_that_are_none(change):
    with raises(UsageError, "training.invalid-value", next(iter(change))):
        PoseConfig(**change)
