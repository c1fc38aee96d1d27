"""JSON that breaks readers: nested without end, an integer of too many digits, not UTF-8, cut short."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from types import SimpleNamespace

import pytest
import safetensors.torch
import torch

from isoclinic.datasets import CaseFolder
from isoclinic.datasets._documents import read_document
from isoclinic.errors import InputError
from isoclinic.evaluation import read_evaluation
from isoclinic.exchange import read_pose
from isoclinic.networks.tensor_file import read_tensors
from isoclinic.registration import PoseFile, views_from_file
from isoclinic.registration.landmarks import read_pixel_points, read_world_points
from raising import raises

DAMAGED = {
    "nested": b"[" * 100_000,
    "too long an integer": b'{"format": ' + b"9" * 5000 + b"}",
    "not UTF-8": b'{"format": "\xff\xfe"}',
    "cut short": b'{"format": "iso',
}
VIEW = SimpleNamespace(camera=None)


def case(path: Path) -> None:
    folder = path.parent / "cases" / "00"
    folder.mkdir(parents=True)
    path.rename(folder / "truth.json")
    (folder / "xray.dcm").touch()
    cases = CaseFolder(path.parent / "cases", {"cases": path})
    for name in cases:
        cases[name]


def evaluation(path: Path) -> None:
    path.rename(path.parent / "summary.json")
    read_evaluation(path.parent)


READERS: dict[str, Callable[[Path], object]] = {
    "pose file": PoseFile.read,
    "points of the CT": read_world_points,
    "points of the X-ray": read_pixel_points,
    "prepared data set": read_document,
    "views": lambda path: views_from_file([VIEW, VIEW], path),
    "evaluation": evaluation,
    "case": case,
    **{
        program: lambda path, program=program: read_pose(path, program)
        for program in ("opencv", "diffdrr", "nanodrr")
    },
}


@pytest.mark.parametrize("damage", DAMAGED)
@pytest.mark.parametrize("reader", READERS)
def test_damaged_json_is_an_error_about_the_file(reader, damage, tmp_path):
    path = tmp_path / "file.json"
    path.write_bytes(DAMAGED[damage])
    with pytest.raises(InputError, match=r"\.json"):
        READERS[reader](path)


@pytest.mark.parametrize("damage", ["nested", "too long an integer", "cut short"])
def test_damaged_headers_of_tensors_too(damage, tmp_path):
    path = tmp_path / "model.safetensors"
    header = {"isoclinic.model": DAMAGED[damage].decode()}
    safetensors.torch.save_file({"a": torch.zeros(1)}, path, metadata=header)
    with raises(InputError, "model.wrong-kind", "model.safetensors"):
        read_tensors(path, "isoclinic.model", "a model")


def test_a_prepared_data_set_that_lacks_something_says_what(tmp_path):
    path = tmp_path / "quality.json"
    path.write_text('{"cases": {}}')
    assert read_document(path, "cases") == {"cases": {}}
    with raises(InputError, "dataset.unreadable", "quality.json", "key", "settings"):
        read_document(path, "cases", "key", "settings")
    path.write_text("[]")
    with raises(InputError, "dataset.unreadable", "quality.json", "object"):
        read_document(path)
