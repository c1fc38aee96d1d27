"""Moving the CT in headless Chromium: drag, wheel, keys, numbers and history, against the library."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np
import pytest
import torch
from scipy.spatial.transform import Rotation

from isoclinic.geometry import se3

from ..cli.conftest import CAMERA
from .conftest import Served, serving
from .opened_page import OpenedPage, as_tensor, tangent, until

pytestmark = pytest.mark.slow  # each starts or drives a browser


@pytest.fixture(scope="module")
def live(files, tmp_path_factory) -> Iterator[Served]:
    with serving(tmp_path_factory.mktemp("moves")) as serve:
        yield serve(files.ct, files.xray, "--init", files.init, "--resting-px", 128, "--moving-px", 64)


@pytest.fixture(scope="module")
def page(browser, live: Served) -> Iterator[OpenedPage]:
    page = OpenedPage(browser, live)
    yield page
    page.close()


@pytest.fixture
def opened(page: OpenedPage, live: Served) -> Iterator[OpenedPage]:
    live.change("goto", step=0)
    yield page.again()
    page.checked()


def test_the_scripts_geometry_is_the_librarys(opened: OpenedPage):
    rng = np.random.default_rng(0)
    isocentre = torch.tensor([12.0, -30.0, 45.0], dtype=torch.float64)
    script = """async ({ pose, turn, shift, isocentre, point, camera }) => {
        const p = await import("./page/pose.js");
        const moved = p.perturbed(p.perturbed(pose, turn, [0, 0, 0], isocentre), [0, 0, 0], shift, isocentre);
        return { moved, vector: p.rotationVector(p.rotation(turn)), inverse: p.inverse(pose),
                 pixel: p.projected(camera, p.moved(pose, point)) };
    }"""
    camera = {name: getattr(CAMERA, name) for name in ("fx", "fy", "cx", "cy")}
    for angle in (1e-9, 0.3, 2.0, np.pi - 1e-3):
        turn = rng.normal(size=3)
        turn *= angle / np.linalg.norm(turn)
        shift, point = rng.normal(size=3) * 20, rng.normal(size=3) * 20
        rotation = torch.from_numpy(Rotation.random(random_state=1).as_matrix())
        pose = se3.rigid(rotation, torch.tensor([3.0, -5.0, 700.0], dtype=torch.float64))
        found = opened.page.evaluate(
            script,
            {
                **{"pose": pose.tolist(), "turn": turn.tolist(), "shift": shift.tolist(), "camera": camera},
                **{"isocentre": isocentre.tolist(), "point": point.tolist()},
            },
        )
        expected = se3.perturb(pose, torch.tensor([*turn, 0, 0, 0]), isocentre)
        expected = se3.perturb(expected, torch.tensor([0, 0, 0, *shift]), isocentre)
        assert torch.allclose(as_tensor(found["moved"]), expected, atol=1e-9)
        np.testing.assert_allclose(found["vector"], turn, atol=1e-9)
        np.testing.assert_allclose(np.array(found["inverse"]) @ pose.numpy(), np.eye(4), atol=1e-9)
        pixel = CAMERA.project(torch.from_numpy(point)[None], pose)[0]
        np.testing.assert_allclose(found["pixel"], pixel, atol=1e-9)


def test_what_is_under_the_pointer_follows_it(opened: OpenedPage):
    """The CT's centre moves by as many pixels as the pointer, and stays at its depth."""
    before, centre = opened.pose, opened.centre()
    opened.after(lambda: opened.drag((20, 30), (32, 25)))
    np.testing.assert_allclose(opened.centre() - centre, (12, -5), atol=0.1)  # the mouse's pixels are whole
    moved = tangent(before, opened.pose, opened.state["isocentre"])
    np.testing.assert_allclose(moved[[0, 1, 2, 5]], 0, atol=1e-9)
    assert opened.state["steps"][-1] == "moved by hand"


