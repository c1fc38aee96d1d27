"""`isoclinic dataset`: make a public data set ready for use."""

from __future__ import annotations

from collections.abc import Sequence

from rich.progress import BarColumn, MofNCompleteColumn, TextColumn, TimeRemainingColumn
from rich.table import Table

from ..datasets import CTSpine1k, Dataset, DeepFluoro, Ljubljana
from ..datasets.export import export_volumes
from ..datasets.preparation import Preparation, prepare_ctspine1k
from ..errors import UsageError
from ._console import progress_bar, results
from ._dataset_options import DatasetOptions


def main(options: DatasetOptions, arguments: Sequence[str]) -> None:
    """Run the command."""
    if options.action == "export":
        _export(options)
    else:
        _prepare(options)


def _opened(options: DatasetOptions) -> Dataset:
    """The data set that is exported.

    Raises:
        InputError: it is missing, damaged or something else.
    """
    if options.dataset == "deepfluoro":
        return DeepFluoro(options.source, options.deepfluoro)
    if options.dataset == "ljubljana":
        return Ljubljana(options.source, options.ljubljana)
    return CTSpine1k(options.source, options.ctspine1k)


def _export(options: DatasetOptions) -> None:
    columns = (TextColumn("{task.description}"), BarColumn(), MofNCompleteColumn())
    with progress_bar(*columns) as bar:
        row = bar.add_task("exporting", total=None)
        paths = export_volumes(
            _opened(options),
            options.output,
            options.subjects,
            overwrite=options.overwrite,
            on_progress=lambda done, total, name: bar.update(
                row, description=f"exporting {name}".rstrip(), completed=done, total=total
            ),
        )
    results().print(f"{options.output}: {len(paths)} CTs", markup=False, soft_wrap=True)


def _prepare(options: DatasetOptions) -> None:
    if options.dataset != "ctspine1k" or options.subjects is not None:
        raise UsageError(
            "only ctspine1k is prepared, and always all of it; isoclinic reads the other data sets from "
            "their original files",
            code="options.conflict",
        )
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
