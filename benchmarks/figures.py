r"""Everything behind the figures and learned tables of docs/results.md, made again by one command.

    python benchmarks/figures.py --chest chest.nii.gz --pelvis pelvis.nii.gz --cases cases --output figures

Networks are trained on numbers of X-rays, never by the clock, so that two runs train the same; the CSV and
JSON files behind each figure come to `OUTPUT/data` and the pictures to `OUTPUT/images`, by the names that
docs/data and docs/images have them under. Steps that are done are not done again, and every one of them goes
on where it was interrupted. All of it takes many hours of a processor; `--only` takes some of it, `--list`
says what there is.
"""

from __future__ import annotations

import shlex
import shutil
import subprocess
import sys
from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path

import tyro

_HERE = Path(__file__).parent
_CTS = ("chest", "pelvis")
# The encoder that reads motion is trained on fewer X-rays, too, for a curve.
_FEWER_IMAGES = (1000, 4000)
# After three readings of the motion, further ones change little.
_READINGS = 3
# The loss through the solver makes training about ten times as slow.
_UNROLLED_IMAGES = 1200
_CONVERGENCE = "--residuals classical 'fine, dense' --lengths 50 100 --rates-mm 0.5 1 2"


@dataclass(frozen=True, kw_only=True)
class Config:
    """What to make.

    Attributes:
        chest: CT of the cases in CASES/chest.
        pelvis: CT of the cases in CASES/pelvis.
        cases: folder of the validation cases.
        output: folder for models, results, data and images.
        only: steps to take, with all they need that is not there; all when empty.
        images: X-rays to train every model on, in place of those in the TOML files: for a trial.
        list: list the steps and do nothing.
    """

    chest: Path = Path("chest.nii.gz")
    pelvis: Path = Path("pelvis.nii.gz")
    cases: Path = Path("cases")
    output: Path = Path("figures")
    only: tuple[str, ...] = ()
    images: int | None = None
    list: bool = False

    def model(self, name: str) -> Path:
        """Folder of a model."""
        return self.output / "models" / name

    def models(self, kind: str) -> Sequence[str]:
        """Those of both CTs, as benchmarks take them."""
        return [f"{ct}={self.model(f'{ct}{kind}')}" for ct in _CTS]


@dataclass(frozen=True, kw_only=True)
class Step:
    """A command.

    Attributes:
        name: by which it is asked for.
        command: the command line; the first entry is a script of this folder, or "isoclinic".
        needs: names of the steps before it.
        done: a file that is there once it is done.
        keeps: what it leaves for the documentation, by name there.
        link: a CT that it wants in a folder of its own, and that folder.
    """

    name: str
    command: tuple[str, ...]
    done: Path
    needs: tuple[str, ...] = ()
    keeps: dict[str, Path] = field(default_factory=dict)
    link: tuple[Path, Path] | None = None


