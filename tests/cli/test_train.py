"""`isoclinic train`: networks, curves and state in a folder; interrupted, it goes on where it stopped."""

from __future__ import annotations

import csv
import io
import signal
from dataclasses import asdict, replace
from pathlib import Path

import nibabel as nib
import pytest
import torch
from rich.console import Console

from isoclinic._files import atomic
from isoclinic.cli import _training
from isoclinic.cli._dashboard import Dashboard, sparkline
from isoclinic.cli._options import parse_options
from isoclinic.cli._train_options import PRESETS, TrainOptions
from isoclinic.networks import Checkpoint
from isoclinic.provenance import InputFile
from isoclinic.training import TrainConfig
from isoclinic.training.file_names import MODEL_FILE, STATE_FILE
from isoclinic.training.phase import COLUMNS
from missing_package import without

from .conftest import CAMERA
from .desk import Desk, lay_out, tree
from .test_bad_output import room_for

TINY = """
networks = ["pose_regressor"]
pixels = 16
validations = 1
validation-images = 1
device = "cpu"
[pose-regressor]
batch = 4
copies = 2
network.width = 8
"""
FILES = {MODEL_FILE, STATE_FILE, "training.csv", "training.png"}


@pytest.fixture(scope="module")
def folder(files, cases, tmp_path_factory) -> Path:
    folder = tmp_path_factory.mktemp("training")
    lay_out(folder, files, cases)
    (folder / "tiny.toml").write_text(TINY)
    (folder / "mixed").mkdir()
    (folder / "mixed" / "thesis.tex").write_text("years of work")
    (folder / "file").write_text("older")
    image = nib.load(folder / "ct.nii.gz")
    nib.save(nib.Nifti1Image(image.get_fdata() + 1, image.affine), folder / "other.nii.gz")
    (folder / "other.toml").write_text('networks = ["u_net"]')
    return folder


@pytest.fixture
def no_drawing(monkeypatch):
    """Pictures take longer than these trainings."""

    def write(path, curves):
        assert all(curve["images"] for curve in curves.values())
        with atomic(path) as temporary:
            temporary.write_bytes(bytes(5000))

    monkeypatch.setattr(_training, "write_training_curves", write)


@pytest.fixture
def desk(run, folder, monkeypatch) -> Desk:
    monkeypatch.chdir(folder)
    return Desk(folder, run)


@pytest.fixture
def make(run, desk, tmp_path, no_drawing):
    """Train for three batches of four X-rays."""

    def trained(name: str, *arguments: object):
        output = tmp_path / name
        options = ("--output", output, "--config", "tiny.toml", "--images", "12")
        return run("train", "ct.nii.gz", *options, *arguments), output

    return trained


def weights(output: Path) -> dict[str, torch.Tensor]:
    return Checkpoint.load(output / MODEL_FILE).networks["pose_regressor"].state_dict()


def same(a: dict[str, torch.Tensor], b: dict[str, torch.Tensor]) -> bool:
    return a.keys() == b.keys() and all(torch.equal(value, b[name]) for name, value in a.items())


# A training ---------------------------------------------------------------------------------------------


