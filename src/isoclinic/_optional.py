"""Packages of the extras, imported when first needed: MONAI takes seconds to load."""

from __future__ import annotations

import importlib
from typing import Any

from .errors import UsageError


def require(module: str, *, extra: str = "train") -> Any:
    """The module of that name, which an extra installs.

    Raises:
        UsageError: it is not installed.
    """
    try:
        return importlib.import_module(module)
    except ImportError as error:
        package = module.partition(".")[0]
        raise UsageError(
            f"this needs the package {package}, which is not installed: pip install 'isoclinic[{extra}]'",
            code="installation.package-missing",
        ) from error
