"""A folder with files to try commands on, each of which must fail without leaving a trace."""

from __future__ import annotations

import builtins
import io
import json
import os
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import pytest
import torch

from isoclinic.registration import PoseFile
from raising import Ran

from .conftest import CAMERA, Files

DETECTOR = ("--width", "32", "--height", "32", "--pixel-spacing-mm", "6", "6", "--sdd-mm", "1000")


class Desk(NamedTuple):
    """Where commands are run, and how."""

    folder: Path
    run: Callable[..., Ran]

    def refuses(self, line: str, status: int, code: str | None, *names: object) -> None:
        """Run a command line that must fail without a trace, with one error; see `Ran.refused`."""
        before = tree(self.folder)
        ran = self.run(*command(line))
        ran.refused(status, code, *names)
        kinds = ("isoclinic: warning: ", "isoclinic: error: ")
        assert all(each.startswith(kinds) for each in ran.err.splitlines()), ran.err
        assert ran.out == ""
        assert tree(self.folder) == before


def tree(folder: Path) -> dict[Path, bytes | None]:
    """All there is below a folder, with contents."""
    return {path: path.read_bytes() if path.is_file() else None for path in folder.rglob("*")}


def command(line: str) -> list[str]:
    """A command line in which words in capitals stand for what it needs besides."""
    line = line.replace("REGISTER", "register xray.dcm --volume ct.nii.gz")
    line = line.replace("RENDER", f"render ct.nii.gz --pose ap --output new.png {' '.join(DETECTOR)}")
    line = line.replace("EVALUATE", "evaluate cases --volume ct.nii.gz")
    line = line.replace("LABELS", "--labels labels.nii.gz")
    return line.replace("INIT", "--init init.json --config fast.toml").replace("OUT", "--output new").split()


def lay_out(folder: Path, files: Files, cases: Path) -> None:
    """The phantom's files, cases, and what else a command may ask for."""
    shutil.copytree(files.folder, folder, dirs_exist_ok=True)
    shutil.copytree(cases, folder / "cases")
    PoseFile(camera_from_world=files.camera_from_world, camera=CAMERA).write(folder / "pose.json")
    (folder / "pose.tfm").write_text(
        "#Insight Transform File V1.0\n#Transform 0\nTransform: AffineTransform_double_3_3\n"
        "Parameters: 1 0 0 0 1 0 0 0 1 0 0 0\nFixedParameters: 0 0 0\n"
    )
    points = np.random.default_rng(0).uniform(-50, 50, (6, 3))
    marks = CAMERA.project(torch.from_numpy(points), files.camera_from_world)
    landmarks = {
        "format": "isoclinic.landmarks",
        "version": 1,
        "world": "RAS",
        "units": "mm",
        "world_points": dict(zip("abcdef", points.tolist(), strict=True)),
        "pixel_points": dict(zip("abcdef", marks.tolist(), strict=True)),
    }
    (folder / "landmarks.json").write_text(json.dumps(landmarks))
    (folder / "folder").mkdir()


def refusing_to_open(desk: Desk, name: str, code: int) -> Desk:
    """The same where opening files of that name fails with this error: permissions do not stop root."""
    open_file = io.open

    def refuse(file: Any, *arguments: Any, **more: Any) -> Any:
        if not isinstance(file, int) and Path(file).name.endswith(name):
            raise OSError(code, os.strerror(code), str(file))
        return open_file(file, *arguments, **more)

    def run(*arguments: object) -> Ran:
        with pytest.MonkeyPatch.context() as patch:
            patch.setattr(builtins, "open", refuse)
            patch.setattr(io, "open", refuse)
            return desk.run(*arguments)

    return desk._replace(run=run)
