"""Intraoperative 2D/3D registration: the pose that aligns a preoperative CT with an X-ray."""

from importlib.metadata import version

from .errors import InputError, IsoclinicError, UsageError
from .geometry import Camera
from .registration import RegistrationConfig, RegistrationResult, register
from .rendering import RenderConfig, render, render_structures, render_with_jacobian
from .volumes import Volume, XRay, XRayOptions, line_integrals

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
