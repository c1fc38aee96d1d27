"""`isoclinic dataset`: make a public data set ready for use."""

from __future__ import annotations

from collections.abc import Sequence

from rich.progress import BarColumn, MofNCompleteColumn, TextColumn, TimeRemainingColumn
from rich.table import Table

from ..datasets.preparation import Preparation, prepare_ctspine1k
from ._console import progress_bar, results
from ._dataset_options import DatasetOptions


def main(options: DatasetOptions, arguments: Sequence[str]) -> None:
    """Run the command."""
    columns = (TextColumn("{task.description}"), BarColumn(), MofNCompleteColumn(), TimeRemainingColumn())
    with progress_bar(*columns) as bar:
        row = bar.add_task("reading", total=None)
        prepared = prepare_ctspine1k(
            options.source,
            options.output,
            options.preparation,
            options.where,
            overwrite=options.overwrite,
            progress=lambda stage, done, total: bar.update(
                row, description=stage, completed=done, total=total
            ),
        )
    results().print(_table(prepared))
    images = len(prepared.cases) * options.preparation.drrs.images
    results().print(
        f"{options.output}: {len(prepared.cases)} cases, {images} DRRs", markup=False, soft_wrap=True
    )


def _table(prepared: Preparation) -> Table:
    """Numbers of cases by what became of them."""
    table = Table("quality control", "cases")
    table.columns[1].justify = "right"
    table.add_row("fit for use", str(len(prepared.cases)))
    for reason, count in prepared.left_out.items():
        table.add_row(reason, str(count))
    return table
