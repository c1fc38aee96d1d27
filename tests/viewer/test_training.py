"""The curves of a training's picture, taken from the figure, and its file."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from skimage.io import imread

from isoclinic.errors import InputError
from isoclinic.viewer import training_figure, write_training_curves
from raising import raises

CURVE = {
    "images": [32.0, 6400.0, 12800.0],
    "minutes": [0.1, 5.0, 10.0],
    "loss": [0.5, 0.05, 0.01],
    "mtre_25_mm": [60.0, 10.0, 4.0],
    "mtre_50_mm": [90.0, 20.0, 8.0],
    "mtre_75_mm": [130.0, 60.0, 30.0],
}
CURVES = {"pose_regressor": CURVE, "fine_encoder": {name: values[:1] for name, values in CURVE.items()}}


def test_every_network_has_its_loss_above_its_error():
    loss, other_loss, error, other_error = training_figure(CURVES).axes
    assert loss.get_title() == "pose regressor, 12,800 X-rays"
    assert other_loss.get_title() == "fine encoder, 32 X-rays"
    for axes, name in ((loss, "loss"), (error, "mtre_50_mm")):
        (line,) = axes.get_lines()
        assert (list(line.get_xdata()), list(line.get_ydata())) == (CURVE["minutes"], CURVE[name])
        assert axes.get_yscale() == "log"
    (band,) = error.collections
    (path,) = band.get_paths()
    corners = {tuple(vertex) for vertex in path.vertices}
    for column in ("mtre_25_mm", "mtre_75_mm"):
        assert corners >= set(zip(CURVE["minutes"], CURVE[column], strict=True))
    assert [text.get_text() for text in error.texts] == ["last: 8 mm"]
    assert [text.get_text() for text in other_error.texts] == ["last: 90 mm"]


@pytest.mark.parametrize("factor", [1.0, 1.3, 5.0, 1000.0])
def test_axes_have_numbers_however_little_or_much_changes(factor):
    curve = CURVE | {"loss": [0.02 * factor, 0.02, 0.02]}
    figure = training_figure({"pose_regressor": curve})
    figure.draw_without_rendering()
    loss = figure.axes[0]
    low, high = loss.get_ylim()
    labels = [
        label.get_text()
        for place, label in zip(loss.get_yticks(), loss.get_yticklabels(), strict=True)
        if low <= place <= high
    ]
    assert 2 <= len([label for label in labels if label]) <= 20
    assert not any("^" in label for label in labels)


def test_a_loss_below_zero_is_drawn_all_the_same():
    """That of the canonical network, a likelihood."""
    figure = training_figure({"canonical": CURVE | {"loss": [0.9, 0.1, -0.4]}})
    figure.draw_without_rendering()
    loss, error = figure.axes
    assert (loss.get_yscale(), error.get_yscale()) == ("linear", "log")
    low, high = loss.get_ylim()
    assert low < -0.4 and high > 0.9


@pytest.mark.slow
def test_the_file_is_a_picture_of_both_curves(tmp_path: Path):
    path = tmp_path / "training.png"
    write_training_curves(path, CURVES)
    picture = imread(path)[..., :3]
    for half in np.array_split(picture, 2):
        assert (half == (31, 119, 180)).all(-1).any()
    assert list(tmp_path.iterdir()) == [path]


def test_no_network_is_an_error(tmp_path: Path):
    with raises(InputError, "picture.incomplete", "network"):
        write_training_curves(tmp_path / "training.png", {})
    assert list(tmp_path.iterdir()) == []
