import importlib
import subprocess
import sys

import pytest

from isoclinic.errors import UsageError
from isoclinic.networks import (
    CanonicalConfig,
    CanonicalNetwork,
    Checkpoint,
    PoseRegressor,
    PoseRegressorConfig,
    SphericalEncoder,
    SphericalEncoderConfig,
)


def missing(monkeypatch, package):
    real = importlib.import_module

    def import_module(name, *rest):
        if name.partition(".")[0] == package:
            raise ModuleNotFoundError(f"No module named {package!r}")
        return real(name, *rest)

    monkeypatch.setattr(importlib, "import_module", import_module)


@pytest.mark.parametrize(
    "make",
    [
        lambda: PoseRegressor(PoseRegressorConfig()),
        lambda: SphericalEncoder(SphericalEncoderConfig()),
        lambda: CanonicalNetwork(CanonicalConfig()),
    ],
)
def test_without_monai_the_extra_is_named(monkeypatch, make):
    missing(monkeypatch, "monai")
    with pytest.raises(UsageError, match=r"monai.*isoclinic\[train\]"):
        make()


def test_without_safetensors_the_extra_is_named(monkeypatch, tmp_path):
    missing(monkeypatch, "safetensors")
    with pytest.raises(UsageError, match=r"safetensors.*isoclinic\[train\]"):
        Checkpoint.load(tmp_path / "model.safetensors")


def test_the_package_itself_loads_neither():
    code = (
        "import sys, isoclinic.networks, isoclinic.similarity\n"
        "sys.exit('monai' in sys.modules or 'safetensors' in sys.modules)"
    )
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0
