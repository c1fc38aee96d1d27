"""Every row of a batch: resumable, spread over processes or machines, and none stops the others."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import replace

from .._spread import spread
from ..errors import InputError
from .ledger import Ledger
from .outcome import Batch, RowOutcome
from .plan import BatchPlan, Digests
from .rows import BatchRow
from .summary import write_summary
from .worker import Task, failed, forget_ct, run_row


def register_batch(plan: BatchPlan, on_progress: Callable[[int, int, str], None] = lambda *_: None) -> Batch:
    """Register every row but those that the output folder holds already, and write a summary of all.

    A row that cannot be registered has its error in its outcome, and is tried again by the next run. Whatever
    interrupts the batch leaves the rows that are done, and a summary of them.

    Args:
        plan: what to do.
        on_progress: told how many rows are finished, how many there are, and the name of the latest one.

    Raises:
        UsageError: an output folder that holds results of other settings or files, or something else.
        InputError: the output folder cannot be written to, or holds a record that cannot be read.
    """
    plan.check()
    ledger = Ledger(plan.output)
    ledger.begin()
    with ledger.alone():
        return _register(plan, ledger, on_progress)


def _register(plan: BatchPlan, ledger: Ledger, on_progress: Callable[[int, int, str], None]) -> Batch:
    outcomes, tasks = _outstanding(plan, ledger)
    ledger.sweep(task.row for task in tasks)
    done = len(plan.rows) - len(tasks)
    on_progress(done, len(plan.rows), "")

    def lost(index: int, error: InputError) -> RowOutcome:
        return failed(tasks[index], error)

    notes = [*plan.notes, *_unlisted(plan, ledger)]
    try:
        for index, outcome in spread(run_row, tasks, plan.spread, lost):
            outcomes[tasks[index].row.name] = outcome
            done += 1
            on_progress(done, len(plan.rows), tasks[index].row.name)
    finally:
        forget_ct()
        ledger.sweep(task.row for task in tasks)
        batch = Batch(outcomes=tuple(outcomes[row.name] for row in plan.rows), notes=tuple(notes))
        write_summary(plan, batch)
    return batch


def _outstanding(plan: BatchPlan, ledger: Ledger) -> tuple[dict[str, RowOutcome], list[Task]]:
    """What is known of every row, and those that are still to be registered, CT by CT."""
    digests = Digests()
    outcomes: dict[str, RowOutcome] = {}
    tasks: list[Task] = []
    common = replace(plan, rows=())
    for row in plan.rows:
        outcomes[row.name] = RowOutcome(row=row)
        try:
            key = digests.key(plan, row)
            inputs = digests.inputs(row)
        except InputError as error:
            # A result of an earlier run stays: perhaps a disk is only not there at the moment.
            outcomes[row.name] = RowOutcome(row=row, error=plan.wording(str(error)), error_code=error.code)
            continue
        task = Task(plan=common, row=row, key=key, inputs={**inputs, **plan.files})
        found = ledger.done(row, key, overwrite=plan.overwrite)
        if found is None:
            tasks.append(task)
        else:
            outcomes[row.name] = found
    order = {ct: index for index, ct in enumerate(dict.fromkeys(_ct(task.row) for task in tasks))}
    tasks.sort(key=lambda task: order[_ct(task.row)])
    return outcomes, tasks


def _ct(row: BatchRow) -> tuple[str, str]:
    return str(row.ct), str(row.labels)


def _unlisted(plan: BatchPlan, ledger: Ledger) -> Sequence[str]:
    others = ledger.others(plan.rows)
    if not others:
        return ()
    shown = ", ".join(others[:3]) + (", ..." if len(others) > 3 else "")
    return (f"{plan.output} also holds {len(others)} results of no row of this batch ({shown})",)
