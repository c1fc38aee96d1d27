"""The gallery shows every picture that its script draws, and names a script for each."""

from __future__ import annotations

import re
from pathlib import Path

DOCS = Path(__file__).parents[2] / "docs"
PAGE = (DOCS / "gallery.md").read_text(encoding="utf-8")
SCRIPT = (DOCS / "gallery.py").read_text(encoding="utf-8")
COMMITTED = sorted((DOCS / "images").glob("gallery-*.png"))


def test_the_script_draws_the_committed_pictures_and_no_others():
    drawn = re.findall(r'^        "(\w+)": draw_\w+\(ct\),$', SCRIPT, re.MULTILINE)
    assert sorted(f"gallery-{name}.png" for name in drawn) == [path.name for path in COMMITTED]


def test_the_page_shows_each_with_words_for_those_who_cannot_see_it():
    shown = {path: words for words, path in re.findall(r"!\[([^\]]*)\]\(images/([^)]*)\)", PAGE)}
    assert {path.name for path in COMMITTED} <= set(shown)
    assert all(len(words) > 20 for words in shown.values())


def test_every_picture_has_its_script():
    blocks = re.split(r"^!\[", PAGE, flags=re.MULTILINE)[1:]
    assert len(blocks) == len(re.findall(r"!\[", PAGE))
    scripts = [re.search(r"Script:\s+`(?:python\s+)?([^`]+)`", block) for block in blocks]
    assert all(scripts)
    for found in scripts:
        assert found is not None
        assert found[1] == "make demo" or (DOCS.parent / found[1]).exists(), found[1]


def test_pictures_are_small_enough_to_keep_in_the_repository():
    for path in COMMITTED:
        assert path.stat().st_size < 300_000, path.name
