"""Files that are something else, formats that do not exist, names and places that cannot be."""

import json

import numpy as np
import pytest
import SimpleITK as sitk

from isoclinic.errors import InputError, UsageError
from isoclinic.exchange import FORMATS, read_pose, write_pose
from isoclinic.registration import PoseFile
from raising import raises

from .views import CAMERAS, posed

VIEW = posed("random 0", "square")


def pose_file(path):
    PoseFile(camera_from_world=VIEW.camera_from_world, camera=VIEW.camera).write(path)


def hdf5(path):
    # An image in HDF5, not a transform.
    sitk.WriteImage(sitk.GetImageFromArray(np.zeros((2, 2, 2), np.float32)), str(path.with_suffix(".hdf5")))
    path.with_suffix(".hdf5").rename(path)


FOREIGN = {
    "a pose file of isoclinic": pose_file,
    "an HDF5 file": hdf5,
    "an empty file": lambda path: path.write_bytes(b""),
    "a binary file": lambda path: path.write_bytes(bytes(range(128, 256))),
    "JSON with a, b": lambda path: path.write_text('{"a": 1, "b": 2}'),
    "JSON with no keys": lambda path: path.write_text("{}"),
    "JSON with a, b, c, d, e, f, ...": lambda path: path.write_text(json.dumps(dict.fromkeys("abcdefgh"))),
    "JSON without keys": lambda path: path.write_text("[1, 2]"),
    "XML of <svg>": lambda path: path.write_text('<?xml version="1.0"?>\n<!-- x -->\n<svg width="1"/>'),
    "text that begins with 'Dear reader,'": lambda path: path.write_text("Dear reader,\nthis is no pose"),
    "an ITK transform file": lambda path: sitk.WriteTransform(sitk.Transform(), f"{path}.tfm"),
}


@pytest.mark.parametrize("format", FORMATS)
@pytest.mark.parametrize("kind", FOREIGN)
def test_a_file_of_something_else_is_named(kind, format, tmp_path, capfd):
    path = tmp_path / "file"
    FOREIGN[kind](path)
    if kind == "an ITK transform file":
        path = tmp_path / "file.tfm"
        if FORMATS[format].suffixes == FORMATS["itk"].suffixes:
            assert read_pose(path, format, CAMERAS["square"]).camera == CAMERAS["square"]
            return
    with raises(InputError, "exchange.wrong-kind", path, kind) as caught:
        read_pose(path, format, CAMERAS["square"])
    assert str(caught.value).startswith(f"{path} is not ")
    assert capfd.readouterr().err == ""


@pytest.mark.parametrize("format", FORMATS)
@pytest.mark.parametrize("name", ["missing", "."])
def test_what_cannot_be_read_is_named(format, name, tmp_path):
    with raises(InputError, "exchange.unreadable", tmp_path / name):
        read_pose(tmp_path / name, format, CAMERAS["square"])


def test_unknown_formats(tmp_path):
    for call in (
        lambda: read_pose(tmp_path / "x", "matlab"),
        lambda: write_pose(tmp_path / "x", VIEW, "matlab"),
    ):
        with raises(UsageError, "exchange.unknown-format", "matlab"):
            call()


@pytest.mark.parametrize("format", FORMATS)
def test_writing_is_refused_or_whole(format, tmp_path):
    with raises(UsageError, "exchange.invalid-value", "pose.png", FORMATS[format].suffixes[0]):
        write_pose(tmp_path / "pose.png", VIEW, format)
    name = f"pose{FORMATS[format].suffixes[0]}"
    with raises(InputError, "output.unwritable", name):
        write_pose(tmp_path / "missing" / name, VIEW, format)
    write_pose(tmp_path / name, VIEW, format)
    assert [file.name for file in tmp_path.iterdir()] == [name]
