"""What is laid over what, in headless Chromium: pixels of the canvas against what the server renders."""

from __future__ import annotations

import json
from collections.abc import Iterator

import numpy as np
import pytest
import torch
from numpy.typing import NDArray

from .conftest import Served, serving
from .opened_page import OpenedPage, until

pytestmark = pytest.mark.slow  # each starts or drives a browser

# The canvas holds what 8-bit pictures blend to, rounded once.
TONE = 1.01
EDGE, MASK, MASK_OPACITY = (255, 140, 0), (214, 70, 180), 115 / 255
ROWS, COLUMNS = np.indices((64, 64))


@pytest.fixture(scope="module")
def live(files, tmp_path_factory) -> Iterator[Served]:
    """The phantom with two X-rays; renderings have the size of the picture: nothing is interpolated."""
    folder = tmp_path_factory.mktemp("compare")
    matrix = [[0, 0, -1, 650], [0, 1, 0, 0], [1, 0, 0, 650], [0, 0, 0, 1]]
    (folder / "views.json").write_text(json.dumps({"view_from_first": [matrix]}))
    with serving(folder) as serve:
        sizes = ("--moving-px", 64, "--resting-px", 64)
        yield serve(
            files.ct, files.xray, files.xray, "--views", folder / "views.json", "--init", files.init, *sizes
        )


@pytest.fixture(scope="module")
def page(browser, live: Served) -> Iterator[OpenedPage]:
    page = OpenedPage(browser, live)
    yield page
    page.close()


@pytest.fixture
def opened(page: OpenedPage) -> Iterator[OpenedPage]:
    page.again().page.uncheck('[name="edges"]')
    yield page
    page.checked()


def planes(live: Served, **more) -> tuple[NDArray[np.float64], ...]:
    """The X-ray, the CT and its edges, as the server sends them."""
    asked = {"view": 0, "pose": live.state["pose"], "pixels": 64, "browser": "test", "number": 1, **more}
    contents = live.ask("xray/0").content, live.ask("frame", asked).content
    return tuple(np.frombuffer(b"".join(contents), np.uint8).astype(float).reshape(3, 64, 64))


def shows(opened: OpenedPage, expected: NDArray[np.floating], atol: float = TONE) -> None:
    rgb = expected if expected.ndim == 3 else expected[..., None].repeat(3, axis=-1)
    np.testing.assert_allclose(opened.canvas(), rgb, atol=atol)


def test_blend(opened: OpenedPage, live: Served):
    xray, ct, _ = planes(live)
    for opacity in (0, 50, 100):
        opened.page.fill('[name="opacity"]', str(opacity))
        shows(opened, (1 - opacity / 100) * xray + opacity / 100 * ct)
    assert opened.page.locator('.slider[data-mode="blend"] output').text_content() == "100%"