@pytest.mark.slow
def test_a_training_and_its_folder(run, make, files, folder):
    ran, output = make("model")
    assert ran.code == 0, ran.err
    assert {path.name for path in output.iterdir()} == FILES
    record = Checkpoint.load(output / MODEL_FILE).record
    assert record.volume_sha256 == InputFile.of(files.ct).sha256
    # 256 pixels of 1.2 mm as 16, 1020 mm away
    assert record.camera.fx == pytest.approx(1020 / 1.2 / 16)
    with (output / "training.csv").open(newline="") as stream:
        rows = list(csv.DictReader(stream))
    assert list(rows[0]) == ["network", *COLUMNS]
    curve = record.curves["pose_regressor"]
    assert [row["network"] for row in rows] == ["pose_regressor"] * 2
    for column in COLUMNS:
        assert tuple(float(row[column]) for row in rows) == curve[column]
    (line,) = [line for line in ran.out.splitlines() if "pose regressor" in line]
    cells = [cell.strip() for cell in line.split("│")[1:-1]]
    assert cells[:2] == ["pose regressor", "12"]
    errors = [[curve[f"mtre_{percent}_mm"][index] for percent in (50, 25, 75)] for index in (0, 1)]
    assert cells[3:] == ["{:.1f} mm ({:.1f} to {:.1f})".format(*values) for values in errors]
    told = ran.err.splitlines()
    assert [line.partition(" X-rays,")[0] for line in told] == [
        f"pose regressor, 1 of 1: {images}" for images in (4, 12)
    ]
    command = ran.out.splitlines()[-1]
    assert command == f"isoclinic register XRAY --volume ct.nii.gz --model {output} --output RESULT"
    before = tree(output)
    ran, _ = make("model", "--resume")
    assert ran.code == 0 and "complete already" in ran.out
    assert tree(output) == before


# Half the distance puts the file's isocentre behind the detector, which every command rightly warns of.
@pytest.mark.slow
@pytest.mark.filterwarnings("ignore:.*the isocentre lies")
def test_the_geometry_of_an_xray(make):
    for name, options, focal, width in (
        ("as-it-is", (), CAMERA.fx / 4, 16),
        ("half", ("--crop-px", "0", "16", "64", "32", "--sdd-mm", "500"), CAMERA.fx / 8, 8),
    ):
        ran, output = make(name, "--images", "4", "--xray", "xray.dcm", *options)
        assert ran.code == 0, ran.err
        camera = Checkpoint.load(output / MODEL_FILE).record.camera
        assert (camera.width, camera.height) == (width, 16)
        assert camera.fx == pytest.approx(focal)


@pytest.mark.slow
def test_an_older_training_is_kept_or_replaced_as_a_whole(make):
    _, output = make("model")
    (output / f".77.{MODEL_FILE}").write_text("left by a process that was killed")
    before = tree(output)
    ran, _ = make("model")
    ran.refused(2, "output.exists", output, "--resume", "--overwrite")
    assert make("model", "--overwrite", "--preset", "fast", "--pixels", "15")[0].code == 2
    assert tree(output) == before
    ran, _ = make("model", "--overwrite", "--seed", "1")
    assert ran.code == 0 and {path.name for path in output.iterdir()} == FILES


@pytest.mark.slow
def test_scalars_for_tensorboard(make):
    accumulator = pytest.importorskip("tensorboard.backend.event_processing.event_accumulator")
    ran, output = make("model", "--tensorboard")
    assert ran.code == 0, ran.err
    events = accumulator.EventAccumulator(str(output / "tensorboard"))
    events.Reload()
    assert set(events.Tags()["scalars"]) == {
        f"pose_regressor/{name}"
        for name in ("loss/pose", "learning_rate", "images_per_s", "mtre_25_mm", "mtre_50_mm", "mtre_75_mm")
    }
    losses = events.Scalars("pose_regressor/loss/pose")
    assert [event.step for event in losses] == [4, 8, 12]
    curve = Checkpoint.load(output / MODEL_FILE).record.curves["pose_regressor"]
    # stored in float32
    assert losses[-1].value == pytest.approx(curve["loss"][-1], rel=1e-6)
    assert [event.step for event in events.Scalars("pose_regressor/mtre_50_mm")] == [4, 12]
    assert make("model", "--tensorboard", "--overwrite")[0].code == 0
    assert len(list((output / "tensorboard").iterdir())) == 1


