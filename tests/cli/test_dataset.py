"""`isoclinic dataset prepare ctspine1k` on a folder of the original's layout."""

from __future__ import annotations

import pytest
from skimage.io import imread

from isoclinic.datasets import CTSpine1k
from isoclinic.datasets.preparation import prepare
from raising import named
from spine import spine, write_original

FEW = ("--drrs.images", "2", "--drrs.binning", "24", "--quality.largest-spacing-mm", "5")


@pytest.fixture(scope="module")
def source(tmp_path_factory):
    folder = tmp_path_factory.mktemp("CTSpine1K")
    write_original(folder, "liver_0", spine((4.0, 4.0, 4.0)))
    for file in ("volumes/COLONOG/liver_9.nii.gz", "labels/COLONOG/liver_9_seg.nii.gz"):
        (folder / "raw_data" / file).write_bytes(b"damaged")
    return folder


@pytest.mark.slow
def test_prepare(run, source, tmp_path, monkeypatch):
    output = tmp_path / "out"
    ran = run("dataset", "prepare", "ctspine1k", source, output, *FEW)
    assert (ran.code, ran.err) == (0, "")
    rows = [[cell.strip() for cell in line.split("│")[1:3]] for line in ran.out.splitlines() if "│" in line]
    assert rows == [["fit for use", "1"], ["unreadable file", "1"]]
    assert ran.out.splitlines()[-1] == f"{output}: 1 cases, 2 DRRs"
    assert CTSpine1k(output).names == ("liver_0/0000", "liver_0/0001")
    assert imread(output / "liver_0" / "check.png").std() > 10

    monkeypatch.setattr(prepare, "prepare_case", None)
    again = run("dataset", "prepare", "ctspine1k", source, output, *FEW)
    assert (again.code, again.out) == (0, ran.out)
    other = run("dataset", "prepare", "ctspine1k", source, output, *FEW, "--drrs.seed", "1")
    other.refused(2, "output.of-other-settings", "drrs.seed", "--overwrite")


def test_a_configuration_file(run, source, tmp_path):
    (tmp_path / "options.toml").write_text("[quality]\nlargest-spacing-mm = 1.0\n")
    ran = run(
        "dataset", "prepare", "ctspine1k", source, tmp_path / "out", "--config", tmp_path / "options.toml"
    )
    ran.refused(1, "preparation.no-case", "1 slices too thick", "1 unreadable file")


def test_it_is_the_folder_of_a_data_set_that_is_asked_for(run, tmp_path):
    ran = run("dataset", "prepare", "ctspine1k", tmp_path, tmp_path / "out")
    ran.refused(1, "preparation.originals-missing", tmp_path, "150 GB")
    assert not (tmp_path / "out").exists()


@pytest.mark.parametrize(
    "arguments",
    [(), ("prepare",), ("prepare", "deepfluoro", "a", "b"), ("download", "ctspine1k", "a", "b")],
)
def test_what_there_is_to_do(run, arguments):
    assert run("dataset", *arguments).code == 2


@pytest.mark.parametrize(
    ("option", "names"),
    [
        (("--drrs.images", "0"), ("images", "0")),
        (("--processes", "0"), ("processes", "0")),
        (("--lumbar.margin-mm", "-1"), ("margin_mm", "denoising_mm2")),
    ],
)
def test_options_that_make_no_sense(run, source, tmp_path, option, names):
    """Of nested options tyro shows the error, in a box without its code."""
    ran = run("dataset", "prepare", "ctspine1k", source, tmp_path / "out", *option)
    assert ran.code == 2 and all(named(name, ran.err) for name in names)
    assert not (tmp_path / "out").exists()
