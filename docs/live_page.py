"""The picture of docs/how-to/live-page.md: one of the demo's X-rays, registered on the page.

Run `python docs/live_page.py` and look at docs/images/live-page.png before committing it. It needs what
`make demo` needs, the packages of isoclinic[view], playwright, and a Chromium on the PATH.
"""

from __future__ import annotations

import shutil
import threading
from pathlib import Path

from _demo_case import demo_case
from playwright.sync_api import sync_playwright

from isoclinic.live import LivePage, LivePlan

_PICTURE = Path(__file__).parent / "images" / "live-page.png"
_SIZE_PX = (1200, 860)


def main() -> None:
    """Make the workspace in a temporary folder, and the picture."""
    with demo_case():
        plan = LivePlan(output=Path("isoclinic-view"), volume=Path("ct.nii.gz"), xrays=[Path("xray.png")])
        with LivePage(plan) as page:
            serving = threading.Thread(target=page.run)
            serving.start()
            try:
                photograph(page.address, _PICTURE)
            finally:
                page.stop()
                serving.join()


def photograph(address: str, picture: Path) -> None:
    """The page after a registration from its first start."""
    with sync_playwright() as driver:
        browser = driver.chromium.launch(executable_path=shutil.which("chromium"), args=["--no-sandbox"])
        width, height = _SIZE_PX
        opened = browser.new_page(viewport={"width": width, "height": height})
        opened.goto(address)
        opened.wait_for_selector("html.ready")
        opened.get_by_role("button", name="Register from this pose").click()
        opened.locator("#result .verdict").wait_for(timeout=120_000)
        opened.wait_for_timeout(3000)  # until the rendering is sharp
        opened.screenshot(path=picture)
        browser.close()


if __name__ == "__main__":
    main()
