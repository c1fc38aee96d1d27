"""The map of the code in CONTRIBUTING: complete, and in the order in which parts build on each other."""

from __future__ import annotations

import ast
import re
from collections.abc import Iterator
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
SOURCE = ROOT / "src" / "isoclinic"
PAGE = (ROOT / "CONTRIBUTING.md").read_text(encoding="utf-8")
LISTED = re.findall(
    r"^\| `([a-z]+)` \|", PAGE[PAGE.index("this list:") : PAGE.index("`tests/`")], re.MULTILINE
)


def imported(module: Path) -> Iterator[str]:
    """Packages of ours that a module imports from, except its own."""
    for node in ast.walk(ast.parse(module.read_text(encoding="utf-8"))):
        if isinstance(node, ast.ImportFrom) and node.module is not None:
            depth = len(module.relative_to(SOURCE).parents) - 1
            if node.level == depth + 1 or node.module.startswith("isoclinic."):
                yield node.module.removeprefix("isoclinic.").partition(".")[0]


def test_it_lists_every_package():
    assert sorted(LISTED) == sorted(path.parent.name for path in SOURCE.glob("*/__init__.py"))


@pytest.mark.parametrize("package", LISTED)
def test_packages_import_earlier_ones_only(package):
    modules = sorted((SOURCE / package).rglob("*.py"))
    later = {(module.name, name) for module in modules for name in imported(module) if name in LISTED}
    later = {(module, name) for module, name in later if LISTED.index(name) > LISTED.index(package)}
    assert not later
