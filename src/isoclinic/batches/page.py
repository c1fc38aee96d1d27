"""One page, complete in itself, to see all rows of a batch by; it links to the report of each."""

from __future__ import annotations

import base64
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from urllib.parse import quote

from markupsafe import Markup

from ..results.names import REPORT
from ..solver import Status
from ..viewer.html import bullets, folded, summary
from .ledger import Ledger
from .outcome import FAILED, PENDING, Batch, RowOutcome, batch_verdict
from .plan import RESULTS, BatchPlan

# Pictures that a page holds at most, some 20 kB each; further rows stand without one.
_MOST_PICTURES = 1000
_STATUS_NAMES = {
    FAILED: "Failed",
    PENDING: "Not registered yet",
    Status.DOUBTFUL: "Doubtful",
    Status.MAX_STEPS: "Not settled",
    Status.CONVERGED: "Passed",
}
# In the order in which people should look.
_SECTIONS = (
    ("Failed", (FAILED,), "These X-rays have no result. The next run tries them again."),
    ("Doubtful", (Status.DOUBTFUL,), "Do not use these poses before someone has looked at their reports."),
    ("Passed, not settled", (Status.MAX_STEPS,), "All checks passed, but the solver was still moving."),
    ("Passed all checks", (Status.CONVERGED,), ""),
    ("Not registered yet", (PENDING,), "The batch was interrupted; the same command goes on."),
)


@dataclass(frozen=True, kw_only=True)
class _Tile:
    """A row on the page.

    Attributes:
        name: of the row.
        status: by which the style sheet selects.
        status_name: for people.
        headline: its expected error, or why there is none.
        details: everything else that is worth a line.
        link: to its report; empty without one.
        picture: as a data URI; empty without one.
        files: the X-ray and the CT.
    """

    name: str
    status: str
    status_name: str
    headline: str
    details: Sequence[str]
    link: str
    picture: str
    files: str


def summary_page(plan: BatchPlan, batch: Batch) -> str:
    """The page as HTML."""
    counts = batch.counts
    names = [("passed all checks", "passed"), ("not settled", "unsettled"), ("doubtful", "doubtful")]
    names += [("failed", "failed"), ("not registered yet", "pending")]
    numbers = [("X-rays", str(len(batch.outcomes)))]
    numbers += [(text, str(counts[name])) for text, name in names if counts[name] or name == "passed"]
    errors_mm = [each.confidence.get("expected_error_mm") for each in batch.outcomes]
    known_mm = [error_mm for error_mm in errors_mm if error_mm is not None]
    if known_mm:
        numbers.append(("largest expected error", f"{max(known_mm):.2f} mm"))
    pictures = _pictures(plan, batch)
    sections = []
    for title, statuses, text in _SECTIONS:
        tiles = [
            _tile(each, pictures.get(each.row.name, "")) for each in batch.outcomes if each.status in statuses
        ]
        if tiles:
            sections.append((title, text, tiles))
    good = batch.complete and not batch.doubtful
    status = Status.CONVERGED if good else Status.DOUBTFUL
    if good and counts["unsettled"]:
        status = Status.MAX_STEPS
    verdict = batch_verdict(batch)
    head, colon, rest = verdict.partition(": ")
    return summary(
        "isoclinic.batches",
        title=f"Batch of {len(batch.outcomes)} X-rays",
        status=str(status),
        status_name="Registered" if good else head.capitalize(),
        headline=(rest if colon and not good else verdict).partition(";")[0],
        numbers=numbers,
        sections=sections,
        notes=list(batch.notes),
        left_out=max(0, sum(each.document is not None for each in batch.outcomes) - len(pictures)),
        cards=list(_cards(plan)),
    )


def _tile(outcome: RowOutcome, picture: str) -> _Tile:
    row, confidence = outcome.row, outcome.confidence
    error_mm = confidence.get("expected_error_mm")
    doubts = outcome.doubts
    details: list[str] = list(doubts[:1])
    if len(doubts) > 1:
        details.append(f"{len(doubts) - 1} more {'doubt' if len(doubts) == 2 else 'doubts'}, in the report")
    if outcome.document is None:
        headline = outcome.verdict
    elif error_mm is None:
        headline = "expected error unknown"
    else:
        headline = f"expected error {error_mm:.2f} mm"
        right_mm, down_mm, depth_mm = confidence["expected_error_by_axis_mm"]
        details.append(f"{right_mm:.2f} mm right, {down_mm:.2f} down, {depth_mm:.2f} in depth")
    details += outcome.structure_texts
    if outcome.warnings:
        count = len(outcome.warnings)
        details.append(f"{count} {'warning' if count == 1 else 'warnings'}, in the report")
    details += [f"{column}: {cell}" for column, cell in row.further.items() if cell]
    return _Tile(
        name=row.name,
        status=outcome.status,
        status_name=_STATUS_NAMES.get(outcome.status, outcome.status),
        headline=headline,
        details=details,
        link="" if outcome.document is None else f"{RESULTS}/{quote(row.name)}/{REPORT}",
        picture=picture,
        files=f"{', '.join(each.name for each in row.xrays)} in {row.ct.name}",
    )


def _pictures(plan: BatchPlan, batch: Batch) -> dict[str, str]:
    """Data URIs by the names of rows, those that need a look first."""
    ledger = Ledger(plan.output)
    found: dict[str, str] = {}
    ranked = sorted(batch.outcomes, key=lambda each: not each.doubtful)
    for each in (each for each in ranked if each.document is not None):
        if len(found) == _MOST_PICTURES:
            break
        uri = _uri(ledger.picture(each.row))
        if uri:
            found[each.row.name] = uri
    return found


def _uri(path: Path) -> str:
    try:
        content = path.read_bytes()
    except OSError:
        return ""  # someone removed it; the row stands without
    return f"data:image/jpeg;base64,{base64.b64encode(content).decode()}"


def _cards(plan: BatchPlan) -> Iterator[Markup]:
    others = [f"{name}: {file.path}" for name, file in plan.files.items()]
    if plan.model is not None:
        others.append(f"model: {plan.model.path}{' (as a last resort)' if plan.last_resort else ''}")
    if others:
        yield folded("Further files", bullets(others))
    if plan.command:
        body = Markup("<p>Run in <code>{}</code>:</p><pre>{}</pre>").format(Path.cwd(), plan.command)
        yield folded("Command", body)
