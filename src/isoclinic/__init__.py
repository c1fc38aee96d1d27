"""Intraoperative 2D/3D registration: the pose that aligns a preoperative CT with an X-ray."""

from importlib import import_module
from importlib.metadata import version
from typing import TYPE_CHECKING, Any

from .errors import InputError, IsoclinicError, UsageError

if TYPE_CHECKING:
    from .geometry import Camera
    from .registration import RegistrationConfig, RegistrationResult, register
    from .rendering import RenderConfig, render, render_structures, render_with_jacobian
    from .volumes import Volume, XRay, XRayOptions, line_integrals

# torch and numba take seconds to import: whoever asks for help or the version need not wait for them.
_HOME = {
    "Camera": "geometry",
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
    "line_integrals",
    "register",
    "render",
    "render_structures",
    "render_with_jacobian",
]
