"""The curves of the convergence picture, taken from the figure, and its file."""

from __future__ import annotations

from pathlib import Path

import numpy as np
from skimage.io import imread

from isoclinic.errors import InputError
from isoclinic.viewer import ConvergenceStage, convergence_figure, write_convergence
from raising import raises

COARSE = ConvergenceStage(name="32 px", cost=[4.0, 2.0, 1.0], error_mm=[30.0, 10.0, 3.0])
FINE = ConvergenceStage(name="64 px", cost=[10.0, 5.0], error_mm=[3.0, 0.5])
UNKNOWN = ConvergenceStage(name="128 px", cost=[0.0, 0.0])


def curves(axes) -> dict[str, tuple[list[float], list[float]]]:
    return {line.get_label(): (list(line.get_xdata()), list(line.get_ydata())) for line in axes.get_lines()}


def test_stages_follow_each_other_with_relative_costs():
    cost, error = convergence_figure([COARSE, FINE, UNKNOWN]).axes
    assert curves(cost) == {
        "32 px": ([0, 1, 2], [1.0, 0.5, 0.25]),
        "64 px": ([2, 3], [1.0, 0.5]),
        "128 px": ([3, 4], [0.0, 0.0]),
    }
    assert curves(error) == {"32 px": ([0, 1, 2], [30.0, 10.0, 3.0]), "64 px": ([2, 3], [3.0, 0.5])}
    assert error.get_ylabel() == "mTRE [mm]"
    colours = [{line.get_label(): line.get_color() for line in axes.get_lines()} for axes in (cost, error)]
    assert colours[1].items() <= colours[0].items()


def test_errors_that_were_not_measured_are_left_out():
    stage = ConvergenceStage(name="32 px", cost=[4.0, 2.0, 1.0], error_mm=[30.0, np.nan, 3.0])
    _, error = convergence_figure([stage]).axes
    assert curves(error) == {"32 px": ([0, 2], [30.0, 3.0])}


def test_without_a_known_truth_only_the_cost_is_drawn():
    (axes,) = convergence_figure([UNKNOWN]).axes
    assert axes.get_xlabel() == "iteration"


def test_the_file_is_a_picture_of_both_curves(tmp_path: Path):
    path = tmp_path / "convergence.png"
    write_convergence(path, [COARSE, FINE])
    picture = imread(path)[..., :3]
    blue, orange = (31, 119, 180), (255, 127, 14)
    for half in np.array_split(picture, 2):
        assert (half == blue).all(-1).any() and (half == orange).all(-1).any()
    assert list(tmp_path.iterdir()) == [path]


def test_no_stage_is_an_error(tmp_path: Path):
    with raises(InputError, "picture.incomplete", "stage"):
        write_convergence(tmp_path / "convergence.png", [])
    assert list(tmp_path.iterdir()) == []