@pytest.mark.parametrize("keys", [("Shift",), ()])
def test_turning_by_the_pointer(opened: OpenedPage, keys: tuple[str, ...]):
    """The near surface of the body follows; the centre stays."""
    if not keys:
        opened.choose("#hand", "hand", "turn")
    before = opened.pose
    opened.after(lambda: opened.drag((20, 30), (30, 30), keys=keys))
    moved = tangent(before, opened.pose, opened.state["isocentre"])
    # 10 px of 3 mm on the detector, at the depth of the centre, over 90 mm: to the left about the vertical.
    expected = -np.degrees(30 * opened.pose[2] @ [*opened.state["isocentre"], 1] / 1000 / 90)
    np.testing.assert_allclose(moved, [0, expected, 0, 0, 0, 0], atol=0.3)
    opened.after(lambda: opened.drag((20, 30), (20, 40), keys=keys))
    assert tangent(before, opened.pose, opened.state["isocentre"])[0] > 5


def test_rolling_by_the_pointer(opened: OpenedPage):
    """By the angle that the pointer goes around the centre."""
    before, centre = opened.pose, opened.centre()
    for keys in (("Control",), ()):
        if not keys:
            opened.choose("#hand", "hand", "roll")
        ends = np.array([[20.0, 0.0], [10.0, 10.0]]) + centre
        opened.after(lambda ends=ends, keys=keys: opened.drag(*ends, keys=keys, steps=8))
    moved = tangent(before, opened.pose, opened.state["isocentre"])
    np.testing.assert_allclose(moved, [0, 0, 90, 0, 0, 0], atol=1.0)


def test_the_wheel_moves_in_depth(opened: OpenedPage):
    before = opened.pose
    opened.page.mouse.move(*opened.on_screen((30, 30)))
    opened.after(lambda: opened.page.mouse.wheel(0, 100))
    moved = tangent(before, opened.pose, opened.state["isocentre"])
    np.testing.assert_allclose(moved, [0, 0, 0, 0, 0, 10], atol=1e-9)
    opened.after(lambda: opened.page.mouse.wheel(0, -100))
    np.testing.assert_allclose(opened.pose, before, atol=1e-9)


KEYS = [
    (["ArrowRight", "ArrowRight", "ArrowDown"], [0, 0, 0, 2, 1, 0]),
    (["ArrowLeft", "ArrowUp", "PageUp"], [0, 0, 0, -1, -1, 1]),
    (["PageDown"], [0, 0, 0, 0, 0, -1]),
    (["Shift+ArrowRight"], [0, -1, 0, 0, 0, 0]),
    (["Shift+ArrowDown"], [1, 0, 0, 0, 0, 0]),
    (["Shift+PageUp"], [0, 0, 1, 0, 0, 0]),
    (["f", "ArrowRight"], [0, 0, 0, 0.1, 0, 0]),
    (["f", "c", "c", "ArrowUp"], [0, 0, 0, 0, -5, 0]),
]


def test_keys(opened: OpenedPage):
    """One after another, each from where the one before has led to."""
    opened.stage().focus()

    def press(keys: list[str]) -> None:
        for key in keys:
            opened.page.keyboard.press(key)

    for keys, expected in KEYS:
        before = opened.pose
        opened.after(lambda keys=keys: press(keys))
        found = tangent(before, opened.pose, opened.state["isocentre"])
        np.testing.assert_allclose(found, expected, atol=1e-6)


def test_numbers_are_those_of_the_pose_and_can_be_typed(opened: OpenedPage):
    opened.open("move")
    start, isocentre = opened.pose, opened.state["isocentre"]
    shown = [float(opened.page.input_value(f"#number-{index}")) for index in range(6)]
    np.testing.assert_allclose(shown[:3], (start @ [*isocentre, 1])[:3], atol=0.006)  # two decimals
    np.testing.assert_allclose(shown[3:], 0, atol=1e-9)

    def typed(index: int, value: float) -> None:
        opened.page.fill(f"#number-{index}", str(value))
        opened.page.keyboard.press("Enter")

    opened.after(lambda: typed(2, 700))
    assert (opened.pose @ [*isocentre, 1])[2] == pytest.approx(700)
    opened.after(lambda: typed(4, -12.5))
    moved = tangent(start, opened.pose, isocentre)
    np.testing.assert_allclose(moved[:3], (0, -12.5, 0), atol=0.01)
    opened.after(lambda: opened.page.get_by_role("button", name="more about the beam").click())
    opened.after(lambda: opened.page.get_by_role("button", name="less right").click())
    moved = tangent(start, opened.pose, isocentre)
    assert moved[3] == pytest.approx(-1, abs=1e-6) and np.linalg.norm(moved[:3]) > 12.5
    # What is no number changes nothing.
    revision = opened.state["revision"]
    opened.page.fill("#number-0", "")
    opened.page.keyboard.press("Enter")
    assert opened.state["revision"] == revision
    assert float(opened.page.input_value("#number-0")) == pytest.approx(
        (opened.pose @ [*isocentre, 1])[0], abs=0.006
    )


