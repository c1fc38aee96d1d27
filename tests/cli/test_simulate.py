"""`isoclinic simulate` draws a contact sheet of what networks are trained on."""

from __future__ import annotations

import numpy as np
import pytest
from skimage.io import imread

from isoclinic import Volume
from isoclinic.cli import simulate

SMALL = ("--width", "24", "--height", "24", "--pixel-spacing-mm", "10", "10", "--source-isocentre-mm", "650")


@pytest.mark.slow
@pytest.mark.parametrize("preset", ["hospital", "isoclinic", "paper"])
def test_the_same_seed_draws_the_same_sheet(run, files, tmp_path, preset):
    sheets = []
    for name, seed in (("a.png", "1"), ("b.png", "1"), ("c.png", "2")):
        options = ("--grid", tmp_path / name, "--preset", preset, "--seed", seed, "--pairs", "4", *SMALL)
        ran = run("simulate", files.ct, *options)
        assert (ran.code, ran.err) == (0, "")
        assert ran.out.strip() == f"{tmp_path / name}: 4 pairs, preset {preset}, seed {seed}"
        sheets.append(imread(tmp_path / name))
    np.testing.assert_array_equal(sheets[0], sheets[1])
    assert not np.array_equal(sheets[0], sheets[2])


@pytest.mark.slow
def test_more_pairs_make_more_rows(run, files, tmp_path):
    heights = []
    for pairs in ("1", "3", "4"):
        grid = tmp_path / f"{pairs}.png"
        assert run("simulate", files.ct, "--grid", grid, "--pairs", pairs, *SMALL).code == 0
        heights.append(imread(grid).shape[0])
    assert heights[0] == heights[1] < heights[2]


def test_variations_differ_from_pair_to_pair(run, files, tmp_path, monkeypatch):
    """Every pair is a batch of its own anatomy, none of them the CT."""
    shown = []

    def sheet(pairs, title):
        shown.extend(pairs)
        return figure(pairs, title)

    figure = simulate._contact_sheet
    monkeypatch.setattr(simulate, "_contact_sheet", sheet)
    ran = run("simulate", files.ct, "--grid", tmp_path / "a.png", "--pairs", "3", "--vary", *SMALL)
    assert ran.code == 0, ran.err
    assert [pair for _, pair in shown] == [0, 0, 0]
    anatomies = [batch.volume.hu for batch, _ in shown]
    for index, hu in enumerate(anatomies):
        others = [*anatomies[index + 1 :], Volume.read(files.ct).hu]
        assert not any(hu.shape == other.shape and np.array_equal(hu, other) for other in others)


@pytest.mark.parametrize(
    ("arguments", "status", "fault"),
    [
        (["--grid", "sheet.jpg"], 2, ("options.invalid-value", "sheet.jpg", ".png")),
        (["--grid", "old.png"], 2, ("output.exists", "old.png")),
        (["--grid", "sheet.png", "--pairs", "0"], 2, ("options.invalid-value", "--pairs", "200")),
        (["--grid", "sheet.png", "--pairs", "1000000000000"], 2, ("options.invalid-value", "--pairs", "200")),
        (["--grid", "sheet.png", "--seed", "-1"], 2, ("training.invalid-value", "seed")),
        (["--grid", "sheet.png", "--sdd-mm", "-5"], 2, ("xray.invalid-value", "--sdd-mm")),
        (["--grid", "sheet.png", "--depth-reach-mm", "-5"], 2, ("training.invalid-value", "depth_reach_mm")),
        (["--grid", "no/sheet.png"], 1, ("output.unwritable", "sheet.png")),
    ],
)
def test_what_is_wrong_is_said_and_nothing_is_written(
    run, files, tmp_path, monkeypatch, arguments, status, fault
):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "old.png").write_text("an old picture")
    ran = run("simulate", files.ct, *arguments)
    ran.refused(status, *fault)
    assert [path.name for path in tmp_path.iterdir()] == ["old.png"]


def test_overwrite(run, files, tmp_path):
    (tmp_path / "sheet.png").write_text("an old picture")
    grid = ("--grid", tmp_path / "sheet.png", "--pairs", "1", *SMALL)
    assert run("simulate", files.ct, *grid, "--overwrite").code == 0
    assert imread(tmp_path / "sheet.png").ndim == 3
