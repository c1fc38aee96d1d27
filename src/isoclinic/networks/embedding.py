"""Distances of embedded images: on a product of three-spheres, or in plain Euclidean space.

An embedding gives every location of an image K elements of eight numbers and a confidence. On the sphere the
eight are two unit quaternions, an element of SO(4), and two images are as far apart as the weighted mean over
locations and elements of the squared geodesic distance of `so4`,

    D^2 = sum_m w_m / K sum_k d^2(a_mk, b_mk),    w = softmax(c_a + c_b),

with c the logarithms of the confidences: the weight is the product of both confidences, with sum one. The
residual stacks sqrt(w_m / K) times the logarithms of a_mk^-1 b_mk, so that half its squared norm is D^2, as
Levenberg-Marquardt wants it; the weights are part of what is differentiated. (Spherical similarity: Chen &
Kong, WACV 2026; the form of the embedding is ours.)

A mean of squares adds up the noise of all locations, and a randomised X-ray is so far from its own clean
rendering that distances of a few millimetres drown in it. An embedding with a *reading* adds up before it
squares: the moving image says by matrices A_m what the differences at each location mean, and the residual is

    r = sum_m A_m [log(a_m1^-1 b_m1), ..., log(a_mK^-1 b_mK)],    D^2 = |r|^2 / 2.

Noise averages out over the M locations. The first six numbers of r can be trained to be the logarithm of
the motion itself (`training.losses.MotionLoss`); the others are free. Such a D is zero for equal images, and
is read from one of the two, the moving one: the other way round it differs.
"""

from __future__ import annotations

import math
from typing import NamedTuple

import torch
from torch import Tensor

from ..geometry import so4
from .config import Metric

# Of what is read from M locations, with sqrt(M): an untrained reading is about as small as motions are.
_READING_SCALE = 0.1


class Embedding(NamedTuple):
    """What an encoder makes of B images.

    Attributes:
        elements: [B, M, K, 2, 4], K elements at each of M locations (one for a global embedding); pairs of
            unit quaternions if the metric is spherical.
        log_confidence: [B, M], logarithm of the confidence of each location, up to a constant; unused by an
            embedding with a reading.
        reading: [B, M, R, P], what R numbers read from the P numbers by which the elements of each location
            differ, 6 K on the sphere and 8 K in Euclidean space; None for the mean of squares.
    """

    elements: Tensor
    log_confidence: Tensor
    reading: Tensor | None = None

    def select(self, items: Tensor) -> Embedding:
        """The rows of `items`, integers [b]."""
        reading = None if self.reading is None else self.reading[items]
        return Embedding(self.elements[items], self.log_confidence[items], reading)

    def followed_by(self, other: Embedding) -> Embedding:
        """The images of both, those of this one first."""
        read = self.reading is not None and other.reading is not None
        return Embedding(
            torch.cat([self.elements, other.elements]),
            torch.cat([self.log_confidence, other.log_confidence]),
            torch.cat([self.reading, other.reading]) if read else None,  # type: ignore[list-item]
        )


def residual(moving: Embedding, fixed: Embedding, metric: Metric) -> Tensor:
    """Residual [B, N] whose squared norm is twice the squared distance of two embeddings of B images.

    N = 6 M K on the sphere. In Euclidean space the logarithms are replaced by twice the differences of the
    eight numbers: the same distance to first order where both are unit quaternions, and N = 8 M K. With a
    reading, which is the moving image's, N = R.
    """
    if moving.reading is not None:
        difference = _difference(moving, fixed, metric).flatten(2)
        return _reading_scale(moving) * torch.einsum("bmrp,bmp->br", moving.reading, difference)
    log_weight = (moving.log_confidence + fixed.log_confidence).log_softmax(-1)
    root_weight = (log_weight / 2).exp() / math.sqrt(moving.elements.shape[2])
    return (root_weight[..., None, None] * _difference(moving, fixed, metric)).flatten(1)


def pair_residuals(embedded: Embedding, moving: Tensor, fixed: Tensor, metric: Metric) -> Tensor:
    """Residuals [N, R] of N pairs of images of one embedding with a reading.

    They are those of `residual` for the embeddings of rows `moving` and `fixed`. A reading is by far the
    largest part of an embedding, and is not copied for every pair that it is read for: all pairs of one
    moving image are one product of matrices.

    Args:
        embedded: of B images.
        moving: rows [N] of the moving images, ascending.
        fixed: rows [N] of the fixed images.
        metric: of the elements.
    """
    assert embedded.reading is not None
    elements, confidence = embedded.elements, embedded.log_confidence
    first, second = (Embedding(elements[rows], confidence[rows]) for rows in (moving, fixed))
    difference = _difference(first, second, metric).flatten(1)
    # [B, M P, R]: what each row's reading does with all numbers by which another row differs from it.
    matrices = embedded.reading.transpose(1, 2).flatten(2).mT
    counts = torch.bincount(moving, minlength=len(matrices)).tolist()
    products = [
        of_one @ matrix for of_one, matrix in zip(difference.split(counts), matrices.unbind(0), strict=True)
    ]
    return _reading_scale(embedded) * torch.cat(products)


def squared_distance(moving: Embedding, fixed: Embedding, metric: Metric) -> Tensor:
    """Squared distance [B] [rad^2] of two embeddings of B images."""
    return residual(moving, fixed, metric).square().sum(-1) / 2


def _reading_scale(embedded: Embedding) -> float:
    return _READING_SCALE / math.sqrt(embedded.elements.shape[1])


def _difference(moving: Embedding, fixed: Embedding, metric: Metric) -> Tensor:
    """[B, M, K, 6 or 8], from the moving to the fixed elements."""
    if metric == "spherical":
        return so4.residual(moving.elements, fixed.elements)
    return 2 * (fixed.elements - moving.elements).flatten(-2)


def elements_from_raw(raw: Tensor, metric: Metric) -> Tensor:
    """Elements [..., K, 2, 4] of raw numbers [..., 8 K].

    Zero becomes the identity, so that an untrained network starts far from where signs flip.
    """
    pairs = raw.unflatten(-1, (-1, 2, 4)) + so4.identity(raw.dtype, raw.device)
    if metric == "euclidean":
        return pairs
    return pairs / torch.linalg.vector_norm(pairs, dim=-1, keepdim=True)
