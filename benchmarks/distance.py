r"""Does the distance of embeddings measure the distance of poses?

    python benchmarks/distance.py --volume chest.nii.gz --model models/chest --output distance
    python benchmarks/distance.py --volume pelvis.nii.gz --output distance        # the networks that come
    along

The claim of spherical similarity: what two images are apart on the sphere is what their poses are apart.
Pairs of a randomised X-ray of the CT and a clean rendering of a moved pose, which no training has seen, are
embedded; how far poses are moved is drawn from two ranges. The table gives for each encoder and range
Pearson's correlation between distance of embeddings and geodesic distance in SO(4), and the median relative
error, as they are and after the one factor that fits best. Two columns say what stands in the way: the
correlation where the X-ray is replaced by the clean rendering of its pose, and how far X-rays are embedded
from that rendering, whose pose is the same (median [rad]). The program exits with 1 where an encoder falls
short of what is demanded, which is less of a CT that the model was not trained on.

`--bounds` adds what other ways reach on the same pairs: the geodesic distance of the poses but for depth,
which images hardly show; and the distance from the moving pose to where Levenberg-Marquardt ends that starts
there, by the classical similarity (32, then 64 pixels), which is no embedding and takes some twenty
renderings.

`--readings N` follows encoders that read motion: the moving pose is moved by what is read from its
rendering and the X-ray, rendered anew, and read again, N times. That takes no derivative of anything. The
table has the mTRE after each.
"""

from __future__ import annotations

import csv
import math
import sys
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path

import numpy as np
import torch
import tyro
from _pairs import batches_of_pairs
from matplotlib.figure import Figure
from numpy.typing import NDArray
from rich.console import Console
from rich.table import Table
from torch import Tensor

from isoclinic import Volume
from isoclinic.errors import InputError, UsageError
from isoclinic.geometry import mean_target_registration_error_mm, so4
from isoclinic.models import DEFAULT_MODEL
from isoclinic.networks import Checkpoint, SphericalEncoder, in_domain, masked
from isoclinic.provenance import InputFile
from isoclinic.registration import RegistrationConfig
from isoclinic.registration._fixed import FixedImage
from isoclinic.rendering import Projector, RenderConfig
from isoclinic.similarity import ImageSimilarity
from isoclinic.solver import levenberg_marquardt
from isoclinic.training.file_names import MODEL_FILE
from isoclinic.training.stream import Batch
from isoclinic.volumes import VoxelIdentity, target_points

# Smallest and largest shift of a pair [mm]; it also turns by a third as many degrees.
_FAR_MM, _NEAR_MM = (3.0, 120.0), (1.0, 20.0)
# From where readings are followed, besides: the farther of the starts of the other benchmarks.
_FROM_MM = (60.0, 60.1)
# Of what is no embedding.
_BUT_DEPTH, _REGISTERED = "poses but for depth", "registration from there"
# As in a registration: how rotations are scaled, and the longest step.
_LENGTH_MM, _LONGEST_MM = 60.0, 40.0
# Points of bone that an mTRE is taken over.
_POINTS = 200
# Distances [N, 4] of embeddings and poses, see `distances`, by encoder and range.
Pairs = dict[tuple[str, tuple[float, float]], NDArray[np.float64]]


@dataclass(frozen=True, kw_only=True)
class Demand:
    """What an encoder must reach.

    Attributes:
        far: Pearson's correlation over 3 to 120 mm.
        near: over 1 to 20 mm.
        error: median relative error, of both.
    """

    far: float
    near: float
    error: float


_OWN, _UNSEEN = Demand(far=0.95, near=0.9, error=0.15), Demand(far=0.9, near=0.8, error=0.25)


@dataclass(frozen=True, kw_only=True)
class Config:
    """What to run.

    Attributes:
        volume: the CT.
        model: networks to measure: a file, or the folder that isoclinic train made; those that come with
            isoclinic when None.
        pairs: of each range.
        seed: of poses and X-rays; trainings use seeds of their own.
        bounds: add what other ways reach.
        readings: number of times that the motion which an encoder reads is followed.
        output: folder for distance.csv and distance.png.
        threads: of torch; numba takes NUMBA_NUM_THREADS.
    """

    volume: Path
    model: Path | None = None
    pairs: int = 256
    seed: int = 20_000
    bounds: bool = False
    readings: int = 0
    output: Path | None = None
    threads: int = 2


