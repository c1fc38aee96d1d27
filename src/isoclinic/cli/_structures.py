"""The option --each-structure: what it means in a label map."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from ..errors import UsageError


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
