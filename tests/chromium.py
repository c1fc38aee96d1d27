"""A headless Chromium for tests of pages; `conftest.py` of a package that needs it imports the fixture."""

from __future__ import annotations

import base64
import shutil
from collections.abc import Iterator
from contextlib import ExitStack
from typing import TYPE_CHECKING, Any

import numpy as np
import pytest
from numpy.typing import NDArray

if TYPE_CHECKING:
    from playwright.sync_api import Locator

_NAMES = ("chromium", "chromium-browser", "google-chrome", "google-chrome-stable", "chrome")
_ARGUMENTS = [
    "--headless",
    "--no-sandbox",
    "--disable-gpu",
    "--disable-quic",
    "--no-first-run",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-sync",
]


# Read from a copy: Chromium complains of reading a canvas often that was not made for it.
_CANVAS = """canvas => {
  const { width, height } = canvas;
  const copy = new OffscreenCanvas(width, height).getContext("2d");
  copy.drawImage(canvas, 0, 0);
  const bytes = copy.getImageData(0, 0, width, height).data;
  return [height, width, btoa(bytes.reduce((text, byte) => text + String.fromCharCode(byte), ""))];
}"""
# Playwright runs once in a process, and two packages may need the browser at the same time.
_running: list[tuple[ExitStack, Any]] = []
_users: list[object] = []


@pytest.fixture(scope="package")
def browser() -> Iterator:
    playwright = pytest.importorskip("playwright.sync_api", reason="needs playwright: pip install playwright")
    executable = next(filter(None, map(shutil.which, _NAMES)), None)
    if executable is None:
        pytest.skip(f"needs a Chromium on the PATH: {', '.join(_NAMES)}")
    if not _running:
        with ExitStack() as stack:
            driver = stack.enter_context(playwright.sync_playwright())
            browser = driver.chromium.launch(executable_path=executable, args=_ARGUMENTS)
            stack.callback(browser.close)
            _running.append((stack.pop_all(), browser))
    user = object()
    _users.append(user)
    yield _running[0][1]
    _users.remove(user)
    if not _users:
        _running.pop()[0].close()


def canvas_rgba(canvas: Locator) -> NDArray[np.float64]:
    """The pixels [H, W, 4] of a canvas, 0 to 255."""
    height, width, data = canvas.evaluate(_CANVAS)
    return np.frombuffer(base64.b64decode(data), np.uint8).astype(float).reshape(height, width, 4)
