"""What DRR should an X-ray have been? A U-Net answers per pixel, with its precision."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import NamedTuple

from torch import Tensor, nn

from ..errors import UsageError
from ._blocks import Backbone, BackboneConfig, wide


class CanonicalImage(NamedTuple):
    """Prediction for B X-rays.

    Attributes:
        target: [B, H, W], the standardised DRR the X-ray should have been.
        log_precision: [B, H, W], logarithm of the inverse variance of its error.
    """

    target: Tensor
    log_precision: Tensor


@dataclass(frozen=True, kw_only=True)
class CanonicalConfig:
    """Architecture of a `CanonicalNetwork`, and what it is to predict.

    Attributes:
        backbone: the U-Net, decoded to full resolution.
        window_px: side of the window within which DRRs are standardised [px], odd.
        floor: contrast below which a window counts as flat [line integrals].
        log_precision_range: bound on the absolute logarithm of the precision.
    """

    backbone: BackboneConfig = field(default_factory=BackboneConfig)
    window_px: int = 31
    floor: float = 0.05
    log_precision_range: float = 6.0

    def __post_init__(self) -> None:
        if self.window_px < 3 or self.window_px % 2 == 0:
            raise UsageError(f"window_px must be odd and at least 3, not {self.window_px}")
        if not (self.floor > 0 and self.log_precision_range > 0):
            raise UsageError("floor and log_precision_range must be positive")


class CanonicalNetwork(nn.Module):
    """Predicts the standardised DRR and its log precision from X-rays; no network sees the moving image."""

    def __init__(self, config: CanonicalConfig) -> None:
        super().__init__()
        self.config = config
        self.backbone = Backbone(config.backbone, 0)
        self.output = nn.Conv2d(self.backbone.output_channels, 2, 1)

    def forward(self, image: Tensor) -> CanonicalImage:
        """Prediction for X-rays [B, H, W] of any tone, bright where dense.

        Raises:
            UsageError: sides that are no multiples of the backbone's stride.
        """
        target, raw = wide(self.output(self.backbone(image))).unbind(1)
        bound = self.config.log_precision_range
        return CanonicalImage(target, bound * (raw / bound).tanh())
