"""Pose files: exact round trips, conversion, and a clear refusal of everything else."""

from __future__ import annotations

import hashlib
import json
import os
from pathlib import Path
from typing import Any

import hypothesis.extra.numpy as hnp
import numpy as np
import pytest
import torch
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from scipy.spatial.transform import Rotation

from isoclinic.errors import InputError
from isoclinic.geometry import Camera
from isoclinic.provenance import InputFile
from isoclinic.registration.pose_file import PoseFile, read_initial_pose
from isoclinic.solver.termination import Status
from raising import raises

DELETE = object()
CAMERA = Camera.from_pixel_spacing(width=256, height=200, pixel_spacing_mm=(0.8, 1.2), sdd_mm=1020.0)


def pose_matrix(rotation_vector=(0.3, -1.2, 0.7), translation=(10.5, -147.0, 642.25)) -> torch.Tensor:
    matrix = np.eye(4)
    matrix[:3, :3] = Rotation.from_rotvec(rotation_vector).as_matrix()
    matrix[:3, 3] = translation
    return torch.from_numpy(matrix)


def full_pose_file(**changes: Any) -> PoseFile:
    fields = {
        "camera_from_world": pose_matrix(),
        "camera": CAMERA,
        "volume": InputFile(path="ct.nii.gz", sha256="0" * 64),
        "xray": InputFile(path="röntgen.dcm", sha256="f" * 64),
        "model": InputFile(path="model.safetensors", sha256="a" * 64),
        "files": {"labels": InputFile(path="labels.nii.gz", sha256="b" * 64)},
        "status": Status.DOUBTFUL,
        "similarity": 0.93,
        "covariance": torch.diag(torch.arange(1.0, 7.0, dtype=torch.float64)) / 3,
        "expected_error_mm": 0.4,
        "doubts": ("edges hardly correlate",),
        "isoclinic_version": "0.1.0",
        "command": "isoclinic register röntgen.dcm",
    }
    return PoseFile(**(fields | changes))


@pytest.fixture
def written(tmp_path: Path) -> Path:
    path = tmp_path / "pose.json"
    full_pose_file().write(path)
    return path


def edit(path: Path, changes: dict[str, Any]) -> None:
    """Set (or delete) entries, addressed as "a.b"."""
    document = json.loads(path.read_text(encoding="utf-8"))
    for address, value in changes.items():
        *parents, key = address.split(".")
        entry = document
        for parent in parents:
            entry = entry[parent]
        if value is DELETE:
            del entry[key]
        else:
            entry[key] = value
    path.write_text(json.dumps(document), encoding="utf-8")


def assert_same(a: PoseFile, b: PoseFile) -> None:
    """Equality to the last bit: JSON numbers are written with repr, which float64 survives exactly."""
    assert torch.equal(a.camera_from_world, b.camera_from_world)
    assert (a.covariance is None) == (b.covariance is None)
    assert a.covariance is None or torch.equal(a.covariance, b.covariance)
    for name in (
        "camera",
        "volume",
        "xray",
        "model",
        "files",
        "status",
        "similarity",
        "expected_error_mm",
        "doubts",
        "isoclinic_version",
        "command",
    ):
        assert getattr(a, name) == getattr(b, name), name


finite = st.floats(min_value=-1e6, max_value=1e6)
positive = st.floats(min_value=1e-3, max_value=1e5)
vectors = hnp.arrays(np.float64, 3, elements=st.floats(-1000, 1000))
input_files = st.builds(
    InputFile, path=st.text(), sha256=st.text("0123456789abcdef", min_size=64, max_size=64)
)
cameras = st.builds(
    Camera,
    width=st.integers(1, 4096),
    height=st.integers(1, 4096),
    fx=positive,
    fy=positive.map(lambda value: -value),
    cx=finite,
    cy=finite,
    sdd_mm=positive,
)
pose_files = st.builds(
    PoseFile,
    camera_from_world=st.builds(pose_matrix, vectors, vectors),
    camera=cameras,
    volume=st.none() | input_files,
    xray=st.none() | input_files,
    model=st.none() | input_files,
    files=st.dictionaries(st.sampled_from(["init", "labels", "landmarks", "landmarks-2"]), input_files),
    status=st.none() | st.sampled_from(Status),
    similarity=st.none() | finite,
    covariance=st.none() | hnp.arrays(np.float64, (6, 6), elements=finite).map(torch.from_numpy),
    expected_error_mm=st.none() | positive,
    doubts=st.lists(st.text()).map(tuple),
    isoclinic_version=st.none() | st.text(),
    command=st.none() | st.text(),
)


