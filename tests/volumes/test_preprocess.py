"""Line integrals from every kind of X-ray."""

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from isoclinic.errors import UsageError
from isoclinic.geometry.camera import Camera
from isoclinic.volumes.config import MaskConfig, PreprocessConfig, XRayOptions
from isoclinic.volumes.preprocess import line_integrals
from isoclinic.volumes.xray import XRay
from raising import raises

NO_MASKS = MaskConfig(find_collimation=False, find_saturation=False, find_metal=False)
MAX_AS_OPEN_BEAM = {"open_beam_percentile": 100.0, "masks": NO_MASKS}


def attenuation(size: int = 64) -> np.ndarray:
    """Line integrals of a ball in air [nats], 0 to 4."""
    axis = np.linspace(-1.2, 1.2, size)
    return 4 * np.sqrt(np.maximum(0, 1 - axis[:, None] ** 2 - axis[None] ** 2))


def xray(pixels: np.ndarray, polarity: str = "bright_air", pixel_scale: str = "linear") -> XRay:
    height, width = pixels.shape
    camera = Camera(width=width, height=height, fx=900, fy=900, cx=0, cy=0, sdd_mm=1000)
    return XRay(pixels=pixels, camera=camera, polarity=polarity, pixel_scale=pixel_scale)  # type: ignore[arg-type]


@pytest.mark.parametrize("gain", [1.0, 30000.0])
def test_beer_lambert(gain: float) -> None:
    """-log(I / I0) undoes I = I0 exp(-A); float32 intensities leave 1e-6 of 4 nats."""
    image, weight = line_integrals(xray(gain * np.exp(-attenuation())), PreprocessConfig(**MAX_AS_OPEN_BEAM))
    np.testing.assert_allclose(image, attenuation(), atol=1e-5)
    assert image.dtype == weight.dtype == np.float32
    assert np.all(weight == 1)


def test_floor() -> None:
    config = PreprocessConfig(floor=0.1, **MAX_AS_OPEN_BEAM)
    image, _ = line_integrals(xray(np.exp(-attenuation())), config)
    np.testing.assert_allclose(image, np.minimum(attenuation(), -np.log(0.1)), atol=1e-5)


def test_log_ratio() -> None:
    """Eq. (17) as written, in float64: 1 - log(1 + I) / log(1 + I0) with I divided by its maximum, I0 = 1."""
    intensity = np.exp(-attenuation())
    config = PreprocessConfig(method="log_ratio", **MAX_AS_OPEN_BEAM)
    image, _ = line_integrals(xray(5000 * intensity), config)
    np.testing.assert_allclose(image, 1 - np.log(1 + intensity) / np.log(2), atol=1e-6)
    assert image.min() == pytest.approx(0, abs=1e-6)


@pytest.mark.parametrize("method", ["beer_lambert", "log_ratio"])
@pytest.mark.parametrize("pixel_scale", ["linear", "log"])
@pytest.mark.parametrize("polarity", ["bright_air", "dark_air"])
def test_attenuation_is_bright_whatever_the_image(method: str, pixel_scale: str, polarity: str) -> None:
    signal = np.exp(-attenuation()) if pixel_scale == "linear" else -attenuation()
    pixels = 100 + 50 * (signal if polarity == "bright_air" else -signal)
    image, _ = line_integrals(
        xray(pixels, polarity, pixel_scale),
        PreprocessConfig(method=method, **MAX_AS_OPEN_BEAM),  # type: ignore[arg-type]
    )
    assert image.min() >= -1e-5
    deep, shallow = attenuation() > 2, attenuation() < 1
    assert image[deep].min() > image[shallow].max()
    if pixel_scale == "log":
        np.testing.assert_allclose(image, 50 * attenuation(), atol=1e-4)


def test_inverted_intensity_is_exact_where_it_reaches_zero() -> None:
    intensity = np.exp(-attenuation())
    intensity -= intensity.min()
    floor = PreprocessConfig().floor
    image, _ = line_integrals(xray(4095 * (1 - intensity), "dark_air"), PreprocessConfig(**MAX_AS_OPEN_BEAM))
    expected = -np.log(np.maximum(intensity / intensity.max(), floor))
    np.testing.assert_allclose(image, expected, atol=1e-3)  # 4095 - pixel leaves 2e-4 / 4 at the floor


def test_offset_below_zero_is_removed() -> None:
    intensity = np.exp(-attenuation())
    intensity -= intensity.min()
    config = PreprocessConfig(**MAX_AS_OPEN_BEAM)
    shifted, _ = line_integrals(xray(1000 * intensity - 200), config)
    straight, _ = line_integrals(xray(1000 * intensity), config)
    np.testing.assert_allclose(shifted, straight, atol=1e-3)


