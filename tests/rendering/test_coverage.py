"""Known rays against points sampled along every ray, for every set of open faces."""

import itertools

import numpy as np
import pytest
import torch

from isoclinic.geometry import Camera, se3
from isoclinic.rendering import Coverage
from isoclinic.volumes import OpenFace
from phantoms import phantom, true_pose

VOLUME = phantom(5, (40, 48, 36))
CAMERA = Camera.from_pixel_spacing(
    width=24, height=20, pixel_spacing_mm=(14.0, 16.0), sdd_mm=1000.0, principal_point_px=(9.0, 12.0)
)
SIZE = np.array(VOLUME.shape)
SPACING_MM = VOLUME.spacing_mm


def _poses(count: int) -> torch.Tensor:
    rng = np.random.default_rng(1)
    tangents = torch.from_numpy(rng.normal(size=(count, 6)) * ([0.6] * 3 + [30.0] * 3))
    return se3.perturb(true_pose(VOLUME), tangents, torch.from_numpy(VOLUME.isocentre_world))


def _face(axis: int, last: bool, infinite: bool) -> OpenFace:
    """A face with a prism smaller than the box, off its middle, and one without a limit on one side."""
    first, second = sorted({0, 1, 2} - {axis})
    a, b = SIZE[first] * SPACING_MM[first], SIZE[second] * SPACING_MM[second]
    limits = np.array(
        [[0.2 * a, 0.7 * a], [0.1 * b, 0.8 * b], [0.35 * (a + b), 0.7 * (a + b)], [-0.3 * b, 0.4 * a]]
    )
    if infinite:
        limits[[0, 2, 3], 1] = np.inf
    return OpenFace(axis=axis, last=last, limits_mm=limits)


def _coverage(faces: tuple[OpenFace, ...]) -> Coverage:
    return Coverage(
        voxel_from_world=np.linalg.inv(VOLUME.world_from_voxel),
        size=SIZE,
        spacing_mm=SPACING_MM,
        open_faces=faces,
    )


def _sampled(faces: tuple[OpenFace, ...], pose: np.ndarray) -> np.ndarray:
    """Known [H, W] by brute force: no sampled point lies in a prism beyond a face."""
    world_from_camera = np.linalg.inv(pose)
    v, u = np.mgrid[: CAMERA.height, : CAMERA.width]
    ends = (
        np.stack([(u - CAMERA.cx) / CAMERA.fx, (v - CAMERA.cy) / CAMERA.fy, np.ones_like(u)], axis=-1)
        * CAMERA.sdd_mm
    )
    share = np.linspace(0, 1, 4001)
    voxel_from_camera = np.linalg.inv(VOLUME.world_from_voxel) @ world_from_camera
    points = share[:, None, None, None] * (ends @ voxel_from_camera[:3, :3].T) + voxel_from_camera[:3, 3]
    known = np.ones(v.shape, dtype=bool)
    for face in faces:
        along = points[..., face.axis]
        beyond = along > SIZE[face.axis] - 0.5 if face.last else along < -0.5
        first, second = sorted({0, 1, 2} - {face.axis})
        a, b = points[..., first] * SPACING_MM[first], points[..., second] * SPACING_MM[second]
        for values, (low, high) in zip((a, b, a + b, a - b), face.limits_mm, strict=True):
            beyond &= (values >= low) & (values <= high)
        known &= ~beyond.any(axis=0)
    return known


@pytest.mark.parametrize("infinite", [False, True])
@pytest.mark.parametrize("count", [0, 1, 2, 3])
@pytest.mark.slow
def test_known_rays_are_those_without_a_point_beyond_an_open_face(count, infinite):
    """A ray that grazes an edge between two samples may differ: none in a hundred does."""
    every = [_face(axis, last, infinite) for axis in range(3) for last in (False, True)]
    poses = _poses(3)
    for faces in itertools.combinations(every, count):
        coverage = _coverage(faces)
        known = coverage.known(CAMERA, poses).numpy() > 0
        expected = np.stack([_sampled(faces, pose) for pose in poses.numpy()])
        assert coverage.closed == (not faces)
        assert (known != expected).mean() < 0.01
        if faces:
            assert 0.02 < expected.mean() < 1  # the case tells the two apart


def test_a_batch_of_any_size_is_seen_pose_by_pose():
    coverage = _coverage((_face(2, False, False), _face(2, True, False)))
    poses = _poses(300)
    whole = coverage.known(CAMERA, poses)
    assert torch.equal(
        whole[[0, 127, 128, 299]], torch.cat([coverage.known(CAMERA, poses[[i]]) for i in (0, 127, 128, 299)])
    )


@pytest.mark.parametrize("margin_px", [1, 2, 30])
def test_a_pixel_near_an_unknown_one_is_unknown_with_a_margin(margin_px):
    """The largest margin is larger than the picture."""
    coverage = _coverage((_face(2, True, False),))
    poses = _poses(2)
    known, within = coverage.known(CAMERA, poses), coverage.known(CAMERA, poses, margin_px=margin_px)
    assert 0 < known.mean() < 1
    for (index, row, column), value in np.ndenumerate(within.numpy()):
        rows = slice(max(row - margin_px, 0), row + margin_px + 1)
        around = known[index, rows, max(column - margin_px, 0) : column + margin_px + 1]
        assert value == float(around.min())


def test_of_a_ct_without_open_faces_all_is_known():
    coverage = Coverage.of(VOLUME)
    assert coverage.closed and bool(coverage.known(CAMERA, _poses(2)).all())


def test_of_a_cut_ct_the_cut_is_what_is_open():
    nx, ny, nz = VOLUME.shape
    coverage = Coverage.of(VOLUME.crop((0, 0, nz // 2), (nx, ny, nz)))
    assert [(face.axis, face.last) for face in coverage.open_faces] == [(2, False)]


def test_rays_through_the_air_beside_the_patient_are_known():
    """A ray beyond the cut but beside the patient meets nothing there."""
    nx, ny, nz = VOLUME.shape
    half = VOLUME.crop((0, 0, nz // 2), (nx, ny, nz))
    (face,) = Coverage.of(half).open_faces
    tissue = np.argwhere(half.hu[:, :, 0] > -300) * half.spacing_mm[:2]
    # 10 mm more than what the face shows.
    expected = np.stack([tissue.min(axis=0) - 10, tissue.max(axis=0) + 10], axis=1)
    np.testing.assert_allclose(face.limits_mm[:2], expected)
    sums = np.stack([tissue.sum(axis=1), tissue[:, 0] - tissue[:, 1]])
    reach = 10 * np.sqrt(2)
    np.testing.assert_allclose(face.limits_mm[2:, 0], sums.min(axis=1) - reach)
    np.testing.assert_allclose(face.limits_mm[2:, 1], sums.max(axis=1) + reach)
