"""Every published table from the original files to the report: training, registration, tables, all real.

The files are miniatures of the layouts of the data sets, the networks are tiny and see a few images, so that
numbers mean nothing. Tests of the parts say what they are worth.
"""

from __future__ import annotations

import csv
from pathlib import Path

import h5py
import numpy as np
import pytest

from isoclinic._spread_config import SpreadConfig
from isoclinic.cli import main
from isoclinic.datasets import DeepFluoro
from isoclinic.datasets.preparation import (
    DrrConfig,
    LumbarConfig,
    PreparationConfig,
    QualityConfig,
    prepare_ctspine1k,
)
from isoclinic.evaluation.models import folds_of
from isoclinic.evaluation.published import PUBLISHED_TABLES
from isoclinic.networks import Checkpoint
from isoclinic.registration import PoseFile
from isoclinic.volumes import VoxelIdentity
from phantoms import phantom
from spine import spine, write_original

from .files import landmarks, scene, write_deepfluoro, write_ljubljana

SPECIMENS, PATIENTS, CASES = ("17-1882", "18-1109"), ("subject01", "subject02"), ("liver_1", "liver_2")
SUBJECTS = {"deepfluoro": SPECIMENS, "ljubljana": PATIENTS, "ctspine1k": CASES}
IMAGES = {"deepfluoro": "fluoroscopic image", "ljubljana": "image", "ctspine1k": "simulated X-ray"}
# The published training but for the sizes of networks and images.
TRAINING = """
pixels = 16
validations = 1
validation-images = 1
[pose-regressor.network]
width = 8
[coarse-encoder.network]
elements = 1
dense-level = 1
backbone = {channels = [8, 16], transformer-blocks = 0, heads = 2, norm-groups = 4}
[ct-regressor.network]
image-px = 16
cube-voxels = 16
feature-px = 8
image-features = [4]
volume-features = [4, 4]
depth-features = 1
fused-features = 4
stages = [4]
hidden = [8]
"""
REGISTRATION = """
[any-view]
enabled = false
[learned]
max-steps = 2
[[searches]]
candidates = 8
keep = 2
[[stages]]
pixels = 32
max-steps = 3
"""


@pytest.fixture(scope="module")
def sources(tmp_path_factory) -> dict[str, Path]:
    folder = tmp_path_factory.mktemp("originals")
    for index in range(2):
        ct = phantom(3 + index, (40, 36, 44))
        points = landmarks(ct, 8, seed=1)
        one = folder / f"{index}.h5"
        write_deepfluoro(one, ct, [scene(ct, index)], points, specimen=SPECIMENS[index])
        _gather(one, folder / "deepfluoro.h5")
        vessels = phantom(3 + index, (40, 36, 44))
        vessels.hu.clip(-1000, 1000, out=vessels.hu)
        views = {"ap": scene(ct, 2 * index), "lat": scene(ct, 2)}
        write_ljubljana(one, vessels, views, points, subject=PATIENTS[index])
        _gather(one, folder / "ljubljana.h5")
        write_original(folder / "CTSpine1K", CASES[index], spine((4.0, 4.0, 3.0 + index)))
    config = PreparationConfig(
        lumbar=LumbarConfig(margin_mm=10.0),
        quality=QualityConfig(largest_spacing_mm=4.0),
        drrs=DrrConfig(images=1, images_per_file=1, binning=24),
    )
    prepare_ctspine1k(folder / "CTSpine1K", folder / "ctspine1k", config, SpreadConfig())
    return {
        "deepfluoro": folder / "deepfluoro.h5",
        "ljubljana": folder / "ljubljana.h5",
        "ctspine1k": folder / "ctspine1k",
    }


def _gather(one: Path, all_of_them: Path) -> None:
    with h5py.File(one) as source, h5py.File(all_of_them, "a") as target:
        for key in source:
            if key not in target:
                source.copy(key, target)


