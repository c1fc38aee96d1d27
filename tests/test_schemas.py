"""The schemas of our JSON files say what the readers say.

Every entry of a complete file is left out, or replaced by a value of another type: the schema and the reader
must agree on whether that is still a file of its kind. What a schema cannot say, such as that a matrix is a
rigid motion, the readers' own tests check.
"""

from __future__ import annotations

import copy
import json
import warnings
from collections.abc import Callable, Iterator
from importlib.resources import files
from pathlib import Path
from typing import Any

import jsonschema
import numpy as np
import pytest
from PIL import Image

from isoclinic import Camera, XRay
from isoclinic.errors import InputError
from isoclinic.registration import PoseFile, views_from_file
from isoclinic.registration.landmarks import read_pixel_points, read_world_points
from isoclinic.volumes._label_names import _from_json
from isoclinic.volumes._warnings import GeometryWarning

NAMES = ("pose", "landmarks", "sidecar", "views", "labels")
WRONG = (None, "text", True, [], {}, [1, "text"], {"a": [1]})
EYE = np.eye(4).tolist()
PNG_SHAPE = (24, 32)
CAMERA = Camera.from_pixel_spacing(width=32, height=24, pixel_spacing_mm=(0.5, 0.4), sdd_mm=1000.0)

EXAMPLES: dict[str, Any] = {
    "pose": {
        "format": "isoclinic.pose",
        "version": 1,
        "camera_from_world": [[-1, 0, 0, 0], [0, 0, -1, 0], [0, -1, 0, 700], [0, 0, 0, 1]],
        "world": "RAS",
        "units": "mm",
        "intrinsics": {
            **{"fx": 850.0, "fy": 850.0, "cx": 127.5, "cy": 127.5, "width": 256, "height": 256},
            **{"sdd_mm": 1020.0, "pixel_spacing_mm": [1.2, 1.2]},
        },
        "inputs": {"volume": {"path": "ct", "sha256": "1"}, "labels": {"path": "labels", "sha256": "2"}},
        "status": "converged",
        "similarity": 0.9,
        "covariance": np.eye(6).tolist(),
        "expected_error_mm": 0.2,
        "doubts": ["why"],
        "isoclinic_version": "1",
        "command": "isoclinic",
    },
    "landmarks": {
        "format": "isoclinic.landmarks",
        "version": 1,
        "world": "LPS",
        "units": "mm",
        "world_points": {"a": [1, 2, 3], "b": [4, 5, 6]},
        "pixel_points": {"a": [1, 2]},
    },
    "sidecar": {
        "sdd_mm": 1000,
        "source_isocentre_mm": 700,
        "pixel_spacing_mm": [0.5, 0.4],
        "principal_point_px": [15.5, 11.5],
        "width": 32,
        "height": 24,
        **{"fx": 2500, "fy": 2000, "cx": 15.5, "cy": 11.5},
        **{"primary_angle_deg": 10, "secondary_angle_deg": -5},
        "polarity": "dark_air",
        "pixel_scale": "log",
        "_note": ["anything"],
    },
    "views": {"view_from_first": [EYE]},
    "labels": {"1": "hip_left", "2": "hip_right"},
}


def read_landmarks(path: Path) -> None:
    """Every list of points that the file has; a file without any is none."""
    document = json.loads(path.read_text())
    readers = {"world_points": read_world_points, "pixel_points": read_pixel_points}
    present = [reader for key, reader in readers.items() if key in document] or list(readers.values())
    for reader in present:
        reader(path)


def read_sidecar(path: Path) -> None:
    image = path.with_name("xray.png")
    Image.fromarray(np.arange(np.prod(PNG_SHAPE), dtype=np.uint16).reshape(PNG_SHAPE)).save(image)
    path.rename(path.with_name("xray.isoclinic.json"))
    XRay.read(image)


def read_views(path: Path) -> None:
    xray = XRay(pixels=np.eye(*PNG_SHAPE, dtype=np.float32), camera=CAMERA)
    views_from_file([xray, xray], path)


class RefusedError(Exception):
    """A reader that takes a file for another program's and leaves it alone."""


def read_labels(path: Path) -> None:
    if not _from_json(path):
        raise RefusedError


READERS: dict[str, Callable[[Path], object]] = {
    "pose": PoseFile.read,
    "landmarks": read_landmarks,
    "sidecar": read_sidecar,
    "views": read_views,
    "labels": read_labels,
}
# Without it the file is still a sidecar, and options must supply it.
MAY_BE_AN_OPTION = ("sdd_mm",)


def schema(name: str) -> dict[str, Any]:
    text = (files("isoclinic") / "schemas" / f"{name}.schema.json").read_text(encoding="utf-8")
    loaded: dict[str, Any] = json.loads(text)
    return loaded


def fits(name: str, document: Any) -> bool:
    return jsonschema.Draft202012Validator(schema(name)).is_valid(document)


def is_read(name: str, document: Any, folder: Path) -> bool:
    path = folder / f"{name}.json"
    path.write_text(json.dumps(document))
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", GeometryWarning)
        try:
            READERS[name](path)
        except (InputError, RefusedError):
            return False
    return True


def places(value: Any, above: tuple[Any, ...] = ()) -> Iterator[tuple[Any, ...]]:
    """Ways to every entry of a document, three levels deep."""
    entries = (
        value.items() if isinstance(value, dict) else enumerate(value) if isinstance(value, list) else ()
    )
    for key, entry in entries:
        yield (*above, key)
        if len(above) < 2:
            yield from places(entry, (*above, key))


def changed(document: Any, way: tuple[Any, ...]) -> Iterator[Any]:
    """The document without that entry, and with others in its place."""
    for wrong in ("without", *WRONG):
        made = copy.deepcopy(document)
        holder = made
        for key in way[:-1]:
            holder = holder[key]
        if wrong == "without":
            del holder[way[-1]]
        else:
            holder[way[-1]] = wrong
        yield made


@pytest.mark.parametrize("name", NAMES)
def test_it_is_a_schema(name):
    jsonschema.Draft202012Validator.check_schema(schema(name))
    assert schema(name)["$id"].endswith(f"/{name}.schema.json")


@pytest.mark.parametrize("name", NAMES)
def test_schema_and_reader_agree_on_a_complete_file(name, tmp_path):
    assert fits(name, EXAMPLES[name]) and is_read(name, EXAMPLES[name], tmp_path)


@pytest.mark.parametrize(
    ("name", "way"),
    [(name, way) for name in NAMES for way in places(EXAMPLES[name])],
    ids=lambda value: value if isinstance(value, str) else ".".join(map(str, value)),
)
def test_schema_and_reader_agree_on_every_change_of_type(name, way, tmp_path):
    agreed = set()
    for document in changed(EXAMPLES[name], way):
        verdict = fits(name, document)
        if name == "sidecar" and way == MAY_BE_AN_OPTION and way[0] not in document:
            continue
        assert is_read(name, document, tmp_path) == verdict, json.dumps(document)
        agreed.add(verdict)
    assert False in agreed or way[0] == "_note", "nothing that was tried is wrong"


def test_the_pose_file_that_is_written_fits(tmp_path):
    document = {**EXAMPLES["pose"], "covariance": None, "similarity": None}
    (tmp_path / "in.json").write_text(json.dumps(document))
    PoseFile.read(tmp_path / "in.json").write(tmp_path / "out.json")
    assert fits("pose", json.loads((tmp_path / "out.json").read_text()))
