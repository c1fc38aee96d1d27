"""HDF5 files: groups whose every complaint names the file and the key, and data sets in one file."""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from .._optional import require
from ..errors import InputError, IsoclinicError
from ..volumes import Volume
from ._indexed import Array, IndexedDataset
from .sample import Sample


@dataclass(frozen=True, kw_only=True)
class Source:
    """Where a data set comes from, for messages.

    Attributes:
        name: the name of the data set.
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
        """Return how messages call an entry."""
        return f"{self._path}: {self._group.name.rstrip('/')}/{key}"

    def child(self, key: str) -> Node:
        """The group at a key."""
        first, _, rest = key.partition("/")
        group = self._expect(first)
        if not hasattr(group, "keys"):
            raise InputError(
                f"{self.label(first)} must be a group, not an array", code="dataset.invalid-value"
            )
        child = Node(self._path, group)
        return child.child(rest) if rest else child

    def vector(self, key: str, count: int) -> Array:
        """That many finite numbers in whatever shape, float64 [count]."""
        values = self._finite(key)
        if values.size != count:
            raise InputError(
                f"{self.label(key)} must be {count} numbers, not of shape {values.shape}",
                code="dataset.wrong-shape",
            )
        return values.astype(np.float64).ravel()

    def number(self, key: str) -> float:
        """A single finite number."""
        return float(self.vector(key, 1)[0])

    def matrix(self, key: str, columns: int, rows: int | None = None) -> Array:
        """Finite numbers [rows, columns], float64; any number of rows when None."""
        values = self._finite(key)
        if values.ndim != 2 or values.shape[1] != columns or rows not in (None, len(values)):
            wanted = f"{rows or 'N'} x {columns}"
            raise InputError(
                f"{self.label(key)} must be {wanted} numbers, not of shape {values.shape}",
                code="dataset.wrong-shape",
            )
        return values.astype(np.float64)

    def image(self, key: str, dimensions: int) -> NDArray[Any]:
        """An image or a volume as stored, not empty, finite."""
        pixels = self._finite(key)
        if pixels.ndim != dimensions or pixels.size == 0:
            raise InputError(
                f"{self.label(key)} must have {dimensions} dimensions, not shape {pixels.shape}",
                code="dataset.wrong-shape",
            )
        return pixels

    def element(self, key: str, index: int, dimensions: int) -> NDArray[Any]:
        """One image, matrix or such from an array of them, finite; the others are not read."""
        entry = self._expect(key)
        if hasattr(entry, "keys") or entry.ndim != dimensions + 1 or index >= len(entry):
            shape = getattr(entry, "shape", "a group")
            raise InputError(
                f"{self.label(key)} must hold {index + 1} entries of {dimensions} dimensions, not {shape}",
                code="dataset.wrong-shape",
            )
        return self._checked(key, entry[index])

    def text(self, key: str) -> str:
        """A single string."""
        entry = self._expect(key)
        if hasattr(entry, "keys") or entry.shape != ():
            raise InputError(f"{self.label(key)} must be a text", code="dataset.invalid-value")
        value = entry[()]
        return value.decode("utf-8", "replace") if isinstance(value, bytes) else str(value)

    def _finite(self, key: str) -> NDArray[Any]:
        return self._checked(key, np.asarray(self._expect(key)))

    def _checked(self, key: str, values: NDArray[Any]) -> NDArray[Any]:
        if values.dtype.kind not in "iufb":
            raise InputError(f"{self.label(key)} must be an array of numbers", code="dataset.invalid-value")
        if not np.isfinite(values).all():
            raise InputError(
                f"{self.label(key)} has values that are NaN or infinite", code="dataset.not-finite"
            )
        return values

    def _expect(self, key: str) -> Any:
        if key not in self._group:
            raise InputError(
                f"{self.label(key)} is missing; {self._group.name} holds {', '.join(self) or 'nothing'}",
                code="dataset.incomplete",
            )
        return self._group[key]


class Hdf5Dataset(IndexedDataset):
    """A data set in one HDF5 file."""

    _source: Source

    def __init__(self, path: str | Path) -> None:
        self.path = Path(path)
        with self._open() as root:
            if not any(key.startswith(self._source.root) for key in root):
                kinds = [kind for key, kind in self._source.others.items() if key in root]
                held = kinds[0] if kinds else f"it holds {', '.join(root) or 'nothing'}"
                raise self._foreign(f"lacks {self._source.root}: {held}")
            xrays = self._index(root)
        if not any(xrays.values()):
            raise InputError(
                f"{self.path} holds no X-ray of {self._source.name}; {self._source.get}", code="dataset.empty"
            )
        super().__init__(self.path, xrays)

    @abstractmethod
    def _index(self, root: Node) -> dict[str, tuple[str, ...]]:
        """Names of the X-rays by subject."""

    @abstractmethod
    def _volume(self, root: Node, subject: str) -> Volume:
        """The CT of a subject."""

    @abstractmethod
    def _sample(self, root: Node, subject: str, xray: str, volume: Volume) -> Sample:
        """One X-ray with its truth."""

    def _read_volume(self, subject: str) -> Volume:
        with self._open() as root:
            return self._volume(root, subject)

    def _read_sample(self, subject: str, xray: str, volume: Volume) -> Sample:
        with self._open() as root:
            return self._sample(root, subject, xray, volume)

    def _files(self, subject: str, xray: str) -> tuple[Path, ...]:
        return (self.path,)

    @contextmanager
    def _open(self) -> Iterator[Node]:
        with opened(self.path, self._source.get) as node:
            if node is None:
                raise self._foreign("is not an HDF5 file (downloads come as a zip archive: unpack it)")
            yield node

    def _foreign(self, what: str) -> InputError:
        return InputError(
            f"{self.path} {what}. {self._source.name} is {self._source.file}; {self._source.get}",
            code="dataset.wrong-kind",
        )


@contextmanager
def opened(path: Path, remedy: str) -> Iterator[Node | None]:
    """The root of an HDF5 file; None for a file of another kind.

    Args:
        path: the path of the file.
        remedy: what to do about a file that is missing or damaged.

    Raises:
        InputError: it is missing or damaged, also where that shows only while the block reads it.
        UsageError: h5py is not installed.
    """
    h5py = require("h5py", extra="datasets")
    if not path.is_file():
        raise InputError(f"{path} is not a file; {remedy}", code="dataset.wrong-kind")
    try:
        if not h5py.is_hdf5(path):
            yield None
            return
        with h5py.File(path, "r") as file:
            yield Node(path, file)
    except IsoclinicError:
        raise
    except (KeyError, OSError, RuntimeError, ValueError) as error:  # what h5py raises on damaged files
        raise InputError(
            f"{path} cannot be read, it may be cut short or damaged ({error}); {remedy}",
            code="dataset.unreadable",
        ) from error


def as_hu(values: NDArray[Any]) -> NDArray[np.int16] | NDArray[np.float32]:
    """As a `Volume` stores them: int16 where they are, else float32."""
    return values if values.dtype == np.int16 else values.astype(np.float32)
