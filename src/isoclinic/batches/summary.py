"""The summary of a batch: a table, a JSON document and a page, all from the same outcomes."""

from __future__ import annotations

import csv
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from .._files import atomic
from .._json import dumps
from ..results.names import REPORT
from .outcome import Batch, RowOutcome, batch_verdict
from .page import summary_page
from .plan import RESULTS, BatchPlan

TABLE, DOCUMENT = "summary.csv", "summary.json"
_AXES = ("right", "down", "depth")


def write_summary(plan: BatchPlan, batch: Batch) -> None:
    """Write `summary.csv`, `summary.json` and `report.html` into the batch's folder.

    Raises:
        InputError: a file cannot be written.
    """
    with (
        atomic(plan.output / TABLE) as temporary,
        temporary.open("w", newline="", encoding="utf-8") as file,
    ):
        csv.writer(file).writerows(_table(batch))
    with atomic(plan.output / DOCUMENT) as temporary:
        temporary.write_text(dumps(batch_document(batch)) + "\n", encoding="utf-8")
    with atomic(plan.output / REPORT) as temporary:
        temporary.write_text(summary_page(plan, batch), encoding="utf-8")


def batch_document(batch: Batch, folder: Path | None = None) -> dict[str, Any]:
    """The batch as JSON can hold it, without the attempts of its registrations.

    Args:
        batch: the batch.
        folder: of its files, for the verdict.
    """
    counts = batch.counts
    return {
        "verdict": batch_verdict(batch, None if folder is None else folder / REPORT),
        "rows": len(batch.outcomes),
        **{name: counts[name] for name in ("passed", "unsettled", "doubtful", "failed", "pending")},
        "notes": list(batch.notes),
        "results": [_row(each) for each in batch.outcomes],
    }


def result_folder(outcome: RowOutcome) -> str | None:
    """A row's result, relative to the batch's folder, with "/"; None without one."""
    return None if outcome.document is None else f"{RESULTS}/{outcome.row.name}"


def _row(outcome: RowOutcome) -> dict[str, Any]:
    row, document = outcome.row, outcome.document
    entry: dict[str, Any] = {
        "name": row.name,
        "status": outcome.status,
        "verdict": outcome.verdict,
        "xray": str(row.xray),
        "further_xrays": [str(each) for each in row.others],
        "views": None if row.views is None else str(row.views),
        "ct": str(row.ct),
        "init": row.init,
        "labels": None if row.labels is None else str(row.labels),
        "further": dict(row.further),
        "folder": result_folder(outcome),
        "error": outcome.error or None,
        "error_code": outcome.error_code or None,
        "warnings": list(outcome.warnings),
    }
    if document is not None:
        shared = ("similarity", "seconds", "confidence", "camera_from_world", "initial")
        entry |= {name: document[name] for name in shared}
        entry["structures"] = dict(outcome.structures)
    return entry


def _table(batch: Batch) -> list[list[str]]:
    """Rows of `summary.csv`, the first its header."""
    own = [_cells(each) for each in batch.outcomes]
    further = list(dict.fromkeys(name for each in batch.outcomes for name in each.row.further))
    header = list(own[0]) if own else []
    kept = [f"{name} (of the table)" if name in header else name for name in further]
    lines = [[*header, *kept]]
    for each, cells in zip(batch.outcomes, own, strict=True):
        lines.append([*cells.values(), *(each.row.further.get(name, "") for name in further)])
    return lines


def _cells(outcome: RowOutcome) -> dict[str, str]:
    row, document, confidence = outcome.row, outcome.document or {}, outcome.confidence
    by_axis = confidence.get("expected_error_by_axis_mm") or (None, None, None)
    folder = result_folder(outcome)
    return {
        "name": row.name,
        "status": outcome.status,
        "xray": str(row.xray),
        "further_xrays": "; ".join(map(str, row.others)),
        "views": str(row.views or ""),
        "ct": str(row.ct),
        "init": row.init or "",
        "labels": str(row.labels or ""),
        "expected_error_mm": _number(confidence, "expected_error_mm"),
        **{
            f"expected_error_{name}_mm": "" if value is None else f"{value:.4f}"
            for name, value in zip(_AXES, by_axis, strict=True)
        },
        "expected_rotation_deg": _number(confidence, "expected_rotation_deg"),
        "similarity": _number(document, "similarity"),
        "edges": _number(confidence, "edges"),
        "start": "" if not document else str(document["initial"]["source"]),
        "seconds": _number(document, "seconds"),
        "structures": "; ".join(outcome.structure_texts),
        "doubts": "; ".join(outcome.doubts),
        "error": outcome.error,
        "error_code": outcome.error_code,
        "warnings": "; ".join(outcome.warnings),
        "report": "" if folder is None else f"{folder}/{REPORT}",
    }


def _number(values: Mapping[str, Any], name: str) -> str:
    value = values.get(name)
    return "" if value is None else f"{value:.4f}"
