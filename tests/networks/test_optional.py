import subprocess
import sys

import pytest

from isoclinic.errors import UsageError
from isoclinic.networks import PoseRegressor, PoseRegressorConfig
from missing_package import without
from raising import raises


def test_without_monai_the_extra_is_named(monkeypatch):
    without(monkeypatch, "monai")
    with raises(UsageError, "installation.package-missing", "monai", "isoclinic[train]"):
        PoseRegressor(PoseRegressorConfig())


@pytest.mark.slow
def test_the_networks_that_come_along_need_no_package_besides_torch_and_safetensors():
    """In a process of its own, where importing anything that only extras install is an error."""
    code = (
        "import sys\n"
        "sys.modules.update(dict.fromkeys(('monai', 'einops', 'h5py', 'ray', 'tensorboard', 'cmaes')))\n"
        "from isoclinic.models import default_model\n"
        "networks = default_model().networks\n"
        "import torch\n"
        "[network(torch.rand(1, 64, 64)) for network in networks.values()]\n"
        "print(*networks)"
    )
    ran = subprocess.run([sys.executable, "-c", code], check=False, capture_output=True, text=True)
    assert ran.returncode == 0, ran.stderr
    assert ran.stdout.split() == ["canonical", "coarse_encoder"]


def test_the_package_itself_loads_neither():
    code = (
        "import sys, isoclinic.networks, isoclinic.similarity\n"
        "sys.exit('monai' in sys.modules or 'safetensors' in sys.modules)"
    )
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0
