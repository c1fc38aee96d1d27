"""Derivatives through encoder, projector and solver together, against central finite differences in float64.

What is differentiated is the mean squared distance between where the pose that Levenberg-Marquardt ends with
and the true one put four points [mm^2]. X-rays are of Gaussian blobs in closed form, so that finite
differences of the whole have no kinks in them. What a voxel grid does to the derivatives is measured in
tests/rendering and by benchmarks/gradients.py.
"""

from dataclasses import replace

import numpy as np
import pytest
import torch
from torch import Tensor

from isoclinic.geometry import se3, transform_points
from isoclinic.rendering import Projector, RenderConfig
from isoclinic.similarity import SphericalSimilarity
from isoclinic.solver import LMConfig, implicit_solution, levenberg_marquardt
from phantoms import phantom
from tiny_networks import encoder

from .blobs import AP, CAMERA, ISOCENTRE, BlobProjector

PROJECTOR = BlobProjector()
TRUTH = se3.perturb(AP[None], torch.tensor([[0.1, -0.05, 0.08, 4.0, -6.0, 15.0]]).double(), ISOCENTRE)
OFFSET = torch.tensor([[0.05, -0.04, 0.06, 6.0, -5.0, 12.0]]).double()
POINTS = ISOCENTRE + 60 * torch.eye(4, 3, dtype=torch.float64)
# Of the finite differences: of weights and pixels of order one, and of rotation vectors [rad].
STEP = 1e-5
# Agreement is a hundred times better: what is left is rounding of the differences.
TOLERANCE = 1e-3


def _schedule(steps: int, damping: float = 1e-2) -> LMConfig:
    """So many steps, none of which ends it."""
    return LMConfig(
        max_steps=steps,
        initial_damping=damping,
        step_scale=(1 / 60,) * 3 + (1.0,) * 3,
        step_tolerance=0.0,
        decrease_tolerance=0.0,
        gradient_tolerance=0.0,
        step_deviation_tolerance=0.0,
    )


class _Scene:
    """An encoder, an X-ray that is no perfect DRR, and a start; each may be moved along a direction."""

    projector = PROJECTOR

    def __init__(self, head: str, metric: str) -> None:
        self.network = encoder(head, metric).double()
        self.weight = torch.ones(1, 18, 22, dtype=torch.float64)
        self.weight[:, :5, :7] = 0
        generator = torch.Generator().manual_seed(1)
        noise = torch.randn(1, 18, 22, generator=generator, dtype=torch.float64)
        self.xray = PROJECTOR.image(TRUTH) * 1.1 + 0.1 * noise
        self.offset = OFFSET.clone()
        self.directions = {
            "weights": [
                torch.randn(each.shape, generator=generator, dtype=torch.float64)
                * each.detach().square().mean().sqrt()
                for each in self.network.parameters()
            ],
            "xray": [torch.randn(self.xray.shape, generator=generator, dtype=torch.float64)],
            "start": [torch.tensor([[0.3, -0.5, 0.4, 20.0, 30.0, -40.0]]).double()],
        }

    def tensors(self, what: str) -> list[Tensor]:
        return {"weights": list(self.network.parameters()), "xray": [self.xray], "start": [self.offset]}[what]

    def problem(self) -> SphericalSimilarity:
        return SphericalSimilarity.of(self.projector, self.network, self.xray, self.weight)

    def unrolled(self, steps: int, damping: float = 1e-2) -> Tensor:
        return error(levenberg_marquardt(self.problem(), self.start(), _schedule(steps, damping)).x)

    def converged(self) -> Tensor:
        """The optimum near the truth, to rounding."""
        with torch.no_grad():
            found = levenberg_marquardt(self.problem(), self.start(), _schedule(60))
        assert found.gradient.abs().max() < 1e-7
        return found.x

    def start(self) -> Tensor:
        return se3.perturb(TRUTH, self.offset, ISOCENTRE)

    def slope(self, what: str, value) -> float:
        """By automatic differentiation, along the direction."""
        tensors = self.tensors(what)
        for each in tensors:
            each.requires_grad_()
        gradients = torch.autograd.grad(value(), tensors, allow_unused=True)
        for each in tensors:
            each.requires_grad_(False)
        pairs = zip(gradients, self.directions[what], strict=True)
        return sum(float((gradient * along).sum()) for gradient, along in pairs if gradient is not None)

    @torch.no_grad()
    def difference(self, what: str, value) -> float:
        """By central differences, along the direction."""
        ends = []
        for sign in (1, -2):
            for each, along in zip(self.tensors(what), self.directions[what], strict=True):
                each += sign * STEP * along
            ends.append(float(value()))
        for each, along in zip(self.tensors(what), self.directions[what], strict=True):
            each += STEP * along
        return (ends[0] - ends[1]) / (2 * STEP)


