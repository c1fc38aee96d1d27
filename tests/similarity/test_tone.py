"""Tone curves against numerical integration, and against curves that images were made with."""

from dataclasses import replace

import numpy as np
import pytest
import torch
from scipy.integrate import quad
from scipy.ndimage import gaussian_filter
from torch import Tensor

from isoclinic.registration import RegistrationConfig, SearchConfig, register
from isoclinic.rendering import Projector, RenderConfig
from isoclinic.similarity import ImageSimilarity, SimilarityConfig, SimilarityTerm, Tone, fit_tone
from isoclinic.volumes import XRay
from phantoms import CAMERA, displaced, error_mm, phantom, true_pose

KNOTS = torch.tensor([0.5, 1.0, 2.5, 3.0])
SLOPES = torch.tensor([1.5, 1.2, 0.4, 0.9])
TONE = Tone(knots=KNOTS, slopes=SLOPES)


@pytest.mark.parametrize("at", [-1.0, 0.5, 0.7, 1.0, 1.01, 2.4, 3.0, 3.001, 7.0])
def test_the_curve_is_the_integral_of_its_slope(at):
    """From the first knot on; float32 rounding of numbers up to 10."""
    value, slope = TONE(torch.tensor([at]))

    def slope_at(x: float) -> float:
        return float(np.interp(x, KNOTS, SLOPES))

    assert float(slope) == pytest.approx(slope_at(at), rel=1e-5)
    integral, _ = quad(slope_at, 0.5, at, points=[x for x in (1.0, 2.5, 3.0) if x < at] or None)
    assert float(value) == pytest.approx(integral, rel=1e-5, abs=1e-6)


def smooth_image(seed: int = 0) -> Tensor:
    """Line integrals between 0 and 5 or so."""
    noise = gaussian_filter(np.random.default_rng(seed).normal(size=(96, 110)), 4)
    return torch.from_numpy(2.5 + noise / noise.std()).float()


def scattered(image: Tensor, scatter: float = 0.1) -> Tensor:
    """What a veil of that much of the open beam makes of line integrals."""
    return -((-image).exp() + scatter).log()


@pytest.mark.parametrize("noise", [0.0, 0.05])
def test_a_veil_is_found_behind_shading_and_noise(noise):
    """Slopes 1 / (1 + s e^m), up to a factor; eight knots follow that to a few per cent, noise adds some.

    The last knot has hardly any pixels beyond it, and the least contrast.
    """
    image = smooth_image()
    v, u = torch.meshgrid(torch.linspace(-1, 1, 96), torch.linspace(-1, 1, 110), indexing="ij")
    grain = noise * torch.randn(image.shape, generator=torch.Generator().manual_seed(1))
    fixed = scattered(image) + 0.3 * u - 0.2 * v * v + grain
    tone = fit_tone(fixed, image, torch.ones_like(image))
    expected = 1 / (1 + 0.1 * tone.knots.exp())
    ratio = tone.slopes / expected
    assert (ratio / ratio.mean() - 1).abs().max() < (0.12 if noise else 0.06)
    # The veil takes two thirds of the contrast where it is dense.
    assert tone.slopes[-1] < 0.6 * tone.slopes[0]


def test_what_is_masked_and_a_tool_do_not_count():
    image = smooth_image()
    fixed, weight = scattered(image), torch.ones_like(image)
    plain = fit_tone(fixed, image, weight)
    weight[:30] = 0
    masked = fit_tone(torch.where(weight > 0, fixed, torch.full_like(fixed, 40.0)), image, weight)
    unseen = fit_tone(fixed, torch.where(weight > 0, image, image.flip(1)), weight)
    torch.testing.assert_close(masked.slopes, unseen.slopes)
    fixed[50:54] += 3
    marred = fit_tone(fixed, image, torch.ones_like(image))
    # Without pulling less, the tool's edges bend slopes by up to 0.4.
    torch.testing.assert_close(marred.slopes, plain.slopes, rtol=0.1, atol=0)


def test_no_curve_where_none_increases():
    image = smooth_image()
    everywhere = torch.ones_like(image)
    assert fit_tone(-image, image, everywhere) is None
    assert fit_tone(image, torch.ones_like(image), everywhere) is None
    assert fit_tone(image, image, torch.zeros_like(image)) is None


def test_slopes_stay_positive_where_the_xray_says_otherwise():
    """An X-ray that is darker again where it is densest."""
    image = smooth_image()
    tone = fit_tone(torch.where(image > 3, 6 - image, image), image, torch.ones_like(image))
    assert tone.slopes.min() > 0
    value, _ = tone(torch.linspace(-2, 8, 200))
    assert (value.diff() > 0).all()


VOLUME = phantom(3)
TRUTH = true_pose(VOLUME)
TERMS = (SimilarityTerm(window_px=9), SimilarityTerm(image="gradient", window_px=9))


def problem_of(fixed: Tensor, tone: Tone | None = None) -> ImageSimilarity:
    projector = Projector.of(VOLUME, CAMERA, TRUTH[None], RenderConfig(backend="cpu"))
    return ImageSimilarity(
        projector=projector,
        fixed=fixed,
        weight=torch.ones_like(fixed),
        config=SimilarityConfig(terms=TERMS),
        tone=tone,
    )


def rendered() -> Tensor:
    return problem_of(torch.zeros(CAMERA.height, CAMERA.width)).projector.image(TRUTH[None])[0].cpu()


def test_the_gradient_is_that_of_the_curved_images():
    """Central differences of the cost; steps of 0.1 mm and 1/600 rad, over which it is all but quadratic."""
    problem = problem_of(scattered(rendered()), TONE)
    pose = displaced(VOLUME, TRUTH, 4, seed=0)[None]
    steps = torch.diag(torch.tensor([1 / 600] * 3 + [0.1] * 3, dtype=torch.float64))
    ahead, behind = (
        problem.linearize(problem.retract(pose.expand(6, 4, 4), sign * steps), torch.arange(6)).cost
        for sign in (1, -1)
    )
    gradient = problem.linearize(pose, torch.arange(1)).gradient[0] * steps.diagonal()
    assert (gradient - (ahead - behind) / 2).norm() < 0.03 * gradient.norm()


def test_a_curve_is_used_where_it_is_worth_its_while():
    image = rendered()
    veiled, clear = problem_of(scattered(image, 0.3)), problem_of(image.clone())
    assert veiled.toned(image, 0.005).tone is not None
    assert clear.toned(image, 0.005) is clear
    assert clear.toned(-image, -1.0) is clear, "no curve increases"
    assert clear.toned(0 * image, -1.0) is clear, "nothing to fit a curve to"
    again = veiled.toned(image, 0.005)
    assert float(again.correlation(TRUTH[None])) > float(veiled.correlation(TRUTH[None])) + 0.005
    assert veiled.toned(image, 2.0) is veiled


@pytest.mark.slow
def test_a_veil_no_longer_passes_for_depth():
    """A body in full view, behind a veil of 0.3: without the curve it seems larger, and so nearer."""
    pixels = scattered(rendered(), 0.3).numpy()
    xray = XRay(pixels=pixels, camera=CAMERA, polarity="dark_air", pixel_scale="log")
    default = RegistrationConfig(searches=(SearchConfig(candidates=0),))
    errors = []
    for gain in (None, 0.0):
        result = register(VOLUME, xray, TRUTH, replace(default, least_tone_gain=gain))
        assert result.trace[-1].name.endswith("tone curve") == (gain is not None)
        errors.append(error_mm(VOLUME, result.camera_from_world, TRUTH))
    assert errors[1] < 0.6 * errors[0], errors
