"""A folder of cases: X-rays whose true poses are known, each with a small JSON file beside it."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor

from .._files import read_text
from ..errors import InputError, UsageError
from ..volumes import Volume, XRay, XRayOptions, written_poses
from ._indexed import IndexedDataset
from .sample import Sample

XRAY_FILE, TRUTH_FILE = "xray.dcm", "truth.json"


class CaseFolder(IndexedDataset):
    """All cases below a folder.

    A case is a folder with `xray.dcm` and `truth.json`, an object with `extrinsic` (camera_from_world, 4x4),
    `landmarks` (points in the world, RAS mm) and, optionally, `inits` (further 4x4 matrices by name, which
    become `Sample.starts`). The name of a case is its path below the folder, such as "chest/02"; its subject
    is the name of the folder it lies in.

    Args:
        path: of the folder.
        volumes: file of the CT of each subject; those that are missing are missed when they are asked for.
        config: how to read the X-rays.

    Raises:
        InputError: there is no case, or a `truth.json` says something else.
        UsageError: a CT of a subject that does not exist.
    """

    def __init__(
        self, path: str | Path, volumes: Mapping[str, str | Path], config: XRayOptions | None = None
    ) -> None:
        self.config = config or XRayOptions()
        self._truths = _find(Path(path))
        subjects = dict.fromkeys(truth.subject for truth in self._truths.values())
        super().__init__(
            Path(path),
            {
                subject: tuple(name for name, truth in self._truths.items() if truth.subject == subject)
                for subject in subjects
            },
        )
        self._volumes = {subject: Path(file) for subject, file in volumes.items()}
        for subject in volumes:
            self._check_subject(subject)

    @property
    def starts(self) -> dict[str, tuple[str, ...]]:
        """Names of the starts of each case."""
        return {name: tuple(truth.starts) for name, truth in self._truths.items()}

    def names_of(self, subject: str) -> tuple[str, ...]:
        """Names of the cases of a subject.

        Raises:
            UsageError: there is no such subject; the message lists those there are.
        """
        self._check_subject(subject)
        return self._xrays[subject]

    def _read_volume(self, subject: str) -> Volume:
        return Volume.read(self._volume_file(subject))

    def _read_sample(self, subject: str, xray: str, volume: Volume) -> Sample:
        truth = self._truths[xray]
        return Sample(
            name=xray,
            subject=subject,
            volume=volume,
            xray=XRay.read(truth.folder / XRAY_FILE, self.config),
            camera_from_world=truth.camera_from_world,
            landmark_names=tuple(str(number) for number in range(len(truth.landmarks_world))),
            landmarks_world=truth.landmarks_world,
            starts=truth.starts,
        )

    def _files(self, subject: str, xray: str) -> tuple[Path, ...]:
        folder = self._truths[xray].folder
        return self._volume_file(subject), folder / XRAY_FILE, folder / TRUTH_FILE

    def _volume_file(self, subject: str) -> Path:
        if subject not in self._volumes:
            raise UsageError(f"no CT for the cases in {subject!r} of {self.path}")
        return self._volumes[subject]

    def _split(self, name: str) -> tuple[str, str]:
        if name not in self._truths:
            raise UsageError(f"{self.path} has no case {name!r}; there are {', '.join(self.names)}")
        return self._truths[name].subject, name


@dataclass(frozen=True, kw_only=True, eq=False)
class _Truth:
    """What `truth.json` says; see `Sample`."""

    folder: Path
    subject: str
    camera_from_world: Tensor
    landmarks_world: Tensor
    starts: Mapping[str, Tensor]

    @classmethod
    def read(cls, folder: Path) -> _Truth:
        truth = folder / TRUTH_FILE
        if not (folder / XRAY_FILE).is_file():
            raise InputError(f"{folder} has {TRUTH_FILE} but no {XRAY_FILE}")
        try:
            document = json.loads(read_text(truth))
        except (OSError, RecursionError, ValueError) as error:
            raise InputError(f"{truth} cannot be read as JSON: {error}") from error
        pose = _pose(_entry(document, "extrinsic", truth), f"{truth}: extrinsic")
        landmarks = _points(_entry(document, "landmarks", truth), f"{truth}: landmarks")
        inits = document.get("inits", {})
        # Results are filed under these names.
        if not isinstance(inits, dict) or any(Path(init).name != init for init in inits):
            raise InputError(f"{truth}: inits must be an object of 4x4 matrices by plain names")
        return cls(
            folder=folder,
            subject=folder.absolute().parent.name,
            camera_from_world=pose,
            landmarks_world=landmarks,
            starts={init: _pose(matrix, f"{truth}: inits[{init!r}]") for init, matrix in inits.items()},
        )


def _find(folder: Path) -> dict[str, _Truth]:
    """All cases below a folder by name, in order."""
    if not folder.is_dir():
        raise InputError(f"{folder} is not a folder of cases")
    folders = sorted(path.parent for path in folder.rglob(TRUTH_FILE))
    if not folders:
        raise InputError(
            f"{folder} holds no case: a case is a folder with {XRAY_FILE} and {TRUTH_FILE} "
            '({"extrinsic": 4x4 camera_from_world, "landmarks": [[x, y, z], ...], "inits": {name: 4x4}})'
        )
    return {path.relative_to(folder).as_posix(): _Truth.read(path) for path in folders}


def _entry(document: Any, key: str, truth: Path) -> Any:
    if not isinstance(document, dict) or key not in document:
        raise InputError(f"{truth} lacks {key!r}")
    return document[key]


def _pose(value: Any, label: str) -> Tensor:
    pose = written_poses(value, label)
    if len(pose) != 1:
        raise InputError(f"{label} must be one 4x4 matrix")
    return pose[0]


def _points(value: Any, label: str) -> Tensor:
    try:
        points = torch.from_numpy(np.array(value, dtype=np.float64))
    except (OverflowError, TypeError, ValueError) as error:
        raise InputError(f"{label} must be a list of points [x, y, z]: {error}") from error
    if points.ndim != 2 or points.shape[1] != 3 or len(points) == 0 or not points.isfinite().all():
        raise InputError(f"{label} must be a list of points [x, y, z], not of shape {list(points.shape)}")
    return points
