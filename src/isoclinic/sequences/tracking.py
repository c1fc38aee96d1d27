"""Tracking through a run: frame by frame into a ledger, from which an interrupted run goes on."""

from __future__ import annotations

import warnings
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import asdict, dataclass, field, replace
from pathlib import Path
from typing import Any

from .. import __version__
from ..errors import InputError
from ..provenance import InputFile, settings_digest
from ..registration import (
    FollowConfig,
    RegistrationConfig,
    RegistrationResult,
    Session,
    StructureResult,
    StructuresConfig,
    TrackConfig,
    Tracker,
    View,
    register_structures,
    views_from_angles,
    views_from_file,
    views_from_poses,
)
from ..registration._register import Model
from ..registration.structures import check_structures
from ..volumes import GeometryWarning, Volume, XRay, XRayOptions, warn_geometry
from .frames import Frames, quietly
from .ledger import Ledger, LedgerLine
from .record import FrameRecord

LEDGER = "poses.jsonl"
_DOUBTFUL_WHOLE = "the pose of the CT as a whole, from which it starts, is doubtful"


@dataclass(frozen=True, kw_only=True, eq=False)
class SequencePlan:
    """What is to be tracked, and how.

    Attributes:
        volume: the CT, with its label map where structures are registered.
        frames: of the run.
        second_plane: frames of a run from another direction that were taken at the same moments.
        views: how the planes lie: files as for `views_from_file` or `views_from_poses`; by default it follows
            from the C-arm angles in the headers of each pair.
        init: where the first frame starts; see `isoclinic.register`.
        model: networks; see `isoclinic.register`.
        structures: labels or names to register one by one in the first plane, in each frame.
        registration: of the CT as a whole.
        follow: how a frame is registered from the pose of the one before.
        track: when frames are marked.
        moving: how structures are registered.
        model_file: of the model, for the ledger; None for the default one or none.
        wording: how people are told of doubts, which name parameters.
    """

    volume: Volume
    frames: Frames
    second_plane: Frames | None = None
    views: tuple[Path, ...] = ()
    init: Any = None
    model: Model | None = None
    structures: tuple[tuple[int | str, ...], ...] = ()
    registration: RegistrationConfig = field(default_factory=RegistrationConfig)
    follow: FollowConfig = field(default_factory=FollowConfig)
    track: TrackConfig = field(default_factory=TrackConfig)
    moving: StructuresConfig = field(default_factory=StructuresConfig)
    model_file: InputFile | None = None
    wording: Callable[[str], str] = str

    def __post_init__(self) -> None:
        other = self.second_plane
        if other is not None and len(other) != len(self.frames):
            raise InputError(
                f"the planes have {len(self.frames)} and {len(other)} frames; both planes need the same "
                "number of frames, because frames belong together by their number",
                code="sequence.planes-differ",
            )
        if self.structures:
            check_structures(self.volume, self.structures)

    def key(self, files: Mapping[str, InputFile], reading: XRayOptions) -> dict[str, str]:
        """Digests of everything that results depend on, for the ledger.

        Args:
            files: the CT as "volume", and further files by what they are.
            reading: how X-rays are read.

        Raises:
            InputError: a file of the run cannot be read.
        """
        second = self.second_plane
        start = self.init.tolist() if hasattr(self.init, "tolist") else self.init
        settings = [asdict(each) for each in (self.registration, self.follow, self.track)]
        others = {name: file.sha256 for name, file in files.items()}
        return {
            "isoclinic": __version__,
            "volume": others.get("volume", ""),
            "xrays": _digest(self.frames),
            "second_plane": "" if second is None else _digest(second),
            "views": settings_digest([InputFile.of(path).sha256 for path in self.views]),
            "reading": settings_digest([asdict(reading), others.get("exclude")]),
            "start": settings_digest([start, others.get("init")]),
            "model": self.model_file.sha256 if self.model_file else str(self.model is not None),
            "structures": settings_digest([self.structures, others.get("labels"), asdict(self.moving)]),
            "settings": settings_digest(settings),
        }

    def pair(self, index: int) -> list[View]:
        """The X-rays of one frame, and how they lie.

        Raises:
            InputError: one of them cannot be used, or nothing says how they lie.
        """
        first = self.frames.read(index)
        if self.second_plane is None:
            return [View(xray=first)]
        xrays: list[XRay] = [first, self.second_plane.read(index)]
        if not self.views:
            return list(views_from_angles(xrays))
        if len(self.views) == 1:
            return list(views_from_file(xrays, self.views[0]))
        return list(views_from_poses(xrays, self.views))


