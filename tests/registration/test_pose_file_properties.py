"""Pose files of random contents are read or refused with an InputError; LPS and RAS mirror each other."""

from __future__ import annotations

import copy
import json
from collections.abc import Iterator
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
from isoclinic.registration.pose_file import PoseFile, read_initial_pose

FEW = settings(
    max_examples=150,
    derandomize=True,
    deadline=None,
    suppress_health_check=[HealthCheck.function_scoped_fixture],
)
VALID = {
    "format": "isoclinic.pose",
    "version": 1,
    "camera_from_world": np.eye(4).tolist(),
    "world": "RAS",
    "units": "mm",
    "intrinsics": {
        **{"fx": 850.0, "fy": 1275.0, "cx": 127.5, "cy": 99.5, "width": 256, "height": 200},
        **{"sdd_mm": 1020.0, "pixel_spacing_mm": [0.8, 1.2]},
    },
    "inputs": {
        "volume": {"path": "ct.nii.gz", "sha256": 64 * "0"},
        "xray": {"path": "xray.dcm", "sha256": 64 * "f"},
    },
    "status": "converged",
    "similarity": 0.93,
    "covariance": np.eye(6).tolist(),
    "expected_error_mm": 0.4,
    "isoclinic_version": "0.1.0",
}

# Any JSON, and what Python's reader takes beside it: NaN, infinities, numbers too large for a float.
scalars = st.one_of(
    st.none(),
    st.booleans(),
    st.integers(),
    st.just(10**400),
    st.floats(),
    st.text(max_size=8),
    st.sampled_from(["isoclinic.pose", "RAS", "LPS", "mm", "converged", 0, 1, -1.0, 1e308]),
)
documents = st.recursive(
    scalars,
    lambda inner: (
        st.lists(inner, max_size=4) | st.dictionaries(st.sampled_from([*VALID, "fx", "path", "x"]), inner)
    ),
    max_leaves=12,
)


def places(document: Any, path: tuple[str | int, ...] = ()) -> Iterator[tuple[str | int, ...]]:
    """Every entry at any depth."""
    entries = document.items() if isinstance(document, dict) else enumerate(document)
    for key, value in entries:
        yield (*path, key)
        if isinstance(value, dict | list):
            yield from places(value, (*path, key))


def changed(changes: list[tuple[tuple[str | int, ...], Any, bool]]) -> Any:
    """The valid document with entries replaced or deleted, where they are still there."""
    document = copy.deepcopy(VALID)
    for (*parents, key), value, delete in changes:
        parent: Any = document
        try:
            for each in parents:
                parent = parent[each]
            if delete:
                del parent[key]
            else:
                parent[key] = value
        except (IndexError, KeyError, TypeError):  # an earlier change took it away
            continue
    return document


changes = st.lists(
    st.tuples(st.sampled_from(sorted(places(VALID), key=str)), documents, st.booleans()),
    min_size=1,
    max_size=3,
)


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "pose.json"


def check_pose_or_refusal(path: Path, content: str) -> PoseFile | None:
    path.write_text(content, encoding="utf-8")
    try:
        start = read_initial_pose(path)
    except InputError as error:
        assert str(path) in str(error) and "\n" not in str(error)
    else:
        assert_rigid(start)
    try:
        read = PoseFile.read(path)
    except InputError as error:
        assert str(path) in str(error) and "\n" not in str(error)
        return None
    assert_rigid(read.camera_from_world)
    numbers = [read.camera.fx, read.camera.cx, read.camera.sdd_mm, read.similarity, read.expected_error_mm]
    assert all(number is None or np.isfinite(number) for number in numbers)
    assert read.covariance is None or (read.covariance.shape == (6, 6) and read.covariance.isfinite().all())
    return read


def assert_rigid(pose: torch.Tensor) -> None:
    """To the 1e-4 that readers promise."""
    assert pose.shape == (4, 4) and pose.dtype == torch.float64 and pose.isfinite().all()
    rotation = pose[:3, :3]
    np.testing.assert_allclose(rotation @ rotation.T, np.eye(3), atol=1.1e-4)
    assert np.linalg.det(rotation) > 0
    np.testing.assert_allclose(pose[3], [0, 0, 0, 1], atol=1e-6)


def test_the_document_that_is_changed_below_is_a_pose_file(path: Path):
    assert check_pose_or_refusal(path, json.dumps(VALID)) is not None


@pytest.mark.slow
@FEW
@given(document=documents)
def test_documents_of_anything(path: Path, document: Any):
    """A pose file by chance is out of reach."""
    assert check_pose_or_refusal(path, json.dumps(document)) is None


@pytest.mark.slow
@FEW
@given(changes=changes)
def test_changed_pose_files(path: Path, changes: list[Any]):
    check_pose_or_refusal(path, json.dumps(changed(changes)))


@FEW
@given(content=st.text(max_size=60))
def test_texts_of_anything(path: Path, content: str):
    assert check_pose_or_refusal(path, content) is None


@FEW
@given(end=st.integers(0, len(json.dumps(VALID)) - 1))
def test_files_cut_short(path: Path, end: int):
    assert check_pose_or_refusal(path, json.dumps(VALID)[:end]) is None


# LPS and RAS --------------------------------------------------------------------------------------------

poses = st.builds(
    lambda turn, shift: torch.from_numpy(
        np.block([[Rotation.from_rotvec(turn).as_matrix(), shift[:, None]], [np.eye(4)[3:]]])
    ),
    hnp.arrays(np.float64, 3, elements=st.floats(-10, 10)),
    hnp.arrays(np.float64, 3, elements=st.floats(-1e6, 1e6)),
)


@pytest.mark.slow
@FEW
@given(pose=poses, point=hnp.arrays(np.float64, 3, elements=st.floats(-1e3, 1e3)))
def test_lps_twice_is_ras(path: Path, pose: torch.Tensor, point: np.ndarray):
    """A pose called LPS takes LPS coordinates where it took RAS ones; called so twice, it is back.

    Only signs change, so every number is exact.
    """

    def called_lps(matrix: torch.Tensor) -> torch.Tensor:
        document = VALID | {"world": "LPS", "camera_from_world": matrix.tolist()}
        path.write_text(json.dumps(document), encoding="utf-8")
        return PoseFile.read(path).camera_from_world

    from_ras = called_lps(pose)
    homogeneous = torch.from_numpy(np.append(point, 1.0))
    mirrored = torch.from_numpy(np.append(point * [-1, -1, 1], 1.0))
    assert torch.equal(from_ras @ homogeneous, pose @ mirrored)
    assert torch.equal(called_lps(from_ras), pose)
