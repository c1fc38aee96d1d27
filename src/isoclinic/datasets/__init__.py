"""Public data sets with true poses, read lazily from their original files into the library's conventions."""

from ._indexed import IndexedDataset
from .cases import CaseFolder
from .ctspine1k import CTSpine1k, CTSpine1kConfig
from .deepfluoro import DeepFluoro, DeepFluoroConfig
from .detection import dataset_kind
from .ljubljana import Ljubljana, LjubljanaConfig
from .sample import Dataset, Sample

__all__ = [
    "CTSpine1k",
    "CTSpine1kConfig",
    "CaseFolder",
    "Dataset",
    "DeepFluoro",
    "DeepFluoroConfig",
    "IndexedDataset",
    "Ljubljana",
    "LjubljanaConfig",
    "Sample",
    "dataset_kind",
]
