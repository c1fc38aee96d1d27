"""A process of a batch: it registers one row after another, and keeps the CT between them."""

from __future__ import annotations

import math
import warnings
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from functools import lru_cache, partial
from pathlib import Path
from traceback import format_exception
from typing import Any

from ..errors import InputError, IsoclinicError
from ..networks import Checkpoint
from ..provenance import InputFile, Provenance
from ..registration import (
    RegistrationResult,
    Session,
    StructureResult,
    View,
    register_structures,
    views_from_angles,
    views_from_file,
)
from ..registration._register import Model
from ..registration._structure_names import structure_names
from ..results import Registered, check_not_diverged, document_of, write_result
from ..results.registered import rescue_tried
from ..volumes import Volume, XRay
from .ledger import Ledger
from .outcome import RowOutcome
from .pictures import write_thumbnail
from .plan import BatchPlan
from .rows import BatchRow


@dataclass(frozen=True, kw_only=True)
class Task:
    """A row that is to be registered.

    Attributes:
        plan: of the batch, without its rows.
        row: the row.
        key: digests of everything that the result depends on.
        inputs: the row's CT, X-ray and further files.
    """

    plan: BatchPlan
    row: BatchRow
    key: Mapping[str, str]
    inputs: Mapping[str, InputFile]

    def __str__(self) -> str:
        return self.row.name


@dataclass(frozen=True, kw_only=True)
class _Prepared:
    """A CT that was read, or why it cannot be.

    Attributes:
        session: warm.
        warnings: what was said when it was read.
        error: why there is no session.
    """

    session: Session | None = None
    warnings: tuple[str, ...] = ()
    error: IsoclinicError | None = None


@dataclass
class _Kept:
    """The latest CT of this process.

    Attributes:
        of: what it was made from.
        prepared: the CT.
    """

    of: Any = None
    prepared: _Prepared = field(default_factory=_Prepared)


_kept = _Kept()

# What one row may fail of without costing the others: what is raised on purpose, files and memory, and
# torch's only error. Any other is a fault of the program, which ends the run; finished rows are kept.
_FAILURES = (IsoclinicError, OSError, MemoryError, RuntimeError)


def run_row(task: Task) -> RowOutcome:
    """Register a row and write its result, its picture and its record; or say why that cannot be done."""
    try:
        with warnings.catch_warnings(record=True) as caught:
            return _registered(task, caught)
    except _FAILURES as error:
        if not isinstance(error, IsoclinicError):
            forget_ct()
        return failed(task, error)


def failed(task: Task, error: BaseException) -> RowOutcome:
    """The outcome of a row that was tried in vain; an older result of it is gone."""
    ledger = Ledger(task.plan.output)
    code = error.code if isinstance(error, IsoclinicError) else ""
    message = str(error)
    unforeseen = False
    if isinstance(error, MemoryError):
        message = f"not enough memory: {error}"
    elif isinstance(error, OSError):
        message = f"{error.filename}: {error.strerror}" if error.filename else str(error)
    elif not isinstance(error, IsoclinicError):
        unforeseen = True
        where = ledger.traceback(task.row)
        message = (
            f"a fault of isoclinic itself, {type(error).__name__}: {error}; please report it with {where}"
        )
    try:
        ledger.forget(task.row)
        if unforeseen:
            ledger.traceback(task.row).write_text("".join(format_exception(error)), encoding="utf-8")
    except (IsoclinicError, OSError) as left:
        message = f"{message}. What is in its folder is of an earlier run, and stays: {left}"
    return RowOutcome(row=task.row, error=task.plan.wording(message), error_code=code)


def forget_ct() -> None:
    """Release the CT of this process."""
    _kept.of, _kept.prepared = None, _Prepared()
    _loaded.cache_clear()


