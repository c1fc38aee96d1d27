"""What is guessed about a picture is a hypothesis: the match settles it."""

from dataclasses import replace

import numpy as np
import pytest
import torch

from isoclinic.geometry import se3, transform_points
from isoclinic.registration import View, register, register_views
from isoclinic.registration._ladder import seen_from_the_other_side
from isoclinic.registration._readings import MIRRORED_DOUBT, mirrored, readings
from isoclinic.solver import Status
from isoclinic.volumes import (
    POLARITY_BY_MATCH,
    POLARITY_GUESSED,
    GeometryWarning,
    PreprocessConfig,
    XRay,
)
from phantoms import displaced, error_mm, phantom, true_pose, xray_of

VOLUME = phantom(0)
TRUTH = true_pose(VOLUME)
XRAY = xray_of(VOLUME, TRUTH, seed=0)
START = displaced(VOLUME, TRUTH, 20, seed=4)
ASSUMED = {"polarity": POLARITY_GUESSED, "pixel_scale": "assumed for bright_air"}


def _guessed_wrong() -> XRay:
    """The X-ray as a workstation shows it, bones bright, which statistics took for bright air."""
    shown = np.log(XRAY.pixels.max() / XRAY.pixels.clip(1)).astype(np.float32)
    return replace(XRAY, pixels=shown, provenance={**XRAY.provenance, **ASSUMED})


@pytest.mark.slow
def test_a_wrong_guess_is_found_out_and_said():
    with pytest.warns(GeometryWarning, match="the other polarity.* against .* as read"):
        result = register(VOLUME, _guessed_wrong(), START)
    assert error_mm(VOLUME, result.camera_from_world, TRUTH) < 1.5
    assert result.status is Status.CONVERGED
    (settled,) = result.xrays
    assert (settled.polarity, settled.pixel_scale) == ("dark_air", "log")
    assert settled.provenance["polarity"] == POLARITY_BY_MATCH
    assert [attempt.reading for attempt in result.attempts] == ["as read", "the other polarity"]
    assert result.attempts[1].edges > result.attempts[0].edges + 0.2


@pytest.mark.slow
def test_a_right_guess_costs_nothing_more():
    right = replace(XRAY, provenance={**XRAY.provenance, **ASSUMED})
    result = register(VOLUME, right, START)
    assert [attempt.reading for attempt in result.attempts] == ["as read"]
    assert result.xrays == (right,)


@pytest.mark.slow
def test_a_polarity_that_is_given_is_never_questioned():
    given = replace(_guessed_wrong(), provenance={**XRAY.provenance, "polarity": "option `polarity`"})
    result = register(VOLUME, given, START)
    assert result.status is Status.DOUBTFUL
    assert {attempt.reading for attempt in result.attempts} <= {"as read", "mirrored left to right"}


@pytest.mark.slow
def test_a_mirrored_picture_matches_and_is_doubtful():
    image = replace(XRAY, pixels=np.ascontiguousarray(XRAY.pixels[:, ::-1]))
    with pytest.warns(GeometryWarning, match="mirrored left to right"):
        result = register(VOLUME, image, START)
    assert error_mm(VOLUME, result.camera_from_world, TRUTH) < 1.5
    assert result.status is Status.DOUBTFUL and result.confidence.doubts == (MIRRORED_DOUBT,)
    (settled,) = result.xrays
    assert np.array_equal(settled.pixels, XRAY.pixels) and settled.camera == XRAY.camera


def test_a_mirrored_camera_shows_the_patient_mirrored():
    """Where the principal point is off the middle, it goes along; pixels are found again as stored."""
    camera = replace(XRAY.camera, cx=50.0)
    (reading, *_) = readings([replace(XRAY, camera=camera, stored_camera=camera)], PreprocessConfig())
    (image,) = mirrored(reading).xrays
    assert (image.camera.fx, image.camera.cx) == (camera.fx, camera.width - 1 - 50.0)
    assert np.array_equal(image.pixels, XRAY.pixels[:, ::-1])
    stored = np.array([[10.0, 20.0]])
    np.testing.assert_allclose(image.pixels_from_stored(stored), [[camera.width - 1 - 10.0, 20.0]])


@pytest.mark.parametrize(
    ("guessed", "names"),
    [
        ((False,), []),
        ((True,), ["the other polarity"]),
        ((True, False), ["the other polarity of X-ray 1"]),
        ((True, True), ["2", "1", "1, 2"]),
        ((True, True, False, True), ["1, 2, 4", "1", "2", "4"]),
    ],
)
def test_which_polarities_are_tried(guessed, names):
    unsure = replace(XRAY, provenance={**XRAY.provenance, **ASSUMED})
    xrays = [unsure if each else XRAY for each in guessed]
    first, *others = readings(xrays, PreprocessConfig())
    assert first.name == "as read" and first.xrays == tuple(xrays)
    assert [each.name.removeprefix("the other polarity of X-ray ") for each in others] == [
        name.removeprefix("the other polarity of X-ray ") for name in names
    ]
    for each in others:
        for before, after in zip(xrays, each.xrays, strict=True):
            assert (before is after) or before.polarity != after.polarity


@pytest.mark.slow
def test_of_two_xrays_one_may_be_guessed_wrong():
    other = se3.perturb(
        TRUTH, torch.tensor([0.0, 1.2, 0, 0, 0, 0]).double(), torch.from_numpy(VOLUME.isocentre_world)
    )
    second = replace(xray_of(VOLUME, other, 1), provenance={**XRAY.provenance, **ASSUMED})
    views = [View(xray=_guessed_wrong()), View(xray=second, view_from_first=other @ se3.inverse(TRUTH))]
    with pytest.warns(GeometryWarning, match="the other polarity of X-ray 1"):
        result = register_views(VOLUME, views, START)
    assert error_mm(VOLUME, result.camera_from_world, TRUTH) < 0.5
    assert [xray.polarity for xray in result.xrays] == ["dark_air", "bright_air"]


def test_the_other_polarity_of_the_other_is_the_first():
    once = replace(XRAY, provenance={**XRAY.provenance, **ASSUMED}).repolarized()
    assert (once.polarity, once.pixel_scale) == ("dark_air", "log")
    twice = once.repolarized()
    assert (twice.polarity, twice.pixel_scale) == ("bright_air", "linear")
    stated = replace(XRAY, provenance={**ASSUMED, "pixel_scale": "option `pixel_scale`"}).repolarized()
    assert (stated.polarity, stated.pixel_scale) == ("dark_air", "linear")


@pytest.mark.slow
def test_the_other_side_shows_everything_mirrored_but_for_perspective():
    truth, isocentre = true_pose(VOLUME), torch.as_tensor(VOLUME.isocentre_world)
    other = seen_from_the_other_side(truth, isocentre)
    assert torch.linalg.det(other[:3, :3]) == pytest.approx(1, abs=1e-12)
    points = isocentre + 50 * torch.from_numpy(np.random.default_rng(0).normal(size=(20, 3)))
    here, there = (transform_points(pose, points) for pose in (truth, other))
    depth = transform_points(truth, isocentre[None])[0, 2]
    expected = torch.stack([-here[:, 0], here[:, 1], 2 * depth - here[:, 2]], dim=1)
    torch.testing.assert_close(there, expected, rtol=0, atol=1e-9)
    torch.testing.assert_close(seen_from_the_other_side(other, isocentre), truth, rtol=0, atol=1e-9)
