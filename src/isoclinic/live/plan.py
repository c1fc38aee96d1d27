"""What a live page is made for: files, options, networks, and how messages are worded."""

from __future__ import annotations

import warnings
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from threading import RLock
from typing import Any

from ..provenance import InputFile
from ..registration import RegistrationConfig, StructuresConfig
from ..registration._register import Model
from ..volumes import GeometryWarning, XRayOptions
from .config import LiveConfig

_RECORDING = RLock()


def _same(message: str) -> str:
    return message


def _no_command(added: Sequence[str]) -> str:
    return ""


@dataclass(frozen=True, kw_only=True, eq=False)
class LivePlan:
    """What a live page begins with, and how it registers.

    Attributes:
        output: folder of the workspace, with all that is uploaded and saved.
        volume: the CT; chosen on the page when None.
        xrays: the X-rays; chosen on the page when there are none.
        labels: label map of the CT.
        views: view file that says how several X-rays lie; from the C-arm angles when None.
        init: where to start; see `isoclinic.register`.
        model: networks; see `isoclinic.register`.
        model_file: the file of networks that were trained for this CT.
        last_resort: gives the file of the networks that take part only where nothing else leads to a match.
        files: other files that results depend on, by the parameter that named them.
        xray_options: how X-rays are read, unless the page says otherwise.
        registration: how they are registered, unless the page chooses other structures.
        moving: how structures are registered one by one.
        live: how the page is served.
        command: gives the command line of `isoclinic register` that does the same, of the words that
            a page sets.
        wording: what makes of the parameters that a message names what the reader knows.
    """

    output: Path
    volume: Path | None = None
    xrays: Sequence[Path] = ()
    labels: Path | None = None
    views: Path | None = None
    init: Any = None
    model: Model | None = None
    model_file: InputFile | None = None
    last_resort: Callable[[], InputFile] | None = None
    files: Mapping[str, InputFile] = field(default_factory=dict)
    xray_options: XRayOptions = field(default_factory=XRayOptions)
    registration: RegistrationConfig = field(default_factory=RegistrationConfig)
    moving: StructuresConfig = field(default_factory=StructuresConfig)
    live: LiveConfig = field(default_factory=LiveConfig)
    command: Callable[[Sequence[str]], str] = _no_command
    wording: Callable[[str], str] = _same


@contextmanager
def recorded(wording: Callable[[str], str]) -> Iterator[list[str]]:
    """What is told within a block, once each; the list is filled when the block ends.

    Warnings are those of the process, not of a thread: whoever comes here while another is within waits.
    Other warnings, such as those of the DICOM library, may quote values of the header: they are dropped.
    """
    said: list[str] = []
    given: list[warnings.WarningMessage] = []
    try:
        with _RECORDING, warnings.catch_warnings(record=True) as caught:
            warnings.simplefilter("always")
            try:
                yield said
            finally:
                given += caught
    finally:
        told = [wording(str(each.message)) for each in given if issubclass(each.category, GeometryWarning)]
        said += dict.fromkeys(told)