def steps(config: Config) -> list[Step]:
    """All of them, in order."""
    out = config.output
    cts = {"chest": config.chest, "pelvis": config.pelvis}
    found = [
        _training(config, f"{ct}{kind}", "train", str(cts[ct]), toml)
        for kind, toml in (
            ("", "networks"),
            ("-euclidean", "euclidean"),
            ("-others", "others"),
        )
        for ct in _CTS
    ]
    for ct in _CTS:
        folder = out / "cts" / ct
        general = _training(config, f"{ct}-any", "pretrain", str(folder), "any-patient")
        found.append(replace(general, link=(cts[ct], folder)))
    found.append(_training(config, "pelvis-motion", "train", str(config.pelvis), "motion"))
    for images in _FEWER_IMAGES:
        name = f"pelvis-motion-{images}"
        found.append(_training(config, name, "train", str(config.pelvis), "motion", images=images))
    found.append(
        _training(config, "pelvis-motion-published", "train", str(config.pelvis), "motion-published")
    )
    found += _compared(config)
    ours, twins, others = (config.models(kind) for kind in ("", "-euclidean", "-others"))
    cases = ("--folder", str(config.cases), "--pelvis-ct", str(config.pelvis))
    three = tuple(f"{ct}{kind}" for kind in ("", "-euclidean", "-others") for ct in _CTS)
    networks = ("--models", *ours, "--euclidean", *twins, "--others", *others)
    found += [
        _benchmark(
            out, "gradients", ("--csv", str(out / "gradients" / "gradients.csv")), (), ("gradients.csv",)
        ),
        _benchmark(out, "ablation", (*cases, *networks), three, ("results.csv",)),
        _benchmark(
            out, "capture_range", (*cases, "--models", *ours), _CTS, ("results.csv", "capture_range.png")
        ),
        _benchmark(out, "landscape", (*cases, *networks), three, ("landscape.json", "landscape.png")),
        _benchmark(
            out,
            "convergence",
            (*cases, "--models", *ours, *shlex.split(_CONVERGENCE)),
            _CTS,
            ("convergence.json", "convergence.png"),
        ),
        _benchmark(
            out,
            "hard_cases",
            ("--models", *[f"{ct}={config.model(f'{other}-any')}" for ct, other in (_CTS, _CTS[::-1])]),
            tuple(f"{ct}-any" for ct in _CTS),
            ("results.csv",),
        ),
    ]
    # Of the encoders that registrations can use on the CT they were trained on; and of the encoder that is
    # trained to measure distances, on its CT and on one that it never saw.
    for name, volume, model in (
        ("distance", config.chest, "chest"),
        ("distance-motion", config.pelvis, "pelvis-motion"),
        ("distance-motion-unseen", config.chest, "pelvis-motion"),
        ("distance-motion-published", config.pelvis, "pelvis-motion-published"),
        ("distance-motion-published-unseen", config.chest, "pelvis-motion-published"),
        *((f"distance-motion-{n}", config.pelvis, f"pelvis-motion-{n}") for n in _FEWER_IMAGES),
    ):
        options: tuple[str, ...] = ("--volume", str(volume), "--model", str(config.model(model)))
        options += () if name[-1].isdigit() else ("--bounds",)
        options += ("--readings", str(_READINGS)) if "motion" in name else ()
        step = _benchmark(out, "distance", options, (model,), ("distance.csv", "distance.png"), name=name)
        readings = {f"{name}-readings.csv": out / name / "readings.csv"}
        found.append(replace(step, keeps=step.keeps | readings))
    options = ("--volume", str(config.pelvis), "--model", str(config.model("pelvis-motion")))
    found.append(_benchmark(out, "bank", options, ("pelvis-motion",), ("bank.csv",)))
    for name, volume in (("distance-shipped", config.pelvis), ("distance-shipped-chest", config.chest)):
        found.append(_benchmark(out, "distance", ("--volume", str(volume)), (), ("distance.csv",), name=name))
    return found


def _compared(config: Config) -> list[Step]:
    """Short trainings that differ in one thing, and their comparisons."""
    dense, euclidean = ("twins-dense",), ("twins-dense-euclidean",)
    unrolled = (*dense, "--coarse-encoder.unrolled", "1")
    read: dict[str, tuple[str, ...]] = {"sphere": ("twins",), "Euclidean": ("twins-euclidean",)}
    comparisons: dict[str, tuple[dict[str, tuple[str, ...]], Sequence[int], int | None]] = {
        "twins-dense": ({"sphere": dense, "Euclidean": euclidean}, (0, 1, 2), None),
        "twins": (read, (0, 1, 2), None),
        "unrolled": ({"without": dense, "with": unrolled}, (0,), _UNROLLED_IMAGES),
    }
    found = []
    for name, (kinds, seeds, images) in comparisons.items():
        line: list[str] = ["--volume", str(config.pelvis), "--names", *kinds]
        needs: list[str] = []
        for side, (kind, (toml, *options)) in zip(("--first", "--second"), kinds.items(), strict=True):
            folders = [f"{name}-{kind.lower()}-{seed}" for seed in seeds]
            for folder, seed in zip(folders, seeds, strict=True):
                more = (*options, "--seed", str(seed))
                found.append(
                    _training(config, folder, "train", str(config.pelvis), toml, more, images=images)
                )
            line += [side, *(str(config.model(folder)) for folder in folders)]
            needs += folders
        found.append(
            _benchmark(config.output, "compare", tuple(line), tuple(needs), ("compare.csv",), name=name)
        )
    return found


