"""Learned similarities as least squares: derivatives, and Levenberg-Marquardt finding the truth with them."""

from dataclasses import replace

import pytest
import torch

from isoclinic.geometry import se3
from isoclinic.networks import BackboneConfig, CanonicalConfig, CanonicalImage
from isoclinic.rendering import RenderConfig
from isoclinic.similarity import (
    CanonicalSimilarity,
    SphericalSimilarity,
    canonical_target,
    residual_and_slopes,
)
from isoclinic.similarity.local_standardization import standardize
from isoclinic.solver import L2, LMConfig, levenberg_marquardt
from phantoms import error_mm, phantom, true_pose
from tiny_networks import VARIANTS, encoder, poses, projector

# rad and mm, a few per cent of the field of view.
OFFSETS = torch.tensor([[0.03, -0.02, 0.04, 3.0, -2.0, 8.0], [-0.02, 0.03, -0.03, -3.0, 3.0, -6.0]])
SCHEDULE = LMConfig(max_steps=40, step_scale=(0.01,) * 3 + (1.0,) * 3, step_deviation_tolerance=0)


def _xray(network, render):
    return render.image(true_pose(phantom(0))[None]).to(next(network.parameters()).dtype)


def _similarity(network, render, image=None, hidden=0.3):
    """To an X-ray of which a corner is hidden."""
    image = _xray(network, render) if image is None else image
    weight = torch.ones_like(image)
    weight[:, : int(hidden * image.shape[1]), : int(hidden * image.shape[2])] = 0
    return SphericalSimilarity.of(render, network, image, weight)


@pytest.mark.parametrize(("head", "metric"), VARIANTS)
def test_slopes_are_those_of_finite_differences_in_the_image(head, metric):
    """The image moves along its Jacobian exactly, so that in float64 only the network is tested."""
    network, render = encoder(head, metric).double(), projector()
    fixed = network(_xray(network, render))
    image, jacobian = (part.double() for part in render.image_and_jacobian(poses(OFFSETS)))
    residual, slopes = residual_and_slopes(network, fixed.select(torch.zeros(2).long()), image, jacobian)
    both = fixed.select(torch.zeros(2).long())
    torch.testing.assert_close(residual, network.residual(network(image), both))
    step = torch.tensor([1e-5] * 3 + [1e-3] * 3).double()
    for p in range(6):
        ahead = network.residual(network(image + step[p] * jacobian[:, p]), both)
        behind = network.residual(network(image - step[p] * jacobian[:, p]), both)
        slope = (ahead - behind) / (2 * step[p])
        # Truncation h^2 is about 1e-7 of the slope, with steps that change the image by 1e-4 of itself.
        torch.testing.assert_close(slopes[:, p], slope, rtol=1e-4, atol=1e-5 * slope.abs().max().item())


@pytest.mark.parametrize(("head", "metric"), VARIANTS)
def test_the_gradient_is_that_of_the_distance_along_the_pose(head, metric):
    """Through the float64 reference renderer: poses are really moved."""
    render = projector(16)
    reference = replace(
        render,
        kernel=type(render)
        .of(
            phantom(0),
            render.camera,
            true_pose(phantom(0))[None],
            RenderConfig(method="trilinear", backend="reference"),
        )
        .kernel,
    )
    network = encoder(head, metric).double()
    problem = _similarity(network, reference)
    with torch.no_grad():
        start = poses(OFFSETS[:1])
        at = problem.linearize(start, torch.tensor([0]))
        torch.testing.assert_close(at.cost, problem.squared_distance(start))
        # Trilinear sums have kinks where rays cross voxel faces; a small step crosses few.
        for p, step in enumerate([1e-5] * 3 + [1e-3] * 3):
            delta = step * torch.eye(6, dtype=torch.float64)[p : p + 1]
            ahead, behind = (problem.squared_distance(problem.retract(start, d)) for d in (delta, -delta))
            expected = (ahead - behind) / (2 * step)
            torch.testing.assert_close(at.gradient[:, p], expected, rtol=2e-2, atol=1e-6)


