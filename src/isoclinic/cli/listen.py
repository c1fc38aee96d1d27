"""`isoclinic listen`: from a CT and X-rays that arrive to a pose for each."""

from __future__ import annotations

import logging
import shlex
import time
import warnings
from collections.abc import Iterator, Sequence
from contextlib import ExitStack, contextmanager
from pathlib import Path

from ..errors import UsageError
from ..models import default_model
from ..provenance import InputFile
from ..reception import Listener, Registrar, Spool
from ..reception.registrar import ReceptionPlan
from ..volumes import GeometryWarning, Volume
from ._listen_options import ListenOptions
from ._model import model_file, read_model
from ._model_names import DEFAULT, NONE
from ._wording import as_options

_LOG = logging.getLogger("isoclinic.reception")


def main(options: ListenOptions, arguments: Sequence[str]) -> int:
    """Run the command until a signal ends it; its exit status is then 0."""
    _check(options)
    with _logging(), ExitStack() as ends:
        try:
            ct = InputFile.of(options.volume)
            volume = Volume.read(options.volume)
            plan = _plan(options, arguments, ct, volume)
            spool = Spool(options.output, ct.sha256)
            ends.callback(spool.close)
            if options.retry_failed and (count := spool.retry_failed()):
                _LOG.info("%d images that failed are registered again", count)
            listener = Listener(spool, Registrar(plan), options.reception)
            _quiet()
            listener.run()
        except KeyboardInterrupt:
            _LOG.info("ended; the same command goes on from here")
    return 0


def _plan(options: ListenOptions, arguments: Sequence[str], ct: InputFile, volume: Volume) -> ReceptionPlan:
    learned = None if options.model in (DEFAULT, NONE) else model_file(options.model)
    rescue = default_model if options.model == DEFAULT else None
    init = Path(options.init) if options.init and Path(options.init).is_file() else None
    named = {"init": init, "exclude": options.xray_options.exclude, "config": options.config}
    return ReceptionPlan(
        volume=volume,
        volume_file=ct,
        init=options.init,
        model=rescue if learned is None else read_model(learned),
        model_file=learned,
        files={name: InputFile.of(path) for name, path in named.items() if path is not None},
        xray_options=options.xray_options,
        registration=options.registration,
        follow=options.follow,
        command=shlex.join(["isoclinic", "listen", *arguments]),
        wording=as_options,
    )


def _check(options: ListenOptions) -> None:
    """Raises UsageError where nothing could ever arrive, or a folder would feed itself."""
    watch = options.reception.watch
    if options.reception.port is None and watch is None:
        raise UsageError(
            "say where X-rays come from: --port for a C-arm that sends them, --watch for a folder in which "
            "they appear",
            code="options.incomplete",
        )
    if watch is not None:
        inner, outer = options.output.resolve(), watch.resolve()
        if inner == outer or outer in inner.parents or inner in outer.parents:
            raise UsageError(
                f"--output {options.output} and --watch {watch} lie in each other; results would be taken "
                "for X-rays",
                code="options.conflict",
            )


def _quiet() -> None:
    """Show no warnings of other libraries from now on: they may quote values of a header, such as names."""
    warnings.simplefilter("ignore")
    warnings.simplefilter("always", GeometryWarning)


@contextmanager
def _logging() -> Iterator[None]:
    """Show what happens, with the time in UTC, on standard error."""
    handler = logging.StreamHandler()
    formatter = logging.Formatter("%(asctime)s %(levelname)s %(message)s", "%Y-%m-%dT%H:%M:%SZ")
    formatter.converter = time.gmtime
    handler.setFormatter(formatter)
    before = _LOG.level, _LOG.propagate
    _LOG.addHandler(handler)
    _LOG.setLevel(logging.INFO)
    _LOG.propagate = False
    try:
        yield
    finally:
        _LOG.removeHandler(handler)
        _LOG.setLevel(before[0])
        _LOG.propagate = before[1]
