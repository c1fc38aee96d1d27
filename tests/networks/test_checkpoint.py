import json
from dataclasses import replace

import pytest
import torch
from safetensors.torch import load_file, save_file

from isoclinic.errors import InputError
from isoclinic.networks import (
    CanonicalConfig,
    CanonicalNetwork,
    Checkpoint,
    PoseRegressor,
    PoseRegressorConfig,
    TrainingRecord,
)
from isoclinic.networks.checkpoint import PartRecord
from raising import raises
from tiny_networks import BACKBONE, encoder, small_camera, space

CT, OTHER_CT = "a" * 64, "b" * 64
CAMERA = small_camera()


def checkpoint() -> Checkpoint:
    torch.manual_seed(0)
    record = TrainingRecord(
        volume_sha256=CT,
        camera=CAMERA,
        space=space(),
        rotation_deg=(30.0, 45.0, 15.0),
        translation_mm=(60.0, 60.0, 150.0),
        curves={"fine_encoder": {"images": (0.0, 1000.0), "loss": (1.5, 0.25)}},
    )
    networks = {
        "pose_regressor": PoseRegressor(PoseRegressorConfig(width=8)),
        "fine_encoder": encoder("dense", "euclidean"),
        "canonical": CanonicalNetwork(CanonicalConfig(backbone=BACKBONE)),
    }
    return Checkpoint(networks=networks, record=record)


@pytest.fixture
def path(tmp_path):
    path = tmp_path / "model.safetensors"
    checkpoint().save(path)
    return path


def rewritten(path, change):
    """The file after `change` of its header and tensors."""
    content = path.read_bytes()
    length = int.from_bytes(content[:8], "little")
    header = json.loads(json.loads(content[8 : 8 + length])["__metadata__"]["isoclinic.model"])
    tensors = load_file(path)
    change(header, tensors)
    save_file(tensors, path, metadata={"isoclinic.model": json.dumps(header)})


def test_what_is_saved_comes_back(path):
    saved, loaded = checkpoint(), Checkpoint.load(path)
    assert loaded.record == saved.record
    assert loaded.isoclinic_version
    image = torch.rand(2, 32, 32, generator=torch.Generator().manual_seed(0))
    for kind, network in saved.networks.items():
        assert loaded.networks[kind].config == network.config
        assert not loaded.networks[kind].training
        ours, theirs = network.eval()(image), loaded.networks[kind](image)
        torch.testing.assert_close(theirs, ours, rtol=0, atol=0)


def test_a_network_of_a_part_comes_back_and_fits_any_camera(tmp_path):
    """Its camera follows the part wherever an X-ray shows it; its CT must still be the one in training."""
    torch.manual_seed(0)
    network = CanonicalNetwork(CanonicalConfig(backbone=BACKBONE, hint=True, saturation=2.0)).eval()
    part = PartRecord(structures=("ulna", 3), depth_mm=700.0)
    record = replace(checkpoint().record, part=part, curves={})
    Checkpoint(networks={"canonical": network}, record=record).save(tmp_path / "part")
    loaded = Checkpoint.load(tmp_path / "part")
    assert loaded.record == record and loaded.networks["canonical"].config == network.config
    image, hint = torch.rand(2, 1, 32, 32, generator=torch.Generator().manual_seed(0))
    torch.testing.assert_close(loaded.networks["canonical"](image, hint), network(image, hint))
    elsewhere = CAMERA.crop(top=0, left=0, height=8, width=8)
    assert checkpoint().record.differences(elsewhere, CT)
    loaded.check_fit(elsewhere, CT)
    with raises(InputError, "model.unsuitable", "the CT"):
        loaded.check_fit(elsewhere, OTHER_CT)


def test_loading_leaves_the_random_generator_alone(path):
    torch.manual_seed(5)
    expected = torch.rand(3)
    torch.manual_seed(5)
    Checkpoint.load(path)
    torch.testing.assert_close(torch.rand(3), expected, rtol=0, atol=0)


