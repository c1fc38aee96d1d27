"""Every link and picture of the built site leads somewhere within it, headings and downloads included.

    python docs/_site/check_links.py site

Links to other sites are not followed: a page that is down must not fail a build.
"""

from __future__ import annotations

import sys
from collections.abc import Iterator
from html.parser import HTMLParser
from pathlib import Path
from urllib.parse import unquote, urlsplit


class _Page(HTMLParser):
    """Targets of links and names of anchors of a page."""

    def __init__(self, text: str) -> None:
        super().__init__()
        self.targets: list[str] = []
        self.anchors: set[str] = set()
        self.feed(text)

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        for name, value in attrs:
            if value and name in ("href", "src") and tag in ("a", "img", "script", "link"):
                self.targets.append(value)
            if value and (name == "id" or (tag == "a" and name == "name")):
                self.anchors.add(value)


def main(site: Path) -> int:
    """Print broken links; 0 if there are none."""
    pages = {
        file: _Page(file.read_text(encoding="utf-8"))
        for file in site.rglob("*.html")
        if file.name != "404.html"
    }
    broken = [problem for file, page in sorted(pages.items()) for problem in _broken(site, file, page, pages)]
    for problem in broken:
        print(problem, file=sys.stderr)
    if not pages:
        print(f"{site} has no page", file=sys.stderr)
    return 1 if broken or not pages else 0


def _broken(site: Path, file: Path, page: _Page, pages: dict[Path, _Page]) -> Iterator[str]:
    for target in page.targets:
        parts = urlsplit(target)
        if parts.scheme or parts.netloc:
            continue
        path = unquote(parts.path)
        found = (
            file if not path else (site / path.lstrip("/") if path.startswith("/") else file.parent / path)
        )
        found = found.resolve()
        if found.is_dir():
            found /= "index.html"
        if not found.exists():
            yield f"{file.relative_to(site)}: {target}"
        elif parts.fragment and found.suffix == ".html":
            anchors = next((other.anchors for key, other in pages.items() if key.resolve() == found), set())
            if unquote(parts.fragment) not in anchors:
                yield f"{file.relative_to(site)}: {target}: no such heading"


if __name__ == "__main__":
    sys.exit(main(Path(sys.argv[1])))