def error(poses: Tensor) -> Tensor:
    """Mean squared distance [] of the points from where the true pose puts them [mm^2]."""
    return (transform_points(poses, POINTS) - transform_points(TRUTH, POINTS)).square().sum(-1).mean()


# Ten steps are damped until they end on the way: at the optimum nothing would be left of the start.
@pytest.mark.slow
@pytest.mark.parametrize(("steps", "damping"), [(1, 1e-2), (3, 1e-2), (10, 30.0)])
@pytest.mark.parametrize("what", ["weights", "xray", "start"])
def test_unrolled_derivatives_are_those_of_finite_differences(what, steps, damping):
    scene = _Scene("dense", "spherical")
    slope = scene.slope(what, lambda: scene.unrolled(steps, damping))
    expected = scene.difference(what, lambda: scene.unrolled(steps, damping))
    assert abs(expected) > 1e-3
    assert slope == pytest.approx(expected, rel=TOLERANCE)


@pytest.mark.slow
@pytest.mark.parametrize(("head", "metric"), [("global", "spherical"), ("dense", "euclidean")])
@pytest.mark.parametrize("what", ["weights", "xray", "start"])
def test_so_they_are_of_the_other_embeddings(what, head, metric):
    scene = _Scene(head, metric)
    slope = scene.slope(what, lambda: scene.unrolled(3))
    assert slope == pytest.approx(scene.difference(what, lambda: scene.unrolled(3)), rel=TOLERANCE)


@pytest.mark.slow
@pytest.mark.parametrize("what", ["weights", "xray"])
def test_a_step_through_the_renderer_itself_is_differentiated_exactly(what):
    """Of one step from a fixed start, image and Jacobian are constants: no voxel stands between the two."""
    scene = _Scene("dense", "spherical")
    rendering = RenderConfig(method="trilinear", voxel_mm="full", backend="reference")
    volume = phantom(0, (32, 32, 32))
    volume = replace(
        volume, world_from_voxel=volume.world_from_voxel + _moved_by(ISOCENTRE - volume.isocentre_world)
    )
    scene.projector = Projector.of(volume, CAMERA, TRUTH, rendering)
    scene.xray = scene.xray + scene.projector.image(TRUTH)
    slope = scene.slope(what, lambda: scene.unrolled(1))
    assert slope == pytest.approx(scene.difference(what, lambda: scene.unrolled(1)), rel=TOLERANCE)


def _moved_by(shift: Tensor) -> np.ndarray:
    change = np.zeros((4, 4))
    change[:3, 3] = shift
    return change


@pytest.mark.parametrize("what", ["weights", "xray"])
@pytest.mark.slow
def test_implicit_derivatives_are_those_of_the_optimum(what):
    """The optimum moves with weights and X-ray, as the implicit function theorem says."""
    scene = _Scene("dense", "spherical")

    def implicit() -> Tensor:
        return error(implicit_solution(scene.problem(), optimum, curvature="exact"))

    optimum = scene.converged()
    slope = scene.slope(what, implicit)
    expected = scene.difference(what, lambda: error(scene.converged()))
    assert abs(expected) > 1e-3
    assert slope == pytest.approx(expected, rel=TOLERANCE)


@pytest.mark.slow
def test_an_optimum_does_not_depend_on_its_start():
    scene = _Scene("dense", "spherical")
    after_one, at_the_end = (scene.slope("start", lambda n=n: scene.unrolled(n)) for n in (1, 30))
    assert abs(at_the_end) < 1e-6 * abs(after_one)
