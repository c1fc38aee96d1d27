"""`isoclinic evaluate` on small files of every data set, and the tables it measures on them.

Methods that take no time stand in for registrations, which tests of the command run.
"""

from __future__ import annotations

import csv
import json
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import h5py
import numpy as np
import pytest
import torch

from isoclinic._spread_config import SpreadConfig
from isoclinic.cli import _protocol, main
from isoclinic.datasets import DeepFluoro, dataset_kind
from isoclinic.datasets.preparation import (
    DrrConfig,
    LumbarConfig,
    PreparationConfig,
    QualityConfig,
    prepare_ctspine1k,
)
from isoclinic.evaluation import models
from isoclinic.evaluation.methods.registry import is_installed
from isoclinic.evaluation.published import PUBLISHED_TABLES
from isoclinic.networks import Checkpoint
from isoclinic.registration import PoseFile
from isoclinic.training import TrainConfig, Trainer, TrainingData
from isoclinic.volumes import VoxelIdentity
from phantoms import phantom
from raising import Ran
from spine import spine, write_original
from tiny_samples import Nudge
from tiny_training import CONFIG as TINY
from tiny_training import trainer

from .files import landmarks, scene, write_deepfluoro, write_ljubljana

KINDS = ("deepfluoro", "ljubljana", "ctspine1k")
# One X-ray of each is taken.
SUBJECTS = {"deepfluoro": "17-1882", "ljubljana": "subject01", "ctspine1k": "liver_1"}
each_kind = pytest.mark.parametrize("kind", KINDS)


@pytest.fixture(scope="module")
def sources(tmp_path_factory) -> dict[str, Path]:
    folder = tmp_path_factory.mktemp("sources")
    ct = phantom(3, (40, 36, 44))
    points = landmarks(ct, 8, seed=1)
    write_deepfluoro(folder / "deepfluoro.h5", ct, [scene(ct, seed) for seed in range(3)], points)
    views = {"ap": scene(ct, 0), "lat": scene(ct, 2)}
    write_ljubljana(folder / "ljubljana.h5", replace(ct, hu=ct.hu.clip(-1000, 1000)), views, points)
    write_original(folder / "CTSpine1K", "liver_1", spine((4.0, 4.0, 3.0)))
    config = PreparationConfig(
        lumbar=LumbarConfig(margin_mm=10.0),
        quality=QualityConfig(largest_spacing_mm=4.0),
        drrs=DrrConfig(images=2, images_per_file=2, binning=24),
    )
    prepare_ctspine1k(folder / "CTSpine1K", folder / "ctspine1k", config, SpreadConfig())
    return {
        "deepfluoro": folder / "deepfluoro.h5",
        "ljubljana": folder / "ljubljana.h5",
        "ctspine1k": folder / "ctspine1k",
    }


@pytest.fixture
def evaluate(capsys, monkeypatch, tmp_path) -> Callable[..., Ran]:
    """Run the command with methods that take no time."""
    monkeypatch.setattr(_protocol, "method_named", lambda name, **_: Nudge(name=name))

    def run(source: Path, *arguments: object, output: Path = tmp_path / "out") -> Ran:
        line = ["evaluate", source, "--output", output, "--deepfluoro.border-px", 5, *arguments]
        try:
            code = main([str(each) for each in line])
        except SystemExit as exit_:
            code = int(exit_.code or 0)
        return Ran(code, *capsys.readouterr())

    return run


@pytest.fixture(scope="module")
def model(tmp_path_factory) -> Path:
    """Untrained networks of one CT."""
    path = tmp_path_factory.mktemp("model") / "model.safetensors"
    made = trainer(networks=("pose_regressor",), images=4)
    networks = {phase.kind: phase.network for phase in made.phases}
    Checkpoint(networks=networks, record=made.checkpoint().record).save(path)
    return path


@pytest.fixture(scope="module")
def model_of_any(model, tmp_path_factory) -> Path:
    path = tmp_path_factory.mktemp("model") / "model.safetensors"
    of_one = Checkpoint.load(model)
    replace(of_one, record=replace(of_one.record, volume_sha256=None)).save(path)
    return path


@each_kind
@pytest.mark.slow
def test_a_data_set_is_known_by_what_it_holds(evaluate, sources, tmp_path, kind):
    assert dataset_kind(sources[kind]) == kind
    ran = evaluate(sources[kind], "--max-samples", 1, "--starts", "none", "mtre:20", "--json")
    assert ran.code == 0, ran.err
    found = json.loads(ran.out)["measurements"]
    assert [each["start"] for each in found] == ["none", "mtre:20"]
    assert {(each["dataset"], each["group"]) for each in found} == {(kind, SUBJECTS[kind])}
    assert found[1]["initial_mtre_mm"] == pytest.approx(20, abs=1e-8)
    (pose,) = (tmp_path / "out").rglob("mtre-20/isoclinic/pose.json")
    file = PoseFile.read(pose)
    assert Path(file.volume.path).exists() and Path(file.xray.path).exists()
    assert evaluate(sources[kind], "--dataset", kind, "--max-samples", 1).code == 0, "as it says itself"
    ran = evaluate(sources[kind], "--volume", "ct.nii.gz")
    ran.refused(2, "options.conflict", "--volume", kind)


