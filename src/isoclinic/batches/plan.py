"""The plan of a batch: which rows, how they are registered, and what their results depend on."""

from __future__ import annotations

import os
from collections.abc import Callable, Mapping
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

from .. import __version__
from .._spread_config import SpreadConfig
from ..errors import InputError, UsageError
from ..provenance import InputFile, settings_digest
from ..registration import RegistrationConfig, StructuresConfig
from ..volumes import XRayOptions
from ..volumes._sidecar import files_beside
from .rows import BatchRow

RESULTS, RECORDS = "results", "rows"
# How a message calls what a result depends on, by the entry of its key.
PARTS = {
    "isoclinic": "another version of isoclinic",
    "volume": "another CT",
    "xray": "another X-ray",
    "labels": "other labels",
    "start": "another start",
    "model": "another model",
    "reading": "other settings of how X-rays are read",
    "settings": "other settings of the registration",
}


def _as_it_is(message: str) -> str:
    return message


@dataclass(frozen=True, kw_only=True)
class BatchPlan:
    """A batch to be done.

    Attributes:
        rows: what to register; their names differ.
        output: folder for all results: results/NAME as `write_result` makes it, and the summary of all.
        registration: settings of every registration.
        each_structure: structures of the rows' label maps that are found one by one, after the CT as a whole:
            names, labels, or "all"; several joined by "+" move as one.
        moving: settings of how they are found.
        reading: how every X-ray is read.
        model: file of the networks, for one CT or for any; without networks when None.
        last_resort: let the networks take part only where nothing else leads to a match.
        spread: where the registrations run.
        overwrite: replace results of other files or other settings.
        wording: of messages, such as to name options instead of parameters; of a module.
        files: further files that all results depend on, by the parameters that named them.
        command: a command line that did it.
        reproduce: a command line that does it again beside what is there.
        notes: what is odd about the table or folder, for the summary.
    """

    rows: tuple[BatchRow, ...]
    output: Path
    registration: RegistrationConfig = field(default_factory=RegistrationConfig)
    each_structure: tuple[str, ...] = ()
    moving: StructuresConfig = field(default_factory=StructuresConfig)
    reading: XRayOptions = field(default_factory=XRayOptions)
    model: InputFile | None = None
    last_resort: bool = False
    spread: SpreadConfig = field(default_factory=SpreadConfig)
    overwrite: bool = False
    wording: Callable[[str], str] = _as_it_is
    files: Mapping[str, InputFile] = field(default_factory=dict)
    command: str = ""
    reproduce: str = ""
    notes: tuple[str, ...] = ()

    def check(self) -> None:
        """Refuse rows that cannot be told apart or registered, and an output folder among the inputs.

        Raises:
            UsageError: the message names what is wrong.
        """
        names = [row.name for row in self.rows]
        twice = next((name for index, name in enumerate(names) if name in names[:index]), None)
        if twice is not None:
            raise UsageError(f"two rows are named {twice!r}", code="batch.malformed-table")
        self._check_options()
        place = Path(os.path.realpath(self.output))
        inputs = (path for row in self.rows for path in (row.ct, *row.xrays, row.labels, row.views))
        for source in dict.fromkeys(inputs):
            real = None if source is None else Path(os.path.realpath(source))
            if real is not None and (real == place or real in place.parents):
                raise UsageError(
                    f"`output` {self.output} lies in {source}, which is an input; choose another place",
                    code="output.is-an-input",
                )

    def _check_options(self) -> None:
        without = next((row.name for row in self.rows if row.labels is None), None)
        if self.each_structure and without is not None:
            raise UsageError(
                f"`each_structure` chooses from label maps, but the row {without} has none; give it in a "
                "column 'labels', or one for all rows as `labels`",
                code="labels.missing",
            )
        angles = self.reading.primary_angle_deg, self.reading.secondary_angle_deg
        several = next((row.name for row in self.rows if row.others), None)
        if several is not None and angles != (None, None):
            raise UsageError(
                "`primary_angle_deg` and `secondary_angle_deg` would hold for all X-rays of the row "
                f"{several} alike; a column 'views' says how several lie",
                code="options.conflict",
            )


class Digests:
    """Digests of the inputs of rows; each file is read once."""

    def __init__(self) -> None:
        self._known: dict[Path, InputFile | InputError] = {}

    def of(self, path: Path) -> InputFile:
        """The digest of a file or folder.

        Raises:
            InputError: it does not exist or cannot be read.
        """
        if path not in self._known:
            try:
                self._known[path] = InputFile.of(path)
            except InputError as error:
                self._known[path] = error
        found = self._known[path]
        if isinstance(found, InputError):
            raise found
        return found

    def key(self, plan: BatchPlan, row: BatchRow) -> dict[str, str]:
        """Digests of everything that a row's result depends on, by `PARTS`.

        Raises:
            InputError: a file does not exist or cannot be read.
        """
        start = _pose_file(row)
        model = None if plan.model is None else plan.model.sha256
        mask = plan.reading.exclude
        return {
            "isoclinic": __version__,
            "volume": self._with_beside(row.ct),
            "xray": self._xrays(row),
            "labels": "" if row.labels is None else self._with_beside(row.labels),
            "start": settings_digest(row.init if start is None else self.of(start).sha256),
            "model": settings_digest([model, plan.last_resort]),
            "reading": settings_digest(
                [asdict(plan.reading), None if mask is None else self.of(mask).sha256]
            ),
            "settings": settings_digest(_settings(plan)),
        }

    def inputs(self, row: BatchRow) -> dict[str, InputFile]:
        """The CT as "volume", the "xray", and the files that the row names besides, by what they are.

        Raises:
            InputError: a file does not exist or cannot be read.
        """
        named = {"volume": row.ct, "xray": row.xray, "init": _pose_file(row), "labels": row.labels}
        named |= {f"xray{number}": path for number, path in enumerate(row.others, start=2)}
        named |= {"views": row.views}
        return {name: self.of(path) for name, path in named.items() if path is not None}

    def _xrays(self, row: BatchRow) -> str:
        """Of the X-rays, and of how they lie relative to each other."""
        first = self._with_beside(row.xray)
        if not row.others:
            return first
        views = None if row.views is None else self.of(row.views).sha256
        return settings_digest([first, *map(self._with_beside, row.others), views])

    def _with_beside(self, path: Path) -> str:
        """Of a file and those that belong to it."""
        return settings_digest([self.of(each).sha256 for each in (path, *files_beside(path))])


def _settings(plan: BatchPlan) -> Any:
    """The settings of the registrations; those of structures count where there are any."""
    registration = asdict(plan.registration)
    if not plan.each_structure:
        return registration
    return [registration, list(plan.each_structure), asdict(plan.moving)]


def _pose_file(row: BatchRow) -> Path | None:
    """Where the row starts, if that is a file."""
    return Path(row.init) if row.init and os.path.isfile(row.init) else None
