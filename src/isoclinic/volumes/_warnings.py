"""The category of every warning about a user's data, and how to give one."""

from .._warnings import GeometryWarning, warn_geometry

__all__ = ["GeometryWarning", "warn_geometry"]
