"""xvr's registration: nanodrr's renderer, multiscale and gradient correlation (NCC), Adam, coarse to fine.

From xvr (github.com/eigenvivek/xvr; Gopalakrishnan et al., arXiv:2503.16309): the similarity and its patch
sizes (`register/losses/gmncc.py`), standardisation of images, Adam, learning rates that are halved at the
next scale and lowered on plateaus (`registrar/base.py`, `config/registrar.py`). The scales and their
iterations are ours: xvr's own 500 iterations at one scale are meant for a GPU.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping
from dataclasses import asdict, dataclass, field
from typing import Any

import torch
from torch import Tensor

from ..._optional import require
from ...datasets import Sample
from ...errors import UsageError
from ...exchange import PosedCamera, nanodrr
from ...exchange.posed_camera import rigid
from ...geometry import se3
from ...registration._fixed import FixedImage
from ...registration.initialize import initial_pose
from ...volumes import PreprocessConfig
from ._peer import Device, attenuation_image, filled, torch_device, versions
from .method import MethodResult

_EXTRA = "peers"
# xvr's `XrayTransforms`: what images in 0..1 are shifted and scaled by.
_MEAN, _DEVIATION = 0.15, 0.1
# Size of nanodrr's random start, in rad and mm: its rotations have no derivative at zero.
_OFFSET = 1e-8


@dataclass(frozen=True, kw_only=True)
class XvrConfig:
    """Settings of xvr's registration.

    Attributes:
        preprocess: of the X-ray, as for this library's registration.
        pixels: longer side of the image at each scale [px].
        iterations: at most, at each scale.
        rotation_rate: Adam's learning rate of the rotation vector [rad].
        translation_rate_mm: of the translation [mm].
        scale_rate: by which both are multiplied from scale to scale.
        plateau_rate: by which both are multiplied on a plateau.
        patience: iterations without growth of the similarity that make a plateau.
        growth: share by which the similarity must grow to count as growing.
        plateaus: learning rates after which a scale ends; the first one counts.
        patch_px: side of the patches of local NCC [px].
        gradient_patch_px: of the patches of gradient NCC [px].
        multiscale_share: of multiscale NCC (half of it global, half local); the rest is gradient NCC.
        floor: variance added in each patch.
        device: where to render.
    """

    preprocess: PreprocessConfig = field(default_factory=PreprocessConfig)
    pixels: tuple[int, ...] = (64, 128)
    iterations: tuple[int, ...] = (120, 40)
    rotation_rate: float = 1e-2
    translation_rate_mm: float = 1.0
    scale_rate: float = 0.5
    plateau_rate: float = 0.1
    patience: int = 10
    growth: float = 1e-4
    plateaus: int = 3
    patch_px: int = 9
    gradient_patch_px: int = 11
    multiscale_share: float = 0.5
    floor: float = 1e-5
    device: Device = "auto"

    def __post_init__(self) -> None:
        if not self.pixels or len(self.pixels) != len(self.iterations):
            raise UsageError(
                "xvr needs as many iterations as pixels, and at least one", code="evaluation.invalid-value"
            )


@dataclass(frozen=True, kw_only=True)
class Xvr:
    """The method.

    Attributes:
        name: as reports call it.
        config: its settings.
    """

    name: str = "xvr"
    config: XvrConfig = field(default_factory=XvrConfig)

    @property
    def settings(self) -> Mapping[str, Any]:
        """See `Method.settings`."""
        return {**versions("nanodrr", extra=_EXTRA), **asdict(self.config)}

    def register(self, sample: Sample, start: Tensor | str | None) -> MethodResult:
        """See `Method.register`; without a start it takes that of this library."""
        data = require("nanodrr.data", extra=_EXTRA)
        began = time.perf_counter()
        initial = initial_pose(sample.volume, sample.xray, start).camera_from_world
        fixed = FixedImage.of(sample.xray, self.config.preprocess)
        device = torch_device(self.config.device)
        image = attenuation_image(sample.volume, torch.from_numpy(sample.volume.world_from_voxel))
        subject = data.Subject.from_images(image, convert_to_mu=False).to(device)
        pose, similarity = initial, float("nan")
        for scale in range(len(self.config.pixels)):
            pose, similarity = self._climb(subject, fixed, pose, scale)
        return MethodResult(
            camera_from_world=pose,
            initial_camera_from_world=initial,
            seconds=time.perf_counter() - began,
            similarity=similarity,
        )

    def _climb(self, subject: Any, fixed: FixedImage, pose: Tensor, scale: int) -> tuple[Tensor, float]:
        """Pose and similarity at which one scale ends."""
        config, device = self.config, subject.isocenter.device
        at_scale = fixed.at(config.pixels[scale])
        weight = at_scale.weight.to(device)
        target = _standardised(at_scale.image.to(device)[None, None], weight)
        registration = _registration(subject, PosedCamera(camera_from_world=pose, camera=at_scale.camera))
        similarity = self._similarity(device)
        factor = config.scale_rate**scale
        optimiser = torch.optim.Adam(
            [
                {"params": [registration._rot], "lr": config.rotation_rate * factor},
                {"params": [registration._xyz], "lr": config.translation_rate_mm * factor},
            ],
            maximize=True,
        )
        scheduler = torch.optim.lr_scheduler.ReduceLROnPlateau(
            optimiser, "max", config.plateau_rate, config.patience, config.growth
        )
        rates = set()
        for _ in range(config.iterations[scale]):
            optimiser.zero_grad()
            value = similarity(target, _standardised(registration(), weight))
            value.backward()
            optimiser.step()
            scheduler.step(value.detach())
            rates.add(float(scheduler.get_last_lr()[0]))
            if len(rates) == config.plateaus:
                break
        with torch.no_grad():
            value = similarity(target, _standardised(registration(), weight))
            world_from_camera = registration.pose[0].cpu().double()
        return se3.inverse(rigid(world_from_camera, "nanodrr's pose")), value.item()

    def _similarity(self, device: torch.device) -> Callable[[Tensor, Tensor], Tensor]:
        metrics, config = require("nanodrr.metrics", extra=_EXTRA), self.config
        multiscale = metrics.MultiscaleNormalizedCrossCorrelation2d(
            [None, config.patch_px], [0.5, 0.5], eps=config.floor
        )
        gradient = metrics.GradientNormalizedCrossCorrelation2d(
            config.gradient_patch_px, sigma=0.0, eps=config.floor
        ).to(device)
        share = config.multiscale_share
        return lambda fixed, moving: share * multiscale(fixed, moving) + (1 - share) * gradient(fixed, moving)


def _registration(subject: Any, posed: PosedCamera) -> Any:
    """Nanodrr's `Registration` at a pose; it starts as near to it as its own random start does."""
    module, device = require("nanodrr.registration", extra=_EXTRA), subject.isocenter.device
    view = nanodrr.arguments(posed)
    rt_inv, k_inv, sdd = (torch.tensor([view[key]], device=device) for key in ("rt_inv", "k_inv", "sdd"))
    registration = module.Registration(subject, rt_inv, k_inv, sdd, view["height"], view["width"])
    for parameter in registration.parameters():
        torch.nn.init.constant_(parameter, _OFFSET)
    return registration


def _standardised(image: Tensor, weight: Tensor) -> Tensor:
    """Xvr's `XrayTransforms` of an image [1, 1, H, W], without its resizing: to 0..1, shifted and scaled."""
    image = filled(image, weight)
    image = (image - image.min()) / (image.max() - image.min() + 1e-6)
    return (image - _MEAN) / _DEVIATION
