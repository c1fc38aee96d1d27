"""Pictures side by side: every panel is there, and what is masked is tinted."""

import numpy as np
import pytest
from skimage.io import imread

from isoclinic.errors import InputError
from isoclinic.geometry import Camera, PatientSides
from isoclinic.viewer import write_comparison
from raising import raises

CAMERA = Camera.from_pixel_spacing(width=40, height=30, pixel_spacing_mm=(1, 1), sdd_mm=1000)
RAMP = np.linspace(0, 1, 40 * 30, dtype=np.float32).reshape(30, 40)


def blue(picture: np.ndarray) -> np.ndarray:
    red, green, blue = picture[..., :3].astype(int).transpose(2, 0, 1)
    return (blue - red > 20) & (blue - green > 10)


def test_masked_pixels_are_blue_in_every_panel(tmp_path):
    weight = np.ones_like(RAMP)
    weight[:, :10] = 0
    path = tmp_path / "side.png"
    write_comparison(path, images={"X-ray": RAMP, "CT": 3 * RAMP}, weight=weight, camera=CAMERA)
    picture = imread(path)
    # Each panel is enlarged by the whole factor 16; a quarter of its columns is masked.
    assert blue(picture).sum() == pytest.approx(2 * 10 * 30 * 16**2, rel=0.05)
    write_comparison(path, images={"X-ray": RAMP}, weight=np.ones_like(RAMP), camera=CAMERA)
    assert not blue(imread(path)).any()


def test_sizes_must_agree(tmp_path):
    with raises(InputError, "picture.wrong-shape", "CT", "(40, 30)"):
        write_comparison(tmp_path / "a.png", images={"CT": RAMP.T}, weight=RAMP, camera=CAMERA)
    assert not list(tmp_path.iterdir())


def test_folder_that_is_missing(tmp_path):
    with raises(InputError, "output.unwritable", "a.png"):
        write_comparison(tmp_path / "no" / "a.png", images={"CT": RAMP}, weight=RAMP, camera=CAMERA)


def test_sides_are_marked_in_the_pictures_named(tmp_path):
    sides = {"CT": PatientSides(left="R", right="L", top="H", bottom="F")}
    path, weight = tmp_path / "side.png", np.ones_like(RAMP)
    pictures = []
    for marked in (None, sides):
        write_comparison(path, images={"X-ray": RAMP, "CT": RAMP}, weight=weight, camera=CAMERA, sides=marked)
        pictures.append(imread(path)[..., :3].astype(int))
    changed = np.flatnonzero((pictures[0] != pictures[1]).any(axis=(0, 2)))
    assert len(changed) and changed.min() > pictures[0].shape[1] / 2, "only in the right half"
