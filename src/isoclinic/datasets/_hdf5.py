"""HDF5 files of other people: groups whose every complaint names the file and the key, and their index."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray

from .._optional import require
from ..errors import InputError, IsoclinicError, UsageError
from ..volumes import Volume
from .sample import Sample

Array = NDArray[np.float64]
Landmarks = Mapping[str, Array]


@dataclass(frozen=True, kw_only=True)
class Source:
    """Where a data set comes from, for messages.

    Attributes:
        name: of the data set.
        file: name of its file.
        get: how much it is and where to get it.
        root: how the keys begin that tell its file from others.
        others: keys of related files, and what those are.
    """

    name: str
    file: str
    get: str
    root: str
    others: Mapping[str, str]


class Node:
    """A group of an open file."""

    def __init__(self, path: Path, group: Any) -> None:
        self._path = path
        self._group = group

    def __contains__(self, key: str) -> bool:
        return key in self._group

    def __iter__(self) -> Iterator[str]:
        return iter(sorted(self._group))

    def label(self, key: str) -> str:
        """How messages call an entry."""
        return f"{self._path}: {self._group.name.rstrip('/')}/{key}"

    def child(self, key: str) -> Node:
        """The group at a key."""
        first, _, rest = key.partition("/")
        group = self._expect(first)
        if not hasattr(group, "keys"):
            raise InputError(f"{self.label(first)} must be a group, not an array")
        child = Node(self._path, group)
        return child.child(rest) if rest else child

    def vector(self, key: str, count: int) -> Array:
        """That many finite numbers in whatever shape, float64 [count]."""
        values = self._finite(key)
        if values.size != count:
            raise InputError(f"{self.label(key)} must be {count} numbers, not of shape {values.shape}")
        return values.astype(np.float64).ravel()

    def number(self, key: str) -> float:
        """A single finite number."""
        return float(self.vector(key, 1)[0])

    def matrix(self, key: str, columns: int, rows: int | None = None) -> Array:
        """Finite numbers [rows, columns], float64; any number of rows when None."""
        values = self._finite(key)
        if values.ndim != 2 or values.shape[1] != columns or rows not in (None, len(values)):
            wanted = f"{rows or 'N'} x {columns}"
            raise InputError(f"{self.label(key)} must be {wanted} numbers, not of shape {values.shape}")
        return values.astype(np.float64)

    def image(self, key: str, dimensions: int) -> NDArray[Any]:
        """An image or a volume as stored, not empty, finite."""
        pixels = self._finite(key)
        if pixels.ndim != dimensions or pixels.size == 0:
            raise InputError(f"{self.label(key)} must have {dimensions} dimensions, not shape {pixels.shape}")
        return pixels

    def text(self, key: str) -> str:
        """A single string."""
        entry = self._expect(key)
        if hasattr(entry, "keys") or entry.shape != ():
            raise InputError(f"{self.label(key)} must be a text")
        value = entry[()]
        return value.decode("utf-8", "replace") if isinstance(value, bytes) else str(value)

    def _finite(self, key: str) -> NDArray[Any]:
        values = np.asarray(self._expect(key))
        if values.dtype.kind not in "iufb":
            raise InputError(f"{self.label(key)} must be an array of numbers")
        if not np.isfinite(values).all():
            raise InputError(f"{self.label(key)} has values that are NaN or infinite")
        return values

    def _expect(self, key: str) -> Any:
        if key not in self._group:
            raise InputError(
                f"{self.label(key)} is missing; {self._group.name} holds {', '.join(self) or 'nothing'}"
            )
        return self._group[key]


class Hdf5Dataset(ABC):
    """A data set in one HDF5 file, which is opened anew for every reading: it can be sent to workers."""

    _source: Source

    def __init__(self, path: str | Path) -> None:
        self.path = Path(path)
        with self._open() as root:
            if not any(key.startswith(self._source.root) for key in root):
                kinds = [kind for key, kind in self._source.others.items() if key in root]
                held = kinds[0] if kinds else f"it holds {', '.join(root) or 'nothing'}"
                raise self._foreign(f"lacks {self._source.root}: {held}")
            self._xrays = self._index(root)
        if not any(self._xrays.values()):
            raise InputError(f"{self.path} holds no X-ray of {self._source.name}; {self._source.get}")
        self._latest: tuple[str, Volume] | None = None

    @property
    def subjects(self) -> tuple[str, ...]:
        """Names of the patients or specimens."""
        return tuple(self._xrays)

    @property
    def names(self) -> tuple[str, ...]:
        """Names of all samples, "subject/x-ray", subject by subject."""
        return tuple(f"{subject}/{xray}" for subject, xrays in self._xrays.items() for xray in xrays)

    def __len__(self) -> int:
        """How many samples there are."""
        return sum(map(len, self._xrays.values()))

    def __getitem__(self, name: str) -> Sample:
        """The sample of that name.

        Raises:
            UsageError: there is none; the message lists those of the subject, or the subjects.
            InputError: what is stored of it is incomplete or damaged.
        """
        subject, _, xray = name.partition("/")
        self._check_subject(subject)
        if xray not in self._xrays[subject]:
            known = ", ".join(self._xrays[subject]) or "none"
            raise UsageError(f"{self.path} has no X-ray {xray!r} of {subject}; there are {known}")
        volume = self.volume(subject)
        with self._open() as root:
            return self._sample(root, subject, xray, volume)

    def samples(self, subject: str) -> Iterator[Sample]:
        """The samples of a subject, one at a time.

        Raises:
            UsageError: there is no such subject; the message lists those there are.
            InputError: what is stored of it is incomplete or damaged.
        """
        self._check_subject(subject)
        return (self[f"{subject}/{xray}"] for xray in self._xrays[subject])

    def volume(self, subject: str) -> Volume:
        """The CT of a subject; the latest one is kept.

        Raises:
            UsageError: there is no such subject; the message lists those there are.
            InputError: what is stored of it is incomplete or damaged.
        """
        self._check_subject(subject)
        if self._latest is None or self._latest[0] != subject:
            with self._open() as root:
                self._latest = subject, self._volume(root, subject)
        return self._latest[1]

    def __getstate__(self) -> dict[str, Any]:
        return {**self.__dict__, "_latest": None}

    @abstractmethod
    def _index(self, root: Node) -> dict[str, tuple[str, ...]]:
        """Names of the X-rays by subject."""

    @abstractmethod
    def _volume(self, root: Node, subject: str) -> Volume:
        """The CT of a subject."""

    @abstractmethod
    def _sample(self, root: Node, subject: str, xray: str, volume: Volume) -> Sample:
        """One X-ray with its truth."""

    def _check_subject(self, subject: str) -> None:
        if subject not in self._xrays:
            raise UsageError(f"{self.path} has no subject {subject!r}; there are {', '.join(self._xrays)}")

    @contextmanager
    def _open(self) -> Iterator[Node]:
        h5py = require("h5py", extra="datasets")
        if not self.path.is_file():
            raise InputError(f"{self.path} is not a file; {self._source.get}")
        try:
            if not h5py.is_hdf5(self.path):
                raise self._foreign("is not an HDF5 file (downloads come as a zip archive: unpack it)")
            with h5py.File(self.path, "r") as file:
                yield Node(self.path, file)
        except IsoclinicError:
            raise
        except (KeyError, OSError, RuntimeError, ValueError) as error:  # what h5py raises on damaged files
            raise InputError(
                f"{self.path} cannot be read, it may be cut short or damaged ({error}); {self._source.get}"
            ) from error

    def _foreign(self, what: str) -> InputError:
        return InputError(
            f"{self.path} {what}. {self._source.name} is {self._source.file}; {self._source.get}"
        )


def stacked(landmarks: Landmarks) -> torch.Tensor:
    """Points [N, 3], float64."""
    return torch.from_numpy(np.array(list(landmarks.values())).reshape(-1, 3))


def as_hu(values: NDArray[Any]) -> NDArray[np.int16] | NDArray[np.float32]:
    """As a `Volume` stores them: int16 where they are, else float32."""
    return values if values.dtype == np.int16 else values.astype(np.float32)
