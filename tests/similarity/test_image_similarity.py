"""Image similarity: cost, gradient and Hessian against float64 numpy that shares no code with them."""

import math
from dataclasses import replace
from functools import lru_cache

import numpy as np
import pytest
import torch
from numpy.typing import NDArray
from scipy.ndimage import uniform_filter
from torch import Tensor

from isoclinic.errors import UsageError
from isoclinic.geometry import se3
from isoclinic.rendering import Projector, RenderConfig
from isoclinic.similarity import ImageSimilarity, SimilarityConfig, SimilarityTerm
from isoclinic.solver import LMConfig, levenberg_marquardt
from phantoms import CAMERA, displaced, phantom, true_pose
from raising import raises

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


def _exact() -> Tensor:
    """What the truth shows."""
    return _projector().image(TRUTH[None])[0]


# Where derivatives are compared, and the steps of central differences: 60 mm to a radian. Joseph's
# interpolation has kinks at voxel borders, of which so small a step meets hardly any.
AWAY = displaced(VOLUME, TRUTH, 6, seed=3)
STEPS = torch.diag(torch.tensor([1e-4 / 60] * 3 + [1e-4] * 3, dtype=torch.float64))


@lru_cache
def _reference_images() -> Array:
    """The renderer's float64 reference at AWAY and ahead of and behind it along six axes [13, H, W]."""
    tangents = torch.cat([torch.zeros(1, 6), STEPS, -STEPS])
    poses = se3.perturb(AWAY, tangents, torch.from_numpy(VOLUME.isocentre_world))
    return _projector("reference").image(poses).numpy()


class _Oracle:
    """The definition in float64 numpy."""

    def __init__(self, problem: ImageSimilarity) -> None:
        self.problem = problem
        self.fixed = problem.fixed.numpy().astype(np.float64)
        self.weight = problem.weight.numpy().astype(np.float64)

    def images(self, moving: Array) -> list[tuple[Array, Array, Array]]:
        """Of every term: standardised DRR and X-ray and the weight of their pixels (sum 1), each [N]."""
        mean = np.average(self.fixed, weights=self.weight)
        contrast = np.sqrt(np.average((self.fixed - mean) ** 2, weights=self.weight))
        terms = []
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
            terms.append((a.ravel(), b.ravel(), w.ravel() / w.sum()))
        return terms

    def residual(self, moving: Array) -> tuple[Array, Array]:
        """Residuals and their weights, of all terms one after another."""
        terms, shares = self.images(moving), [term.share for term in self.problem.config.terms]
        weight = [share * w for share, (_, _, w) in zip(shares, terms, strict=True)]
        return np.concatenate([a - b for a, b, _ in terms]), np.concatenate(weight)

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


def _compared(image: Array, term: SimilarityTerm) -> list[Array]:
    if term.image == "intensity":
        return [image]
    along_v, along_u = np.gradient(image)
    return [along_u[1:-1, 1:-1], along_v[1:-1, 1:-1]]


@pytest.mark.parametrize("kind", ["ones", "mask"])
@pytest.mark.parametrize("name", TERMS)
def test_linearization_is_that_of_the_definition(name, kind):
    c = 0.8
    problem = _problem(TERMS[name], _weight(kind), robust_scale=c)
    at = problem.linearize(AWAY[None], torch.arange(1))
    residuals = np.stack([_Oracle(problem).residual(image)[0] for image in _reference_images()])
    _, weight = _Oracle(problem).residual(_reference_images()[0])
    costs = (c**2 * (np.sqrt(1 + (residuals / c) ** 2) - 1)) @ weight
    # float32 rendering and standardisation: 1e-6 a pixel, times 1 / floor = 20 where windows are flat.
    assert at.cost.item() == pytest.approx(costs[0], rel=1e-4)

    steps = STEPS.diagonal().numpy()
    scaled = torch.from_numpy((costs[1:7] - costs[7:]) / 2)
    assert (at.gradient[0] * steps - scaled).norm() < 2e-3 * scaled.norm()

    jacobian = (residuals[1:7] - residuals[7:]).T / (2 * steps)
    weight = weight / np.sqrt(1 + (residuals[0] / c) ** 2)
    hessian = torch.from_numpy(jacobian.T @ (weight[:, None] * jacobian))
    size = hessian.diagonal().sqrt()
    # Relative to the product of its diagonal entries: correlations of columns.
    assert ((at.hessian[0] - hessian) / size[:, None] / size).abs().max() < 2e-3


