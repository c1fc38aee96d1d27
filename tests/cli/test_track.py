"""`isoclinic track` as users run it: what it writes, says and refuses, and how it goes on after Ctrl-C."""

from __future__ import annotations

import csv
import json
import signal
import subprocess
import sys
import time
from pathlib import Path

import nibabel as nib
import numpy as np
import pytest
from PIL import Image

import warm
from isoclinic.geometry import se3
from isoclinic.simulation import SimulationConfig, simulate_xray
from run_files import write_run
from warm import Warm

from .conftest import CAMERA, off, phantom, true_pose

FRAMES = 6
STEP_MM = 1.0


def pose_at(index: int):
    return off(true_pose(), STEP_MM * index)


@pytest.fixture(scope="module")
def pictures() -> np.ndarray:
    volume, config = phantom(), SimulationConfig(full_scale=60000.0)
    taken = [
        simulate_xray(volume, CAMERA, pose_at(index), config, generator=np.random.default_rng(index)).pixels
        for index in range(FRAMES)
    ]
    return np.clip(np.rint(np.stack(taken)), 0, 65535).astype(np.uint16)


@pytest.fixture
def cine(tmp_path, pictures) -> Path:
    return write_run(tmp_path / "cine.dcm", pictures, CAMERA, FrameTime="66.6")


@pytest.fixture
def track(run, files, tmp_path):
    """Run the command on these arguments, with the phantom's CT, start and a quick schedule."""

    def command(*arguments: object):
        given = {str(each) for each in arguments}
        usual = ["--volume", files.ct, "--output", tmp_path / "out", "--config", files.config]
        if "--init" not in given:
            usual += ["--init", files.init]
        return run("track", *arguments, *usual)

    return command


def table(path: Path) -> list[dict[str, str]]:
    with path.open(newline="", encoding="utf-8") as file:
        return list(csv.DictReader(file))


def lines(folder: Path) -> list[dict]:
    return [json.loads(line) for line in (folder / "poses.jsonl").read_text(encoding="utf-8").splitlines()]


@pytest.mark.slow
def test_a_run_from_its_file_to_its_report(track, cine, tmp_path):
    ran = track(cine)
    assert ran.code == 0, ran.err
    first = ran.out.splitlines()[0]
    assert first.startswith(f"{FRAMES} of {FRAMES} frames passed all checks -> ") and "report.html" in first
    assert "frames/s" in ran.out
    out = tmp_path / "out"
    assert sorted(each.name for each in out.iterdir()) == [
        *("animation.gif", "poses.csv", "poses.jsonl", "report.html")
    ]
    rows = table(out / "poses.csv")
    assert [row["frame"] for row in rows] == [str(index) for index in range(FRAMES)]
    for index, row in enumerate(rows):
        assert float(row["time_s"]) == pytest.approx(0.0666 * index, abs=1e-4)
        truth = pose_at(index).numpy() @ [*phantom().isocentre_world, 1]
        found = [float(row[name]) for name in ("right_mm", "down_mm")]
        np.testing.assert_allclose(found, truth[:2], atol=1.0)
        assert float(row["depth_mm"]) == pytest.approx(truth[2], abs=5)
        assert row["status"] == "converged" and row["doubts"] == "" and float(row["expected_error_mm"]) > 0
    turned = se3.rotation_angle_deg(pose_at(0), pose_at(FRAMES - 1)).item()
    angles = [float(rows[-1][f"turn_about_{axis}_deg"]) for axis in ("right", "down", "depth")]
    assert np.linalg.norm(angles) == pytest.approx(turned, abs=0.5)
    head, *done = lines(out)
    assert head["format"] == "isoclinic.track" and len(done) == FRAMES
    page = (out / "report.html").read_text(encoding="utf-8")
    assert page.count("<svg role=") == 10 and "Research software" in page
    with Image.open(out / "animation.gif") as film:
        assert film.n_frames == FRAMES and film.size[0] == 256
        film.seek(3)
        orange = (np.asarray(film.convert("RGB")) == (255, 140, 0)).all(axis=-1)
        assert 50 < orange.sum() < 0.3 * orange.size


