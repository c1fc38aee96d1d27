"""Image similarity: cost, gradient and Hessian against float64 numpy that shares no code with them."""

from dataclasses import replace

import numpy as np
import pytest
import torch
from numpy.typing import NDArray
from scipy.ndimage import uniform_filter
from torch import Tensor

from isoclinic.errors import UsageError
from isoclinic.geometry import se3
from isoclinic.registration import (
    ImageSimilarity,
    LMConfig,
    SimilarityConfig,
    SimilarityTerm,
    levenberg_marquardt,
)
from isoclinic.rendering import Projector, RenderConfig

from .scenes import CAMERA, displaced, phantom, true_pose

Array = NDArray[np.float64]

VOLUME = phantom(5, (24, 24, 24))
TRUTH = true_pose(VOLUME, (0.1, -0.2, 0.1, 2.0, -3.0, 10.0))
# The small phantom has 60 mm, magnified 1.5 times; unequal sides and spacings would show a transposition.
SMALL_CAMERA = CAMERA.crop(top=32, left=30, height=64, width=68).resize(height=32, width=30)

TERMS = {
    "local intensity": (SimilarityTerm(window_px=7),),
    "global intensity": (SimilarityTerm(window_px=0),),
    "local gradient": (SimilarityTerm(image="gradient", window_px=9),),
    "global gradient": (SimilarityTerm(image="gradient", window_px=0),),
    "several": (
        SimilarityTerm(window_px=13, share=0.5),
        SimilarityTerm(window_px=5, share=1.5),
        SimilarityTerm(image="gradient", window_px=7, share=0.7),
    ),
}


def _projector(backend: str = "cpu") -> Projector:
    config = RenderConfig(voxel_mm="full", backend=backend)
    return Projector.of(VOLUME, SMALL_CAMERA, TRUTH[None], config)


def _weight(kind: str) -> Tensor:
    """Ones, or fractions with a masked corner and bar."""
    shape = SMALL_CAMERA.height, SMALL_CAMERA.width
    if kind == "ones":
        return torch.ones(shape)
    weight = torch.from_numpy(np.random.default_rng(1).uniform(0.3, 1, shape)).float()
    weight[:9, :7] = 0
    weight[20:22] = 0
    return weight


def _problem(terms, weight: Tensor, fixed: Tensor | None = None, **settings) -> ImageSimilarity:
    """X-ray: what the truth shows, darkened to one side so that the residual is nowhere zero."""
    projector = _projector()
    if fixed is None:
        shading = torch.linspace(0, 2, SMALL_CAMERA.width)
        fixed = 3 + 0.7 * projector.image(TRUTH[None])[0].square() + shading
    return ImageSimilarity(
        projector=projector, fixed=fixed, weight=weight, config=SimilarityConfig(terms=terms, **settings)
    )


class _Oracle:
    """The definition in float64 numpy, on images of the renderer's float64 reference."""

    def __init__(self, problem: ImageSimilarity) -> None:
        self.problem, self.projector = problem, _projector("reference")
        self.fixed = problem.fixed.numpy().astype(np.float64)
        self.weight = problem.weight.numpy().astype(np.float64)

    def residual(self, x: Tensor) -> tuple[Array, Array, Array, Array]:
        """Residuals, their weights and both standardised images, of all terms one after another, each [N]."""
        moving = self.projector.image(x[None])[0].numpy()
        mean = np.average(self.fixed, weights=self.weight)
        contrast = np.sqrt(np.average((self.fixed - mean) ** 2, weights=self.weight))
        columns: list[list[Array]] = [[], [], []]
        for term in self.problem.config.terms:
            weight = self.weight
            if term.image == "gradient":
                stacked = np.lib.stride_tricks.sliding_window_view(weight, (3, 3))
                weight = stacked.min(axis=(2, 3))
            a, b = (
                np.stack([self._standardized(part, weight, term) for part in _compared(image, term)])
                for image in (moving, self.fixed / contrast)
            )
            w = np.broadcast_to(weight, a.shape)
            for column, values in zip(columns, (a, b, term.share * w / w.sum()), strict=True):
                column.append(values.ravel())
        a, b, w = map(np.concatenate, columns)
        return a - b, w, a, b

    def _standardized(self, image: Array, weight: Array, term: SimilarityTerm) -> Array:
        side = term.window_px or 2 * max(image.shape) + 1

        def box(values: Array) -> Array:
            return uniform_filter(values, side, mode="constant") * side**2

        with np.errstate(invalid="ignore", divide="ignore"):
            mass = box(weight)
            mean = box(weight * image) / mass
            variance = box(weight * image**2) / mass - mean**2
        x = (image - mean) / np.sqrt(variance + self.problem.config.floor**2)
        return np.where(mass > 1e-3, x, 0)

    def cost(self, x: Tensor) -> float:
        residual, weight, _, _ = self.residual(x)
        c = self.problem.config.robust_scale
        return float((weight * c**2 * (np.sqrt(1 + (residual / c) ** 2) - 1)).sum())


