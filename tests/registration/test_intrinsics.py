"""How far intrinsics may be off, by where they come from."""

import math
from dataclasses import replace

import pytest

from isoclinic.errors import UsageError
from isoclinic.registration import IntrinsicsConfig
from phantoms import phantom, true_pose, xray_of
from raising import raises

VOLUME = phantom(0)
XRAY = xray_of(VOLUME, true_pose(VOLUME), seed=0)
CONFIG = IntrinsicsConfig()


@pytest.mark.parametrize(
    ("source", "percent"),
    [
        ("ImagerPixelSpacing (0018,1164)", CONFIG.pixel_spacing_percent),
        ("option `pixel_spacing_mm`", CONFIG.pixel_spacing_percent),
        ("", CONFIG.pixel_spacing_percent),
        ("PixelSpacing (0028,0030)", CONFIG.scaled_spacing_percent),
        ("IntensifierSize (0018,1162)", CONFIG.scaled_spacing_percent),
    ],
)
def test_a_spacing_that_is_not_the_detectors_own_is_less_certain(source, percent):
    xray = replace(XRAY, provenance={"pixel_spacing_mm": source})
    assert CONFIG.focal_percent(xray) == pytest.approx(math.hypot(CONFIG.sdd_percent, percent))


def test_a_centre_that_is_assumed_is_less_certain_than_one_given():
    assumed = replace(XRAY, provenance={"principal_point_px": "image centre (assumed)"})
    given = replace(XRAY, provenance={"principal_point_px": "option `principal_point_px`"})
    assert CONFIG.centre_mm(assumed) == CONFIG.assumed_principal_point_mm
    assert CONFIG.centre_mm(given) == CONFIG.centre_mm(XRAY) == CONFIG.principal_point_mm


def test_exact_is_exact():
    xray = replace(XRAY, provenance={"pixel_spacing_mm": "PixelSpacing (0028,0030)"})
    exact = IntrinsicsConfig.exact()
    assert exact.focal_percent(xray) == exact.centre_mm(xray) == 0
    assert not exact.check


@pytest.mark.parametrize(("name", "value"), [("sdd_percent", -1.0), ("principal_point_mm", math.nan)])
def test_a_wrong_value_is_refused_by_its_option(name, value):
    with raises(UsageError, "registration.invalid-value", f"`intrinsics.{name}`"):
        IntrinsicsConfig(**{name: value})
