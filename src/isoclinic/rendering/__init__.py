"""Line integrals through a CT and their six-degree-of-freedom derivatives in one pass."""

from ._pack import PackedVolume, pack
from .projector import Projector
from .render import RenderConfig, render, render_structures, render_with_jacobian

__all__ = [
    "PackedVolume",
    "Projector",
    "RenderConfig",
    "pack",
    "render",
    "render_structures",
    "render_with_jacobian",
]
