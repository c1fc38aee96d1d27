"""The training of one network: its weights, optimiser, stream and curve, batch after batch."""

from __future__ import annotations

import time
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field

import torch
from torch import nn
from torch.nn.parallel import DistributedDataParallel

from ..networks import (
    CanonicalNetwork,
    CTConditionedRegressor,
    Network,
    PoseRegressor,
    PoseSpace,
    Regressor,
    SphericalEncoder,
)
from . import distributed
from .config import (
    CanonicalPhase,
    CTRegressorPhase,
    EncoderPhase,
    NetworkKind,
    PhaseConfig,
    RegressorPhase,
)
from .objectives import objective
from .part_stream import PartStream
from .stream import Batch, SimulationStream
from .validation import Validation, quartiles

# Of the loss that is reported: an average over about as many batches.
_SMOOTHING = 50

COLUMNS = ("images", "minutes", "loss", "mtre_25_mm", "mtre_50_mm", "mtre_75_mm")


@dataclass(kw_only=True)
class Course:
    """How far the training of a network has come.

    Attributes:
        batches: done, on every process.
        seconds: spent on them and on validating.
        progress: share of the training that is done, 0 to 1.
        losses: recent average of each loss.
        curve: what validations found, by `COLUMNS`.
    """

    batches: int = 0
    seconds: float = 0.0
    progress: float = 0.0
    losses: dict[str, float] = field(default_factory=dict)
    curve: dict[str, list[float]] = field(default_factory=lambda: {name: [] for name in COLUMNS})


@dataclass(frozen=True, kw_only=True)
class Length:
    """Of the training of one network.

    Attributes:
        images: X-rays, on all processes together; None where time decides.
        seconds: otherwise.
    """

    images: int | None
    seconds: float


class Phase:
    """One network in training.

    Args:
        kind: of the network.
        network: freshly made.
        config: of its training.
        stream: of X-rays, with the moving images that the objective needs.
        space: of the poses of some CT; of another, about its isocentre.
        dtype: of what is not differentiated twice.
        device: where the network is.
    """

    def __init__(
        self,
        kind: NetworkKind,
        network: Network,
        config: PhaseConfig,
        stream: SimulationStream | PartStream,
        space: PoseSpace,
        *,
        dtype: torch.dtype,
        device: torch.device,
    ) -> None:
        self.kind: NetworkKind = kind
        self.network = network.to(device)
        self.config = config
        self.course = Course()
        self.optimizer = config.optimizer.optimizer(network.parameters())
        self._stream = stream
        self._objective: nn.Module = objective(network, config, space, dtype)
        if distributed.processes() > 1:
            # MONAI's Transformer blocks have weights for a cross-attention that nothing uses.
            unused = not isinstance(network, Regressor)
            self._objective = DistributedDataParallel(self._objective, find_unused_parameters=unused)
        self._batches: Iterator[Batch] | None = None
        self._timed = 0
        self._batch_s = 0.0
        self.validation_s = 0.0

    @property
    def images(self) -> int:
        """X-rays seen so far, by all processes."""
        return self.course.batches * self.config.batch * distributed.processes()

    @property
    def learning_rate(self) -> float:
        """Of the last batch."""
        rate: float = self.optimizer.param_groups[0]["lr"]
        return rate

    def measure(self, length: Length) -> None:
        """Set the share that is done of a training of this length."""
        images, course = length.images, self.course
        done = course.seconds / length.seconds if images is None else self.images / images
        # Every process takes the first one's clock.
        course.progress = min(distributed.of_first(done), 1.0)

    def advance(self, length: Length) -> None:
        """Train on one batch of a training of this length."""
        course = self.course
        if self._batches is None:
            rank, processes = distributed.rank(), distributed.processes()
            self._batches = self._stream.batches(course.batches * processes + rank, processes)
        began = time.perf_counter()
        for group in self.optimizer.param_groups:
            group["lr"] = self.config.optimizer.rate(course.progress)
        losses = self._objective(next(self._batches).to(self._device))
        self.optimizer.zero_grad()
        torch.stack(list(losses.values())).sum().backward()
        nn.utils.clip_grad_norm_(self.network.parameters(), self.config.optimizer.clip_norm)
        self.optimizer.step()
        course.batches += 1
        for name, loss in losses.items():
            value, count = float(loss.detach()), min(course.batches, _SMOOTHING)
            course.losses[name] = course.losses.get(name, value) * (1 - 1 / count) + value / count
        seconds = time.perf_counter() - began
        course.seconds += seconds
        # The first batch of all compiles, and says nothing of the others.
        self._timed += 1
        self._batch_s += (seconds - self._batch_s) / max(1, min(self._timed - 1, _SMOOTHING))
        self.measure(length)

    def seconds_a_batch(self) -> float:
        """How long a batch takes without validations; nothing of what is trained changes by finding out."""
        if self._timed:
            return self._batch_s
        before = {name: value.clone() for name, value in self.network.state_dict().items()}
        self.network.train()
        # The first time compiles, and says nothing.
        for _ in range(2):
            began = time.perf_counter()
            losses = self._objective(self._stream.batch(0).to(self._device))
            torch.stack(list(losses.values())).sum().backward()
            seconds = time.perf_counter() - began
        self.optimizer.zero_grad()
        self.network.load_state_dict(before)
        return seconds

    def validate(self, validations: Sequence[Validation]) -> None:
        """Extend the curve by the errors on all of them; its time is a part of the training's."""
        course, began = self.course, time.perf_counter()
        errors_mm = quartiles(torch.cat([each.mtre_mm(self.network) for each in validations]))
        self.validation_s = time.perf_counter() - began
        course.seconds += self.validation_s
        values = float(self.images), course.seconds / 60, sum(course.losses.values()), *errors_mm
        for name, value in zip(COLUMNS, values, strict=True):
            course.curve[name].append(value)

    @property
    def _device(self) -> torch.device:
        return next(self.network.parameters()).device


def network_of(config: PhaseConfig, *, seed: int) -> Network:
    """A network with random weights; the state of the global random generator stays as it is."""
    with torch.random.fork_rng():
        torch.manual_seed(seed)
        match config:
            case RegressorPhase():
                return PoseRegressor(config.network)
            case CTRegressorPhase():
                return CTConditionedRegressor(config.network)
            case EncoderPhase():
                return SphericalEncoder(config.network)
            case CanonicalPhase():
                return CanonicalNetwork(config.network)
    raise TypeError(f"no network for {type(config).__name__}")
