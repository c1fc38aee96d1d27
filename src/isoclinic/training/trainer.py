"""Networks trained one after the other on simulated X-rays, from one state on disk to the next."""

from __future__ import annotations

import math
import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import asdict, dataclass, fields, replace
from functools import cached_property
from pathlib import Path
from typing import TypeVar

import numpy as np
import torch

from ..anatomy import Cohort
from ..errors import InputError, UsageError
from ..geometry import Camera
from ..networks import BoundedPoseConfig, Checkpoint, PoseSpace, TrainingRecord
from ..networks.checkpoint import PartRecord
from ..provenance import InputFile
from ..rendering.config import Backend
from ..volumes import Volume, VoxelIdentity
from . import distributed
from .cameras import camera_of_part, resized_camera
from .config import (
    CTRegressorPhase,
    EncoderPhase,
    NetworkKind,
    PhaseConfig,
    RegressorPhase,
    TrainConfig,
)
from .file_names import MODEL_FILE, STATE_FILE
from .objectives import moving_for
from .part_stream import PartStream
from .phase import Length, Phase, network_of
from .pose_config import PoseConfig
from .randomization_config import RandomizationConfig
from .state import load_state, save_state
from .stream import SimulationStream, StreamConfig
from .validation import Validation

RegressorConfigT = TypeVar("RegressorConfigT", bound=BoundedPoseConfig)


@dataclass(frozen=True, kw_only=True, eq=False)
class Subject:
    """A CT to train on, or to validate on.

    Attributes:
        volume: the CT, or a coarser one that a cohort is made from.
        sha256: digest of its file.
        voxels: identity of the CT at full resolution; None where `volume` is that.
    """

    volume: Volume
    sha256: str
    voxels: VoxelIdentity | None = None

    @classmethod
    def read(cls, path: Path, labels: Path | None = None) -> Subject:
        """Read the CT of a file or folder, and its label map.

        Raises:
            InputError: they cannot be read.
        """
        return cls(volume=Volume.read(path, labels=labels), sha256=InputFile.of(path).sha256)

    def coarsened(self, voxel_mm: float) -> Subject:
        """The same CT with voxels of about this size, for a cohort to be made from; it keeps its identity."""
        return replace(self, volume=self.volume.coarsened(voxel_mm), voxels=self.identity)

    @property
    def identity(self) -> VoxelIdentity:
        """The identity of the CT, which does not depend on its file."""
        return self.voxels or VoxelIdentity.of(self.volume)


@dataclass(frozen=True, kw_only=True, eq=False)
class TrainingData:
    """The CTs of a training, and what X-rays of them are like.

    Attributes:
        subjects: to train on.
        camera: of the X-rays, at any resolution.
        held_out: to validate on; none of the training sees them. Where there are none, networks are validated
            on other X-rays of the CTs they are trained on.
        one_patient: whether the networks are for the one CT, and no others, that they are trained on.

    Raises:
        UsageError: no CT, or one patient who is several.
    """

    subjects: tuple[Subject, ...]
    camera: Camera
    held_out: tuple[Subject, ...] = ()
    one_patient: bool = True

    def __post_init__(self) -> None:
        if not self.subjects or (self.one_patient and len(self.subjects) > 1):
            raise UsageError(
                "a training needs CTs to train on, and one alone for networks of one patient",
                code="training.no-ct",
            )


