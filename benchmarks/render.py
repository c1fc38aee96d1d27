"""Time, memory and error of DRRs with their pose gradients: isoclinic, nanodrr and DiffDRR in one run.

Every contender gets the same attenuation, pose and camera, and runs in a process of its own with the same
number of threads. The runs are interleaved, so that whatever else the machine does hits all of them alike:
trust the ratios.

    python benchmarks/render.py --quick
"""

from __future__ import annotations

import json
import math
import platform
import statistics
import sys
import tempfile
from contextlib import ExitStack
from dataclasses import asdict, dataclass, field, replace
from pathlib import Path
from typing import Any

import numpy as np
import torch
import tyro
from _exact import ExactIntegrals
from _process import Contender, ContenderError, processor_name
from _scene import DETECTOR_MM, SDD_MM, SOURCE_TO_ISOCENTRE_MM, VIEWS_DEG, View, chest_ct, view
from numpy.typing import NDArray
from rich.console import Console
from rich.markup import escape
from rich.table import Table

from isoclinic.geometry import Camera, perturb
from isoclinic.rendering import RenderConfig, render
from isoclinic.volumes import Volume

# The images that others are compared with; times are compared with the faster of the two.
_BASELINE, _COMPILED = "nanodrr", "nanodrr, compiled"
_TARGET_SIZE = 200
# How many times as fast as the faster nanodrr the methods of isoclinic shall be, by level.
_LEAST_RATIO = {"siddon auto": 80, "trilinear auto": 100}
_LEAST_RATIO_OTHERWISE = 15
# Where the loss whose gradient is taken has its minimum, relative to the view.
_AWAY_DEG = (2.0, -3.0, 1.0)
_AWAY_MM = (6.0, 4.0, -10.0)
_INSTALL = {
    "nanodrr": "pip install nanodrr==0.1.7",
    "diffdrr": "pip install torchio fastcore einops && pip install --no-deps diffdrr==0.6.1",
}


@dataclass(frozen=True, kw_only=True)
class Config:
    """What to run.

    Attributes:
        sizes: rows and columns of the images [px].
        levels: voxel sizes isoclinic renders at: full (the CT's own), auto, or a number [mm].
        repeats: timed runs of every contender and view, after one that is not timed.
        budget_s: seconds after which a contender is not run again at a size; one whose first images take
            twice that is judged by them, though they are otherwise not timed.
        pixels: random pixels of every view whose exact integral is computed.
        threads: of every contender.
        quick: 128 pixels and two repeats only.
        json: file for all the results.
        nanodrr_python: interpreter that has nanodrr 0.1.7.
        diffdrr_python: interpreter that has DiffDRR 0.6.1.
    """

    sizes: tuple[int, ...] = (128, 200, 256, 512)
    levels: tuple[str, ...] = ("full", "auto")
    repeats: int = 9
    budget_s: float = 40.0
    pixels: int = 1000
    threads: int = 2
    quick: bool = False
    json: Path | None = None
    nanodrr_python: Path = Path(sys.executable)
    diffdrr_python: Path = Path(sys.executable)


@dataclass(frozen=True, kw_only=True)
class Errors:
    """Deviation of an image from exact integrals at some pixels, as fractions of their mean."""

    mean: float
    rms: float
    max: float


@dataclass(kw_only=True)
class Result:
    """One contender at one size; dictionaries are by view.

    Attributes:
        name: of the contender.
        size: rows and columns [px].
        seconds: timed runs [s].
        memory_rendering: peak while rendering, less the loaded volume [volumes in float32].
        memory_with_volume: the same with the loaded volume [volumes in float32].
        errors: against the exact integral through piecewise constant voxels.
        errors_trilinear: against the exact integral of the trilinear interpolation.
        correlation: with nanodrr's image.
        gradient: derivative by (rotation [rad], translation [mm]).
        ratio: how many times the time of the faster nanodrr is this one.
        failure: why there is nothing else.
    """

    name: str
    size: int
    seconds: dict[str, list[float]] = field(default_factory=dict)
    memory_rendering: float | None = None
    memory_with_volume: float | None = None
    errors: dict[str, Errors] = field(default_factory=dict)
    errors_trilinear: dict[str, Errors] = field(default_factory=dict)
    correlation: dict[str, float] = field(default_factory=dict)
    gradient: dict[str, list[float]] = field(default_factory=dict)
    ratio: float | None = None
    failure: str | None = None

    @property
    def median_s(self) -> float:
        """Mean over the views of the median time [s]."""
        return statistics.mean(statistics.median(times) for times in self.seconds.values())

    @property
    def mean_error(self) -> float:
        """Mean over the views of the mean error."""
        return statistics.mean(errors.mean for errors in self.errors.values())