@pytest.mark.slow
def test_bad_frames_are_told_and_the_run_goes_on(track, tmp_path, pictures):
    changed = pictures.copy()
    changed[2] = 500  # blank
    changed[4] = changed[3]
    path = write_run(tmp_path / "cine.dcm", changed, CAMERA)
    path.write_bytes(path.read_bytes()[:-100])
    ran = track(path)
    assert ran.code == 3
    first = ran.out.splitlines()[0]
    assert first.startswith("DOUBTFUL: 4 of 6 frames passed all checks, 2 without a pose; frame 2: ")
    rows = table(tmp_path / "out" / "poses.csv")
    assert [row["status"] for row in rows] == [
        *("converged", "converged", "unusable", "converged", "converged", "unusable")
    ]
    assert rows[4]["unchanged"] == "1" and rows[2]["right_mm"] == rows[2]["time_s"] == ""
    assert "ends before frame 5" in rows[5]["doubts"]
    page = (tmp_path / "out" / "report.html").read_text(encoding="utf-8")
    assert "Frames that need a look" in page and 'data-status="doubtful"' in page
    assert track(path, "--overwrite", "--accept-doubtful").code == 0


@pytest.mark.slow
@pytest.mark.filterwarnings("always::isoclinic.volumes.GeometryWarning")
def test_a_folder_of_pictures_with_options_for_their_geometry(track, tmp_path, pictures):
    folder = tmp_path / "frames"
    folder.mkdir()
    for index in range(3):
        Image.fromarray(pictures[index]).save(folder / f"frame{index + 8}.png")
    ran = track(folder)
    assert ran.code == 1 and "--sdd-mm" in ran.err and not (tmp_path / "out").exists()
    ran = track(*(folder, "--sdd-mm", "1000", "--pixel-spacing-mm", "3", "3", "--json"))
    assert ran.code == 0, ran.err
    document = json.loads(ran.out)
    assert next(iter(document)) == "verdict" and document["right"] == document["frames"] == 3
    # That the polarity was guessed holds for every frame, and is told once.
    told = [line.partition("png: ")[2] for line in ran.err.splitlines() if "png: " in line]
    assert len(told) == 1 and "guessed" in told[0]
    rows = table(tmp_path / "out" / "poses.csv")
    assert [Path(row["file"]).name for row in rows] == ["frame8.png", "frame9.png", "frame10.png"]
    assert {row["time_s"] for row in rows} == {""}


@pytest.mark.slow
def test_an_older_run_is_only_touched_on_demand(track, cine, tmp_path):
    assert track(cine).code == 0
    before = {path: path.read_bytes() for path in (tmp_path / "out").iterdir()}
    ran = track(cine)
    assert ran.code == 2 and "--resume" in ran.err and "--overwrite" in ran.err
    ran = track(cine, "--resume", "--overwrite")
    assert ran.code == 2 and "choose" in ran.err
    ran = track(cine, "--resume", "--length-mm", "70")
    assert ran.code == 2 and "other settings of the registration" in ran.err
    assert {path: path.read_bytes() for path in (tmp_path / "out").iterdir()} == before
    assert track(cine, "--resume").code == 0
    assert (tmp_path / "out" / "poses.jsonl").read_bytes() == before[tmp_path / "out" / "poses.jsonl"]
    (tmp_path / "out" / "mine.txt").write_text("not a result")
    ran = track(cine, "--overwrite")
    assert ran.code == 2 and "mine.txt" in ran.err