@dataclass(frozen=True, kw_only=True)
class Measured:
    """An encoder over one range.

    Attributes:
        encoder: its kind.
        least_mm: smallest shift [mm].
        largest_mm: largest shift [mm].
        pearson: correlation of the distances.
        error: median of |D - d| / d.
        fitted_error: the same of D times the one factor that makes it least.
        clean_pearson: correlation where X-rays are replaced by clean renderings of their poses.
        own_rendering: median distance of X-rays from those [rad].
    """

    encoder: str
    least_mm: float
    largest_mm: float
    pearson: float
    error: float
    fitted_error: float
    clean_pearson: float
    own_rendering: float


def distances(
    encoder: SphericalEncoder,
    model: Checkpoint,
    volume: Volume,
    range_mm: tuple[float, float],
    config: Config,
) -> NDArray[np.float64]:
    """[N, 4] [rad].

    Distances of the embeddings of moving image and X-ray, of the poses, of the embeddings of the moving and
    the clean image, and of the clean image and the X-ray.
    """
    rows = []
    with torch.no_grad():
        for batch in batches_of_pairs(model, volume, range_mm, config.pairs, config.seed):
            assert batch.moving is not None
            clean = batch.projector.image(batch.fixed_camera_from_world)
            clean = in_domain(clean, batch.weight, batch.domain)
            moving, fixed, own = (
                encoder(masked(image, batch.weight)) for image in (batch.moving, batch.fixed, clean)
            )
            found = [
                encoder.squared_distance(*two).double()
                for two in ((moving, fixed), (moving, own), (own, fixed))
            ]
            space = model.record.space.about_isocentre(batch.isocentre_world)
            expected = space.squared_distance(batch.moving_camera_from_world, batch.fixed_camera_from_world)
            rows.append(torch.stack([found[0], expected, *found[1:]], 1).sqrt())
    return torch.cat(rows)[: config.pairs].numpy()


def bounds(
    model: Checkpoint, volume: Volume, range_mm: tuple[float, float], config: Config
) -> dict[str, NDArray[np.float64]]:
    """[N, 2] [rad] of each way that is no embedding: the distance found, and that of the poses."""
    found: dict[str, list[float]] = {_BUT_DEPTH: [], _REGISTERED: []}
    expected: list[float] = []
    for batch in batches_of_pairs(model, volume, range_mm, config.pairs, config.seed):
        space = model.record.space.about_isocentre(batch.isocentre_world)
        moving, fixed = batch.moving_camera_from_world, batch.fixed_camera_from_world
        motion = space.motion(fixed)
        motion[:, 2, 3] = space.motion(moving)[:, 2, 3]
        reached = torch.cat([_registered(batch, index) for index in range(len(moving))])
        for name, poses in ((_BUT_DEPTH, space.pose(motion)), (_REGISTERED, reached)):
            found[name] += space.squared_distance(moving, poses).sqrt().tolist()
        expected += space.squared_distance(moving, fixed).sqrt().tolist()
    return {name: np.array([each, expected]).T[: config.pairs] for name, each in found.items()}


def followed(
    encoder: SphericalEncoder,
    model: Checkpoint,
    volume: Volume,
    range_mm: tuple[float, float],
    config: Config,
) -> NDArray[np.float64]:
    """MTRE [N, 1 + readings] [mm] of the moving poses, and after following each reading."""
    points = target_points(volume, _POINTS, generator=np.random.default_rng(0))
    rows = []
    with torch.no_grad():
        for batch in batches_of_pairs(model, volume, range_mm, config.pairs, config.seed):
            space = model.record.space.about_isocentre(batch.isocentre_world)
            truth = batch.fixed_camera_from_world
            fixed = encoder(masked(batch.fixed, batch.weight))
            poses, errors = batch.moving_camera_from_world, []
            for reading in range(config.readings + 1):
                errors.append(mean_target_registration_error_mm(poses, truth, points))
                if reading < config.readings:
                    image = in_domain(batch.projector.image(poses), batch.weight, batch.domain)
                    motion = encoder.residual(encoder(masked(image, batch.weight)), fixed)[:, :6].double()
                    element = so4.compose(space.element(poses), so4.exp(motion))
                    poses = space.pose(so4.to_se3(element, space.length_mm))
            rows.append(torch.stack(errors, 1))
    return torch.cat(rows)[: config.pairs].numpy()