class Bench:
    """The scene on disk for the contenders, and the exact integrals."""

    def __init__(self, config: Config, folder: Path) -> None:
        self.config = config
        self._folder = folder
        volume = Volume.read(chest_ct())
        mu = volume.attenuation()
        self.volume_bytes = mu.nbytes
        self._files: dict[str, Any] = {
            "hu": str(folder / "hu.npy"),
            "mu": str(folder / "mu.npy"),
            "world_from_voxel": volume.world_from_voxel.tolist(),
        }
        np.save(self._files["hu"], volume.hu)
        np.save(self._files["mu"], mu)
        self._exact = ExactIntegrals(mu, volume.world_from_voxel)
        self._volume = volume

    def measure(self, size: int, contenders: dict[str, Contender]) -> dict[str, Result]:
        """All contenders at one size."""
        views = {name: self._request(size, name) for name in VIEWS_DEG}
        results = {name: Result(name=name, size=size) for name in contenders}
        running = {
            name: contender
            for name, contender in contenders.items()
            if self._first_run(contender, results[name], views)
        }
        spent = dict.fromkeys(running, 0.0)
        for _ in range(self.config.repeats):
            for view_name, request in views.items():
                for name, contender in running.items():
                    if spent[name] > self.config.budget_s:
                        continue
                    reply = contender.ask("render", **request)
                    results[name].seconds.setdefault(view_name, []).append(reply["seconds"])
            for name in running:
                spent[name] = sum(map(sum, results[name].seconds.values()))
        self._judge(size, [results[name] for name in running])
        return results

    def _first_run(self, contender: Contender, result: Result, views: dict[str, Any]) -> bool:
        """Load and render everything once, for the images and the memory; False if it cannot."""
        times = {}
        try:
            contender.ask("load", **self._files)
            for name, request in views.items():
                reply = contender.ask("render", **request, save=str(self._image(result.name, name)))
                times[name], result.gradient[name] = [reply["seconds"]], reply["gradient"]
            memory = contender.ask("memory")
        except ContenderError as error:
            result.failure = str(error)
            return False
        if memory["rendering"] is not None:
            result.memory_rendering = memory["rendering"] / self.volume_bytes
            result.memory_with_volume = memory["with_volume"] / self.volume_bytes
        if sum(map(sum, times.values())) > 2 * self.config.budget_s:
            result.seconds = times
        return True

    def _judge(self, size: int, results: list[Result]) -> None:
        """Errors, correlations and ratios of those that have images."""
        pixels = np.random.default_rng(0).choice(
            size * size, min(self.config.pixels, size * size), replace=False
        )
        baseline = next((result for result in results if result.name == _BASELINE), None)
        for view_name in VIEWS_DEG:
            source, targets = self._view(size, view_name).source_and_targets(pixels)
            boxes = self._exact.piecewise_constant(source, targets)
            interpolated = self._exact.trilinear(source, targets)
            for result in results:
                image = np.load(self._image(result.name, view_name))
                result.errors[view_name] = _errors(image.ravel()[pixels], boxes)
                result.errors_trilinear[view_name] = _errors(image.ravel()[pixels], interpolated)
                if baseline is not None:
                    reference = np.load(self._image(_BASELINE, view_name))
                    result.correlation[view_name] = float(np.corrcoef(image.ravel(), reference.ravel())[0, 1])
        theirs = [result.median_s for result in results if result.name in (_BASELINE, _COMPILED)]
        for result in results:
            result.ratio = min(theirs) / result.median_s if theirs else None

    def _view(self, size: int, name: str) -> View:
        return view(size, VIEWS_DEG[name], self._volume.isocentre_world)

    def _request(self, size: int, view_name: str) -> dict[str, Any]:
        """What to render: a view, and a loss, the squared difference from the image at a pose nearby."""
        aimed = self._view(size, view_name)
        camera = Camera.from_pixel_spacing(
            width=size, height=size, pixel_spacing_mm=(aimed.pixel_mm, aimed.pixel_mm), sdd_mm=SDD_MM
        )
        here = torch.from_numpy(np.linalg.inv(aimed.world_from_camera))
        tangent = torch.tensor(
            [*(math.radians(angle) for angle in _AWAY_DEG), *_AWAY_MM], dtype=torch.float64
        )
        there = perturb(here, tangent, torch.from_numpy(self._volume.isocentre_world))
        images = render(self._volume, camera, torch.stack([here, there]), RenderConfig(voxel_mm="auto"))
        file = self._folder / f"weights {view_name}.npy"
        np.save(file, (images[0] - images[1]).numpy())
        return {"size": size, "world_from_camera": aimed.world_from_camera.tolist(), "weights": str(file)}

    def _image(self, contender: str, view_name: str) -> Path:
        return self._folder / f"{contender} {view_name}.npy"


