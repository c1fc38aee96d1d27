"""What DRR should an X-ray have been? A U-Net answers per pixel, with its precision."""

from __future__ import annotations

from typing import NamedTuple

from torch import Tensor, nn

from ._blocks import Backbone, wide
from .config import CanonicalConfig


class CanonicalImage(NamedTuple):
    """Prediction for B X-rays.

    Attributes:
        target: [B, H, W], the standardised DRR the X-ray should have been.
        log_precision: [B, H, W], logarithm of the inverse variance of its error.
    """

    target: Tensor
    log_precision: Tensor


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
