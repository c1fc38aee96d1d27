"""`isoclinic pretrain` and `adapt`: networks of any patient, and of one more."""

from __future__ import annotations

import shutil
from pathlib import Path

import nibabel as nib
import numpy as np
import pytest
import torch

from isoclinic.cli import _training
from isoclinic.networks import Checkpoint
from isoclinic.provenance import InputFile
from isoclinic.training.file_names import MODEL_FILE

from .test_train import FILES

TINY = """
networks = ["ct_regressor"]
pixels = 16
validations = 1
validation-images = 1
device = "cpu"
images = 8
[ct-regressor]
batch = 4
network.image-px = 16
network.feature-px = 8
network.cube-voxels = 16
network.image-features = [4]
network.volume-features = [4, 4]
network.depth-features = 1
network.fused-features = 4
network.stages = [4]
network.hidden = [8]
[cohort]
present = 2
batches = 1
skeletons = 0.5
skeleton.voxels = 12
skeleton.voxel-mm = 25.0
"""


@pytest.fixture
def here(files, tmp_path, monkeypatch) -> Path:
    """A folder of two CTs with a label map, where no pictures are drawn."""
    monkeypatch.setattr(_training, "write_training_curves", lambda path, curves: path.write_bytes(b"png"))
    monkeypatch.chdir(tmp_path)
    cts = tmp_path / "cts" / "deep"
    cts.mkdir(parents=True)
    shutil.copy(files.ct, cts / "one.nii.gz")
    image = nib.load(files.ct)
    nib.save(nib.Nifti1Image(image.get_fdata()[::-1] + 5, image.affine), tmp_path / "cts" / "two.nii.gz")
    nib.save(nib.Nifti1Image(image.get_fdata(), image.affine), cts / "one_seg.nii.gz")
    (cts / "notes.txt").write_text("not a CT")
    (tmp_path / "tiny.toml").write_text(TINY)
    return tmp_path


PRETRAIN = ("pretrain", "cts", "--output", "model", "--config", "tiny.toml")
ADAPT = ("adapt", "model", "cts/two.nii.gz", "--output", "mine", "--images", "8", "--device", "cpu")


def pretrained(run, *more: str) -> Checkpoint:
    ran = run(*PRETRAIN, *more)
    assert ran.code == 0, ran.err
    return Checkpoint.load(Path("model") / MODEL_FILE)


@pytest.mark.slow
def test_a_model_of_any_patient_and_of_one(run, here):
    general = pretrained(run, "--held-out", "cts/two.nii.gz")
    assert {path.name for path in Path("model").iterdir()} == FILES
    assert general.record.volume_sha256 is None
    assert general.record.curves["ct_regressor"]["images"] == (4.0, 8.0)
    ran = run(*ADAPT)
    assert ran.code == 0, ran.err
    mine = Checkpoint.load(Path("mine") / MODEL_FILE)
    assert mine.record.volume_sha256 == InputFile.of(Path("cts/two.nii.gz")).sha256
    assert mine.networks["ct_regressor"].config == general.networks["ct_regressor"].config
    before, after = (each.networks["ct_regressor"].state_dict() for each in (general, mine))
    largest = max(float((before[name] - after[name]).abs().max()) for name in before)
    # Two steps of Adam, each at most the learning rate: it goes on from what was there.
    assert 0 < largest <= 2 * 5e-4 * 1.01
    last = ran.out.splitlines()[-1]
    assert last == "isoclinic register XRAY --volume cts/two.nii.gz --model mine --output RESULT"


@pytest.mark.slow
def test_an_adaptation_goes_on_where_it_stopped(run, here):
    pretrained(run)
    assert run(*ADAPT).code == 0
    whole = Checkpoint.load(Path("mine") / MODEL_FILE).networks["ct_regressor"].state_dict()
    half = (*ADAPT[:3], "--output", "half", "--device", "cpu", "--images")
    assert run(*half, "4").code == 0
    assert run(*half, "8", "--resume").code == 0
    again = Checkpoint.load(Path("half") / MODEL_FILE).networks["ct_regressor"].state_dict()
    # The cosine's end moves with the length: the first batch's rate is the same, so all is.
    assert all(torch.equal(whole[name], again[name]) for name in whole)


