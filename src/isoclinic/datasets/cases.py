"""A folder of cases: X-rays whose true poses are known, each with a small JSON file beside it."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass, replace
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

    A case is a folder with `truth.json`, an object with `extrinsic` (camera_from_world, 4x4), `landmarks`
    (points in the world, RAS mm) and, optionally, `inits` (further 4x4 matrices by name, which become
    `Sample.starts`), `xray` and `ct` (files of any format that is read, relative to the case's folder). The
    X-ray is `xray.dcm` in that folder where the object names no other. The name of a case is its path below
    the folder, such as "chest/02". Its subject is the name of the file `ct` where there is such a file
    (preceded by the name of its folder where files of several folders have one name), else the name of the
    folder that the case lies in.

    Args:
        path: of the folder.
        volumes: file of the CT of each subject, before those that `truth.json` names; a subject that has no
            CT at all leads to an error when its CT is asked for.
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
        for subject in volumes:
            self._check_subject(subject)
        self._volumes = {
            truth.subject: truth.volume for truth in self._truths.values() if truth.volume is not None
        } | {subject: Path(file) for subject, file in volumes.items()}

    @property
    def volumes(self) -> dict[str, Path]:
        """The CT of each subject that has one."""
        return dict(self._volumes)

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
            xray=XRay.read(truth.xray, self.config),
            camera_from_world=truth.camera_from_world,
            landmark_names=tuple(str(number) for number in range(len(truth.landmarks_world))),
            landmarks_world=truth.landmarks_world,
            starts=truth.starts,
        )

    def _files(self, subject: str, xray: str) -> tuple[Path, ...]:
        truth = self._truths[xray]
        return self._volume_file(subject), truth.xray, truth.folder / TRUTH_FILE

    def _volume_file(self, subject: str) -> Path:
        if subject not in self._volumes:
            raise UsageError(f"no CT for the cases in {subject!r} of {self.path}", code="dataset.ct-missing")
        return self._volumes[subject]

    def _split(self, name: str) -> tuple[str, str]:
        if name not in self._truths:
            raise UsageError(
                f"{self.path} has no case {name!r}; there are {', '.join(self.names)}",
                code="dataset.unknown-name",
            )
        return self._truths[name].subject, name


@dataclass(frozen=True, kw_only=True, eq=False)
class _Truth:
    """What `truth.json` says; see `Sample`. The CT is None where it names no file that exists."""

    folder: Path
    subject: str
    xray: Path
    volume: Path | None
    camera_from_world: Tensor
    landmarks_world: Tensor
    starts: Mapping[str, Tensor]

    @classmethod
    def read(cls, folder: Path) -> _Truth:
        truth = folder / TRUTH_FILE
        try:
            document = json.loads(read_text(truth))
        except (OSError, RecursionError, ValueError) as error:
            raise InputError(f"{truth} cannot be read as JSON: {error}", code="dataset.unreadable") from error
        xray, volume = _file(document, "xray", truth), _file(document, "ct", truth)
        if xray is None and isinstance(document, dict) and "xray" in document:
            raise InputError(
                f"{truth}: the X-ray {document['xray']!r} does not exist", code="dataset.incomplete"
            )
        if xray is None and not (folder / XRAY_FILE).is_file():
            raise InputError(
                f'{folder} has {TRUTH_FILE} but no {XRAY_FILE}, and it names no "xray"',
                code="dataset.incomplete",
            )
        pose = _pose(_entry(document, "extrinsic", truth), f"{truth}: extrinsic")
        landmarks = _points(_entry(document, "landmarks", truth), f"{truth}: landmarks")
        inits = document.get("inits", {})
        # Results are filed under these names.
        if not isinstance(inits, dict) or any(Path(init).name != init for init in inits):
            raise InputError(
                f"{truth}: inits must be an object of 4x4 matrices by plain names",
                code="dataset.invalid-value",
            )
        return cls(
            folder=folder,
            subject=folder.absolute().parent.name if volume is None else _stem(volume),
            xray=xray or folder / XRAY_FILE,
            volume=volume,
            camera_from_world=pose,
            landmarks_world=landmarks,
            starts={init: _pose(matrix, f"{truth}: inits[{init!r}]") for init, matrix in inits.items()},
        )


def _find(folder: Path) -> dict[str, _Truth]:
    """All cases below a folder by name, in order."""
    if not folder.is_dir():
        raise InputError(f"{folder} is not a folder of cases", code="dataset.wrong-kind")
    folders = sorted(path.parent for path in folder.rglob(TRUTH_FILE))
    if not folders:
        raise InputError(
            f"{folder} holds no case: a case is a folder with {XRAY_FILE} and {TRUTH_FILE} "
            '({"extrinsic": 4x4 camera_from_world, "landmarks": [[x, y, z], ...], "inits": {name: 4x4}, '
            '"xray": file, "ct": file})',
            code="dataset.empty",
        )
    truths = {path.relative_to(folder).as_posix(): _Truth.read(path) for path in folders}
    files: dict[str, set[Path | None]] = {}
    for truth in truths.values():
        files.setdefault(truth.subject, set()).add(truth.volume)
    return {
        name: truth
        if truth.volume is None or len(files[truth.subject]) == 1
        else replace(truth, subject=f"{truth.volume.parent.name}-{truth.subject}")
        for name, truth in truths.items()
    }


def _file(document: Any, key: str, truth: Path) -> Path | None:
    """The file that an entry names, relative to the case's folder; None where there is no such file."""
    value = document.get(key) if isinstance(document, dict) else None
    if value is None:
        return None
    if not isinstance(value, str) or "\0" in value:
        raise InputError(f"{truth}: {key} must be the name of a file", code="dataset.invalid-value")
    path = (truth.parent / value).resolve()
    return path if path.is_file() else None


def _stem(path: Path) -> str:
    """Name of a file without its suffix, or both of `.nii.gz`."""
    return path.name.removesuffix(".gz").rsplit(".", 1)[0]


def _entry(document: Any, key: str, truth: Path) -> Any:
    if not isinstance(document, dict) or key not in document:
        raise InputError(f"{truth} lacks {key!r}", code="dataset.incomplete")
    return document[key]


def _pose(value: Any, label: str) -> Tensor:
    pose = written_poses(value, label)
    if len(pose) != 1:
        raise InputError(f"{label} must be one 4x4 matrix", code="dataset.wrong-shape")
    return pose[0]


def _points(value: Any, label: str) -> Tensor:
    try:
        points = torch.from_numpy(np.array(value, dtype=np.float64))
    except (OverflowError, TypeError, ValueError) as error:
        raise InputError(
            f"{label} must be a list of points [x, y, z]: {error}", code="dataset.invalid-value"
        ) from error
    if points.ndim != 2 or points.shape[1] != 3 or len(points) == 0 or not points.isfinite().all():
        raise InputError(
            f"{label} must be a list of points [x, y, z], not of shape {list(points.shape)}",
            code="dataset.wrong-shape",
        )
    return points
