"""A pose from one X-ray: ResNet-18 with an SO(4) head.

A ResNet-18 trained on renderings of one CT is the patient-specific regressor of Chen & Kong (WACV 2026,
supplement); the heads and their bounds are ours.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass
from typing import Literal, get_args

import torch
from torch import Tensor, nn

from .._optional import require
from ..errors import UsageError
from ..geometry import se3, so3, so4
from ._blocks import standardized

Head = Literal["so4", "quaternion", "matrix"]
Triple = tuple[float, float, float]

_OUTPUTS: dict[Head, int] = {"so4": 8, "quaternion": 7, "matrix": 9}
# ResNet-18 ends in eight times its first width (He et al. 2016, table 1).
_WIDENING = 8


@dataclass(frozen=True, kw_only=True)
class PoseRegressorConfig:
    """Architecture and reach of a `PoseRegressor`.

    Attributes:
        width: channels of the first stage; ResNet-18 has 64.
        norm: normalisation. "batch" is ResNet's own; "group" does not depend on what else is in the batch.
        groups: channel groups of "group".
        head: what the network emits: two quaternions ("so4"), a quaternion and a translation, or the first
            two columns of a rotation matrix and a translation (Zhou et al. 2019); the last two as ablations.
        length_mm: characteristic length L of the SO(4) head, that of the `PoseSpace` it is trained in.
        rotation_deg: largest rotation vector about the camera's x, y, z [deg].
        translation_mm: largest translation of the isocentre along x, y, z (for "so4" each on its own) [mm].
    """

    width: int = 64
    norm: Literal["batch", "group"] = "batch"
    groups: int = 8
    head: Head = "so4"
    length_mm: float = 100.0
    rotation_deg: Triple = (60.0, 75.0, 45.0)
    translation_mm: Triple = (90.0, 90.0, 225.0)

    def __post_init__(self) -> None:
        if self.head not in get_args(Head):
            raise UsageError(f"head must be one of {', '.join(get_args(Head))}, not {self.head!r}")
        if not all(bound > 0 for bound in (*self.rotation_deg, *self.translation_mm, self.length_mm)):
            raise UsageError("rotation_deg, translation_mm and length_mm must be positive")
        if math.hypot(*self.rotation_deg) >= 180:
            raise UsageError(f"rotation_deg {self.rotation_deg} must together stay below 180 degrees")
        if math.hypot(*self.translation_angles) >= math.pi / 2:
            raise UsageError(
                f"translation_mm {self.translation_mm} reaches too far for length_mm {self.length_mm}: "
                "the angles arctan(translation / 2 length) must together stay below 90 degrees"
            )

    @property
    def translation_angles(self) -> Triple:
        """What the largest translations are in SO(4), arctan(t / 2L) [rad]."""
        x, y, z = (math.atan(t / (2 * self.length_mm)) for t in self.translation_mm)
        return x, y, z


class PoseRegressor(nn.Module):
    """Predicts the motion [B, 4, 4] of a `PoseSpace` from images [B, H, W], in float64.

    All heads are bounded smoothly by `r tanh(x / r)` per axis and start at the nominal view. The SO(4) head
    bounds the logarithm (a, b) of its two quaternions: half the sum (a + b) / 2 is the rotation vector, half
    the difference is the angle arctan(|t| / 2L) along the translation t. Exponentials on the sphere do not
    enlarge distances, so every element predicted is the projection of a pose (`so4.to_se3`).
    """

    def __init__(self, config: PoseRegressorConfig) -> None:
        super().__init__()
        self.config = config
        norm = "batch" if config.norm == "batch" else ("group", {"num_groups": config.groups})
        self.network = require("monai.networks.nets.resnet").ResNet(
            block="basic",
            layers=[2, 2, 2, 2],
            block_inplanes=[config.width * factor for factor in (1, 2, 4, _WIDENING)],
            spatial_dims=2,
            n_input_channels=1,
            conv1_t_stride=2,
            num_classes=_OUTPUTS[config.head],
            bias_downsample=False,
            norm=norm,
        )
        # The nominal view: the raw numbers only move away from it.
        nn.init.normal_(self.network.fc.weight, std=1e-2 / math.sqrt(_WIDENING * config.width))
        nn.init.zeros_(self.network.fc.bias)
        self._decode: Callable[[Tensor], Tensor] = {
            "so4": self._from_so4,
            "quaternion": self._from_quaternion,
            "matrix": self._from_matrix,
        }[config.head]

    def forward(self, image: Tensor) -> Tensor:
        """Motion [B, 4, 4] float64 predicted from images [B, H, W] of any tone."""
        return self._decode(self.network(standardized(image)[:, None]).double())

    def _from_so4(self, raw: Tensor) -> Tensor:
        pair = raw.unflatten(-1, (2, 4)) + so4.identity(device=raw.device)
        left, right = so4.log(pair / torch.linalg.vector_norm(pair, dim=-1, keepdim=True)).split(3, -1)
        rotation = self._bounded_rotation((left + right) / 2)
        shift = _bounded((left - right) / 2, self.config.translation_angles)
        return so4.to_se3(so4.exp(torch.cat([rotation + shift, rotation - shift], -1)), self.config.length_mm)

    def _from_quaternion(self, raw: Tensor) -> Tensor:
        identity = so4.identity(device=raw.device)[0]
        return self._rigid(so3.matrix_from_quaternion(raw[:, :4] + identity), raw[:, 4:])

    def _from_matrix(self, raw: Tensor) -> Tensor:
        first, second = (raw[:, :6].unflatten(-1, (2, 3)) + torch.eye(3, device=raw.device)[:2]).unbind(-2)
        x = first / torch.linalg.vector_norm(first, dim=-1, keepdim=True)
        y = second - (x * second).sum(-1, keepdim=True) * x
        y = y / torch.linalg.vector_norm(y, dim=-1, keepdim=True)
        return self._rigid(torch.stack([x, y, torch.linalg.cross(x, y)], -1), raw[:, 6:])

    def _rigid(self, rotation: Tensor, raw_translation: Tensor) -> Tensor:
        bound = self.config.translation_mm
        # The raw numbers of all heads are of the order of radians.
        translation = _bounded(2 * self.config.length_mm * raw_translation, bound)
        return se3.rigid(so3.exp(self._bounded_rotation(so3.log(rotation))), translation)

    def _bounded_rotation(self, vector: Tensor) -> Tensor:
        x, y, z = (math.radians(bound) for bound in self.config.rotation_deg)
        return _bounded(vector, (x, y, z))


def _bounded(x: Tensor, bound: Triple) -> Tensor:
    limit = x.new_tensor(bound)
    return limit * (x / limit).tanh()
