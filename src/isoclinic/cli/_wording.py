"""The border between the library, which speaks of parameters, and people, who type options."""

from __future__ import annotations

from ..errors import reworded


def as_options(message: str) -> str:
    """A message of the library with the parameters that it names as options of the command line.

    `sdd_mm` in backticks becomes --sdd-mm, `from_` --from.
    """
    return reworded(message, lambda name: f"--{name.rstrip('_').replace('_', '-')}")
