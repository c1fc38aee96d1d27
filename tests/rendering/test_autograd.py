"""Derivatives through torch: reverse mode, forward mode and `torch.func`, against the kernel's Jacobian."""

import pytest
import torch
from torch import Tensor
from torch.autograd import forward_ad

from isoclinic.errors import UsageError
from isoclinic.geometry import perturb
from isoclinic.rendering import RenderConfig, render, render_with_jacobian
from isoclinic.rendering._autograd import differentiable_render
from isoclinic.rendering._pack import pack
from isoclinic.rendering._rays import cast_rays
from raising import raises

from .scenes import CAMERA, METHODS, labelled_volume, noise_volume, pose, random_poses

VOLUME = noise_volume()
POSE = pose(VOLUME)
ISOCENTRE = torch.from_numpy(VOLUME.isocentre_world)
DIRECTION = torch.tensor([0.3, -0.2, 0.5, 1.0, -2.0, 0.7], dtype=torch.float64)
ZERO = torch.zeros(6, dtype=torch.float64)
CPU = RenderConfig(voxel_mm="full", backend="cpu")

# Chained through the ray, G and H are levered by some 300 mm and cancel, in float32; images and translations
# have derivatives of order 0.1 and 0.1 per mm here, rotations of order 1 per rad.
FLOAT32 = 100 * 2.0**-24 * CAMERA.sdd_mm
FLOAT64 = 1e-11 * CAMERA.sdd_mm


def config(method: str, backend: str) -> RenderConfig:
    return RenderConfig(method=method, voxel_mm="full", backend=backend)


def tolerance(backend: str, scale: Tensor) -> float:
    return (FLOAT64 if backend == "reference" else FLOAT32) * float(scale.abs().max())


@pytest.fixture(params=METHODS)
def method(request) -> str:
    return request.param


@pytest.fixture(params=["cpu", "reference"])
def backend(request) -> str:
    return request.param


def image_of(tangent: Tensor, method: str, backend: str) -> Tensor:
    return render(VOLUME, CAMERA, perturb(POSE, tangent, ISOCENTRE), config(method, backend))[0]


def jacobian_of(method: str, backend: str) -> Tensor:
    return render_with_jacobian(VOLUME, CAMERA, POSE, config(method, backend))[1][0]


def test_gradients_do_not_change_the_image(method, backend):
    tracked = image_of(ZERO.clone().requires_grad_(), method, backend)
    assert tracked.requires_grad
    assert torch.equal(tracked.detach(), image_of(ZERO, method, backend))


def test_backward_is_the_contraction_with_the_jacobian(method, backend):
    generator = torch.Generator().manual_seed(1)
    tangent = ZERO.clone().requires_grad_()
    image = image_of(tangent, method, backend)
    weights = torch.randn(image.shape, dtype=image.dtype, generator=generator)
    (image * weights).sum().backward()
    jacobian = jacobian_of(method, backend)
    expected = (jacobian * weights[..., None]).sum(dim=(0, 1))
    assert tangent.grad.dtype == torch.float64
    assert (tangent.grad - expected).abs().max() <= tolerance(backend, jacobian.abs().sum(dim=(0, 1)))


def test_backward_of_a_batch_with_a_pose_each(method):
    poses = random_poses(VOLUME, 3)
    tangents = torch.zeros(3, 6, dtype=torch.float64, requires_grad=True)
    images = render(VOLUME, CAMERA, perturb(poses, tangents, ISOCENTRE), config(method, "reference"))
    images[1].sum().backward()
    _, jacobian = render_with_jacobian(VOLUME, CAMERA, poses, config(method, "reference"))
    assert torch.equal(tangents.grad[[0, 2]], torch.zeros(2, 6, dtype=torch.float64))
    torch.testing.assert_close(tangents.grad[1], jacobian[1].sum(dim=(0, 1)), rtol=1e-9, atol=1e-9)


