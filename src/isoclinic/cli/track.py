"""`isoclinic track`: from a CT and a run of X-rays to a pose for each frame."""

from __future__ import annotations

import shlex
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from rich.progress import BarColumn, MofNCompleteColumn, Progress, TaskID, TextColumn, TimeRemainingColumn
from rich.table import Table

from .._json import dumps
from ..errors import UsageError
from ..provenance import InputFile
from ..registration._structure_names import structure_names
from ..sequences import (
    SEQUENCE_FILES,
    FrameRecord,
    Frames,
    Ledger,
    SequencePlan,
    TrackedSequence,
    sequence_verdict,
    track_sequence,
    write_sequence,
)
from ..sequences.report import REPORT
from ..sequences.tracking import LEDGER
from ..volumes import Volume
from ._console import Interrupted, progress, progress_bar, recorded_warnings, results, warning_line
from ._model import chosen_model
from ._output_folder import check_resume, output_folder
from ._structures import check_each_structure
from ._track_options import TrackOptions
from ._wording import as_options
from .register import DOUBTFUL_STATUS, writing_beside

# With what an end of the computer may have left of files that were being written.
_KNOWN = frozenset({*SEQUENCE_FILES, *(f".*.{name}" for name in SEQUENCE_FILES)})


def main(options: TrackOptions, arguments: Sequence[str]) -> int:
    """Run the command; its exit status is 3 where a frame is doubtful."""
    _check(options)
    with (
        recorded_warnings() as said,
        output_folder(options, "run", LEDGER, known=_KNOWN, code="sequence.cannot-resume"),
    ):
        with progress().status("reading"):
            plan, ledger = _plan(options)
        if options.overwrite:
            for name in SEQUENCE_FILES:
                (options.output / name).unlink(missing_ok=True)
        speed = _Speed()
        with _shown(len(plan.frames), speed) as watch:
            records = _tracked(plan, ledger, watch, resume=options.resume)
        run = TrackedSequence(
            volume=plan.volume,
            frames=plan.frames,
            second_plane=plan.second_plane,
            records=records,
            registration=plan.registration,
            config=options.show,
            names=["+".join(map(str, group)) for group in plan.structures],
            warnings=said,
            command=_again(options, arguments),
        )
        with progress().status("writing"):
            write_sequence(options.output, run)
    _show(options, run, speed)
    return DOUBTFUL_STATUS if run.doubtful and not options.accept_doubtful else 0


def _tracked(plan: SequencePlan, ledger: Ledger, watch: _Watch, *, resume: bool) -> list[FrameRecord]:
    """All frames.

    Raises:
        Interrupted: someone asked to stop; what is done is in the ledger.
    """
    try:
        return track_sequence(plan, ledger, resume=resume, on_frame=watch)
    except KeyboardInterrupt:
        # A line that was being written is whole before the signal takes effect.
        raise Interrupted(
            f"interrupted after {ledger.count()} of {len(plan.frames)} frames, which are in {ledger.path}; "
            "the same command with --resume continues",
            code="sequence.interrupted",
        ) from None


def _again(options: TrackOptions, arguments: Sequence[str]) -> str:
    """A command line that tracks the run anew, while its result is there."""
    anew = [word for word in arguments if word not in ("--resume", "--overwrite")]
    return shlex.join(["isoclinic", "track", *writing_beside(options.output, anew)])


class _Speed:
    """Frames a second, of those that were tracked by this call."""

    def __init__(self) -> None:
        self._began: float | None = None
        self._ended = 0.0
        self._frames = 0

    def count(self) -> None:
        """One more frame is done; the first one, which is searched for and compiles, begins the time."""
        self._ended = time.perf_counter()
        if self._began is None:
            self._began = self._ended
        else:
            self._frames += 1

    @property
    def text(self) -> str:
        """For people to read; empty where there is nothing to tell from."""
        if self._began is None or not self._frames:
            return ""
        return f"{self._frames / (self._ended - self._began):.1f} frames/s"


class _Watch:
    """Shows each frame that is done.

    Args:
        bar: to move.
        task: of the bar.
        speed: to count in.
    """

    def __init__(self, bar: Progress, task: TaskID, speed: _Speed) -> None:
        self._bar, self._task, self._speed = bar, task, speed
        self.done = 0
        self._doubtful = 0

    def __call__(self, record: FrameRecord, tracked: bool) -> None:
        self.done += 1
        self._doubtful += not record.right
        if tracked:
            self._speed.count()
        doubts = f", {self._doubtful} doubtful" if self._doubtful else ""
        self._bar.update(
            self._task, completed=self.done, description=f"tracking{doubts}", rate=self._speed.text
        )


