"""What words such as "femur", "3", "radius+ulna" and "all" mean in a label map."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import numpy as np

from ..errors import UsageError
from ..volumes import Volume
from .structures import check_structures

_ALL = "all"


def structure_names(each: Sequence[str], labels: Path | None, volume: Volume) -> list[tuple[int | str, ...]]:
    """What `each_structure` means, checked against the label map before anything is registered.

    Args:
        each: names, labels, or "all"; several joined by "+" move as one.
        labels: the label map, for messages.
        volume: the CT with its label map.

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
                f"`each_structure` all: the label map {labels} has no structure",
                code="labels.structure-missing",
            )
    else:
        groups = (group.split("+") for group in each)
        names = [tuple(int(name) if name.isdecimal() else name for name in group) for group in groups]
    check_structures(volume, names)
    return names
