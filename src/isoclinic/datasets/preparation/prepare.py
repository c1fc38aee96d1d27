"""All cases of CTSpine1K: quality control, then preparation; either goes on where it was interrupted."""

from __future__ import annotations

import errno
import json
from collections import Counter
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import asdict, dataclass
from functools import partial
from pathlib import Path
from typing import Any

from ... import __version__
from ..._optional import require
from ..._spread import spread
from ..._spread_config import SpreadConfig
from ...errors import InputError, UsageError
from ...provenance import settings_digest
from .._documents import read_document
from .case import CaseTask, is_done, key_of, prepare_case, write_json
from .config import PreparationConfig, QualityConfig
from .originals import Original, find_originals
from .quality import CaseFinding, Exclusion, examine, without_duplicates

FORMAT = "isoclinic.ctspine1k"
VERSION = 1
DATASET_FILE = "dataset.json"
QUALITY_FILE = "quality.json"

OnProgress = Callable[[str, int, int], None]


@dataclass(frozen=True, kw_only=True)
class Preparation:
    """What has been prepared.

    Attributes:
        cases: names of those that are fit for use.
        findings: of the quality control, by the name of the case.
    """

    cases: tuple[str, ...]
    findings: Mapping[str, CaseFinding]

    @property
    def left_out(self) -> Mapping[Exclusion, int]:
        """How many cases each reason left out, the commonest first."""
        return _counts(self.findings)


def prepare_ctspine1k(
    source: Path,
    output: Path,
    config: PreparationConfig,
    where: SpreadConfig,
    *,
    overwrite: bool = False,
    progress: OnProgress = lambda stage, done, total: None,
) -> Preparation:
    """Prepare CTSpine1K for `CTSpine1k`: a folder for each case that passes the quality control.

    What `output` holds already of these settings is not made again; what is written appears whole or not at
    all. So an interrupted preparation goes on where it stopped. The result does not depend on `where`.

    Args:
        source: folder with the original files.
        output: folder to write to.
        config: how.
        where: processes or machines to run on.
        overwrite: replace what `output` holds of other settings or other files.
        progress: told what is being done, how many cases are done, and of how many.

    Raises:
        InputError: no original files, no case that is fit for use, or a place that cannot be written to.
        UsageError: `output` holds something else, or h5py or Ray is not installed.
    """
    require("h5py", extra="datasets")
    originals = find_originals(source)
    settings = json.loads(json.dumps(asdict(config)))
    with _resumable():
        _claim(output, settings, overwrite=overwrite)
        findings = _examined(originals, output, config.quality, where, partial(progress, "quality control"))
        cases = tuple(name for name, finding in findings.items() if finding.reason is None)
        if not cases:
            raise InputError(
                f"no case of {source} passes the quality control: {_summary(findings)}",
                code="preparation.no-case",
            )
        tasks = [
            CaseTask(
                original=original,
                folder=output / original.name,
                key=_key(settings, findings[original.name]),
                config=config,
            )
            for original in originals
            if original.name in cases
        ]
        _check_keys(tasks, overwrite=overwrite)
        _write_dataset(output, settings, cases)
        waiting = [task for task in tasks if not is_done(task)]
        done = len(tasks) - len(waiting)
        progress("preparation", done, len(tasks))
        for _ in spread(prepare_case, waiting, where):
            done += 1
            progress("preparation", done, len(tasks))
    return Preparation(cases=cases, findings=findings)


@dataclass(frozen=True, kw_only=True)
class _Examination:
    """A case to examine."""

    original: Original
    config: QualityConfig

    def __str__(self) -> str:
        return self.original.name


def _examine(task: _Examination) -> CaseFinding:
    return examine(task.original, task.config)


def _examined(
    originals: Sequence[Original],
    output: Path,
    config: QualityConfig,
    where: SpreadConfig,
    progress: Callable[[int, int], None],
) -> dict[str, CaseFinding]:
    """Findings by name, ordered; those of files that have not changed since come from `quality.json`."""
    file = output / QUALITY_FILE
    stamps = {original.name: _stamp(original, config) for original in originals}
    known = read_document(file, "cases")["cases"] if file.exists() else {}
    found = {
        name: CaseFinding(**known[name]["finding"] | {"reason": _reason(known[name]["finding"]["reason"])})
        for name, stamp in stamps.items()
        if name in known and known[name]["stamp"] == stamp
    }
    waiting = [original for original in originals if original.name not in found]
    progress(len(found), len(originals))
    for index, finding in spread(
        _examine, [_Examination(original=original, config=config) for original in waiting], where
    ):
        found[waiting[index].name] = finding
        _write_quality(file, found, stamps)
        progress(len(found), len(originals))
    ordered = {original.name: found[original.name] for original in originals}
    _write_quality(file, ordered, stamps)
    return without_duplicates(ordered)