def _compared(image: Array, term: SimilarityTerm) -> list[Array]:
    if term.image == "intensity":
        return [image]
    along_v, along_u = np.gradient(image)
    return [along_u[1:-1, 1:-1], along_v[1:-1, 1:-1]]


def _differences(function, x: Tensor, h: float) -> list:
    """Central differences of a function of the pose along its six degrees of freedom, 60 mm to a radian."""
    isocentre = torch.from_numpy(VOLUME.isocentre_world)
    slopes = []
    for axis in torch.diag(torch.tensor([1 / 60] * 3 + [1.0] * 3, dtype=torch.float64)):
        ahead, behind = (function(se3.perturb(x, sign * h * axis, isocentre)) for sign in (1, -1))
        slopes.append((ahead - behind) / (2 * h * axis.sum().item()))
    return slopes


@pytest.mark.parametrize("kind", ["ones", "mask"])
@pytest.mark.parametrize("name", TERMS)
def test_linearization_is_that_of_the_definition(name, kind):
    problem = _problem(TERMS[name], _weight(kind), robust_scale=0.8)
    oracle = _Oracle(problem)
    x = displaced(VOLUME, TRUTH, 6, seed=3)
    at = problem.linearize(x[None], torch.arange(1))
    # float32 rendering and standardisation: 1e-6 a pixel, times 1 / floor = 20 where windows are flat.
    assert at.cost.item() == pytest.approx(oracle.cost(x), rel=1e-4)

    # Joseph's interpolation has kinks at voxel borders: a step of 1e-4 mm meets hardly any.
    h = 1e-4
    slope = torch.tensor(_differences(oracle.cost, x, h), dtype=torch.float64)
    scale = torch.tensor([60.0] * 3 + [1.0] * 3, dtype=torch.float64)
    relative = (at.gradient[0] - slope) / scale / (slope / scale).norm()
    assert relative.abs().max() < 2e-3

    residual, weight, _, _ = oracle.residual(x)
    jacobian = np.stack(_differences(lambda pose: oracle.residual(pose)[0], x, h), axis=1)
    weight = weight / np.sqrt(1 + (residual / 0.8) ** 2)
    hessian = torch.from_numpy(jacobian.T @ (weight[:, None] * jacobian))
    size = hessian.diagonal().sqrt()
    # Relative to the product of its diagonal entries: correlations of columns.
    assert ((at.hessian[0] - hessian) / size[:, None] / size).abs().max() < 2e-3


@pytest.mark.parametrize("kind", ["ones", "mask"])
@pytest.mark.parametrize("name", TERMS)
def test_correlation_is_that_of_the_standardised_images(name, kind):
    problem = _problem(TERMS[name], _weight(kind))
    x = displaced(VOLUME, TRUTH, 6, seed=3)
    _, weight, a, b = _Oracle(problem).residual(x)
    bounds = np.cumsum([np.size(part.target) for part in problem._terms])[:-1]
    parts = zip(*(np.split(values, bounds) for values in (weight, a, b)), strict=True)
    correlations = [(w * a) @ b / np.sqrt((w * a) @ a * ((w * b) @ b)) for w, a, b in parts]
    shares = [term.share for term in problem.config.terms]
    # As above: 1e-6 a pixel, times 20 where windows are flat.
    assert problem.correlation(x[None]).item() == pytest.approx(
        np.average(correlations, weights=shares), abs=1e-4
    )


def test_over_the_whole_image_it_is_normalised_cross_correlation():
    """Cost 1 - NCC and correlation NCC, as numpy computes them, where neither floor nor robustness bite."""
    problem = _problem((SimilarityTerm(window_px=0),), _weight("ones"), floor=1e-4, robust_scale=1e3)
    x = displaced(VOLUME, TRUTH, 10, seed=1)[None]
    ncc = np.corrcoef(problem.projector.image(x).flatten(), problem.fixed.flatten())[0, 1]
    assert 0.1 < ncc < 0.98
    # float32 rounding, and the floor's 1e-8 of the variance.
    assert problem.linearize(x, torch.arange(1)).cost.item() == pytest.approx(1 - ncc, abs=1e-5)
    assert problem.correlation(x).item() == pytest.approx(ncc, abs=1e-5)


