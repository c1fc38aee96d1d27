"""The page as a whole in headless Chromium: nothing loaded, the status in sight, readable everywhere."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from isoclinic.solver import Status
from isoclinic.viewer import write_report

from .opened_report import OpenedReport
from .report_cases import report

pytestmark = pytest.mark.slow  # each starts or drives a browser


def test_it_loads_nothing_but_itself(opened: OpenedReport, report_path: Path):
    assert opened.requests[0] == report_path.as_uri()
    assert all(url.startswith("data:") for url in opened.requests[1:])


def test_a_script_from_elsewhere_would_not_run(browser, report_path: Path, tmp_path: Path):
    """The page's own policy stops scripts and requests that someone smuggles in."""
    spoilt = tmp_path / "spoilt.html"
    smuggled = '<script>document.title = "taken"</script><img src="http://127.0.0.1:9/x.png"></main>'
    spoilt.write_text(report_path.read_text().replace("</main>", smuggled))
    opened = OpenedReport(browser, spoilt)
    assert "A pelvis" in opened.page.title()
    assert any("script" in each for each in opened.complaints)
    assert any("img-src" in each for each in opened.complaints)
    opened.context.close()


@pytest.mark.parametrize("status", list(Status))
def test_the_status_stays_in_sight(browser, tmp_path: Path, status: Status):
    """A banner that scrolling does not remove; in doubt also a red frame and a ribbon on the picture."""
    path = tmp_path / "report.html"
    write_report(path, report(status=status))
    page = OpenedReport(browser, path).page
    assert page.evaluate("scrollTo(0, 5000), scrollY") > 100
    banner = page.locator(".status")
    assert banner.bounding_box()["y"] == pytest.approx(0, abs=0.5)
    red, green, blue = banner.evaluate("e => getComputedStyle(e).backgroundColor.match(/\\d+/g).map(Number)")
    stage = page.locator(".stage").first
    ribbon = stage.evaluate("e => getComputedStyle(e, '::after').content")
    frame = stage.evaluate("e => getComputedStyle(e).boxShadow")
    if status in (Status.DOUBTFUL, Status.DIVERGED):
        assert red > 3 * max(green, blue)
        assert ribbon == f'"{status}"' and frame.startswith(f"rgb({red}, {green}, {blue})")
        assert banner.locator("strong").evaluate("e => parseFloat(getComputedStyle(e).fontSize)") >= 20
    else:
        assert ribbon == "none" and frame == "none"
    page.context.close()


def test_without_javascript_the_pictures_are_there(browser, report_path: Path):
    opened = OpenedReport(browser, report_path, java_script_enabled=False)
    for view in opened.page.locator(".view").all():
        pictures = view.locator("figure img").all()
        assert len(pictures) == 4 and all(picture.is_visible() for picture in pictures)
        assert not view.locator(".controls").is_visible() and not view.locator("canvas").is_visible()
    assert opened.page.get_by_text("Research software, not a medical device.").first.is_visible()
    assert opened.complaints == []
    opened.context.close()


def test_on_paper_all_views_and_no_controls(opened: OpenedReport):
    opened.page.emulate_media(media="print")
    for view in opened.page.locator(".view").all():
        assert view.locator("canvas").is_visible() and view.locator("img.start").is_visible()
        assert not view.locator(".controls").is_visible()
    assert not opened.page.locator(".tabs").is_visible()


@pytest.mark.parametrize("width", [320, 768, 1280, 2560])
def test_it_fits_any_width(opened: OpenedReport, width: int):
    opened.page.set_viewport_size({"width": width, "height": 800})
    assert opened.page.evaluate("document.documentElement.scrollWidth") <= width
    left, _, across, down = opened.box("canvas")
    assert left >= 0 and left + across <= width
    assert across / down == pytest.approx(128 / 96, rel=0.01)


@pytest.mark.parametrize("size", [(400, 800), (800, 400)])
def test_on_a_phone_the_picture_stays_in_sight_beside_the_controls(opened: OpenedReport, size):
    """Upright and on its side, whichever control is used."""
    opened.page.set_viewport_size(dict(zip(("width", "height"), size, strict=True)))
    for name in ("opacity", "edges-result", "contours"):
        control = opened.control(name)
        control.evaluate("e => e.scrollIntoView({ block: 'center' })")
        left, top, width, height = opened.box("canvas")
        used = control.bounding_box()
        assert top >= 0 and top + height <= size[1] + 1, "the whole picture is in sight"
        assert used["y"] >= 0 and used["y"] + used["height"] <= size[1] + 1, "and so is the control"
        apart = used["y"] >= top + height - 1 or used["x"] >= left + width - 1
        assert apart, "the picture does not cover it"


@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_text_can_be_read_in_both_schemes(browser, report_path: Path, scheme: str):
    """WCAG 2.2, 1.4.3: a contrast of at least 4.5."""
    opened = OpenedReport(browser, report_path, color_scheme=scheme)
    ground = (
        "e => { while (e && getComputedStyle(e).backgroundColor === 'rgba(0, 0, 0, 0)') e = e.parentElement; "
    )
    for selector in (
        "h1",
        ".disclaimer",
        ".status strong",
        ".note li",
        ".caption",
        ".slider output",
        ".choice input:checked + span",
        ".hint",
        "small",
        "thead th >> nth=1",
        "td >> nth=0",
        "pre",
        ".card text >> nth=0",
        "footer",
    ):
        element = opened.page.locator(selector).first
        front = element.evaluate("e => getComputedStyle(e)[e instanceof SVGElement ? 'fill' : 'color']")
        back = element.evaluate(ground + "return getComputedStyle(e).backgroundColor; }")
        assert contrast(front, back) >= 4.5, selector
    opened.context.close()


def contrast(front: str, back: str) -> float:
    """Contrast ratio of two CSS colours rgb(r, g, b), as defined in WCAG 2.2."""

    def luminance(colour: str) -> float:
        channels = np.array([int(each) for each in colour[4:-1].split(",")]) / 255
        linear = np.where(channels <= 0.04045, channels / 12.92, ((channels + 0.055) / 1.055) ** 2.4)
        return float(linear @ (0.2126, 0.7152, 0.0722))

    dark, bright = sorted((luminance(front), luminance(back)))
    return (bright + 0.05) / (dark + 0.05)


def test_every_control_has_a_name(opened: OpenedReport):
    """What a screen reader says: from labels, of every control that can be reached."""
    opened.view.locator("summary").click()
    roles = {"range": "slider", "checkbox": "checkbox", "radio": "radio"}
    for control in opened.view.locator("input:visible").all():
        role = roles[control.get_attribute("type")]
        name = control.evaluate("e => e.closest('label').textContent.trim()")
        assert name and opened.view.get_by_role(role, name=name.split("\n")[0].strip()).count() >= 1