@dataclass(frozen=True, kw_only=True)
class TrainingProgress:
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
    """Trains networks for a CT, or for any.

    Batches, weights and validations depend on the configuration and its seed alone, however often a training
    is interrupted; only where minutes set its length, learning rates follow the clock.

    Args:
        data: the CTs and their X-rays.
        config: what is trained and how.
        device: to train on.

    Raises:
        UsageError: images that do not suit the networks, a device that is not there, or a package of the
            extra `isoclinic[train]` that is not installed.
    """

    def __init__(self, data: TrainingData, config: TrainConfig, device: torch.device) -> None:
        check_device(device)
        self.config = config
        self._data = data
        self._device = device
        volume = data.subjects[0].volume
        self._camera = (
            resized_camera(data.camera, config) if config.part is None else camera_of_part(volume, config)
        )
        self._space = _space(volume, config)
        self.phases = [self._phase(kind) for kind in config.networks]

    def run(
        self,
        folder: Path,
        on_batch: Callable[[TrainingProgress], None] = lambda progress: None,
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

    def start_from(self, model: Checkpoint) -> None:
        """Give all networks the weights that those of a model have, before any training.

        Raises:
            InputError: it lacks one, or its networks are others or see other views.
        """
        differences = [
            f"{what} is {mine}, the model's {its}"
            for what, mine, its in (
                ("the nominal view", self._space, model.record.space.about_isocentre(self._space.isocentre)),
                ("the field of view", self._camera, model.record.camera),
            )
            if not _alike(mine, its)
        ]
        for phase in self.phases:
            known = model.networks.get(phase.kind)
            if known is None or known.config != phase.network.config:
                differences.append(f"the {phase.kind} is another network, or the model has none")
        if differences:
            raise InputError(
                f"this training cannot start from the model: {'; '.join(differences)}",
                code="model.unsuitable",
            )
        for phase in self.phases:
            phase.network.load_state_dict(model.networks[phase.kind].state_dict())

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
        poses, part = self.config.poses, self.config.part
        begun = [phase for phase in self.phases if phase.course.batches]
        record = TrainingRecord(
            volume_sha256=self._data.subjects[0].sha256 if self._data.one_patient else None,
            camera=self._camera,
            space=self._space,
            rotation_deg=_turns_deg(poses) if part is None else (part.start_deg[1],) * 3,
            translation_mm=_shifts_mm(poses)
            if part is None
            else (part.start_mm[1], part.start_mm[1], part.start_depth_mm),
            curves={
                phase.kind: {name: tuple(values) for name, values in phase.course.curve.items()}
                for phase in begun
            },
            domain=self.config.domain,
            renderer=self.config.renderer,
            ct_voxels=self._data.subjects[0].identity if self._data.one_patient else None,
            trained_on=() if self._data.one_patient else self._trained_on,
            part=None
            if part is None
            else PartRecord(structures=part.structures, depth_mm=poses.source_isocentre_mm),
        )
        return Checkpoint(networks={phase.kind: phase.network for phase in begun}, record=record)

    def _progress(self) -> Iterator[TrainingProgress]:
        if self.config.images is not None and len(self.phases) > 1:
            _ = self._paces  # found out before any of them begins
        for index, phase in enumerate(self.phases):
            course, length = phase.course, self._length(phase.kind)
            while course.progress < 1:
                phase.network.train()
                before = int(course.progress * self.config.validations)
                phase.advance(length)
                due = course.batches == 1 or int(course.progress * self.config.validations) > before
                if due:
                    phase.validate(self._validations)
                yield TrainingProgress(
                    phase=phase,
                    index=index,
                    images_per_s=phase.images / course.seconds,
                    seconds_left=self._seconds_left(),
                    validated=due,
                )

    def _length(self, kind: NetworkKind) -> Length:
        return Length(
            images=self.config.images_of(kind), seconds=60 * self.config.minutes * self.config.share(kind)
        )

    def _seconds_left(self) -> float:
        """Minutes are kept to; where X-rays are counted, every network has a pace of its own.

        Networks that have not been validated are taken to be validated as fast as the others.
        """
        known = [phase.validation_s for phase in self.phases if phase.validation_s]
        usual_s = sum(known) / len(known) if known else 0.0
        total = 0.0
        for phase in self.phases:
            length, left = self._length(phase.kind), 1 - phase.course.progress
            if length.images is None or not left:
                total += length.seconds * left
                continue
            batches = left * length.images / (phase.config.batch * distributed.processes())
            pace = phase.seconds_a_batch() if phase.course.batches else self._paces[phase.kind]
            total += batches * pace + left * self.config.validations * (phase.validation_s or usual_s)
        return total

    @cached_property
    def _paces(self) -> dict[NetworkKind, float]:
        """Seconds that a batch takes of networks whose training had not begun with this program."""
        return {phase.kind: phase.seconds_a_batch() for phase in self.phases if not phase.course.batches}

    def _phase(self, kind: NetworkKind) -> Phase:
        config = self._fitted(self.config.phase(kind))
        return Phase(
            kind,
            network_of(config, seed=self.config.seed),
            config,
            self._stream(config),
            self._space,
            dtype=_dtype(self.config, self._camera, self._device),
            device=self._device,
        )

    def _fitted(self, phase: PhaseConfig) -> PhaseConfig:
        """The phase with what its network must share with the poses."""
        if isinstance(phase, RegressorPhase):
            return replace(phase, network=self._reaching(phase.network))
        if isinstance(phase, CTRegressorPhase):
            network = replace(self._reaching(phase.network), image_px=self.config.pixels)
            return replace(phase, network=network)
        return phase

    def _reaching(self, network: RegressorConfigT) -> RegressorConfigT:
        """The regressor that reaches all poses of the training."""
        poses = self.config.poses
        # Angles are turns one after the other, and the network's a single rotation vector; smooth bounds need
        # room besides.
        x_deg, y_deg, z_deg = (_ROOM * reach + _MARGIN_DEG for reach in _turns_deg(poses))
        x_mm, y_mm, z_mm = (_ROOM * reach + _MARGIN_MM for reach in _shifts_mm(poses))
        return replace(
            network,
            length_mm=self.config.length_mm,
            rotation_deg=(x_deg, y_deg, z_deg),
            translation_mm=(x_mm, y_mm, z_mm),
        )

    def _stream(self, phase: PhaseConfig) -> SimulationStream | PartStream:
        poses, around = self.config.poses, 1
        if isinstance(phase, RegressorPhase | CTRegressorPhase):
            # A regressor predicts poses within a reach; the other tasks are the same for turned pictures.
            poses = poses.upright
        if isinstance(phase, EncoderPhase):
            poses, around = replace(poses, perturbation_mm=phase.perturbation_mm), phase.around
        config = StreamConfig(
            batch=phase.batch,
            copies=phase.copies,
            moving=moving_for(phase),
            around=around,
            domain=self.config.domain,
            method=self.config.renderer,
            poses=poses,
            randomization=self.config.randomization,
        )
        volumes, seed = [subject.volume for subject in self._data.subjects], self.config.seed
        anatomies = volumes if self.config.cohort is None else Cohort(volumes, self.config.cohort, seed=seed)
        return self._stream_of(anatomies, config, seed)

    def _stream_of(
        self, anatomies: Sequence[Volume] | Cohort, config: StreamConfig, seed: int
    ) -> SimulationStream | PartStream:
        """A stream rendered where the networks are."""
        backend: Backend = "cuda" if self._device.type == "cuda" else "cpu"
        config = replace(config, backend=backend)
        part = self.config.part
        if part is None:
            return SimulationStream(anatomies, self._camera, config, seed=seed)
        assert not isinstance(anatomies, Cohort)
        depth_mm = self.config.poses.source_isocentre_mm
        return PartStream(anatomies[0], self._camera, config, part, depth_mm=depth_mm, seed=seed)

    @cached_property
    def _validations(self) -> list[Validation]:
        """The same for every network, made when first needed: about as many X-rays of every CT."""
        subjects = self._data.held_out or self._data.subjects
        config = StreamConfig(
            batch=-(-self.config.validation_images // len(subjects)),
            moving="none",
            domain=self.config.domain,
            method=self.config.renderer,
            poses=self.config.poses.upright,
            randomization=RandomizationConfig.isoclinic()
            if self.config.part is None
            else RandomizationConfig.part(),
        )
        seed, validations = self.config.seed, []
        for subject in subjects:
            # Batches are independent of those of every other seed.
            stream = self._stream_of([subject.volume], config, seed + 1)
            batch = stream.batch(0).to(self._device)
            space = self._space.about_isocentre(batch.isocentre_world)
            validations.append(Validation.of(stream.projector(subject.volume), batch, space, seed=seed))
        return validations

    @cached_property
    def _trained_on(self) -> tuple[str, ...]:
        return tuple(subject.identity.sha256 for subject in self._data.subjects)

    @property
    def _settings(self) -> dict[str, object]:
        """What must be the same for a training to be gone on with; its length may change."""
        settings = asdict(self.config)
        for name in ("minutes", "images", "checkpoint_minutes"):
            del settings[name]
        processes = distributed.processes()
        return settings | {
            "ct_sha256": [subject.sha256 for subject in self._data.subjects],
            "held_out_sha256": [subject.sha256 for subject in self._data.held_out],
            "one_patient": self._data.one_patient,
            "camera": asdict(self._camera),
            "processes": processes,
        }


def steps_of(config: TrainConfig, kind: NetworkKind) -> int | None:
    """Batches of a network's training, of one process; None where minutes set the length."""
    images = config.images_of(kind)
    return None if images is None else math.ceil(images / config.phase(kind).batch)


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
        raise UsageError(
            "`device` cuda: torch finds no GPU here; use `device` cpu or auto", code="installation.no-gpu"
        )


def _dtype(config: TrainConfig, camera: Camera, device: torch.device) -> torch.dtype:
    fast = device.type == "cuda" or _bfloat16_processor()
    wanted = config.precision == "bfloat16" or (config.precision == "auto" and fast)
    possible = device.type == "cuda" or min(camera.height, camera.width) >= _BFLOAT16_PIXELS
    return torch.bfloat16 if wanted and possible else torch.float32


def _bfloat16_processor() -> bool:
    """Whether the processor has instructions for it; older versions of torch do not tell."""
    capabilities: dict[str, bool] = getattr(torch.cpu, "get_capabilities", dict)()
    return any(capabilities.get(name, False) for name in ("avx512_bf16", "amx_bf16", "bf16"))


def _alike(a: Camera | PoseSpace, b: Camera | PoseSpace) -> bool:
    """Whether all numbers of two are the same but for rounding."""
    return all(
        np.allclose(getattr(a, each.name), getattr(b, each.name), rtol=1e-6, atol=1e-6) for each in fields(a)
    )


def _space(volume: Volume, config: TrainConfig) -> PoseSpace:
    isocentre = torch.as_tensor(volume.isocentre_world, dtype=torch.float64)
    return PoseSpace.about(config.poses.middle(isocentre), isocentre, config.length_mm)
