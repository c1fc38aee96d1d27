"""Pictures of a registration: did it find the right pose, and how did it get there."""

from .convergence import ConvergenceStage, convergence_figure, write_convergence
from .overlay import checkerboard, edge_overlay, write_overlay, write_overview

__all__ = [
    "ConvergenceStage",
    "checkerboard",
    "convergence_figure",
    "edge_overlay",
    "write_convergence",
    "write_overlay",
    "write_overview",
]
