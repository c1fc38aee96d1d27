r"""Levenberg-Marquardt against Adam on the same residual: error against the number of renderings.

    python benchmarks/convergence.py --models chest=models/chest pelvis=models/pelvis --output convergence

The folder holds cases `NAME/NN/xray.dcm` and `truth.json`, as for register.py; a model is a folder that
`isoclinic train` wrote, for the CT of the cases of that name. Both start at the same poses and minimise the
same cost over the tangent of `se3.perturb`, rotations scaled alike. A rendering is one with its derivatives;
rejected steps of Levenberg-Marquardt count. Adam is favoured: its learning rate and the decay of it are those
that reach the accuracy soonest on these very cases, chosen for every CT and residual.
"""

from __future__ import annotations

import json
import math
import sys
from collections.abc import Iterator, Sequence
from dataclasses import asdict, dataclass, replace
from pathlib import Path

import numpy as np
import torch
import tyro
from _learned import Inputs, Separate, Subject, subjects
from matplotlib.figure import Figure
from numpy.typing import NDArray
from rich.console import Console
from rich.progress import track
from rich.table import Table
from torch import Tensor

from isoclinic.errors import InputError, UsageError
from isoclinic.geometry import mean_target_registration_error_mm
from isoclinic.networks import masked
from isoclinic.registration import RegistrationConfig
from isoclinic.similarity import SphericalSimilarity
from isoclinic.solver import L2, LMConfig, Problem, levenberg_marquardt

# Gradients per millimetre are small numbers; torch's own, 1e-8, would shorten the steps of some.
_ADAM_EPS = 1e-16


@dataclass(frozen=True, kw_only=True)
class Config(Inputs):
    """What to run.

    Attributes:
        init: starting poses of truth.json, by their distance [mm].
        residuals: names of what is minimised, as the table has them; all when empty.
        max_steps: of Levenberg-Marquardt, whose other settings are those of a registration.
        rates_mm: learning rates that Adam tries [mm, and rotations scaled to it].
        lengths: iterations in which the learning rate decays to zero, half a cosine; each is tried. The last
            is tried without decay, too.
        margin_share: of Levenberg-Marquardt's final median error, by which one that is as accurate may be
            larger.
        margin_mm: the same in millimetres, if that is more; 0.1 mm is a thirtieth of a pixel at the isocentre
            in the images compared here [mm].
        output: folder for convergence.png and convergence.json.
    """

    init: str = "15"
    residuals: tuple[str, ...] = ()
    max_steps: int = 100
    rates_mm: tuple[float, ...] = (0.25, 0.5, 1.0, 2.0, 4.0)
    lengths: tuple[int, ...] = (50, 100, 300)
    margin_share: float = 0.1
    margin_mm: float = 0.1
    output: Path

    def solver(self, problem: Problem) -> LMConfig:
        """As a registration has it for such a residual, but for the budget."""
        whole = RegistrationConfig()
        part = whole.stages[-1] if isinstance(problem, Separate) else whole.learned
        return replace(part.solver(whole.length_mm, whole.max_step_mm), max_steps=self.max_steps)

    def target_mm(self, final_mm: float) -> float:
        """Median error that is as accurate as a final one [mm]."""
        return final_mm + max(self.margin_share * final_mm, self.margin_mm)


@dataclass(frozen=True, kw_only=True)
class Course:
    """How the errors of the B cases of a CT went down.

    Attributes:
        name: of the optimiser and its settings.
        errors_mm: [N + 1, B], mTRE after no, 1, ... N renderings of each case [mm].
    """

    name: str
    errors_mm: list[list[float]]

    @property
    def medians_mm(self) -> NDArray[np.float64]:
        """[N + 1]."""
        return np.median(self.errors_mm, axis=1)

    def renderings(self, target_mm: float) -> float:
        """Until the median error is as small as that and stays so; infinite if never."""
        (above,) = np.nonzero(self.medians_mm > target_mm)
        needed = above[-1] + 1 if len(above) else 0
        return float(needed) if needed < len(self.errors_mm) else math.inf


