"""The README is short enough to be read, and works on the page of a package index."""

from __future__ import annotations

import re
import tomllib
from pathlib import Path

ROOT = Path(__file__).parents[2]
README = (ROOT / "README.md").read_text(encoding="utf-8")


def test_the_interface_fits_into_thirty_lines():
    """tests/cli/test_documentation.py runs it."""
    (example,) = re.findall(r"^```python\n(.*?)^```", README, re.MULTILINE | re.DOTALL)
    assert len(example.splitlines()) <= 30


def test_links_become_absolute_on_an_index_page():
    project = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))
    readme = project["tool"]["hatch"]["metadata"]["hooks"]["fancy-pypi-readme"]
    text = README
    for each in readme["substitutions"]:
        text = re.sub(each["pattern"], each["replacement"], text)
    targets = re.findall(r"\]\(([^)]*)\)", text)
    assert len(targets) == len(re.findall(r"\]\(", README)) > 20
    assert [target for target in targets if not target.startswith("https://")] == []
    # Each leads to a file that is there.
    repository = "https://github.com/isoclinic/isoclinic/blob/main/"
    raw = "https://raw.githubusercontent.com/isoclinic/isoclinic/main/"
    ours = [target.removeprefix(repository).removeprefix(raw).partition("#")[0] for target in targets]
    assert all((ROOT / path).exists() for path in ours if not path.startswith("https://"))
    assert "--8<--" not in text


def test_the_site_shows_the_same_numbers():
    """They are in one place, which the site's first page includes."""
    assert (
        README.count("<!-- --8<-- [start:numbers] -->") == README.count("<!-- --8<-- [end:numbers] -->") == 1
    )
    assert '--8<-- "README.md:numbers"' in (ROOT / "docs" / "index.md").read_text(encoding="utf-8")
