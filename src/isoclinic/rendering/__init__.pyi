from ._memory import Rendering
from ._pack import PackedVolume, pack
from ._render import render, render_structures, render_with_jacobian
from .config import RenderConfig
from .coverage import Coverage
from .outline import structure_outline
from .projector import Projector, intrinsics_jacobian

__all__ = [
    "Coverage",
    "PackedVolume",
    "Projector",
    "RenderConfig",
    "Rendering",
    "intrinsics_jacobian",
    "pack",
    "render",
    "render_structures",
    "render_with_jacobian",
    "structure_outline",
]
