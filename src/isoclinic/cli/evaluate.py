"""`isoclinic evaluate`: register cases whose poses are known."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Callable, Iterator, Sequence
from dataclasses import asdict, dataclass, field
from functools import cached_property
from itertools import groupby
from pathlib import Path
from typing import Annotated

from rich.progress import BarColumn, MofNCompleteColumn, TextColumn, TimeRemainingColumn
from rich.table import Table
from tyro.conf import Positional

from .. import __version__
from .._files import atomic
from ..errors import UsageError
from ..evaluation import (
    Calibration,
    Case,
    Measurement,
    calibration,
    find_cases,
    summaries,
    summary_document,
    write_report,
)
from ..evaluation.calibration import FAILED_MM, GOOD_MM
from ..evaluation.protocol import TRUTH_FILE, WITHOUT_POSE, XRAY_FILE
from ..networks import Checkpoint
from ..registration import InputFile, RegistrationResult, register
from ..volumes import Volume, XRay, XRayOptions
from ._console import progress_bar, results
from ._folder import new_folder
from ._model import check_model, model_file, read_model
from ._options import FLAT, RegistrationOptions, parse_options
from ._results import POSE, pose_file

_MEASUREMENT = "measurement.json"


@dataclass(frozen=True, kw_only=True)
class EvaluateOptions:
    """Register X-rays whose poses are known, and report the errors.

    A case is a folder with `xray.dcm` and `truth.json`, an object with `extrinsic` (camera_from_world, 4x4),
    `landmarks` (points in the world, RAS mm) and `inits` (starting poses by name). Registrations that the
    output folder holds already are not repeated, so an interrupted evaluation goes on where it stopped.

    Attributes:
        folder: cases, at any depth.
        volume: the CT of all cases, or GROUP=CT for each group; a group is the name of the folder that its
            cases lie in.
        model: networks that isoclinic train made for the CT, or GROUP=MODEL for each group: model files, or
            the folders they are in.
        output: folder for the table (summary.csv, .json and .png), all measurements (measurements.csv), and
            every pose (cases/CASE/START/pose.json).
        inits: where to start: names of `inits` in truth.json, views ("ap", "pa", "left", "right"), or "none"
            for no initial pose: with a model, the pose that it predicts. By default all that truth.json
            names, else "none".
        overwrite: replace what the output folder holds of other settings or other files.
        json: print the table as JSON.
        config: TOML file with any of these options; the command line wins.
        xray_options: how to read the X-rays.
        registration: how to register.
    """

    folder: Positional[Path]
    volume: tuple[str, ...]
    output: Path
    model: tuple[str, ...] = ()
    inits: tuple[str, ...] | None = None
    overwrite: bool = False
    json: bool = False
    config: Path | None = None
    xray_options: Annotated[XRayOptions, FLAT] = field(default_factory=XRayOptions)
    registration: Annotated[RegistrationOptions, FLAT] = field(default_factory=RegistrationOptions)


@dataclass(frozen=True, kw_only=True)
class _Job:
    """One registration."""

    case: Case
    init: str
    volume: InputFile
    model: InputFile | None
    options: EvaluateOptions

    @property
    def folder(self) -> Path:
        return self.options.output / "cases" / self.case.name / self.init

    @cached_property
    def key(self) -> str:
        """Digest of everything the result depends on."""
        settings = {
            "version": __version__,
            "init": self.init,
            "inputs": [
                self.volume.sha256,
                *([] if self.model is None else [self.model.sha256]),
                *(InputFile.of(self.case.folder / name).sha256 for name in (XRAY_FILE, TRUTH_FILE)),
            ],
            "xray_options": asdict(self.options.xray_options),
            "registration": asdict(self.options.registration),
        }
        return hashlib.sha256(json.dumps(settings, sort_keys=True).encode()).hexdigest()

    def done(self) -> Measurement | None:
        """The measurement of an earlier run.

        Raises:
            UsageError: there is one of other settings, which may not be replaced.
        """
        file = self.folder / _MEASUREMENT
        if not file.exists():
            return None
        document = json.loads(file.read_text(encoding="utf-8"))
        if document["key"] == self.key:
            values = document["measurement"]
            return Measurement(**values | {"translation_mm": tuple(values["translation_mm"])})
        if not self.options.overwrite:
            raise UsageError(
                f"--output {self.options.output} holds results of other settings or other files "
                f"({self.case.name}, start {self.init}); choose another folder or add --overwrite"
            )
        return None

    def register(self, volume: Volume, xray: XRay, model: Checkpoint | None) -> RegistrationResult:
        """Register."""
        return register(volume, xray, self.case.init(self.init), self.options.registration, model=model)

    def run(self, volume: Volume, xray: XRay, model: Checkpoint | None) -> Measurement:
        """Register, measure and write both."""
        result = self.register(volume, xray, model)
        measurement = Measurement.of(self.case, self.init, result, sdd_mm=xray.camera.sdd_mm)
        image = InputFile.of(self.case.folder / XRAY_FILE)
        with new_folder(self.folder, overwrite=True, known=frozenset({POSE, _MEASUREMENT})) as folder:
            pose_file(result, self.volume, image, model=self.model).write(folder / POSE)
            document = {
                "key": self.key,
                "measurement": asdict(measurement),
                "attempts": [asdict(attempt) for attempt in result.attempts],
            }
            with atomic(folder / _MEASUREMENT) as temporary:
                temporary.write_text(json.dumps(document, indent=2) + "\n", encoding="utf-8")
        return measurement


def main(arguments: Sequence[str]) -> None:
    """Run the command."""
    options = parse_options(EvaluateOptions, "evaluate", arguments)
    if options.output.exists() and not options.output.is_dir():
        raise UsageError(f"--output {options.output} is a file, but the result is a folder")
    jobs = list(_jobs(options))
    measurements = {(job.case.name, job.init): job.done() for job in jobs}
    pending = [job for job in jobs if measurements[job.case.name, job.init] is None]
    columns = TextColumn("{task.description}"), BarColumn(), MofNCompleteColumn(), TimeRemainingColumn()
    with progress_bar(*columns) as bar:
        task = bar.add_task("registering", total=len(jobs), completed=len(jobs) - len(pending))
        for (source, learned), of_volume in groupby(pending, key=lambda job: (job.volume, job.model)):
            bar.update(task, description=f"reading {source.path}")
            volume = Volume.read(source.path)
            model = None if learned is None else read_model(learned)
            for index, job in enumerate(of_volume):
                xray = XRay.read(job.case.folder / XRAY_FILE, options.xray_options)
                if model is not None and learned is not None:
                    check_model(model, learned, source, xray)
                if index == 0:
                    # Compiles, and prepares the volume, which is no part of the run time.
                    bar.update(task, description="preparing")
                    job.register(volume, xray, model)
                bar.update(task, description=f"{job.case.name}, start {job.init}")
                measurements[job.case.name, job.init] = job.run(volume, xray, model)
                bar.advance(task)
    measured = [each for each in measurements.values() if each is not None]
    options.output.mkdir(parents=True, exist_ok=True)
    write_report(options.output, measured)
    if options.json:
        print(json.dumps(summary_document(measured), indent=2))
    else:
        results().print(_table(measured))
        results().print(_calibration_text(calibration(measured)))
        results().print(f"every pose and the table are in {options.output}", markup=False, soft_wrap=True)


def _calibration_text(each: Calibration) -> str:
    caught = f"{each.caught} of {each.failures} results worse than {FAILED_MM:g} mm are doubtful"
    flagged = f"{each.flagged} of {each.good} better than {GOOD_MM:g} mm are so for no reason"
    text = f"{caught}, {flagged}."
    if each.trusted:
        text += (
            f"\nOf the others, errors are {each.slope:.2f} times what is expected (slope; median "
            f"{each.median_ratio:.2f} times), {each.within_twice:.0%} at most twice that."
        )
    return text


def _jobs(options: EvaluateOptions) -> Iterator[_Job]:
    """All registrations, those of one volume together; every name in the options is checked."""
    cases = find_cases(options.folder)
    groups = sorted({case.group for case in cases})
    volumes = _by_group("--volume", "CT", options.volume, groups, InputFile.of)
    models = _by_group("--model", "model", options.model, groups, model_file) if options.model else {}
    for source in dict.fromkeys((volumes[group], models.get(group)) for group in groups):
        mine = [case for case in cases if (volumes[case.group], models.get(case.group)) == source]
        inits = options.inits or tuple(dict.fromkeys(init for case in mine for init in case.inits))
        for init in inits or (WITHOUT_POSE,):
            for case in mine:
                case.init(init)
                yield _Job(case=case, init=init, volume=source[0], model=source[1], options=options)


def _by_group(
    option: str, what: str, items: Sequence[str], groups: Sequence[str], describe: Callable[[str], InputFile]
) -> dict[str, InputFile]:
    """The file of every group, from an option that takes FILE or GROUP=FILE."""
    of_all: InputFile | None = None
    of_group: dict[str, InputFile] = {}
    for item in items:
        group, equals, path = item.partition("=")
        if not equals or Path(item).exists():
            of_all = describe(item)
        elif group not in groups:
            raise UsageError(f"{option} {item}: no such group; there are {', '.join(groups)}")
        else:
            of_group[group] = describe(path)
    files = {group: of_group.get(group, of_all) for group in groups}
    for group, file in files.items():
        if file is None:
            raise UsageError(f"no {what} for the cases in {group!r}: add {group}={what.upper()} to {option}")
    return {group: file for group, file in files.items() if file is not None}


def _table(measurements: Sequence[Measurement]) -> Table:
    table = Table("start", "group")
    for heading in (
        "cases",
        "initial mTRE\nmedian \\[mm]",
        "mTRE\n< 1 mm",
        "\n< 2 mm",
        "\n< 5 mm",
        "\n< 10 mm",
        "mTRE median\n\\[mm]",
        "mTRE 95 %\n\\[mm]",
        "time median\n\\[s]",
    ):
        table.add_column(heading, justify="right")
    for (init, group), each in summaries(measurements).items():
        rates = (each.submillimetre_success_rate, *each.success_rates.values())
        table.add_row(
            init,
            group,
            f"{each.cases}",
            f"{each.percentiles['initial_mtre_mm'][50]:.1f}",
            *(f"{rate:.2f}" for rate in rates),
            f"{each.percentiles['mtre_mm'][50]:.2f}",
            f"{each.percentiles['mtre_mm'][95]:.2f}",
            f"{each.percentiles['run_time_s'][50]:.2f}",
        )
    return table
