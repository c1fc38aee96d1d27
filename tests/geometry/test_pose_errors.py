"""Every error of a pose against a closed form and against a loop over landmarks written in plain numpy."""

from __future__ import annotations

import math

import numpy as np
import pytest
import torch
from scipy.spatial.transform import Rotation

from isoclinic.geometry import (
    Camera,
    mean_projection_distance_mm,
    mean_reprojection_distance_mm,
    mean_target_registration_error_mm,
    pose_errors,
    translation_error_mm,
)

# Float64 rounding on coordinates of 1e3 mm is 1e-13; a few operations and a division by the depth follow.
TOLERANCE_MM = 1e-10
SDD_MM = 1020.0


def pose(rotation: Rotation | None = None, translation=(0.0, 0.0, 700.0)) -> torch.Tensor:
    matrix = np.eye(4)
    matrix[:3, :3] = (rotation or Rotation.identity()).as_matrix()
    matrix[:3, 3] = translation
    return torch.from_numpy(matrix)


def shifted(x: float = 0.0, y: float = 0.0, z: float = 0.0) -> torch.Tensor:
    return pose(translation=(x, y, 700.0 + z))


@pytest.fixture
def rng() -> np.random.Generator:
    return np.random.default_rng(7)


@pytest.fixture
def landmarks(rng: np.random.Generator) -> torch.Tensor:
    return torch.from_numpy(rng.uniform(-150, 150, size=(40, 3)))


def random_poses(rng: np.random.Generator, count: int) -> torch.Tensor:
    rotations = Rotation.random(count, random_state=rng)
    translations = rng.uniform([-50, -50, 600], [50, 50, 800], size=(count, 3))
    return torch.stack([pose(r, t) for r, t in zip(rotations, translations, strict=True)])


def test_lateral_shift_is_magnified_on_the_detector_and_full_in_space():
    """A landmark at depth 700 moved by 3 mm across the axis: 3 mm in space, 3 * SDD / 700 on the detector."""
    landmarks = torch.zeros(1, 3, dtype=torch.float64)
    errors = pose_errors(shifted(x=3.0), shifted(), landmarks, sdd_mm=SDD_MM)
    assert errors.mtre_mm.item() == pytest.approx(3.0, abs=TOLERANCE_MM)
    assert errors.mpd_mm.item() == pytest.approx(3.0 * SDD_MM / 700, abs=TOLERANCE_MM)
    assert errors.mrpd_mm.item() == pytest.approx(3.0, abs=TOLERANCE_MM)
    assert errors.rotation_deg.item() == 0
    np.testing.assert_allclose(errors.translation_mm, [3.0, 0.0, 0.0], atol=TOLERANCE_MM)


def test_depth_shift_is_invisible_on_the_axis_to_all_but_mtre():
    landmarks = torch.zeros(1, 3, dtype=torch.float64)
    errors = pose_errors(shifted(z=-5.0), shifted(), landmarks, sdd_mm=SDD_MM)
    assert errors.mtre_mm.item() == pytest.approx(5.0, abs=TOLERANCE_MM)
    assert errors.mpd_mm.item() == pytest.approx(0.0, abs=TOLERANCE_MM)
    assert errors.mrpd_mm.item() == pytest.approx(0.0, abs=TOLERANCE_MM)
    np.testing.assert_allclose(errors.translation_mm, [0.0, 0.0, -5.0], atol=TOLERANCE_MM)


@pytest.mark.parametrize("angle_deg", [0.0, 1e-6, 0.1, 30.0, 179.999, 180.0])
def test_rotation_error_is_the_angle_and_mtre_its_chord(angle_deg: float):
    """Landmarks on a circle of 100 mm about the axis of rotation move by the chord 200 sin(angle / 2)."""
    turn = np.linspace(0, 2 * np.pi, 8, endpoint=False)
    landmarks = torch.from_numpy(100 * np.stack([np.cos(turn), np.sin(turn), 0 * turn], axis=1))
    estimate = pose(Rotation.from_rotvec([0, 0, math.radians(angle_deg)]))
    errors = pose_errors(estimate, pose(), landmarks, sdd_mm=SDD_MM)
    assert errors.rotation_deg.item() == pytest.approx(angle_deg, abs=1e-9)
    assert errors.mtre_mm.item() == pytest.approx(
        200 * math.sin(math.radians(angle_deg) / 2), abs=TOLERANCE_MM
    )
    np.testing.assert_allclose(errors.translation_mm, 0, atol=TOLERANCE_MM)