def _registered(batch: Batch, index: int) -> Tensor:
    """Where the classical stages lead [1, 4, 4] from the moving pose of one pair."""
    pose = batch.moving_camera_from_world[index : index + 1]
    image, weight = batch.fixed[index], batch.weight[index]
    by_pixels = {stage.pixels: stage for stage in RegistrationConfig().stages}
    for pixels in (32, 64):
        factor = max(batch.camera.width // pixels, 1)
        small = FixedImage(image=image, weight=weight, camera=batch.camera).averaged(factor)
        projector = Projector.of(batch.volume, small.camera, pose, RenderConfig(method="trilinear"))
        problem = ImageSimilarity(
            projector=projector,
            fixed=small.image,
            weight=small.weight,
            config=by_pixels[pixels].similarity,
        )
        pose = levenberg_marquardt(problem, pose, by_pixels[pixels].solver(_LENGTH_MM, _LONGEST_MM)).x
    return pose


def measured(name: str, range_mm: tuple[float, float], pairs: NDArray[np.float64]) -> Measured:
    """Correlation and errors of pairs [N, 2 or 4]."""
    found, expected, *others = pairs.T
    # The median of |k D - d| / d over k: candidates are where single pairs become exact.
    factors = expected / np.maximum(found, 1e-12)
    errors = [float(np.median(np.abs(factor * found - expected) / expected)) for factor in factors]
    return Measured(
        encoder=name,
        least_mm=range_mm[0],
        largest_mm=range_mm[1],
        pearson=float(np.corrcoef(found, expected)[0, 1]),
        error=float(np.median(np.abs(found - expected) / expected)),
        fitted_error=min(errors),
        clean_pearson=float(np.corrcoef(others[0], expected)[0, 1]) if others else math.nan,
        own_rendering=float(np.median(others[1])) if others else math.nan,
    )


def short(rows: Sequence[Measured], demand: Demand) -> list[str]:
    """Where encoders fall short."""
    said = []
    for row in rows:
        least = demand.far if row.largest_mm == _FAR_MM[1] else demand.near
        where = f"{row.encoder}, {row.least_mm:g} to {row.largest_mm:g} mm"
        if not row.pearson >= least:
            said.append(f"{where}: Pearson {row.pearson:.2f} < {least}")
        if not row.error <= demand.error:
            said.append(f"{where}: error {row.error:.0%} > {demand.error:.0%}")
    return said


def figure(pairs: Pairs, rows: Sequence[Measured]) -> Figure:
    """A column for every encoder, a row for every range."""
    names = list(dict.fromkeys(name for name, _ in pairs))
    ranges = (_FAR_MM, _NEAR_MM)
    result = Figure(figsize=(4.2 * len(names), 8.0), layout="constrained")
    panels = result.subplots(len(ranges), len(names), squeeze=False)
    by_key = {(row.encoder, (row.least_mm, row.largest_mm)): row for row in rows}
    for (name, range_mm), points in pairs.items():
        axes = panels[ranges.index(range_mm), names.index(name)]
        row = by_key[name, range_mm]
        axes.plot(points[:, 1], points[:, 0], ".", markersize=3)
        end = float(points[:, 1].max())
        axes.plot([0, end], [0, end], color="0.5", linewidth=0.8)
        axes.set_title(
            f"{name.replace('_', ' ')}, {range_mm[0]:g} to {range_mm[1]:g} mm\n"
            f"Pearson {row.pearson:.2f}, median error {row.error:.0%}",
            fontsize=9,
        )
        axes.set_xlabel("geodesic distance of poses [rad]")
        axes.set_ylabel("distance of embeddings [rad]")
        axes.grid(alpha=0.3)
    return result


def _acquaintance(model: Checkpoint, volume: Volume, config: Config) -> tuple[bool, str]:
    """Whether a model was trained on this CT alone, and for people what it has to do with it."""
    record = model.record
    if record.volume_sha256 is not None:
        own = record.is_of(InputFile.of(config.volume).sha256, volume)
        return own, "the CT in training" if own else "a CT that was not trained on"
    if not record.trained_on:
        return False, "a CT that may have been trained on: the model does not say"
    seen = VoxelIdentity.of(volume).sha256 in record.trained_on
    return False, "one of the CTs in training" if seen else "a CT that was not trained on"


def main() -> None:
    """Run it all, print it and draw it, and say by the exit code whether it suffices."""
    config = tyro.cli(Config, description=__doc__)
    torch.set_num_threads(config.threads)
    try:
        volume = Volume.read(config.volume)
        file = DEFAULT_MODEL if config.model is None else config.model
        model = Checkpoint.load(Path(file) / MODEL_FILE if Path(file).is_dir() else Path(file))
    except (InputError, UsageError, OSError) as error:
        sys.exit(str(error))
    encoders = {kind: each for kind, each in model.networks.items() if isinstance(each, SphericalEncoder)}
    if not encoders:
        sys.exit(f"{file} holds no encoder, but {', '.join(model.networks)}: there is no distance to measure")
    pairs = {
        (kind, range_mm): distances(encoder, model, volume, range_mm, config)
        for kind, encoder in encoders.items()
        for range_mm in (_FAR_MM, _NEAR_MM)
    }
    rows = [measured(kind, range_mm, each) for (kind, range_mm), each in pairs.items()]
    own, what = _acquaintance(model, volume, config)
    said = short(rows, _OWN if own else _UNSEEN)
    if config.bounds:
        for range_mm in (_FAR_MM, _NEAR_MM):
            for name, each in bounds(model, volume, range_mm, config).items():
                rows.append(measured(name, range_mm, each))
    headings = (
        "encoder",
        "shift [mm]",
        "Pearson",
        "median error",
        "after one factor",
        "clean",
        "own rendering",
    )
    table = Table(*headings, title=f"{config.pairs} pairs each, of {what}")
    for row in rows:
        span = f"{row.least_mm:g} to {row.largest_mm:g}"
        clean, own_rad = (
            "" if math.isnan(each) else f"{each:.2f}" for each in (row.clean_pearson, row.own_rendering)
        )
        errors = f"{row.error:.0%}", f"{row.fitted_error:.0%}"
        table.add_row(row.encoder, span, f"{row.pearson:.2f}", *errors, clean, own_rad)
    Console(width=None if sys.stdout.isatty() else 120).print(table)
    if config.output is not None:
        config.output.mkdir(parents=True, exist_ok=True)
        with (config.output / "distance.csv").open("w", newline="", encoding="utf-8") as stream:
            writer = csv.DictWriter(stream, list(asdict(rows[0])))
            writer.writeheader()
            writer.writerows(asdict(row) for row in rows)
        figure(pairs, rows).savefig(config.output / "distance.png", dpi=120)
    if config.readings:
        reading = {kind: each for kind, each in encoders.items() if each.config.head == "motion"}
        _print_followed(reading, model, volume, config)
    if said:
        sys.exit("; ".join(said))


def _print_followed(
    encoders: Mapping[str, SphericalEncoder], model: Checkpoint, volume: Volume, config: Config
) -> None:
    table = Table("encoder", "shift [mm]", "readings", "25 %", "50 %", "75 %", "< 5", "< 10", "< 20 mm")
    rows: list[list[str]] = []
    for kind, encoder in encoders.items():
        for range_mm in (_FAR_MM, _NEAR_MM, _FROM_MM):
            errors_mm = followed(encoder, model, volume, range_mm, config)
            for count, each in enumerate(errors_mm.T):
                quartiles = (f"{value:.1f}" for value in np.percentile(each, (25, 50, 75)))
                shares = (f"{float((each < limit).mean()):.2f}" for limit in (5, 10, 20))
                rows.append([kind, f"{range_mm[0]:g} to {range_mm[1]:g}", str(count), *quartiles, *shares])
    for row in rows:
        table.add_row(*row)
    Console(width=None if sys.stdout.isatty() else 120).print(table)
    if config.output is not None:
        with (config.output / "readings.csv").open("w", newline="", encoding="utf-8") as stream:
            writer = csv.writer(stream)
            writer.writerow(
                ["encoder", "shift_mm", "readings", "25", "50", "75", "below_5", "below_10", "below_20"]
            )
            writer.writerows(rows)


if __name__ == "__main__":
    main()