@pytest.mark.parametrize("kind", ["ones", "mask"])
@pytest.mark.parametrize("name", TERMS)
def test_correlation_is_that_of_the_standardised_images(name, kind):
    problem = _problem(TERMS[name], _weight(kind))
    terms = _Oracle(problem).images(_reference_images()[0])
    correlations = [(w * a) @ b / np.sqrt((w * a) @ a * ((w * b) @ b)) for a, b, w in terms]
    shares = [term.share for term in problem.config.terms]
    # As above: 1e-6 a pixel, times 20 where windows are flat.
    assert problem.correlation(AWAY[None]).item() == pytest.approx(
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
    problem = _problem(TERMS[name], _weight(kind), _exact(), floor=1e-3)
    at = problem.linearize(TRUTH[None], torch.arange(1))
    # The floor is relative to the contrast of the X-ray but not of the DRR: where windows are all but flat
    # the two are standardised a little differently.
    away = problem.linearize(displaced(VOLUME, TRUTH, 2, seed=0)[None], torch.arange(1))
    assert at.cost.item() < 0.02 * away.cost.item()
    assert at.gradient.norm() < 0.05 * away.gradient.norm()
    assert problem.correlation(TRUTH[None]).item() > 0.98


@pytest.mark.parametrize("name", TERMS)
def test_correlation_ranks_poses_by_distance(name):
    problem = _problem(TERMS[name], _weight("mask"), _exact())
    isocentre = torch.from_numpy(VOLUME.isocentre_world)
    tangent = torch.tensor([0.02, -0.01, 0.02, 1.0, -1.0, 2.0], dtype=torch.float64)
    poses = torch.stack([se3.perturb(TRUTH, k * tangent, isocentre) for k in range(4)])
    correlation = problem.correlation(poses)
    assert (correlation.diff() < 0).all()
    assert correlation.max() <= 1 + 1e-6  # float32


@pytest.mark.parametrize(("gain", "offset"), [(0.01, 0.0), (350.0, -40.0), (1.0, 12.0)])
@pytest.mark.parametrize("name", TERMS)
def test_invariant_to_affine_tone_of_the_xray(name, gain, offset):
    weight = _weight("mask")
    problem = _problem(TERMS[name], weight)
    changed = _problem(TERMS[name], weight, gain * problem.fixed + offset)
    x = AWAY[None]
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
    poses = torch.stack([TRUTH, AWAY])
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
    noise = torch.from_numpy(generator.normal(0, 0.05, shape)).float()
    problem = _problem(TERMS[name], _weight("mask"), _exact() + noise)
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
    with raises(UsageError, "similarity.invalid-value", "window_px"):
        SimilarityTerm(window_px=window_px)


@pytest.mark.parametrize("share", [0.0, -1.0, float("nan")])
def test_share_must_be_positive(share):
    with raises(UsageError, "similarity.invalid-value", "share"):
        SimilarityTerm(share=share)


@pytest.mark.parametrize("settings", [{"terms": ()}, {"floor": 0.0}, {"robust_scale": -1.0}])
def test_settings_without_meaning_are_refused(settings):
    with raises(UsageError, "similarity.invalid-value"):
        SimilarityConfig(**settings)


@pytest.mark.parametrize("terms", TERMS.values(), ids=TERMS)
@pytest.mark.parametrize("weighting", ["ones", "masked"])
def test_tile_gradients_add_up_to_the_gradient_of_their_own_pixels(terms, weighting):
    weight = _weight(weighting)
    problem = _problem(terms, weight)
    poses = torch.stack([AWAY, TRUTH])
    whole = problem.linearize(poses, torch.arange(2)).gradient
    tiles = problem.scatter(poses, 8).gradients
    assert tiles.shape == (2, 4 * 4, 6)  # 32 x 30 pixels: the last column of tiles is narrower
    # `linearize` sums a thousand products in float32: √1000 roundings of 6e-8 make 2e-6, times a few.
    scale = problem.scatter(poses, 1).gradients.abs().sum(1)
    assert ((tiles.sum(1) - whole).abs() <= 1e-5 * scale).all()


def test_a_tile_without_weight_contributes_nothing():
    weight = torch.ones(SMALL_CAMERA.height, SMALL_CAMERA.width)
    weight[:17, :17] = 0
    tiles = _problem(TERMS["several"], weight).scatter(AWAY[None], 8).gradients[0].reshape(4, 4, 6)
    assert (tiles[:2, :2] == 0).all()
    assert (tiles[2:, 2:] != 0).all()


@pytest.mark.parametrize("tile_px", [8, 11, 100])
@pytest.mark.parametrize("name", TERMS)
def test_curvature_is_that_of_gauss_and_newton_by_what_is_shown_of_each_tile(name, tile_px):
    """Tile by tile, from the definition's images and their central differences."""
    problem = _problem(TERMS[name], _weight("mask"))
    steps, weight_of = STEPS.diagonal().numpy(), {"intensity": problem.weight.shape}
    weight_of["gradient"] = tuple(side - 2 for side in weight_of["intensity"])
    images = [_Oracle(problem).images(image) for image in _reference_images()]
    expected = np.zeros((6, 6))
    for index, term in enumerate(problem.config.terms):
        moving, fixed, weight = images[0][index]
        jacobian = np.stack([images[k][index][0] - images[k + 6][index][0] for k in range(1, 7)]) / (
            2 * steps[:, None]
        )
        height, width = weight_of[term.image]
        pixel = np.arange(moving.size)
        feature, v, u = pixel // (height * width), pixel // width % height, pixel % width
        tiles = (feature * 1000 + v // tile_px) * 1000 + u // tile_px
        curvature = weight / np.sqrt(1 + ((moving - fixed) / problem.config.robust_scale) ** 2)
        for tile in np.unique(tiles):
            m, f, w, j = (each[..., tiles == tile] for each in (moving, fixed, weight, jacobian))
            shown = np.clip((w * m) @ f / max((w * m) @ m, 1e-12), 0.05, 1)
            expected += term.share * shown * (j * curvature[tiles == tile]) @ j.T
    size = np.sqrt(np.diag(expected))
    scatter = problem.scatter(AWAY[None], tile_px)
    assert scatter.curvature.dtype == torch.float64
    # As for the Hessian above.
    assert (np.abs(scatter.curvature[0].numpy() - expected) / size[:, None] / size).max() < 5e-3


@pytest.mark.parametrize("noise", [0.5, 1.0, 2.0])
def test_noise_flattens_the_cost_as_the_curvature_says(noise):
    """By the correlation, in second differences of 1 - NCC; Gauss and Newton's Hessian does not notice.

    Relative to an X-ray without noise, so that what a step of 1 mm or 1/60 rad adds cancels; noises come with
    both signs, so that what is linear in them cancels, too, and leaves a few per cent.
    """
    image = _exact()
    steps = 1e4 * STEPS
    isocentre = torch.from_numpy(VOLUME.isocentre_world)
    poses = se3.perturb(TRUTH, torch.cat([torch.zeros(1, 6), steps, -steps]), isocentre)

    def curvatures(level: float, seeds: int) -> Tensor:
        """In second differences, in the scatter, and of Gauss and Newton: [3, 6]."""
        each = []
        for index in range(2 * seeds):
            generator, sign = torch.Generator().manual_seed(index // 2), (-1) ** index
            fixed = image + sign * level * image.std() * torch.randn(image.shape, generator=generator)
            terms = (SimilarityTerm(window_px=0),)
            problem = _problem(terms, _weight("ones"), fixed, floor=1e-4, robust_scale=1e3)
            cost = problem.linearize(poses, torch.arange(13)).cost
            hessian = problem.linearize(TRUTH[None], torch.arange(1)).hessian[0]
            scatter = problem.scatter(TRUTH[None], 100).curvature[0]
            each.append(
                torch.stack([cost[1:7] - 2 * cost[0] + cost[7:], scatter.diagonal(), hessian.diagonal()])
            )
        return torch.stack(each).mean(0)

    true, found, plain = curvatures(noise, 10) / curvatures(0, 1)
    correlation = torch.full((6,), 1 / math.sqrt(1 + noise**2), dtype=torch.float64)
    torch.testing.assert_close(true, correlation, rtol=0.1, atol=0)
    torch.testing.assert_close(found, correlation, rtol=0.05, atol=0)
    torch.testing.assert_close(plain, torch.ones_like(plain), rtol=1e-3, atol=0)


def test_background_is_part_of_the_picture():
    """Either half of the CT before the other as background, against the whole CT: derivatives add up."""
    upper, lower = VOLUME.hu.copy(), VOLUME.hu.copy()
    upper[..., :12], lower[..., 12:] = -1000, -1000
    config = RenderConfig(voxel_mm="full", backend="cpu")
    halves = [
        Projector.of(replace(VOLUME, hu=half), SMALL_CAMERA, AWAY[None], config) for half in (upper, lower)
    ]
    images = [half.image(AWAY[None])[0] for half in halves]
    whole = _problem(TERMS["several"], _weight("fractions"))
    parts = [
        replace(whole, projector=half, background=image)
        for half, image in zip(halves, reversed(images), strict=True)
    ]
    expected = whole.linearize(AWAY[None], torch.zeros(1, dtype=torch.int64))
    at = [part.linearize(AWAY[None], torch.zeros(1, dtype=torch.int64)) for part in parts]
    # Voxels are stored in 16 bits of each volume's densest one.
    for part, linearized in zip(parts, at, strict=True):
        assert part.correlation(AWAY[None]).item() == pytest.approx(
            whole.correlation(AWAY[None]).item(), abs=1e-4
        )
        assert linearized.cost.item() == pytest.approx(expected.cost.item(), rel=1e-4)
        assert not torch.allclose(linearized.gradient, expected.gradient, rtol=0.1)
    total = at[0].gradient + at[1].gradient
    assert total[0].numpy() == pytest.approx(
        expected.gradient[0].numpy(), abs=1e-3 * float(expected.gradient.abs().max())
    )


@pytest.mark.parametrize("name", ["local intensity", "several"])
def test_every_item_is_compared_where_it_is_known(name):
    """A mask an item is the same as a problem of its own whose weight is masked."""
    terms = TERMS[name]
    problem = _problem(terms, _weight("mask"))
    rng = np.random.default_rng(4)
    poses = torch.stack([displaced(VOLUME, TRUTH, mm, seed=mm) for mm in (3, 5, 8)])
    known = torch.ones(3, *problem.fixed.shape)
    for mask in known:
        row, column = rng.integers(5, 20, size=2)
        mask[row:, :column] = 0
    masked = replace(problem, known=known)
    items = torch.tensor([2, 0])
    both = masked.linearize(poses[items], items)
    for row, item in enumerate(items.tolist()):
        alone = replace(problem, weight=problem.weight * known[item])
        # The contrast is that of the whole image, which masks must not change from item to item.
        own = replace(masked, known=known[item : item + 1])
        single = own.linearize(poses[item : item + 1], torch.zeros(1, dtype=torch.int64))
        assert torch.allclose(both.cost[row], single.cost[0], rtol=1e-5)
        assert torch.allclose(both.gradient[row], single.gradient[0], rtol=1e-3, atol=1e-9)
        ratio = masked.correlation(poses)[item] / alone.correlation(poses[item : item + 1])[0]
        assert abs(float(ratio) - 1) < 0.02
    assert torch.allclose(masked.known_share[0], (problem.weight * known[0]).sum() / problem.weight.sum())
