"""Losses vanish at the truth, have the derivatives of finite differences, and can be learned."""

import math

import pytest
import torch

from isoclinic.geometry import se3, so4
from isoclinic.networks import (
    CanonicalConfig,
    CanonicalImage,
    CanonicalNetwork,
    PoseRegressor,
    PoseRegressorConfig,
)
from isoclinic.similarity import canonical_target
from isoclinic.training.losses import (
    CanonicalLoss,
    DirectionLoss,
    MotionLoss,
    StepLoss,
    UnrolledLoss,
    ValueLoss,
    network_gradient,
    pose_loss,
)
from phantoms import phantom, true_pose
from tiny_networks import BACKBONE, VARIANTS, encoder, poses, projector, space


@pytest.fixture(scope="module")
def batch():
    """Fixed images, moving images with their Jacobian, and the poses of both; float64."""
    generator = torch.Generator().manual_seed(0)
    scale = torch.tensor([0.1, 0.1, 0.1, 8.0, 8.0, 20.0])
    fixed = poses(scale * torch.randn(6, 6, generator=generator))
    offsets = (0.5 * scale * torch.randn(6, 6, generator=generator)).double()
    render = projector()
    moving = se3.perturb(fixed, offsets, render.isocentre_world)
    image, jacobian = render.image_and_jacobian(moving)
    return render.image(fixed).double(), image.double(), jacobian.double(), fixed, moving


def direction_loss(network, batch):
    fixed_image, image, jacobian, fixed, moving = batch
    image = image.to(next(network.parameters())).requires_grad_()
    distance = network.squared_distance(network(image), network(fixed_image.to(image)))
    gradient = network_gradient(distance, image, jacobian.to(image))
    return DirectionLoss()(gradient, space().squared_distance_gradient(moving, fixed))


def step_loss(network, batch):
    fixed_image, image, jacobian, fixed, moving = batch
    tangent = se3.perturbation(moving, fixed, space().isocentre)
    like = next(network.parameters())
    return StepLoss()(network, fixed_image.to(like), image.to(like), jacobian.to(like), tangent)


def value_loss(network, batch):
    fixed_image, image, _, fixed, moving = batch
    like = next(network.parameters())
    distance = network.squared_distance(network(image.to(like)), network(fixed_image.to(like)))
    return ValueLoss()(distance, space().squared_distance(moving, fixed))


def motion_loss(network, batch):
    fixed_image, image, _, fixed, moving = batch
    like = next(network.parameters())
    residual = network.residual(network(image.to(like)), network(fixed_image.to(like)))
    return MotionLoss()(residual, so4.residual(space().element(moving), space().element(fixed)))


LOSSES = [value_loss, direction_loss, step_loss]
CASES = [(loss, *variant) for loss in LOSSES for variant in VARIANTS] + [
    (motion_loss, *variant) for variant in VARIANTS if variant[0] == "motion"
]


def test_equal_distances_cost_nothing_and_zero_has_a_derivative():
    square = torch.tensor([0.0, 1e-6, 0.01, 1.0], dtype=torch.float64)
    network = square.clone().requires_grad_()
    loss = ValueLoss()(network, square)
    assert loss == 0
    loss.backward()
    assert network.grad.isfinite().all()


def test_the_value_loss_is_the_relative_error_of_the_distance():
    loss = ValueLoss(floor_rad=0.02)
    network, truth = torch.tensor([0.3, 0.05]).double(), torch.tensor([0.2, 0.0]).double()
    expected = ((0.1 / 0.22) ** 2 + (0.05 / 0.02) ** 2) / 2
    # The margin that smooths the root is a thousandth of the floor.
    assert math.isclose(loss(network**2, truth**2).item(), expected, rel_tol=1e-2)


def test_the_direction_loss_measures_angles_of_rotation_and_translation_apart():
    truth = torch.randn(5, 6, generator=torch.Generator().manual_seed(0)).double()
    gains = torch.tensor([0.3] * 3 + [70.0] * 3)
    assert DirectionLoss()(gains * truth, truth) < 1e-20
    # Opposite unit vectors are 2 apart: 4 for each part.
    assert math.isclose(DirectionLoss()(-truth, truth).item(), 8.0)
    turned = torch.cat([truth[:, :3], -truth[:, 3:]], -1)
    assert math.isclose(DirectionLoss(translation_share=0.5)(turned, truth).item(), 2.0)


def test_where_the_poses_agree_there_is_no_direction_to_learn():
    gradient = torch.randn(2, 6, generator=torch.Generator().manual_seed(0), dtype=torch.float64)
    same = poses(torch.zeros(2, 6))
    assert DirectionLoss()(gradient, space().squared_distance_gradient(same, same)) == 0