class TestExcluded:
    """A tool that is painted in and excluded leaves the image beside it, and its masks, as they were."""

    TOOL = np.hypot(*(np.indices((128, 128)) - np.array([40, 70])[:, None, None])) < 18

    @staticmethod
    def signal(pixel_scale: str, polarity: str) -> np.ndarray:
        line_integral = attenuation(128) + 0.1
        signal = np.exp(-line_integral) if pixel_scale == "linear" else -line_integral
        return 1000 + 500 * (signal if polarity == "bright_air" else -signal)

    @pytest.mark.parametrize("method", ["beer_lambert", "log_ratio"])
    @pytest.mark.parametrize("pixel_scale", ["linear", "log"])
    @pytest.mark.parametrize("polarity", ["bright_air", "dark_air"])
    @pytest.mark.parametrize("value", [-3e4, 0.0, 2000.0, 3e4])
    def test_beside_the_tool(self, method: str, pixel_scale: str, polarity: str, value: float) -> None:
        pixels = self.signal(pixel_scale, polarity)
        config = PreprocessConfig(method=method, open_beam_percentile=99.0)  # type: ignore[arg-type]
        clean, seen = line_integrals(xray(pixels, polarity, pixel_scale), config)
        painted = xray(np.where(self.TOOL, value, pixels), polarity, pixel_scale)
        image, weight = line_integrals(replace(painted, excluded=self.TOOL), config)
        assert np.isfinite(image).all()
        # The 99th percentile of fewer pixels, all of open air, is the same but for rounding.
        np.testing.assert_allclose(image[~self.TOOL], clean[~self.TOOL], atol=1e-3)
        assert image[self.TOOL].min() >= image[~self.TOOL].min()
        assert image[self.TOOL].max() <= image[~self.TOOL].max()
        assert not weight[self.TOOL].any()
        np.testing.assert_array_equal(weight[~self.TOOL], seen[~self.TOOL])

    def test_the_tool_matters_where_it_is_not_excluded(self) -> None:
        """What the tests above would miss: a bright tool sets the open beam."""
        pixels = self.signal("linear", "bright_air")
        clean, _ = line_integrals(xray(pixels))
        image, _ = line_integrals(xray(np.where(self.TOOL, 3e4, pixels)))
        assert np.median(image - clean) > 1

    @pytest.mark.slow
    def test_masks_of_simulated_xrays(self, shared_data: Path) -> None:
        """Collimation, saturation and metal elsewhere are found as without the tool, to the outline's pixel.

        Bars and discs, bright in one image and dark in the next; half a percent of the pixels may differ,
        where an outline meets the tool.
        """
        rows, columns = np.indices((256, 256))
        bar = (np.abs(rows + columns - 240) < 18) & (np.abs(rows - columns) < 110)
        tool = bar | (np.hypot(rows - 160, columns - 175) < 25)
        for number, path in enumerate(sorted((shared_data / "xrays").glob("*/0[0-3]/xray.dcm"))):
            loaded = XRay.read(path)
            _, seen = line_integrals(loaded)
            value = 3 * loaded.pixels.max() if number % 2 else loaded.pixels.min()
            painted = replace(loaded, pixels=np.where(tool, value, loaded.pixels), excluded=tool)
            _, weight = line_integrals(painted)
            assert not weight[tool].any()
            lost = weight[~tool] < seen[~tool] - 0.5
            assert lost.mean() < 0.005


def test_hot_pixels_do_not_set_the_open_beam() -> None:
    pixels = 1000 * np.exp(-attenuation(128))
    pixels[3, 5] = 60000
    image, _ = line_integrals(xray(pixels), PreprocessConfig(masks=NO_MASKS))
    expected = attenuation(128)
    expected[3, 5] = -np.log(60)
    np.testing.assert_allclose(image, expected, atol=1e-5)


def test_more_dark_than_the_percentile_leaves_out() -> None:
    pixels = np.zeros((64, 64))
    pixels[30, 30] = 5.0
    image, _ = line_integrals(xray(pixels), PreprocessConfig(masks=NO_MASKS))
    assert np.isfinite(image).all()
    assert image[30, 30] == 0


@pytest.mark.parametrize("value", [0.0, 1.0, -1.0, float("nan")])
def test_impossible_floor(value: float) -> None:
    with raises(UsageError, "preprocess.invalid-value", "floor"):
        PreprocessConfig(floor=value)


@pytest.mark.parametrize("value", [0.0, 100.1, float("nan")])
def test_impossible_percentile(value: float) -> None:
    with raises(UsageError, "preprocess.invalid-value", "open_beam_percentile"):
        PreprocessConfig(open_beam_percentile=value)


def test_real_fluoroscopy_and_its_log_agree(shared_data: Path) -> None:
    """One real image, raw and log-converted by others: after preprocessing both rise and fall together.

    The two printed pictures differ by a pixel in size and by an unknown display curve, which a rank
    correlation ignores; unrelated or inverted pictures are at 0 or below.
    """
    images = []
    for name, polarity, scale in (("raw", "bright_air", "linear"), ("log", "dark_air", "log")):
        options = XRayOptions(
            sdd_mm=1020,
            pixel_spacing_mm=(0.8, 0.8),
            polarity=polarity,  # type: ignore[arg-type]
            pixel_scale=scale,  # type: ignore[arg-type]
        )
        loaded = XRay.read(shared_data / "real_look" / f"pelvis_fluoro_{name}.png", options)
        image, weight = line_integrals(loaded.resize(height=128, width=128))
        assert weight.mean() > 0.9
        images.append(image[10:-10, 10:-10].ravel().argsort().argsort())
    assert np.corrcoef(*images)[0, 1] > 0.7
