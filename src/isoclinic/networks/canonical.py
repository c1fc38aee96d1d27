"""What DRR should an X-ray have been? A U-Net answers per pixel, with its precision."""

from __future__ import annotations

from typing import NamedTuple

from torch import Tensor, nn

from ..errors import UsageError
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
        self.backbone = Backbone(config.backbone, 0, further=int(config.hint))
        self.output = nn.Conv2d(self.backbone.output_channels, 2, 1)

    def forward(self, image: Tensor, hint: Tensor | None = None) -> CanonicalImage:
        """Prediction for X-rays [B, H, W] of any tone, bright where dense.

        Args:
            image: the X-rays.
            hint: the standardised renderings [B, H, W] at about the pose that is looked for, where the
                network was made to see them (`CanonicalConfig.hint`).

        Raises:
            UsageError: sides that are no multiples of the backbone's stride, a hint that is missing, or one
                that the network cannot see.
        """
        if (hint is not None) != self.config.hint:
            raise UsageError(
                "a canonical network takes a hint if, and only if, its configuration says so",
                code="model.wrong-shape",
            )
        further = () if hint is None else (hint,)
        target, raw = wide(self.output(self.backbone(image, *further))).unbind(1)
        bound = self.config.log_precision_range
        return CanonicalImage(target, bound * (raw / bound).tanh())