@dataclass(frozen=True, kw_only=True)
class Comparison:
    """Both optimisers on one residual and CT.

    Attributes:
        residual: its name.
        group: of the cases.
        target_mm: median error that counts as reached [mm].
        solver: course of Levenberg-Marquardt.
        adam: course of the best settings of Adam.
        solver_renderings: until the target.
        adam_renderings: until the target; None if none of the settings got there.
    """

    residual: str
    group: str
    target_mm: float
    solver: Course
    adam: Course
    solver_renderings: float
    adam_renderings: float | None


@dataclass(frozen=True, kw_only=True, eq=False)
class Race:
    """A residual on the cases of a CT, from their starts.

    Attributes:
        problem: every item is a case.
        subject: the cases.
        starts: [B, 4, 4].
        config: of both optimisers.
    """

    problem: Problem
    subject: Subject
    starts: Tensor
    config: Config

    def errors_mm(self, poses: Tensor) -> list[float]:
        """MTRE [B] of poses [B, 4, 4] [mm]."""
        return [
            float(mean_target_registration_error_mm(pose, case.camera_from_world, case.landmarks_world))
            for pose, case in zip(poses, self.subject.cases, strict=True)
        ]

    @torch.no_grad()
    def solver(self) -> Course:
        """Of Levenberg-Marquardt; an item that has stopped stays where it is."""
        settings = self.config.solver(self.problem)
        points = levenberg_marquardt(self.problem, self.starts, settings).trace.x
        errors = [self.errors_mm(self.starts)]
        for row in points:
            now = self.errors_mm(row)
            errors.append(
                [last if math.isnan(new) else new for new, last in zip(now, errors[-1], strict=True)]
            )
        return Course(name="Levenberg-Marquardt", errors_mm=errors)

    def adam(self, target_mm: float) -> Course:
        """Of the settings with which Adam gets to the target soonest, or closest to it if none does."""
        best: Course | None = None
        bound = math.inf
        for length in self.config.lengths:
            for rate_mm in self.config.rates_mm:
                for decays in (True, False) if length == self.config.lengths[-1] else (True,):
                    course = self._adam(rate_mm, length, decays, target_mm, bound)
                    needed = course.renderings(target_mm)
                    final_mm = course.medians_mm[-1]
                    if best is None or (needed, final_mm) < (bound, best.medians_mm[-1]):
                        best, bound = course, needed
        assert best is not None
        return best

    def _adam(self, rate_mm: float, length: int, decays: bool, target_mm: float, bound: float) -> Course:
        """Of one setting; given up where it has not reached the target in `bound` renderings."""
        scale = torch.tensor(self.config.solver(self.problem).step_scale, dtype=torch.float64)
        step = torch.zeros(len(self.starts), 6, dtype=torch.float64)
        optimizer = torch.optim.Adam([step], lr=rate_mm, eps=_ADAM_EPS)
        schedule = torch.optim.lr_scheduler.LambdaLR(
            optimizer, lambda done: (1 + math.cos(math.pi * done / length)) / 2 if decays else 1.0
        )
        poses, errors = self.starts, [self.errors_mm(self.starts)]
        reached = False
        for iteration in range(length):
            if not reached and iteration >= bound:
                break
            step.zero_()
            step.grad = gradient(self.problem, poses) * scale
            optimizer.step()
            schedule.step()
            poses = self.problem.retract(poses, step.detach() * scale)
            errors.append(self.errors_mm(poses))
            reached = reached or bool(np.median(errors[-1]) <= target_mm)
        decay = f", decaying in {length}" if decays else ""
        return Course(name=f"Adam, {rate_mm:g} mm{decay}", errors_mm=errors)


def gradient(problem: Problem, x: Tensor) -> Tensor:
    """That of `problem.linearize` [B, 6] at a pose [B, 4, 4] of every item.

    For encoders by one backward pass in place of six tangents, which takes a third of the time.
    """
    if not isinstance(problem, SphericalSimilarity):
        return problem.linearize(x, torch.arange(len(x))).gradient
    assert isinstance(problem.robust, L2)
    image, jacobian = problem.projector.image_and_jacobian(x)
    moving = masked(image, problem.weight).requires_grad_()
    residual = problem.encoder.residual(problem.encoder(moving), problem.fixed)
    (by_image,) = torch.autograd.grad(residual.square().sum() / 2, moving)
    by_pose = masked(jacobian, problem.weight[:, None])
    return torch.einsum("bphw,bhw->bp", by_pose, by_image).double()


