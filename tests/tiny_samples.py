"""Samples of a phantom, and methods that take no time."""

from __future__ import annotations

import math
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import torch

import phantoms
from isoclinic.datasets import Sample
from isoclinic.errors import InputError, UsageError
from isoclinic.evaluation import MethodResult
from isoclinic.geometry import se3
from isoclinic.registration.initialize import initial_pose
from isoclinic.volumes import Volume, XRay

LANDMARKS = torch.tensor([[10.0, 0, 5], [-20, 30, 1], [0, 0, 40]], dtype=torch.float64)


def sample(name: str = "a/00", **changes) -> Sample:
    """Of a phantom of 80 mm."""
    volume = phantoms.phantom(0, (32, 32, 32))
    values: dict[str, Any] = {
        "name": name,
        "subject": name.partition("/")[0],
        "volume": volume,
        "xray": XRay(
            pixels=torch.rand(16, 16, generator=torch.Generator().manual_seed(0)).numpy(),
            camera=phantoms.CAMERA.resize(height=16, width=16),
            polarity="dark_air",
            pixel_scale="log",
        ),
        "camera_from_world": phantoms.true_pose(volume),
        "landmark_names": ("a", "b", "c"),
        "landmarks_world": LANDMARKS + torch.from_numpy(volume.isocentre_world),
    }
    return Sample(**values | changes)


def off_by(pose: torch.Tensor, *tangent: float) -> torch.Tensor:
    volume = phantoms.phantom(0, (32, 32, 32))
    centre = torch.from_numpy(volume.isocentre_world)
    return se3.perturb(pose, torch.tensor(tangent, dtype=torch.float64), centre)


@dataclass(frozen=True)
class Reading:
    """How `Samples` are read."""

    value: int = 0


@dataclass
class Samples:
    """A data set of the phantom, whose samples are read from files that hold nothing else than a word.

    Attributes:
        folder: with a file for every sample.
        xrays: names by subject.
        config: anything.
    """

    folder: Path
    xrays: dict[str, tuple[str, ...]]
    config: Reading = field(default_factory=Reading)
    reads: list[str] = field(default_factory=list)

    @property
    def subjects(self) -> tuple[str, ...]:
        return tuple(self.xrays)

    @property
    def names(self) -> tuple[str, ...]:
        return tuple(name for subject in self.xrays for name in self.names_of(subject))

    def names_of(self, subject: str) -> tuple[str, ...]:
        if subject not in self.xrays:
            raise UsageError(
                f"no subject {subject!r}; there are {', '.join(self.xrays)}", code="options.invalid-value"
            )
        return tuple(f"{subject}/{xray}" for xray in self.xrays[subject])

    def __len__(self) -> int:
        return len(self.names)

    def __getitem__(self, name: str) -> Sample:
        text = self.files(name)[0].read_text()
        if text == "broken":
            raise InputError(f"{name} is broken", code="input.unreadable")
        return sample(name)

    def samples(self, subject: str) -> Iterator[Sample]:
        return (self[name] for name in self.names_of(subject))

    def volume(self, subject: str) -> Volume:
        return sample(f"{subject}/00").volume

    def files(self, name: str) -> tuple[Path, ...]:
        return (self.folder / name.replace("/", "-"),)


def write_samples(folder: Path, **subjects: int) -> Samples:
    """So many samples of each subject."""
    folder.mkdir(parents=True, exist_ok=True)
    xrays = {subject: tuple(f"{n:02}" for n in range(count)) for subject, count in subjects.items()}
    dataset = Samples(folder, xrays)
    for name in dataset.names:
        dataset.files(name)[0].write_text(name)
    return dataset


@dataclass(frozen=True, kw_only=True)
class Nudge:
    """A method that moves every start by so many millimetres to the right, and notes that it was called."""

    name: str = "nudge"
    shift_mm: float = 1.0
    log: Path | None = None
    fails_on: str = ""

    @property
    def settings(self) -> dict[str, Any]:
        return {"shift_mm": self.shift_mm}

    def register(self, sample: Sample, start: Any) -> MethodResult:
        if self.log is not None:
            with self.log.open("a") as file:
                file.write(f"{sample.name}\n")
        if sample.name == self.fails_on:
            raise InputError(f"{self.name} cannot", code="input.unreadable")
        begun = initial_pose(sample.volume, sample.xray, start).camera_from_world
        return MethodResult(
            camera_from_world=off_by(begun, 0, 0, 0, self.shift_mm, 0, 0),
            initial_camera_from_world=begun,
            seconds=0.25,
            similarity=math.pi,
        )
