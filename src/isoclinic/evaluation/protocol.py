"""Cases whose true pose is known, and what registering them measures."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor

from ..errors import InputError, UsageError
from ..geometry import as_poses
from ..registration import PRESETS, RegistrationResult
from .metrics import PoseErrors, mean_target_registration_error_mm, pose_errors

XRAY_FILE, TRUTH_FILE = "xray.dcm", "truth.json"
WITHOUT_POSE = "none"


@dataclass(frozen=True, kw_only=True, eq=False)
class Case:
    """An X-ray with its true pose.

    Attributes:
        name: path of its folder below the one that was searched, such as "chest/02".
        group: name of the folder it lies in, such as "chest": cases of one CT.
        folder: with `xray.dcm` and `truth.json`.
        camera_from_world: the true pose [4, 4], float64.
        landmarks_world: [N, 3] [mm], float64.
        inits: starting poses [4, 4] by name.
    """

    name: str
    group: str
    folder: Path
    camera_from_world: Tensor
    landmarks_world: Tensor
    inits: Mapping[str, Tensor]

    @classmethod
    def read(cls, folder: Path, name: str) -> Case:
        """Read a case.

        `truth.json` is an object with `extrinsic` (camera_from_world, 4x4), `landmarks` (points in the world,
        RAS mm) and, optionally, `inits` (further 4x4 matrices by name).

        Raises:
            InputError: a file that is missing or says something else.
        """
        truth = folder / TRUTH_FILE
        if not (folder / XRAY_FILE).is_file():
            raise InputError(f"{folder} has {TRUTH_FILE} but no {XRAY_FILE}")
        try:
            document = json.loads(truth.read_text(encoding="utf-8"))
        except (OSError, UnicodeDecodeError, json.JSONDecodeError) as error:
            raise InputError(f"{truth} cannot be read as JSON: {error}") from error
        pose = _pose(_entry(document, "extrinsic", truth), f"{truth}: extrinsic")
        landmarks = _points(_entry(document, "landmarks", truth), f"{truth}: landmarks")
        inits = document.get("inits", {})
        # Results are filed under these names.
        if not isinstance(inits, dict) or any(Path(init).name != init for init in inits):
            raise InputError(f"{truth}: inits must be an object of 4x4 matrices by plain names")
        return cls(
            name=name,
            group=folder.absolute().parent.name,
            folder=folder,
            camera_from_world=pose,
            landmarks_world=landmarks,
            inits={init: _pose(matrix, f"{truth}: inits[{init!r}]") for init, matrix in inits.items()},
        )

    def init(self, name: str) -> Tensor | str | None:
        """What `register` takes as the start of that name: one of `inits`, a standard view, or "none".

        Raises:
            UsageError: a name that is none of these.
        """
        if name in self.inits:
            return self.inits[name]
        if name == WITHOUT_POSE:
            return None
        if name in PRESETS:
            return name
        known = ", ".join([*self.inits, WITHOUT_POSE, *PRESETS])
        raise UsageError(f"{self.folder / TRUTH_FILE} has no start {name!r}; there are {known}")


@dataclass(frozen=True, kw_only=True)
class Measurement:
    """Errors of one registration.

    Attributes:
        case: its name.
        group: of the case.
        init: name of the start.
        initial_mtre_mm: mTRE of the pose it started from [mm].
        mtre_mm: mTRE of the result [mm]; this and the next see `PoseErrors`.
        mpd_mm: mean projection distance [mm].
        mrpd_mm: mean reprojection distance [mm].
        rotation_deg: [deg].
        translation_mm: along the camera's axes, depth last [mm].
        status: of the result.
        similarity: of the result.
        expected_error_mm: what the registration itself expected [mm].
        seconds: run time without reading files.
    """

    case: str
    group: str
    init: str
    initial_mtre_mm: float
    mtre_mm: float
    mpd_mm: float
    mrpd_mm: float
    rotation_deg: float
    translation_mm: tuple[float, float, float]
    status: str
    similarity: float
    expected_error_mm: float
    seconds: float

    @classmethod
    def of(cls, case: Case, init: str, result: RegistrationResult, *, sdd_mm: float) -> Measurement:
        """Compare a result with the truth.

        Args:
            case: that was registered.
            init: name of the start.
            result: of the registration.
            sdd_mm: distance from the source to the detector [mm].
        """
        errors = pose_errors(
            result.camera_from_world, case.camera_from_world, case.landmarks_world, sdd_mm=sdd_mm
        )
        initial_mtre_mm = mean_target_registration_error_mm(
            result.initial.camera_from_world, case.camera_from_world, case.landmarks_world
        )
        x_mm, y_mm, depth_mm = errors.translation_mm.tolist()
        return cls(
            case=case.name,
            group=case.group,
            init=init,
            initial_mtre_mm=float(initial_mtre_mm),
            mtre_mm=float(errors.mtre_mm),
            mpd_mm=float(errors.mpd_mm),
            mrpd_mm=float(errors.mrpd_mm),
            rotation_deg=float(errors.rotation_deg),
            translation_mm=(x_mm, y_mm, depth_mm),
            status=str(result.status),
            similarity=result.similarity,
            expected_error_mm=result.confidence.expected_error_mm,
            seconds=result.seconds,
        )


def find_cases(folder: Path) -> list[Case]:
    """All cases below a folder, by name.

    Raises:
        InputError: there is none, or one that cannot be read.
    """
    if not folder.is_dir():
        raise InputError(f"{folder} is not a folder of cases")
    folders = sorted(path.parent for path in folder.rglob(TRUTH_FILE))
    if not folders:
        raise InputError(
            f"{folder} holds no case: a case is a folder with {XRAY_FILE} and {TRUTH_FILE} "
            '({"extrinsic": 4x4 camera_from_world, "landmarks": [[x, y, z], ...], "inits": {name: 4x4}})'
        )
    return [Case.read(path, path.relative_to(folder).as_posix()) for path in folders]


def errors_of(measurements: Sequence[Measurement]) -> PoseErrors:
    """The errors of N measurements, each field [N]; translations [N, 3]."""

    def column(name: str) -> Tensor:
        return torch.tensor([getattr(each, name) for each in measurements], dtype=torch.float64)

    return PoseErrors(
        mtre_mm=column("mtre_mm"),
        mpd_mm=column("mpd_mm"),
        mrpd_mm=column("mrpd_mm"),
        rotation_deg=column("rotation_deg"),
        translation_mm=column("translation_mm"),
    )


def _entry(document: Any, key: str, truth: Path) -> Any:
    if not isinstance(document, dict) or key not in document:
        raise InputError(f"{truth} lacks {key!r}")
    return document[key]


def _pose(value: Any, label: str) -> Tensor:
    pose = as_poses(value, label)
    if len(pose) != 1:
        raise InputError(f"{label} must be one 4x4 matrix")
    return pose[0]


def _points(value: Any, label: str) -> Tensor:
    try:
        points = torch.from_numpy(np.array(value, dtype=np.float64))
    except (TypeError, ValueError) as error:
        raise InputError(f"{label} must be a list of points [x, y, z]: {error}") from error
    if points.ndim != 2 or points.shape[1] != 3 or len(points) == 0 or not points.isfinite().all():
        raise InputError(f"{label} must be a list of points [x, y, z], not of shape {list(points.shape)}")
    return points
