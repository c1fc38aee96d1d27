"""What the adapters of other methods share: they get the attenuation and line integrals that ours gets."""

from __future__ import annotations

from importlib.metadata import version
from typing import Any, Literal

import torch
from torch import Tensor

from ... import __version__
from ..._optional import require
from ...errors import UsageError
from ...volumes import Volume

Device = Literal["auto", "cpu", "cuda"]


def torch_device(name: Device) -> torch.device:
    """The device of that name; "auto" is a GPU if there is one.

    Raises:
        UsageError: there is none.
    """
    has_gpu = torch.cuda.is_available()
    if name == "cuda" and not has_gpu:
        raise UsageError(
            "device 'cuda': torch finds no GPU here; choose cpu or auto", code="installation.no-gpu"
        )
    return torch.device("cuda" if has_gpu and name != "cpu" else "cpu")


def versions(package: str, *, extra: str) -> dict[str, str]:
    """Of this library and a peer's package, for `Method.settings`.

    Raises:
        UsageError: the package is not installed.
    """
    require(package, extra=extra)
    return {"isoclinic": __version__, package: version(package)}


def attenuation_image(volume: Volume, world_from_voxel: Tensor) -> Any:
    """The linear attenuation of a CT [1/mm] as TorchIO's ScalarImage, placed by an affine [4, 4]."""
    torchio = require("torchio", extra="peers")
    mu = torch.from_numpy(volume.attenuation())
    return torchio.ScalarImage(tensor=mu[None], affine=world_from_voxel.numpy())


def filled(image: Tensor, weight: Tensor) -> Tensor:
    """Images [..., H, W] with their own mean where the weight [H, W] is 0.

    The peers' correlations know no weights; masked pixels then add as good as nothing to them.
    """
    mean = (image * weight).sum(dim=(-2, -1), keepdim=True) / weight.sum()
    return torch.where(weight > 0, image, mean)
