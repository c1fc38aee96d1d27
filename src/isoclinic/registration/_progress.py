"""What is told of a registration while it runs."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

from torch import Tensor


@dataclass(frozen=True, kw_only=True, eq=False)
class Progress:
    """Where a registration has come to.

    Attributes:
        stage: what is being done, for people to read.
        camera_from_world: the pose [4, 4] of the first X-ray that matches best so far in this stage; None
            while poses are searched for.
    """

    stage: str
    camera_from_world: Tensor | None = None


# What is called with the progress, in the thread that registers; what it raises ends the registration.
Watch = Callable[[Progress], None]