def _training(
    config: Config,
    name: str,
    command: str,
    source: str,
    toml: str,
    options: tuple[str, ...] = (),
    *,
    images: int | None = None,
) -> Step:
    model = config.model(name)
    line = ["isoclinic", command, source, "--output", str(model), "--config", str(_HERE / f"{toml}.toml")]
    line += options
    images = images if config.images is None else config.images
    line += [] if images is None else ["--images", str(images)]
    keeps = {f"training-{name}.csv": model / "training.csv"}
    keeps |= {"training.png": model / "training.png"} if name == "chest" else {}
    return Step(name=name, command=tuple(line), done=model / "complete", keeps=keeps)


def _benchmark(
    out: Path,
    script: str,
    options: tuple[str, ...],
    needs: tuple[str, ...],
    files: tuple[str, ...],
    *,
    name: str | None = None,
) -> Step:
    """A script of this folder; `name` where it is run more than once."""
    folder = out / (name or script)
    line = (f"{script}.py", *options)
    if script != "gradients":
        line = (*line, "--output", str(folder))
    label = (name or script).replace("_", "-")
    keeps = {f"{label}{Path(file).suffix}": folder / file for file in files}
    return Step(name=label, command=line, done=folder / "complete", needs=needs, keeps=keeps)


def _link(source: Path, folder: Path) -> None:
    """The CT in that folder, without a copy."""
    folder.mkdir(parents=True, exist_ok=True)
    link = folder / source.name
    if not link.exists():
        link.symlink_to(source.resolve())


def run(step: Step, config: Config) -> None:
    """Take a step, unless it was taken; a training that was interrupted goes on.

    Raises:
        CalledProcessError: it failed.
    """
    if not step.done.exists():
        if step.link is not None:
            _link(*step.link)
        script, *rest = step.command
        if script == "isoclinic":
            begun = (step.done.parent / "state.safetensors").exists()
            line = [script, *rest, *(["--resume"] if begun else [])]
        else:
            step.done.parent.mkdir(parents=True, exist_ok=True)
            line = [sys.executable, str(_HERE / script), *rest]
        print(" ".join(line), flush=True)
        # A benchmark that measures what falls short says so by 1, and has measured all the same.
        code = subprocess.run(line, check=False).returncode
        if code and not (script == "distance.py" and code == 1):
            raise subprocess.CalledProcessError(code, line)
        step.done.touch()
    for name, file in step.keeps.items():
        if file.exists():
            target = config.output / ("images" if file.suffix == ".png" else "data") / name
            target.parent.mkdir(parents=True, exist_ok=True)
            shutil.copy(file, target)


def main() -> None:
    """Run what is asked for."""
    config = tyro.cli(Config, description=__doc__)
    every = {step.name: step for step in steps(config)}
    if config.list:
        print("\n".join(f"{step.name}: {' '.join(step.command)}" for step in every.values()))
        return
    unknown = [name for name in config.only if name not in every]
    if unknown:
        sys.exit(f"there is no step {unknown[0]}; there are {', '.join(every)}")
    wanted = set(config.only or every)
    for name in config.only:
        wanted |= set(every[name].needs)
    try:
        for step in every.values():
            if step.name in wanted:
                run(step, config)
    except subprocess.CalledProcessError as error:
        sys.exit(f"this failed with {error.returncode}: {' '.join(map(str, error.cmd))}")


if __name__ == "__main__":
    main()
