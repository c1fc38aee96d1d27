from .method import Method, MethodResult
from .pipeline import Pipeline
from .registry import METHODS, method_named

__all__ = [
    "METHODS",
    "Method",
    "MethodResult",
    "Pipeline",
    "method_named",
]
