"""Options of `isoclinic simulate`."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Annotated, Literal

from tyro.conf import Positional

from ..training import PoseConfig
from ._detector import DetectorOptions
from ._options import FLAT, parse_options

Preset = Literal["hospital", "isoclinic", "paper"]


@dataclass(frozen=True, kw_only=True)
class SimulateOptions:
    """Show random X-rays of a CT as networks are trained on them, each beside its clean rendering.

    Attributes:
        volume: the CT: NIfTI, NRRD, MetaImage or a DICOM folder.
        grid: PNG to write, a contact sheet. Each pair is a randomised X-ray (dark red where it does not show
            the patient) and the rendering of a perturbed pose, both bright where dense.
        pairs: number of pairs.
        preset: the randomisation of X-rays: a simulated acquisition with what hospitals add, which networks
            are trained on, the acquisition alone, or the published transforms.
        vary: show another variation of the CT in every pair, or a made-up skeleton, as networks of any
            patient are trained on.
        seed: seed of all random draws.
        overwrite: replace the picture if there is one.
        config: TOML file with any of these options; the command line overrides the file.
        detector: the detector of the X-rays.
        poses: views and perturbations.
    """

    volume: Positional[Path]
    grid: Path
    pairs: int = 12
    preset: Preset = "hospital"
    vary: bool = False
    seed: int = 0
    overwrite: bool = False
    config: Path | None = None
    detector: Annotated[DetectorOptions, FLAT] = field(default_factory=DetectorOptions)
    poses: Annotated[PoseConfig, FLAT] = field(default_factory=PoseConfig)


def parse(arguments: Sequence[str]) -> SimulateOptions:
    """The options of a command line; see `parse_options`."""
    return parse_options(SimulateOptions, "simulate", arguments)
