"""Methods by name."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from importlib import import_module
from importlib.util import find_spec

from ...errors import UsageError
from ...provenance import InputFile
from ...registration import RegistrationConfig
from .method import Method
from .pipeline import Pipeline

DEFAULT = "isoclinic"
_SINGLE = "isoclinic-single"
PAPER = "paper"
# Each is a class in a module of this package; they need packages of their own, imported when first used.
_OTHERS = {"xvr": "Xvr", "diffdrr": "DiffDrr", "cmaes": "CmaEs"}
_PACKAGES = {"xvr": "nanodrr", "diffdrr": "diffdrr", "cmaes": "cmaes"}
METHODS = (DEFAULT, _SINGLE, PAPER, *_OTHERS)


def is_installed(name: str) -> bool:
    """Whether the packages of a method of that name are there."""
    package = _PACKAGES.get(name)
    return package is None or find_spec(package) is not None


def method_named(
    name: str,
    *,
    config: RegistrationConfig,
    model: InputFile | None = None,
    last_resort: bool = False,
    pipelines: Mapping[str, RegistrationConfig] | None = None,
) -> Method:
    """The method of that name.

    Args:
        name: "isoclinic"; "isoclinic-single", which is the same from one start, without any search; "xvr",
            "paper", which is the published system with a model trained for it; "xvr",
            "diffdrr" or "cmaes", which are others' recipes with their own settings; or one of `pipelines`.
        config: of "isoclinic" and "isoclinic-single".
        model: networks for all of this library's pipelines.
        last_resort: let them take part only where nothing else leads to a match.
        pipelines: further configurations by name.

    Raises:
        UsageError: the name is not one of these, or it is "paper" without a model that was trained for it.
    """
    configs = {DEFAULT: config, _SINGLE: config.without_search()} | dict(pipelines or {})
    if name == PAPER and name not in configs:
        if model is None or last_resort:
            raise UsageError(
                'the method "paper" is a model\'s networks: give a `model`, or train one',
                code="model.missing",
            )
        published = replace(
            RegistrationConfig.paper(), backend=config.backend, same_patient=config.same_patient
        )
        return Pipeline(name=name, config=published, model=model)
    if name in configs:
        return Pipeline(name=name, config=configs[name], model=model, last_resort=last_resort)
    if name in _OTHERS:
        method: Method = getattr(import_module(f".{name}", __package__), _OTHERS[name])()
        return method
    raise UsageError(
        f"there is no method {name!r}; there are {', '.join([*configs, PAPER, *_OTHERS])}",
        code="evaluation.unknown-name",
    )
