"""Networks trained one after the other on simulated X-rays, from one state on disk to the next."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from dataclasses import asdict, dataclass, replace
from functools import cached_property
from pathlib import Path

import torch

from .._optional import require
from ..errors import UsageError
from ..geometry import Camera, gantry_view, se3
from ..networks import Checkpoint, PoseSpace, TrainingRecord
from ..rendering.render import Backend
from ..volumes import Volume
from . import distributed
from .config import CanonicalPhase, EncoderPhase, NetworkKind, PhaseConfig, RegressorPhase, TrainConfig
from .objectives import moving_for
from .phase import Length, Phase, network_of
from .poses import PoseConfig
from .randomization import RandomizationConfig
from .state import load_state, save_state
from .stream import SimulationStream, StreamConfig
from .validation import Validation

MODEL_FILE, STATE_FILE = "model.safetensors", "state.safetensors"


@dataclass(frozen=True, kw_only=True, eq=False)
class Subject:
    """The CT that networks are trained for, and what X-rays of it are like.

    Attributes:
        volume: the CT.
        sha256: digest of its file.
        camera: of the X-rays, at any resolution.
    """

    volume: Volume
    sha256: str
    camera: Camera


@dataclass(frozen=True, kw_only=True)
class Progress:
    """Where a training is, after every batch.

    Attributes:
        phase: what is trained now, with its course.
        index: of that network among all.
        images_per_s: X-rays a second, all processes together.
        seconds_left: of the whole training.
        validated: whether the curve has just become longer.
    """

    phase: Phase
    index: int
    images_per_s: float
    seconds_left: float
    validated: bool


class Trainer:
    """Trains networks for a CT.

    Batches, weights and validations depend on the configuration and its seed alone, however often a training
    is interrupted; only where minutes set its length, learning rates follow the clock.

    Args:
        subject: the CT and its X-rays.
        config: what is trained and how.
        device: to train on.

    Raises:
        UsageError: images that do not suit the networks, a device that is not there, or a package of the
            extra `isoclinic[train]` that is not installed.
    """

    def __init__(self, subject: Subject, config: TrainConfig, device: torch.device) -> None:
        check_device(device)
        require("safetensors")
        self.config = config
        self._subject = subject
        self._device = device
        self._camera = _resized(subject.camera, config)
        self._space = _space(subject.volume, config)
        self.phases = [self._phase(kind) for kind in config.networks]

    def run(
        self,
        folder: Path,
        on_batch: Callable[[Progress], None] = lambda progress: None,
        should_stop: Callable[[], bool] = lambda: False,
    ) -> bool:
        """Train, and write the model and the state to the folder every few minutes and at the end.

        Args:
            folder: for `model.safetensors` and `state.safetensors`.
            on_batch: told after every batch.
            should_stop: asked after every batch; when it says so, all is saved and training ends.

        Returns:
            Whether the training is complete.

        Raises:
            InputError: the folder cannot be written to.
        """
        saved = time.perf_counter()
        for progress in self._progress():
            on_batch(progress)
            stop = distributed.any_of(should_stop())
            due = time.perf_counter() - saved > 60 * self.config.checkpoint_minutes
            if stop or distributed.any_of(due) or progress.phase.course.progress == 1:
                self.save(folder)
                saved = time.perf_counter()
            if stop:
                break
        return all(phase.course.progress == 1 for phase in self.phases)

    def resume(self, folder: Path) -> None:
        """Go on from the state in a folder, maybe to another length.

        Raises:
            InputError: there is none, or it is of another training.
        """
        load_state(folder / STATE_FILE, self.phases, self._settings)
        for phase in self.phases:
            phase.measure(self._length(phase.kind))

    def save(self, folder: Path) -> None:
        """Write the model and the state to the folder.

        Raises:
            InputError: they cannot be written.
        """
        if distributed.rank() == 0:
            save_state(folder / STATE_FILE, self.phases, self._settings)
            self.checkpoint().save(folder / MODEL_FILE)

    def checkpoint(self) -> Checkpoint:
        """The networks as they are now: those that have been trained at all."""
        poses = self.config.poses
        begun = [phase for phase in self.phases if phase.course.batches]
        record = TrainingRecord(
            volume_sha256=self._subject.sha256,
            camera=self._camera,
            space=self._space,
            rotation_deg=_turns_deg(poses),
            translation_mm=_shifts_mm(poses),
            curves={
                phase.kind: {name: tuple(values) for name, values in phase.course.curve.items()}
                for phase in begun
            },
        )
        return Checkpoint(networks={phase.kind: phase.network for phase in begun}, record=record)

    def _progress(self) -> Iterator[Progress]:
        for index, phase in enumerate(self.phases):
            course, length = phase.course, self._length(phase.kind)
            while course.progress < 1:
                phase.network.train()
                before = int(course.progress * self.config.validations)
                phase.advance(length)
                due = course.batches == 1 or int(course.progress * self.config.validations) > before
                if due:
                    phase.validate(self._validation)
                yield Progress(
                    phase=phase,
                    index=index,
                    images_per_s=phase.images / course.seconds,
                    seconds_left=self._seconds_left(),
                    validated=due,
                )

    def _length(self, kind: NetworkKind) -> Length:
        share, images = self.config.share(kind), self.config.images
        return Length(
            images=None if images is None else max(1, round(share * images)),
            seconds=60 * self.config.minutes * share,
        )

    def _seconds_left(self) -> float:
        """Minutes are kept to; where X-rays are counted, networks not begun yet take as long as the last."""
        total, pace = 0.0, 0.0
        for phase in self.phases:
            share, course = self.config.share(phase.kind), phase.course
            if course.progress > 0:
                pace = course.seconds / (course.progress * share)
            if self.config.images is None:
                pace = 60 * self.config.minutes
            total += pace * share * (1 - course.progress)
        return total

    def _phase(self, kind: NetworkKind) -> Phase:
        config = self._fitted(self.config.phase(kind))
        return Phase(
            kind,
            network_of(config, seed=self.config.seed),
            config,
            self._stream(config),
            [self._space],
            dtype=_dtype(self.config, self._camera, self._device),
            device=self._device,
        )

    def _fitted(self, phase: PhaseConfig) -> PhaseConfig:
        """The phase with what its network must share with the poses."""
        if not isinstance(phase, RegressorPhase):
            return phase
        poses = self.config.poses
        # Angles are turns one after the other, and the network's a single rotation vector; smooth bounds need
        # room besides.
        x_deg, y_deg, z_deg = (_ROOM * reach + _MARGIN_DEG for reach in _turns_deg(poses))
        x_mm, y_mm, z_mm = (_ROOM * reach + _MARGIN_MM for reach in _shifts_mm(poses))
        network = replace(
            phase.network,
            length_mm=self.config.length_mm,
            rotation_deg=(x_deg, y_deg, z_deg),
            translation_mm=(x_mm, y_mm, z_mm),
        )
        return replace(phase, network=network)

    def _stream(self, phase: PhaseConfig) -> SimulationStream:
        poses = self.config.poses
        if isinstance(phase, EncoderPhase):
            poses = replace(poses, perturbation_mm=phase.perturbation_mm)
        config = StreamConfig(
            batch=phase.batch,
            copies=phase.copies,
            moving=moving_for(phase),
            poses=poses,
            randomization=self.config.randomization,
        )
        return self._stream_of(config, self.config.seed)

    def _stream_of(self, config: StreamConfig, seed: int) -> SimulationStream:
        """A stream rendered where the networks are."""
        backend: Backend = "cuda" if self._device.type == "cuda" else "cpu"
        config = replace(config, backend=backend)
        return SimulationStream([self._subject.volume], self._camera, config, seed=seed)

    @cached_property
    def _validation(self) -> Validation:
        """The same for every network, made when first needed."""
        config = StreamConfig(
            batch=self.config.validation_images,
            moving="none",
            poses=self.config.poses,
            randomization=RandomizationConfig.isoclinic(),
        )
        # Batches are independent of those of every other seed.
        stream = self._stream_of(config, self.config.seed + 1)
        batch = stream.batch(0).to(self._device)
        return Validation.of(
            self._subject.volume, stream.projector(0), batch, self._space, seed=self.config.seed
        )

    @property
    def _settings(self) -> dict[str, object]:
        """What must be the same for a training to be gone on with; its length may change."""
        settings = asdict(self.config)
        for name in ("minutes", "images", "checkpoint_minutes"):
            del settings[name]
        processes = distributed.processes()
        return settings | {
            "ct_sha256": self._subject.sha256,
            "camera": asdict(self._camera),
            "processes": processes,
        }


# Of smaller images the last stage of a ResNet-18 sees a single pixel, and oneDNN's bfloat16 gradient of a
# strided convolution of that is what happened to be in memory (torch 2.13).
_BFLOAT16_PIXELS = 32

# Beyond the poses that are trained on, for the network's smooth bounds.
_ROOM, _MARGIN_DEG, _MARGIN_MM = 1.3, 5.0, 10.0


def _turns_deg(poses: PoseConfig) -> tuple[float, float, float]:
    """Reach of the rotation about the camera's x, y and z."""
    return poses.secondary_reach_deg, poses.primary_reach_deg, poses.in_plane_reach_deg


