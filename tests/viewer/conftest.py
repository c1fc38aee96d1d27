"""The report in a headless Chromium."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from chromium import browser
from isoclinic.viewer import write_report

from .opened_report import OpenedReport
from .report_cases import report

__all__ = ["browser"]


@pytest.fixture(scope="package")
def report_path(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("report") / "report.html"
    write_report(path, report())
    return path


@pytest.fixture
def opened(browser, report_path) -> Iterator[OpenedReport]:
    opened = OpenedReport(browser, report_path)
    yield opened
    assert opened.complaints == []
    assert all(url.startswith(("file:", "data:")) for url in opened.requests)
    opened.context.close()