@pytest.mark.parametrize("table", PUBLISHED_TABLES.values(), ids=lambda table: table.name)
@pytest.mark.slow
def test_a_table_from_the_files_to_the_report(sources, tmp_path, capsys, table):
    (tmp_path / "training.toml").write_text(TRAINING)
    (tmp_path / "registration.toml").write_text(REGISTRATION)
    out = tmp_path / "out"
    line = ["evaluate", sources[table.dataset], "--output", out, "--table", table.name]
    line += ["--train-preset", "paper", "--train-images", 14, "--train-config", tmp_path / "training.toml"]
    line += ["--max-samples", 1, "--config", tmp_path / "registration.toml", "--deepfluoro.border-px", 5]
    line += ["--methods", "paper", "isoclinic-single"]
    # Both halves are run of one patient-agnostic table: the other ones differ in the files alone.
    subjects = SUBJECTS[table.dataset][: 2 if table.name == "deepfluoro-patient-agnostic" else 1]
    line += ["--subjects", *subjects]
    assert main([str(each) for each in line]) == 0, capsys.readouterr().err
    with (out / "measurements.csv").open() as file:
        rows = list(csv.DictReader(file))
    assert {(row["method"], row["group"]) for row in rows} == {
        (method, subject) for method in ("paper", "isoclinic-single") for subject in subjects
    }
    assert all(np.isfinite(float(row["mtre_mm"])) for row in rows)
    # What was run, and not what the data set holds.
    one = IMAGES[table.dataset]
    counted = f"1 {one} of 1 {table.subject}" if len(subjects) == 1 else f"2 {one}s of 2 {table.subject}s"
    report = (out / "report.html").read_text()
    assert f"{table.what}: {counted}" in report and "of 14 X-rays" in report
    poses = list(out.rglob("paper/pose.json"))
    assert poses and all(PoseFile.read(pose).model is not None for pose in poses)
    _check_models(out / "models", sources, table, subjects)


def _check_models(folder, sources, table, subjects) -> None:
    """Published settings, of the right CTs, by number of images and not by the clock."""
    files = sorted(folder.rglob("model.safetensors"))
    specific = table.networks == "patient-specific"
    assert [file.parent.name for file in files] == (
        list(subjects) if specific else [f"without-fold-{fold}" for fold in range(len(subjects))]
    )
    for file in files:
        model = Checkpoint.load(file)
        assert (model.record.domain, model.record.renderer) == ("log_ratio", "siddon")
        regressor = "pose_regressor" if specific else "ct_regressor"
        assert set(model.networks) == {regressor, "coarse_encoder"}
        assert model.record.curves[regressor]["images"][-1] >= 10
    if table.dataset != "deepfluoro":
        return
    dataset = DeepFluoro(sources["deepfluoro"])
    voxels = {subject: VoxelIdentity.of(dataset.volume(subject)) for subject in SPECIMENS}
    records = [Checkpoint.load(file).record for file in files]
    if specific:
        assert records[0].ct_voxels == voxels[SPECIMENS[0]]
        return
    # Each half is measured by networks that were trained on the other one.
    assert folds_of(SPECIMENS) == {SPECIMENS[0]: 0, SPECIMENS[1]: 1}
    assert [record.trained_on for record in records] == [
        (voxels[SPECIMENS[1]].sha256,),
        (voxels[SPECIMENS[0]].sha256,),
    ]


@pytest.mark.slow
def test_networks_that_have_seen_a_patient_are_refused(sources, tmp_path, capsys):
    """Those of `isoclinic pretrain` on CTs that the data set was exported to."""
    assert main(["dataset", "export", "deepfluoro", str(sources["deepfluoro"]), str(tmp_path / "cts")]) == 0
    assert {path.name for path in (tmp_path / "cts").glob("*.nii.gz")} >= {
        f"{specimen}.nii.gz" for specimen in SPECIMENS
    }
    (tmp_path / "training.toml").write_text(f'networks = ["ct_regressor"]{TRAINING}')
    line = ["pretrain", tmp_path / "cts", "--output", tmp_path / "model", "--images", 4, "--preset", "paper"]
    held_out = tmp_path / "cts" / f"{SPECIMENS[1]}.nii.gz"
    line += ["--held-out", held_out, "--config", tmp_path / "training.toml"]
    assert main([str(each) for each in line]) == 0, capsys.readouterr().err
    line = ["evaluate", sources["deepfluoro"], "--table", "deepfluoro-patient-agnostic"]
    line += ["--output", tmp_path / "out", "--model", tmp_path / "model", "--methods", "isoclinic-single"]
    capsys.readouterr()
    assert main([str(each) for each in line]) == 1
    said = capsys.readouterr().err
    assert f"was trained on the CT of {SPECIMENS[0]}, which it is to be measured on" in said