@pytest.mark.slow
@pytest.mark.parametrize(("head", "metric"), [each for each in VARIANTS if each[0] != "motion"])
def test_levenberg_marquardt_finds_the_truth_even_with_random_weights(head, metric):
    """Without noise the truth is the minimum of any embedding's distance, and close by it is the only one.

    Not so with a random reading: sums of signed differences vanish in many places.
    """
    network, render = encoder(head, metric, elements=6), projector()
    with torch.no_grad():
        problem = _similarity(network, render, hidden=0)
        start = poses(OFFSETS / 2)
        found = levenberg_marquardt(problem, start, SCHEDULE)
    for pose, far in zip(found.x, start, strict=True):
        assert error_mm(phantom(0), far, true_pose(phantom(0))) > 3
        # Float32 images and the stopping rule, a step of 1e-3 mm.
        assert error_mm(phantom(0), pose, true_pose(phantom(0))) < 0.01


def test_each_item_is_compared_with_its_own_image():
    network, render = encoder("dense"), projector()
    targets = poses(OFFSETS)
    with torch.no_grad():
        problem = _similarity(network, render, render.image(targets))
        at = problem.linearize(targets.flip(0), torch.tensor([1, 0]))
        crossed = problem.linearize(targets, torch.tensor([1, 0]))
    assert at.cost.max() < 1e-9
    assert crossed.cost.min() > 1e-5


CANONICAL = CanonicalConfig(backbone=BackboneConfig(), window_px=9)


def test_the_canonical_target_is_the_locally_standardised_drr():
    image = projector().image(poses(OFFSETS))
    none = image.new_zeros(2, 0, 32, 32)
    expected, _ = standardize(image, none, torch.ones(32, 32), radius=4, floor=CANONICAL.floor)
    # Two summation orders of float32 window sums.
    torch.testing.assert_close(canonical_target(image, CANONICAL), expected, atol=1e-3, rtol=0)


def test_levenberg_marquardt_finds_the_truth_from_its_canonical_image():
    render = projector()
    target = canonical_target(render.image(true_pose(phantom(0))[None]), CANONICAL)
    # A corner is spoiled, and known to be.
    target[:, :12, :12] = 3.0
    log_precision = torch.zeros_like(target)
    log_precision[:, :12, :12] = -12.0
    problem = CanonicalSimilarity(
        projector=render,
        predicted=CanonicalImage(target, log_precision),
        weight=torch.ones_like(target),
        config=CANONICAL,
        robust=L2(),
    )
    found = levenberg_marquardt(problem, poses(OFFSETS), SCHEDULE)
    for pose in found.x:
        assert error_mm(phantom(0), pose, true_pose(phantom(0))) < 0.3


def test_the_canonical_gradient_is_that_of_its_cost():
    render = projector()
    predicted = CanonicalImage(
        canonical_target(render.image(true_pose(phantom(0))[None]), CANONICAL),
        torch.randn(1, 32, 32, generator=torch.Generator().manual_seed(0)),
    )
    weight = torch.ones_like(predicted.target)
    weight[:, 20:] = 0
    problem = CanonicalSimilarity(
        projector=render, predicted=predicted, weight=weight, config=CANONICAL, robust=L2()
    )
    items, start = torch.tensor([0]), poses(OFFSETS[:1])
    at = problem.linearize(start, items)
    for p, step in enumerate([4e-4] * 3 + [4e-2] * 3):
        delta = step * torch.eye(6, dtype=torch.float64)[p : p + 1]
        ahead, behind = (problem.linearize(problem.retract(start, d), items).cost for d in (delta, -delta))
        expected = (ahead - behind) / (2 * step)
        # Float32 rendering: rounding 1e-6 of a cost of about 0.5 over the step, and kinks at voxel faces.
        torch.testing.assert_close(at.gradient[:, p], expected, rtol=4e-2, atol=2e-3 / (1 if p < 3 else 100))


def test_retracting_is_perturbing_the_pose():
    network, render = encoder(), projector()
    with torch.no_grad():
        problem = _similarity(network, render)
    expected = se3.perturb(true_pose(phantom(0))[None], OFFSETS[:1].double(), render.isocentre_world)
    moved = problem.retract(true_pose(phantom(0))[None], OFFSETS[:1].double())
    torch.testing.assert_close(moved, expected)
