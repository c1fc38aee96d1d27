"""The X-ray as other cameras at its source see it, against renderings in those cameras."""

import math
from dataclasses import replace

import numpy as np
import pytest
import torch
from torch import Tensor
from torch.nn.functional import avg_pool2d

from isoclinic.geometry import Camera
from isoclinic.registration._fixed import FixedImage, _noise
from isoclinic.rendering import RenderConfig, render
from isoclinic.volumes import PreprocessConfig, XRay
from phantoms import CAMERA, phantom, true_pose

VOLUME = phantom(0)
# 256 x 256 px of 1.25 mm.
XRAY_CAMERA = CAMERA.resize(height=256, width=256)


def _rendered(camera: Camera) -> Tensor:
    config = RenderConfig(method="trilinear", voxel_mm="full", backend="cpu")
    return render(VOLUME, camera, true_pose(VOLUME), config)[0]


def _xray(weight: Tensor | None = None) -> FixedImage:
    image = _rendered(XRAY_CAMERA)
    return FixedImage(
        image=image, weight=torch.ones_like(image) if weight is None else weight, camera=XRAY_CAMERA
    )


COARSER = XRAY_CAMERA.resize(height=64, width=64)
CAMERAS = {
    "coarser": COARSER,
    "no whole factor": XRAY_CAMERA.resize(height=60, width=44),
    "finer": replace(XRAY_CAMERA.crop(top=100, left=90, height=80, width=70), fx=1.3 * XRAY_CAMERA.fx),
    "longer focal length": replace(COARSER, fx=1.4 * COARSER.fx, fy=1.3 * COARSER.fy, sdd_mm=1200.0),
    "shifted": COARSER.crop(top=10, left=-5, height=50, width=40),
    "wider": replace(COARSER, fx=0.7 * COARSER.fx, fy=0.6 * COARSER.fy),
    "mirrored": COARSER.flip(left_right=True),
    "upside down, shifted": COARSER.crop(top=5, left=8, height=56, width=48).flip(top_bottom=True),
}


@pytest.mark.parametrize("name", CAMERAS)
def test_is_what_the_other_camera_would_show(name):
    """Pixels are averages over their area: of a rendering four times as fine."""
    camera = CAMERAS[name]
    found = _xray().through(camera)
    fine = _rendered(camera.resize(height=4 * camera.height, width=4 * camera.width))
    expected = avg_pool2d(fine[None], 4)[0]
    assert found.camera == camera and found.image.dtype == found.weight.dtype == torch.float32
    rays = camera.rays()[..., :2] / camera.sdd_mm
    focal = torch.tensor([XRAY_CAMERA.fx, XRAY_CAMERA.fy])
    on_xray = rays * focal + torch.tensor([XRAY_CAMERA.cx, XRAY_CAMERA.cy])
    reaches = ((on_xray > -0.5) & (on_xray < 255.5)).all(-1)
    shown = found.weight > 0.99
    # A pixel that the X-ray's edge cuts counts as hidden.
    assert not (shown & ~reaches).any() and (reaches & ~shown).sum() <= 2 * sum(reaches.shape)
    # Interpolation between pixels leaves 0.0008 and 0.008; a shift by a tenth of a pixel 0.0025 and more.
    error = (found.image - expected)[shown].abs()
    assert error.mean() < 0.0015 and error.max() < 0.02
    assert expected[shown].std() > 0.5


