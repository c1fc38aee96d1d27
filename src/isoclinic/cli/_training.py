"""What the commands that train share: the folder, the dashboard, curves, interruption and resuming."""

from __future__ import annotations

import csv
import math
import signal
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import closing, contextmanager
from pathlib import Path
from types import FrameType
from typing import Any

import torch
from rich.console import Console
from rich.table import Table

from .._files import atomic
from .._optional import require
from ..training import Trainer, distributed
from ..training.file_names import MODEL_FILE, STATE_FILE
from ..training.phase import COLUMNS, Phase
from ..training.trainer import TrainingProgress, check_device
from ..viewer import write_training_curves
from ._console import Interrupted, progress, results
from ._dashboard import Dashboard, errors_text, name
from ._output_folder import check_resume, output_folder
from ._run_options import RunOptions

_CURVES, _PICTURE, _TENSORBOARD = "training.csv", "training.png", "tensorboard"
_DRAWN_EVERY_S = 5.0
_FILES = (MODEL_FILE, STATE_FILE, _CURVES, _PICTURE)
# Someone who ends the program while it writes may leave a file that was not complete yet.
_KNOWN = frozenset({*_FILES, *(f".*.{file}" for file in _FILES), "events.out.tfevents.*"})


def run(options: RunOptions, prepare: Callable[[torch.device], Trainer], then: str) -> None:
    """Train, with everything that people see of it.

    Args:
        options: how.
        prepare: reads files and makes the trainer.
        then: what to do next, shown at the end.

    Raises:
        UsageError: options that exclude each other, a folder that holds something else, a device or package
            that is not there.
        InputError: a folder that cannot be written to, or a state that cannot be gone on with.
    """
    check_resume(options, "training", code="training.cannot-resume")
    device = _device(options)
    with distributed.process_group(device), _folder(options):
        console = progress()
        console.quiet = not _first()
        with console.status("reading"):
            trainer = _trainer(options, prepare, device)
        if not all(phase.course.progress == 1 for phase in trainer.phases):
            _train(trainer, options, console)
        elif _first():
            results().print("this training is complete already", soft_wrap=True)
        if _first():
            results().print(_table(trainer.phases))
            results().print(then, markup=False, soft_wrap=True)


def _device(options: RunOptions) -> torch.device:
    found = "cuda" if torch.cuda.is_available() else "cpu"
    device = torch.device(found if options.device == "auto" else options.device)
    check_device(device)
    return distributed.local_device(device)


def _first() -> bool:
    """Whether this is the process that shows and writes."""
    return distributed.rank() == 0


@contextmanager
def _folder(options: RunOptions) -> Iterator[None]:
    """See to it that the output folder is there; if nothing is written, it is gone again afterwards.

    Raises:
        UsageError, InputError: as for `output_folder`.
    """
    if not _first():
        yield
        return
    with output_folder(options, "training", STATE_FILE, known=_KNOWN, code="training.cannot-resume"):
        yield


def _trainer(
    options: RunOptions, prepare: Callable[[torch.device], Trainer], device: torch.device
) -> Trainer:
    """A trainer, and what it goes on from; an older training is removed once nothing else can be wrong."""
    if options.tensorboard:
        require("tensorboard", extra="tensorboard")
    trainer = prepare(device)
    if options.resume:
        trainer.resume(options.output)
    elif _first():
        for file in options.output.rglob("*"):
            if file.is_file():
                file.unlink()
    return trainer


def _train(trainer: Trainer, options: RunOptions, console: Console) -> None:
    """Train and write.

    Raises:
        Interrupted: someone asked to stop; all is saved.
        InputError: a file cannot be written.
    """
    with _stop_on_signals() as should_stop, _scalars(options) as write_scalars:
        dashboard = Dashboard(console, trainer.phases, should_stop)
        curves = _Curves(options.output, trainer.phases)

        def on_batch(now: TrainingProgress) -> None:
            dashboard.update(now)
            write_scalars(now)
            if now.validated and _first():
                curves.write()

        with dashboard.shown():
            complete = trainer.run(options.output, on_batch, should_stop)
        curves.finish()
    if not complete:
        raise Interrupted(
            f"interrupted, and all is saved in {options.output}; the same command with --resume continues",
            code="training.interrupted",
        )


@contextmanager
def _stop_on_signals() -> Iterator[Callable[[], bool]]:
    """Whether Ctrl-C was pressed or the process was asked to end; the second time interrupts at once."""
    asked = False

    def ask(number: int, frame: FrameType | None) -> None:
        nonlocal asked
        if asked:
            raise KeyboardInterrupt
        asked = True

    before = {number: signal.signal(number, ask) for number in (signal.SIGINT, signal.SIGTERM)}
    try:
        yield lambda: asked
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)


class _Curves:
    """The curves of a training as a table, which is always up to date, and as a picture, which follows.

    A picture takes half a second to draw, longer than some trainings take from one validation to the next.
    """

    def __init__(self, folder: Path, phases: Sequence[Phase]) -> None:
        self._folder = folder
        self._phases = phases
        self._drawn_at = -math.inf
        self._behind = False

    def write(self) -> None:
        """Write the table, and the picture if the last one is old."""
        place = self._folder / _CURVES
        with atomic(place) as temporary, temporary.open("w", newline="", encoding="utf-8") as stream:
            writer = csv.writer(stream)
            writer.writerow(["network", *COLUMNS])
            for phase in self._begun:
                rows = zip(*(phase.course.curve[column] for column in COLUMNS), strict=True)
                writer.writerows([phase.kind, *row] for row in rows)
        self._behind = True
        if time.monotonic() - self._drawn_at > _DRAWN_EVERY_S:
            self._draw()

    def finish(self) -> None:
        """Draw what has not been drawn."""
        if self._behind:
            self._draw()

    @property
    def _begun(self) -> list[Phase]:
        return [phase for phase in self._phases if phase.course.curve["images"]]

    def _draw(self) -> None:
        write_training_curves(self._folder / _PICTURE, {each.kind: each.course.curve for each in self._begun})
        self._drawn_at, self._behind = time.monotonic(), False


@contextmanager
def _scalars(options: RunOptions) -> Iterator[Callable[[TrainingProgress], None]]:
    """What writes the state after a batch for TensorBoard, against X-rays, if it is wanted."""
    if not options.tensorboard or not _first():
        yield lambda now: None
        return
    from torch.utils.tensorboard import SummaryWriter

    board: Any = SummaryWriter(options.output / _TENSORBOARD)

    def write(now: TrainingProgress) -> None:
        phase, course = now.phase, now.phase.course
        values = {f"loss/{part}": value for part, value in course.losses.items()}
        values |= {"learning_rate": phase.learning_rate, "images_per_s": now.images_per_s}
        if now.validated:
            values |= {column: course.curve[column][-1] for column in COLUMNS if column.startswith("mtre")}
        for label, value in values.items():
            board.add_scalar(f"{phase.kind}/{label}", value, phase.images)

    with closing(board):
        yield write


def _table(phases: Sequence[Phase]) -> Table:
    table = Table("network")
    for heading in ("X-rays", "minutes", "validation mTRE\nat the beginning", "\nat the end"):
        table.add_column(heading, justify="right")
    for phase in phases:
        minutes = phase.course.seconds / 60
        errors = (errors_text(phase, index) for index in (0, -1))
        table.add_row(name(phase), f"{phase.images:,}", f"{minutes:.1f}", *errors)
    table.caption = "Median, and in brackets the quartiles, of X-rays that were not trained on."
    return table
