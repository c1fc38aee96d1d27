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
from missing_package import without


@pytest.mark.parametrize(
    "make",
    [
        lambda: PoseRegressor(PoseRegressorConfig()),
        lambda: SphericalEncoder(SphericalEncoderConfig()),
        lambda: CanonicalNetwork(CanonicalConfig()),
    ],
)
def test_without_monai_the_extra_is_named(monkeypatch, make):
    without(monkeypatch, "monai")
    with pytest.raises(UsageError, match=r"monai.*isoclinic\[train\]"):
        make()


def test_without_safetensors_the_extra_is_named(monkeypatch, tmp_path):
    without(monkeypatch, "safetensors")
    with pytest.raises(UsageError, match=r"safetensors.*isoclinic\[train\]"):
        Checkpoint.load(tmp_path / "model.safetensors")


def test_the_package_itself_loads_neither():
    code = (
        "import sys, isoclinic.networks, isoclinic.similarity\n"
        "sys.exit('monai' in sys.modules or 'safetensors' in sys.modules)"
    )
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0
