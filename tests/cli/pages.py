"""The documentation as a user follows it: commands to run and files to write, from top to bottom."""

from __future__ import annotations

import re
import shlex
from collections.abc import Iterator
from pathlib import Path
from typing import NamedTuple

ROOT = Path(__file__).parents[2]
PAGES = (ROOT / "README.md", *sorted((ROOT / "docs").rglob("*.md")))
# Pages whose commands take too long to run.
OTHER_PAGES = (
    ROOT / "benchmarks" / "README.md",
    ROOT / "src" / "isoclinic" / "models" / "any-patient.md",
    ROOT / "CHANGELOG.md",
)

# A fenced block, and the line before it if that begins with the name of the file that the block shows; or a
# command within a sentence, with options.
_BLOCK = re.compile(
    r"^(?:`(?P<name>[\w.-]+)`[^\n]*:\n\n)?```(?P<language>\w*)\n(?P<text>.*?)^```$"
    r"|`(?P<inline>(?:isoclinic|python|make|pip)\s[^`]*)`",
    re.MULTILINE | re.DOTALL,
)
_LINK = re.compile(r"\]\((?P<target>[^)#:]*)(?:#(?P<heading>[^)]*))?\)")


# Languages of blocks to type, and of commands within a sentence.
SHELL, INLINE = "", "inline"


class Block(NamedTuple):
    """A fenced block or a command within a sentence; `name` is empty unless it shows a file."""

    name: str
    language: str
    text: str

    @property
    def lines(self) -> list[list[str]]:
        """Words of its lines, continued ones joined, comments left out; of a block to type only."""
        if self.language not in (SHELL, INLINE):
            return []
        lines = self.text.replace("\\\n", " ").splitlines()
        return [words for line in lines if (words := shlex.split(line, comments=True))]

    @property
    def commands(self) -> list[list[str]]:
        """Arguments of its isoclinic commands; without options, one within a sentence is only its name."""
        commands = [words[1:] for words in self.lines if words[0] == "isoclinic"]
        return [words for words in commands if self.language == SHELL or any("--" in word for word in words)]

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
        if found["inline"]:
            yield Block("", INLINE, " ".join(found["inline"].split()))
        else:
            yield Block(found["name"] or "", found["language"], found["text"])


def prose(page: Path) -> str:
    """What is left of a page without its blocks."""
    return _BLOCK.sub("", page.read_text(encoding="utf-8"))


def links(page: Path) -> Iterator[Link]:
    for found in _LINK.finditer(page.read_text(encoding="utf-8")):
        yield Link(found["target"], found["heading"] or "")


def anchors(page: Path) -> set[str]:
    """What a page's headings are called in links, as GitHub does it."""
    headings = re.findall(r"^#+ (.*)$", page.read_text(encoding="utf-8"), re.MULTILINE)
    return {re.sub(r"[^\w -]", "", heading.lower()).replace(" ", "-") for heading in headings}