@pytest.mark.slow
def test_how_a_data_set_is_read_is_part_of_its_results(evaluate, sources):
    arguments = ("--max-samples", "1", "--starts", "none")
    assert evaluate(sources["deepfluoro"], *arguments).code == 0
    ran = evaluate(sources["deepfluoro"], *arguments, "--deepfluoro.no-half-voxel-correction")
    ran.refused(2, "output.of-other-settings", "settings of how the data set is read", "17-1882/000")


@pytest.mark.slow
def test_data_sets_do_not_mix(evaluate, sources):
    assert evaluate(sources["deepfluoro"], "--max-samples", 1).code == 0
    ran = evaluate(sources["ljubljana"], "--max-samples", 1, "--overwrite")
    ran.refused(2, "output.of-other-settings", "dataset", "deepfluoro", "ljubljana")


# Tables ------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("name", ["deepfluoro-patient-specific", "ljubljana-patient-agnostic"])
@pytest.mark.slow
def test_a_table_compares_all_its_methods(evaluate, sources, tmp_path, model, model_of_any, name):
    """Of both kinds of networks; test_published_tables runs every table with real methods."""
    table = PUBLISHED_TABLES[name]
    specific = table.networks == "patient-specific"
    networks = f"{SUBJECTS[table.dataset]}={model}" if specific else model_of_any
    ran = evaluate(sources[table.dataset], "--table", table.name, "--model", networks)
    assert ran.code == 0, ran.err
    with (tmp_path / "out" / "measurements.csv").open() as file:
        rows = list(csv.DictReader(file))
    methods = {name for name in table.methods if is_installed(name)}
    assert {row["method"] for row in rows} == methods and len(methods) > 2
    assert {row["start"] for row in rows} == set(table.starts)
    assert {row["dataset"] for row in rows} == {table.dataset}
    assert len(rows) == len(methods) * (3 if table.dataset == "deepfluoro" else 2)


def test_titles_count_what_was_run():
    table = PUBLISHED_TABLES["deepfluoro-patient-specific"]
    assert table.title(1, 1) == "DeepFluoro, pelvis: 1 fluoroscopic image of 1 specimen, a model for each"
    longer = "DeepFluoro, pelvis: 366 fluoroscopic images of 6 specimens, a model for each, of 700,000 X-rays"
    assert table.title(366, 6, TrainConfig.paper()) == longer
    any_patient = PUBLISHED_TABLES["ctspine1k-patient-agnostic"].title(1302, 651, TrainConfig.any_patient())
    assert any_patient.endswith("1,302 simulated X-rays of 651 CTs, models of other patients, of 60 minutes")


def test_tables_are_listed(evaluate, tmp_path, capsys):
    assert main(["evaluate", "--list"]) == 0
    listed = capsys.readouterr().out
    ran = evaluate(tmp_path, "--table", "nonsense")
    ran.refused(2, "evaluation.unknown-name", "'nonsense'", *PUBLISHED_TABLES)
    assert all(name in listed for name in PUBLISHED_TABLES)


@pytest.mark.parametrize(
    ("arguments", "fault"),
    [
        ("--table deepfluoro-patient-specific", ("model.missing", "--model SUBJECT=MODEL")),
        (
            "--table deepfluoro-patient-specific --model a=MODEL",
            ("options.unknown-name", "--model a=MODEL", "17-1882"),
        ),
        ("--table deepfluoro-patient-agnostic --train-minutes 1", ("training.no-ct", "--model")),
        ("--table deepfluoro-patient-agnostic --model a=MODEL", ("model.unsuitable", "--model")),
        ("--table deepfluoro-patient-agnostic --model none", ("model.unsuitable", "--model")),
        ("--table deepfluoro-patient-agnostic --model MODEL", ("model.unsuitable", "MODEL")),
        (
            "--table ljubljana-patient-specific --dataset deepfluoro",
            ("options.conflict", "ljubljana", "--dataset deepfluoro"),
        ),
        ("--train-minutes 0", ("options.invalid-value", "--train-minutes", "0.0")),
        ("--train-images 0", ("options.invalid-value", "--train-images", "0")),
        ("--train-images 4 --train-minutes 5", ("options.conflict", "--train-minutes", "--train-images")),
        (
            "--train-preset fast",
            ("options.incomplete", "--train-preset", "--train-images", "--train-minutes"),
        ),
        (
            "--table deepfluoro-patient-agnostic --train-preset paper-batched --train-images 4",
            ("options.conflict", "--train-preset paper-batched"),
        ),
        ("--max-samples 0", ("evaluation.invalid-value", "sample", "0")),
        ("--subjects 17-1883", ("dataset.unknown-name", "'17-1883'", "17-1882")),
        ("--starts mtre:x", ("evaluation.unknown-name", "'mtre:x'")),
        ("--methods a=no.toml", ("config-file.unreadable", "--methods no.toml")),
    ],
)
def test_what_does_not_go_together(evaluate, sources, model, tmp_path, arguments, fault):
    ran = evaluate(sources["deepfluoro"], *arguments.replace("MODEL", str(model)).split())
    code, *names = fault
    shown = [name.replace("MODEL", str(model)) if "SUBJECT" not in name else name for name in names]
    ran.refused(1 if code == "config-file.unreadable" else 2, code, *shown)
    assert not (tmp_path / "out").exists()


