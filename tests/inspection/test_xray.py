"""An X-ray's readings against numbers written down, and every oddity beside an X-ray that has none."""

import re

import numpy as np
import pytest

from isoclinic.inspection import inspect_xray
from isoclinic.volumes import Finding, XRay

from .scenes import CAMERA, pixels, said, value, xray


def test_readings():
    found = inspect_xray(xray())
    assert value(found, "size") == (64, 48)
    assert value(found, "sdd_mm") == 1000 and value(found, "source_isocentre_mm") == 700
    assert value(found, "pixel_spacing_mm") == pytest.approx((4, 4))
    assert value(found, "principal_point_px") == (31.5, 23.5)
    assert value(found, "field of view") == pytest.approx((256, 192))
    assert value(found, "polarity") == "bright_air" and value(found, "mirrored") == "no"
    assert value(found, "weight") == 100 and value(found, "metal") == 0
    sources = {reading.name: reading.source for reading in found.readings}
    assert sources["sdd_mm"] == "DistanceSourceToDetector (0018,1110)"
    assert sources["polarity"] == "option `polarity`"


def test_nothing_odd_about_an_ordinary_x_ray():
    assert inspect_xray(xray()).findings == ()


def camera(**changes):
    values = dict(width=64, height=48, pixel_spacing_mm=(4.0, 4.0), sdd_mm=1000.0)
    return type(CAMERA).from_pixel_spacing(**{**values, **changes})


def bordered() -> np.ndarray:
    image = pixels()
    image[:5], image[:, -3:] = 0, 0
    return image


def clipped() -> np.ndarray:
    return np.maximum(pixels(), 600)


@pytest.mark.parametrize(
    ("change", "level", "expected"),
    [
        (
            dict(camera=camera(principal_point_px=(90.0, 23.5))),
            "note",
            r"\(90.0, 23.5\) lies outside.*`principal_point_px`",
        ),
        (
            dict(polarity="dark_air", provenance={"polarity": "PhotometricInterpretation"}),
            "warning",
            r"dark_air \(Photometric.*suggest bright_air.*\| `polarity`",
        ),
        (dict(image=np.rint(pixels() / 20)), "warning", r"only \d+ grey levels.*`pixel_scale`"),
        (dict(provenance={"frame": "frame 2 of 4 (the middle one)"}), "note", r"frame 2 of 4.*\| `frame`"),
        (dict(image=bordered()), "note", r"border of 5 rows and 3 columns.*\| `crop_px`"),
        (dict(image=clipped()), "warning", r"\d+ % of the image is at the detector's limit.*full range"),
    ],
)
def test_oddities(change, level, expected):
    assert re.search(expected, said(inspect_xray(xray(**change)), level))


def test_what_reading_found_comes_first():
    odd = Finding(level="warning", subject="X-ray", message="odd", remedy="`sdd_mm`", unsettled=True)
    found = inspect_xray(xray(image=np.rint(pixels() / 20), findings=(odd,))).findings
    assert found[0] is odd and len(found) == 2


def test_what_the_user_says_is_not_doubted():
    assert "suggest" not in said(inspect_xray(xray(polarity="dark_air")))


def test_mirrored_image():
    found = inspect_xray(xray().flip(left_right=True))
    assert value(found, "mirrored") == "columns"


@pytest.mark.parametrize(
    ("outside", "outline"),
    [
        (lambda x, y: np.hypot(x, y) > 0.8, "round"),
        (lambda x, y: np.maximum(np.abs(x), np.abs(y)) > 0.7, "rectangle"),
        (lambda x, y: np.abs(x) > 2, "whole image"),
    ],
)
def test_outline_of_the_exposed_field(outside, outline):
    """Lead is dark and even; the field beside it is bright."""
    x, y = np.meshgrid(*2 * [np.linspace(-1, 1, 128)])
    image = 2000 + 300 * np.cos(5 * x) * np.sin(4 * y) + np.random.default_rng(0).normal(0, 10, x.shape)
    image[outside(x, y)] = 40
    found = inspect_xray(xray(image.astype(np.float32), camera(width=128, height=128)))
    (reading,) = (reading for reading in found.readings if reading.name == "collimation")
    assert outline in reading.source
    assert reading.value == pytest.approx(100 * outside(x, y).mean(), abs=4)


@pytest.mark.slow
def test_real_look_and_simulated_x_rays(shared_data):
    """Nothing but the missing angles and assumptions to note; circular fields of level 1 are found."""
    outlines = set()
    for path in sorted((shared_data / "xrays").glob("*/*/xray.dcm"))[:8]:
        found = inspect_xray(XRay.read(path))
        assert said(found, "warning") == ""
        outlines |= {reading.source for reading in found.readings if reading.name == "collimation"}
    assert any("round" in outline for outline in outlines) and any("whole" in outline for outline in outlines)