def test_nothing_to_go_on_with(track, cine, tmp_path):
    ran = track(cine, "--resume")
    assert ran.code == 2 and "no run to --resume" in ran.err and not (tmp_path / "out").exists()


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (["--frame", "3"], "--frame"),
        (["--views", "views.json"], "--second-plane"),
        (["--each-structure", "bone"], "--labels"),
        (["--show.animation-frames", "0"], "animation_frames"),
    ],
)
def test_options_that_make_no_sense(track, cine, tmp_path, arguments, words):
    ran = track(cine, *arguments)
    assert ran.code == 2 and words in ran.err and not (tmp_path / "out").exists()


def test_no_run(track, tmp_path):
    assert track().code == 2
    ran = track(tmp_path / "none.dcm")
    assert ran.code == 1 and "does not exist" in ran.err


def test_planes_of_different_lengths(track, cine, tmp_path, pictures):
    other = write_run(tmp_path / "side.dcm", pictures[:3], CAMERA)
    ran = track(cine, "--second-plane", other)
    assert ran.code == 1 and "6 and 3 frames" in ran.err


@pytest.mark.slow
def test_structures_are_told_relative_to_each_other(track, files, cine, tmp_path):
    image = nib.load(files.labels)
    labels = np.asarray(image.dataobj).astype(np.uint8)
    x_mm = np.arange(labels.shape[0]) * 3.0 - 94.5
    sided = labels * np.where(x_mm > 0, 1, 2)[:, None, None].astype(np.uint8)
    nib.save(nib.Nifti1Image(sided, image.affine), tmp_path / "sides.nii.gz")
    (tmp_path / "sides.json").write_text('{"1": "femur_right", "2": "tibia_right"}')
    quick = ["--moving.candidates", "4", "--moving.starts", "1", "--moving.rounds", "1"]
    ran = track(cine, "--labels", tmp_path / "sides.nii.gz", "--each-structure", "all", *quick)
    assert ran.code in (0, 3), ran.err
    rows = table(tmp_path / "out" / "relative.csv")
    assert len(rows) == FRAMES and {row["structure"] for row in rows} == {"tibia_right"}
    assert [rows[0][f"angle_{number}_name"] for number in (1, 2, 3)] == [
        *("flexion", "adduction", "internal rotation")
    ]
    for row in rows:
        # Both moved as one; what is left is noise.
        assert abs(float(row["angle_1_deg"])) < 3 and abs(float(row["shift_right_mm"])) < 3
    page = (tmp_path / "out" / "report.html").read_text(encoding="utf-8")
    assert "Right knee" in page and "anatomical axes cannot" in page
    assert set(lines(tmp_path / "out")[1]["structures"]) == {"femur_right", "tibia_right"}


@pytest.mark.slow
def test_ctrl_c_keeps_what_is_done(files, tmp_path, pictures):
    cine = write_run(tmp_path / "cine.dcm", np.concatenate([pictures, pictures[::-1]] * 3), CAMERA)
    command = [sys.executable, "-m", "isoclinic", "track", cine, "--volume", files.ct, "--output"]
    more = ["--config", files.config, "--init", files.init]
    ledger = tmp_path / "out" / "poses.jsonl"
    process = Warm([*map(str, [*command, tmp_path / "out", *more])], stderr=subprocess.PIPE)
    deadline = time.monotonic() + 120
    while not (ledger.exists() and ledger.read_bytes().count(b"\n") > 5) and process.poll() is None:
        assert time.monotonic() < deadline
        time.sleep(0.05)
    process.send_signal(signal.SIGINT)
    _, err = process.communicate(timeout=60)
    assert process.returncode == 130 and "--resume" in err, err
    done = ledger.read_bytes()
    assert done.endswith(b"\n") and 5 < done.count(b"\n") < 37
    assert [path.name for path in (tmp_path / "out").iterdir()] == ["poses.jsonl"]
    resumed = warm.run([*map(str, [*command, tmp_path / "out", *more, "--resume"])])
    assert resumed.returncode == 0, resumed.stderr
    assert ledger.read_bytes().startswith(done) and ledger.read_bytes().count(b"\n") == 37