def test_all_metrics_equal_a_loop_over_cases_and_landmarks(rng: np.random.Generator, landmarks: torch.Tensor):
    estimates, truths = random_poses(rng, 5), random_poses(rng, 5)
    errors = pose_errors(estimates, truths, landmarks, sdd_mm=SDD_MM)
    camera = Camera.from_pixel_spacing(width=256, height=200, pixel_spacing_mm=(0.8, 1.2), sdd_mm=SDD_MM)
    for case, (estimate, truth) in enumerate(zip(estimates.numpy(), truths.numpy(), strict=True)):
        target, projection, reprojection = [], [], []
        for landmark in landmarks.numpy():
            e, t = (m[:3, :3] @ landmark + m[:3, 3] for m in (estimate, truth))
            target.append(math.dist(e, t))
            pixels = [np.array(camera.matrix) @ p / p[2] for p in (e, t)]
            row_mm, column_mm = camera.pixel_spacing_mm
            offset = pixels[0] - pixels[1]
            projection.append(math.hypot(offset[0] * column_mm, offset[1] * row_mm))
            foot = t * (e @ t) / (t @ t)
            reprojection.append(math.dist(e, foot))
        cosine = (np.trace(estimate[:3, :3].T @ truth[:3, :3]) - 1) / 2
        assert errors.mtre_mm[case].item() == pytest.approx(np.mean(target), abs=TOLERANCE_MM)
        assert errors.mpd_mm[case].item() == pytest.approx(np.mean(projection), abs=TOLERANCE_MM)
        assert errors.mrpd_mm[case].item() == pytest.approx(np.mean(reprojection), abs=TOLERANCE_MM)
        # The oracle's arc cosine loses half the digits near 0 and 180 deg; these angles stay clear of both.
        assert errors.rotation_deg[case].item() == pytest.approx(math.degrees(math.acos(cosine)), abs=1e-8)


def test_equal_poses_have_no_error(rng: np.random.Generator, landmarks: torch.Tensor):
    poses = random_poses(rng, 3)
    errors = pose_errors(poses, poses, landmarks, sdd_mm=SDD_MM)
    for values in (errors.mtre_mm, errors.mpd_mm, errors.mrpd_mm, errors.translation_mm):
        np.testing.assert_allclose(values, 0, atol=TOLERANCE_MM)


def test_errors_do_not_depend_on_the_choice_of_world(rng: np.random.Generator, landmarks: torch.Tensor):
    """The same landmarks and poses in another world frame have the same errors, translation included."""
    estimates, truths, world_from_other = random_poses(rng, 4), random_poses(rng, 4), random_poses(rng, 1)[0]
    other_from_world = torch.linalg.inv(world_from_other)
    moved = landmarks @ other_from_world[:3, :3].T + other_from_world[:3, 3]
    here = pose_errors(estimates, truths, landmarks, sdd_mm=SDD_MM)
    there = pose_errors(estimates @ world_from_other, truths @ world_from_other, moved, sdd_mm=SDD_MM)
    for name in ("mtre_mm", "mpd_mm", "mrpd_mm", "rotation_deg", "translation_mm"):
        np.testing.assert_allclose(getattr(here, name), getattr(there, name), atol=1e-9)


def test_landmarks_and_poses_broadcast_and_float32_is_promoted(
    rng: np.random.Generator, landmarks: torch.Tensor
):
    estimates, truth = random_poses(rng, 6).reshape(2, 3, 4, 4), random_poses(rng, 1)[0]
    per_case = landmarks.expand(2, 3, -1, -1)
    for metric in (
        mean_target_registration_error_mm,
        mean_reprojection_distance_mm,
        translation_error_mm,
    ):
        values = metric(estimates, truth, landmarks)
        assert values.dtype == torch.float64
        assert values.shape[:2] == (2, 3)
        torch.testing.assert_close(values, metric(estimates, truth, per_case), rtol=0, atol=0)
        assert metric(estimates.float(), truth.float(), landmarks.float()).dtype == torch.float64


@pytest.mark.parametrize("depth_mm", [0.0, -10.0])
def test_projection_distance_is_infinite_when_a_landmark_is_not_projected(depth_mm: float):
    landmarks = torch.tensor([[0.0, 0.0, 0.0], [10.0, 0.0, 50.0]], dtype=torch.float64)
    behind = pose(translation=(0.0, 0.0, depth_mm))
    assert math.isinf(mean_projection_distance_mm(behind, pose(), landmarks, sdd_mm=SDD_MM).item())
    assert math.isinf(mean_projection_distance_mm(pose(), behind, landmarks, sdd_mm=SDD_MM).item())
