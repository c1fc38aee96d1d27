"""The page of a batch: its order and words, and how it looks in a browser."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from isoclinic.batches import Batch, BatchPlan, BatchRow, RowOutcome
from isoclinic.batches import page as page_module
from isoclinic.batches.page import summary_page

from ..viewer.conftest import browser  # noqa: F401  (a fixture)

LONG = "x" * 90


def outcome(name: str, status: str = "converged", **named) -> RowOutcome:
    """A made-up outcome; the page does not look at the files of a row but its picture."""
    row = BatchRow(name=name, xray=Path(f"{name}.dcm"), ct=Path("ct.nii.gz"), further={"who": "<i>&"})
    if status in ("failed", "pending"):
        return RowOutcome(row=row, error="none.dcm does not exist" if status == "failed" else "", **named)
    doubtful = status == "doubtful"
    confidence = {
        "expected_error_mm": None if doubtful else 1.25,
        "expected_error_by_axis_mm": None if doubtful else [0.1, 0.2, 1.2],
        "doubts": ["first doubt", "second doubt", "third doubt"] if doubtful else [],
    }
    document = {"status": "converged" if doubtful else status, "verdict": "DOUBTFUL: first doubt"}
    return RowOutcome(row=row, document={**document, "confidence": confidence}, doubtful=doubtful, **named)


@pytest.fixture
def shown(tmp_path):
    """The page of outcomes, as text."""

    def page(*outcomes: RowOutcome, **named) -> str:
        plan = BatchPlan(rows=tuple(each.row for each in outcomes), output=tmp_path)
        (tmp_path / "rows").mkdir(exist_ok=True)
        for each in outcomes:
            pixels = np.zeros((40, 60), dtype=np.uint8)
            Image.fromarray(pixels).save(tmp_path / "rows" / f"{each.row.name}.jpg")
        return summary_page(plan, Batch(outcomes=outcomes, **named))

    return page


def test_those_that_need_a_look_come_first(shown):
    page = shown(
        outcome("good", warnings=("odd",)),
        outcome("later", "pending"),
        outcome("slow", "max_steps"),
        outcome("bad", "doubtful"),
        outcome("broken", "failed"),
    )
    body = page[page.index("<main>") :]
    places = [body.index(f">{name}<") for name in ("bad", "slow", "good")]
    assert body.index("broken") < places[0] < places[1] < places[2] < body.index("later")
    assert 'data-status="doubtful"' in page and "Incomplete" in page
    assert "first doubt" in body and "2 more doubts, in the report" in body and "second doubt" not in body
    assert "expected error 1.25 mm" in body and "1 warning, in the report" in body
    assert "&lt;i&gt;&amp;" in body and "<i>" not in body
    # Neither has a report, nor is there a picture of what has no result.
    assert body.count("<h3><a") == body.count("data:image/jpeg") == 3


@pytest.mark.parametrize(
    ("statuses", "status", "word"),
    [
        (["converged"], "converged", "Registered"),
        (["converged", "max_steps"], "max_steps", "Registered"),
        (["converged", "doubtful"], "doubtful", "Doubtful"),
        (["converged", "failed"], "doubtful", "Incomplete"),
        (["converged", "pending"], "doubtful", "Incomplete"),
    ],
)
def test_the_head_of_the_page_is_that_of_the_worst(shown, statuses, status, word):
    page = shown(*(outcome(f"row{index}", each) for index, each in enumerate(statuses)))
    assert f'<body data-status="{status}">' in page and f"<strong>{word}</strong>" in page


def test_a_page_holds_no_endless_number_of_pictures(shown, monkeypatch):
    monkeypatch.setattr(page_module, "_MOST_PICTURES", 2)
    page = shown(outcome("one"), outcome("two"), outcome("three", "doubtful"))
    assert page.count("data:image/jpeg") == 2 and "1 result stands without" in page
    assert page.index("data:image/jpeg") > page.index(">Doubtful <")


def test_links_to_names_that_need_quoting(shown):
    page = shown(outcome("knee 1 #2 ä%"))
    assert 'href="results/knee%201%20%232%20%C3%A4%25/report.html"' in page


@pytest.mark.slow
@pytest.mark.parametrize("width", [400, 1400])
@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_in_a_browser(shown, browser, tmp_path, width, scheme):  # noqa: F811
    states = ("converged", "doubtful", "failed", "max_steps", "pending")
    rows = [outcome(f"row{index}", states[index % 5]) for index in range(20)]
    page = shown(*rows, outcome(LONG), notes=(f"a note about {LONG}",))
    (tmp_path / "report.html").write_text(page, encoding="utf-8")
    context = browser.new_context(viewport={"width": width, "height": 900}, color_scheme=scheme)
    try:
        opened = context.new_page()
        complaints: list[str] = []
        opened.on("console", lambda message: complaints.append(message.text))
        opened.goto((tmp_path / "report.html").as_uri())
        assert complaints == []
        assert opened.evaluate("document.documentElement.scrollWidth") <= width
        ground = opened.evaluate("getComputedStyle(document.body).backgroundColor")
        assert ground == {"light": "rgb(244, 245, 247)", "dark": "rgb(16, 20, 26)"}[scheme]
        # The page is there before its pictures are decoded, on a busy machine.
        opened.wait_for_function(
            "[...document.querySelectorAll('.tile img')].every(e => e.naturalWidth > 0)", timeout=30_000
        )
        sizes = opened.evaluate(
            "[...document.querySelectorAll('.tile img')].map(e => [e.width, e.naturalWidth])"
        )
        assert len(sizes) == 13 and all(shown > 100 and stored == 60 for shown, stored in sizes)
    finally:
        context.close()
