"""The category of every warning about a user's data."""

from .._warnings import GeometryWarning

__all__ = ["GeometryWarning"]
