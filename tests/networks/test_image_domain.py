"""Equation (17) of the paper: against the preprocessing of X-rays, and its derivative against differences."""

import numpy as np
import pytest
import torch

from isoclinic import XRay
from isoclinic.networks import in_domain, jacobian_in_domain
from isoclinic.volumes import PreprocessConfig, line_integrals
from phantoms import CAMERA


def _images() -> tuple[torch.Tensor, torch.Tensor]:
    """Line integrals of two images, and weights that hide the least one of the second."""
    generator = torch.Generator().manual_seed(0)
    image = 4 * torch.rand(2, 6, 7, generator=generator, dtype=torch.float64)
    weight = torch.ones_like(image)
    weight[1].view(-1)[image[1].argmin()] = 0
    return image, weight


def test_the_log_ratio_is_the_formula_with_the_maximum_for_the_open_beam():
    image, weight = _images()
    for found, integrals, seen in zip(in_domain(image, weight, "log_ratio"), image, weight, strict=True):
        intensity = np.exp(-integrals.numpy())
        intensity /= intensity[seen.numpy() > 0].max()
        np.testing.assert_allclose(found.numpy(), 1 - np.log(1 + intensity) / np.log(1 + 1.0), rtol=1e-12)


def test_line_integrals_stay_what_they_are():
    image, weight = _images()
    assert in_domain(image, weight, "line_integrals") is image


def test_an_x_ray_comes_to_the_same_as_by_its_preprocessing():
    """Through line integrals, and directly with I0 the maximum."""
    intensities = 60000 * np.exp(-_images()[0][0].numpy()).astype(np.float32)
    camera = CAMERA.resize(height=6, width=7)
    xray = XRay(pixels=intensities, camera=camera, polarity="bright_air", pixel_scale="linear")
    direct = line_integrals(xray, PreprocessConfig(method="log_ratio", open_beam_percentile=100.0))[0]
    integrals = torch.from_numpy(line_integrals(xray, PreprocessConfig())[0])[None]
    found = in_domain(integrals, torch.ones_like(integrals), "log_ratio")[0]
    # Float32.
    np.testing.assert_allclose(found.numpy(), direct, atol=1e-6)


@pytest.mark.parametrize("domain", ["line_integrals", "log_ratio"])
def test_the_jacobian_is_that_of_finite_differences(domain):
    image, weight = _images()
    jacobian = torch.randn(2, 3, 6, 7, generator=torch.Generator().manual_seed(1), dtype=torch.float64)
    value, slopes = jacobian_in_domain(image, jacobian, weight, domain)
    torch.testing.assert_close(value, in_domain(image, weight, domain))
    for p in range(3):
        ends = [in_domain(image + sign * 1e-6 * jacobian[:, p], weight, domain) for sign in (1, -1)]
        torch.testing.assert_close(slopes[:, p], (ends[0] - ends[1]) / 2e-6, rtol=1e-6, atol=1e-8)


def test_an_image_that_shows_nothing_has_a_domain_all_the_same():
    image, weight = _images()
    assert in_domain(image, torch.zeros_like(weight), "log_ratio").isfinite().all()
