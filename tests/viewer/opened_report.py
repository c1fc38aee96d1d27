"""The report in a browser: what a test does to it and reads from it."""

from __future__ import annotations

import time
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from chromium import canvas_rgba

if TYPE_CHECKING:
    from playwright.sync_api import Browser, Locator

# The canvas holds what the page's 8-bit pictures blend to, rounded once.
TONE = 1.01


class OpenedReport:
    """A page that was opened, and all that it complained of or asked for."""

    def __init__(self, browser: Browser, path: Path, *, frozen: bool = False, **options):
        self.context = browser.new_context(viewport={"width": 1280, "height": 900}, **options)
        self.page = self.context.new_page()
        self.complaints: list[str] = []
        self.requests: list[str] = []
        self.page.on("console", lambda message: self.complaints.append(message.text))
        self.page.on("pageerror", lambda error: self.complaints.append(str(error)))
        self.page.on("request", lambda request: self.requests.append(request.url))
        if frozen:
            self.page.clock.install(time=0)
        self.page.goto(path.as_uri())
        if options.get("java_script_enabled", True):
            self.page.wait_for_selector("html.ready")
        if frozen:
            self.page.clock.pause_at(60_000)
        self.view = self.page.locator(".view").first

    def control(self, name: str, value: str = "") -> Locator:
        return self.view.locator(f'input[name="{name}"]' + (f'[value="{value}"]' if value else ""))

    def choose(self, name: str, value: str) -> None:
        self.view.locator("label", has=self.page.locator(f'[name="{name}"][value="{value}"]')).click()

    def slide(self, name: str, value: float) -> None:
        self.control(name).fill(str(value))

    def bare(self) -> None:
        """Nothing drawn over the picture: edges of the result, landmarks and outlines off."""
        for key in "elc":
            self.page.keyboard.press(key)

    def canvas(self) -> NDArray[np.float64]:
        rgba = canvas_rgba(self.view.locator("canvas"))
        assert (rgba[..., 3] == 255).all()
        return rgba[..., :3]

    def shows(self, expected: NDArray[np.floating], atol: float = TONE) -> None:
        """The canvas holds grey tones [H, W] or colours [H, W, 3]."""
        rgb = expected if expected.ndim == 3 else expected[..., None].repeat(3, axis=-1)
        np.testing.assert_allclose(self.canvas(), rgb, atol=atol)

    def box(self, selector: str) -> tuple[float, float, float, float]:
        """Left, top, width and height on the screen."""
        return tuple(
            self.view.locator(selector).first.bounding_box()[key] for key in ("x", "y", "width", "height")
        )

    def on_screen(self, u: float, v: float) -> tuple[float, float]:
        """Where a pixel's centre of the AP view, 128 x 96, has to be on the screen."""
        left, top, width, height = self.box("canvas")
        return left + (u + 0.5) / 128 * width, top + (v + 0.5) / 96 * height

    def off_screen(self, x: float, y: float) -> tuple[float, float]:
        """The inverse of `on_screen`."""
        left, top, width, height = self.box("canvas")
        return (x - left) / width * 128 - 0.5, (y - top) / height * 96 - 0.5

    def centre(self, selector: str) -> tuple[float, float]:
        left, top, width, height = self.box(selector)
        return left + width / 2, top + height / 2


def until(condition: Callable[[], bool], seconds: float = 10) -> None:
    """Wait for what the browser does in its own time."""
    end = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < end
        time.sleep(0.01)