def _write_quality(file: Path, findings: Mapping[str, CaseFinding], stamps: Mapping[str, str]) -> None:
    final = without_duplicates(dict(sorted(findings.items())))
    document = {
        "fit": sum(finding.reason is None for finding in final.values()),
        "left_out": _counts(final),
        "duplicates": {
            name: each.detail for name, each in final.items() if each.reason is Exclusion.DUPLICATE
        },
        "cases": {
            name: {"finding": asdict(finding), "stamp": stamps[name]}
            for name, finding in sorted(findings.items())
        },
    }
    write_json(file, document)


def _reason(value: str | None) -> Exclusion | None:
    return None if value is None else Exclusion(value)


def _counts(findings: Mapping[str, CaseFinding]) -> dict[Exclusion, int]:
    """How many cases each reason left out, the commonest first."""
    return dict(Counter(each.reason for each in findings.values() if each.reason is not None).most_common())


def _summary(findings: Mapping[str, CaseFinding]) -> str:
    return ", ".join(f"{count} {reason}" for reason, count in _counts(findings).items())


def _stamp(original: Original, config: QualityConfig) -> str:
    """Changes with a case's files and with the rules."""
    files = [(str(path), path.stat()) for path in (*original.cts, *original.masks)]
    facts = [asdict(config), [(name, stat.st_size, stat.st_mtime_ns) for name, stat in files]]
    return settings_digest(facts)


def _key(settings: Mapping[str, Any], finding: CaseFinding) -> str:
    """Changes with everything that what is made of a case depends on."""
    making = {name: value for name, value in settings.items() if name != "quality"}
    return settings_digest([VERSION, making, finding.ct_digest, finding.mask_digest])


def _claim(output: Path, settings: Mapping[str, Any], *, overwrite: bool) -> None:
    """Refuse a place that holds anything else than an earlier preparation with these settings."""
    if output.exists() and not output.is_dir():
        raise UsageError(
            f"{output} is a file, but the result is a folder; choose another place",
            code="output.not-a-folder",
        )
    file = output / DATASET_FILE
    if not file.exists():
        if output.exists() and any(output.iterdir()):
            raise UsageError(
                f"{output} holds other files; choose a new or empty folder", code="output.foreign-files"
            )
        output.mkdir(parents=True, exist_ok=True)
        _write_dataset(output, settings, None)
        return
    before = read_document(file, "settings")["settings"]
    changed = [name for name, value in _flat(settings).items() if _flat(before).get(name) != value]
    if changed and not overwrite:
        raise UsageError(
            f"{output} was prepared with another {', '.join(changed)}; choose another folder or add"
            " `overwrite`",
            code="output.of-other-settings",
        )
    if changed:
        _write_dataset(output, settings, None)


def _check_keys(tasks: Sequence[CaseTask], *, overwrite: bool) -> None:
    for task in tasks:
        if not overwrite and key_of(task.folder) not in (None, task.key):
            raise UsageError(
                f"{task.folder} was made from other files of that name; choose another folder or add"
                " `overwrite`",
                code="output.of-other-settings",
            )


def _write_dataset(output: Path, settings: Mapping[str, Any], cases: Sequence[str] | None) -> None:
    """Describe the data set; `cases` is None until the quality control has chosen them."""
    document = {
        "format": FORMAT,
        "version": VERSION,
        "isoclinic_version": __version__,
        "settings": settings,
        "cases": cases,
    }
    write_json(output / DATASET_FILE, document)


def _flat(settings: Mapping[str, Any], prefix: str = "") -> dict[str, Any]:
    """Settings by their names as options."""
    flat: dict[str, Any] = {}
    for name, value in settings.items():
        option = f"{prefix}{name.replace('_', '-')}"
        flat |= _flat(value, f"{option}.") if isinstance(value, Mapping) else {option: value}
    return flat


@contextmanager
def _resumable() -> Iterator[None]:
    """Say, where the disk is full, that nothing is lost."""
    try:
        yield
    except InputError as error:
        if isinstance(error.__cause__, OSError) and error.__cause__.errno in (errno.ENOSPC, errno.EDQUOT):
            raise InputError(
                f"{error}. Nothing that was written is lost: free some space and run the same command again",
                code="output.unwritable",
            ) from error
        raise