@pytest.mark.parametrize("kind", ["ones", "mask"])
@pytest.mark.parametrize("name", TERMS)
def test_at_the_truth_of_an_exact_image_cost_and_gradient_vanish(name, kind):
    fixed = _projector().image(TRUTH[None])[0]
    # Scaled to a deviation of 1, the X-ray's floor and the DRR's are the same.
    weight = _weight(kind)
    mean = (weight * fixed).sum() / weight.sum()
    contrast = ((weight * (fixed - mean) ** 2).sum() / weight.sum()).sqrt()
    problem = _problem(TERMS[name], weight, fixed, floor=1e-3)
    at = problem.linearize(TRUTH[None], torch.arange(1))
    # What is left is the effect of two floors, 1e-3 and 1e-3 times the contrast, where windows are flat.
    assert 0.2 < contrast < 5
    away = problem.linearize(displaced(VOLUME, TRUTH, 2, seed=0)[None], torch.arange(1))
    assert at.cost.item() < 0.02 * away.cost.item()
    assert at.gradient.norm() < 0.02 * away.gradient.norm()
    assert problem.correlation(TRUTH[None]).item() > 0.98


@pytest.mark.parametrize("name", TERMS)
def test_correlation_ranks_poses_by_distance(name):
    problem = _problem(TERMS[name], _weight("mask"))
    isocentre = torch.from_numpy(VOLUME.isocentre_world)
    tangent = torch.tensor([0.02, -0.01, 0.02, 1.0, -1.0, 2.0], dtype=torch.float64)
    poses = torch.stack([se3.perturb(TRUTH, k * tangent, isocentre) for k in range(4)])
    correlation = problem.correlation(poses)
    assert (correlation.diff() < 0).all()
    assert correlation.max() <= 1


@pytest.mark.parametrize(("gain", "offset"), [(0.01, 0.0), (350.0, -40.0), (1.0, 12.0)])
@pytest.mark.parametrize("name", TERMS)
def test_invariant_to_affine_tone_of_the_xray(name, gain, offset):
    weight = _weight("mask")
    problem = _problem(TERMS[name], weight)
    changed = _problem(TERMS[name], weight, gain * problem.fixed + offset)
    x = displaced(VOLUME, TRUTH, 6, seed=3)[None]
    at, other = (p.linearize(x, torch.arange(1)) for p in (problem, changed))
    # float32 rounding of the offset image: 1e-7 of it, relative to contrasts of the same order.
    torch.testing.assert_close(other.cost, at.cost, rtol=1e-3, atol=0)
    assert (other.gradient - at.gradient).norm() < 1e-3 * at.gradient.norm()
    torch.testing.assert_close(changed.correlation(x), problem.correlation(x), rtol=0, atol=1e-3)


def test_inverted_xray_correlates_negatively():
    problem = _problem(TERMS["local intensity"], _weight("ones"))
    inverted = replace(problem, fixed=-problem.fixed)
    torch.testing.assert_close(inverted.correlation(TRUTH[None]), -problem.correlation(TRUTH[None]))


@pytest.mark.parametrize("name", TERMS)
def test_masked_pixels_have_exactly_no_influence(name):
    weight = _weight("mask")
    problem = _problem(TERMS[name], weight)
    poses = torch.stack([TRUTH, displaced(VOLUME, TRUTH, 6, seed=3)])
    at, correlation = problem.linearize(poses, torch.arange(2)), problem.correlation(poses)
    for value in (0.0, -3.0, 1e4):
        fixed = torch.where(weight > 0, problem.fixed, value)
        other = replace(problem, fixed=fixed)
        changed = other.linearize(poses, torch.arange(2))
        assert torch.equal(changed.cost, at.cost)
        assert torch.equal(changed.gradient, at.gradient)
        assert torch.equal(changed.hessian, at.hessian)
        assert torch.equal(other.correlation(poses), correlation)


def test_large_residuals_pull_less():
    """Pseudo-Huber: a bright tool of a few pixels moves the gradient less the smaller the scale is."""
    clean = _problem(TERMS["global intensity"], _weight("ones"))
    fixed = clean.fixed.clone()
    fixed[10:13, 12:15] += 30
    x = displaced(VOLUME, TRUTH, 3, seed=3)[None]
    moved = []
    for scale in (0.3, 1.5, 1e3):
        settings = SimilarityConfig(terms=clean.config.terms, robust_scale=scale)
        without, within = (
            replace(clean, fixed=image, config=settings).linearize(x, torch.arange(1))
            for image in (clean.fixed, fixed)
        )
        moved.append((without.gradient - within.gradient).norm() / without.gradient.norm())
    assert moved[0] < moved[1] < moved[2]


