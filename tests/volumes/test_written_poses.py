"""Rotations with few digits: taken silently up to three decimals, with a warning below."""

import numpy as np
import pytest
import torch
from scipy.spatial.transform import Rotation

from isoclinic.errors import InputError
from isoclinic.geometry import as_poses
from isoclinic.volumes import GeometryWarning, written_poses
from raising import raises

POSE = np.eye(4)
POSE[:3, :3] = Rotation.from_rotvec([0.3, -1.2, 0.7]).as_matrix()
POSE[:3, 3] = [10.5, -147.0, 642.25]


def test_three_decimals_are_a_pose():
    written = np.round(POSE, 3)
    with raises(InputError, "pose.not-rigid", "start"):
        as_poses(written, "start")
    (pose,) = written_poses(written, "start")
    torch.testing.assert_close(as_poses(pose, "start")[0], torch.from_numpy(POSE), rtol=0, atol=1e-3)


def test_two_decimals_are_said():
    message = r"start\.json: its matrix differs from a rotation by up to 0\.00\d+"
    with pytest.warns(GeometryWarning, match=message) as caught:
        (pose,) = written_poses(np.round(POSE, 2), "start.json")
    assert caught[0].filename == __file__
    torch.testing.assert_close(as_poses(pose, "start")[0], torch.from_numpy(POSE), rtol=0, atol=1e-2)


def test_where_more_depends_on_it_three_decimals_are_said():
    with pytest.warns(GeometryWarning, match="view: its matrix"):
        written_poses(np.round(POSE, 3), "view", said_beyond=1e-4)
