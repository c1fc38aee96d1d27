"""The encoder of spherical similarity: CNN and Transformer with a global or a dense head."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Literal

import torch
from torch import Tensor, nn

from ..errors import UsageError
from . import embedding
from ._blocks import Backbone, BackboneConfig, wide
from .embedding import Embedding, Metric


@dataclass(frozen=True, kw_only=True)
class SphericalEncoderConfig:
    """Architecture of a `SphericalEncoder`. The defaults, half a million parameters, suit processors.

    Attributes:
        backbone: the network below the head.
        head: "global" for elements of the whole image, "dense" for elements at every location of a map.
        elements: SO(4) elements K, of the image or of each location.
        dense_level: level of the pyramid that "dense" decodes to: its map has a 2^level-th of the pixels.
        metric: "spherical", or "euclidean" for the same network without normalisation, as an ablation.
    """

    backbone: BackboneConfig = field(default_factory=BackboneConfig)
    head: Literal["global", "dense"] = "global"
    elements: int = 8
    dense_level: int = 2
    metric: Metric = "spherical"

    def __post_init__(self) -> None:
        if not 0 <= self.dense_level < len(self.backbone.channels):
            raise UsageError(f"dense_level must be a level of the pyramid, not {self.dense_level}")

    @classmethod
    def paper(cls, **settings: object) -> SphericalEncoderConfig:
        """For a GPU: about 7 million parameters. `settings` replace fields."""
        backbone = BackboneConfig(channels=(32, 64, 128, 256), transformer_blocks=6, heads=8)
        return cls(**{"backbone": backbone, "elements": 16, **settings})  # type: ignore[arg-type]


class SphericalEncoder(nn.Module):
    """Embeds images of the same patient so that their distance tells how far their poses are apart.

    One network embeds both images. The dense head has K elements and a confidence at every location of its
    map; each of the K global elements is read from the mean of all tokens under an attention of its own.
    """

    def __init__(self, config: SphericalEncoderConfig) -> None:
        super().__init__()
        self.config = config
        dense = config.head == "dense"
        level = config.dense_level if dense else len(config.backbone.channels) - 1
        self.backbone = Backbone(config.backbone, level)
        features = self.backbone.output_channels
        self.attention = None if dense else nn.Linear(features, config.elements)
        self.output = nn.Linear(features, 8 * config.elements + 1 if dense else 8)

    def forward(self, image: Tensor) -> Embedding:
        """Embedding of images [B, H, W] of any tone, bright where dense; differentiable twice.

        Raises:
            UsageError: sides that are no multiples of the backbone's stride.
        """
        features = self.backbone(image).flatten(2).mT
        if self.attention is None:
            raw = wide(self.output(features))
            return Embedding(embedding.elements_from_raw(raw[..., 1:], self.config.metric), raw[..., 0])
        pooled = self.attention(features).softmax(1).mT @ features
        raw = wide(self.output(pooled)).flatten(1)[:, None]
        return Embedding(embedding.elements_from_raw(raw, self.config.metric), torch.zeros_like(raw[..., 0]))

    def residual(self, moving: Embedding, fixed: Embedding) -> Tensor:
        """Residual [B, N] of two embeddings of B images; see `embedding.residual`."""
        return embedding.residual(moving, fixed, self.config.metric)

    def squared_distance(self, moving: Embedding, fixed: Embedding) -> Tensor:
        """Squared distance [B] [rad^2] of two embeddings of B images."""
        return embedding.squared_distance(moving, fixed, self.config.metric)