def races(config: Config) -> Iterator[tuple[str, Race]]:
    """Of every CT and residual, by the residual's name."""
    for subject in subjects(config):
        starts = torch.stack([case.starts[config.init] for case in subject.cases])
        for name, problem in subject.problems().items():
            if not config.residuals or name in config.residuals:
                yield name, Race(problem=problem, subject=subject, starts=starts, config=config)


def compared(name: str, race: Race) -> Comparison:
    """Both optimisers on one residual."""
    solver = race.solver()
    target_mm = race.config.target_mm(float(solver.medians_mm[-1]))
    adam = race.adam(target_mm)
    needed = adam.renderings(target_mm)
    return Comparison(
        residual=name,
        group=race.subject.group,
        target_mm=target_mm,
        solver=solver,
        adam=adam,
        solver_renderings=solver.renderings(target_mm),
        adam_renderings=needed if math.isfinite(needed) else None,
    )


def table(measured: Sequence[Comparison]) -> Table:
    """Medians, and how soon the target is reached."""
    result = Table(
        "residual",
        "CT",
        title="median mTRE, and renderings until it is as small as Levenberg-Marquardt's in the end",
    )
    for heading in ("start\n[mm]", "LM, end\n[mm]", "Adam, end\n[mm]", "target\n[mm]", "LM", "Adam", "ratio"):
        result.add_column(heading.replace("[", r"\["), justify="right")
    result.add_column("settings")
    for each in measured:
        ratio = None if each.adam_renderings is None else each.adam_renderings / each.solver_renderings
        ends = (each.solver.medians_mm[0], each.solver.medians_mm[-1], each.adam.medians_mm[-1])
        result.add_row(
            each.residual,
            each.group,
            *(f"{value:.2f}" for value in (*ends, each.target_mm)),
            f"{each.solver_renderings:.0f}",
            f"{each.adam_renderings:.0f}" if each.adam_renderings else f"> {len(each.adam.errors_mm) - 1}",
            "" if ratio is None else f"{ratio:.1f}",
            each.adam.name,
        )
    return result


def figure(measured: Sequence[Comparison]) -> Figure:
    """A row for every CT, a column for every residual: medians and quartiles of the errors."""
    groups = list(dict.fromkeys(each.group for each in measured))
    residuals = list(dict.fromkeys(each.residual for each in measured))
    result = Figure(figsize=(4.2 * len(residuals), 3.6 * len(groups)), layout="constrained")
    panels = result.subplots(len(groups), len(residuals), sharey="row", squeeze=False)
    for axes in panels.flat:
        axes.set_visible(False)
    for each in measured:
        axes = panels[groups.index(each.group), residuals.index(each.residual)]
        axes.set_visible(True)
        for index, course in enumerate((each.solver, each.adam)):
            low, middle, high = np.percentile(course.errors_mm, (25, 50, 75), axis=1)[:, 1:]
            renderings = np.arange(1, len(middle) + 1)
            axes.fill_between(renderings, low, high, color=f"C{index}", alpha=0.2, linewidth=0)
            axes.plot(renderings, middle, color=f"C{index}", label=course.name)
        axes.axhline(each.target_mm, color="0.4", linewidth=1, linestyle="--", label="target")
        axes.set_title(f"{each.residual}, {each.group}")
        axes.set_xscale("log")
        axes.set_yscale("log")
        axes.set_xlabel("renderings")
        axes.grid(alpha=0.3)
        axes.legend(fontsize="small")
    for axes in panels[:, 0]:
        axes.set_ylabel("mTRE [mm]")
    return result


def main() -> None:
    """Run it all, print it and draw it."""
    try:
        config = tyro.cli(Config, description=__doc__)
        torch.set_num_threads(config.threads)
        console = Console(width=None if sys.stdout.isatty() else 140)
        chosen = list(races(config))
        measured = [compared(*race) for race in track(chosen, description="minimising", console=console)]
        config.output.mkdir(parents=True, exist_ok=True)
        document = json.dumps([asdict(each) for each in measured])
        (config.output / "convergence.json").write_text(document, encoding="utf-8")
        figure(measured).savefig(config.output / "convergence.png", dpi=120)
    except (InputError, UsageError, OSError) as error:
        sys.exit(str(error))
    console.print(table(measured))


if __name__ == "__main__":
    main()
