"""The projector renders exactly what the public functions do."""

import numpy as np
import pytest
import torch

from isoclinic.geometry import se3
from isoclinic.rendering import Projector, RenderConfig, render, render_with_jacobian
from isoclinic.volumes import Volume
from isoclinic.volumes.attenuation import mu_from_hu

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


def test_image_and_jacobian_carry_their_derivatives_by_the_pose():
    """The image's is the Jacobian; that of the Jacobian is its change over the step that is documented."""
    volume = labelled_volume()
    poses = random_poses(volume, 2)
    projector = Projector.of(
        volume, CAMERA, poses, RenderConfig(method="trilinear", voxel_mm="full", backend="reference")
    )
    centre = projector.isocentre_world
    generator = torch.Generator().manual_seed(0)
    tangent = torch.zeros(2, 6, dtype=torch.float64, requires_grad=True)
    image, jacobian = projector.image_and_jacobian(se3.perturb(poses, tangent, centre))
    by_image = torch.randn(image.shape, generator=generator, dtype=torch.float64)
    by_jacobian = torch.randn(jacobian.shape, generator=generator, dtype=torch.float64)
    (found,) = torch.autograd.grad((image * by_image).sum(), tangent, retain_graph=True)
    torch.testing.assert_close(found, torch.einsum("bphw,bhw->bp", jacobian, by_image))
    (found,) = torch.autograd.grad((jacobian * by_jacobian).sum(), tangent)
    step_mm = 1.5 * float(volume.spacing_mm.mean())
    for axis in range(6):
        step = step_mm / 100 if axis < 3 else step_mm
        offset = step * torch.eye(6, dtype=torch.float64)[axis]
        ahead, behind = (
            (projector.image_and_jacobian(se3.perturb(poses, sign * offset, centre))[1] * by_jacobian).sum(
                (1, 2, 3)
            )
            for sign in (1, -1)
        )
        torch.testing.assert_close(found[:, axis], (ahead - behind) / (2 * step))


def test_images_alone_carry_the_derivative_that_goes_with_them():
    volume = labelled_volume()
    poses = random_poses(volume, 1)
    projector = Projector.of(volume, CAMERA, poses, RenderConfig(voxel_mm="full", backend="reference"))
    tangent = torch.zeros(1, 6, dtype=torch.float64, requires_grad=True)
    moved = se3.perturb(poses, tangent, projector.isocentre_world)
    weights = torch.randn(1, CAMERA.height, CAMERA.width, generator=torch.Generator().manual_seed(0)).double()
    alone, both = (
        torch.autograd.grad((image * weights).sum(), tangent, retain_graph=True)[0]
        for image in (projector.image(moved), projector.image_and_jacobian(moved)[0])
    )
    torch.testing.assert_close(alone, both)


def test_the_derivative_of_the_jacobian_is_that_of_the_body_and_not_of_its_voxels():
    """A CT of Gaussian blobs, whose second derivatives are known; between voxels those of the sum are zero.

    With steps much below a voxel the error is larger than what is measured, with Siddon's Jacobian a
    multiple.
    """
    volume, sigma_mm = _blob_volume()
    camera = CAMERA.resize(height=24, width=24)
    pose = random_poses(volume, 1)
    centre = torch.from_numpy(volume.isocentre_world)
    generator = torch.Generator().manual_seed(0)
    # Smooth weights, as networks have them: of each pixel alone the error is larger.
    smooth = torch.randn(1, 6, 4, 4, generator=generator, dtype=torch.float64)
    weights = torch.nn.functional.interpolate(smooth, size=(24, 24), mode="bilinear")
    expected = _blob_curvature(pose, camera, centre, sigma_mm, weights)
    for method in METHODS:
        config = RenderConfig(method=method, voxel_mm="full", backend="cpu")
        projector = Projector.of(volume, camera, pose, config)
        tangent = torch.zeros(1, 6, dtype=torch.float64, requires_grad=True)
        _, jacobian = projector.image_and_jacobian(se3.perturb(pose, tangent, centre))
        (found,) = torch.autograd.grad((jacobian * weights).sum(), tangent)
        scale = torch.tensor([100.0] * 3 + [1.0] * 3)
        error = ((found - expected) / scale).norm() / (expected / scale).norm()
        assert error < 0.1


_SPOTS = torch.tensor([[0.0, 0.0, 0.0], [14.0, -8.0, 10.0], [-12.0, 11.0, -15.0]], dtype=torch.float64)


def _blob_volume():
    """A CT of three Gaussian blobs about its centre, 2 mm voxels, and their standard deviation [mm]."""
    sigma_mm, count, voxel_mm = 8.0, 48, 2.0
    axis = (np.arange(count) - (count - 1) / 2) * voxel_mm
    points = np.stack(np.meshgrid(axis, axis, axis, indexing="ij"), -1)
    mu = sum(0.3 * np.exp(-((points - spot) ** 2).sum(-1) / (2 * sigma_mm**2)) for spot in _SPOTS.numpy())
    affine = np.diag([voxel_mm, voxel_mm, voxel_mm, 1.0])
    affine[:3, 3] = np.array([10.0, -20.0, 30.0]) + axis[0]
    return Volume(hu=(1000 * (mu - 1)).astype(np.float32), world_from_voxel=affine), sigma_mm


def _blob_curvature(pose, camera, centre, sigma_mm, weights):
    """Derivative [1, 6] of the sum of the weighted Jacobian, of closed-form line integrals."""
    rays = torch.nn.functional.normalize(camera.rays(), dim=-1)
    peak = 0.3 * float(mu_from_hu(np.zeros(1, dtype=np.float32))[0])

    def image(camera_from_world):
        spots = (_SPOTS + centre) @ camera_from_world[:, :3, :3].mT + camera_from_world[:, None, :3, 3]
        along = torch.einsum("hwk,bnk->bnhw", rays, spots)
        squared = spots.square().sum(-1)[..., None, None] - along.square()
        return peak * (2 * np.pi) ** 0.5 * sigma_mm * (-squared / (2 * sigma_mm**2)).exp().sum(1)

    def weighted(outer):
        at = se3.perturb(pose, outer, centre)
        jacobian = torch.func.jacrev(lambda inner: image(se3.perturb(at, inner, centre))[0])(
            torch.zeros(1, 6).double()
        )
        return (jacobian[:, :, 0].movedim(-1, 0)[None] * weights).sum()

    return torch.func.grad(weighted)(torch.zeros(1, 6, dtype=torch.float64))