@pytest.mark.parametrize(("head", "metric"), VARIANTS)
def test_the_network_gradient_is_that_of_its_distance_along_the_jacobian(batch, head, metric):
    fixed_image, image, jacobian, *_ = batch
    network = encoder(head, metric).double()
    image = image.clone().requires_grad_()
    distance = network.squared_distance(network(image), network(fixed_image))
    gradient = network_gradient(distance, image, jacobian)
    with torch.no_grad():
        fixed = network(fixed_image)
        for p, h in enumerate([1e-5] * 3 + [1e-3] * 3):
            ahead, behind = (
                network.squared_distance(network(image + s * h * jacobian[:, p]), fixed) for s in (1, -1)
            )
            expected = (ahead - behind) / (2 * h)
            # Truncation: h^2, relative to changes of the image by 1e-4 of itself.
            torch.testing.assert_close(gradient[:, p], expected, rtol=1e-4, atol=1e-8)


@pytest.mark.slow
def test_the_step_loss_is_nothing_at_the_truth(batch):
    fixed_image, _, _, fixed, _ = batch
    jacobian = projector().image_and_jacobian(fixed)[1].double()
    at_truth = (fixed_image, fixed_image, jacobian, fixed, fixed)
    # The step is J^+ r with r zero to the rounding of float64.
    assert step_loss(encoder("dense").double(), at_truth) < 1e-12


@pytest.mark.parametrize(("loss", "head", "metric"), CASES)
def test_derivatives_by_the_weights_are_those_of_finite_differences(batch, loss, head, metric):
    """Double backward and reverse over forward mode: the losses themselves contain derivatives."""
    network = encoder(head, metric).double()
    few = tuple(part[:1] for part in batch)
    loss(network, few).backward()
    generator = torch.Generator().manual_seed(1)
    weights = [(w, w.grad) for w in network.parameters() if w.grad is not None]
    directions = [torch.randn(w.shape, generator=generator).double() for w, _ in weights]
    slope = sum((gradient * d).sum() for (_, gradient), d in zip(weights, directions, strict=True))

    def moved(step):
        with torch.no_grad():
            for (w, _), d in zip(weights, directions, strict=True):
                w += step * d
        value = loss(network, few).item()
        with torch.no_grad():
            for (w, _), d in zip(weights, directions, strict=True):
                w -= step * d
        return value

    # Truncation h^2 of third derivatives of some 1e4, rounding 1e-13 / h.
    assert math.isclose((moved(1e-6) - moved(-1e-6)) / 2e-6, slope.item(), rel_tol=1e-3, abs_tol=1e-5)


def test_the_motion_loss_is_the_relative_error_of_motion_and_distance():
    generator = torch.Generator().manual_seed(0)
    motion = 0.1 * torch.randn(5, 6, generator=generator).double()
    exact = torch.cat([motion, torch.zeros(5, 3).double()], 1).requires_grad_()
    loss = MotionLoss()(exact, motion)
    assert loss == 0
    loss.backward()
    assert exact.grad.isfinite().all()
    residual = 0.1 * torch.randn(5, 9, generator=generator).double()
    expected = 0.0
    for r, t in zip(residual, motion, strict=True):
        d, found = t.norm() / math.sqrt(2), r.norm() / math.sqrt(2)
        by_motion = (r[:6] - t).norm() / math.sqrt(2) / (d + 0.02)
        expected += math.sqrt(1 + by_motion**2) - 1
        expected += 3 * (math.sqrt(1 + ((found - d) / (d + 0.02)) ** 2) - 1)
    got = MotionLoss(value_share=3.0)(residual, motion).item()
    # The margin that smooths the root is a thousandth of the floor.
    assert math.isclose(got, float(expected) / 5, rel_tol=1e-3)


def test_numbers_after_the_sixth_may_hold_a_size_without_direction():
    motion = torch.tensor([[0.1, 0, 0, 0, 0, 0]]).double()
    unread = torch.zeros(1, 7).double()
    sized = torch.cat([torch.zeros(1, 6), torch.tensor([[0.1]])], 1).double()
    assert MotionLoss()(sized, motion) < MotionLoss()(unread, motion) / 2


def test_the_pose_loss_is_the_squared_geodesic_distance():
    truth = true_pose(phantom(0))[None]
    assert pose_loss(truth, truth, space()) < 1e-24
    tangent = torch.tensor([[0.0, 0.1, 0, 0, 0, 0]]).double()
    turned = se3.perturb(truth, tangent, space().isocentre)
    # Turning about the isocentre where the translation is small changes the distance by L^-2 only.
    assert math.isclose(pose_loss(turned, truth, space()).item(), 0.01, rel_tol=0.02)


def test_the_canonical_loss_is_nothing_but_the_likelihood_at_the_truth():
    target = torch.randn(1, 8, 8, generator=torch.Generator().manual_seed(0))
    certain = CanonicalImage(target, torch.zeros_like(target))
    assert CanonicalLoss()(certain, target) == 0


def test_the_best_precision_is_the_inverse_mean_squared_error():
    errors = 0.3 * torch.randn(1, 100, 100, generator=torch.Generator().manual_seed(0)).double()
    best = -errors.square().mean().log()

    def loss(log_precision):
        predicted = CanonicalImage(errors, log_precision.expand_as(errors))
        return CanonicalLoss()(predicted, torch.zeros_like(errors))

    at = best.clone().requires_grad_()
    (slope,) = torch.autograd.grad(loss(at), at)
    assert abs(slope.item()) < 1e-12
    assert loss(best) < min(loss(best + 0.1), loss(best - 0.1))


