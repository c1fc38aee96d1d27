"""Options of `isoclinic dataset`."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Annotated, Literal

from tyro.conf import Positional

from .._spread_config import SpreadConfig
from ..datasets import CTSpine1kConfig, DeepFluoroConfig, LjubljanaConfig
from ..datasets.preparation import PreparationConfig
from ._options import FLAT, parse_options


@dataclass(frozen=True, kw_only=True)
class DatasetOptions:
    """Make a public data set ready for use, or write its CTs as files of their own.

    The action "prepare" checks the quality of each case of CTSpine1K, and makes its lumbar spine, surface,
    landmarks and DRRs. Files that the output folder already contains are not made again, so the same command
    continues an interrupted preparation.

    The action "export" writes SUBJECT.nii.gz for every CT of a data set, for isoclinic train and pretrain.
    Models that are trained on such a file recognise the CT in the data set by its voxels.

    Attributes:
        action: "prepare" or "export".
        dataset: name of the data set.
        source: to prepare, the folder with the original files, CTs (CASE.nii.gz) and masks (CASE_seg.nii.gz),
            at any depth; to export, the file or the prepared folder of the data set.
        output: folder to write to. Of a preparation quality.json says which cases are left out and why, and
            CASE/check.png shows surface, landmarks and a DRR.
        subjects: subjects whose CTs are exported; by default all.
        overwrite: replace results of other settings or other files in the output folder.
        config: TOML file with any of these options; the command line overrides the file.
        where: processes and machines to run a preparation on.
        preparation: how.
        deepfluoro: settings of how to read DeepFluoro.
        ljubljana: settings of how to read Ljubljana.
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


def parse(arguments: Sequence[str]) -> DatasetOptions:
    """The options of a command line; see `parse_options`."""
    return parse_options(DatasetOptions, "dataset", arguments)
