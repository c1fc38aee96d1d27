"""What is known about one frame of a tracked run, as a line of the ledger holds it."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, dataclass, field, replace
from typing import Any

import torch
from torch import Tensor

from ..errors import InputError
from ..geometry import Camera
from ..registration import StructureResult, TrackedFrame
from ..solver import Status
from .frames import Frame

UNUSABLE = "unusable"
# Decimals of millimetres and degrees in files; poses have all of theirs.
_DECIMALS = 4
_USABLE = tuple(str(status) for status in Status if status is not Status.DIVERGED)


@dataclass(frozen=True, kw_only=True, eq=False)
class StructureRecord:
    """Where one structure is in a frame.

    Attributes:
        status: of its registration.
        camera_from_world: [4, 4], the pose of the CT as if all of it had moved with this structure.
        centroid_world: [3] [mm], of the structure in the CT.
        expected_error_mm: across the beam, and in depth; None where in doubt.
        doubts: reasons not to rely on it.
    """

    status: str
    camera_from_world: Tensor
    centroid_world: tuple[float, float, float]
    expected_error_mm: tuple[float, float] | None
    doubts: tuple[str, ...]

    @classmethod
    def of(cls, result: StructureResult) -> StructureRecord:
        """Of a registration."""
        x, y, z = result.centroid_world.tolist()
        stated = result.stated_error_mm
        return cls(
            status=str(result.status),
            camera_from_world=result.camera_from_world,
            centroid_world=(x, y, z),
            expected_error_mm=None if stated is None else (_short(stated[0]), _short(stated[1])),
            doubts=result.doubts,
        )


@dataclass(frozen=True, kw_only=True, eq=False)
class FrameRecord:
    """What is known about one frame.

    Attributes:
        index: in the run, counted from 0.
        file: its file, as it was given.
        number: in its file, counted from 0; None where the file holds one image.
        time_s: since the first frame [s]; None where files do not say.
        taken: by the clock of the device, ISO 8601; empty where files do not say.
        status: of its registration (`converged`, `max_steps`, `doubtful`), or `unusable` where there is no
            pose: the frame cannot be read, or the registration diverged.
        camera_from_world: [4, 4] float64, of its first X-ray; None where it is unusable.
        further_from_world: poses [4, 4] of the cameras of its further X-rays.
        cameras: intrinsics of its X-rays, as refined.
        mirrored: the X-ray was taken for mirrored left to right.
        expected_error_mm: overall; None where in doubt.
        expected_error_by_axis_mm: right, down and depth; None where in doubt.
        expected_rotation_deg: None where in doubt.
        edges: how well edges match; see `Confidence`.
        searched: it was searched for, because the first one always is and others may be lost.
        unchanged: its pixels are those of the frame before, whose result it has.
        jumped: it is far from where the motion so far leads.
        doubts: reasons not to rely on it.
        structures: by name.
    """

    index: int
    file: str
    number: int | None = None
    time_s: float | None = None
    taken: str = ""
    status: str = UNUSABLE
    camera_from_world: Tensor | None = None
    further_from_world: tuple[Tensor, ...] = ()
    cameras: tuple[Camera, ...] = ()
    mirrored: bool = False
    expected_error_mm: float | None = None
    expected_error_by_axis_mm: tuple[float, float, float] | None = None
    expected_rotation_deg: float | None = None
    edges: float | None = None
    searched: bool = False
    unchanged: bool = False
    jumped: bool = False
    doubts: tuple[str, ...] = ()
    structures: Mapping[str, StructureRecord] = field(default_factory=dict)

    @classmethod
    def of(cls, frame: Frame, tracked: TrackedFrame, structures: Sequence[StructureResult]) -> FrameRecord:
        """Of a frame that was tracked."""
        empty = cls.unusable(frame, tracked.unusable)
        result = tracked.result
        if result is None or result.status is Status.DIVERGED:
            return replace(empty, doubts=tracked.doubts)
        confidence = result.confidence
        stated = confidence.stated_error_by_axis_mm
        return replace(
            empty,
            status=str(Status.DOUBTFUL if tracked.doubts else result.status),
            camera_from_world=result.camera_from_world,
            further_from_world=tuple(result.cameras_from_world[1:]),
            cameras=result.cameras,
            mirrored="mirrored" in result.attempt.reading,
            expected_error_mm=_optional(confidence.stated_error_mm),
            expected_error_by_axis_mm=None if stated is None else _three(map(_short, stated)),
            expected_rotation_deg=_optional(confidence.stated_rotation_deg),
            edges=_optional(confidence.edges if math.isfinite(confidence.edges) else None),
            searched=tracked.searched,
            jumped=tracked.jumped,
            doubts=tracked.doubts,
            structures={each.name: StructureRecord.of(each) for each in structures},
        )

    @classmethod
    def unusable(cls, frame: Frame, reason: str) -> FrameRecord:
        """Of a frame that has no pose."""
        return cls(
            index=frame.index,
            file=str(frame.path),
            number=frame.number,
            time_s=frame.time_s,
            taken=frame.taken,
            doubts=(" ".join(reason.split()),),
        )

    def worded(self, wording: Callable[[str], str]) -> FrameRecord:
        """The same with its doubts in other words."""
        structures = {
            name: replace(each, doubts=tuple(map(wording, each.doubts)))
            for name, each in self.structures.items()
        }
        return replace(self, doubts=tuple(map(wording, self.doubts)), structures=structures)

    def repeated(self, frame: Frame) -> FrameRecord:
        """Of a frame whose pixels are those of this one."""
        empty = self.unusable(frame, "")
        return replace(
            self,
            index=empty.index,
            file=empty.file,
            number=empty.number,
            time_s=empty.time_s,
            taken=empty.taken,
            unchanged=True,
            searched=False,
            jumped=False,
        )

    @property
    def name(self) -> str:
        """For people to read."""
        return f"frame {self.index}"

    @property
    def usable(self) -> bool:
        """Whether there is a pose."""
        return self.camera_from_world is not None

    def pose_in(self, plane: int) -> Tensor | None:
        """The pose [4, 4] of the camera of one of its X-rays, counted from 0; None without one."""
        poses = (self.camera_from_world, *self.further_from_world)
        return poses[plane] if plane < len(poses) else None

    @property
    def all_doubts(self) -> tuple[str, ...]:
        """Reasons not to rely on any of its poses, those of structures with their names."""
        of_structures = (
            f"{name}: {doubt}" for name, each in self.structures.items() for doubt in each.doubts
        )
        return (*self.doubts, *of_structures)

    @property
    def right(self) -> bool:
        """Whether nothing speaks against any of its poses."""
        return self.usable and self.status != Status.DOUBTFUL and not self.all_doubts

    def document(self) -> dict[str, Any]:
        """For `restored`, as JSON can hold it."""
        pose = self.camera_from_world
        return {
            "frame": self.index,
            "file": self.file,
            "number": self.number,
            "time_s": self.time_s,
            "taken": self.taken or None,
            "status": self.status,
            "camera_from_world": None if pose is None else pose.tolist(),
            "further_from_world": [each.tolist() for each in self.further_from_world],
            "cameras": [asdict(camera) for camera in self.cameras],
            "mirrored": self.mirrored,
            "expected_error_mm": self.expected_error_mm,
            "expected_error_by_axis_mm": self.expected_error_by_axis_mm,
            "expected_rotation_deg": self.expected_rotation_deg,
            "edges": self.edges,
            "searched": self.searched,
            "unchanged": self.unchanged,
            "jumped": self.jumped,
            "doubts": list(self.doubts),
            "structures": {
                name: {
                    "status": each.status,
                    "camera_from_world": each.camera_from_world.tolist(),
                    "centroid_world": list(each.centroid_world),
                    "expected_error_mm": each.expected_error_mm,
                    "doubts": list(each.doubts),
                }
                for name, each in self.structures.items()
            },
        }

    @classmethod
    def restored(cls, document: Mapping[str, Any], where: str) -> FrameRecord:
        """What `document` has written.

        Args:
            document: of a record.
            where: what messages call it.

        Raises:
            InputError: it is something else.
        """
        try:
            return cls._restored(document)
        except (AttributeError, KeyError, TypeError, ValueError) as error:
            raise InputError(f"{where} is no record of a frame: {error}", code="sequence.damaged") from error

    @classmethod
    def _restored(cls, document: Mapping[str, Any]) -> FrameRecord:
        pose, by_axis = document["camera_from_world"], document["expected_error_by_axis_mm"]
        status = str(document["status"])
        if (pose is None) != (status == UNUSABLE) or status not in (UNUSABLE, *_USABLE):
            raise ValueError(f"status {status!r} does not go with its pose")
        return cls(
            index=int(document["frame"]),
            file=str(document["file"]),
            number=None if document["number"] is None else int(document["number"]),
            time_s=_optional(document["time_s"], None),
            taken=str(document["taken"] or ""),
            status=status,
            camera_from_world=None if pose is None else _pose(pose),
            further_from_world=tuple(map(_pose, document["further_from_world"])),
            cameras=tuple(Camera(**camera) for camera in document["cameras"]),
            mirrored=bool(document["mirrored"]),
            expected_error_mm=_optional(document["expected_error_mm"]),
            expected_error_by_axis_mm=None if by_axis is None else _three(by_axis),
            expected_rotation_deg=_optional(document["expected_rotation_deg"]),
            edges=_optional(document["edges"]),
            searched=bool(document["searched"]),
            unchanged=bool(document["unchanged"]),
            jumped=bool(document["jumped"]),
            doubts=tuple(map(str, document["doubts"])),
            structures={
                name: StructureRecord(
                    status=str(each["status"]),
                    camera_from_world=_pose(each["camera_from_world"]),
                    centroid_world=_three(each["centroid_world"]),
                    expected_error_mm=None
                    if each["expected_error_mm"] is None
                    else (float(each["expected_error_mm"][0]), float(each["expected_error_mm"][1])),
                    doubts=tuple(map(str, each["doubts"])),
                )
                for name, each in document["structures"].items()
            },
        )


def _pose(rows: Any) -> Tensor:
    pose = torch.tensor(rows, dtype=torch.float64)
    if pose.shape != (4, 4) or not pose.isfinite().all():
        raise ValueError("its pose is no 4x4 matrix")
    return pose


def _three(values: Any) -> tuple[float, float, float]:
    first, second, third = values
    return float(first), float(second), float(third)


def _optional(value: Any, decimals: int | None = _DECIMALS) -> float | None:
    if value is None:
        return None
    return float(value) if decimals is None else round(float(value), decimals)


def _short(value: float) -> float:
    return round(float(value), _DECIMALS)
