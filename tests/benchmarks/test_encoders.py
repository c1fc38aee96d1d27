"""The statistics of the comparisons of encoders, against numbers that are known."""

import importlib
import sys
from pathlib import Path

import numpy as np
import pytest
import torch

from isoclinic.training import PoseConfig

SCRIPTS = Path(__file__).resolve().parents[2] / "benchmarks"


def script(name: str):
    """A script as a module; scripts import each other by name."""
    sys.path.insert(0, str(SCRIPTS))
    try:
        return importlib.import_module(name)
    finally:
        sys.path.remove(str(SCRIPTS))


compare, distance, bank = script("compare"), script("distance"), script("bank")


def models(generator, count, median_mm, spread_mm=1.0):
    """Trainings whose errors are normal about a median of their own."""
    tables = []
    for _ in range(count):
        rows = np.zeros((200, 5))
        rows[:, 0] = median_mm + generator.normal(0, spread_mm, 200)
        rows[:, 2] = rows[:, 4] = generator.uniform(0.1, 0.5, 200)
        rows[:, 1] = rows[:, 3] = rows[:, 2] + generator.normal(0, 0.05, 200)
        tables.append(rows)
    return tables


@pytest.mark.slow
def test_an_interval_holds_a_difference_that_is_there_and_zero_where_none_is():
    generator = np.random.default_rng(0)
    better, worse = models(generator, 3, 4.0), models(generator, 3, 6.0)
    measure = compare._MEASURES["median mTRE from 20 mm [mm]"]
    value, low, high = compare.difference(better, worse, measure, np.random.default_rng(1))
    assert low < 2.0 < high and value == pytest.approx(2.0, abs=0.3)
    # A median of 200 is known to 1.25 / sqrt(200) of the deviation, the mean of three to some half of that.
    assert 0.1 < high - low < 1.0
    _, low, high = compare.difference(better, better, measure, np.random.default_rng(1))
    assert low <= 0 <= high


def test_measures_are_those_of_their_columns():
    rows = models(np.random.default_rng(0), 1, 5.0)[0]
    measures = {name: measure(rows) for name, measure in compare._MEASURES.items()}
    assert measures["Pearson, 3 to 120 mm"] == pytest.approx(np.corrcoef(rows[:, 1], rows[:, 2])[0, 1])
    assert measures["relative error, 1 to 20 mm"] == pytest.approx(
        np.median(np.abs(rows[:, 3] - rows[:, 4]) / rows[:, 4])
    )
    assert measures["share below 5 mm"] == (rows[:, 0] < 5).mean()


def test_an_encoder_is_measured_by_correlation_and_error_with_and_without_a_factor():
    generator = np.random.default_rng(0)
    expected = generator.uniform(0.1, 1.0, 101)
    exact = distance.measured("encoder", (3.0, 120.0), np.stack([2 * expected, expected], 1))
    assert exact.pearson == pytest.approx(1) and exact.error == pytest.approx(1)
    assert exact.fitted_error == pytest.approx(0, abs=1e-12)
    assert np.isnan(exact.clean_pearson)
    four = np.stack([expected, expected, 1 - expected, np.full(101, 0.25)], 1)
    row = distance.measured("encoder", (3.0, 120.0), four)
    assert row.clean_pearson == pytest.approx(-1) and row.own_rendering == 0.25
    assert distance.short([row], distance._OWN) == []
    assert len(distance.short([exact], distance._OWN)) == 1


@pytest.mark.slow
def test_the_bank_covers_the_views_of_a_training():
    isocentre = torch.tensor([10.0, -20.0, 300.0], dtype=torch.float64)
    poses = PoseConfig(primary_reach_deg=30.0, secondary_reach_deg=12.0, in_plane_reach_deg=0.0)
    views = bank.candidates(poses, 12.0, isocentre)
    # 60 degrees in steps of 12, 24 in steps of 12, no turn in plane.
    assert views.shape == (5 * 2, 4, 4)
    # Steps of 12 degrees, seen from 6 degrees up or down.
    neighbours = bank.turned_deg(views[2::2], views[0])
    assert neighbours[0] == pytest.approx(12.0, abs=0.2)
    centre = views[:, :3, :3] @ isocentre + views[:, :3, 3]
    torch.testing.assert_close(centre, torch.tensor([0.0, 0.0, 700.0]).double().expand(10, 3))


def test_the_figures_need_only_steps_that_there_are():
    figures = script("figures")
    steps = figures.steps(figures.Config(chest=Path("c.nii.gz"), pelvis=Path("p.nii.gz"), images=64))
    names = [step.name for step in steps]
    assert len(set(names)) == len(names)
    for step in steps:
        assert set(step.needs) <= set(names[: names.index(step.name)])
        assert step.command.count("--images") <= 1
