"""Public data sets with true poses, read lazily from their original files into the library's conventions."""

from .deepfluoro import DeepFluoro, DeepFluoroConfig
from .ljubljana import Ljubljana, LjubljanaConfig
from .sample import Dataset, Sample

__all__ = [
    "Dataset",
    "DeepFluoro",
    "DeepFluoroConfig",
    "Ljubljana",
    "LjubljanaConfig",
    "Sample",
]
