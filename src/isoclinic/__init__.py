"""Intraoperative 2D/3D registration: the pose that aligns a preoperative CT with an X-ray."""

import os
from importlib import import_module
from importlib.metadata import version
from typing import TYPE_CHECKING, Any

from .errors import InputError, IsoclinicError, UsageError

if TYPE_CHECKING:
    from .geometry import Camera
    from .models import default_model
    from .registration import RegistrationConfig, RegistrationResult, register
    from .rendering import RenderConfig, render, render_structures, render_with_jacobian
    from .volumes import Volume, XRay, XRayOptions, line_integrals

# Idle OpenMP threads wait in a loop for milliseconds by default; where other programs want the processor,
# that makes the many short parallel regions of a registration several times slower. Read once, when torch or
# numba is first imported.
os.environ.setdefault("GOMP_SPINCOUNT", "10000")

# torch and numba take seconds to import: whoever asks for help or the version need not wait for them.
_HOME = {
    "Camera": "geometry",
    "default_model": "models",
    **dict.fromkeys(("RegistrationConfig", "RegistrationResult", "register"), "registration"),
    **dict.fromkeys(("RenderConfig", "render", "render_structures", "render_with_jacobian"), "rendering"),
    **dict.fromkeys(("Volume", "XRay", "XRayOptions", "line_integrals"), "volumes"),
}


def __getattr__(name: str) -> Any:
    if name not in _HOME:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    return getattr(import_module(f".{_HOME[name]}", __name__), name)


__version__ = version("isoclinic")

__all__ = [
    "Camera",
    "InputError",
    "IsoclinicError",
    "RegistrationConfig",
    "RegistrationResult",
    "RenderConfig",
    "UsageError",
    "Volume",
    "XRay",
    "XRayOptions",
    "default_model",
    "line_integrals",
    "register",
    "render",
    "render_structures",
    "render_with_jacobian",
]
