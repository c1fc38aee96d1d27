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
from ..datasets import (
    CTSpine1k,
    CTSpine1kConfig,
    Dataset,
    DeepFluoro,
    DeepFluoroConfig,
    Ljubljana,
    LjubljanaConfig,
)
from ..datasets.export import export_volumes
from ..datasets.preparation import Preparation, PreparationConfig, prepare_ctspine1k
from ..errors import UsageError
from ._console import progress_bar, results
from ._options import FLAT, parse_options


@dataclass(frozen=True, kw_only=True)
class DatasetOptions:
    """Make a public data set ready for use, or write its CTs as files of their own.

    "prepare ctspine1k" does quality control, lumbar spine, surface, landmarks and DRRs of each case. What the
    output folder holds already is not made again, so an interrupted preparation goes on where it stopped.
    "export" writes SUBJECT.nii.gz for every CT of a data set, which isoclinic train and pretrain take: the
    models know the CT again in the data set by its voxels.

    Attributes:
        action: what to do.
        dataset: which one.
        source: to prepare, the folder with the original files, CTs (CASE.nii.gz) and masks
            (CASE_seg.nii.gz), at any depth; to export, the file or the prepared folder of the data set.
        output: folder to write to. Of a preparation quality.json says which cases are left out and why, and
            CASE/check.png shows surface, landmarks and a DRR.
        subjects: whose CTs are exported; by default all.
        overwrite: replace what the output folder holds of other settings or other files.
        config: TOML file with any of these options; the command line wins.
        where: to run a preparation.
        preparation: how.
        deepfluoro: how to read DeepFluoro.
        ljubljana: how to read Ljubljana.
        ctspine1k: how to read CTSpine1K.
    """

    action: Positional[Literal["prepare", "export"]]
    dataset: Positional[Literal["deepfluoro", "ljubljana", "ctspine1k"]]
    source: Positional[Path]
    output: Positional[Path]
    subjects: tuple[str, ...] | None = None
    overwrite: bool = False
    config: Path | None = None
    where: Annotated[SpreadConfig, FLAT] = field(default_factory=SpreadConfig)
    preparation: Annotated[PreparationConfig, FLAT] = field(default_factory=PreparationConfig)
    deepfluoro: DeepFluoroConfig = field(default_factory=DeepFluoroConfig)
    ljubljana: LjubljanaConfig = field(default_factory=LjubljanaConfig)
    ctspine1k: CTSpine1kConfig = field(default_factory=CTSpine1kConfig)

    def open(self) -> Dataset:
        """The data set, to be exported.

        Raises:
            InputError: it is missing, damaged or something else.
        """
        if self.dataset == "deepfluoro":
            return DeepFluoro(self.source, self.deepfluoro)
        if self.dataset == "ljubljana":
            return Ljubljana(self.source, self.ljubljana)
        return CTSpine1k(self.source, self.ctspine1k)


def main(arguments: Sequence[str]) -> None:
    """Run the command."""
    options = parse_options(DatasetOptions, "dataset", arguments)
    if options.action == "export":
        _export(options)
    else:
        _prepare(options)


def _export(options: DatasetOptions) -> None:
    columns = (TextColumn("{task.description}"), BarColumn(), MofNCompleteColumn())
    with progress_bar(*columns) as bar:
        row = bar.add_task("exporting", total=None)
        paths = export_volumes(
            options.open(),
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
            "only ctspine1k is prepared, all of it: the other data sets are read from their files as they are"
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