def test_the_picture_is_drawn_at_the_first_validation_and_at_the_end(monkeypatch, make):
    """And in between where the last one is old; the table is written at each validation."""
    drawn, rows = [], []

    def draw(path, curves):
        drawn.append(len(curves["pose_regressor"]["images"]))
        rows.append(len((path.parent / "training.csv").read_text().splitlines()) - 1)

    monkeypatch.setattr(_training, "write_training_curves", draw)
    make("model", "--validations", "2")
    assert drawn == rows == [1, 3]
    drawn.clear()
    monkeypatch.setattr(_training, "_DRAWN_EVERY_S", 0.0)
    make("model", "--validations", "2", "--overwrite")
    assert drawn == [1, 2, 3]


# Interruptions ------------------------------------------------------------------------------------------


@pytest.fixture
def interrupt(monkeypatch):
    """Send signals when the first batch is done."""

    def arrange(*signals: int) -> None:
        pending, write = list(signals), _training._Curves.write

        def write_curves(curves):
            while pending:
                signal.raise_signal(pending.pop(0))
            write(curves)

        monkeypatch.setattr(_training._Curves, "write", write_curves)

    return arrange


@pytest.mark.slow
@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_what_is_interrupted_goes_on_exactly(make, interrupt, number):
    make("whole")
    handlers = [signal.getsignal(each) for each in (signal.SIGINT, signal.SIGTERM)]
    interrupt(number)
    ran, output = make("model")
    assert ran.out == ""
    ran.refused(130, "training.interrupted", output, "--resume")
    assert [signal.getsignal(each) for each in (signal.SIGINT, signal.SIGTERM)] == handlers
    assert {path.name for path in output.iterdir()} == FILES
    assert not same(weights(output), weights(output.with_name("whole")))
    ran, _ = make("model", "--resume")
    assert ran.code == 0, ran.err
    assert same(weights(output), weights(output.with_name("whole")))
    assert {path.name for path in output.iterdir()} == FILES


@pytest.mark.slow
def test_asking_twice_interrupts_at_once(make, interrupt):
    interrupt(signal.SIGTERM, signal.SIGINT)
    ran, output = make("model")
    ran.refused(130, None, "interrupted")
    assert not output.exists(), "nothing had been written"


# Options ------------------------------------------------------------------------------------------------


def options(*arguments: str, toml: str | None = None, tmp_path: Path | None = None) -> TrainOptions:
    given = ["ct.nii.gz", "--output", "model", *arguments]
    if toml is not None:
        (tmp_path / "options.toml").write_text(toml)
        given += ["--config", str(tmp_path / "options.toml")]
    return parse_options(TrainOptions, "train", given, PRESETS)


@pytest.mark.parametrize(
    ("preset", "config"),
    [
        ("fast", TrainConfig.fast()),
        ("paper", TrainConfig.paper()),
        ("paper-batched", TrainConfig.paper_batched()),
    ],
)
def test_presets_are_those_of_the_library(tmp_path, preset, config):
    for chosen in (
        options("--preset", preset),
        options(f"--preset={preset}"),
        options(toml=f'preset = "{preset}"', tmp_path=tmp_path),
        options("--preset", preset, toml='preset = "fast"', tmp_path=tmp_path),
    ):
        assert chosen.preset == preset
        assert asdict(chosen.train_config) == asdict(config)


def test_options_change_a_preset(tmp_path):
    toml = """
    preset = "paper-batched"
    seed = 5
    [poses]
    primary-reach-deg = 12.0
    [fine-encoder]
    batch = 4
    optimizer.cycles = 2
    network.backbone.heads = 4
    [randomization.acquisition]
    tools = 7
    """
    config = options("--seed", "6", "--fine-encoder.value", "0.5", toml=toml, tmp_path=tmp_path).train_config
    paper = TrainConfig.paper_batched()
    assert (config.seed, config.images, config.poses.primary_reach_deg) == (6, paper.images, 12.0)
    assert (config.fine_encoder.batch, config.fine_encoder.value) == (4, 0.5)
    assert config.fine_encoder.optimizer == replace(paper.fine_encoder.optimizer, cycles=2)
    backbone = paper.fine_encoder.network.backbone
    assert config.fine_encoder.network.backbone == replace(backbone, heads=4)
    assert config.randomization.acquisition.tools == 7
    assert asdict(config.coarse_encoder) == asdict(paper.coarse_encoder)


