"""Tables of a tracked run for spreadsheets: CSV in UTF-8, empty where a value is not known."""

from __future__ import annotations

import csv
from collections.abc import Iterable, Sequence
from pathlib import Path

from torch import Tensor

from .._files import atomic
from .motion import PARAMETERS, parameters
from .record import FrameRecord
from .relative import Joint, relative_motion

POSES, RELATIVE = "poses.csv", "relative.csv"
_ERRORS = ("expected_right_mm", "expected_down_mm", "expected_depth_mm")
_DECIMALS = 4


def write_poses(path: Path, records: Sequence[FrameRecord], isocentre_world: Tensor) -> None:
    """A row for every frame: times, six parameters, expected errors, status, doubts.

    Args:
        path: where to.
        records: frames of a run.
        isocentre_world: centre of the CT [3] [mm].

    Raises:
        InputError: the file cannot be written.
    """
    header = ["frame", "file", "number", "time_s", "taken", "status", *PARAMETERS, "expected_error_mm"]
    header += [*_ERRORS, "expected_rotation_deg", "edges", "searched", "unchanged", "jumped", "doubts"]
    rows = []
    for record, six in zip(records, parameters(records, isocentre_world), strict=True):
        rows.append(
            [
                *(record.index, record.file, record.number, record.time_s, record.taken, record.status),
                *(six or [None] * len(PARAMETERS)),
                record.expected_error_mm,
                *(record.expected_error_by_axis_mm or [None] * len(_ERRORS)),
                *(record.expected_rotation_deg, record.edges),
                *(int(mark) for mark in (record.searched, record.unchanged, record.jumped)),
                "; ".join(record.all_doubts),
            ]
        )
    _write(path, header, rows)


def write_relative(path: Path, records: Sequence[FrameRecord], joints: Sequence[Joint]) -> None:
    """A row for every joint in every frame: its angles and the shift of its second structure.

    Args:
        path: where to.
        records: frames of a run.
        joints: of its structures.

    Raises:
        InputError: the file cannot be written.
    """
    header = ["frame", "time_s", "structure", "relative_to"]
    header += [f"angle_{number}_name" for number in (1, 2, 3)]
    header += [f"angle_{number}_deg" for number in (1, 2, 3)]
    header += ["shift_right_mm", "shift_anterior_mm", "shift_superior_mm"]
    header += ["expected_across_mm", "expected_depth_mm", "doubtful"]
    rows = []
    for record in records:
        for joint in joints:
            motion = relative_motion(record, joint)
            values: list[float | None] = [None] * 8
            if motion is not None:
                expected = motion.expected_error_mm or (None, None)
                values = [*motion.angles_deg, *motion.shift_mm, *expected]
            doubtful = motion is None or not motion.right
            named = [record.index, record.time_s, joint.second, joint.first, *joint.angles]
            rows.append([*named, *values, int(doubtful)])
    _write(path, header, rows)


def _write(path: Path, header: Sequence[str], rows: Iterable[Sequence[object]]) -> None:
    with atomic(path) as temporary, temporary.open("w", encoding="utf-8", newline="") as file:
        writer = csv.writer(file, lineterminator="\n")
        writer.writerow(header)
        writer.writerows([_text(value) for value in row] for row in rows)


def _text(value: object) -> object:
    # The sum of -0.0 and 0.0 is 0.0 (IEEE 754).
    return round(value, _DECIMALS) + 0.0 if isinstance(value, float) else value
