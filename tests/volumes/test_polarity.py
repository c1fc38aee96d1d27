"""Polarity guessed from an image alone: phantoms with one sign or both, and real fluoroscopy."""

import numpy as np
import pytest
from scipy.ndimage import gaussian_filter
from skimage.io import imread

from isoclinic.volumes.polarity import polarity_from_statistics

OTHER = {"bright_air": "dark_air", "dark_air": "bright_air"}


def inside_the_body(seed: int) -> np.ndarray:
    """Intensity without air beside the patient: soft blobs, and thin dense rims of bones at random."""
    rng = np.random.default_rng(seed)
    rows, columns = np.mgrid[:160, :160]
    attenuation = 40 * gaussian_filter(rng.normal(size=(160, 160)), 20)
    for _ in range(12):
        row, column, radius = *rng.uniform(0, 160, 2), rng.uniform(15, 40)
        attenuation += 0.4 * np.exp(-(((np.hypot(rows - row, columns - column) - radius) / 1.5) ** 2))
    return np.exp(-attenuation).astype(np.float32)


@pytest.mark.parametrize("seed", range(4))
@pytest.mark.parametrize("tone", [lambda i: i, np.log, np.sqrt])
def test_thin_lines_are_dense(seed, tone):
    image = tone(inside_the_body(seed))
    assert polarity_from_statistics(image).polarity == "bright_air"
    assert polarity_from_statistics(-image).polarity == "dark_air"


def test_signs_that_agree():
    """A body in air has its rim brighter; with rims of bones in it both signs say so."""
    across = np.linspace(-1, 1, 160)
    body = np.exp(-3 * np.sqrt(np.maximum(0, 1 - (across / 0.85) ** 2)))
    guess = polarity_from_statistics((body * inside_the_body(0)).astype(np.float32))
    assert guess.polarity == "bright_air" and guess.agreed


@pytest.mark.parametrize(
    ("name", "polarity"), [("pelvis_fluoro_raw.png", "bright_air"), ("pelvis_fluoro_log.png", "dark_air")]
)
def test_real_image_filled_by_the_patient(shared_data, name, polarity):
    """The middle of a pelvis is thin, so that brightness misleads, and the signs disagree."""
    image = imread(shared_data / "real_look" / name).astype(np.float32)
    for pixels, expected in ((image, polarity), (255 - image, OTHER[polarity])):
        guess = polarity_from_statistics(pixels)
        assert guess.polarity == expected and not guess.agreed