@pytest.mark.parametrize("factor", [1, 2, 4])
def test_whole_factors_are_plain_averages(factor):
    weight = torch.ones(256, 256)
    weight[:70, 90:] = 0
    weight[:, :33] = 0.5
    fixed = _xray(weight)
    found, expected = fixed.through(XRAY_CAMERA.bin(factor)), fixed.at(256 // factor)
    torch.testing.assert_close(found.weight, expected.weight, rtol=0, atol=1e-5)
    seen = expected.weight > 0
    torch.testing.assert_close(found.image[seen], expected.image[seen], rtol=0, atol=1e-5)


def test_what_is_masked_stays_masked_and_does_not_bleed():
    """Wherever the other camera's pixels touch masked ones they are masked, too."""
    weight = torch.ones(256, 256)
    weight[100:180, 60:150] = 0
    spoiled = _xray(weight)
    spoiled.image[100:180, 60:150] = 1e3
    camera = CAMERAS["no whole factor"]
    found, clean = spoiled.through(camera), _xray(weight).through(camera)
    torch.testing.assert_close(found.weight, clean.weight, rtol=0, atol=0)
    seen = found.weight > 0
    torch.testing.assert_close(found.image[seen], clean.image[seen], rtol=0, atol=1e-4)
    share = 1 - (80 * 90) / 256**2
    border = 2 * (80 + 90) / 256**2 * (256 / 44)
    assert share - border < seen.float().mean() < share


def test_a_camera_that_looks_elsewhere_sees_nothing():
    away = replace(COARSER, cx=COARSER.cx + 500)
    assert not _xray().through(away).weight.any()


def _counted(photons: float, seed: int = 0) -> XRay:
    """An X-ray whose pixels count quanta by Poisson's law."""
    expected = photons * np.exp(-_rendered(XRAY_CAMERA).double().numpy())
    counts = np.random.default_rng(seed).poisson(expected)
    return XRay(pixels=counts.astype(np.float32), camera=XRAY_CAMERA, polarity="bright_air")


def test_pixels_of_few_quanta_are_averaged_before_their_logarithm():
    """As if the detector had pixels twice as large, with its camera; the logarithm's bias is mostly gone."""
    few, config = _counted(60), PreprocessConfig()
    fixed = FixedImage.of(few, config)
    as_if = FixedImage.of(few.bin(2), replace(config, noise=math.inf))
    assert fixed.camera == as_if.camera == XRAY_CAMERA.bin(2)
    torch.testing.assert_close(fixed.image, as_if.image, rtol=0, atol=0)
    torch.testing.assert_close(fixed.weight, as_if.weight, rtol=0, atol=0)
    late = FixedImage.of(few, replace(config, noise=math.inf)).averaged(2)
    truth = avg_pool2d(_rendered(XRAY_CAMERA)[None], 2)[0]
    seen = (fixed.weight > 0) & (late.weight > 0) & (truth > 1)
    off = [(image - truth)[seen] for image in (fixed.image, late.image)]
    # The open beam is a percentile of noise: a constant, which registration does not see.
    early_off, late_off = ((each - each.mean()).square().mean().sqrt() for each in off)
    assert seen.sum() > 1000 and early_off < 0.8 * late_off


def test_pixels_of_many_quanta_stay_as_they_are():
    many = _counted(1e5)
    fixed = FixedImage.of(many, PreprocessConfig())
    assert fixed.camera == XRAY_CAMERA
    never = FixedImage.of(_counted(60), PreprocessConfig(noise=math.inf))
    assert never.camera == XRAY_CAMERA
    small = replace(
        many,
        pixels=_counted(60).pixels[:200, :200],
        camera=XRAY_CAMERA.crop(top=0, left=0, height=200, width=200),
    )
    assert FixedImage.of(small, PreprocessConfig()).camera == small.camera


def test_noise_is_measured_beside_anatomy_and_edges():
    """White noise on a rendering, with a bar of metal: its deviation over the span, to a few per cent."""
    generator = np.random.default_rng(0)
    clean = _rendered(XRAY_CAMERA).numpy()
    noisy = clean + generator.normal(0, 0.2, clean.shape).astype(np.float32)
    noisy[100:110, 20:200] = 30
    weight = np.ones_like(noisy)
    span = float(np.subtract(*np.percentile(noisy, (95, 5))))
    assert _noise(noisy, weight) == pytest.approx(0.2 / span, rel=0.08)
    assert _noise(clean, weight) < 0.005
    # Of larger images not all pixels are looked at.
    larger, weight_there = noisy.repeat(3, axis=0).repeat(3, axis=1), np.ones((768, 768))
    larger = larger + generator.normal(0, 0.5, larger.shape).astype(np.float32)
    span = float(np.subtract(*np.percentile(larger, (95, 5))))
    # The noise that pixels share, three by three, does not differ within the squares that are looked at.
    assert _noise(larger, weight_there) == pytest.approx(0.5 / span, rel=0.03)
    assert _noise(noisy, np.eye(256, dtype=np.float32) * 0) == 0
