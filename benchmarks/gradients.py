r"""Derivatives through encoder, projector and Levenberg-Marquardt together, against central differences.

    python benchmarks/gradients.py

What is differentiated is the mean squared distance between where the pose that the solver ends with and the
true one put four points, by the encoder's weights, by the X-ray and by the start: along random directions,
after 1, 3 and 10 steps, and by the implicit function theorem at the optimum. Everything is float64 with a
small random encoder.

The scene is chosen so that central differences are meaningful: blobs that are wide and weak, a start near
the truth, and damping that keeps ten steps from arriving. It shows that the chain is differentiated
correctly, and not what its derivatives are worth on a patient's CT.

"closed form" renders a body of Gaussian blobs by a formula, so that nothing but the derivatives is tested:
beyond --bound there, the program exits with 1. The other rows render the CT of the same body by the kernels
that training and registration use. Voxels and float32 alter image and Jacobian there, and second derivatives
are differences over one and a half voxels. So derivatives are compared with those in closed form: the error
is that of what training gets against the body's own.
"""

from __future__ import annotations

import sys
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from typing import Any

import torch
import tyro
from _blobs import CAMERA, CENTRE_WORLD, Blobs, ap_view
from rich.console import Console
from rich.table import Table
from torch import Tensor

from isoclinic.geometry import se3, transform_points
from isoclinic.networks import BackboneConfig, SphericalEncoder, SphericalEncoderConfig
from isoclinic.rendering import Projector, RenderConfig
from isoclinic.similarity import SphericalSimilarity
from isoclinic.solver import LMConfig, implicit_solution, levenberg_marquardt

_POINTS = CENTRE_WORLD + 60 * torch.eye(4, 3, dtype=torch.float64)
_TRUTH = se3.perturb(
    ap_view(700.0)[None], torch.tensor([[0.1, -0.05, 0.08, 4.0, -6.0, 15.0]]).double(), CENTRE_WORLD
)
_OFFSET = torch.tensor([[0.025, -0.02, 0.03, 3.0, -2.5, 6.0]]).double()
# Ten steps are damped until they end on the way: at the optimum nothing would be left of the start.
_DAMPING = {1: 1e-2, 3: 1e-2, 10: 3000.0}
_IMPLICIT = "implicit"
_WHAT = ("weights", "X-ray", "start")


@dataclass(frozen=True, kw_only=True)
class Config:
    """What to run.

    Attributes:
        bound: largest relative error of derivatives in closed form.
        step: of the central differences, as a share of the directions.
        directions: to differentiate along, of each kind.
        voxel_mm: voxels of the CT that the kernels render [mm].
        seed: of the encoder and the directions.
        csv: file for the table, too.
    """

    bound: float = 1e-3
    step: float = 1e-5
    directions: int = 3
    voxel_mm: float = 2.0
    seed: int = 0
    csv: Path | None = None


@dataclass(frozen=True, kw_only=True)
class Row:
    """Worst relative error over the directions.

    Attributes:
        renderer: that rendered the moving images.
        steps: of the solver, or "implicit".
        errors: by what is differentiated by; None where it has no influence.
    """

    renderer: str
    steps: str
    errors: Mapping[str, float | None]


@dataclass(kw_only=True)
class Scene:
    """An encoder, an X-ray and a start; every tensor may be moved along directions.

    Attributes:
        projector: of the moving images.
        config: of the run.
    """

    projector: Any
    config: Config
    network: SphericalEncoder = field(init=False)
    weight: Tensor = field(init=False)
    xray: Tensor = field(init=False)
    offset: Tensor = field(init=False)

    def __post_init__(self) -> None:
        torch.manual_seed(self.config.seed)
        backbone = BackboneConfig(channels=(8, 16), transformer_blocks=1, heads=2, norm_groups=4)
        network = SphericalEncoderConfig(backbone=backbone, head="dense", elements=6, dense_level=1)
        self.network = SphericalEncoder(network).double()
        with torch.no_grad():
            self.network.output.weight *= 3
        self.weight = torch.ones(1, CAMERA.height, CAMERA.width, dtype=torch.float64)
        self.weight[:, :6, :6] = 0
        clean = Blobs().image(_TRUTH)
        noise = torch.randn(clean.shape, generator=self._generator(), dtype=torch.float64)
        self.xray = 1.1 * clean + 0.003 * clean.max() * noise
        self.offset = _OFFSET.clone()

    def _generator(self) -> torch.Generator:
        return torch.Generator().manual_seed(self.config.seed)

    def tensors(self, what: str) -> list[Tensor]:
        """What is differentiated by."""
        by: dict[str, list[Tensor]] = {
            "weights": list(self.network.parameters()),
            "X-ray": [self.xray],
            "start": [self.offset],
        }
        return by[what]

    def directions(self, what: str) -> list[list[Tensor]]:
        """Random directions of about the size of what moves along them."""
        generator = self._generator()
        unit = torch.tensor([1 / 60] * 3 + [1.0] * 3).double()

        def drawn(each: Tensor) -> Tensor:
            size = unit if what == "start" else each.detach().square().mean().sqrt()
            return size * torch.randn(each.shape, generator=generator, dtype=torch.float64)

        return [[drawn(each) for each in self.tensors(what)] for _ in range(self.config.directions)]

    def problem(self) -> SphericalSimilarity:
        """The solver's."""
        return SphericalSimilarity.of(self.projector, self.network, self.xray, self.weight)

    def solved(self, steps: int, damping: float) -> Tensor:
        """Poses that so many steps lead to, none of which ends the iteration."""
        schedule = LMConfig(
            max_steps=steps,
            initial_damping=damping,
            step_scale=(1 / 60,) * 3 + (1.0,) * 3,
            step_tolerance=0.0,
            decrease_tolerance=0.0,
            gradient_tolerance=0.0,
            step_deviation_tolerance=0.0,
        )
        start = se3.perturb(_TRUTH, self.offset, CENTRE_WORLD)
        return levenberg_marquardt(self.problem(), start, schedule).x

    @torch.no_grad()
    def optimum(self) -> Tensor:
        """The pose of least distance, to rounding."""
        return self.solved(60, 1e-2)

    def slopes(self, what: str, value: Callable[[], Tensor]) -> list[float]:
        """By automatic differentiation, along every direction."""
        tensors = self.tensors(what)
        for each in tensors:
            each.requires_grad_()
        gradients = torch.autograd.grad(value(), tensors, allow_unused=True)
        for each in tensors:
            each.requires_grad_(False)
        return [
            sum(float((g * d).sum()) for g, d in zip(gradients, direction, strict=True) if g is not None)
            for direction in self.directions(what)
        ]

    @torch.no_grad()
    def differences(self, what: str, value: Callable[[], Tensor]) -> list[float]:
        """By central differences, along every direction."""
        found = []
        for direction in self.directions(what):
            before = [each.clone() for each in self.tensors(what)]
            ends = []
            for sign in (1, -1):
                for each, original, along in zip(self.tensors(what), before, direction, strict=True):
                    each.copy_(original + sign * self.config.step * along)
                ends.append(float(value()))
            for each, original in zip(self.tensors(what), before, strict=True):
                each.copy_(original)
            found.append((ends[0] - ends[1]) / (2 * self.config.step))
        return found


