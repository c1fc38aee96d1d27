"""Levenberg-Marquardt in batches, on manifolds, differentiable: descent, acceptance, termination and loop."""

from .acceptance import Marquardt, Nielsen
from .descent import DampedStep
from .implicit import implicit_solution
from .problem import LeastSquares, Linearization, Problem, normal_equations
from .robust import L2, Cauchy, GemanMcClure, Huber, PseudoHuber, RobustLoss
from .solve import LMConfig, Solution, Trace, levenberg_marquardt
from .termination import Reason, Status

__all__ = [
    "L2",
    "Cauchy",
    "DampedStep",
    "GemanMcClure",
    "Huber",
    "LMConfig",
    "LeastSquares",
    "Linearization",
    "Marquardt",
    "Nielsen",
    "Problem",
    "PseudoHuber",
    "Reason",
    "RobustLoss",
    "Solution",
    "Status",
    "Trace",
    "implicit_solution",
    "levenberg_marquardt",
    "normal_equations",
]
