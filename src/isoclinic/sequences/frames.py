"""The frames of a run, whichever files hold them: one image in memory at a time."""

from __future__ import annotations

import re
import warnings
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, replace
from datetime import datetime
from itertools import pairwise
from pathlib import Path

from ..errors import InputError, UsageError
from ..volumes import DicomRun, GeometryWarning, XRay, XRayOptions, images_in
from ..volumes._grid import decoding
from ._times import CLOCKS, UNDATED, Times, clock_of, growing, run_times


@dataclass(frozen=True, kw_only=True)
class Frame:
    """Where one frame of a run is.

    Attributes:
        index: in the run, counted from 0.
        path: of its file.
        number: in its file, counted from 0; None where the file holds one image.
        time_s: since the first frame [s]; None where files do not say.
        taken: by the clock of the device, ISO 8601; empty where files do not say.
        problem: why its file cannot be opened; empty where it can.
    """

    index: int
    path: Path
    number: int | None = None
    time_s: float | None = None
    taken: str = ""
    problem: str = ""

    @property
    def name(self) -> str:
        """For people to read."""
        return self.path.name if self.number is None else f"{self.path.name}, frame {self.number}"


@contextmanager
def quietly() -> Iterator[None]:
    """Where frames are read that are told of elsewhere."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", GeometryWarning)
        yield


class Frames(Sequence[Frame]):
    """The frames of a run.

    Several paths are put one after another: multi-frame DICOM files give their frames, folders the images in
    them in natural order ("9.png" before "10.png"), in the order of their times where all have one. What is
    beside images in a folder (JSON files, text) is passed over. A file that cannot be opened is a frame that
    cannot be used.

    Args:
        paths: files and folders.
        options: how to read each frame.

    Attributes:
        files: that hold the frames.
        notes: what is odd about order and times, for people to read.

    Raises:
        InputError: a path that does not exist, or no image in any.
        UsageError: an option that chooses one frame.
    """

    def __init__(self, paths: Sequence[Path | str], options: XRayOptions | None = None) -> None:
        self._options = options or XRayOptions()
        if self._options.frame is not None:
            raise UsageError(
                "`frame` chooses one frame of a file, but all are tracked; leave it out",
                code="sequence.invalid-value",
            )
        self.notes: tuple[str, ...] = ()
        self._runs: dict[Path, DicomRun] = {}
        self._clocks: dict[Path, tuple[datetime | None, ...]] = {}
        places = [place for path in paths for place in self._opened(Path(path))]
        if not places:
            raise InputError(
                f"{', '.join(map(str, paths)) or 'the run'} holds no image", code="sequence.empty"
            )
        self._frames = tuple(replace(place, index=index) for index, place in enumerate(places))
        self._set_times()
        self.files = tuple(dict.fromkeys(frame.path for frame in self._frames))

    def __len__(self) -> int:
        return len(self._frames)

    def __getitem__(self, index):  # type: ignore[no-untyped-def]  # an index or a slice, as of every sequence
        return self._frames[index]

    @property
    def title(self) -> str:
        """What people call the run: its file, or the folder of its files."""
        first = self.files[0]
        return first.name if len(self.files) == 1 else first.parent.name or f"{len(self.files)} X-rays"

    def read(self, index: int) -> XRay:
        """The image of one frame with its own geometry.

        Raises:
            InputError: a frame that cannot be used.
            UsageError: options that do not fit it.

        Warns:
            GeometryWarning: as for `XRay.read`.
        """
        frame = self._frames[index]
        if frame.problem:
            raise InputError(frame.problem, code="sequence.unreadable-frame")
        if frame.number is None:
            try:
                return XRay.read(frame.path, self._options)
            except InputError as error:
                if error.code != "xray.several-images":
                    raise
                raise InputError(
                    f"{frame.path} holds several planes; a run is a multi-frame DICOM file, or has one file "
                    "for each frame",
                    code="sequence.unreadable-frame",
                ) from error
        return XRay.read_frame(self._runs[frame.path], frame.number, self._options)

    def first_readable(self) -> XRay:
        """The first frame that can be read; what is odd about it is told where it is tracked.

        Raises:
            InputError: no frame can, as where all lack their geometry; why the first one cannot.
        """
        why: InputError | None = None
        for index in range(len(self)):
            try:
                with quietly():
                    return self.read(index)
            except InputError as error:
                why = why or error
        assert why is not None
        raise why

    def _opened(self, path: Path) -> list[Frame]:
        """Frames of a file or folder, not counted yet."""
        if not path.exists():
            raise InputError(f"X-ray file {path} does not exist", code="xray.missing")
        if not path.is_dir():
            return self._of_file(path)
        files = images_in(path)
        if not files:
            raise InputError(
                f"{path} holds no image; give the folder that has the frames of the run themselves",
                code="sequence.empty",
            )
        of_files = {file: self._of_file(file) for file in sorted(files, key=_natural)}
        return [frame for file in self._in_order(list(of_files)) for frame in of_files[file]]

    def _of_file(self, path: Path) -> list[Frame]:
        """Its frames, by its header alone: pixels are decoded when their turn comes."""
        try:
            run = DicomRun.of(path)
        except InputError as error:
            return [Frame(index=0, path=path, problem=str(error))]
        if run is not None and run.count > 1:
            self._runs[path] = run
            return [Frame(index=0, path=path, number=number) for number in range(run.count)]
        if run is not None:
            self._clocks[path] = _clocks(run)
        return [Frame(index=0, path=path)]

    def _in_order(self, named: list[Path]) -> list[Path]:
        """Files in natural order, or in that of their times, where all are single images that have one."""
        for index, names in enumerate(CLOCKS):
            times = [self._clock(file, index) for file in named]
            known = [each for each in times if each is not None]
            if len(set(known)) != len(named):
                continue
            if growing(times) is None:
                self.notes += (
                    f"the order of the frames in {named[0].parent} is that of {names[-1]}, which is not that "
                    "of their names",
                )
                return [file for _, file in sorted(zip(known, named, strict=True), key=lambda pair: pair[0])]
            return named
        return named

    def _clock(self, path: Path, index: int) -> datetime | None:
        """What the clock of that index says of a single image."""
        return self._clocks[path][index] if path in self._clocks else None

    def _set_times(self) -> None:
        """Take times from the files, where they grow from frame to frame."""
        of_runs = {path: _times(run) for path, run in self._runs.items()}
        self.notes += tuple(f"{path}: {each.problem}" for path, each in of_runs.items() if each.problem)
        clocks = self._common_clock(of_runs)
        if clocks is not None:
            seconds: Sequence[float] = [(each - clocks[0]).total_seconds() for each in clocks]
        elif len(of_runs) == 1 and len(self) == next(iter(self._runs.values())).count:
            known = next(iter(of_runs.values())).seconds
            if known is None:
                return
            seconds = known
        else:
            return
        taken = [""] * len(self) if clocks is None else list(map(_iso, clocks))
        if any(after <= before for before, after in pairwise(seconds)):
            self.notes += ("the times in the files do not grow from frame to frame, and are not used",)
            return
        self._frames = tuple(
            replace(frame, time_s=second, taken=clock)
            for frame, second, clock in zip(self._frames, seconds, taken, strict=True)
        )

    def _common_clock(self, of_runs: dict[Path, Times]) -> list[datetime] | None:
        """Times of all frames by the clock, if there are such that grow."""
        for index in range(len(CLOCKS)):
            found: list[datetime | None] = []
            for frame in self._frames:
                times = of_runs[frame.path].clock if frame.number is not None else None
                of_run = None if times is None or frame.number is None else times[frame.number]
                found.append(self._clock(frame.path, index) if frame.number is None else of_run)
            known = growing(found)
            if known is not None:
                return known
        return None


def _times(run: DicomRun) -> Times:
    """Times of a run; a problem where its header cannot be decoded."""
    try:
        with decoding(run.path, " as DICOM"):
            return run_times(run.header, run.count)
    except InputError as error:
        return Times(problem=str(error))


def _clocks(run: DicomRun) -> tuple[datetime | None, ...]:
    """What each clock says of a single image; nothing where its header cannot be decoded."""
    try:
        with decoding(run.path, " as DICOM"):
            return tuple(clock_of(run.header, names) for names in CLOCKS)
    except InputError:
        return (None,) * len(CLOCKS)


def _natural(path: Path) -> list[tuple[int, str]]:
    """Sorts numbers in names by their value."""
    parts = re.split(r"(\d+)", path.name.lower())
    return [(int(part), "") if part.isdecimal() else (-1, part) for part in parts]


def _iso(clock: datetime) -> str:
    """ISO 8601; the time of day alone where the date is not known."""
    if clock.year > UNDATED:
        return clock.isoformat(timespec="milliseconds")
    return clock.time().isoformat(timespec="milliseconds")
