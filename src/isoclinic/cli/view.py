"""`isoclinic view`: a page to register a CT and X-rays by hand and eye."""

from __future__ import annotations

import shlex
import webbrowser
from collections.abc import Sequence
from dataclasses import fields
from pathlib import Path

from ..errors import UsageError
from ..live import LiveConfig, LivePage, LivePlan
from ..models import default_model
from ..provenance import InputFile
from ._console import progress, results
from ._model import last_resort_file, model_file, read_model
from ._model_names import DEFAULT, NONE
from ._view_options import ViewOptions
from ._wording import as_options

# Options that `isoclinic register` does not have, or that a page sets anew for each registration.
_OWN = ("output", "init", "views", "labels", "browser", "exclude", "structures", "volume")


def main(options: ViewOptions, arguments: Sequence[str]) -> int:
    """Run the command until a signal ends it; its exit status is then 0."""
    _check_apart(options)
    with progress().status("reading"):
        page = LivePage(_plan(options, arguments))
    with page:
        try:
            results().print(page.address, markup=False, soft_wrap=True)
            progress().print("Ctrl-C ends it; the same command goes on from here. Research software.")
            if options.browser:
                webbrowser.open(page.address)
            page.run()
        except KeyboardInterrupt:
            progress().print(f"ended; everything is in {options.output}", markup=False)
    return 0


def _check_apart(options: ViewOptions) -> None:
    """Raises UsageError for an output within the folder of a DICOM CT."""
    if options.files:
        ct, place = options.files[0].resolve(), options.output.resolve()
        if ct.is_dir() and (ct == place or ct in place.parents):
            raise UsageError(
                f"--output {options.output} lies in the folder of the CT, {options.files[0]}; choose another "
                "place",
                code="output.is-an-input",
            )


def _plan(options: ViewOptions, arguments: Sequence[str]) -> LivePlan:
    learned = None if options.model in (DEFAULT, NONE) else model_file(options.model)
    default = options.model == DEFAULT
    files = {} if options.config is None else {"config": InputFile.of(options.config)}
    return LivePlan(
        output=options.output,
        volume=options.files[0] if options.files else None,
        xrays=options.files[1:],
        labels=options.labels,
        views=options.views,
        init=options.init,
        model=default_model if default else None if learned is None else read_model(learned),
        model_file=learned,
        last_resort=last_resort_file if default else None,
        files=files,
        xray_options=options.xray_options,
        registration=options.registration,
        moving=options.moving,
        live=options.live,
        command=_Register(options, arguments),
        wording=as_options,
    )


class _Register:
    """The command line of `isoclinic register` that does what the page does.

    Args:
        options: of this command.
        arguments: its words.
    """

    def __init__(self, options: ViewOptions, arguments: Sequence[str]) -> None:
        self._kept = kept_words(arguments, options.files)

    def __call__(self, added: Sequence[str]) -> str:
        """The command line with the words that the page adds; what it says anew takes their place."""
        new = {word for word in added if word.startswith("--")}
        kept = [word for group in self._kept if group[0] not in new for word in group]
        return shlex.join(["isoclinic", "register", *added, *kept])


def kept_words(arguments: Sequence[str], files: Sequence[Path]) -> list[list[str]]:
    """The options among a command's words that hold for a registration, each with its values.

    Args:
        arguments: the words.
        files: those given without an option.
    """
    own = {f"--{name.replace('_', '-')}" for name in (*_OWN, *(each.name for each in fields(LiveConfig)))}
    own |= {"--no-browser"}
    without = list(map(str, files))
    groups: list[list[str]] = []
    for word in arguments:
        if word.startswith("--"):
            groups.append([word])
        elif word in without:
            without.remove(word)
        elif groups:
            groups[-1].append(word)
    return [group for group in groups if group[0].partition("=")[0].replace("_", "-") not in own]
