"""Line integrals through a CT and their six-degree-of-freedom derivatives in one pass."""

from ._pack import PackedVolume, pack
from .render import RenderConfig, render, render_structures, render_with_jacobian

__all__ = ["PackedVolume", "RenderConfig", "pack", "render", "render_structures", "render_with_jacobian"]