@pytest.mark.parametrize(
    ("arguments", "minutes", "images"),
    [
        ((), 30.0, None),
        (("--minutes", "5"), 5.0, None),
        (("--images", "7"), 30.0, 7),
        (("--preset", "paper"), 30.0, 700_000),
        (("--preset", "paper-batched"), 30.0, 900_000),
        (("--preset", "paper", "--minutes", "30"), 30.0, None),
        (("--preset", "paper", "--images", "7"), 30.0, 7),
    ],
)
def test_the_length(arguments, minutes, images):
    config = options(*arguments).train_config
    assert (config.minutes, config.images) == (minutes, images)


def test_details_of_networks_are_no_options_but_settings(run):
    shown = run("train", "--help-all").out
    assert "--pose-regressor.share" in shown and "--poses.primary-reach-deg" in shown
    for hidden in ("network.", "optimizer", "randomization", "perturbation-mm FLOAT FLOAT\n", "polarity"):
        assert f"--pose-regressor.{hidden}" not in shown and f"--{hidden}" not in shown
    assert "--poses.perturbation-mm" not in shown
    assert run("train", "ct", "--output", "m", "--pose-regressor.network.length-mm", "9").code == 2


# What can be wrong --------------------------------------------------------------------------------------

BAD = {
    "--minutes 0": (2, ("training.invalid-value", "minutes", "images")),
    "--images 0": (2, ("training.invalid-value", "minutes", "images")),
    "--minutes 1 --images 1": (2, ("options.conflict", "--minutes", "--images")),
    "--config other.toml": (2, ("config-file.invalid", "networks", "'u_net'")),
    "--networks canonical canonical": (2, ("training.invalid-value", "networks")),
    "--pixels 8": (2, ("training.invalid-value", "pixels", "16")),
    "--seed -1": (2, ("training.invalid-value", "seed")),
    "--device cuda": (2, ("installation.no-gpu", "--device", "cuda")),
    "--xray no.dcm": (1, ("xray.missing", "no.dcm")),
    "--xray xray.dcm --width 9": (2, ("options.conflict", "--width", "--height", "--xray")),
    "--crop-px 0 0 9 9": (2, ("options.unknown-name", "--xray")),
    "--width 4": (2, ("options.invalid-value", "--width", "--height", "8")),
    "--sdd-mm -5": (2, ("xray.invalid-value", "--sdd-mm")),
    "--resume": (2, ("training.cannot-resume", "--resume", "state.safetensors")),
    "--resume --overwrite": (2, ("training.cannot-resume", "--resume", "--overwrite")),
    "--output file --overwrite": (2, ("output.not-a-folder", "file")),
    "--output mixed": (2, ("output.exists", "mixed", "--resume", "--overwrite")),
    "--output mixed --overwrite": (2, ("output.foreign-files", "thesis.tex")),
    "--output mixed --resume": (2, ("output.foreign-files", "thesis.tex")),
    "--output file/new": (1, ("output.unwritable", "file/new")),
    "--output /proc/new": (1, ("output.unwritable", "--output", "/proc/new")),
}


@pytest.mark.parametrize("line", BAD)
def test_what_is_wrong_is_said_before_anything_is_written(desk, line):
    status, fault = BAD[line]
    output = "" if "--output" in line else "OUT"
    config = "" if "--config" in line else "--config tiny.toml"
    desk.refuses(f"train ct.nii.gz {output} {config} {line}", status, *fault)


def test_a_batch_that_copies_do_not_divide(run, desk):
    before = tree(desk.folder)
    ran = run("train", "ct.nii.gz", "--output", "new", "--pose-regressor.copies", "3")
    assert ran.code == 2 and "copies that divide the batch" in " ".join(ran.err.replace("│", " ").split())
    assert tree(desk.folder) == before