def _registered(task: Task, caught: Sequence[warnings.WarningMessage]) -> RowOutcome:
    plan, row, ledger = task.plan, task.row, Ledger(task.plan.output)
    xrays = [XRay.read(path, plan.reading) for path in row.xrays]
    prepared = _prepared(task)
    if prepared.error is not None:
        raise prepared.error
    session = prepared.session
    assert session is not None
    _check_fit(task, xrays[0], session.ct)
    names = structure_names(plan.each_structure, row.labels, session.ct)
    result = session.register(_views(row, xrays), row.init)
    check_not_diverged(result)
    structures = _structures(plan, session.ct, result, names)
    messages = (*prepared.warnings, *(str(each.message) for each in caught))
    said = tuple(dict.fromkeys(map(plan.wording, messages)))
    doubts = tuple(map(plan.wording, result.confidence.doubts))
    result = replace(result, confidence=replace(result.confidence, doubts=doubts))
    of_xrays = ["xray", *(f"xray{number}" for number in range(2, len(xrays) + 1))]
    took_part = not plan.last_resort or rescue_tried(result)
    registered = Registered(
        volume=session.ct,
        result=result,
        config=plan.registration,
        provenance=Provenance(
            volume=task.inputs["volume"],
            xrays=[task.inputs[name] for name in of_xrays],
            model=plan.model if took_part else None,
            files={name: file for name, file in task.inputs.items() if name not in ("volume", *of_xrays)},
            command=plan.command or None,
        ),
        structures=structures,
        views_source="" if not row.others else str(row.views or "C-arm angles"),
    )
    # From here on the row is not done until its new record is there.
    ledger.record(row).unlink(missing_ok=True)
    ledger.traceback(row).unlink(missing_ok=True)
    write_result(ledger.result(row), registered, overwrite=True, warnings=said, reproduce=plan.reproduce)
    write_thumbnail(ledger.picture(row), registered)
    document = _finite(document_of(registered))
    for entry in document["xray"].values():
        entry["source"] = None if entry["source"] is None else plan.wording(entry["source"])
    outcome = RowOutcome(row=row, document=document, doubtful=registered.doubtful, warnings=said)
    ledger.keep(outcome, task.key)
    return outcome


def _views(row: BatchRow, xrays: Sequence[XRay]) -> XRay | Sequence[View]:
    """The X-ray of a row, or the views of its several ones."""
    if len(xrays) == 1:
        return xrays[0]
    return views_from_angles(xrays) if row.views is None else views_from_file(xrays, row.views)


def _structures(
    plan: BatchPlan, volume: Volume, result: RegistrationResult, names: Sequence[tuple[int | str, ...]]
) -> tuple[StructureResult, ...]:
    """Where each structure is in the first X-ray, after the CT as a whole."""
    if not names:
        return ()
    config = plan.moving.after(plan.registration)
    first = result.xrays[0].recalibrated(result.cameras[0])
    found = register_structures(volume, first, result.camera_from_world, names, config)
    return tuple(replace(each, doubts=tuple(map(plan.wording, each.doubts))) for each in found)


def _finite(value: Any) -> Any:
    """A document without numbers that JSON cannot hold; None takes their place."""
    if isinstance(value, Mapping):
        return {name: _finite(each) for name, each in value.items()}
    if isinstance(value, list | tuple):
        return [_finite(each) for each in value]
    return None if isinstance(value, float) and not math.isfinite(value) else value


def _prepared(task: Task) -> _Prepared:
    """The CT of a row: rows come sorted by CT, so that each is read once in a process."""
    plan, row = task.plan, task.row
    of = (row.ct, row.labels, task.key["volume"], task.key["labels"], plan.registration, plan.model)
    if _kept.of != of:
        forget_ct()
        _kept.of, _kept.prepared = of, _read(task)
    return _kept.prepared


def _read(task: Task) -> _Prepared:
    with warnings.catch_warnings(record=True) as caught:
        try:
            volume = Volume.read(task.row.ct, labels=task.row.labels)
            session = Session(volume, task.plan.registration, model=_model(task.plan))
        except IsoclinicError as error:
            return _Prepared(error=error)
    return _Prepared(session=session, warnings=tuple(str(each.message) for each in caught))


def _model(plan: BatchPlan) -> Model | None:
    if plan.model is None:
        return None
    return partial(_loaded, plan.model) if plan.last_resort else _loaded(plan.model)


@lru_cache(maxsize=1)
def _loaded(model: InputFile) -> Checkpoint:
    return Checkpoint.load(Path(model.path))


def _check_fit(task: Task, xray: XRay, volume: Volume) -> None:
    """Refuse a model that was trained for another CT, or for another part of the field of view."""
    model = task.plan.model
    if model is None or task.plan.last_resort:
        return
    try:
        _loaded(model).check_fit(xray.camera, task.inputs["volume"].sha256, volume)
    except InputError as error:
        raise InputError(
            f"{model.path}, {task.row.ct} and {task.row.xray}: {error}", code="model.unsuitable"
        ) from error