def overfitted(network, loss, steps, rate=3e-3):
    """Loss before and after so many Adam steps on one batch."""
    optimizer = torch.optim.Adam(network.parameters(), lr=rate)
    before = loss().item()
    for _ in range(steps):
        optimizer.zero_grad()
        loss().backward()
        optimizer.step()
    return before, loss().item()


@pytest.mark.slow
@pytest.mark.parametrize(
    ("loss", "head", "metric", "steps", "factor"),
    [
        (value_loss, "global", "spherical", 40, 3),
        (value_loss, "dense", "spherical", 40, 3),
        (direction_loss, "global", "spherical", 25, 2),
        (step_loss, "dense", "spherical", 6, 1.2),
    ],
)
def test_an_encoder_overfits_a_batch(batch, loss, head, metric, steps, factor):
    network = encoder(head, metric)
    few = tuple(part[:3] for part in batch)
    before, after = overfitted(network, lambda: loss(network, few), steps)
    assert after < before / factor


@pytest.mark.slow
def test_the_distance_of_a_motion_encoder_can_become_that_of_the_poses(batch):
    """On six pairs: nothing in head, metric or loss stands in the way."""
    network = encoder("motion")
    overfitted(network, lambda: motion_loss(network, batch), 150, rate=1e-2)
    fixed_image, image, _, fixed, moving = batch
    with torch.no_grad():
        found = network.squared_distance(network(image.float()), network(fixed_image.float())).sqrt()
    expected = space().squared_distance(moving, fixed).sqrt().float()
    assert ((found - expected).abs() / expected).median() < 0.05
    assert torch.corrcoef(torch.stack([found, expected]))[0, 1] > 0.99


@pytest.mark.slow
def test_a_regressor_overfits_a_batch(batch):
    images, _, _, truth, _ = batch
    torch.manual_seed(0)
    network = PoseRegressor(PoseRegressorConfig(width=8, norm="group"))

    def loss():
        return pose_loss(space().pose(network(images.float())), truth, space())

    before, after = overfitted(network, loss, 60)
    assert after < before / 10


@pytest.mark.slow
def test_a_canonical_network_overfits_a_batch(batch):
    images = batch[0].float()
    config = CanonicalConfig(backbone=BACKBONE, window_px=9)
    torch.manual_seed(0)
    network = CanonicalNetwork(config)
    target = canonical_target(images, config)
    # The X-ray's tone curve is what has to be undone.
    xrays = 1 - (-images).exp()

    def error():
        return (network(xrays).target - target).square().mean().item()

    before = error()
    overfitted(network, lambda: CanonicalLoss()(network(xrays), target), 60, rate=1e-2)
    assert error() < before / 3


@pytest.mark.slow
def test_unrolled_steps_cost_what_is_left_of_the_way(batch):
    """Of the very same image nothing is left; the loss is that of the distance to the true pose otherwise."""
    fixed, _, _, truth, moving = batch
    network, render, weight = encoder().double(), projector(), torch.ones_like(fixed)
    loss = UnrolledLoss(steps=1)
    with torch.no_grad():
        assert loss(network, render, (fixed, weight), truth, truth) < 1e-8
        # Without room for a step all of the way is left: sqrt(1 + w^2 / (w^2 + 1)) - 1 is just below sqrt(2)
        # - 1.
        still = UnrolledLoss(steps=1, max_step_mm=1e-9)(network, render, (fixed, weight), moving, truth)
    assert still == pytest.approx(math.sqrt(2) - 1, abs=5e-3)


@pytest.mark.slow
def test_an_encoder_learns_to_be_walked_down():
    """With nothing but the loss through three steps; on few poses, which any network can learn."""
    render, network = projector(16), encoder("dense", elements=4, seed=3)
    generator = torch.Generator().manual_seed(1)
    scale = torch.tensor([0.1, 0.1, 0.1, 8.0, 8.0, 20.0])
    truth = poses(scale * torch.randn(4, 6, generator=generator))
    starts = se3.perturb(
        truth, (0.8 * scale * torch.randn(4, 6, generator=generator)).double(), render.isocentre_world
    )
    fixed = render.image(truth) + 0.3 * torch.randn(4, 16, 16, generator=generator)
    loss, images = UnrolledLoss(steps=3), (fixed, torch.ones_like(fixed))
    optimizer = torch.optim.Adam(network.parameters(), lr=3e-3)
    course = []
    for _ in range(40):
        value = loss(network, render, images, starts, truth)
        optimizer.zero_grad()
        value.backward()
        torch.nn.utils.clip_grad_norm_(network.parameters(), 1.0)
        optimizer.step()
        course.append(value.item())
    assert sum(course[-5:]) < 0.6 * sum(course[:5])
