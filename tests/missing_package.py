"""A package that is not installed."""

import importlib


def without(monkeypatch, package: str) -> None:
    """Importing the package by `importlib.import_module` fails as if it were not there."""
    real = importlib.import_module

    def import_module(name, *rest):
        if name.partition(".")[0] == package:
            raise ModuleNotFoundError(f"No module named {package!r}")
        return real(name, *rest)

    monkeypatch.setattr(importlib, "import_module", import_module)
