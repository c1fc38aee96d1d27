"""Renderings of searches, kept for the next X-ray that is searched for from the same place."""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Callable, Hashable

from torch import Tensor

from ..rendering import PackedVolume

# Enough for the searches around a dozen standard views.
_MOST_BYTES = 512 * 2**20


class SearchBank:
    """Tensors by the settings they were made from; the least recently used ones go first.

    A search from one start, in one camera, renders the same candidates whatever the X-ray shows.

    Args:
        most_bytes: memory that is used at most.
    """

    def __init__(self, most_bytes: int = _MOST_BYTES) -> None:
        self._most_bytes = most_bytes
        self._bytes = 0
        self._kept: OrderedDict[tuple[PackedVolume, Hashable], Tensor] = OrderedDict()

    def get(self, packed: PackedVolume, key: Hashable, make: Callable[[], Tensor]) -> Tensor:
        """The tensor of that key, made where it is not there.

        Args:
            packed: the CT at its resolution.
            key: all else that the tensor depends on.
            make: makes it; nobody may write into it.
        """
        whole = (packed, key)
        if whole in self._kept:
            self._kept.move_to_end(whole)
            return self._kept[whole]
        made = make()
        if made.nbytes <= self._most_bytes:
            self._kept[whole] = made
            self._bytes += made.nbytes
            while self._bytes > self._most_bytes:
                _, dropped = self._kept.popitem(last=False)
                self._bytes -= dropped.nbytes
        return made
