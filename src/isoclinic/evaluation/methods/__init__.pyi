from .method import Method, MethodResult
from .pipeline import Pipeline, single_start
from .registry import METHODS, method_named

__all__ = [
    "METHODS",
    "Method",
    "MethodResult",
    "Pipeline",
    "method_named",
    "single_start",
]
