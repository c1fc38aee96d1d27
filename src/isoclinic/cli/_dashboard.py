"""What people see of a training while it goes on."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager

from rich.console import Console, RenderableType
from rich.live import Live
from rich.progress_bar import ProgressBar
from rich.table import Table

from ..training.phase import Phase
from ..training.trainer import TrainingProgress

_BARS = "▁▂▃▄▅▆▇█"
_REFRESH_PER_S = 2


class Dashboard:
    """A table on a terminal; where nobody watches, a line for every validation.

    Args:
        console: to show it on.
        phases: of the training.
        stopping: whether someone asked to stop.
    """

    def __init__(self, console: Console, phases: Sequence[Phase], stopping: Callable[[], bool]) -> None:
        self._console = console
        self._phases = phases
        self._stopping = stopping
        self._progress: TrainingProgress | None = None

    @contextmanager
    def shown(self) -> Iterator[None]:
        """Show it for the duration of a block."""
        if not self._console.is_terminal:
            yield
            return
        with Live(
            console=self._console,
            get_renderable=self._renderable,
            refresh_per_second=_REFRESH_PER_S,
            transient=True,
        ):
            yield

    def update(self, progress: TrainingProgress) -> None:
        """Take in what a batch has changed."""
        self._progress = progress
        if progress.validated and not self._console.is_terminal:
            self._console.print(self._line(progress), markup=False, soft_wrap=True)

    def _line(self, progress: TrainingProgress) -> str:
        return (
            f"{self._place(progress)}: {progress.phase.images:,} X-rays, {progress.images_per_s:.0f} / s, "
            f"loss {losses_text(progress.phase)}, validation mTRE {errors_text(progress.phase)}, "
            f"{_time(progress.seconds_left)} left"
        )

    def _renderable(self) -> RenderableType:
        if self._progress is None:
            return "the first batch, which compiles the renderer"
        progress, phase = self._progress, self._progress.phase
        elapsed = sum(each.course.seconds for each in self._phases)
        table = Table.grid(padding=(0, 2))
        table.add_row("network", self._place(progress))
        table.add_row("", ProgressBar(total=1.0, completed=phase.course.progress, width=40))
        table.add_row("X-rays", f"{phase.images:,}, {progress.images_per_s:.0f} / s")
        table.add_row("loss", losses_text(phase))
        table.add_row("learning rate", f"{phase.learning_rate:.2e}")
        if phase.course.curve["images"]:
            trend = sparkline(phase.course.curve["mtre_50_mm"])
            table.add_row("validation mTRE", f"{errors_text(phase)}  {trend}")
        table.add_row("time", f"{_time(elapsed)}, {_time(progress.seconds_left)} left")
        if self._stopping():
            table.add_row("", "finishing the batch, then saving; Ctrl-C again interrupts at once")
        return table

    def _place(self, progress: TrainingProgress) -> str:
        return f"{name(progress.phase)}, {progress.index + 1} of {len(self._phases)}"


def name(phase: Phase) -> str:
    """Of a network, for people."""
    return phase.kind.replace("_", " ")


def losses_text(phase: Phase) -> str:
    """Recent average of the loss, and of its parts where there are several."""
    losses = dict(phase.course.losses)
    text = f"{sum(losses.values()):.3g}"
    if len(losses) > 1:
        text += f" ({', '.join(f'{part} {value:.3g}' for part, value in losses.items())})"
    return text


def errors_text(phase: Phase, index: int = -1) -> str:
    """Median and quartiles of one of the validations."""
    low, median, high = (phase.course.curve[f"mtre_{percent}_mm"][index] for percent in (25, 50, 75))
    return f"{median:.1f} mm ({low:.1f} to {high:.1f})"


def sparkline(values: Sequence[float]) -> str:
    """A bar for each of some positive values, on a logarithmic scale from the smallest to the largest."""
    logarithms = [math.log(max(value, 1e-9)) for value in values]
    low, high = min(logarithms), max(logarithms)
    scale = (len(_BARS) - 1) / ((high - low) or 1.0)
    return "".join(_BARS[round(scale * (each - low))] for each in logarithms)


def _time(seconds: float) -> str:
    minutes, seconds = divmod(round(seconds), 60)
    return f"{minutes // 60}:{minutes % 60:02}:{seconds:02}"
