"""`isoclinic dataset`: make a public data set ready for use."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Annotated, Literal

from rich.progress import BarColumn, MofNCompleteColumn, TextColumn, TimeRemainingColumn
from rich.table import Table
from tyro.conf import Positional

from .._spread import SpreadConfig
from ..datasets.preparation import Preparation, PreparationConfig, prepare_ctspine1k
from ._console import progress_bar, results
from ._options import FLAT, parse_options


@dataclass(frozen=True, kw_only=True)
class DatasetOptions:
    """Prepare CTSpine1K: quality control, lumbar spine, surface, landmarks and DRRs of each case.

    What the output folder holds already is not made again, so an interrupted preparation goes on where it
    stopped.

    Attributes:
        action: what to do.
        dataset: which one.
        source: folder with the original files, CTs (CASE.nii.gz) and masks (CASE_seg.nii.gz), at any depth.
        output: folder to write to: quality.json says which cases are left out and why, CASE/check.png shows
            surface, landmarks and a DRR.
        overwrite: replace what the output folder holds of other settings or other files.
        config: TOML file with any of these options; the command line wins.
        where: to run.
        preparation: how.
    """

    action: Positional[Literal["prepare"]]
    dataset: Positional[Literal["ctspine1k"]]
    source: Positional[Path]
    output: Positional[Path]
    overwrite: bool = False
    config: Path | None = None
    where: Annotated[SpreadConfig, FLAT] = field(default_factory=SpreadConfig)
    preparation: Annotated[PreparationConfig, FLAT] = field(default_factory=PreparationConfig)


def main(arguments: Sequence[str]) -> None:
    """Run the command."""
    options = parse_options(DatasetOptions, "dataset", arguments)
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
