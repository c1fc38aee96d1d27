"""A training's state brings back everything, and is refused where it does not belong."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
import torch

from isoclinic import InputError
from isoclinic.networks.tensor_file import read_tensors, write_tensors
from isoclinic.training.file_names import MODEL_FILE, STATE_FILE
from isoclinic.training.phase import Length, Phase, network_of
from isoclinic.training.state import load_state, save_state
from raising import raises
from tiny_training import CPU, GLOBAL, REGRESSOR, space, stream

SETTINGS = {"seed": 0, "poses": {"reach": (1.0, 2.0)}, "networks": ("pose_regressor",)}
LENGTH = Length(images=12, seconds=0.0)


def phases(seed: int = 0) -> list[Phase]:
    """The first is trained, the second has not begun."""
    return [
        Phase(
            kind,
            network_of(config, seed=seed),
            config,
            stream(config),
            space(),
            dtype=torch.float32,
            device=CPU,
        )
        for kind, config in (("pose_regressor", REGRESSOR), ("coarse_encoder", GLOBAL))
    ]


@pytest.fixture(scope="module")
def trained() -> list[Phase]:
    made = phases()
    for _ in range(2):
        made[0].advance(LENGTH)
    made[0].course.curve["images"].append(8.0)
    return made


@pytest.fixture
def path(trained, tmp_path) -> Path:
    save_state(tmp_path / STATE_FILE, trained, SETTINGS)
    return tmp_path / STATE_FILE


@pytest.mark.slow
def test_what_follows_is_the_same(trained, path):
    """Weights, running means, both of Adam's moments and its count: the next step is bitwise the same."""
    loaded = phases(seed=1)
    load_state(path, loaded, SETTINGS)
    assert [each.course for each in loaded] == [each.course for each in trained]
    original = phases()
    load_state(path, original, SETTINGS)
    for each in (loaded[0], original[0]):
        each.advance(LENGTH)
    again = phases()
    for _ in range(3):
        again[0].advance(LENGTH)
    for name, value in again[0].network.state_dict().items():
        assert torch.equal(loaded[0].network.state_dict()[name], value), name
        assert torch.equal(original[0].network.state_dict()[name], value), name
    untouched = phases()[1].network.state_dict()
    assert all(torch.equal(value, untouched[name]) for name, value in loaded[1].network.state_dict().items())
    assert loaded[1].optimizer.state_dict()["state"] == {}


@pytest.mark.parametrize(
    ("change", "fault"),
    [
        ({"seed": 1}, ("training.cannot-resume", "seed", "0", "1")),
        (
            {"poses": {"reach": (1.0, 3.0)}},
            ("training.cannot-resume", "poses.reach", "[1.0, 2.0]", "[1.0, 3.0]"),
        ),
        ({"ct": "b"}, ("training.cannot-resume", "ct")),
        (
            {"networks": ("canonical",)},
            ("training.cannot-resume", "networks", "['pose_regressor']", "['canonical']"),
        ),
    ],
)
def test_other_settings_are_named(path, change, fault):
    with raises(InputError, *fault):
        load_state(path, phases(), SETTINGS | change)


def test_several_differences_are_all_named(path):
    with raises(InputError, "training.cannot-resume", "poses", "seed"):
        load_state(path, phases(), SETTINGS | {"poses": {}, "seed": 1} | {"poses": None})


def damage(path: Path, **header) -> None:
    before, tensors = read_tensors(path, "isoclinic.training", "it")
    write_tensors(path, tensors, before | header)


@pytest.mark.parametrize(
    ("spoil", "fault"),
    [
        (lambda path: path.unlink(), ("model.unreadable", "No such file")),
        (
            lambda path: path.write_bytes(path.read_bytes()[:1000]),
            ("model.unreadable", "state.safetensors"),
        ),
        (lambda path: path.write_text(json.dumps({})), ("model.unreadable", "state.safetensors")),
        (lambda path: damage(path, format=MODEL_FILE), ("model.wrong-kind", "state.safetensors")),
        (lambda path: damage(path, version=9), ("training.other-version", "9", "1")),
        (lambda path: damage(path, settings=3), ("training.unreadable", "settings", "courses")),
        (lambda path: damage(path, courses=None), ("training.unreadable", "settings", "courses")),
        (
            lambda path: damage(path, courses={}),
            ("training.other-version", "pose_regressor"),
        ),
        (
            lambda path: damage(path, courses={"pose_regressor": {"steps": 1}}),
            ("training.other-version", "state.safetensors"),
        ),
    ],
)
def test_files_that_are_no_state(path, spoil, fault):
    spoil(path)
    with raises(InputError, *fault):
        load_state(path, phases(), SETTINGS)


def test_networks_that_have_changed(path):
    header, tensors = read_tensors(path, "isoclinic.training", "it")
    del tensors["pose_regressor.network.network.conv1.weight"]
    write_tensors(path, tensors, header)
    with raises(InputError, "training.other-version"):
        load_state(path, phases(), SETTINGS)


def test_a_place_that_cannot_be_written_to(trained, tmp_path):
    with raises(InputError, "output.unwritable", "state.safetensors"):
        save_state(tmp_path / "no" / STATE_FILE, trained, SETTINGS)
