"""`isoclinic batch`: from a table or a folder of X-rays to a result for each, and a summary."""

from __future__ import annotations

import shlex
import time
from collections.abc import Sequence
from pathlib import Path

from rich.progress import BarColumn, MofNCompleteColumn, Progress, TaskID, TextColumn
from rich.table import Table

from .._json import dumps
from ..batches import Batch, BatchPlan, batch_verdict, read_table, register_batch, rows_in_folder
from ..batches.summary import batch_document
from ..errors import InputError, UsageError
from ..provenance import InputFile
from ..results.names import REPORT
from ._batch_options import BatchOptions
from ._console import Interrupted, progress_bar, results, warning_line
from ._model import Networks
from ._structures import check_each_structure
from ._wording import as_options
from .register import DOUBTFUL_STATUS, writing_beside


def main(options: BatchOptions, arguments: Sequence[str]) -> int:
    """Run the command; its exit status is 3 where a result is doubtful."""
    plan = _plan(options, arguments)
    for note in plan.notes:
        warning_line(note)
    columns = (
        TextColumn("{task.description}"),
        BarColumn(),
        MofNCompleteColumn(),
        TextColumn("{task.fields[left]}"),
    )
    with progress_bar(*columns) as bar:
        watch = _Watch(bar, bar.add_task("reading", total=len(plan.rows), left=""))
        try:
            batch = register_batch(plan, watch)
        except KeyboardInterrupt:
            raise Interrupted(
                f"interrupted after {watch.done} of {len(plan.rows)} X-rays; those that are done are in "
                f"{options.output}, and the same command continues with the others",
                code="batch.interrupted",
            ) from None
    _show(options, batch)
    failed = [each for each in batch.outcomes if each.error]
    if failed:
        raise InputError(
            f"{len(failed)} of {len(plan.rows)} X-rays could not be registered; the results of the others "
            f"are in {options.output}: "
            f"{'; '.join(f'{each.row.name} ({each.error})' for each in failed[:3])}"
            + ("; ..." if len(failed) > 3 else ""),
            code="batch.incomplete",
        )
    return DOUBTFUL_STATUS if batch.doubtful and not options.accept_doubtful else 0


class _Watch:
    """Shows how many X-rays are done, and how long the others will take.

    Args:
        bar: to move.
        task: of the bar.
    """

    def __init__(self, bar: Progress, task: TaskID) -> None:
        self._bar, self._task = bar, task
        self._began: float | None = None
        self._before = 0
        self.done = 0

    def __call__(self, done: int, total: int, latest: str) -> None:
        self.done, left = done, ""
        if self._began is None:
            # What earlier runs have done says nothing about how long the rest takes.
            self._began, self._before = time.monotonic(), done
        elif done > self._before:
            seconds = (time.monotonic() - self._began) / (done - self._before) * (total - done)
            left = duration(seconds)
        self._bar.update(
            self._task, completed=done, total=total, description=f"registered {latest}".rstrip(), left=left
        )


def duration(seconds: float) -> str:
    """How long something will take, for people to read."""
    if seconds < 60:
        return f"{seconds:.0f} s left"
    minutes = round(seconds / 60)
    return f"{minutes} min left" if minutes < 60 else f"{minutes // 60} h {minutes % 60:02} min left"


def _plan(options: BatchOptions, arguments: Sequence[str]) -> BatchPlan:
    """What to do; the table is checked as a whole before anything is registered."""
    source = options.source
    if source.is_dir():
        if options.volume is None:
            raise UsageError(
                f"{source} is a folder of X-rays: give their CT with --volume, or a table with a column ct",
                code="options.incomplete",
            )
        _check_apart(options.output, source)
        found = rows_in_folder(source, ct=options.volume, init=options.init, labels=options.labels)
    else:
        if source.suffix.lower() in (".xlsx", ".xls", ".ods"):
            raise UsageError(
                f"{source} is a spreadsheet; save it as CSV UTF-8 and give that", code="batch.unreadable"
            )
        found = read_table(source, ct=options.volume, init=options.init, labels=options.labels)
    # Which row lacks a label map is checked with the rows.
    check_each_structure(options.each_structure, source, options.registration.structures)
    networks = Networks.of(options.model)
    named = {"exclude": options.xray_options.exclude, "config": options.config}
    return BatchPlan(
        rows=found.rows,
        output=options.output,
        registration=options.registration,
        each_structure=options.each_structure,
        moving=options.moving,
        reading=options.xray_options,
        model=networks.file,
        last_resort=networks.last_resort,
        spread=options.spread,
        overwrite=options.overwrite,
        wording=as_options,
        files={name: InputFile.of(path) for name, path in named.items() if path is not None},
        command=shlex.join(["isoclinic", "batch", *arguments]),
        reproduce=shlex.join(["isoclinic", "batch", *writing_beside(options.output, arguments)]),
        notes=found.notes,
    )


def _check_apart(output: Path, source: Path) -> None:
    """Raises UsageError for an output within the folder of X-rays, which it would change."""
    place, folder = output.resolve(), source.resolve()
    if place == folder or folder in place.parents:
        raise UsageError(
            f"--output {output} lies in the folder of the X-rays, {source}; choose another place",
            code="output.is-an-input",
        )


def _show(options: BatchOptions, batch: Batch) -> None:
    """Print the verdict, then the rows; a JSON document has it as its first entry."""
    if options.json:
        print(dumps(batch_document(batch, options.output)))
        return
    console = results()
    console.print(batch_verdict(batch, options.output / REPORT), markup=False, soft_wrap=True)
    table = Table("X-ray", "status", "expected error\n\\[mm]")
    table.add_column("what to know", overflow="fold")
    for each in batch.outcomes:
        error_mm = each.confidence.get("expected_error_mm")
        why = each.error or "; ".join(each.doubts)
        table.add_row(
            _plain(each.row.name), each.status, "" if error_mm is None else f"{error_mm:.2f}", _plain(why)
        )
    console.print(table)
    said = sum(bool(each.warnings) for each in batch.outcomes)
    if said:
        warning_line(f"{said} X-rays have warnings: they are in their reports, and in summary.csv")


def _plain(text: str) -> str:
    """A text whose brackets mean nothing to the table."""
    return text.replace("[", "\\[")