def test_the_pose_in_numbers_can_be_saved(opened: OpenedPage):
    opened.open("move")
    opened.page.get_by_role("button", name="Save this pose").click()
    opened.page.get_by_text("saved as").wait_for()


def test_history(opened: OpenedPage):
    start = opened.pose
    opened.stage().focus()
    for _ in range(2):
        opened.after(lambda: opened.page.keyboard.press("ArrowRight"))
    second = opened.pose
    opened.after(lambda: opened.page.keyboard.press("z"))
    opened.after(lambda: opened.page.keyboard.press("Control+z"))
    np.testing.assert_allclose(opened.pose, start)
    opened.after(lambda: opened.page.keyboard.press("y"))
    opened.after(lambda: opened.page.keyboard.press("Control+Shift+z"))
    np.testing.assert_allclose(opened.pose, second)
    # Faster than the answers come.
    for key in "zz":
        opened.page.keyboard.press(key)
    until(lambda: opened.state["current"] == 0)
    for key in "yyy":
        opened.page.keyboard.press(key)
    until(lambda: opened.state["current"] == 2)
    assert opened.page.locator("#message").is_hidden()
    opened.open("history")
    opened.after(lambda: opened.page.get_by_role("button", name="Undo").click())
    opened.after(lambda: opened.page.get_by_role("button", name="Redo").click())
    assert opened.page.get_by_role("button", name="Redo").is_disabled()
    opened.after(lambda: opened.page.locator("#steps button").first.click())
    np.testing.assert_allclose(opened.pose, start)
    assert opened.page.locator("#steps [aria-current]").count() == 1
    # The keyboard stays where it was in a list that is made anew.
    assert opened.page.evaluate("document.activeElement === document.querySelector('#steps button')")
    assert opened.page.get_by_role("button", name="Undo").is_disabled()


def test_starts(opened: OpenedPage, files):
    opened.page.select_option("#start", "left")
    opened.after(lambda: opened.page.get_by_role("button", name="Use", exact=True).click())
    np.testing.assert_allclose(opened.pose[2, :3], (-1, 0, 0), atol=1e-9)
    opened.after(lambda: opened.page.set_input_files("#pose-file", str(files.init)))
    assert opened.state["steps"][-1] == "start: init.json"
    opened.page.select_option("#start", "any")
    opened.after(lambda: opened.page.get_by_role("button", name="Use", exact=True).click())
    assert opened.page.get_by_role("button", name="Register, searching all views").is_visible()


def test_the_picture_follows_while_the_hand_moves_and_sharpens_when_it_rests(opened: OpenedPage):
    opened.page.evaluate(
        "window.drawn = []; document.addEventListener('drawn', e => drawn.push(e.detail.pixels))"
    )
    x, y = opened.on_screen((30, 30))
    opened.page.mouse.move(x, y)
    opened.page.mouse.down()
    for step in range(1, 6):
        opened.page.mouse.move(x + 5 * step, y)
        until(lambda step=step: opened.page.evaluate("drawn.length") >= step)
    assert opened.page.evaluate("drawn[0]") == 64
    # A hand that rests while it still holds sees it sharp, too.
    until(lambda: 128 in opened.page.evaluate("drawn"))
    opened.after(opened.page.mouse.up)
