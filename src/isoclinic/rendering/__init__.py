"""Line integrals through a CT and their six-degree-of-freedom derivatives in one pass."""

from ._pack import PackedVolume, pack
from .coverage import Coverage
from .outline import structure_outline
from .projector import Projector, intrinsics_jacobian
from .render import RenderConfig, render, render_structures, render_with_jacobian

__all__ = [
    "Coverage",
    "PackedVolume",
    "Projector",
    "RenderConfig",
    "intrinsics_jacobian",
    "pack",
    "render",
    "render_structures",
    "render_with_jacobian",
    "structure_outline",
]