def start_contenders(
    config: Config, stack: ExitStack, console: Console
) -> tuple[dict[str, Contender], dict[str, str]]:
    """Processes of all that are installed, and their versions."""
    isoclinic = [
        (f"isoclinic {method} {level}", Path(sys.executable), ["isoclinic", method, level])
        for method in ("trilinear", "siddon")
        for level in config.levels
    ]
    peers = [
        (_BASELINE, config.nanodrr_python, ["nanodrr"]),
        (_COMPILED, config.nanodrr_python, ["nanodrr", "compiled"]),
        ("diffdrr siddon", config.diffdrr_python, ["diffdrr", "siddon"]),
        ("diffdrr trilinear", config.diffdrr_python, ["diffdrr", "trilinear"]),
    ]
    contenders, versions = {}, {}
    for name, python, arguments in isoclinic + peers:
        try:
            contender = stack.enter_context(
                Contender(python, "_render_worker.py", arguments, threads=config.threads)
            )
            versions[arguments[0]] = contender.ask("start")["version"]
        except ContenderError as error:
            console.print(f"[yellow]{name}: {error}[/] ({python}); {_INSTALL.get(arguments[0], '')}")
        else:
            contenders[name] = contender
    return contenders, versions


def table(size: int, results: dict[str, Result]) -> Table:
    """The results at one size."""
    made = Table(title=f"{size} x {size}: image and pose gradient", title_justify="left")
    made.add_column("contender")
    for name in VIEWS_DEG:
        made.add_column(escape(f"{name}\nmedian (min) [ms]"), justify="right")
    for heading in (
        f"times as fast as\nthe faster {_BASELINE}",
        "memory, with volume\n[float32 volumes]",
        "error against exact Siddon\nmean / RMS / max [%]",
        "against exact trilinear\nmean / RMS / max [%]",
        f"correlation\nwith {_BASELINE}",
        "gradient off\nnanodrr's [%]",
    ):
        made.add_column(escape(heading), justify="right")
    for result in results.values():
        made.add_row(result.name, *_cells(result, results.get(_BASELINE)))
    return made


