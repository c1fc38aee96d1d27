"""The decimal point, where C code reads numbers: it follows the process's locale, which may have a comma."""

from __future__ import annotations

import locale
import threading
from collections.abc import Iterator
from contextlib import contextmanager

_lock = threading.RLock()


@contextmanager
def decimal_point() -> Iterator[None]:
    """Numbers have a decimal point in here, whatever LC_NUMERIC is; it is as before afterwards.

    Applications that call setlocale (Qt programs, 3D Slicer, R) have the user's. The locale is one for the
    whole process: only one thread of this package is in here at a time, but others see the point meanwhile.
    """
    with _lock:
        before = locale.setlocale(locale.LC_NUMERIC)
        if before == "C":
            yield
            return
        locale.setlocale(locale.LC_NUMERIC, "C")
        try:
            yield
        finally:
            locale.setlocale(locale.LC_NUMERIC, before)