def test_backward_against_finite_differences(method):
    """Float64, so that differences mean something: 1e-15 rounding over a step of 1e-6."""
    tangent = ZERO.clone().requires_grad_()
    image_of(tangent, method, "reference").square().sum().backward()
    for axis, step in enumerate(1e-6 * torch.eye(6, dtype=torch.float64)):
        ahead, behind = (image_of(sign * step, method, "reference").square().sum() for sign in (1, -1))
        assert tangent.grad[axis].item() == pytest.approx(((ahead - behind) / 2e-6).item(), abs=1e-6)


@pytest.mark.slow
def test_gradient_with_respect_to_the_matrix(method):
    """A pose that is itself the leaf: its gradient along a rigid motion is the Jacobian's."""
    leaf = POSE.clone().requires_grad_()
    render(VOLUME, CAMERA, leaf, config(method, "reference")).sum().backward()
    _, motion = torch.func.jvp(lambda tangent: perturb(POSE, tangent, ISOCENTRE), (ZERO,), (DIRECTION,))
    expected = (jacobian_of(method, "reference") @ DIRECTION).sum()
    assert (leaf.grad * motion).sum().item() == pytest.approx(expected.item(), rel=1e-9)


def test_forward_mode(method, backend):
    with forward_ad.dual_level():
        image = image_of(forward_ad.make_dual(ZERO, DIRECTION), method, backend)
        primal, tangent = forward_ad.unpack_dual(image)
    assert torch.equal(primal, image_of(ZERO, method, backend))
    jacobian = jacobian_of(method, backend)
    assert (tangent - jacobian @ DIRECTION.to(jacobian)).abs().max() <= tolerance(backend, jacobian)


def test_functional_jvp(method, backend):
    image, tangent = torch.func.jvp(lambda x: image_of(x, method, backend), (ZERO,), (DIRECTION,))
    assert torch.equal(image, image_of(ZERO, method, backend))
    jacobian = jacobian_of(method, backend)
    assert (tangent - jacobian @ DIRECTION.to(jacobian)).abs().max() <= tolerance(backend, jacobian)


@pytest.mark.parametrize("transform", [torch.func.jacfwd, torch.func.jacrev])
def test_functional_jacobians(transform, method, backend):
    jacobian = jacobian_of(method, backend)
    actual = transform(lambda x: image_of(x, method, backend))(ZERO)
    assert (actual - jacobian).abs().max() <= tolerance(backend, jacobian)


def test_functional_grad(method):
    gradient = torch.func.grad(lambda x: image_of(x, method, "reference").sum())(ZERO)
    expected = jacobian_of(method, "reference").sum(dim=(0, 1))
    torch.testing.assert_close(gradient, expected, rtol=1e-9, atol=1e-9)


def test_structures_are_differentiable():
    volume = labelled_volume()
    tangent = ZERO.clone().requires_grad_()
    options = RenderConfig(voxel_mm="full", structures=("tibia",), backend="reference")
    render(volume, CAMERA, perturb(POSE, tangent, ISOCENTRE), options).sum().backward()
    _, jacobian = render_with_jacobian(volume, CAMERA, POSE, options)
    torch.testing.assert_close(tangent.grad, jacobian.sum(dim=(0, 1, 2)), rtol=1e-9, atol=1e-9)


def test_gradient_of_the_pose_gradient_reaches_what_weighs_the_image():
    """Double backward through a loss with learned weights; the renderer itself has no second derivative."""
    weight = torch.tensor(2.0, dtype=torch.float64, requires_grad=True)
    tangent = ZERO.clone().requires_grad_()
    loss = (weight * image_of(tangent, "trilinear", "reference")).square().sum()
    (gradient,) = torch.autograd.grad(loss, tangent, create_graph=True)
    (gradient @ DIRECTION).backward()
    # The gradient is proportional to weight^2.
    assert weight.grad.item() == pytest.approx((gradient @ DIRECTION).item() * 2 / weight.item(), rel=1e-12)


def test_mapping_over_rays_is_refused_clearly():
    packed = pack(VOLUME)

    def image(pose_: Tensor) -> Tensor:
        return differentiable_render(cast_rays(packed, CAMERA, pose_[None]), lambda rays: None)

    with raises(UsageError, "rendering.not-supported", "vmap"):
        torch.func.vmap(image)(random_poses(VOLUME, 2))
