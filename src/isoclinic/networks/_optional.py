"""Packages of the extra `isoclinic[train]`, imported when first needed: MONAI takes seconds to load."""

from __future__ import annotations

import importlib
from typing import Any

from ..errors import UsageError


def require(module: str) -> Any:
    """The module of that name.

    Raises:
        UsageError: it is not installed.
    """
    try:
        return importlib.import_module(module)
    except ImportError as error:
        package = module.partition(".")[0]
        raise UsageError(
            f"networks need the package {package}, which is not installed: pip install 'isoclinic[train]'"
        ) from error
