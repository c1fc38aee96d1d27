"""When frames were taken, as DICOM headers say: by a clock, or counted from the first frame of a run.

PS3.3 C.7.6.5 (Cine), C.7.6.16.2.2 (Frame Content), C.7.6.1 (General Image), C.7.10.1 (General Acquisition).
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from itertools import accumulate, pairwise
from typing import Any

from pydicom.datadict import keyword_for_tag
from pydicom.dataset import Dataset
from pydicom.multival import MultiValue
from pydicom.tag import Tag
from pydicom.valuerep import DT

_VECTOR, _STEP = "FrameTimeVector", "FrameTime"
_OF_FRAME = ("FrameReferenceDateTime", "FrameAcquisitionDateTime")
# Date and time, or both in one: what tells single images of a run apart, the most exact first.
CLOCKS = (
    ("FrameReferenceDateTime",),
    ("AcquisitionDateTime",),
    ("AcquisitionDate", "AcquisitionTime"),
    ("ContentDate", "ContentTime"),
)
# Times without a date that go back by more have passed midnight.
_MIDNIGHT = timedelta(hours=12)
# The year of times without a date.
UNDATED = 1900


@dataclass(frozen=True, kw_only=True)
class Times:
    """When the frames of one file were taken.

    Attributes:
        clock: by the clock; None where the header does not say so.
        seconds: since the first frame; None where the header does not say so.
        problem: why what the header says is of no use; empty where it is.
    """

    clock: tuple[datetime, ...] | None = None
    seconds: tuple[float, ...] | None = None
    problem: str = ""


def run_times(header: Dataset, count: int) -> Times:
    """Times of a multi-frame file: of each frame, or of the first one and the steps from frame to frame."""
    groups = header.get("PerFrameFunctionalGroupsSequence") or []
    for keyword in _OF_FRAME:
        found = [_of_group(group, keyword) for group in groups[:count]]
        if len(found) == count and all(found):
            known = tuple(each for each in found if each is not None)
            if any(after <= before for before, after in pairwise(known)):
                return Times(problem=f"{keyword} does not grow from frame to frame")
            seconds = tuple((each - known[0]).total_seconds() for each in known)
            return Times(clock=known, seconds=seconds)
    steps_ms, problem = _steps_ms(header, count)
    if steps_ms is None:
        return Times(problem=problem)
    seconds = tuple(ms / 1000 for ms in accumulate(steps_ms))
    began = next((clock for names in CLOCKS[1:] if (clock := clock_of(header, names)) is not None), None)
    if began is None:
        return Times(seconds=seconds)
    began += timedelta(milliseconds=_number(header.get("FrameDelay")) or 0.0)
    return Times(clock=tuple(began + timedelta(seconds=each) for each in seconds), seconds=seconds)


def clock_of(header: Dataset, names: Sequence[str]) -> datetime | None:
    """What date and time attributes of a header say together; None where one is missing or malformed."""
    texts = [str(header.get(name) or "").strip() for name in names]
    if len(names) == 2 and not texts[0]:
        texts[0] = f"{UNDATED}0101"  # the day does not matter between images of one run
    if not all(texts):
        return None
    try:
        value = DT("".join(texts))
    except (TypeError, ValueError, OverflowError):
        return None
    return None if value is None else datetime(*value.timetuple()[:6], value.microsecond)


def growing(clocks: Sequence[datetime | None]) -> list[datetime] | None:
    """Times that grow from image to image, past midnight; None where they do not, or one is missing."""
    known: list[datetime] = []
    for clock in clocks:
        if clock is None:
            return None
        if known and clock.year == UNDATED:
            while known[-1] - clock > _MIDNIGHT:
                clock += timedelta(days=1)
        if known and clock <= known[-1]:
            return None
        known.append(clock)
    return known


def _of_group(group: Dataset, keyword: str) -> datetime | None:
    content = group.get("FrameContentSequence")
    return clock_of(content[0], (keyword,)) if content else None


def _steps_ms(header: Dataset, count: int) -> tuple[list[float] | None, str]:
    """From the frame before to each one [ms], the first being 0; or why there are none."""
    vector, step = header.get(_VECTOR), _number(header.get(_STEP))
    pointed = _pointed(header)
    if vector not in (None, "") and not (step is not None and _STEP in pointed and _VECTOR not in pointed):
        several = vector if isinstance(vector, MultiValue | list | tuple) else [vector]
        steps = [_number(each) for each in several]
        if len(steps) == count - 1:
            steps.insert(0, 0.0)
        if len(steps) != count or None in steps:
            return None, f"{_VECTOR} has {len(several)} entries for {count} frames"
        known = [0.0, *(each for each in steps[1:] if each is not None)]
        if count > 1 and not min(known[1:]) > 0:
            return None, f"{_VECTOR} has steps that are not positive"
        return known, ""
    if step is None:
        return None, ""
    if not step > 0:
        return None, f"{_STEP} is {step:g} ms"
    return [0.0, *[step] * (count - 1)], ""


def _pointed(header: Dataset) -> list[str]:
    """Names of the attributes that FrameIncrementPointer names."""
    pointer = header.get("FrameIncrementPointer")
    tags = pointer if isinstance(pointer, MultiValue | list | tuple) else [] if pointer is None else [pointer]
    return [keyword_for_tag(Tag(tag)) for tag in tags]


def _number(value: Any) -> float | None:
    try:
        number = float(value)
    except (TypeError, ValueError):
        return None
    return number if math.isfinite(number) else None
