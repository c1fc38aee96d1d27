"""Options of `isoclinic dataset`."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Annotated, Literal

from tyro.conf import Positional

from .._spread_config import SpreadConfig
from ..datasets.preparation import PreparationConfig
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


def parse(arguments: Sequence[str]) -> DatasetOptions:
    """The options of a command line; see `parse_options`."""
    return parse_options(DatasetOptions, "dataset", arguments)
