"""The camera that looks straight at a part: where it points, what is up, and how large the part is in it."""

from dataclasses import replace

import numpy as np
import pytest
import torch

from isoclinic.geometry import se3
from isoclinic.networks.part_view import PartShape, camera_at_depth, part_camera
from isoclinic.volumes import Volume

# 60 mm long, 14 mm wide, off the middle of its grid.
SPACING_MM, ORIGIN = 2.0, np.array([30.0, -10.0, 200.0])


def rod(shift: int = 0) -> Volume:
    hu = np.full((40, 20, 20), -1000.0, np.float32)
    hu[4 + shift : 34 + shift, 6:13, 9:12] = 800.0
    affine = np.diag([SPACING_MM] * 3 + [1.0])
    affine[:3, 3] = ORIGIN
    return Volume(hu=hu, world_from_voxel=affine)


def poses(shape: PartShape, count: int = 6) -> torch.Tensor:
    generator = torch.Generator().manual_seed(0)
    tangent = torch.randn(count, 6, generator=generator, dtype=torch.float64)
    tangent[:, 3:] *= 40
    start = se3.rigid(torch.eye(3, dtype=torch.float64), -shape.centre_world)
    start[2, 3] += 800
    return se3.perturb(start, tangent, shape.centre_world)


def test_the_shape_is_that_of_the_tissue():
    shape = PartShape.of(rod())
    # Blocks of voxels are known, whose centres are up to a voxel from the tissue's middle.
    expected = ORIGIN + SPACING_MM * np.array([18.5, 9.0, 10.0])
    np.testing.assert_allclose(shape.centre_world.numpy(), expected, atol=SPACING_MM)
    assert shape.radius_mm == pytest.approx(np.linalg.norm([29, 6, 2]), abs=2 * SPACING_MM)
    assert abs(float(shape.axes_world[0, 0])) > 0.99
    moved = PartShape.of(rod(2)).centre_world - shape.centre_world
    np.testing.assert_allclose(moved.numpy(), [2 * SPACING_MM, 0, 0], atol=1e-9)


def test_the_camera_looks_at_the_centre_with_the_long_axis_up():
    shape = PartShape.of(rod())
    before = poses(shape)
    turn = shape.view_from_camera(before)
    identity = torch.eye(3, dtype=torch.float64).expand(len(turn), 3, 3)
    torch.testing.assert_close(turn[:, :3, :3] @ turn[:, :3, :3].mT, identity)
    assert (torch.linalg.det(turn[:, :3, :3]) > 0).all()
    assert (turn[:, :3, 3] == 0).all(), "the source stays where it is"
    after = turn @ before
    centre = se3.transform_points(after, shape.centre_world[None])[:, 0]
    torch.testing.assert_close(centre[:, :2], torch.zeros_like(centre[:, :2]), atol=1e-9, rtol=0)
    torch.testing.assert_close(centre[:, 2], shape.depth_mm(before))
    axis = after[:, :3, :3] @ shape.axes_world[0]
    seen = axis[:, :2].norm(dim=1) > 0.4
    assert seen.any()
    assert (axis[seen, 0].abs() < 1e-9).all() and (axis[seen, 1] < 0).all()


def test_what_the_long_axis_points_at_the_source_has_another_axis_up():
    shape = PartShape.of(rod())
    z = shape.axes_world[0]
    y = shape.axes_world[2]
    rotation = torch.stack([torch.linalg.cross(y, z), y, z])
    pose = se3.rigid(rotation, -rotation @ shape.centre_world)[None]
    pose[0, 2, 3] += 700
    second = (shape.view_from_camera(pose) @ pose)[0, :3, :3] @ shape.axes_world[1]
    torch.testing.assert_close(second, torch.tensor([0.0, -1.0, 0.0], dtype=torch.float64), atol=1e-9, rtol=0)


def test_the_part_has_one_size_at_any_distance():
    camera = part_camera(50.0, 700.0, field=1.5, pixels=96)
    # A part of 100 mm fills two thirds of the field.
    assert camera.fx * 100.0 / 700.0 == pytest.approx(96 / 1.5)
    far = camera_at_depth(camera, 700.0, 1400.0)
    assert far.fx * 100.0 / 1400.0 == pytest.approx(96 / 1.5)
    assert replace(far, fx=camera.fx, fy=camera.fy, sdd_mm=camera.sdd_mm) == camera
