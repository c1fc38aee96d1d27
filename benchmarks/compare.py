r"""Two kinds of encoder at equal images: what distances and registrations are worth, with intervals.

    for seed in 0 1 2; do
        isoclinic train pelvis.nii.gz --seed $seed \
            --output models/sphere-$seed --config benchmarks/twins.toml
        isoclinic train pelvis.nii.gz --seed $seed \
            --output models/euclidean-$seed --config benchmarks/twins-euclidean.toml
    done
    python benchmarks/compare.py --volume pelvis.nii.gz --names sphere Euclidean --output twins \
        --first models/sphere-0 models/sphere-1 models/sphere-2 \
        --second models/euclidean-0 models/euclidean-1 models/euclidean-2

Every model measures the same held-back X-rays: the distance of each from renderings near by and farther off,
as in distance.py, and the pose where Levenberg-Marquardt ends by this encoder alone from 20 mm and 6.7
degrees off. An interval holds 95 % of what comes out when trainings (of each kind by themselves) and X-rays
(the same ones for all) are drawn again with replacement. Three trainings are few: take it for an interval of
these.
"""

from __future__ import annotations

import csv
import sys
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
import tyro
from _pairs import batches_of_pairs
from numpy.typing import NDArray
from rich.console import Console
from rich.progress import track
from rich.table import Table

from isoclinic import Volume
from isoclinic.errors import InputError, UsageError
from isoclinic.networks import Checkpoint, SphericalEncoder, masked
from isoclinic.training.file_names import MODEL_FILE
from isoclinic.training.validation import Validation

_RANGES_MM = {"far": (3.0, 120.0), "near": (1.0, 20.0)}
_COLUMNS = ("mtre_mm", "far_found", "far_true", "near_found", "near_true")
_DRAWS = 2000
Measured = NDArray[np.float64]


@dataclass(frozen=True, kw_only=True)
class Config:
    """What to compare.

    Attributes:
        volume: the CT.
        first: folders of trainings of one kind.
        second: folders of trainings of the other.
        names: of the kinds.
        kind: network that is compared.
        xrays: number of held-back X-rays.
        seed: of X-rays and intervals; trainings use seeds of their own.
        output: folder for compare.csv.
        threads: of torch; numba takes NUMBA_NUM_THREADS.
    """

    volume: Path
    first: tuple[Path, ...]
    second: tuple[Path, ...]
    names: tuple[str, str] = ("first", "second")
    kind: str = "coarse_encoder"
    xrays: int = 112
    seed: int = 30_000
    output: Path | None = None
    threads: int = 2


def measured(model: Checkpoint, volume: Volume, config: Config) -> Measured:
    """What one model measures [X-rays, `_COLUMNS`]."""
    encoder = model.networks[config.kind]
    assert isinstance(encoder, SphericalEncoder)
    encoder.requires_grad_(False)
    columns: dict[str, list[torch.Tensor]] = {}
    for name, range_mm in _RANGES_MM.items():
        rows = []
        batches = batches_of_pairs(model, volume, range_mm, config.xrays, config.seed)
        for index, batch in enumerate(batches):
            assert batch.moving is not None
            space = model.record.space.about_isocentre(batch.isocentre_world)
            images = (encoder(masked(image, batch.weight)) for image in (batch.moving, batch.fixed))
            poses = batch.moving_camera_from_world, batch.fixed_camera_from_world
            rows.append([encoder.squared_distance(*images).double(), space.squared_distance(*poses)])
            if name == "near":
                checks = Validation.of(batch.projector, batch, space, seed=config.seed + index)
                columns.setdefault("mtre_mm", []).append(checks.mtre_mm(encoder).double())
        columns[f"{name}_found"], columns[f"{name}_true"] = (
            [row[side].sqrt() for row in rows] for side in range(2)
        )
    table = torch.stack([torch.cat(columns[name]) for name in _COLUMNS], 1)
    return table[: config.xrays].numpy()


