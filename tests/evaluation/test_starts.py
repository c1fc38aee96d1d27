"""Starts by name: what they are, and that random ones have the distribution and the error they promise."""

from __future__ import annotations

import math
from dataclasses import replace

import numpy as np
import pytest
import torch

from isoclinic.errors import InputError, UsageError
from isoclinic.evaluation import starts
from isoclinic.evaluation.starts import PUBLISHED, PublishedStart, start_of
from isoclinic.geometry import rotation_angle_deg, se3
from raising import raises
from tiny_samples import off_by, sample

# Of every component of a distribution.
DRAWS = 4000


def error_mm(case, pose: torch.Tensor) -> float:
    """The mean distance between the landmarks' places, point by point in numpy."""
    points = case.landmarks_world.numpy()
    placed = [
        points @ matrix.numpy()[:3, :3].T + matrix.numpy()[:3, 3] for matrix in (pose, case.camera_from_world)
    ]
    return float(np.linalg.norm(placed[0] - placed[1], axis=1).mean())


def test_starts_that_are_no_matter_of_chance():
    stored = off_by(sample().camera_from_world, 0, 0, 0, 3, 4, 0)
    case = sample(starts={"5": stored, "left": stored})
    assert start_of(case, "5") is stored
    assert start_of(case, "left") is stored, "a stored start goes before a view"
    assert start_of(case, "none") is None
    assert start_of(case, "pa") == "pa" and start_of(case, "dicom") == "dicom"


@pytest.mark.parametrize("name", ["6", "", "mtre:", "mtre:x", "mtre:0", "mtre:-3", "mtre:inf", "mtre:nan"])
def test_names_that_mean_nothing(name):
    case = sample(starts={"5": sample().camera_from_world})
    with raises(UsageError, "evaluation.unknown-name", "a/00", "5", "mtre:MM"):
        start_of(case, name)


@pytest.mark.parametrize("size_mm", [0.001, 5, 30, 60, 150])
def test_random_starts_have_exactly_the_mtre_asked_for(size_mm):
    """To the root-finder's 1e-12 of the scale, and rounding of coordinates of some 1000 mm."""
    for index in range(20):
        case = sample(f"a/{index:02}")
        assert error_mm(case, start_of(case, f"mtre:{size_mm}")) == pytest.approx(size_mm, abs=1e-9)


@pytest.mark.slow
def test_starts_of_a_given_mtre_shift_and_turn():
    """As a shift by s mm and a turn by s/3 degrees about the CT's centre, in all directions."""
    tangents = []
    for index in range(200):
        case = sample(f"a/{index}")
        centre = torch.from_numpy(case.volume.isocentre_world)
        tangents.append(se3.perturbation(case.camera_from_world, start_of(case, "mtre:20"), centre).numpy())
    turns_deg = np.degrees(np.linalg.norm([each[:3] for each in tangents], axis=1))
    shifts_mm = np.linalg.norm([each[3:] for each in tangents], axis=1)
    np.testing.assert_allclose(turns_deg, shifts_mm / 3, rtol=1e-9)
    directions = np.array([each[3:] for each in tangents]) / shifts_mm[:, None]
    # The mean of n unit vectors has a norm of about 1 / sqrt(n); four times that is hardly ever exceeded.
    assert np.linalg.norm(directions.mean(axis=0)) < 4 / math.sqrt(200)


@pytest.mark.parametrize("name", [*PUBLISHED, "mtre:30"])
def test_draws_depend_on_names_and_seed_alone(name):
    first, second = sample("a/00"), sample("a/01")
    before = start_of(first, name)
    other = start_of(second, name)
    torch.testing.assert_close(start_of(first, name), before, rtol=0, atol=0)
    assert not torch.equal(other, before)
    assert not torch.equal(start_of(first, name, seed=1), before)


def test_starts_of_other_names_are_drawn_apart():
    drawn = [start_of(sample(), name) for name in ("mtre:30", "mtre:30.0", "prost")]
    assert not torch.equal(drawn[0], drawn[1]) and not torch.equal(drawn[1], drawn[2])


@pytest.mark.parametrize("name", PUBLISHED)
def test_published_distributions(name):
    """Standard deviations within 6 %: five standard errors of 4000 draws; uniform ones stay in range."""
    published = PUBLISHED[name]
    generator = np.random.default_rng(0)
    drawn = torch.stack([published.tangent(generator) for _ in range(DRAWS)]).numpy()
    sizes = np.array([*np.radians(published.rotation_deg), *published.translation_mm])
    if published.distribution == "uniform":
        assert (np.abs(drawn) <= sizes).all()
        sizes = sizes / math.sqrt(3)
    np.testing.assert_allclose(drawn.std(axis=0), sizes, rtol=0.06)
    assert (np.abs(drawn.mean(axis=0)) < 5 * sizes / math.sqrt(DRAWS)).all()
    assert len(published.source) > 60, "each says where its numbers come from"


def test_a_published_start_is_its_tangent_about_the_centre_of_the_ct(monkeypatch):
    """With one component alone: 20 degrees about the image's vertical axis move the centre nowhere."""
    turn = PublishedStart(
        source="", distribution="uniform", rotation_deg=(0, 20, 0), translation_mm=(0, 0, 0)
    )
    monkeypatch.setitem(starts.PUBLISHED, "turn", turn)
    case = sample()
    pose = start_of(case, "turn")
    centre = torch.cat([torch.from_numpy(case.volume.isocentre_world), torch.ones(1, dtype=torch.float64)])
    torch.testing.assert_close(pose @ centre, case.camera_from_world @ centre)
    axis = se3.log(pose @ se3.inverse(case.camera_from_world))[:3]
    assert 0 < rotation_angle_deg(pose, case.camera_from_world) <= 20
    torch.testing.assert_close(axis.abs() / axis.norm(), torch.tensor([0.0, 1.0, 0.0], dtype=torch.float64))


@pytest.mark.slow
def test_starts_that_do_not_show_the_ct_are_drawn_again(monkeypatch):
    """Shifts of up to 1000 mm: most leave the image, whose field of view is some 200 mm wide at the CT."""
    far = PublishedStart(
        source="", distribution="uniform", rotation_deg=(0, 0, 0), translation_mm=(1000, 1000, 0)
    )
    monkeypatch.setitem(starts.PUBLISHED, "far", far)
    for index in range(10):
        case = sample(f"a/{index}")
        starts.check_sees(case.volume, case.xray, start_of(case, "far"), "start")
    monkeypatch.setitem(starts.PUBLISHED, "far", replace(far, translation_mm=(0.0, 0.0, 1e9)))
    with raises(InputError, "start.ct-not-seen", "a/00", "1000", "far"):
        monkeypatch.setattr(starts, "check_sees", refuse)
        start_of(sample(), "far")


def refuse(*_: object) -> None:
    raise InputError("it does not see the CT", code="input.unreadable")