@pytest.mark.slow
def test_a_held_out_ct_changes_nothing_but_the_validation(run, here):
    """Whether it lies in the folder or not."""
    one = pretrained(run, "--held-out", "cts/two.nii.gz")
    shutil.move("cts/two.nii.gz", "two.nii.gz")
    other = pretrained(run, "--held-out", "two.nii.gz", "--overwrite")
    for name, value in one.networks["ct_regressor"].state_dict().items():
        assert torch.equal(value, other.networks["ct_regressor"].state_dict()[name]), name
    assert (
        one.record.curves["ct_regressor"]["mtre_50_mm"] == other.record.curves["ct_regressor"]["mtre_50_mm"]
    )


@pytest.mark.parametrize(
    ("arguments", "status", "fault"),
    [
        (("pretrain", "nowhere", "--output", "x"), 1, ("ct.missing", "nowhere")),
        (("pretrain", "empty", "--output", "x"), 1, ("ct.missing", "empty")),
        (
            (*PRETRAIN[:-2], "--held-out", "cts/two.nii.gz", "cts/deep/one.nii.gz"),
            2,
            ("options.conflict", "cts"),
        ),
        (
            ("pretrain", "broken", "--output", "x", "--config", "tiny.toml"),
            1,
            ("ct.unreadable", "broken/ct.nii"),
        ),
        ((*PRETRAIN, "--resume"), 2, ("training.cannot-resume", "--resume")),
        (
            ("adapt", "nothing.safetensors", "cts/two.nii.gz", "--output", "x"),
            1,
            ("input.unreadable", "nothing.safetensors"),
        ),
        (("adapt", "tiny.toml", "cts/two.nii.gz", "--output", "x"), 1, ("model.unreadable", "tiny.toml")),
        (
            ("adapt", "cts", "cts/two.nii.gz", "--output", "x"),
            1,
            ("model.missing", "cts", "model.safetensors"),
        ),
    ],
)
def test_what_cannot_be_done(run, here, arguments, status, fault):
    Path("empty").mkdir()
    Path("broken").mkdir()
    Path("broken/ct.nii").write_bytes(b"no image")
    ran = run(*arguments)
    ran.refused(status, *fault)
    assert not Path("x").exists() and not Path("model").exists()


@pytest.mark.slow
def test_a_model_of_another_ct_is_trained_on_for_this_one(run, here):
    """Views and networks are the model's; only its CT is another one."""
    options = ("--output", "first", "--config", "train.toml", "--images", "8")
    Path("train.toml").write_text(TINY[: TINY.index("[cohort]")].replace("images = 8\n", ""))
    assert run("train", "cts/deep/one.nii.gz", *options, "--poses.source-isocentre-mm", "680").code == 0
    ran = run("adapt", "first", *ADAPT[2:])
    assert ran.code == 0, ran.err
    first, mine = (Checkpoint.load(Path(name) / MODEL_FILE).record for name in ("first", "mine"))
    assert mine.camera == first.camera
    depth = mine.space.nominal_camera_from_world[2][:3] @ torch.tensor(mine.space.isocentre_world).numpy()
    assert depth + mine.space.nominal_camera_from_world[2][3] == pytest.approx(680.0)


@pytest.mark.slow
@pytest.mark.filterwarnings("always::isoclinic.volumes.GeometryWarning")
def test_a_label_map_is_no_ct(run, here):
    """By its name it is left out; by its values it is refused, whatever it is called."""
    labels = np.zeros((12, 12, 12), dtype=np.int16)
    labels[3:8, 3:8, 3:8] = 2
    nib.save(nib.Nifti1Image(labels, np.eye(4)), "cts/labels.nii.gz")
    pretrained(run)
    Path("cts/labels.nii.gz").rename("cts/vertebrae.nii.gz")
    ran = run(*PRETRAIN, "--overwrite")
    assert "does not look like Hounsfield units" in ran.err
    ran.refused(1, "options.conflict", "vertebrae.nii.gz")
    assert (Path("model") / MODEL_FILE).exists(), "the older model is still there"
