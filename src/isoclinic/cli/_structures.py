"""The option --each-structure: what it means in a label map."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import numpy as np

from ..errors import UsageError
from ..registration.structures import check_structures
from ..volumes import Volume

_ALL = "all"


def check_each_structure(each: Sequence[str], labels: Path | None, structures: object) -> None:
    """Raises UsageError where --each-structure lacks --labels, or goes with --structures."""
    if each and labels is None:
        raise UsageError(
            "--each-structure chooses from a label map; give it with --labels", code="labels.missing"
        )
    if each and structures is not None:
        raise UsageError(
            "--structures registers structures as one body, --each-structure one by one; choose one of the "
            "two",
            code="options.conflict",
        )


def structure_names(each: Sequence[str], labels: Path | None, volume: Volume) -> list[tuple[int | str, ...]]:
    """What --each-structure means, checked against the label map before anything is registered.

    Raises:
        UsageError: a structure that the label map does not have, or has no voxel of.
    """
    if not each:
        return []
    names: list[tuple[int | str, ...]]
    if tuple(each) == (_ALL,):
        assert volume.labels is not None
        found = np.unique(volume.labels).tolist()
        names = [(volume.label_names.get(label, label),) for label in found if label > 0]
        if not names:
            raise UsageError(
                f"--each-structure all: the label map {labels} has no structure",
                code="labels.structure-missing",
            )
    else:
        groups = (group.split("+") for group in each)
        names = [tuple(int(name) if name.isdecimal() else name for name in group) for group in groups]
    check_structures(volume, names)
    return names