@contextmanager
def _shown(count: int, speed: _Speed) -> Iterator[_Watch]:
    """Progress with frames a second."""
    columns = (
        *(TextColumn("{task.description}"), BarColumn(), MofNCompleteColumn()),
        *(TextColumn("{task.fields[rate]}"), TimeRemainingColumn()),
    )
    with progress_bar(*columns) as bar:
        yield _Watch(bar, bar.add_task("tracking", total=count, rate=""), speed)


def _plan(options: TrackOptions) -> tuple[SequencePlan, Ledger]:
    """What to do, with everything read that concerns the whole run."""
    frames = Frames(options.xray, options.xray_options)
    second = Frames(options.second_plane, options.xray_options) if options.second_plane else None
    for note in dict.fromkeys((*frames.notes, *(second.notes if second else ()))):
        warning_line(note)
    first = frames.first_readable()
    volume = Volume.read(options.volume, labels=options.labels)
    ct = InputFile.of(options.volume)
    learned, model = chosen_model(options.model, ct, first, volume)
    registration = options.registration
    plan = SequencePlan(
        volume=volume,
        frames=frames,
        second_plane=second,
        views=options.views,
        init=options.init,
        model=model,
        model_file=learned,
        structures=tuple(structure_names(options.each_structure, options.labels, volume)),
        registration=registration,
        follow=options.follow,
        track=options.track,
        moving=options.moving.after(registration),
        wording=as_options,
    )
    named = {
        "init": Path(options.init) if options.init and Path(options.init).is_file() else None,
        "labels": options.labels,
        "exclude": options.xray_options.exclude,
    }
    files = {name: InputFile.of(path) for name, path in named.items() if path is not None}
    key = plan.key({"volume": ct, **files}, options.xray_options)
    return plan, Ledger(options.output / LEDGER, key)


def _check(options: TrackOptions) -> None:
    """Raises UsageError for options that are missing, or exclude or need each other."""
    if not options.xray:
        raise UsageError(
            "give the run before the options: isoclinic track RUN.dcm ...", code="options.incomplete"
        )
    check_resume(options, "run", code="sequence.cannot-resume")
    if options.views and not options.second_plane:
        raise UsageError(
            "--views gives the relative geometry of two planes, but there is only one plane; give the "
            "other one with --second-plane",
            code="options.conflict",
        )
    angles = options.xray_options.primary_angle_deg, options.xray_options.secondary_angle_deg
    if options.second_plane and angles != (None, None):
        raise UsageError(
            "--primary-angle-deg and --secondary-angle-deg would apply to both planes; give their relative "
            "geometry with --views",
            code="options.conflict",
        )
    check_each_structure(options.each_structure, options.labels, options.registration.structures)


def _show(options: TrackOptions, run: TrackedSequence, speed: _Speed) -> None:
    """Print the verdict, then what there is; a JSON document has it as its first entry."""
    verdict = sequence_verdict(run, options.output / REPORT)
    if options.json:
        print(dumps(_document(options, run, verdict)))
        return
    console = results()
    console.print(verdict, markup=False, soft_wrap=True)
    table = Table("", "value")
    counts = run.counts
    table.add_row("frames", f"{len(run.records)}")
    for name, key in (
        *(("right", "right"), ("doubtful", "doubtful"), ("without a pose", "unusable"), ("jumps", "jumped")),
        *(("unchanged, skipped", "unchanged"), ("searched for", "searched"), ("not settled", "unsettled")),
    ):
        table.add_row(name, f"{counts[key]}")
    if speed.text:
        table.add_row("speed", speed.text)
    table.add_row("files", str(options.output))
    console.print(table)


def _document(options: TrackOptions, run: TrackedSequence, verdict: str) -> dict[str, Any]:
    return {
        "verdict": verdict,
        "output": str(options.output),
        "frames": len(run.records),
        **{name: run.counts[name] for name in ("right", "doubtful", "unusable", "jumped")},
        **{name: run.counts[name] for name in ("unchanged", "searched", "unsettled")},
        "to_look_at": [
            {
                "frame": each.index,
                "status": each.status,
                "jumped": each.jumped,
                "doubts": list(each.all_doubts),
            }
            for each in run.records
            if not each.right or each.jumped
        ],
    }