def report_targets(results: dict[str, Result], console: Console) -> None:
    """What the project promises at 200 x 200."""
    baseline = results.get(_BASELINE)
    if baseline is None or baseline.failure is not None:
        return
    for result in results.values():
        if not result.name.startswith("isoclinic") or result.failure is not None or result.ratio is None:
            continue
        least = _LEAST_RATIO.get(result.name.removeprefix("isoclinic "), _LEAST_RATIO_OTHERWISE)
        error, their_error = 100 * result.mean_error, 100 * baseline.mean_error
        checks = {
            f"{result.ratio:.0f}x (target {least}x)": result.ratio >= least,
            f"error {error:.3f} % (nanodrr {their_error:.3f} %)": error <= their_error,
        }
        if result.memory_rendering is not None:
            checks[f"memory {result.memory_rendering:.2f} volumes (target 1.5)"] = (
                result.memory_rendering < 1.5
            )
        verdicts = [f"{text} [{'green]met' if met else 'red]missed'}[/]" for text, met in checks.items()]
        console.print(f"{result.name}: " + ", ".join(verdicts))


def main() -> None:
    """Run it all and print it."""
    config = tyro.cli(Config, description=__doc__)
    if config.quick:
        config = replace(config, sizes=(128,), repeats=2, pixels=200)
    console = Console(width=None if sys.stdout.isatty() else 190)
    with ExitStack() as stack:
        bench = Bench(config, Path(stack.enter_context(tempfile.TemporaryDirectory())))
        contenders, versions = start_contenders(config, stack, console)
        console.print(
            f"chest CT 512 x 512 x 133, {DETECTOR_MM:g} mm detector, SDD {SDD_MM:g} mm, source to isocentre"
            f" {SOURCE_TO_ISOCENTRE_MM:g} mm; {processor_name()}, {config.threads} threads, Python"
            f" {platform.python_version()}, "
            + ", ".join(f"{name} {version}" for name, version in versions.items())
        )
        everything = {}
        for size in config.sizes:
            with console.status(f"{size} x {size}"):
                everything[size] = bench.measure(size, contenders)
            console.print(table(size, everything[size]))
    if _TARGET_SIZE in everything:
        report_targets(everything[_TARGET_SIZE], console)
    if config.json is not None:
        document = {
            "processor": processor_name(),
            "threads": config.threads,
            "versions": versions,
            "volume_bytes": bench.volume_bytes,
            "results": [asdict(result) for results in everything.values() for result in results.values()],
        }
        config.json.write_text(json.dumps(document, indent=1))


def _errors(values: NDArray[Any], exact: NDArray[np.float64]) -> Errors:
    deviation = np.abs(values - exact) / exact.mean()
    return Errors(
        mean=float(deviation.mean()),
        rms=float(np.sqrt((deviation**2).mean())),
        max=float(deviation.max()),
    )


def _cells(result: Result, baseline: Result | None) -> list[str]:
    if result.failure is not None:
        return [result.failure]
    times = [
        f"{1e3 * statistics.median(seconds):.1f} ({1e3 * min(seconds):.1f})"
        for seconds in result.seconds.values()
    ]
    memory = "-"
    if result.memory_rendering is not None and result.memory_with_volume is not None:
        memory = f"{result.memory_rendering:.2f}, {result.memory_with_volume:.2f}"
    correlation = f"{min(result.correlation.values()):.5f}" if result.correlation else "-"
    return [
        *times,
        "-" if result.ratio is None else f"{result.ratio:.1f}",
        memory,
        _percent(result.errors),
        _percent(result.errors_trilinear),
        correlation,
        "-" if baseline is None or not baseline.gradient else f"{_gradient_difference(result, baseline):.2f}",
    ]


def _percent(errors: dict[str, Errors]) -> str:
    means = (statistics.mean(getattr(each, name) for each in errors.values()) for name in ("mean", "rms"))
    worst = max(each.max for each in errors.values())
    return " / ".join(f"{100 * value:.3f}" for value in (*means, worst))


def _gradient_difference(result: Result, baseline: Result) -> float:
    """Largest over the views [%]; a radian counts as much as 100 mm."""
    scale = np.array([1 / 100] * 3 + [1.0] * 3)
    differences = []
    for name, gradient in result.gradient.items():
        reference = scale * baseline.gradient[name]
        differences.append(np.linalg.norm(scale * gradient - reference) / np.linalg.norm(reference))
    return 100 * float(max(differences))


if __name__ == "__main__":
    main()
