"""Every control of the page in headless Chromium: pixels of the canvas against the input arrays."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from numpy.typing import NDArray

from isoclinic.viewer import edge_overlay, write_report

from .opened_report import OpenedReport, until
from .report_cases import MASKED, ap_view, report, stored_images

pytestmark = pytest.mark.slow  # each starts or drives a browser

EDGE_RESULT, EDGE_START = (255, 140, 0), (86, 180, 233)
MASK, MASK_OPACITY = (214, 70, 180), 0.45
STORED = stored_images(ap_view())
ROWS, COLUMNS = np.indices(STORED["xray"].shape)


def blend(opacity: float, pose: str = "result") -> NDArray[np.float64]:
    return (1 - opacity) * STORED["xray"] + opacity * STORED[pose]


def outlined(pose: str) -> NDArray[np.bool_]:
    view = ap_view()
    low, high = np.percentile(getattr(view, pose), (1, 99))
    tones = np.clip((getattr(view, pose) - low) / (high - low), 0, 1)
    return edge_overlay(np.zeros_like(tones), tones, view.weight > 0).any(axis=-1)


@pytest.mark.parametrize("opacity", [0, 30, 100])
def test_opacity(opened: OpenedReport, opacity: int):
    opened.bare()
    opened.slide("opacity", opacity)
    opened.shows(blend(opacity / 100))
    assert opened.view.locator('.slider[data-mode="blend"] output').text_content() == f"{opacity}%"


def test_it_opens_half_blended_with_the_edges_of_the_result(opened: OpenedReport):
    expected = blend(0.5)[..., None].repeat(3, axis=-1)
    expected[outlined("result")] = EDGE_RESULT
    opened.shows(expected)


@pytest.mark.parametrize("tile", [None, 4, 17, 48])
def test_checkerboard(opened: OpenedReport, tile: int | None):
    """Eight tiles along the shorter side until the slider is moved; the X-ray's at the top left."""
    opened.bare()
    opened.choose("mode", "checkerboard")
    if tile is not None:
        opened.slide("tile", tile)
    side = tile or 12
    opened.shows(np.where((ROWS // side + COLUMNS // side) % 2 == 0, STORED["xray"], STORED["result"]))


@pytest.mark.parametrize("position", [0, 25, 100])
def test_swipe(opened: OpenedReport, position: int):
    opened.bare()
    opened.choose("mode", "swipe")
    opened.slide("position", position)
    opened.shows(np.where(128 * position / 100 > COLUMNS, STORED["xray"], STORED["result"]))


def test_flicker(browser, report_path: Path):
    """At a rate of r changes a second, the picture changes every 1/r s; in another mode it stands still."""
    opened = OpenedReport(browser, report_path, frozen=True)
    opened.bare()
    opened.choose("mode", "flicker")
    frames = [STORED["xray"], STORED["result"]]
    for rate in (2, 5):
        opened.slide("rate", rate)
        for frame in (0, 1, 0):
            opened.page.clock.run_for(1000 / rate - 10)
            opened.shows(frames[frame])
            opened.page.clock.run_for(10)
            opened.shows(frames[1 - frame])
    opened.choose("mode", "blend")
    opened.page.clock.run_for(3000)
    opened.shows(blend(0.5))
    assert opened.complaints == []
    opened.context.close()


def test_start_and_result(opened: OpenedReport):
    opened.bare()
    opened.choose("pose", "start")
    opened.shows(blend(0.5, "start"))
    assert "X-ray and CT at the start" in opened.view.locator(".caption").text_content()
    opened.choose("pose", "result")
    opened.shows(blend(0.5))
    assert "X-ray and CT at the result" in opened.view.locator(".caption").text_content()


def test_edges(opened: OpenedReport):
    """Both are drawn on the X-ray, the result's on top of the start's."""
    opened.bare()
    opened.slide("opacity", 0)
    expected = blend(0)[..., None].repeat(3, axis=-1)
    opened.control("edges-start").check()
    expected[outlined("start")] = EDGE_START
    opened.shows(expected)
    opened.control("edges-result").check()
    expected[outlined("result")] = EDGE_RESULT
    opened.shows(expected)
    opened.control("edges-start").uncheck()
    opened.control("edges-result").uncheck()
    opened.shows(blend(0))


def test_pixels_that_do_not_count(opened: OpenedReport):
    """A second blend rounds a second time: within two tones."""
    opened.bare()
    opened.control("mask").check()
    expected = blend(0.5)[..., None].repeat(3, axis=-1)
    expected[MASKED] = (1 - MASK_OPACITY) * expected[MASKED] + MASK_OPACITY * np.array(MASK)
    opened.shows(expected, atol=2.01)


@pytest.mark.parametrize(("image", "shown", "opacity"), [("xray", "xray", 0), ("ct", "result", 100)])
def test_contrast(opened: OpenedReport, image: str, shown: str, opacity: int):
    """Of the stored tones in percent, level - window/2 becomes black and level + window/2 white."""
    opened.bare()
    opened.slide("opacity", opacity)
    opened.view.locator("summary").click()
    for level, window in ((50, 40), (20, 100), (80, 200), (50, 2)):
        opened.slide(f"{image}-level", level)
        opened.slide(f"{image}-window", window)
        percent = STORED[shown] / 2.55
        opened.shows(255 * np.clip((percent - level + window / 2) / window, 0, 1))
    opened.slide("opacity", 100 - opacity)
    opened.shows(blend(1 - opacity / 100))


def test_landmarks_and_outlines(opened: OpenedReport):
    """Marks lie on their pixels' centres, those of the pose that is chosen."""
    cross, ring, name = (f".landmarks.{kind}" for kind in ("result .glyph", "given .glyph", "result text"))
    for u, v, glyph in ((50, 30, cross), (53, 34, ring)):
        assert opened.centre(glyph) == pytest.approx(opened.on_screen(u, v), abs=0.5)
    left, top, width, height = opened.box(".contours.result path")
    assert (left, top) == pytest.approx(opened.on_screen(29.5, 19.5), abs=1.5)
    assert (left + width, top + height) == pytest.approx(opened.on_screen(79.5, 59.5), abs=1.5)
    visible = {each: opened.view.locator(each).first for each in (cross, ring, name, ".contours.result path")}
    assert [each.is_visible() for each in visible.values()] == [True, True, False, True]
    opened.control("names").check()
    assert visible[name].is_visible() and visible[name].text_content() == "left hip"
    opened.control("landmarks").uncheck()
    assert [each.is_visible() for each in visible.values()] == [False, False, False, True]
    opened.control("contours").uncheck()
    assert not any(each.is_visible() for each in visible.values())


def test_marks_follow_the_pose(opened: OpenedReport):
    opened.choose("pose", "start")
    assert opened.centre(".landmarks.start .glyph") == pytest.approx(opened.on_screen(40, 20), abs=0.5)
    left, top, *_ = opened.box(".contours.start path")
    assert (left, top) == pytest.approx(opened.on_screen(19.5, 9.5), abs=1.5)
    assert opened.view.locator(".landmarks.given .glyph").first.is_visible()
    assert opened.view.locator(".landmarks.start .residual").is_visible()
    for kind in ("landmarks", "contours"):
        assert not opened.view.locator(f".{kind}.result path").first.is_visible()


def test_zoom_and_pan(opened: OpenedReport):
    """The point under the cursor stays; marks stay on their pixels and keep their size."""
    ring = ".landmarks.given .glyph"
    _, _, width, height = opened.box("canvas")
    *_, size, _ = opened.box(ring)
    x, y = map(round, opened.on_screen(80, 40))  # the wheel's position is whole
    u, v = opened.off_screen(x, y)
    opened.page.mouse.move(x, y)
    opened.page.mouse.wheel(0, 100)
    until(lambda: opened.page.evaluate("scrollY") == 100)  # the wheel belongs to the page
    opened.page.mouse.wheel(0, -100)
    until(lambda: opened.page.evaluate("scrollY") == 0)
    assert opened.box("canvas")[2:] == (width, height)

    opened.page.mouse.click(x, y)
    opened.page.mouse.wheel(0, -400)
    opened.view.locator(".stage.zoomed").wait_for()
    assert opened.box("canvas")[2:] == pytest.approx((np.e * width, np.e * height), rel=1e-3)
    assert opened.on_screen(u, v) == pytest.approx((x, y), abs=0.5)
    assert opened.centre(ring) == pytest.approx(opened.on_screen(53, 34), abs=0.5)
    assert opened.box(ring)[2] == pytest.approx(size, abs=0.5)

    opened.page.mouse.down()
    opened.page.mouse.move(x + 30, y + 20)
    opened.page.mouse.up()
    opened.page.mouse.move(x, y)
    assert opened.on_screen(u, v) == pytest.approx((x + 30, y + 20), abs=0.5)

    opened.page.mouse.move(x, y)
    opened.page.mouse.down()
    opened.page.mouse.move(x + 5000, y + 5000)
    opened.page.mouse.up()
    assert opened.box("canvas")[:2] == pytest.approx(
        opened.box(".stage")[:2], abs=0.5
    )  # not beyond its border

    opened.page.mouse.dblclick(x, y)
    assert opened.box("canvas") == pytest.approx(opened.box(".stage"), abs=0.5)


def test_zoom_buttons(opened: OpenedReport):
    """About the centre, and never smaller than the frame."""
    width = opened.box("canvas")[2]
    centre = opened.centre("canvas")
    opened.view.get_by_role("button", name="Zoom in").click()
    assert opened.box("canvas")[2] == pytest.approx(1.5 * width, rel=1e-3)
    assert opened.centre("canvas") == pytest.approx(centre, abs=0.5)
    for _ in range(2):
        opened.view.get_by_role("button", name="Zoom out").click()
    assert opened.box("canvas") == pytest.approx(opened.box(".stage"), abs=0.5)


def test_panning_by_keys(opened: OpenedReport):
    """A tenth of the frame a key, on the picture only and where there is something outside the frame."""
    stage, press = opened.view.locator(".stage"), opened.page.keyboard.press
    stage.focus()  # which brings it into sight
    left, top, width, height = opened.box(".stage")
    press("ArrowRight")
    assert opened.control("opacity").input_value() == "55"  # not magnified: the slider moves
    for _ in range(2):
        press("+")
    x, y, *_ = opened.box("canvas")
    press("ArrowRight")
    press("ArrowDown")
    assert opened.box("canvas")[:2] == pytest.approx((x - 0.1 * width, y - 0.1 * height), abs=0.5)
    for _ in range(20):
        press("ArrowLeft")
        press("ArrowUp")
    assert opened.box("canvas")[:2] == pytest.approx((left, top), abs=0.5)
    assert opened.box(".stage")[:2] == (left, top)  # the page did not scroll
    assert opened.control("opacity").input_value() == "55"


def test_reset(opened: OpenedReport):
    before = opened.canvas()
    opened.bare()
    opened.choose("mode", "checkerboard")
    opened.choose("pose", "start")
    opened.slide("tile", 40)
    opened.view.locator("summary").click()
    opened.slide("xray-window", 20)
    opened.view.get_by_role("button", name="Zoom in").click()
    assert np.abs(opened.canvas() - before).max() > 10
    opened.view.get_by_role("button", name="Reset").click()
    until(lambda: opened.view.locator(".zoomed").count() == 0)
    np.testing.assert_array_equal(opened.canvas(), before)
    assert opened.control("opacity").is_visible() and not opened.control("tile").is_visible()


def test_keys(opened: OpenedReport):
    """Every key does what its control does; with Ctrl or Alt it is the browser's."""
    press = opened.page.keyboard.press
    for key, mode in zip("2341", ("checkerboard", "swipe", "flicker", "blend"), strict=True):
        press(key)
        assert opened.control("mode", mode).is_checked()
        sliders = opened.view.locator(".slider[data-mode]:visible")
        assert [each.get_attribute("data-mode") for each in sliders.all()] == [mode]
    for key, pose in (("s", "start"), ("r", "result")):
        press(key)
        assert opened.control("pose", pose).is_checked()
    switches = {
        "e": "edges-result",
        "b": "edges-start",
        "m": "mask",
        "l": "landmarks",
        "n": "names",
        "c": "contours",
    }
    for key, name in switches.items():
        for _ in range(2):
            before = opened.control(name).is_checked()
            press(key)
            assert opened.control(name).is_checked() != before
    press("Alt+e")
    assert opened.control("edges-result").is_checked()
    press("ArrowRight")
    assert opened.control("opacity").input_value() == "55"
    press("ArrowLeft")
    press("ArrowLeft")
    assert opened.control("opacity").input_value() == "45"
    width = opened.box("canvas")[2]
    press("+")
    assert opened.box("canvas")[2] > width
    press("-")
    assert opened.box("canvas")[2] == pytest.approx(width)
    press("0")
    until(lambda: opened.control("opacity").input_value() == "50")


def test_views(opened: OpenedReport):
    """One at a time, with settings of its own; what a view has not got has no control."""
    first, second = opened.page.locator(".view").all()
    assert first.is_visible() and not second.is_visible()
    opened.page.locator(".tabs label", has_text="Lateral").click()
    assert second.is_visible() and not first.is_visible()
    assert second.locator("canvas").evaluate("canvas => [canvas.width, canvas.height]") == [80, 112]
    names = [each.get_attribute("name") for each in second.locator("input[type=checkbox]:visible").all()]
    assert names == ["edges-result", "edges-start"]
    opened.page.keyboard.press("m")
    assert not second.locator("[name=mask]").is_checked()
    opened.page.keyboard.press("2")
    assert second.locator("[value=checkerboard]").is_checked()
    opened.page.keyboard.press("v")
    assert first.is_visible() and first.locator("[value=blend]").is_checked()


def test_sides_of_the_patient_are_at_the_borders_whatever_the_zoom(opened: OpenedReport):
    def seen() -> dict[str, str]:
        """Letters that are visible, by the border of the picture that they are at."""
        left, top, width, height = opened.box(".stage")
        found = {}
        for mark in opened.view.locator(".stage .sides span:visible").all():
            box = mark.bounding_box()
            x = (box["x"] + box["width"] / 2 - left) / width
            y = (box["y"] + box["height"] / 2 - top) / height
            (border,) = (
                border
                for border, at in {"left": x, "right": 1 - x, "top": y, "bottom": 1 - y}.items()
                if at < 0.1
            )
            # In the middle of that border.
            assert abs((y if border in ("left", "right") else x) - 0.5) < 0.02
            found[border] = mark.text_content()
        return found

    at_result = {"left": "R", "right": "L", "top": "H", "bottom": "F"}
    assert seen() == at_result
    opened.choose("pose", "start")
    assert seen() == {"left": "F", "right": "H", "top": "R", "bottom": "L"}
    opened.choose("pose", "result")
    for _ in range(3):
        opened.view.locator('[name="zoom-in"]').click()
    assert seen() == at_result


def test_sides_of_the_patient_on_paper_and_without_the_script(browser, report_path: Path):
    opened = OpenedReport(browser, report_path, java_script_enabled=False)
    figures = opened.view.locator(".sources figure").all()
    letters = [
        [mark.text_content() for mark in each.locator(".sides span:visible").all()] for each in figures
    ]
    result, start = ["R", "L", "H", "F"], ["F", "H", "R", "L"]
    assert letters == [result, start, result]
    for figure in figures:
        picture, lowest = (figure.locator(each).first.bounding_box() for each in ("img", ".sides .bottom"))
        gap = picture["y"] + picture["height"] - lowest["y"] - lowest["height"]
        assert 0 <= gap < 15, "at the picture's lower border, above the words below it"
    opened.context.close()


def test_structures_are_switched_one_by_one(browser, tmp_path: Path):
    """Twelve bones have twelve colours and names; switching one off leaves the others."""
    square = [np.array([[10.0, 10.0], [30.0, 10.0], [30.0, 30.0], [10.0, 10.0]])]
    bones = {f"rib {number}": square for number in range(12)}
    path = tmp_path / "report.html"
    write_report(path, report(views=[replace(ap_view(), contours=bones, start_contours=bones)]))
    opened = OpenedReport(browser, path)
    colours = opened.view.locator(".contours.result path").evaluate_all(
        "all => all.map(e => e.getAttribute('stroke'))"
    )
    assert len(set(colours)) == 12
    opened.view.get_by_role("checkbox", name="rib 3", exact=True).click()
    shown = opened.view.locator(".contours.result path").evaluate_all(
        "all => all.map(e => getComputedStyle(e).display !== 'none')"
    )
    assert shown == [number != 3 for number in range(12)]
    opened.page.keyboard.press("c")
    assert not opened.view.locator(".contours.result path").first.is_visible()
    opened.context.close()
