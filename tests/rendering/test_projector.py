"""The projector renders exactly what the public functions do."""

import numpy as np
import pytest
import torch

from isoclinic.rendering import Projector, RenderConfig, render, render_with_jacobian

from .scenes import CAMERA, METHODS, labelled_volume, random_poses


@pytest.mark.parametrize("method", METHODS)
@pytest.mark.parametrize("voxel_mm", ["full", "auto", 3.0])
def test_same_as_render(voxel_mm, method):
    volume = labelled_volume()
    poses = random_poses(volume, 3)
    config = RenderConfig(method=method, voxel_mm=voxel_mm, structures=("tibia",), backend="cpu")
    projector = Projector.of(volume, CAMERA, poses, config)
    image, jacobian = projector.image_and_jacobian(poses)
    expected, expected_jacobian = render_with_jacobian(volume, CAMERA, poses, config)
    assert expected.max() > 0
    assert torch.equal(image, expected)
    assert torch.equal(jacobian.movedim(1, -1), expected_jacobian)
    assert torch.equal(projector.image(poses), expected)


def test_another_camera_at_the_same_resolution():
    volume = labelled_volume()
    poses = random_poses(volume, 1)
    config = RenderConfig(voxel_mm="full", backend="cpu")
    projector = Projector.of(volume, CAMERA, poses, config)
    other = CAMERA.resize(height=5, width=6)
    assert torch.equal(projector.image(poses, other), render(volume, other, poses, config))


def test_turns_about_another_point():
    volume = labelled_volume()
    poses = random_poses(volume, 2)
    config = RenderConfig(voxel_mm="full", backend="cpu")
    centre = volume.isocentre_world + np.array([12.0, -7.0, 20.0])
    _, jacobian = Projector.of(volume, CAMERA, poses, config, isocentre_world=centre).image_and_jacobian(
        poses
    )
    _, expected = render_with_jacobian(volume, CAMERA, poses, config, isocentre_world=centre)
    _, about_the_middle = render_with_jacobian(volume, CAMERA, poses, config)
    assert torch.equal(jacobian.movedim(1, -1), expected)
    assert not torch.allclose(expected[..., :3], about_the_middle[..., :3], rtol=0.1)