@pytest.mark.slow
def test_models_are_trained_where_there_are_none(evaluate, sources, tmp_path, monkeypatch):
    """On the CT in memory, whose voxels the pipeline knows again."""
    trained = []

    def quick(data: TrainingData, config: TrainConfig, device: torch.device) -> Trainer:
        trained.append(config)
        changes = {"images": 8, "networks": ("pose_regressor",), "poses": config.poses}
        return Trainer(data, replace(TINY, **changes), torch.device("cpu"))

    monkeypatch.setattr(models, "Trainer", quick)
    table = PUBLISHED_TABLES["deepfluoro-patient-specific"]
    line = ("--table", table.name, "--train-minutes", "7", "--max-samples", "1")
    line = (*line, "--methods", "isoclinic")
    assert evaluate(sources["deepfluoro"], *line).code == 0
    assert [(config.minutes, config.poses) for config in trained] == [(7.0, table.poses)]
    file = tmp_path / "out" / "models" / "17-1882" / "model.safetensors"
    record, before = Checkpoint.load(file).record, file.read_bytes()
    dataset = DeepFluoro(sources["deepfluoro"])
    assert record.ct_voxels == VoxelIdentity.of(dataset.volume("17-1882"))
    assert evaluate(sources["deepfluoro"], *line).code == 0
    assert file.read_bytes() == before, "it has had its minutes"


# Bad input ---------------------------------------------------------------------------------------------


@pytest.mark.slow
def test_a_damaged_file(evaluate, sources, tmp_path):
    content = sources["deepfluoro"].read_bytes()
    path = tmp_path / "cut.h5"
    path.write_bytes(content[: len(content) // 2])
    for arguments, where in (
        ((), "--dataset deepfluoro"),
        (("--dataset", "deepfluoro"), "10.7281/T1/IFSXNV"),
    ):
        ran = evaluate(path, *arguments)
        ran.refused(1, "dataset.unreadable", "cut.h5", where)
    ran = evaluate(tmp_path / "no.h5")
    ran.refused(1, "dataset.wrong-kind", "no.h5")
    (tmp_path / "text.h5").write_text("<html>")
    ran = evaluate(tmp_path / "text.h5")
    ran.refused(1, "dataset.unknown-name", "text.h5", "HDF5")
    assert not (tmp_path / "out").exists()


def test_an_empty_data_set(evaluate, tmp_path):
    with h5py.File(tmp_path / "empty.h5", "w"):
        pass
    ran = evaluate(tmp_path / "empty.h5")
    ran.refused(1, "dataset.wrong-kind", "empty.h5", "proj-params")
    with h5py.File(tmp_path / "subject.h5", "w") as file:
        file.create_group("subject01")
    ran = evaluate(tmp_path / "subject.h5")
    ran.refused(1, "dataset.unknown-name", "subject01", "ap, lat")


@pytest.mark.slow
def test_a_damaged_sample_stops_no_other(evaluate, sources, tmp_path):
    path = tmp_path / "one-broken.h5"
    path.write_bytes(sources["deepfluoro"].read_bytes())
    with h5py.File(path, "r+") as file:
        del file["17-1882/projections/001/gt-poses"]
        pixels = file["17-1882/projections/002/image/pixels"]
        pixels[0, 0] = np.nan
    ran = evaluate(path, "--starts", "none", "--json")
    ran.refused(1, "evaluation.incomplete", "2 of 3", "17-1882/001", "001/gt-poses", "17-1882/002", "NaN")
    assert [each["case"] for each in json.loads(ran.out)["measurements"]] == ["17-1882/000"]
    assert (tmp_path / "out" / "summary.csv").exists()
