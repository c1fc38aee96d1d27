"""A headless Chromium for tests of pages; `conftest.py` of a package that needs it imports the fixture."""

from __future__ import annotations

import shutil
from collections.abc import Iterator
from contextlib import ExitStack
from typing import Any

import pytest

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