def track_sequence(
    plan: SequencePlan,
    ledger: Ledger,
    *,
    resume: bool = False,
    on_frame: Callable[[FrameRecord, bool], None] = lambda *_: None,
) -> list[FrameRecord]:
    """Track all frames of a run; each is in the ledger before the next one begins.

    Args:
        plan: what to do.
        ledger: of the results; what it holds is replaced unless the run is resumed.
        resume: go on with the frames that the ledger lacks.
        on_frame: told of each frame once it is in the ledger, and first of those that were there; and whether
            it was tracked by this call.

    Returns:
        All frames, in their order.

    Raises:
        InputError: the ledger is damaged or cannot be written.
        UsageError: the ledger is of other inputs or settings; options that do not fit the run.

    Warns:
        GeometryWarning: whatever reading and registration warn of, each kind once.
    """
    session = Session(plan.volume, plan.registration, model=plan.model, follow=plan.follow)
    tracker = Tracker(session, plan.init, plan.track)
    records: list[FrameRecord] = []
    if resume:
        lines, note = ledger.resume()
        if note:
            warnings.warn(note, GeometryWarning, stacklevel=2)
        records = [line.record for line in lines]
        if lines:
            tracker.restore(lines[-1].state, _readable(plan, len(lines) - 1))
    else:
        ledger.begin(len(plan.frames))
    for record in records:
        on_frame(record, False)
    said: set[str] = set()
    timed = all(frame.time_s is not None for frame in plan.frames)
    for frame in plan.frames[len(records) :]:
        with _each_once(said, str(frame.path)):
            record = _tracked(plan, tracker, frame.index, frame.time_s if timed else None, records[-1:])
        ledger.append(LedgerLine(record=record, state=tracker.state()))
        records.append(record)
        on_frame(record, True)
    return records


def _tracked(
    plan: SequencePlan,
    tracker: Tracker,
    index: int,
    time_s: float | None,
    before: Sequence[FrameRecord],
) -> FrameRecord:
    """One frame, tracked."""
    frame = plan.frames[index]
    try:
        views = plan.pair(index)
    except InputError as error:
        tracked = tracker.skip(str(error), time_s)
        return FrameRecord.unusable(frame, plan.wording(tracked.unusable))
    tracked = tracker.add(views, time_s)
    if tracked.unchanged:
        return before[-1].repeated(frame)
    structures: tuple[StructureResult, ...] = ()
    if plan.structures and tracked.result is not None:
        structures = _structures(plan, tracked.result, doubtful=bool(tracked.doubts))
    return FrameRecord.of(frame, tracked, structures).worded(plan.wording)


def _structures(
    plan: SequencePlan, result: RegistrationResult, *, doubtful: bool
) -> tuple[StructureResult, ...]:
    """Where the structures are in a frame whose CT as a whole was registered."""
    first = result.xrays[0].recalibrated(result.cameras[0])
    found = register_structures(plan.volume, first, result.camera_from_world, plan.structures, plan.moving)
    if not doubtful:
        return found
    return tuple(replace(each, doubts=(*each.doubts, _DOUBTFUL_WHOLE)) for each in found)


def _readable(plan: SequencePlan, index: int) -> list[View] | None:
    """The X-rays of a frame that is done already; None where they cannot be used."""
    try:
        with quietly():
            return plan.pair(index)
    except InputError:
        return None


@contextmanager
def _each_once(said: set[str], path: str) -> Iterator[None]:
    """Pass on what is warned of in the block, but for what was said of an earlier frame already."""
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always", GeometryWarning)
        yield
    for each in caught:
        message = str(each.message)
        kind = message.replace(path, "").replace(Path(path).name, "")
        if kind in said:
            continue
        said.add(kind)
        if isinstance(each.message, GeometryWarning):
            warn_geometry(message, each.message.finding)
        else:
            warnings.warn_explicit(each.message, each.category, each.filename, each.lineno)


def _digest(frames: Frames) -> str:
    """Of all files of a run, and the order of its frames."""
    files = {path: InputFile.of(path).sha256 for path in frames.files}
    return settings_digest([[files[frame.path], frame.number] for frame in frames])
