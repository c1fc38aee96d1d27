"""Distances of embedded images: on a product of three-spheres, or in plain Euclidean space.

An embedding gives every location of an image K elements of eight numbers and a confidence. On the sphere the
eight are two unit quaternions, an element of SO(4), and two images are as far apart as the weighted mean over
locations and elements of the squared geodesic distance of `so4`,

    D^2 = sum_m w_m / K sum_k d^2(a_mk, b_mk),    w = softmax(c_a + c_b),

with c the logarithms of the confidences: the weight is the product of both confidences, with sum one. The
residual stacks sqrt(w_m / K) times the logarithms of a_mk^-1 b_mk, so that half its squared norm is D^2, as
Levenberg-Marquardt wants it; the weights are part of what is differentiated. (Spherical similarity: Chen &
Kong, WACV 2026; the form of the embedding is ours.)
"""

from __future__ import annotations

import math
from typing import NamedTuple

import torch
from torch import Tensor

from ..geometry import so4
from .config import Metric


class Embedding(NamedTuple):
    """What an encoder makes of B images.

    Attributes:
        elements: [B, M, K, 2, 4], K elements at each of M locations (one for a global embedding); pairs of
            unit quaternions if the metric is spherical.
        log_confidence: [B, M], logarithm of the confidence of each location, up to a constant.
    """

    elements: Tensor
    log_confidence: Tensor

    def select(self, items: Tensor) -> Embedding:
        """The rows of `items`, integers [b]."""
        return Embedding(self.elements[items], self.log_confidence[items])


def residual(moving: Embedding, fixed: Embedding, metric: Metric) -> Tensor:
    """Residual [B, N] whose squared norm is twice the squared distance of two embeddings of B images.

    N = 6 M K on the sphere. In Euclidean space the logarithms are replaced by twice the differences of the
    eight numbers: the same distance to first order where both are unit quaternions, and N = 8 M K.
    """
    log_weight = (moving.log_confidence + fixed.log_confidence).log_softmax(-1)
    root_weight = (log_weight / 2).exp() / math.sqrt(moving.elements.shape[2])
    if metric == "spherical":
        difference = so4.residual(moving.elements, fixed.elements)
    else:
        difference = 2 * (fixed.elements - moving.elements).flatten(-2)
    return (root_weight[..., None, None] * difference).flatten(1)


def squared_distance(moving: Embedding, fixed: Embedding, metric: Metric) -> Tensor:
    """Squared distance [B] [rad^2] of two embeddings of B images."""
    return residual(moving, fixed, metric).square().sum(-1) / 2


def elements_from_raw(raw: Tensor, metric: Metric) -> Tensor:
    """Elements [..., K, 2, 4] of raw numbers [..., 8 K].

    Zero becomes the identity, so that an untrained network starts far from where signs flip.
    """
    pairs = raw.unflatten(-1, (-1, 2, 4)) + so4.identity(raw.dtype, raw.device)
    if metric == "euclidean":
        return pairs
    return pairs / torch.linalg.vector_norm(pairs, dim=-1, keepdim=True)
