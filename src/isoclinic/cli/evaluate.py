"""`isoclinic evaluate`: register samples whose poses are known."""

from __future__ import annotations

import json
import shlex
from collections.abc import Sequence
from dataclasses import replace

from rich.progress import BarColumn, MofNCompleteColumn, TextColumn, TimeRemainingColumn
from rich.table import Column, Table

from ..errors import InputError, UsageError
from ..evaluation import (
    EvaluationConfig,
    Measurement,
    Plan,
    PublishedTable,
    ReportConfig,
    chosen_samples,
    evaluate,
    published_table,
    write_report,
)
from ..evaluation._calibration import calibration, calibration_text
from ..evaluation._summaries import summaries
from ..evaluation.models import ModelTraining
from ..evaluation.published import PUBLISHED_TABLES
from ..evaluation.report import summary_document
from ..evaluation.runner import failures_text
from ._console import progress_bar, results
from ._evaluate_options import EvaluateOptions
from ._protocol import check_table, methods_of, starts_of, training_of


def main(options: EvaluateOptions | None, arguments: Sequence[str]) -> None:
    """Run the command."""
    if options is None:
        results().print(_published())
        return
    if options.output.exists() and not options.output.is_dir():
        raise UsageError(
            f"--output {options.output} is a file, but the result is a folder", code="output.not-a-folder"
        )
    table = None if options.table is None else published_table(options.table)
    training = training_of(options, table)
    plan = _plan(options, table, training)
    columns = TextColumn("{task.description}"), BarColumn(), MofNCompleteColumn(), TimeRemainingColumn()
    with progress_bar(*columns) as bar:
        task = bar.add_task("registering", total=None)
        evaluation = evaluate(
            plan,
            lambda done, total, latest: bar.update(
                task, completed=done, total=total, description=f"registering {latest}".rstrip()
            ),
        )
    measured = evaluation.measurements
    write_report(options.output, measured, _report(arguments, table, training, measured))
    if options.json:
        print(json.dumps(summary_document(measured), indent=2))
    else:
        results().print(_table(measured))
        results().print(calibration_text(calibration(measured)))
        results().print(f"every pose and the report are in {options.output}", markup=False, soft_wrap=True)
    if evaluation.failures:
        cases = {each.case for each in evaluation.failures}
        raise InputError(
            f"{len(cases)} of {len(plan.samples)} X-rays could not be registered; the results of the "
            f"others are in {options.output}: {failures_text(evaluation.failures)}",
            code="evaluation.incomplete",
        )


def _plan(options: EvaluateOptions, table: PublishedTable | None, training: ModelTraining | None) -> Plan:
    """What to do; every name in the options is checked."""
    if table is not None:
        check_table(options, table, training)
        options = replace(options, dataset=table.dataset)
    kind, dataset = options.open(options.source, options.subjects)
    samples = chosen_samples(dataset, options.subjects, options.max_samples)
    subjects = tuple(dict.fromkeys(samples.values()))
    config = EvaluationConfig(
        starts=starts_of(options, dataset, tuple(samples), table),
        seed=options.seed,
        overwrite=options.overwrite,
        spread=options.spread,
    )
    return Plan(
        dataset=dataset,
        name=kind,
        samples=samples,
        methods=methods_of(options, dataset, subjects, table, training),
        output=options.output,
        config=config,
    )


def _report(
    arguments: Sequence[str],
    table: PublishedTable | None,
    training: ModelTraining | None,
    measured: Sequence[Measurement],
) -> ReportConfig:
    command = shlex.join(["isoclinic", "evaluate", *arguments])
    if table is None:
        return ReportConfig(command=command)
    cases, subjects = {each.case for each in measured}, {each.group for each in measured}
    title = table.title(len(cases), len(subjects), None if training is None else training.config)
    return ReportConfig(command=command, title=title, columns=table.columns)


def _published() -> Table:
    """All tables that --table can measure."""
    table = Table("--table", "shows")
    for name, each in PUBLISHED_TABLES.items():
        table.add_row(name, each.kind)
    return table


def _table(measurements: Sequence[Measurement]) -> Table:
    # Names must stay whole, whatever the width.
    table = Table(*(Column(heading, no_wrap=True) for heading in ("method", "start", "group")))
    for heading in (
        "cases",
        "initial mTRE\nmedian \\[mm]",
        "mTRE\n< 1 mm",
        "\n< 2 mm",
        "\n< 5 mm",
        "\n< 10 mm",
        "mTRE median\n\\[mm]",
        "mTRE 95 %\n\\[mm]",
        "time median\n\\[s]",
    ):
        table.add_column(heading, justify="right")
    for key, each in summaries(measurements).items():
        rates = (each.submillimetre_success_rate, *each.success_rates.values())
        table.add_row(
            key.method,
            key.start,
            key.group,
            f"{each.cases}",
            f"{each.percentiles['initial_mtre_mm'][50]:.1f}",
            *(f"{rate:.2f}" for rate in rates),
            f"{each.percentiles['mtre_mm'][50]:.2f}",
            f"{each.percentiles['mtre_mm'][95]:.2f}",
            f"{each.percentiles['run_time_s'][50]:.2f}",
        )
    return table
