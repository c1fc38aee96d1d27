"""The interface of every data set: X-rays of patients with a CT, and the true poses."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Protocol

from torch import Tensor

from ..volumes import Volume, XRay


@dataclass(frozen=True, kw_only=True, eq=False)
class Sample:
    """An X-ray with its CT and its true pose.

    Attributes:
        name: the name of the X-ray, unique in its data set: "subject/x-ray".
        subject: whose CT it belongs to.
        volume: the CT; samples that follow each other share that of their subject.
        xray: the X-ray, with the intrinsics of exactly these pixels.
        camera_from_world: the true pose [4, 4], float64; world RAS mm.
        landmark_names: N names.
        landmarks_world: their points [N, 3] in the CT, float64, RAS mm. Not every one need be in the image.
        starts: poses [4, 4] by name that were stored with it for registrations to begin at.
    """

    name: str
    subject: str
    volume: Volume
    xray: XRay
    camera_from_world: Tensor
    landmark_names: tuple[str, ...]
    landmarks_world: Tensor
    starts: Mapping[str, Tensor] = field(default_factory=dict)


class Dataset(Protocol):
    """Samples by name. Opening one reads names only, and a sample is read when it is asked for.

    It can be sent to workers (pickled), without the CT that it keeps.
    """

    @property
    def config(self) -> Any:
        """Return how it is read: a frozen dataclass."""

    @property
    def subjects(self) -> tuple[str, ...]:
        """Names of the patients or specimens."""

    @property
    def names(self) -> tuple[str, ...]:
        """Names of all samples, subject by subject."""

    def names_of(self, subject: str) -> tuple[str, ...]:
        """Names of the samples of a subject.

        Raises:
            UsageError: there is no such subject; the message lists those there are.
        """

    def __len__(self) -> int:
        """Compute how many samples there are."""

    def __getitem__(self, name: str) -> Sample:
        """The sample of that name.

        Raises:
            UsageError: there is none.
            InputError: what is stored of it is incomplete or damaged.
        """

    def samples(self, subject: str) -> Iterator[Sample]:
        """The samples of a subject, one at a time.

        Raises:
            UsageError: there is no such subject; the message lists those there are.
            InputError: what is stored of a sample is incomplete or damaged.
        """

    def volume(self, subject: str) -> Volume:
        """The CT of a subject.

        Raises:
            UsageError: there is no such subject.
            InputError: what is stored of the CT is incomplete or damaged.
        """

    def files(self, name: str) -> tuple[Path, ...]:
        """The files that a sample is read from: that of its CT, that of its X-ray if it is another, others.

        Raises:
            UsageError: there is no such sample.
        """
