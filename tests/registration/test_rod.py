"""A rod that one view shows is hardly told from itself turned about its own axis."""

import math
from types import SimpleNamespace

import numpy as np
import pytest
import torch
from scipy.spatial.transform import Rotation

from isoclinic.geometry import se3
from isoclinic.registration import RegistrationConfig
from isoclinic.registration._fixed import FixedImage
from isoclinic.registration._rod import LongAxis, long_axis, turned_poses
from isoclinic.registration._run import Run
from isoclinic.registration.confidence import _between_alike
from isoclinic.volumes import Volume, tissue_points
from phantoms import CAMERA, detected, line_integrals, true_pose


def _points(spreads, seed=0, count=4000) -> tuple[torch.Tensor, np.ndarray]:
    """Points with these standard deviations along the columns of a random rotation."""
    rng = np.random.default_rng(seed)
    axes = Rotation.random(rng=rng).as_matrix()
    points = (rng.normal(size=(count, 3)) * spreads) @ axes.T + [40.0, -10.0, 300.0]
    return torch.from_numpy(points), axes


@pytest.mark.parametrize("seed", range(3))
@pytest.mark.parametrize("spreads", [(20.0, 4.0, 3.0), (3.0, 9.0, 20.0), (9.6, 20.0, 2.0)])
def test_the_axis_of_a_rod_is_that_of_its_length(spreads, seed):
    points, axes = _points(spreads, seed)
    axis = long_axis(points)
    assert axis is not None
    # Five deviations, 0.6 degrees each for the last of them: a b / (b^2 - a^2) / sqrt(4000), a, b = 9.6, 20.
    along = abs(axes[:, int(np.argmax(spreads))] @ axis.direction_world.numpy())
    assert math.degrees(math.acos(min(along, 1.0))) < 3.0
    torch.testing.assert_close(axis.point_world, points.mean(0))


@pytest.mark.parametrize(
    "spreads", [(20.0, 10.4, 3.0), (20.0, 13.0, 8.0), (10.0, 10.0, 10.0), (20.0, 20.0, 2.0)]
)
def test_plates_balls_and_trays_are_no_rods(spreads):
    assert long_axis(_points(spreads)[0]) is None


def test_a_turned_pose_shows_what_the_pose_shows_of_the_turned_rod():
    rng = np.random.default_rng(3)
    pose = torch.eye(4, dtype=torch.float64)
    pose[:3, :3] = torch.from_numpy(Rotation.random(rng=rng).as_matrix())
    pose[:3, 3] = torch.tensor([5.0, -8.0, 700.0])
    direction = rng.normal(size=3)
    direction /= np.linalg.norm(direction)
    middle = rng.normal(size=3) * 30
    axis = LongAxis(torch.from_numpy(middle), torch.from_numpy(direction))
    points = rng.normal(size=(20, 3)) * 40
    for turn, turned in zip((-24.0, 6.0, 90.0), turned_poses(pose, axis, (-24.0, 6.0, 90.0)), strict=True):
        moved = Rotation.from_rotvec(np.radians(turn) * direction).apply(points - middle) + middle
        expected = se3.transform_points(pose, torch.from_numpy(moved))
        torch.testing.assert_close(se3.transform_points(turned, torch.from_numpy(points)), expected)
    on_axis = torch.from_numpy(middle + np.outer([-30.0, 0.0, 70.0], direction))
    there = se3.transform_points(turned_poses(pose, axis, (24.0,))[0], on_axis)
    torch.testing.assert_close(there, se3.transform_points(pose, on_axis))


def _rod() -> Volume:
    """A shaft whose section is nearly round, with a ridge along one side and a knob at one end."""
    right, front, up = np.meshgrid(
        np.arange(-15.0, 16.0), np.arange(-15.0, 16.0), np.arange(-50.0, 51.0), indexing="ij"
    )
    shaft = (np.hypot(right / 6.5, front / 5.5) < 1) & (np.abs(up) < 46)
    ridge = (np.hypot(right - 6, front - 3) < 2) & (np.abs(up + 10) < 30)
    knob = np.sqrt((right + 3) ** 2 + (front - 4) ** 2 + (up - 40) ** 2) < 7
    marrow = np.hypot(right, front) < 3
    hu = np.where(shaft | ridge | knob, 900.0, -1000.0)
    hu[marrow & shaft] = 150.0
    affine = np.eye(4)
    affine[:3, 3] = (-15.0, -15.0, -50.0)
    return Volume(hu=hu.astype(np.float32), world_from_voxel=affine)


def _xray(rod: Volume, truth: torch.Tensor):
    """The rod among soft tissue with edges of its own, so that the CT explains only part of the X-ray."""
    camera = CAMERA.crop(top=24, left=24, height=80, width=80).resize(height=240, width=240)
    across = np.linspace(-2.0, 2.0, 240, dtype=np.float32)
    down = across[:, None]
    tissue = 2.0 + np.cos(across) + 0.5 * np.sin(5 * down)
    tissue = tissue + 0.1 * np.sin(17 * across + 3 * down) + 0.1 * np.sin(23 * down + 9 * across)
    return detected(line_integrals(rod, truth, camera) + tissue, 1, camera)


@pytest.mark.parametrize("turn_deg", [22.0, 30.0])
def test_a_rod_that_the_last_stage_leaves_at_a_wrong_turn_is_found_at_the_right_one(turn_deg):
    """The last stage alone goes to the nearest turn at which some edges match.

    The noise leaves the turn open by about a degree (its expected error, which is pinned from both sides).
    """
    rod = _rod()
    truth = true_pose(rod, (0.15, 0.35, 0.1, 4.0, -6.0, 10.0))
    axis = long_axis(tissue_points(rod))
    assert axis is not None
    (start,) = turned_poses(truth, axis, (turn_deg,))
    config = RegistrationConfig()
    run = Run(
        volume=rod,
        fixed=(FixedImage.of(_xray(rod, truth), config.preprocess),),
        view_from_first=torch.eye(4, dtype=torch.float64)[None],
        start=start,
        config=config.for_part(),
        whole=config.confidence,
        depth_reach_mm=20.0,
    )
    stages = run.fine(start[None])
    (turned,) = [index for index, stage in enumerate(stages) if stage.alike is not None]
    errors_deg = [
        float(se3.rotation_angle_deg(stage.camera_from_world[stage.best], truth)) for stage in stages
    ]
    assert errors_deg[0] > 15
    assert max(errors_deg[turned:]) < 3
    assert 0.5 < run.assess(stages).expected_rotation_deg < 3


def test_turns_that_match_as_well_count_as_uncertainty():
    """The farthest of them, by its rotation vector, about the isocentre and in the camera's axes."""
    rod = _rod()
    pose = true_pose(rod)
    axis = long_axis(tissue_points(rod))
    alike = torch.cat([pose[None], turned_poses(pose, axis, (3.0, -9.0))])
    last = SimpleNamespace(camera_from_world=pose[None], best=0, alike=None)
    turned = SimpleNamespace(alike=alike)
    added = _between_alike([turned, last], rod)
    direction = (pose[:3, :3] @ axis.direction_world).numpy()
    expected = np.radians(9.0) ** 2 * np.outer(direction, direction)
    np.testing.assert_allclose(added[:3, :3].numpy(), expected, atol=1e-10)
    # The axis passes the isocentre, which is the middle of the CT, by a millimetre at most.
    assert added[3:, 3:].diagonal().sum().sqrt() < 0.2
    assert _between_alike([last], rod).abs().max() == 0