def test_a_file_that_cannot_be_replaced_stays(path, monkeypatch):
    before = path.read_bytes()
    monkeypatch.setattr(
        "os.replace", lambda *_: (_ for _ in ()).throw(OSError(28, "No space left on device"))
    )
    with raises(InputError, "output.unwritable", "model.safetensors", "No space left"):
        checkpoint().save(path)
    assert path.read_bytes() == before
    assert list(path.parent.iterdir()) == [path]


def test_a_fitting_ct_and_camera_pass_at_any_resolution(path):
    loaded = Checkpoint.load(path)
    loaded.check_fit(CAMERA, CT)
    loaded.check_fit(CAMERA.resize(height=512, width=512), CT)
    # Half the width is left in view, which is as little as will do.
    loaded.check_fit(CAMERA.crop(top=0, left=0, height=32, width=16), CT)
    loaded.check_fit(replace(CAMERA, fx=1.9 * CAMERA.fx), CT)
    loaded.check_fit(CAMERA.flip(left_right=True), CT)


def test_networks_of_any_ct_fit_every_ct():
    record = replace(checkpoint().record, volume_sha256=None)
    assert record.differences(CAMERA, OTHER_CT) == ()


@pytest.mark.parametrize(
    ("camera", "ct", "words"),
    [
        (CAMERA, OTHER_CT, ["another file", "bbbbbbbbbbbb", "aaaaaaaaaaaa"]),
        (replace(CAMERA, fx=2.2 * CAMERA.fx), CT, ["44% of the field of view"]),
        (CAMERA.crop(top=8, left=8, height=16, width=16), CT, ["25% of the field of view", "9.1 x 9.1 deg"]),
        (replace(CAMERA, cy=CAMERA.cy - 20), OTHER_CT, ["another file", "38% of the field of view"]),
    ],
)
def test_what_does_not_fit_is_said(path, camera, ct, words):
    with raises(InputError, "model.unsuitable", *words):
        Checkpoint.load(path).check_fit(camera, ct)


def test_foreign_files_are_refused(tmp_path):
    foreign = tmp_path / "foreign.safetensors"
    save_file({"weight": torch.zeros(2)}, foreign)
    with raises(InputError, "model.wrong-kind", "foreign.safetensors"):
        Checkpoint.load(foreign)
    pickled = tmp_path / "model.pt"
    torch.save({"weight": torch.zeros(2)}, pickled)
    with raises(InputError, "model.unreadable"):
        Checkpoint.load(pickled)
    for nothing in (tmp_path / "missing", tmp_path):
        with raises(InputError, "model.unreadable"):
            Checkpoint.load(nothing)


@pytest.mark.parametrize("share", [0.0, 1e-4, 0.01, 0.5, 0.999])
def test_truncated_files_are_refused(path, share):
    content = path.read_bytes()
    path.write_bytes(content[: int(share * len(content))])
    with raises(InputError, "model.unreadable"):
        Checkpoint.load(path)


def _newer(header, tensors):
    header["version"] = 2


def _unknown_kind(header, tensors):
    header["networks"]["oracle"] = {}


def _missing_field(header, tensors):
    del header["networks"]["canonical"]["floor"]


def _wrong_type(header, tensors):
    header["networks"]["fine_encoder"]["backbone"]["heads"] = "two"


def _impossible(header, tensors):
    header["networks"]["canonical"]["window_px"] = 4


def _other_size(header, tensors):
    header["networks"]["fine_encoder"]["elements"] = 4


def _without_a_weight(header, tensors):
    del tensors["canonical.output.bias"]


def _no_record(header, tensors):
    header["record"] = None


@pytest.mark.parametrize(
    ("change", "fault"),
    [
        (_newer, ("model.other-version", "2")),
        (_unknown_kind, ("model.invalid-value", "networks")),
        (_missing_field, ("model.malformed", "canonical")),
        (_wrong_type, ("model.malformed", "backbone.heads", "two")),
        (_impossible, ("model.malformed", "window_px")),
        (_other_size, ("model.wrong-shape", "fine_encoder")),
        (_without_a_weight, ("model.wrong-shape", "output.bias")),
        (_no_record, ("model.malformed", "record")),
    ],
)
def test_files_that_contradict_themselves_are_refused(path, change, fault):
    rewritten(path, change)
    with raises(InputError, *fault):
        Checkpoint.load(path)
