"""`isoclinic register --targets`: where points of the CT are in the X-ray, and what error to expect there."""

from __future__ import annotations

import json
import math
from types import SimpleNamespace

import nibabel as nib
import numpy as np
import pytest
import torch

from isoclinic.geometry import Camera, se3
from isoclinic.registration import PoseFile
from isoclinic.results import targets_of

# In world RAS and by name: near the phantom, and behind the source of an X-ray from the front.
TARGETS = {"left pedicle": [20.0, -10.0, 30.0], "right pedicle": [-25.0, 5.0, 10.0]}
BEHIND = {"behind the source": [0.0, 5000.0, 0.0]}


@pytest.fixture
def register(run, files, tmp_path):
    def register_phantom(*arguments, points=TARGETS):
        path = tmp_path / "targets.json"
        document = {"format": "isoclinic.landmarks", "version": 1, "world": "RAS", "units": "mm"}
        path.write_text(json.dumps(document | {"world_points": points}))
        files_and_start = ["--volume", files.ct, "--config", files.config, "--init", files.init]
        return run(
            "register",
            files.xray,
            *files_and_start,
            "--output",
            tmp_path / "result",
            "--targets",
            path,
            *arguments,
        )

    return register_phantom


@pytest.mark.slow
def test_targets_are_where_the_pose_puts_them_with_the_error_of_its_covariance(register, files, tmp_path):
    """Against 20 000 poses drawn from the covariance in pose.json: their spread is uncertain by 0.5 %."""
    ran = register("--json")
    assert ran.code == 0, ran.err
    found = json.loads(ran.out)["targets"]
    assert list(found) == list(TARGETS)
    pose = PoseFile.read(tmp_path / "result" / "pose.json")
    draws = np.random.default_rng(0).multivariate_normal(np.zeros(6), pose.covariance.numpy(), 20_000)
    # The CT's centre, as its voxels say.
    ct = nib.load(files.ct)
    centre = torch.from_numpy(ct.affine @ [*((np.array(ct.shape) - 1) / 2), 1])[:3]
    poses = se3.perturb(pose.camera_from_world, torch.from_numpy(draws), centre)
    for name, point in TARGETS.items():
        here = (pose.camera_from_world @ torch.tensor([*point, 1.0], dtype=torch.float64))[:3]
        there = (poses @ torch.tensor([*point, 1.0], dtype=torch.float64))[:, :3]
        spread = (there - here).square().mean(0).sqrt()
        np.testing.assert_allclose(found[name]["expected_error_by_axis_mm"], spread, rtol=0.03)
        assert found[name]["expected_error_mm"] == pytest.approx(float(spread.norm()), rel=0.03)
        u, v, w = pose.camera.matrix @ here
        np.testing.assert_allclose(found[name]["pixel"], [u / w, v / w], atol=1e-6)


def test_a_turn_moves_a_target_by_how_far_it_lies_from_the_centre_of_the_ct():
    """About camera x, by s: what lies (0, a, b) from the centre moves by (0, s b, s a)."""
    pose = torch.eye(4, dtype=torch.float64)
    pose[2, 3] = 700
    covariance = torch.zeros(6, 6, dtype=torch.float64)
    covariance[0, 0] = 0.01**2
    confidence = SimpleNamespace(covariance=covariance, stated_error_mm=0.5)
    camera = Camera.from_pixel_spacing(width=9, height=9, pixel_spacing_mm=(1, 1), sdd_mm=1000)
    result = SimpleNamespace(camera_from_world=pose, cameras=(camera,), confidence=confidence)
    volume = SimpleNamespace(isocentre_world=np.array([30.0, -20.0, 10.0]))
    (target,) = targets_of({"tip": np.array([30.0, 10.0, 50.0])}, volume, result)
    assert target.expected_error_mm == pytest.approx((0, 0.4, 0.3), abs=1e-12)
    assert target.overall_mm == pytest.approx(0.5)


@pytest.mark.slow
def test_targets_are_shown_to_people(register, tmp_path):
    ran = register()
    assert ran.code == 0, ran.err
    report = (tmp_path / "result" / "report.html").read_text()
    for name in TARGETS:
        assert name in ran.out and name in report
    assert "expected error at the targets" in ran.out


@pytest.mark.slow
def test_a_doubtful_result_has_no_error_to_expect_at_targets(register):
    targets = json.loads(register("--json", "--confidence.edges-below", "1.1").out)["targets"]
    for each in targets.values():
        assert each["expected_error_mm"] is None and each["expected_error_by_axis_mm"] is None
        assert all(map(math.isfinite, each["pixel"]))


def test_a_target_behind_the_source_is_in_no_pixel(register):
    found = json.loads(register("--json", points=TARGETS | BEHIND).out)["targets"]
    assert found["behind the source"]["pixel"] is None
    assert found["left pedicle"]["pixel"] is not None


def test_targets_that_cannot_be_read_stop_it_before_it_starts(register, files, tmp_path):
    ran = register(points={"nowhere": [1.0, 2.0]})
    ran.refused(1, "landmarks.invalid-value", "targets.json", "'nowhere'")
    assert not (tmp_path / "result").exists()
