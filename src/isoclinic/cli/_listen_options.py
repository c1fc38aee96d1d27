"""Options of `isoclinic listen`."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Annotated, Literal

from ..reception import ReceptionConfig
from ..registration import FollowConfig
from ..volumes import XRayOptions
from ._model_names import DEFAULT
from ._options import FLAT, REGISTRATION_PRESETS, RegistrationOptions, parse_options


@dataclass(frozen=True, kw_only=True)
class ListenOptions:
    """Receive X-rays during an operation, register each to a CT, and tell the result; research software.

    X-rays come from a C-arm (--port) or appear in a folder (--watch). Each is on disk before its sender is
    told so. Ctrl-C or SIGTERM ends the program; the same command goes on where it ended.

    Attributes:
        volume: the CT: NIfTI, NRRD, MetaImage or a DICOM folder.
        output: folder for the received images, their ledger, results.jsonl (a line for each image) and
            results/NNNN with the files of isoclinic register. One that an earlier call has made for the same
            CT is gone on with.
        init: the start of the first X-ray, and of each one that does not match from the last pose; values are
            those of isoclinic register.
        model: networks, as of isoclinic register.
        retry_failed: begin by registering again what failed in earlier calls.
        preset: where all further options start from: "isoclinic", or "paper" for the published registration.
        config: TOML file with any of these options; the command line wins.
        reception: where X-rays come from, and where results go.
        xray_options: how to read the X-rays.
        registration: how to register.
        follow: how an X-ray is registered from the last pose.
    """

    volume: Path
    output: Path
    init: str | None = None
    model: str = DEFAULT
    retry_failed: bool = False
    preset: Literal["isoclinic", "paper"] = "isoclinic"
    config: Path | None = None
    reception: Annotated[ReceptionConfig, FLAT] = field(default_factory=ReceptionConfig)
    xray_options: Annotated[XRayOptions, FLAT] = field(default_factory=XRayOptions)
    registration: Annotated[RegistrationOptions, FLAT] = field(default_factory=RegistrationOptions)
    follow: FollowConfig = field(default_factory=FollowConfig)


def parse(arguments: Sequence[str]) -> ListenOptions:
    """The options of a command line; see `parse_options`."""
    return parse_options(ListenOptions, "listen", arguments, REGISTRATION_PRESETS)
