"""What the site needs besides its pages: the executed tutorial, links into the repository, commands' help."""

from __future__ import annotations

import io
import re
from contextlib import redirect_stdout, suppress
from pathlib import Path, PurePosixPath
from typing import Any

import jupytext
import nbformat
from mkdocs.structure.files import File
from nbclient import NotebookClient
from nbconvert import MarkdownExporter

_DOCS = "docs"
_COMMANDS = "<!-- commands -->"
_LINK = re.compile(r"(\]\()(?P<target>[^)#:\s]+)(?P<rest>[^)]*\))")


_TUTORIAL = "tutorial/first_registration"


def on_files(files: Any, config: Any, **_: Any) -> Any:
    """Run the tutorial's script as a notebook, and add the page, its pictures and the notebook itself.

    Raises:
        CellExecutionError: a cell failed.
    """
    notebook = jupytext.read(Path(config.docs_dir, f"{_TUTORIAL}.py"))
    NotebookClient(notebook, timeout=600, kernel_name="python3").execute()
    text, resources = MarkdownExporter().from_notebook_node(notebook)
    made = {f"{_TUTORIAL}.md": text, f"{_TUTORIAL}.ipynb": nbformat.writes(notebook)}
    made |= {f"{_TUTORIAL.rpartition('/')[0]}/{name}": data for name, data in resources["outputs"].items()}
    for schema in sorted(Path(config.config_file_path).parent.glob("src/isoclinic/schemas/*.json")):
        made[f"schemas/{schema.name}"] = schema.read_text(encoding="utf-8")
    for name, content in made.items():
        files.append(File.generated(config, name, content=content))
    return files


def on_page_markdown(markdown: str, page: Any, config: Any, **_: Any) -> str:
    """Point links to files outside the site at the repository, and fill in the command line's help."""
    here = PurePosixPath(_DOCS, page.file.src_uri).parent
    root = Path(config.config_file_path).parent

    def outside(found: re.Match[str]) -> str:
        path = _normal(here / found["target"])
        if path == PurePosixPath(_DOCS, f"{_TUTORIAL}.py") and page.file.src_uri != f"{_TUTORIAL}.md":
            return f"{found[1]}{found['target'].removesuffix('.py')}.md{found['rest']}"
        if path.parent == PurePosixPath("src/isoclinic/schemas"):
            up = "../" * (len(here.parts) - 1)
            return f"{found[1]}{up}schemas/{path.name}{found['rest']}"
        on_site = path.is_relative_to(_DOCS) and path.suffix != ".py"
        if on_site or path == PurePosixPath(_DOCS, page.file.src_uri) or not (root / path).exists():
            return found[0]
        return f"{found[1]}{config.repo_url.rstrip('/')}/blob/main/{path}{found['rest']}"

    markdown = _LINK.sub(outside, markdown)
    return markdown.replace(_COMMANDS, _command_line()) if _COMMANDS in markdown else markdown


def _normal(path: PurePosixPath) -> PurePosixPath:
    """The path without `..`."""
    parts: list[str] = []
    for part in path.parts:
        parts = parts[:-1] if part == ".." else [*parts, part]
    return PurePosixPath(*parts)


def _command_line() -> str:
    """`--help` of every command, as it is printed, 100 columns wide."""
    from isoclinic.cli import _COMMANDS as commands
    from isoclinic.cli import main

    sections = []
    for name, purpose in commands.items():
        printed = io.StringIO()
        with redirect_stdout(printed), suppress(SystemExit):
            main([name, "--help"])
        text = "\n".join(line.rstrip() for line in printed.getvalue().splitlines())
        sections.append(f"## {name}\n\n{purpose[:1].upper()}{purpose[1:]}.\n\n```text\n{text}\n```\n")
    return "\n".join(sections)
