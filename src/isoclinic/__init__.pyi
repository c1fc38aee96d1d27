from . import (
    anatomy,
    batches,
    datasets,
    evaluation,
    exchange,
    geometry,
    inspection,
    models,
    networks,
    reception,
    registration,
    rendering,
    results,
    sequences,
    similarity,
    simulation,
    solver,
    training,
    viewer,
    volumes,
)
from .errors import InputError, IsoclinicError, UsageError
from .geometry import Camera
from .models import default_model
from .registration import RegistrationConfig, RegistrationResult, Session, register
from .rendering import RenderConfig, render, render_structures, render_with_jacobian
from .results import Registered, write_pose, write_result
from .volumes import Volume, XRay, XRayOptions, line_integrals

__version__: str

__all__ = [
    "Camera",
    "InputError",
    "IsoclinicError",
    "Registered",
    "RegistrationConfig",
    "RegistrationResult",
    "RenderConfig",
    "Session",
    "UsageError",
    "Volume",
    "XRay",
    "XRayOptions",
    "anatomy",
    "batches",
    "datasets",
    "default_model",
    "evaluation",
    "exchange",
    "geometry",
    "inspection",
    "line_integrals",
    "models",
    "networks",
    "reception",
    "register",
    "registration",
    "render",
    "render_structures",
    "render_with_jacobian",
    "rendering",
    "results",
    "sequences",
    "similarity",
    "simulation",
    "solver",
    "training",
    "viewer",
    "volumes",
    "write_pose",
    "write_result",
]
