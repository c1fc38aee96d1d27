"""Poses and files of DRRs."""

from dataclasses import replace

import numpy as np
import pytest
import torch

from isoclinic.datasets.preparation import DrrConfig
from isoclinic.datasets.preparation.drrs import draw_poses
from isoclinic.errors import UsageError
from isoclinic.geometry import gantry_view, rotation_angle_deg
from raising import raises

CENTRE = np.array([12.0, -30.0, 400.0])
CONFIG = DrrConfig(images=200)


def test_the_camera_is_that_of_the_cios_fusion():
    """1536 x 1536 pixels of 0.194 mm at 1020 mm, averaged six by six."""
    camera = DrrConfig().camera
    assert (camera.width, camera.height, camera.sdd_mm) == (256, 256, 1020.0)
    assert camera.pixel_spacing_mm == pytest.approx((6 * 0.194, 6 * 0.194))
    assert (camera.cx, camera.cy) == (127.5, 127.5)


def test_poses_keep_to_their_ranges():
    poses = draw_poses(CONFIG, "a", CENTRE)
    assert poses.shape == (200, 4, 4) and poses.dtype == torch.float64
    centre = (poses @ torch.tensor([*CENTRE, 1.0], dtype=torch.float64))[:, :3]
    # A turn in the image plane leaves the distance from the principal axis as it is.
    assert centre[:, :2].norm(dim=1).max() <= 30 * np.sqrt(2)
    assert centre[:, :2].norm(dim=1).max() > 30
    assert 580 <= centre[:, 2].min() < 590 and 710 < centre[:, 2].max() <= 720
    # The direction to the detector in the patient's axes: DICOM's angles.
    right, front, up = poses[:, 2, :3].T.numpy()
    secondary = np.rad2deg(np.arcsin(up))
    primary = np.rad2deg(np.arctan2(-right, front)) % 360
    assert -30 <= secondary.min() < -28 and 28 < secondary.max() <= 30
    assert 75 <= primary.min() < 80 and 280 < primary.max() <= 285


def test_turns_in_the_image_plane():
    config = replace(CONFIG, primary_angle_deg=(180, 180), secondary_angle_deg=(0, 0))
    turns = rotation_angle_deg(draw_poses(config, "a", CENTRE), gantry_view(180, 0, 600))
    assert 14 < turns.max() <= 15 and turns.min() < 1


def test_poses_depend_on_the_seed_and_the_name_alone():
    first = draw_poses(CONFIG, "a", CENTRE)
    assert torch.equal(first, draw_poses(CONFIG, "a", CENTRE))
    assert torch.equal(first[:50], draw_poses(replace(CONFIG, images=50), "a", CENTRE))
    others = (draw_poses(CONFIG, "b", CENTRE), draw_poses(replace(CONFIG, seed=1), "a", CENTRE))
    assert not any(torch.equal(first, other) for other in others)
    assert torch.equal(first, draw_poses(replace(CONFIG, images_per_file=7, binning=3), "a", CENTRE))


def test_names_of_files():
    config = DrrConfig(images=7, images_per_file=3)
    assert [config.file_of(image) for image in range(7)] == [
        *["drrs-000.h5"] * 3,
        *["drrs-001.h5"] * 3,
        "drrs-002.h5",
    ]


@pytest.mark.parametrize(
    "values",
    [
        {"images": 0},
        {"images_per_file": 0},
        {"binning": 0},
        {"binning": 1000},
        {"seed": -1},
        {"primary_angle_deg": (10.0, 0.0)},
        {"secondary_angle_deg": (0.0, float("nan"))},
        {"source_isocentre_mm": (0.0, 700.0)},
        {"source_isocentre_mm": (600.0, 1020.0)},
        {"in_plane_reach_deg": -1.0},
        {"lateral_reach_mm": float("inf")},
    ],
)
def test_settings_that_make_no_sense(values):
    with raises(UsageError, "preparation.invalid-value", next(iter(values))):
        DrrConfig(**values)