def _median_mtre(rows: Measured) -> float:
    return float(np.median(rows[:, 0]))


def _below_5_mm(rows: Measured) -> float:
    return float((rows[:, 0] < 5).mean())


def _pearson(first: int) -> Callable[[Measured], float]:
    return lambda rows: float(np.corrcoef(rows[:, first], rows[:, first + 1])[0, 1])


def _relative_error(first: int) -> Callable[[Measured], float]:
    return lambda rows: float(np.median(abs(rows[:, first] / rows[:, first + 1] - 1)))


_MEASURES: dict[str, Callable[[Measured], float]] = {
    "Pearson, 3 to 120 mm": _pearson(1),
    "Pearson, 1 to 20 mm": _pearson(3),
    "relative error, 3 to 120 mm": _relative_error(1),
    "relative error, 1 to 20 mm": _relative_error(3),
    "median mTRE from 20 mm [mm]": _median_mtre,
    "share below 5 mm": _below_5_mm,
}


def difference(
    first: Sequence[Measured],
    second: Sequence[Measured],
    measure: Callable[[Measured], float],
    generator: np.random.Generator,
) -> tuple[float, float, float]:
    """Mean of a measure over the second trainings less that over the first, and its interval of 95 %."""

    def mean(models: Sequence[Measured], rows: NDArray[np.int64]) -> float:
        return float(np.mean([measure(model[rows]) for model in models]))

    count = len(first[0])
    draws = []
    for _ in range(_DRAWS):
        rows = generator.integers(count, size=count)
        a, b = ([each[i] for i in generator.integers(len(each), size=len(each))] for each in (first, second))
        draws.append(mean(b, rows) - mean(a, rows))
    low, high = np.percentile(draws, [2.5, 97.5])
    every = np.arange(count)
    return mean(second, every) - mean(first, every), float(low), float(high)


def table(first: Sequence[Measured], second: Sequence[Measured], config: Config) -> Table:
    """A row for every measure."""
    one, other = config.names
    title = f"{len(first)} and {len(second)} trainings, {len(first[0])} X-rays"
    result = Table("", one, other, f"{other} less {one}", "95 %", title=title)
    for name, measure in _MEASURES.items():
        value, low, high = difference(first, second, measure, np.random.default_rng(config.seed))
        sides = (np.mean([measure(model) for model in each]) for each in (first, second))
        result.add_row(
            name, *(f"{side:.2f}" for side in sides), f"{value:+.2f}", f"{low:+.2f} to {high:+.2f}"
        )
    return result


def main() -> None:
    """Measure all models, print the table and keep what it is made of."""
    config = tyro.cli(Config, description=__doc__)
    torch.set_num_threads(config.threads)
    console = Console(width=None if sys.stdout.isatty() else 120)
    try:
        volume = Volume.read(config.volume)
        models = {folder: Checkpoint.load(folder / MODEL_FILE) for folder in (*config.first, *config.second)}
    except (InputError, UsageError, OSError) as error:
        sys.exit(str(error))
    for folder, model in models.items():
        if not isinstance(model.networks.get(config.kind), SphericalEncoder):
            sys.exit(f"{folder} holds no {config.kind}, but {', '.join(model.networks)}")
    every = {
        folder: measured(model, volume, config)
        for folder, model in track(models.items(), "measuring", console=console)
    }
    if config.output is not None:
        config.output.mkdir(parents=True, exist_ok=True)
        with (config.output / "compare.csv").open("w", newline="", encoding="utf-8") as stream:
            writer = csv.writer(stream)
            writer.writerow(["model", "xray", *_COLUMNS])
            for folder, rows in every.items():
                writer.writerows(
                    [folder.name, index, *map("{:.6g}".format, row)] for index, row in enumerate(rows)
                )
    console.print(
        table([every[each] for each in config.first], [every[each] for each in config.second], config)
    )


if __name__ == "__main__":
    main()