def error_mm2(poses: Tensor) -> Tensor:
    """Mean squared distance [] of the points from where the true pose puts them [mm^2]."""
    return (transform_points(poses, _POINTS) - transform_points(_TRUTH, _POINTS)).square().sum(-1).mean()


def _error_after(scene: Scene, steps: int) -> Tensor:
    return error_mm2(scene.solved(steps, _DAMPING[steps]))


def rows(config: Config) -> Iterator[Row]:
    """Of every renderer and number of steps."""
    exact = Scene(projector=Blobs(), config=config)
    expected = {steps: _unrolled(exact, steps) for steps in _DAMPING}
    for steps, by in expected.items():
        after = partial(_error_after, exact, steps)
        errors = {what: _worst(by[what], exact.differences(what, after)) for what in _WHAT}
        yield Row(renderer="closed form", steps=str(steps), errors=errors)
    at_optimum = _implicit(exact)
    found = {what: exact.differences(what, lambda: error_mm2(exact.optimum())) for what in _WHAT[:2]}
    errors = {what: _worst(at_optimum[what], found[what]) for what in found}
    yield Row(renderer="closed form", steps=_IMPLICIT, errors=errors | {"start": None})
    volume = Blobs().volume(config.voxel_mm)
    for method in ("trilinear", "siddon"):
        rendering = RenderConfig(method=method, voxel_mm="full", backend="cpu")
        projector = Projector.of(volume, CAMERA, _TRUTH, rendering, isocentre_world=CENTRE_WORLD)
        scene = Scene(projector=projector, config=config)
        for steps, by in expected.items():
            mine = _unrolled(scene, steps)
            errors = {what: _worst(mine[what], by[what]) for what in _WHAT}
            yield Row(renderer=f"{method}, {config.voxel_mm:g} mm", steps=str(steps), errors=errors)
        mine = _implicit(scene)
        errors = {what: _worst(mine[what], at_optimum[what]) for what in mine}
        yield Row(
            renderer=f"{method}, {config.voxel_mm:g} mm", steps=_IMPLICIT, errors=errors | {"start": None}
        )


def _unrolled(scene: Scene, steps: int) -> dict[str, list[float]]:
    return {
        what: scene.slopes(what, lambda: error_mm2(scene.solved(steps, _DAMPING[steps]))) for what in _WHAT
    }


def _implicit(scene: Scene) -> dict[str, list[float]]:
    optimum = scene.optimum()

    def value() -> Tensor:
        return error_mm2(implicit_solution(scene.problem(), optimum, curvature="exact"))

    return {what: scene.slopes(what, value) for what in _WHAT[:2]}


def _worst(found: list[float], expected: list[float]) -> float:
    """Largest error over the directions, relative to the largest derivative."""
    largest = max(map(abs, expected))
    return max(abs(a - b) for a, b in zip(found, expected, strict=True)) / largest


def main() -> None:
    """Run it all, print it, and say by the exit code whether it is right."""
    config = tyro.cli(Config, description=__doc__)
    console = Console(width=None if sys.stdout.isatty() else 120)
    table = Table(
        "renderer", "steps", *(f"by {what}" for what in _WHAT), title="relative error of derivatives"
    )
    measured = list(rows(config))
    for row in measured:
        cells = ("" if error is None else f"{error:.1e}" for error in row.errors.values())
        table.add_row(row.renderer, row.steps, *cells)
    console.print(table)
    if config.csv is not None:
        lines = ["renderer,steps,weights,xray,start"]
        for row in measured:
            values = ("" if row.errors[what] is None else f"{row.errors[what]:.3e}" for what in _WHAT)
            lines.append(",".join([f'"{row.renderer}"', row.steps, *values]))
        config.csv.write_text("\n".join(lines) + "\n", encoding="utf-8")
    exact = [error for row in measured if row.renderer == "closed form" for error in row.errors.values()]
    beyond = [error for error in exact if error is not None and not error < config.bound]
    if beyond:
        sys.exit(f"{len(beyond)} derivatives in closed form are off by {config.bound:g} or more")


if __name__ == "__main__":
    main()
