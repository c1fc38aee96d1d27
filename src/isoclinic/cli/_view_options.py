"""Options of `isoclinic view`."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Annotated, Literal

from tyro.conf import Positional, arg

from ..live.config import LiveConfig
from ..volumes import XRayOptions
from ._model_names import DEFAULT
from ._options import FLAT, REGISTRATION_PRESETS, RegistrationOptions, StructuresOptions, parse_options


@dataclass(frozen=True, kw_only=True)
class ViewOptions:
    """Open a page in the browser: move a CT over its X-rays by hand, register it, and look at the result.

    The page is served to programs on this computer only, under an address that is printed. Ctrl-C ends it;
    the same command goes on where it ended.

    Attributes:
        files: the CT, then its X-rays: files as those of isoclinic register. What is left out is chosen on
            the page.
        output: folder for all that is uploaded, set and saved; results/NNNN in it are what isoclinic register
            writes. One that an earlier call has made for the same files is gone on with.
        init: the start; values are those of isoclinic register.
        model: networks, as of isoclinic register.
        views: relative positions of several X-rays: a JSON file of "view_from_first" matrices. By default it
            follows from the C-arm angles in their headers.
        labels: label map of the CT, whose structures can be chosen on the page.
        browser: open the page in the default browser.
        preset: where all further options start from: "isoclinic", or "paper" for the published registration.
        config: TOML file with any of these options; the command line wins.
        live: how the page is served.
        xray_options: how to read the X-rays.
        registration: how to register.
        moving: settings for structures that are registered one by one.
    """

    files: Annotated[Positional[tuple[Path, ...]], arg(metavar="[CT [XRAY ...]]")] = ()
    output: Path = Path("isoclinic-view")
    init: str | None = None
    model: str = DEFAULT
    views: Path | None = None
    labels: Path | None = None
    browser: bool = True
    preset: Literal["isoclinic", "paper"] = "isoclinic"
    config: Path | None = None
    live: Annotated[LiveConfig, FLAT] = field(default_factory=LiveConfig)
    xray_options: Annotated[XRayOptions, FLAT] = field(default_factory=XRayOptions)
    registration: Annotated[RegistrationOptions, FLAT] = field(default_factory=RegistrationOptions)
    moving: StructuresOptions = field(default_factory=StructuresOptions)


def parse(arguments: Sequence[str]) -> ViewOptions:
    """The options of a command line; see `parse_options`."""
    return parse_options(ViewOptions, "view", arguments, REGISTRATION_PRESETS)