def _shifts_mm(poses: PoseConfig) -> tuple[float, float, float]:
    """Reach of the isocentre along the camera's x, y and z."""
    return poses.lateral_reach_mm, poses.lateral_reach_mm, poses.depth_reach_mm


def check_device(device: torch.device) -> None:
    """Raises UsageError for a GPU that is not there."""
    if device.type == "cuda" and not torch.cuda.is_available():
        raise UsageError("--device cuda: torch finds no GPU here; use --device cpu or auto")


def _dtype(config: TrainConfig, camera: Camera, device: torch.device) -> torch.dtype:
    fast = device.type == "cuda" or _bfloat16_processor()
    wanted = config.precision == "bfloat16" or (config.precision == "auto" and fast)
    possible = device.type == "cuda" or min(camera.height, camera.width) >= _BFLOAT16_PIXELS
    return torch.bfloat16 if wanted and possible else torch.float32


def _bfloat16_processor() -> bool:
    """Whether the processor has instructions for it; older versions of torch do not tell."""
    capabilities: dict[str, bool] = getattr(torch.cpu, "get_capabilities", dict)()
    return any(capabilities.get(name, False) for name in ("avx512_bf16", "amx_bf16", "bf16"))


def _resized(camera: Camera, config: TrainConfig) -> Camera:
    """The camera with its longer side of so many pixels, both sides multiples of the networks' strides."""
    strides = [
        phase.network.backbone.stride
        for phase in map(config.phase, config.networks)
        if isinstance(phase, EncoderPhase | CanonicalPhase)
    ]
    stride = max(strides, default=1)
    scale = config.pixels / max(camera.width, camera.height)
    height, width = (max(1, round(scale * side / stride)) * stride for side in (camera.height, camera.width))
    return camera.resize(height=height, width=width)


def _space(volume: Volume, config: TrainConfig) -> PoseSpace:
    poses = config.poses
    isocentre = torch.as_tensor(volume.isocentre_world, dtype=torch.float64)
    view = gantry_view(poses.primary_angle_deg, poses.secondary_angle_deg, poses.source_isocentre_mm)
    nominal = view @ se3.rigid(torch.eye(3, dtype=torch.float64), -isocentre)
    return PoseSpace.about(nominal, isocentre, config.length_mm)
