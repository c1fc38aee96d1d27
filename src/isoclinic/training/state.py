"""A training that can be gone on with: weights, optimisers and courses in one file that runs no code."""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from ..errors import InputError
from ..networks.tensor_file import read_tensors, write_tensors
from .phase import Course, Phase

_FORMAT = "isoclinic.training"
_VERSION = 1


def save_state(path: Path, phases: Sequence[Phase], settings: dict[str, Any]) -> None:
    """Write everything that the next batches depend on; an older file is replaced once this one is complete.

    Args:
        path: of the file.
        phases: of the training.
        settings: what must be the same to go on: plain values, for JSON.

    Raises:
        InputError: it cannot be written.
    """
    tensors: dict[str, Tensor] = {}
    for phase in phases:
        for name, value in phase.network.state_dict().items():
            tensors[f"{phase.kind}.network.{name}"] = value
        for index, slots in phase.optimizer.state_dict()["state"].items():
            for slot, value in slots.items():
                tensors[f"{phase.kind}.optimizer.{index}.{slot}"] = value
    header = {
        "format": _FORMAT,
        "version": _VERSION,
        "settings": settings,
        "courses": {phase.kind: asdict(phase.course) for phase in phases},
    }
    write_tensors(path, tensors, header)


def load_state(path: Path, phases: Sequence[Phase], settings: dict[str, Any]) -> None:
    """Bring freshly made phases to where the file left them.

    Raises:
        InputError: the file is missing, damaged, something else, or of another training; the message names
            the settings that differ.
    """
    header, tensors = read_tensors(path, _FORMAT, "the state of a training")
    if header.get("version") != _VERSION:
        raise InputError(
            f"{path} has version {header.get('version')!r}, this program reads {_VERSION}",
            code="training.other-version",
        )
    stored, courses = header.get("settings"), header.get("courses")
    if not isinstance(stored, dict) or not isinstance(courses, dict):
        raise InputError(
            f"{path} is damaged: it lacks the settings or the courses of a training",
            code="training.unreadable",
        )
    differences = _differences(stored, json.loads(json.dumps(settings)))
    if differences:
        raise InputError(
            f"{path} is of another training: {'; '.join(differences)}. Resume with the same options, or "
            "train anew into another folder",
            code="training.cannot-resume",
        )
    for phase in phases:
        try:
            phase.network.load_state_dict(_below(f"{phase.kind}.network.", tensors))
            _load_optimizer(phase.optimizer, _below(f"{phase.kind}.optimizer.", tensors))
            phase.course = Course(**courses[phase.kind])
        except (KeyError, RuntimeError, TypeError, ValueError) as error:
            raise InputError(
                f"{path} does not fit this version of the networks: {error}", code="training.other-version"
            ) from error


def _load_optimizer(optimizer: torch.optim.Optimizer, tensors: dict[str, Tensor]) -> None:
    state: dict[int, dict[str, Tensor]] = {}
    for name, value in tensors.items():
        index, _, slot = name.partition(".")
        state.setdefault(int(index), {})[slot] = value
    optimizer.load_state_dict({"state": state, "param_groups": optimizer.state_dict()["param_groups"]})


def _below(prefix: str, tensors: dict[str, Tensor]) -> dict[str, Tensor]:
    """The tensors whose names begin so, without that beginning."""
    return {name.removeprefix(prefix): value for name, value in tensors.items() if name.startswith(prefix)}


def _differences(stored: Any, now: Any, name: str = "") -> list[str]:
    """What differs between two trees of plain values, by dotted names."""
    if isinstance(stored, dict) and isinstance(now, dict):
        keys = sorted(stored.keys() | now.keys())
        return [
            difference
            for key in keys
            for difference in _differences(stored.get(key), now.get(key), f"{name}.{key}" if name else key)
        ]
    return [] if stored == now else [f"{name} was {stored}, now {now}"]
