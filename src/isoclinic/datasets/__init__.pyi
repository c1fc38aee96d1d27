from ._indexed import IndexedDataset
from .cases import CaseFolder
from .config import CTSpine1kConfig, DeepFluoroConfig, LjubljanaConfig
from .ctspine1k import CTSpine1k
from .deepfluoro import DeepFluoro
from .detection import dataset_kind
from .ljubljana import Ljubljana
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
