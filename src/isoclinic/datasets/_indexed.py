"""The common base of the data sets: X-rays by subject and name; the CT of the latest subject is kept."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray

from ..errors import UsageError
from ..volumes import Volume
from .sample import Sample

Array = NDArray[np.float64]
Landmarks = Mapping[str, Array]


class IndexedDataset(ABC):
    """A data set whose names are known beforehand, and whose files are opened anew for every reading.

    Args:
        path: the path of its file or folder.
        xrays: names of the X-rays by subject.
    """

    config: Any

    def __init__(self, path: Path, xrays: Mapping[str, tuple[str, ...]]) -> None:
        self.path = path
        self._xrays = xrays
        self._latest: tuple[str, Volume] | None = None

    @property
    def subjects(self) -> tuple[str, ...]:
        """Names of the patients or specimens."""
        return tuple(self._xrays)

    @property
    def names(self) -> tuple[str, ...]:
        """Names of all samples, subject by subject."""
        return tuple(name for subject in self.subjects for name in self.names_of(subject))

    def names_of(self, subject: str) -> tuple[str, ...]:
        """Names of the samples of a subject, "subject/x-ray".

        Raises:
            UsageError: there is no such subject; the message lists those there are.
        """
        self._check_subject(subject)
        return tuple(f"{subject}/{xray}" for xray in self._xrays[subject])

    def __len__(self) -> int:
        """Compute how many samples there are."""
        return sum(map(len, self._xrays.values()))

    def __getitem__(self, name: str) -> Sample:
        """The sample of that name.

        Raises:
            UsageError: there is none; the message lists those of the subject, or the subjects.
            InputError: what is stored of it is incomplete or damaged.
        """
        subject, xray = self._split(name)
        return self._read_sample(subject, xray, self.volume(subject))

    def samples(self, subject: str) -> Iterator[Sample]:
        """The samples of a subject, one at a time.

        Raises:
            UsageError: there is no such subject; the message lists those there are.
            InputError: what is stored of it is incomplete or damaged.
        """
        return (self[name] for name in self.names_of(subject))

    def volume(self, subject: str) -> Volume:
        """The CT of a subject; the latest one is kept.

        Raises:
            UsageError: there is no such subject; the message lists those there are.
            InputError: what is stored of it is incomplete or damaged.
        """
        self._check_subject(subject)
        if self._latest is None or self._latest[0] != subject:
            self._latest = subject, self._read_volume(subject)
        return self._latest[1]

    def files(self, name: str) -> tuple[Path, ...]:
        """The files that a sample is read from: that of its CT, that of its X-ray, then others.

        Raises:
            UsageError: there is no such sample.
        """
        return self._files(*self._split(name))

    def __getstate__(self) -> dict[str, Any]:
        return {**self.__dict__, "_latest": None}

    @abstractmethod
    def _read_volume(self, subject: str) -> Volume:
        """The CT of a subject."""

    @abstractmethod
    def _read_sample(self, subject: str, xray: str, volume: Volume) -> Sample:
        """One X-ray with its truth."""

    @abstractmethod
    def _files(self, subject: str, xray: str) -> tuple[Path, ...]:
        """Files of the CT, of the X-ray, and others."""

    def _split(self, name: str) -> tuple[str, str]:
        """Subject and X-ray of a sample that there is."""
        subject, _, xray = name.partition("/")
        self._check_subject(subject)
        if xray not in self._xrays[subject]:
            known = ", ".join(self._xrays[subject]) or "none"
            raise UsageError(
                f"{self.path} has no X-ray {xray!r} of {subject}; there are {known}",
                code="dataset.unknown-name",
            )
        return subject, xray

    def _check_subject(self, subject: str) -> None:
        if subject not in self._xrays:
            raise UsageError(
                f"{self.path} has no subject {subject!r}; there are {', '.join(self._xrays)}",
                code="dataset.unknown-name",
            )


def stacked(landmarks: Landmarks) -> torch.Tensor:
    """Points [N, 3], float64."""
    return torch.from_numpy(np.array(list(landmarks.values())).reshape(-1, 3))
