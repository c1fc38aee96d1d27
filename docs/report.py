"""The picture of report.html in the README: one of the demo's X-rays, registered as a user would.

Run `python docs/report.py` and look at docs/images/report.png before committing it. It needs what `make demo`
needs, playwright, and a Chromium on the PATH.
"""

from __future__ import annotations

import shutil
from pathlib import Path

from _demo_case import demo_case
from playwright.sync_api import sync_playwright

from isoclinic import cli

_PICTURE = Path(__file__).parent / "images" / "report.png"
_SIZE_PX = (900, 800)


def main() -> None:
    """Make the report in a temporary folder, and its picture."""
    with demo_case():
        cli.main(["register", "xray.png", "--volume", "ct.nii.gz", "--output", "result", "--init", "ap"])
        photograph(Path("result", "report.html"), _PICTURE)


def photograph(page: Path, picture: Path) -> None:
    """The upper end of a page as it opens."""
    with sync_playwright() as driver:
        browser = driver.chromium.launch(executable_path=shutil.which("chromium"), args=["--no-sandbox"])
        width, height = _SIZE_PX
        opened = browser.new_page(viewport={"width": width, "height": height})
        opened.goto(page.resolve().as_uri())
        opened.wait_for_selector("html.ready")
        opened.screenshot(path=picture)
        browser.close()


if __name__ == "__main__":
    main()