def test_tiles_swipe_and_edges(opened: OpenedPage, live: Served):
    xray, ct, edges = planes(live)
    opened.choose("#compare", "mode", "tiles")
    for tiles in (8, 16):
        opened.page.fill('[name="tiles"]', str(tiles))
        side = 64 // tiles
        shows(opened, np.where((ROWS // side + COLUMNS // side) % 2 == 0, xray, ct))
    opened.choose("#compare", "mode", "swipe")
    for position in (0, 25, 100):
        opened.page.fill('[name="position"]', str(position))
        shows(opened, np.where(64 * position / 100 > COLUMNS, xray, ct))
    opened.choose("#compare", "mode", "edges")
    expected = xray[..., None].repeat(3, axis=-1)
    expected[edges > 0] = EDGE
    shows(opened, expected)


def test_flicker_changes_between_the_two(opened: OpenedPage, live: Served):
    xray, ct, _ = planes(live)
    opened.choose("#compare", "mode", "flicker")
    opened.page.fill('[name="rate"]', "5")
    for image in (ct, xray, ct):
        until(lambda image=image: bool(np.abs(opened.canvas()[..., 0] - image).max() <= TONE))
    opened.choose("#compare", "mode", "blend")
    shows(opened, (xray + ct) / 2)


def test_keys_choose_as_the_buttons_do(opened: OpenedPage):
    opened.stage().focus()
    for key, mode in zip("23451", ("tiles", "swipe", "flicker", "edges", "blend"), strict=True):
        opened.page.keyboard.press(key)
        assert opened.page.locator('#compare [name="mode"]:checked').input_value() == mode
        shown = opened.page.locator("#compare .slider:visible")
        assert shown.count() == (0 if mode == "edges" else 1)
    opened.page.keyboard.press("e")
    assert opened.page.is_checked('[name="edges"]')


def test_edges_on_top_bone_and_what_does_not_count(opened: OpenedPage, live: Served):
    xray, ct, edges = planes(live)
    opened.page.check('[name="edges"]')
    expected = ((xray + ct) / 2)[..., None].repeat(3, axis=-1)
    expected[edges > 0] = EDGE
    shows(opened, expected)
    opened.page.uncheck('[name="edges"]')
    opened.page.fill('[name="opacity"]', "100")
    opened.page.check('[name="bone"]')
    bone = planes(live, bone=True)[1]
    assert np.abs(bone - ct).mean() > 2
    until(lambda: bool(np.abs(opened.canvas()[..., 0] - bone).max() <= TONE))
    opened.page.fill('[name="opacity"]', "0")
    corner = {"kind": "polygon", "points": [[0, 0], [20, 0], [20, 20], [0, 20]]}
    live.change("shapes", xray=0, shapes=[corner])
    opened.page.check('[name="counts"]')
    counts = np.frombuffer(live.ask("counts/0").content, np.uint8).reshape(64, 64) > 0
    xray = planes(live)[0]
    expected = xray[..., None].repeat(3, axis=-1)
    expected[~counts] = (1 - MASK_OPACITY) * expected[~counts] + MASK_OPACITY * np.array(MASK)
    until(lambda: bool(np.abs(opened.canvas() - expected).max() <= 2.01))  # a second blend rounds again
    live.change("shapes", xray=0, shapes=[])


def test_sides_of_the_patient(opened: OpenedPage):
    sides = [opened.stage().locator(f".sides .{side}") for side in ("left", "right", "top", "bottom")]
    assert [each.text_content() for each in sides] == ["R", "L", "H", "F"]


def test_a_point_of_one_picture_lies_on_a_line_of_the_other(opened: OpenedPage, live: Served):
    """Whatever its depth: points on the ray through the pointer, seen by the other camera."""
    pixel = np.array([22.0, 40.0])
    opened.page.mouse.move(*opened.on_screen(pixel))
    line = opened.stage(1).locator(".epipolar line")
    line.wait_for(state="attached")
    x1, y1, x2, y2 = (float(line.get_attribute(name)) for name in ("x1", "y1", "x2", "y2"))
    first, second = live.state["views"]
    for depth in (500.0, 700.0):
        ray = np.array([(pixel[0] - first["cx"]) / first["fx"], (pixel[1] - first["cy"]) / first["fy"], 1.0])
        point = np.array(second["view_from_first"]) @ [*(depth * ray), 1.0]
        seen = np.array([second["fx"], second["fy"]]) * point[:2] / point[2] + [second["cx"], second["cy"]]
        off = np.array([x2 - x1, y2 - y1])
        distance = abs(off[0] * (seen[1] - y1) - off[1] * (seen[0] - x1)) / np.linalg.norm(off)
        assert distance < 0.1  # the mouse's pixels are whole
    assert opened.stage(0).locator(".epipolar line").count() == 0
    opened.page.mouse.move(5, 5)
    line.wait_for(state="detached")


def test_the_second_picture_moves_the_ct_in_its_own_axes(opened: OpenedPage, live: Served):
    """What is to the right in the lateral picture is depth in the first one, and the centre follows there."""
    before, centre = opened.pose, opened.centre(1)
    first = opened.centre(0)
    opened.after(lambda: opened.drag((30, 30), (36, 30), index=1))
    np.testing.assert_allclose(opened.centre(1) - centre, (6, 0), atol=0.1)
    isocentre = [*live.state["isocentre"], 1.0]
    moved = (opened.pose @ isocentre - before @ isocentre)[:3]
    assert abs(moved[2]) > 10 and np.abs(moved[:2]).max() < 1e-9
    assert abs(opened.centre(0) - first).max() < 0.3
    assert torch.isfinite(torch.tensor(moved)).all()
