"""Names of the files in a result's folder."""

from __future__ import annotations

import re
from pathlib import Path

POSE, TRANSFORM, OVERLAY = "pose.json", "transform.tfm", "overlay.png"
CONVERGENCE, REPORT, STRUCTURES = "convergence.png", "report.html", "structures"
# With numbers: of the second X-ray and further ones.
RESULT_FILES = frozenset(
    {POSE, TRANSFORM, OVERLAY, CONVERGENCE, REPORT, "pose-[0-9]*.json", "overlay-[0-9]*.png"}
)


def numbered(name: str, index: int) -> str:
    """Name of a file about the X-ray of that index, counted from 0; the first one's has no number."""
    path = Path(name)
    return name if index == 0 else f"{path.stem}-{index + 1}{path.suffix}"


def folder_name(structure: str) -> str:
    """A structure's name as the name of a folder."""
    return re.sub(r"[^\w+.-]", "_", structure)