@pytest.mark.slow
@given(pose_files)
@settings(max_examples=60, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
def test_what_is_written_is_read_back_exactly(tmp_path: Path, pose_file: PoseFile):
    path = tmp_path / "pose.json"
    pose_file.write(path)
    assert_same(PoseFile.read(path), pose_file)
    assert torch.equal(read_initial_pose(path), pose_file.camera_from_world)


def test_the_file_is_plain_json_with_the_documented_entries(written: Path):
    """Read without this library; the same keys as in docs/conventions.md."""
    document = json.loads(written.read_text(encoding="utf-8"))
    assert document["format"] == "isoclinic.pose"
    assert document["version"] == 1
    assert document["world"] == "RAS"
    assert document["units"] == "mm"
    np.testing.assert_array_equal(document["camera_from_world"], pose_matrix())
    assert document["intrinsics"] == {
        **{"fx": CAMERA.fx, "fy": CAMERA.fy, "cx": 127.5, "cy": 99.5, "width": 256, "height": 200},
        **{"sdd_mm": 1020.0, "pixel_spacing_mm": [pytest.approx(0.8), pytest.approx(1.2)]},
    }
    assert document["inputs"]["xray"] == {"path": "röntgen.dcm", "sha256": "f" * 64}
    assert document["inputs"]["model"] == {"path": "model.safetensors", "sha256": "a" * 64}
    full_pose_file(model=None).write(written)
    assert set(json.loads(written.read_text(encoding="utf-8"))["inputs"]) == {"volume", "xray", "labels"}
    assert document["status"] == "doubtful"
    guide = Path(__file__).parents[2] / "docs" / "conventions.md"
    example = json.loads(guide.read_text(encoding="utf-8").split("```json")[1].split("```")[0])
    assert list(document) == list(example)
    assert list(document["intrinsics"]) == list(example["intrinsics"])


def test_numbers_that_are_not_finite_are_written_as_unknown(tmp_path: Path):
    path = tmp_path / "pose.json"
    covariance = torch.full((6, 6), torch.nan, dtype=torch.float64)
    full_pose_file(similarity=float("nan"), expected_error_mm=float("inf"), covariance=covariance).write(path)
    read = PoseFile.read(path)
    assert (read.similarity, read.expected_error_mm, read.covariance) == (None, None, None)


def test_lps_is_converted(written: Path):
    """A point's LPS coordinates are its RAS ones with x and y negated; both files put it in one place."""
    camera_from_lps = pose_matrix((-0.4, 0.2, 2.0), (5.0, 6.0, 700.0))
    edit(written, {"world": "LPS", "camera_from_world": camera_from_lps.tolist()})
    camera_from_ras = PoseFile.read(written).camera_from_world
    point_ras = torch.tensor([12.0, -34.0, 56.0, 1.0], dtype=torch.float64)
    point_lps = torch.tensor([-12.0, 34.0, 56.0, 1.0], dtype=torch.float64)
    assert torch.equal(camera_from_ras @ point_ras, camera_from_lps @ point_lps)
    assert torch.equal(read_initial_pose(written), camera_from_ras)


@pytest.mark.parametrize(
    "key",
    [
        "inputs",
        "status",
        "similarity",
        "covariance",
        "expected_error_mm",
        "doubts",
        "isoclinic_version",
        "command",
    ],
)
@pytest.mark.parametrize("value", [DELETE, None])
def test_optional_entries_may_be_missing_or_null(written: Path, key: str, value: Any):
    edit(written, {key: value})
    read = PoseFile.read(written)
    names = ["volume", "xray", "model", "files"] if key == "inputs" else [key]
    assert not any(getattr(read, name) for name in names)


@pytest.mark.parametrize(
    "key", ["format", "version", "world", "units", "camera_from_world", "intrinsics", "intrinsics.sdd_mm"]
)
@pytest.mark.parametrize("value", [DELETE, None])
def test_required_entries_are_named_when_missing(written: Path, key: str, value: Any):
    edit(written, {key: value})
    with raises(InputError, "pose-file.incomplete", "pose.json", f"{key.replace('.', ': ')}"):
        PoseFile.read(written)


SCALED = (2 * torch.eye(4, dtype=torch.float64)).tolist()


@pytest.mark.parametrize(
    ("changes", "fault"),
    [
        ({"format": "xvr"}, ("pose-file.invalid-value", "format", "isoclinic.pose")),
        ({"version": 2}, ("pose-file.invalid-value", "version", "1")),
        ({"version": True}, ("pose-file.invalid-value", "version", "1")),
        ({"world": "LAS"}, ("pose-file.invalid-value", "world", "RAS", "LPS")),
        ({"units": "cm"}, ("pose-file.invalid-value", "units", "'mm'", "'cm'")),
        (
            {"camera_from_world": [[1, 0], [0, 1]]},
            ("geometry.wrong-shape", "camera_from_world", "[4, 4]", "[2, 2]"),
        ),
        ({"camera_from_world": "identity"}, ("geometry.invalid-value", "camera_from_world", "4x4")),
        ({"camera_from_world": [[[1, 0, 0, 0]] * 4] * 2}, ("pose.not-rigid", "camera_from_world")),
        (
            {"camera_from_world": [np.eye(4).tolist()] * 2},
            ("pose-file.wrong-shape", "camera_from_world", "4x4", "2"),
        ),
        ({"camera_from_world": SCALED}, ("pose.not-rigid", "camera_from_world")),
        (
            {"camera_from_world": np.diag([-1, 1, 1, 1]).tolist()},
            ("pose.not-rigid", "camera_from_world"),
        ),
        ({"camera_from_world": pose_matrix().T.tolist()}, ("pose.not-rigid", "camera_from_world")),
        ({"camera_from_world": (float("nan") * np.eye(4)).tolist()}, ("pose.not-rigid", "camera_from_world")),
        ({"intrinsics": [850, 850]}, ("pose-file.invalid-value", "intrinsics", "list")),
        ({"intrinsics.fx": "850"}, ("pose-file.invalid-value", "intrinsics", "fx", "850")),
        ({"intrinsics.fx": float("inf")}, ("pose-file.invalid-value", "intrinsics", "fx")),
        ({"intrinsics.fx": 10**400}, ("pose-file.invalid-value", "intrinsics", "fx")),
        ({"intrinsics.fx": True}, ("pose-file.invalid-value", "intrinsics", "fx")),
        ({"intrinsics.width": 256.5}, ("pose-file.invalid-value", "intrinsics", "width")),
        (
            {"intrinsics.sdd_mm": -1020.0, "intrinsics.pixel_spacing_mm": None},
            ("pose-file.invalid-value", "intrinsics", "sdd_mm"),
        ),
        (
            {"intrinsics.pixel_spacing_mm": [1.2, 0.8]},
            ("pose-file.inconsistent", "intrinsics", "pixel_spacing_mm"),
        ),
        (
            {"intrinsics.pixel_spacing_mm": 1.2},
            ("pose-file.inconsistent", "intrinsics", "pixel_spacing_mm", "1.2"),
        ),
        ({"inputs": "ct.nii.gz"}, ("pose-file.invalid-value", "inputs", "text")),
        ({"inputs.volume": {"path": "ct.nii.gz"}}, ("pose-file.incomplete", "inputs", "volume", "sha256")),
        (
            {"inputs.labels": {"path": "labels.nii.gz"}},
            ("pose-file.incomplete", "inputs", "labels", "sha256"),
        ),
        ({"doubts": "none"}, ("pose-file.invalid-value", "doubts", "none")),
        ({"doubts": [1]}, ("pose-file.invalid-value", "doubts")),
        ({"command": ["isoclinic"]}, ("pose-file.invalid-value", "command")),
        ({"inputs.volume.path": 3}, ("pose-file.invalid-value", "inputs", "volume", "path")),
        ({"status": "fine"}, ("pose-file.invalid-value", "status", "max_steps", "fine")),
        ({"similarity": "high"}, ("pose-file.invalid-value", "similarity")),
        ({"covariance": np.eye(5).tolist()}, ("pose-file.invalid-value", "covariance")),
        ({"covariance": [[1, 2], [3]]}, ("pose-file.invalid-value", "covariance")),
        ({"covariance": (float("nan") * np.eye(6)).tolist()}, ("pose-file.invalid-value", "covariance")),
    ],
)
def test_a_wrong_entry_is_refused_with_file_and_key(
    written: Path, changes: dict[str, Any], fault: tuple[str, ...]
):
    edit(written, changes)
    with raises(InputError, *fault, written.name):
        PoseFile.read(written)


@pytest.mark.parametrize("spacing", [[0.80001, 1.2], [0.8, 1.19995]])
def test_a_rounded_spacing_is_accepted(written: Path, spacing: list[float]):
    edit(written, {"intrinsics.pixel_spacing_mm": spacing})
    assert PoseFile.read(written).camera == CAMERA


@pytest.mark.parametrize("reader", [PoseFile.read, read_initial_pose])
@pytest.mark.parametrize(
    ("content", "fault"),
    [
        (b"{", ("pose-file.unreadable", "pose.json")),
        (b"\xff\xfe", ("pose-file.unreadable", "pose.json")),
        (b"[" * 100_000, ("pose-file.unreadable", "pose.json")),
        (b'"pose"', ("pose-file.wrong-kind", "pose.json", "text")),
        (b"null", ("pose-file.wrong-kind", "pose.json", "null")),
        (b"{}", ("pose-file.incomplete", "pose.json", "format")),
    ],
)
def test_what_is_no_pose_file_is_refused(tmp_path: Path, reader: Any, content: bytes, fault: tuple[str, ...]):
    path = tmp_path / "pose.json"
    path.write_bytes(content)
    with raises(InputError, *fault):
        reader(path)


@pytest.mark.parametrize("reader", [PoseFile.read, read_initial_pose])
def test_a_missing_file_or_a_folder_is_refused(tmp_path: Path, reader: Any):
    for path in (tmp_path / "nowhere.json", tmp_path):
        with raises(InputError, "pose-file.unreadable", path):
            reader(path)


def test_a_bare_matrix_is_a_start_but_no_pose_file(tmp_path: Path):
    path = tmp_path / "start.json"
    path.write_text(json.dumps(pose_matrix().tolist()), encoding="utf-8")
    assert torch.equal(read_initial_pose(path), pose_matrix())
    with raises(InputError, "pose-file.wrong-kind", "start.json", "list"):
        PoseFile.read(path)
    path.write_text(json.dumps(pose_matrix().tolist()[:3]), encoding="utf-8")
    with raises(InputError, "geometry.wrong-shape", "start.json", "[4, 4]", "[3, 4]"):
        read_initial_pose(path)


def test_a_failed_write_leaves_the_old_file_and_nothing_else(written: Path, monkeypatch: pytest.MonkeyPatch):
    before = written.read_bytes()
    with raises(InputError, "pose.not-rigid", "camera_from_world"):
        full_pose_file(camera_from_world=torch.zeros(4, 4)).write(written)

    def full_disk(*_: Any) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(os, "replace", full_disk)
    with raises(InputError, "output.unwritable", "pose.json", "No space left"):
        full_pose_file(status=Status.DIVERGED).write(written)
    assert written.read_bytes() == before
    assert list(written.parent.iterdir()) == [written]


def test_writing_replaces_and_needs_the_folder(written: Path):
    full_pose_file(status=Status.CONVERGED).write(written)
    assert PoseFile.read(written).status is Status.CONVERGED
    assert list(written.parent.iterdir()) == [written]
    with raises(InputError, "output.unwritable", "nowhere"):
        full_pose_file().write(written.parent / "nowhere" / "pose.json")


def test_only_one_pose_is_written(tmp_path: Path):
    with raises(InputError, "pose-file.wrong-shape", "camera_from_world", "3"):
        full_pose_file(camera_from_world=pose_matrix().expand(3, 4, 4)).write(tmp_path / "pose.json")


def test_digests_are_those_of_the_bytes(tmp_path: Path):
    """A folder's is the digest of what `sha256sum` prints for its sorted files: names count, dates do not."""
    folder = tmp_path / "series"
    (folder / "deeper").mkdir(parents=True)
    contents = {"b.dcm": b"second", "a.dcm": b"first", "deeper/c.dcm": b""}
    for name, content in contents.items():
        (folder / name).write_bytes(content)
    file = InputFile.of(folder / "a.dcm")
    assert file == InputFile(path=str(folder / "a.dcm"), sha256=hashlib.sha256(b"first").hexdigest())
    lines = "".join(f"{hashlib.sha256(contents[name]).hexdigest()}  {name}\n" for name in sorted(contents))
    before = InputFile.of(folder)
    assert before.sha256 == hashlib.sha256(lines.encode()).hexdigest()
    (folder / "b.dcm").rename(folder / "d.dcm")
    assert InputFile.of(folder).sha256 != before.sha256
    with raises(InputError, "input.unreadable", "absent.dcm"):
        InputFile.of(folder / "absent.dcm")
