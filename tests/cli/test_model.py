"""`--model` of register and evaluate: untrained networks about the right view, and about a wrong one."""

from __future__ import annotations

import json
import shutil
from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
import torch

from isoclinic import Camera
from isoclinic.cli import _model
from isoclinic.geometry import se3
from isoclinic.networks import (
    CanonicalConfig,
    CanonicalNetwork,
    Checkpoint,
    PoseRegressor,
    PoseRegressorConfig,
    PoseSpace,
    TrainingRecord,
)
from isoclinic.provenance import InputFile
from isoclinic.registration import PoseFile
from isoclinic.registration.result import Attempt
from isoclinic.results.registered import fallback_text
from missing_package import without
from tiny_networks import BACKBONE, encoder

from .conftest import CAMERA, Files, off, true_pose
from .desk import Desk, lay_out

SMALL_CAMERA = CAMERA.bin(2)
NETWORKS = ("pose_regressor", "coarse_encoder", "fine_encoder")
# Seen from the patient's left, it is out of reach.
WRONG = torch.tensor([0.0, 1.4, 0.0, 40.0, 40.0, 0.0], dtype=torch.float64)
SHORT = ("--learned.coarse", "--learned.fine", "--learned.max-steps", "2")


def save_model(
    path: Path,
    ct: Path,
    nominal: torch.Tensor,
    networks: tuple[str, ...] = NETWORKS,
    camera: Camera = SMALL_CAMERA,
) -> Path:
    """A model whose regressor, untrained, predicts about the nominal view."""
    torch.manual_seed(0)
    made: dict[str, Any] = {
        "pose_regressor": PoseRegressor(PoseRegressorConfig(width=8)),
        "coarse_encoder": encoder("global"),
        "fine_encoder": encoder("dense"),
    }
    record = TrainingRecord(
        volume_sha256=InputFile.of(ct).sha256,
        camera=camera,
        space=PoseSpace.about(nominal, (0.0, 0.0, 0.0), 100.0),
        rotation_deg=(30.0, 45.0, 15.0),
        translation_mm=(60.0, 60.0, 150.0),
        curves={},
    )
    Checkpoint(networks={kind: made[kind] for kind in networks}, record=record).save(path)
    return path


