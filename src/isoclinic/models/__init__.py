"""Networks that come with isoclinic; any-patient.md, beside this file, says what they are and can do."""

from __future__ import annotations

from functools import cache
from pathlib import Path

from ..networks import Checkpoint

DEFAULT_MODEL = Path(__file__).with_name("any-patient.safetensors")


@cache
def default_model() -> Checkpoint:
    """Networks of any patient, read when first asked for.

    Given to `register` as it is, without being called, they are the last resort where nothing else leads to a
    match.

    Raises:
        UsageError: a package of the extra `isoclinic[train]` is not installed.
    """
    return Checkpoint.load(DEFAULT_MODEL)
