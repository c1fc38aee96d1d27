"""The encoder of spherical similarity: CNN and Transformer with a global head or one for every location."""

from __future__ import annotations

import torch
from torch import Tensor, nn

from . import embedding
from ._blocks import Backbone, wide
from .config import SphericalEncoderConfig
from .embedding import Embedding


class SphericalEncoder(nn.Module):
    """Embeds images of the same patient so that their distance tells how far their poses are apart.

    One network embeds both images. The dense head has K elements and a confidence at every location of its
    map; each of the K global elements is read from the mean of all tokens under an attention of its own. The
    motion head has K elements and a matrix at every location: see `embedding`.
    """

    def __init__(self, config: SphericalEncoderConfig) -> None:
        super().__init__()
        self.config = config
        level = len(config.backbone.channels) - 1 if config.head == "global" else config.dense_level
        self.backbone = Backbone(config.backbone, level)
        features = self.backbone.output_channels
        self.attention = nn.Linear(features, config.elements) if config.head == "global" else None
        outputs = {"global": 8, "dense": 8 * config.elements + 1, "motion": 8 * config.elements}
        self.output = nn.Linear(features, outputs[config.head])
        differences = config.elements * (6 if config.metric == "spherical" else 8)
        reads = config.head == "motion"
        self.reading = nn.Linear(features, config.readings * differences) if reads else None

    def forward(self, image: Tensor) -> Embedding:
        """Embedding of images [B, H, W] of any tone, bright where dense; differentiable twice.

        Raises:
            UsageError: sides that are no multiples of the backbone's stride.
        """
        features = self.backbone(image).flatten(2).mT
        if self.reading is not None:
            elements = embedding.elements_from_raw(wide(self.output(features)), self.config.metric)
            reading = wide(self.reading(features)).unflatten(-1, (self.config.readings, -1))
            return Embedding(elements, reading.new_zeros(reading.shape[:2]), reading)
        if self.attention is None:
            raw = wide(self.output(features))
            return Embedding(embedding.elements_from_raw(raw[..., 1:], self.config.metric), raw[..., 0])
        pooled = self.attention(features).softmax(1).mT @ features
        raw = wide(self.output(pooled)).flatten(1)[:, None]
        return Embedding(embedding.elements_from_raw(raw, self.config.metric), torch.zeros_like(raw[..., 0]))

    def residual(self, moving: Embedding, fixed: Embedding) -> Tensor:
        """Residual [B, N] of two embeddings of B images; see `embedding.residual`."""
        return embedding.residual(moving, fixed, self.config.metric)

    def pair_residuals(self, embedded: Embedding, moving: Tensor, fixed: Tensor) -> Tensor:
        """Residuals [N, R] of N pairs of rows of one embedding; see `embedding.pair_residuals`."""
        return embedding.pair_residuals(embedded, moving, fixed, self.config.metric)

    def squared_distance(self, moving: Embedding, fixed: Embedding) -> Tensor:
        """Squared distance [B] [rad^2] of two embeddings of B images."""
        return embedding.squared_distance(moving, fixed, self.config.metric)
