"""The live page in a browser: what a test does to it and reads from it."""

from __future__ import annotations

import time
from collections.abc import Callable
from typing import TYPE_CHECKING, Any

import numpy as np
import torch
from numpy.typing import NDArray

from chromium import canvas_rgba

if TYPE_CHECKING:
    from playwright.sync_api import Browser, Locator

    from .conftest import Served


class OpenedPage:
    """A page that was opened, and all that it complained of or asked for.

    A test that provokes a complaint adds a part of it to `expected`.
    """

    def __init__(self, browser: Browser, served: Served, **options: Any) -> None:
        self.served = served
        self.context = browser.new_context(
            **{"viewport": {"width": 1400, "height": 1000}, "reduced_motion": "reduce"} | options
        )
        self.page = self.context.new_page()
        self.complaints: list[str] = []
        self.expected: list[str] = []
        self.requests: list[str] = []
        self.page.on("console", lambda message: self.complaints.append(message.text))
        self.page.on("pageerror", lambda error: self.complaints.append(str(error)))
        self.page.on("request", lambda request: self.requests.append(request.url))
        self.again()

    def again(self) -> OpenedPage:
        """The page as it opens."""
        self.page.mouse.move(1, 1)
        self.page.goto(self.served.page.address)
        self.page.wait_for_selector("html.ready")
        if self.served.state["ready"]:
            self.sharp()
        return self

    def checked(self) -> None:
        """Nothing to complain of, and nothing was asked for elsewhere."""
        left = [each for each in self.complaints if not any(part in each for part in self.expected)]
        assert not left, left
        assert all(url.startswith(self.served.page.address) for url in self.requests)

    def stage(self, index: int = 0) -> Locator:
        return self.page.locator(".stage").nth(index)

    def sharp(self, index: int = 0) -> None:
        """Wait until the hand rests and its picture is there."""
        pixels = self.served.page.workspace.plan.live.resting_px
        self.page.locator(".stage").nth(index).and_(self.page.locator(f'[data-pixels="{pixels}"]')).wait_for()

    @property
    def state(self) -> dict[str, Any]:
        return self.served.state

    @property
    def pose(self) -> NDArray[np.float64]:
        return np.array(self.state["pose"])

    def after(self, act: Callable[[], Any]) -> dict[str, Any]:
        """The state after a change that something has led to, as soon as the page shows it."""
        workspace = self.served.page.workspace
        before = workspace.state.revision
        act()
        until(lambda: workspace.state.revision > before)
        revision = workspace.state.revision
        until(lambda: int(self.page.get_attribute("body", "data-revision") or 0) >= revision)
        return self.state

    def centre(self, index: int = 0) -> NDArray[np.float64]:
        """Where the CT's centre is in a picture [px]."""
        state = self.state
        view = state["views"][index]
        point = np.array(view["view_from_first"]) @ self.pose @ [*state["isocentre"], 1.0]
        focal, principal = np.array([view["fx"], view["fy"]]), np.array([view["cx"], view["cy"]])
        return point[:2] / point[2] * focal + principal

    def on_screen(self, pixel: Any, index: int = 0) -> tuple[float, float]:
        """Where a pixel's centre is on the screen."""
        box = self.stage(index).locator("canvas").bounding_box()
        view = self.state["views"][index]
        return (
            box["x"] + (pixel[0] + 0.5) / view["width"] * box["width"],
            box["y"] + (pixel[1] + 0.5) / view["height"] * box["height"],
        )

    def drag(self, start: Any, end: Any, index: int = 0, keys: tuple[str, ...] = (), steps: int = 4) -> None:
        """From one pixel of a picture to another, with keys held."""
        mouse = self.page.mouse
        for key in keys:
            self.page.keyboard.down(key)
        mouse.move(*self.on_screen(start, index))
        mouse.down()
        mouse.move(*self.on_screen(end, index), steps=steps)
        mouse.up()
        for key in keys:
            self.page.keyboard.up(key)

    def choose(self, form: str, name: str, value: str) -> None:
        """One of several, by its label, as people do."""
        self.page.locator(form).locator("label").filter(
            has=self.page.locator(f'[name="{name}"][value="{value}"]')
        ).click()

    def open(self, card: str) -> None:
        """Unfold a card."""
        self.page.locator(f"#{card} > summary").click()

    def canvas(self, index: int = 0) -> NDArray[np.float64]:
        return canvas_rgba(self.stage(index).locator("canvas"))[..., :3]

    def message(self) -> str:
        return self.page.locator("#message:visible span").text_content() or ""

    def close(self) -> None:
        self.checked()
        self.context.close()


def tangent(before: NDArray[np.float64], after: NDArray[np.float64], isocentre: Any) -> NDArray[np.float64]:
    """By what a pose has moved: rotation vector [deg] and translation [mm] of the centre, in camera axes."""
    from scipy.spatial.transform import Rotation

    turn = Rotation.from_matrix(after[:3, :3] @ before[:3, :3].T).as_rotvec(degrees=True)
    centre = np.array([*isocentre, 1.0])
    return np.concatenate([turn, (after @ centre - before @ centre)[:3]])


def until(condition: Callable[[], bool], seconds: float = 30) -> None:
    """Wait for what the browser and the server do in their own time."""
    end = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < end, "it did not happen"
        time.sleep(0.03)


def as_tensor(pose: Any) -> torch.Tensor:
    return torch.tensor(pose, dtype=torch.float64)
