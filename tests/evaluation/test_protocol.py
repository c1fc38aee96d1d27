"""Cases read from their folders, and measurements against the metrics they are made of."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest
import torch

from isoclinic.errors import InputError, UsageError
from isoclinic.evaluation import Case, Measurement, errors_of, find_cases, pose_errors
from isoclinic.geometry import Camera, se3
from isoclinic.registration import Confidence, InitialPose, RegistrationResult
from isoclinic.solver import Reason, Status

POSE = torch.tensor([[-1.0, 0, 0, 0], [0, 0, -1, 0], [0, -1, 0, 700], [0, 0, 0, 1]], dtype=torch.float64)
LANDMARKS = [[10.0, 0, 5], [-20, 30, 1], [0, 0, 40]]


def moved(*tangent: float) -> torch.Tensor:
    return se3.perturb(POSE, torch.tensor(tangent, dtype=torch.float64), torch.zeros(3, dtype=torch.float64))


def write_case(folder: Path, **changes) -> Path:
    folder.mkdir(parents=True)
    (folder / "xray.dcm").write_bytes(b"")
    truth = {
        "extrinsic": POSE.tolist(),
        "landmarks": LANDMARKS,
        "inits": {"5": moved(0, 0, 0, 3, 4, 0).tolist()},
    }
    truth |= changes
    content = {key: value for key, value in truth.items() if value is not None}
    (folder / "truth.json").write_text(json.dumps(content))
    return folder


def result(pose: torch.Tensor, start: torch.Tensor) -> RegistrationResult:
    return RegistrationResult(
        camera_from_world=pose,
        cameras_from_world=pose[None],
        cameras=(Camera(width=64, height=64, fx=340, fy=340, cx=31.5, cy=31.5, sdd_mm=1020),),
        status=Status.CONVERGED,
        reason=Reason.SMALL_STEP,
        similarity=0.9,
        confidence=Confidence(
            covariance=torch.eye(6, dtype=torch.float64),
            expected_error_mm=0.4,
            expected_error_by_axis_mm=(0.1, 0.1, 0.4),
            expected_rotation_deg=0.1,
            edges=0.95,
            rival=None,
            overlap=1.0,
            doubts=(),
        ),
        initial=InitialPose(camera_from_world=start, source="matrix", rough=False),
        attempts=(),
        trace=(),
        seconds=0.25,
    )


def test_cases_are_found_at_any_depth_in_order(tmp_path: Path):
    for name in ("pelvis/01", "chest/10", "chest/02"):
        write_case(tmp_path / name)
    (tmp_path / "notes").mkdir()
    found = find_cases(tmp_path)
    assert [(case.name, case.group) for case in found] == [
        ("chest/02", "chest"),
        ("chest/10", "chest"),
        ("pelvis/01", "pelvis"),
    ]
    assert [case.group for case in find_cases(tmp_path / "chest")] == ["chest", "chest"]
    torch.testing.assert_close(found[0].camera_from_world, POSE, rtol=0, atol=0)
    assert found[0].landmarks_world.tolist() == LANDMARKS


def test_starts_by_name(tmp_path: Path):
    case = Case.read(write_case(tmp_path / "a"), "a")
    torch.testing.assert_close(case.init("5"), moved(0, 0, 0, 3, 4, 0), rtol=0, atol=0)
    assert (case.init("none"), case.init("left")) == (None, "left")
    with pytest.raises(UsageError, match=r"no start '6'; there are 5, none, ap, pa, left, right"):
        case.init("6")


def test_starts_may_be_missing(tmp_path: Path):
    assert Case.read(write_case(tmp_path / "a", inits=None), "a").inits == {}


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"extrinsic": None}, "lacks 'extrinsic'"),
        ({"landmarks": None}, "lacks 'landmarks'"),
        ({"extrinsic": [[1, 0], [0, 1]]}, r"truth\.json: extrinsic must have shape"),
        ({"extrinsic": [POSE.tolist(), POSE.tolist()]}, "extrinsic must be one 4x4 matrix"),
        ({"landmarks": [[1, 2]]}, r"landmarks must be a list of points \[x, y, z\], not of shape \[1, 2\]"),
        ({"landmarks": []}, "landmarks must be a list of points"),
        ({"landmarks": [["a", 0, 0]]}, "landmarks must be a list of points"),
        ({"landmarks": [[float("nan"), 0, 0]]}, "landmarks must be a list of points"),
        ({"inits": {"5": [[0] * 4] * 4}}, r"inits\['5'\] is not a rigid transform"),
        ({"inits": [1]}, "inits must be an object"),
        ({"inits": {"../5": POSE.tolist()}}, "inits must be an object of 4x4 matrices by plain names"),
    ],
)
def test_a_truth_that_says_something_else(tmp_path: Path, changes, message):
    write_case(tmp_path / "a", **changes)
    with pytest.raises(InputError, match=message):
        find_cases(tmp_path)


def test_files_that_are_missing_or_broken(tmp_path: Path):
    with pytest.raises(InputError, match="is not a folder of cases"):
        find_cases(tmp_path / "nowhere")
    with pytest.raises(InputError, match=r"holds no case: a case is a folder with xray\.dcm and truth\.json"):
        find_cases(tmp_path)
    case = write_case(tmp_path / "a")
    (case / "truth.json").write_text('{"extrinsic": [')
    with pytest.raises(InputError, match="cannot be read as JSON"):
        find_cases(tmp_path)
    (case / "xray.dcm").unlink()
    with pytest.raises(InputError, match=r"has truth\.json but no xray\.dcm"):
        find_cases(tmp_path)


def test_a_measurement_is_the_metrics_of_its_poses(tmp_path: Path):
    """The start is 5 mm off in the plane, the result 2 mm in depth; translations are exact to rounding."""
    case = Case.read(write_case(tmp_path / "chest" / "02"), "chest/02")
    end, start = moved(0.01, 0, 0, 0, 0, 2), case.inits["5"]
    measured = Measurement.of(case, "5", result(end, start), sdd_mm=1000.0)
    expected = pose_errors(end, POSE, case.landmarks_world, sdd_mm=1000.0)
    assert (measured.case, measured.group, measured.init) == ("chest/02", "chest", "5")
    assert measured.initial_mtre_mm == pytest.approx(5, abs=1e-9)
    assert measured.mtre_mm == pytest.approx(expected.mtre_mm.item())
    assert measured.mpd_mm == pytest.approx(expected.mpd_mm.item())
    assert measured.mrpd_mm == pytest.approx(expected.mrpd_mm.item())
    assert measured.rotation_deg == pytest.approx(np.degrees(0.01), abs=1e-6)
    assert measured.translation_mm == pytest.approx(expected.translation_mm.tolist())
    assert (measured.status, measured.similarity, measured.seconds) == ("converged", 0.9, 0.25)


def test_errors_of_several_measurements(tmp_path: Path):
    case = Case.read(write_case(tmp_path / "a"), "a")
    poses = [moved(0.01, 0, 0, 0, 0, 2), moved(0, 0.02, 0, 1, 0, 0)]
    measured = [Measurement.of(case, "5", result(pose, POSE), sdd_mm=1000.0) for pose in poses]
    found = errors_of(measured)
    expected = pose_errors(torch.stack(poses), POSE, case.landmarks_world, sdd_mm=1000.0)
    for name in vars(expected):
        torch.testing.assert_close(getattr(found, name), getattr(expected, name))


def test_the_cases_of_the_data_folder(shared_data: Path):
    cases = find_cases(shared_data / "xrays")
    assert len(cases) == 16
    assert {case.group for case in cases} == {"chest", "pelvis"}
    for case in cases:
        assert set(case.inits) == {"15", "30", "60"} and case.landmarks_world.shape == (40, 3)
