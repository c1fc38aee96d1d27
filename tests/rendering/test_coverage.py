"""Known rays against points sampled along every ray, for every set of open faces."""

import itertools

import numpy as np
import pytest
import torch

from isoclinic.geometry import Camera, se3
from isoclinic.rendering import Coverage
from phantoms import phantom, true_pose

VOLUME = phantom(5, (40, 48, 36))
CAMERA = Camera.from_pixel_spacing(
    width=24, height=20, pixel_spacing_mm=(14.0, 16.0), sdd_mm=1000.0, principal_point_px=(9.0, 12.0)
)
SIZE = np.array(VOLUME.shape)
CLOSED = np.zeros((3, 2), dtype=bool)


def _poses(count: int) -> torch.Tensor:
    rng = np.random.default_rng(1)
    tangents = torch.from_numpy(rng.normal(size=(count, 6)) * ([0.6] * 3 + [30.0] * 3))
    return se3.perturb(true_pose(VOLUME), tangents, torch.from_numpy(VOLUME.isocentre_world))


def _sampled(faces: np.ndarray, pose: np.ndarray) -> np.ndarray:
    """Known [H, W] by brute force: no sampled point within the prism of open faces lies outside the box."""
    world_from_camera = np.linalg.inv(pose)
    v, u = np.mgrid[: CAMERA.height, : CAMERA.width]
    ends = (
        np.stack([(u - CAMERA.cx) / CAMERA.fx, (v - CAMERA.cy) / CAMERA.fy, np.ones_like(u)], axis=-1)
        * CAMERA.sdd_mm
    )
    share = np.linspace(0, 1, 4001)
    voxel_from_camera = np.linalg.inv(VOLUME.world_from_voxel) @ world_from_camera
    points = share[:, None, None, None] * (ends @ voxel_from_camera[:3, :3].T) + voxel_from_camera[:3, 3]
    below, above = points < -0.5, points > SIZE - 0.5
    in_prism = ~(below & ~faces[:, 0] | above & ~faces[:, 1]).any(axis=-1)
    in_box = ~(below | above).any(axis=-1)
    return ~(in_prism & ~in_box).any(axis=0)


@pytest.mark.parametrize("faces", list(itertools.product([False, True], repeat=3)))
@pytest.mark.parametrize("second", [False, True])
def test_known_rays_are_those_without_a_point_beyond_an_open_face(faces, second):
    """A ray that grazes an edge between two samples may differ: none in a hundred does."""
    open_faces = CLOSED.copy()
    open_faces[:, int(second)] = faces
    open_faces[2, 0] |= faces[0]
    coverage = Coverage(
        voxel_from_world=np.linalg.inv(VOLUME.world_from_voxel), size=SIZE, open_faces=open_faces
    )
    poses = _poses(4)
    known = coverage.known(CAMERA, poses).numpy() > 0
    expected = np.stack([_sampled(open_faces, pose) for pose in poses.numpy()])
    assert coverage.closed == (not open_faces.any())
    assert (known != expected).mean() < 0.01
    if open_faces.any():
        assert 0.02 < expected.mean() < 0.98  # the case tells the two apart


def test_a_batch_of_any_size_is_seen_pose_by_pose():
    open_faces = CLOSED.copy()
    open_faces[2] = True
    coverage = Coverage(
        voxel_from_world=np.linalg.inv(VOLUME.world_from_voxel), size=SIZE, open_faces=open_faces
    )
    poses = _poses(300)
    whole = coverage.known(CAMERA, poses)
    assert torch.equal(
        whole[[0, 127, 128, 299]], torch.cat([coverage.known(CAMERA, poses[[i]]) for i in (0, 127, 128, 299)])
    )


def test_of_a_ct_without_open_faces_all_is_known():
    coverage = Coverage.of(VOLUME)
    assert coverage.closed and bool(coverage.known(CAMERA, _poses(2)).all())


def test_of_a_cut_ct_the_cut_is_what_is_open():
    nx, ny, nz = VOLUME.shape
    coverage = Coverage.of(VOLUME.crop((0, 0, nz // 2), (nx, ny, nz)))
    assert coverage.open_faces.tolist() == [[False] * 2, [False] * 2, [True, False]]
