"""DiffDRR's renderer with Adam on the correlation (NCC) of whole images, as in its tutorial on registration.

From DiffDRR (github.com/eigenvivek/DiffDRR, `notebooks/tutorials/registration.ipynb`): the parameters (Euler
angles ZXY and a translation, about the centre of the CT), Adam and its learning rates, and the correlation at
which it stops. Size and iterations are ours: the tutorial's 500 iterations at 100 pixels are meant for a GPU.
"""

from __future__ import annotations

import math
import time
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field
from typing import Any, Literal

import torch
from torch import Tensor

from ..._optional import require
from ...datasets import Sample
from ...exchange import PosedCamera, diffdrr
from ...geometry import se3
from ...registration._fixed import FixedImage
from ...registration.initialize import initial_pose
from ...volumes import PreprocessConfig, Volume
from ._peer import Device, attenuation_image, filled, torch_device, versions
from .method import MethodResult

_EXTRA = "diffdrr"


@dataclass(frozen=True, kw_only=True)
class DiffDrrConfig:
    """Settings of the registration with DiffDRR.

    Attributes:
        preprocess: of the X-ray, as for this library's registration.
        pixels: longer side of the image [px].
        iterations: at most.
        rotation_rate: Adam's learning rate of the Euler angles [rad].
        translation_rate_mm: of the translation [mm].
        converged: correlation at which it stops.
        renderer: DiffDRR's method.
        device: where to render.
    """

    preprocess: PreprocessConfig = field(default_factory=PreprocessConfig)
    pixels: int = 64
    iterations: int = 150
    rotation_rate: float = 1e-1
    translation_rate_mm: float = 5.0
    converged: float = 0.999
    renderer: Literal["siddon", "trilinear"] = "siddon"
    device: Device = "auto"


@dataclass(frozen=True, kw_only=True)
class DiffDrr:
    """The method.

    Attributes:
        name: as reports call it.
        config: its settings.
    """

    name: str = "diffdrr"
    config: DiffDrrConfig = field(default_factory=DiffDrrConfig)

    @property
    def settings(self) -> Mapping[str, Any]:
        """See `Method.settings`."""
        return {**versions("diffdrr", extra=_EXTRA), **asdict(self.config)}

    def register(self, sample: Sample, start: Tensor | str | None) -> MethodResult:
        """See `Method.register`; without a start it takes that of this library."""
        require("diffdrr.drr", extra=_EXTRA)
        began = time.perf_counter()
        initial = initial_pose(sample.volume, sample.xray, start).camera_from_world
        fixed = FixedImage.of(sample.xray, self.config.preprocess).at(self.config.pixels)
        # DiffDRR turns about the origin of its world, which it therefore moves to the centre of the CT.
        world_from_centred = se3.rigid(
            torch.eye(3, dtype=torch.float64), torch.from_numpy(sample.volume.isocentre_world)
        )
        centred = PosedCamera(camera_from_world=initial @ world_from_centred, camera=fixed.camera)
        pose, similarity = self._climb(sample.volume, fixed, centred)
        return MethodResult(
            camera_from_world=pose.camera_from_world @ se3.inverse(world_from_centred),
            initial_camera_from_world=initial,
            seconds=time.perf_counter() - began,
            similarity=similarity,
        )

    def _climb(self, volume: Volume, fixed: FixedImage, start: PosedCamera) -> tuple[PosedCamera, float]:
        """Best pose, in the world whose origin is the CT's centre, and its correlation."""
        config, device = self.config, torch_device(self.config.device)
        view = diffdrr.arguments(start)
        drr = _drr(volume, view, config.renderer).to(device)
        rotation = torch.deg2rad(torch.tensor([view["rotation"]], device=device)).requires_grad_()
        translation = torch.tensor([view["translation"]], device=device).requires_grad_()
        weight = fixed.weight.to(device)
        target = _normalised(fixed.image.to(device), weight)
        optimiser = torch.optim.Adam(
            [
                {"params": [rotation], "lr": config.rotation_rate},
                {"params": [translation], "lr": config.translation_rate_mm},
            ],
            maximize=True,
        )
        best, found = -math.inf, view
        for _ in range(config.iterations):
            optimiser.zero_grad()
            image = drr(rotation, translation, parameterization="euler_angles", convention="ZXY")
            correlation = (target * _normalised(image[0, 0], weight)).mean()
            if correlation > best:
                best = correlation.item()
                angles = torch.rad2deg(rotation.detach())[0].tolist()
                found = view | {"rotation": angles, "translation": translation.detach()[0].tolist()}
            if best > config.converged:
                break
            correlation.backward()
            optimiser.step()
        return diffdrr.from_arguments(found), best


def _drr(volume: Volume, view: Mapping[str, Any], renderer: str) -> Any:
    """DiffDRR's module for a CT whose centre is the origin of the world.

    Its own `read` is not used: it needs more packages, and has an attenuation of its own.
    """
    torchio = require("torchio", extra=_EXTRA)
    affine = torch.from_numpy(volume.world_from_voxel).clone()
    affine[:3, 3] -= torch.from_numpy(volume.isocentre_world)
    image = attenuation_image(volume, affine)
    reorient = torch.tensor(diffdrr.REORIENT[view["read"]["orientation"]])
    subject = torchio.Subject(volume=image, density=image, mask=None, reorient=reorient)
    return require("diffdrr.drr", extra=_EXTRA).DRR(subject, **view["DRR"], renderer=renderer)


def _normalised(image: Tensor, weight: Tensor) -> Tensor:
    """An image [H, W] with mean 0 and variance 1."""
    image = filled(image, weight)
    return (image - image.mean()) / (image.var(correction=0) + 1e-5).sqrt()
