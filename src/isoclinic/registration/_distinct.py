"""The best of many candidates, without those that are nearly the same as a better one."""

from __future__ import annotations

from collections.abc import Callable, Iterable

from torch import Tensor


def distinct(
    ranked: Iterable[int], distance: Callable[[int, list[int]], Tensor], apart: float, keep: int | None = None
) -> list[int]:
    """Indices of candidates, best first, each farther than `apart` from every better one that is kept.

    Args:
        ranked: indices of the candidates, best first.
        distance: function that gives the distance of one candidate from each of several others,
            [len(others)].
        apart: least distance of what is kept, in its unit.
        keep: the largest number of candidates to keep; all are kept when None.
    """
    chosen: list[int] = []
    for index in ranked:
        if len(chosen) == keep:
            break
        if bool((distance(index, chosen) > apart).all()):
            chosen.append(index)
    return chosen