def test_poses_of_a_batch_are_independent():
    problem = _problem(TERMS["several"], _weight("mask"))
    poses = torch.stack([displaced(VOLUME, TRUTH, distance, seed=9) for distance in (0, 5, 20)])
    together, correlation = problem.linearize(poses, torch.arange(3)), problem.correlation(poses)
    for index in range(3):
        alone = problem.linearize(poses[[index]], torch.arange(1))
        # Sums over pixels may be taken in another order: float32.
        torch.testing.assert_close(alone.cost, together.cost[[index]], rtol=1e-6, atol=0)
        torch.testing.assert_close(alone.gradient, together.gradient[[index]], rtol=1e-4, atol=1e-5)
        torch.testing.assert_close(alone.hessian, together.hessian[[index]], rtol=1e-4, atol=1e-5)
        torch.testing.assert_close(problem.correlation(poses[[index]]), correlation[[index]])


def test_views_that_miss_the_volume_correlate_with_nothing():
    problem = _problem(TERMS["several"], _weight("ones"))
    aside = se3.perturb(
        TRUTH,
        torch.tensor([0, 0, 0, 500.0, 0, 0], dtype=torch.float64),
        problem.projector.isocentre_world,
    )
    assert problem.correlation(aside[None]).item() == 0
    assert problem.linearize(aside[None], torch.arange(1)).finite.all()


def test_wholly_masked_image_is_no_evidence():
    problem = _problem(TERMS["several"], torch.zeros(SMALL_CAMERA.height, SMALL_CAMERA.width))
    at = problem.linearize(TRUTH[None], torch.arange(1))
    assert at.cost.item() == 0 and problem.correlation(TRUTH[None]).item() == 0


def test_retracts_about_the_centre_of_the_volume():
    problem = _problem(TERMS["local intensity"], _weight("ones"))
    tangent = torch.tensor([[0.3, -0.2, 0.1, 5.0, 6.0, -7.0]], dtype=torch.float64)
    expected = se3.perturb(TRUTH[None], tangent, torch.from_numpy(VOLUME.isocentre_world))
    assert torch.equal(problem.retract(TRUTH[None], tangent), expected)


@pytest.mark.parametrize("name", TERMS)
def test_solver_ends_in_a_minimum(name):
    """Cost at the solution against costs at poses all around it: no derivative takes part."""
    generator = np.random.default_rng(4)
    shape = SMALL_CAMERA.height, SMALL_CAMERA.width
    noise = torch.from_numpy(generator.normal(0, 0.02, shape)).float()
    problem = _problem(TERMS[name], _weight("mask"))
    problem = replace(problem, fixed=problem.fixed + noise)
    config = LMConfig(step_scale=(1 / 60,) * 3 + (1.0,) * 3, step_tolerance=1e-3, decrease_tolerance=1e-7)
    solution = levenberg_marquardt(problem, displaced(VOLUME, TRUTH, 3, seed=2)[None], config)
    directions = generator.normal(size=(40, 6))
    directions /= np.linalg.norm(directions, axis=1, keepdims=True)
    for length_mm in (0.05, 0.3, 1.5):
        tangents = torch.from_numpy(length_mm * directions / ([60] * 3 + [1] * 3))
        poses = se3.perturb(solution.x, tangents, problem.projector.isocentre_world)
        costs = problem.linearize(poses, torch.arange(len(poses))).cost
        assert solution.cost.item() <= costs.min().item()


@pytest.mark.parametrize("window_px", [-1, 1, 2, 8])
def test_window_without_a_middle_or_a_neighbour_is_refused(window_px):
    with pytest.raises(UsageError, match="window_px"):
        SimilarityTerm(window_px=window_px)


@pytest.mark.parametrize("share", [0.0, -1.0, float("nan")])
def test_share_must_be_positive(share):
    with pytest.raises(UsageError, match="share"):
        SimilarityTerm(share=share)


@pytest.mark.parametrize("settings", [{"terms": ()}, {"floor": 0.0}, {"robust_scale": -1.0}])
def test_settings_without_meaning_are_refused(settings):
    with pytest.raises(UsageError):
        SimilarityConfig(**settings)
