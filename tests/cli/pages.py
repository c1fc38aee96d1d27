"""The documentation as a user follows it: commands to run and files to write, from top to bottom."""

from __future__ import annotations

import re
import shlex
from collections.abc import Iterator
from pathlib import Path
from typing import NamedTuple

ROOT = Path(__file__).parents[2]
PAGES = (ROOT / "README.md", *sorted((ROOT / "docs").rglob("*.md")))

# A fenced block, and the line before it if that begins with the name of the file that the block shows.
_BLOCK = re.compile(
    r"^(?:`(?P<name>[\w.-]+)`[^\n]*:\n\n)?```(?P<language>\w*)\n(?P<text>.*?)^```", re.MULTILINE | re.DOTALL
)
_LINK = re.compile(r"\]\((?P<target>[^)#:]*)(?:#(?P<heading>[^)]*))?\)")


class Block(NamedTuple):
    """A fenced block; `name` is empty unless it shows a file."""

    name: str
    language: str
    text: str

    @property
    def commands(self) -> list[list[str]]:
        """Arguments of its isoclinic commands."""
        lines = self.text.replace("\\\n", " ").splitlines()
        return [shlex.split(line)[1:] for line in lines if line.startswith("isoclinic ")]

    @property
    def row_names(self) -> list[str]:
        """First cells of the rows of an excerpt from a table."""
        cells = [line.split("│")[1].strip() for line in self.text.splitlines() if line.startswith("│")]
        return [cell for cell in cells if cell]


class Link(NamedTuple):
    """A link to a file here; of either part, one may be empty."""

    target: str
    heading: str


def blocks(page: Path) -> Iterator[Block]:
    for found in _BLOCK.finditer(page.read_text(encoding="utf-8")):
        yield Block(found["name"] or "", found["language"], found["text"])


def links(page: Path) -> Iterator[Link]:
    for found in _LINK.finditer(page.read_text(encoding="utf-8")):
        yield Link(found["target"], found["heading"] or "")


def anchors(page: Path) -> set[str]:
    """What a page's headings are called in links, as GitHub does it."""
    headings = re.findall(r"^#+ (.*)$", page.read_text(encoding="utf-8"), re.MULTILINE)
    return {re.sub(r"[^\w -]", "", heading.lower()).replace(" ", "-") for heading in headings}