@pytest.mark.parametrize(("ct", "code"), [("no.nii.gz", "ct.missing"), ("pose.json", "ct.unknown-format")])
def test_what_is_no_ct(desk, ct, code):
    desk.refuses(f"train {ct} OUT --config tiny.toml", 1, code, ct)


@pytest.mark.parametrize(
    ("package", "extra", "option"),
    [("monai", "train", ""), ("tensorboard", "tensorboard", "--tensorboard")],
)
def test_packages_that_are_not_installed(desk, monkeypatch, package, extra, option):
    without(monkeypatch, package)
    line = f"train ct.nii.gz OUT --config tiny.toml {option}"
    desk.refuses(line, 2, "installation.package-missing", package, f"pip install 'isoclinic[{extra}]'")


@pytest.mark.slow
def test_a_training_of_something_else_is_not_gone_on_with(desk, make, tmp_path):
    _, output = make("model")
    before = tree(output)
    resume = f"--output {output} --config tiny.toml --resume"
    desk.refuses(f"train ct.nii.gz {resume} --seed 4", 1, "training.cannot-resume", "seed", "4")
    desk.refuses(f"train other.nii.gz {resume}", 1, "training.cannot-resume", "ct_sha256")
    desk.refuses(
        f"train ct.nii.gz {resume} --width 128", 1, "training.cannot-resume", "camera.width", "16", "8"
    )
    (output / STATE_FILE).write_bytes((output / STATE_FILE).read_bytes()[:999])
    desk.refuses(f"train ct.nii.gz {resume}", 1, "model.unreadable", STATE_FILE)
    (output / STATE_FILE).write_bytes(before[output / STATE_FILE])
    assert tree(output) == before


@pytest.mark.slow
@pytest.mark.parametrize(
    ("size", "name", "left"),
    [
        (0, "training.csv", None),
        (1000, "training.png", {"training.csv"}),
        (200_000, STATE_FILE, {"training.csv", "training.png"}),
    ],
)
def test_a_disk_that_is_full(make, size, name, left):
    make("first")  # compiles, which may write to caches
    with room_for(size):
        ran, output = make("model")
    assert ran.out == ""
    ran.refused(1, "output.unwritable", name, "File too large")
    assert ({path.name for path in output.iterdir()} if output.exists() else None) == left


# What people see ----------------------------------------------------------------------------------------


def test_the_dashboard(monkeypatch, make):
    screen = io.StringIO()
    terminal = Console(file=screen, force_terminal=True, width=100, color_system=None)
    texts = []

    class Photographed(Dashboard):
        def update(self, progress):
            super().update(progress)
            self._stopping = lambda: len(texts) == 2
            photo = Console(file=io.StringIO(), width=100)
            photo.print(self._renderable())
            texts.append(photo.file.getvalue())

    monkeypatch.setattr(_training, "progress", lambda: terminal)
    monkeypatch.setattr(_training, "Dashboard", Photographed)
    ran, _ = make("model")
    assert ran.code == 0, ran.err
    assert ["finishing the batch" in text for text in texts] == [False, False, True]
    for images, text in zip((4, 8, 12), texts, strict=True):
        rows = dict(line.split("  ", 1) for line in text.splitlines() if line[:1].strip())
        assert rows["network"].strip() == "pose regressor, 1 of 1"
        assert rows["X-rays"].strip().startswith(f"{images}, ")
        assert set(rows) == {"network", "X-rays", "loss", "learning rate", "validation mTRE", "time"}
    assert "1.00e-03" in texts[0] and "▁" in texts[0]
    assert "0:00:00 left" in texts[-1]
    assert "pose regressor, 1 of 1" in screen.getvalue()


def test_a_trend():
    assert sparkline([100.0, 10.0, 1.0]) == "█▅▁"
    assert sparkline([7.0, 7.0]) == "▁▁"
    assert sparkline([0.0, 1.0])[1] == "█"