@pytest.fixture(scope="module")
def models(files: Files, tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("models")
    right = off(true_pose(), 3.0)
    wrong = se3.perturb(true_pose(), WRONG, torch.zeros(3, dtype=torch.float64))
    (folder / "trained").mkdir()
    save_model(folder / "trained" / "model.safetensors", files.ct, right)
    save_model(folder / "wrong.safetensors", files.ct, wrong)
    save_model(folder / "regressor.safetensors", files.ct, right, ("pose_regressor",))
    return folder


@pytest.fixture
def register(run, files, models, tmp_path):
    def register_phantom(model, *arguments):
        options = ["--volume", files.ct, "--output", tmp_path / "result", "--config", files.config, *SHORT]
        return run("register", files.xray, *options, "--model", models / model, *arguments)

    return register_phantom


@pytest.mark.slow
def test_a_model_needs_no_initial_pose(register, files, models, tmp_path):
    ran = register("trained", "--json")
    assert (ran.code, ran.err) == (0, "")
    document, file = json.loads(ran.out), models / "trained" / "model.safetensors"
    assert document["status"] == "converged" and document["initial"]["source"] == "model"
    assert document["model"] == {
        "path": str(file),
        "sha256": InputFile.of(file).sha256,
        "contributed": ["start", "coarse encoder", "fine encoder"],
        "fallback": None,
    }
    (attempt,) = document["attempts"]
    assert attempt["edges"] == document["confidence"]["edges"]
    pose = PoseFile.read(tmp_path / "result" / "pose.json")
    assert pose.model == InputFile.of(file)
    off_mm = (pose.camera_from_world - files.camera_from_world)[:3, 3].norm()
    assert off_mm < 1
    report = (tmp_path / "result" / "report.html").read_text()
    assert "start, coarse encoder, fine encoder" in report, "in the table of inputs"
    assert "fine encoder, 32 x 32 px" in report, "in the course of the optimisation"


@pytest.mark.slow
def test_people_read_what_the_model_did(register, models):
    ran = register("wrong.safetensors")
    assert ran.code == 0, ran.err
    rows = {line.split("│")[1].strip(): line for line in ran.out.splitlines() if "│" in line}
    assert "model" in rows["start"] and "--model" in rows["start"]
    assert "start, coarse encoder, fine encoder" in rows["model"]
    assert "found by a search around preset ap" in rows["fallback"]
    assert "hardly matched: edges" in rows["fallback"]


@pytest.mark.slow
def test_the_fallback_is_told(register, tmp_path):
    document = json.loads(register("wrong.safetensors", "--json").out)
    assert document["status"] == "converged"
    assert document["model"]["fallback"] == "found by a search around preset ap"
    assert [attempt["start"] for attempt in document["attempts"]] == ["model", "model", "preset ap"]
    assert "found by a search around preset ap" in (tmp_path / "result" / "report.html").read_text()


@pytest.mark.slow
def test_the_published_registration(run, files, models, tmp_path):
    """The regressor's pose and one network's refinement of it, with the whole of the result's files."""
    options = ["--volume", files.ct, "--output", tmp_path / "result", "--preset", "paper", "--json"]
    ran = run("register", files.xray, *options, "--model", models / "trained")
    document = json.loads(ran.out)
    assert ran.code == (3 if document["status"] == "doubtful" else 0), ran.err
    assert document["model"]["contributed"] == ["start", "coarse encoder"]
    assert document["model"]["fallback"] is None and len(document["attempts"]) == 1
    assert (tmp_path / "result" / "report.html").exists()
    pose = PoseFile.read(tmp_path / "result" / "pose.json")
    off_mm = (pose.camera_from_world - files.camera_from_world)[:3, 3].norm()
    assert off_mm < 5
    ran = run("register", files.xray, *options, "--model", "none", "--overwrite")
    ran.refused(2, "registration.invalid-value", "--model")


# The networks that come along -----------------------------------------------------------------------------


@pytest.fixture
def comes_along(monkeypatch, tmp_path) -> Path:
    """A canonical network, untrained, in place of the one that comes along."""
    torch.manual_seed(0)
    network = CanonicalNetwork(CanonicalConfig(backbone=BACKBONE, window_px=9))
    record = TrainingRecord(
        volume_sha256=None,
        camera=SMALL_CAMERA,
        space=PoseSpace.about(true_pose(), (0.0, 0.0, 0.0), 100.0),
        rotation_deg=(30.0, 45.0, 15.0),
        translation_mm=(60.0, 60.0, 150.0),
        curves={},
    )
    file = tmp_path / "any-patient.safetensors"
    Checkpoint(networks={"canonical": network}, record=record).save(file)
    monkeypatch.setattr(_model, "DEFAULT_MODEL", file)
    monkeypatch.setattr(_model, "default_model", lambda: Checkpoint.load(file))
    return file


@pytest.fixture
def plainly(run, files, tmp_path, comes_along):
    def register_phantom(*arguments):
        options = ["--volume", files.ct, "--output", tmp_path / "result", "--config", files.config, "--json"]
        ran = run("register", files.xray, *options, *arguments)
        document = json.loads(ran.out)
        assert ran.code == (3 if document["status"] == "doubtful" else 0), ran.err
        return document

    return register_phantom


NEVER_GOOD_ENOUGH = ("--confidence.edges-below", "2", "--any-view.no-enabled")


@pytest.mark.slow
def test_they_stay_out_where_the_images_match(plainly, comes_along):
    comes_along.write_bytes(b"never read")
    document = plainly()
    assert document["status"] == "converged" and "model" not in document


@pytest.mark.slow
def test_they_are_the_last_resort(plainly, comes_along, tmp_path):
    document = plainly(*NEVER_GOOD_ENOUGH)
    assert document["model"]["path"] == str(comes_along)
    assert [attempt["learned"] for attempt in document["attempts"]][-1] == ["canonical search"]
    assert PoseFile.read(tmp_path / "result" / "pose.json").model == InputFile.of(comes_along)
    assert "any-patient.safetensors" in (tmp_path / "result" / "report.html").read_text()


def test_they_can_be_left_out(plainly):
    document = plainly(*NEVER_GOOD_ENOUGH, "--model", "none")
    assert "model" not in document
    assert all(attempt["learned"] == [] for attempt in document["attempts"])
    assert not any("last resort" in doubt for doubt in document["confidence"]["doubts"])


@pytest.mark.parametrize("how", ["damaged", "gone"])
def test_what_was_found_without_them_is_kept_where_they_cannot_be_read(plainly, comes_along, tmp_path, how):
    if how == "damaged":
        comes_along.write_bytes(comes_along.read_bytes()[:100])
    else:
        comes_along.unlink()
    document = plainly(*NEVER_GOOD_ENOUGH)
    assert document["status"] == "doubtful" and "model" not in document
    (doubt,) = (each for each in document["confidence"]["doubts"] if "the last resort" in each)
    assert str(comes_along) in doubt
    assert doubt in PoseFile.read(tmp_path / "result" / "pose.json").doubts
    assert "the last resort" in (tmp_path / "result" / "report.html").read_text()


def test_what_is_said_about_searches():
    """Of edges after the model alone and after each search."""

    def said(*edges: float, start: str = "model") -> str | None:
        plain = Attempt(start=start, learned=(), candidates=0, edges=edges[0], reading="as read")
        attempts = [plain, *(replace(plain, start="ap", candidates=9, edges=each) for each in edges[1:])]
        best = max(attempts, key=lambda attempt: attempt.edges)
        text = fallback_text(SimpleNamespace(attempt=best, attempts=tuple(attempts)))
        return None if text is None else text[0]

    assert said(0.9) is None
    assert said(0.5, 0.4, 0.9) == "found by a search around ap"
    assert said(0.5, 0.4, 0.3) == "2 searches found nothing better"
    assert said(0.5, 0.9, start="ap") is None, "no model took part"


@pytest.mark.slow
def test_a_start_that_is_given_wins(register, files):
    document = json.loads(register("wrong.safetensors", "--json", "--init", files.init).out)
    assert document["initial"]["source"].startswith("file ")
    assert document["model"]["contributed"] == ["coarse encoder", "fine encoder"]
    assert document["model"]["fallback"] is None


@pytest.mark.slow
def test_a_model_that_contributes_nothing(register, files):
    ran = register("regressor.safetensors", "--init", files.init)
    assert ran.code == 0 and "took no part" in ran.out


@pytest.fixture
def evaluate(run, files, cases, models, tmp_path):
    def evaluate_cases(*arguments, folder=cases):
        options = ["--volume", files.ct, "--output", tmp_path / "out", "--config", files.config, *SHORT]
        return run("evaluate", folder, *options, "--starts", "none", *arguments)

    return evaluate_cases


@pytest.mark.slow
def test_evaluation_with_a_model(evaluate, models, tmp_path):
    assert evaluate("--model", models / "trained").code == 0
    file = models / "trained" / "model.safetensors"
    case = tmp_path / "out" / "cases" / "phantom" / "00" / "none" / "isoclinic"
    assert PoseFile.read(case / "pose.json").model == InputFile.of(file)
    document = json.loads((case / "measurement.json").read_text())
    assert [attempt["start"] for attempt in document["attempts"]] == ["model"]
    # The model's start is 3 mm off this case, a standard view is 9 mm.
    assert document["measurement"]["initial_mtre_mm"] < 6
    assert document["measurement"]["mtre_mm"] < 1
    ran = evaluate("--model", models / "wrong.safetensors")
    ran.refused(2, "output.of-other-settings", "settings of the method")
    assert evaluate().code == 2
    shutil.copy(file, tmp_path / "copy.safetensors")
    ran = evaluate("--model", tmp_path / "copy.safetensors")
    assert ran.code == 0, "the same model by another name is the same"


@pytest.mark.slow
def test_a_model_for_every_group(evaluate, models, cases, tmp_path):
    folder = tmp_path / "two"
    for group in "ab":
        shutil.copytree(cases / "phantom" / "00", folder / group / "00")
    by_group = f"a={models / 'trained'}", f"b={models / 'wrong.safetensors'}"
    assert evaluate("--model", *by_group, folder=folder).code == 0
    for group, attempts in (("a", 1), ("b", 3)):
        file = tmp_path / "out" / "cases" / group / "00" / "none" / "isoclinic" / "measurement.json"
        assert len(json.loads(file.read_text())["attempts"]) == attempts
    ran = evaluate("--model", by_group[0], folder=folder)
    ran.refused(2, "evaluation.model-missing", "'b'", "b=MODEL", "--model")
    ran = evaluate("--model", "c=x", folder=folder)
    ran.refused(2, "options.unknown-name", "--model c=x", "a, b")


# What can be wrong --------------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def desk_folder(files, cases, models, tmp_path_factory) -> Path:
    folder = tmp_path_factory.mktemp("desk")
    lay_out(folder, files, cases)
    nominal = true_pose()
    save_model(folder / "good.safetensors", files.ct, nominal)
    save_model(folder / "other-ct.safetensors", files.labels, nominal)
    # Three times as wide as the X-ray.
    wide = CAMERA.pad(left=64, right=64).bin(2)
    save_model(folder / "wide.safetensors", files.ct, nominal, camera=wide)
    save_model(folder / "empty.safetensors", files.ct, nominal, ())
    content = (folder / "good.safetensors").read_bytes()
    (folder / "cut.safetensors").write_bytes(content[: len(content) // 2])
    return folder


@pytest.fixture
def desk(run, desk_folder, monkeypatch) -> Desk:
    monkeypatch.chdir(desk_folder)
    return Desk(desk_folder, run)


BAD = {
    "no.safetensors": (1, ("input.unreadable", "no.safetensors")),
    "folder": (1, ("model.missing", "--model", "model.safetensors")),
    "cut.safetensors": (1, ("model.unreadable", "cut.safetensors")),
    "pose.json": (1, ("model.unreadable", "pose.json")),
    "other-ct.safetensors": (1, ("model.unsuitable", "other-ct.safetensors", "ct.nii.gz")),
    "wide.safetensors": (1, ("model.unsuitable", "33%")),
    "empty.safetensors": (2, ("model.unused", "no network")),
}


@pytest.mark.parametrize("name", BAD)
@pytest.mark.parametrize("line", ["REGISTER OUT --model {}", "EVALUATE OUT --starts none --model {}"])
def test_models_that_cannot_be_used(desk, line, name):
    status, (code, *names) = BAD[name]
    if line.startswith("EVALUATE") and code in ("model.unreadable", "model.unsuitable"):
        code = "evaluation.nothing-registered"  # it says of each case why it could not be registered
    desk.refuses(line.format(name), status, code, *names)


def test_another_ct_is_named(desk):
    desk.refuses(
        "REGISTER OUT --model other-ct.safetensors", 1, "model.unsuitable", "other-ct.safetensors", "SHA-256"
    )


def test_a_start_that_needs_a_model(desk):
    desk.refuses("REGISTER OUT --init model", 2, "start.model-missing", "init 'model'", "--model")
    off = "--learned.no-initialize"
    desk.refuses(
        f"REGISTER OUT --model good.safetensors {off}", 2, "model.unused", "pose_regressor, coarse_encoder"
    )


def test_a_package_that_is_not_installed(desk, monkeypatch):
    without(monkeypatch, "monai")
    desk.refuses(
        "REGISTER OUT --model good.safetensors",
        2,
        "installation.package-missing",
        "monai",
        "pip install 'isoclinic[train]'",
    )
