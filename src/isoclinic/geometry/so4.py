"""Rotations of 4-space as pairs of unit quaternions, and the rigid motions that project onto them.

An element [..., 2, 4] holds two unit quaternions (w, x, y, z), the left- and right-isoclinic factors g and h
of the rotation x -> g x h*, where a quaternion x is a point of 4-space. (g, h) and (-g, -h) are the same
rotation; (-g, h) is the opposite one.

A pose [R, t] and a characteristic length L become the orthogonal polar factor, that is the nearest rotation,
of the 4x4 matrix [[R, t / L], [0, 1]] (Larochelle, Murray & Angeles 2007, J. Mechanical Design 129(8)). It is
g = p q, h = p* q with q the quaternion of R, p = (cos(phi / 2), t / |t| sin(phi / 2)), tan(phi) = |t| / 2L.
(Etzel & McCarthy 1996, ICRA, introduced pairs of quaternions as a metric for rigid motions.)

The geodesic distance sqrt(2 (alpha^2 + beta^2)), with alpha and beta the angles between the two g and between
the two h, stays the same when both elements are multiplied by a third from either side, which no distance of
rigid motions offers. It is the root sum square of the principal angles of the relative rotation: the angle of
a pure rotation, phi (about |t| / 2L) of a pure translation. As L grows it approaches the geodesic distance of
SE(3) with the same weights, sqrt(angle^2 + |t_b - t_a|^2 / 4L^2); the difference falls as L^-2, as it does in
proportion to the distance for poses near each other.

All functions are batched over leading dimensions, broadcast, keep the dtype they are given and have finite
first and second derivatives everywhere. Those of `log`, `squared_distance` and `distance` ignore the length
of the quaternions: gradients are tangent to the spheres.
"""

from __future__ import annotations

import torch
from torch import Tensor

from . import _series, se3, so3

__all__ = [
    "compose",
    "distance",
    "exp",
    "from_matrix",
    "from_se3",
    "identity",
    "inverse",
    "log",
    "matrix",
    "recentre",
    "residual",
    "squared_distance",
    "to_se3",
]


def recentre(camera_from_world: Tensor, isocentre_camera: Tensor, isocentre_world: Tensor) -> Tensor:
    """Return the same pose [..., 4, 4] between frames whose origins are at the isocentre, to be projected.

    What is left of the translation is how far the isocentre lies from where the camera expects it. The
    projection treats large translations unlike small ones, and so must not see the source's distance.
    Undone by the same call with both points negated.

    Args:
        camera_from_world: [..., 4, 4].
        isocentre_camera: the isocentre of a nominal view in the camera frame, such as (0, 0, distance from
            the source), [..., 3] [mm]; the same for all poses that are compared.
        isocentre_world: [..., 3] [mm].
    """
    rotation, translation = camera_from_world[..., :3, :3], camera_from_world[..., :3, 3]
    seen = (rotation @ isocentre_world[..., None]).squeeze(-1) + translation
    return se3.rigid(rotation, seen - isocentre_camera)


def from_se3(transform: Tensor, length_mm: float) -> Tensor:
    """Element [..., 2, 4] nearest to the rigid transform.

    Args:
        transform: [..., 4, 4], translation in mm, small against `length_mm`: see `recentre`.
        length_mm: characteristic length L; a millimetre of translation counts like 1 / 2L radians.
    """
    rotation = so3.quaternion_from_matrix(transform[..., :3, :3])
    tangent = transform[..., :3, 3] / (2 * length_mm)
    secant = (1 + tangent.square().sum(-1, keepdim=True)).sqrt()
    # (cos, sin) of phi / 2 from tan(phi) and sec(phi) = 1 / cos(phi), without the angle.
    half = torch.cat([1 + secant, tangent], dim=-1) / (2 * secant * (1 + secant)).sqrt()
    return torch.stack([_product(half, rotation), _product(_conjugate(half), rotation)], dim=-2)


def to_se3(element: Tensor, length_mm: float) -> Tensor:
    """Rigid transform [..., 4, 4] whose projection `from_se3` with the same length [mm] is the element.

    Elements with phi >= 90 deg, for which the last diagonal entry of `matrix` is not positive, are no
    projections of a rigid transform. Their translation is NaN, with derivatives of zero.
    """
    left, right = element.unbind(-2)
    double = _product(left, _conjugate(right))  # p^2 = (cos(phi), t / |t| sin(phi))
    cosine, sine = double[..., :1], double[..., 1:]
    possible = cosine > 0
    translation = 2 * length_mm * sine / torch.where(possible, cosine, torch.ones_like(cosine))
    translation = torch.where(possible, translation, torch.full_like(translation, torch.nan))
    # (p + p*) q: the mean of the two is along q.
    return se3.rigid(so3.matrix_from_quaternion(left + right), translation)


def identity(dtype: torch.dtype = torch.float64, device: torch.device | None = None) -> Tensor:
    """Return the identity [2, 4]."""
    return torch.tensor([[1, 0, 0, 0], [1, 0, 0, 0]], dtype=dtype, device=device)


def compose(a: Tensor, b: Tensor) -> Tensor:
    """Element [..., 2, 4] that rotates by b, then by a."""
    return _product(a, b)


def inverse(element: Tensor) -> Tensor:
    """Inverse [..., 2, 4] of an element."""
    return _conjugate(element)


def matrix(element: Tensor) -> Tensor:
    """Rotation matrix [..., 4, 4] on (x, y, z, w): the quaternion's scalar is the homogeneous coordinate."""
    basis = torch.eye(4, dtype=element.dtype, device=element.device).roll(1, dims=-1)
    left, right = element[..., None, 0, :], element[..., None, 1, :]
    return _product(_product(left, basis), _conjugate(right)).roll(-1, dims=-1).mT


def from_matrix(rotation: Tensor) -> Tensor:
    """Element [..., 2, 4], of either sign, of rotation matrices [..., 4, 4] on (x, y, z, w).

    The inner products of a rotation with the 16 rotations of pairs of quaternion units are the outer product
    of g and h (Van Elfrinkhof 1897; Mebius 2005, arXiv:math/0501249). One power iteration, started at the
    largest row, splits it; for a matrix off by a small error that leaves its square to the nearest rotation.
    """
    units = torch.eye(4, dtype=rotation.dtype, device=rotation.device)
    pairs = torch.stack([units[:, None].expand(4, 4, 4), units[None].expand(4, 4, 4)], dim=-2)
    outer = torch.einsum("...ab,ijab->...ij", rotation, matrix(pairs)) / 4
    largest = outer.square().sum(-1).argmax(-1)[..., None, None].expand(*outer.shape[:-2], 1, 4)
    start = outer.gather(-2, largest).mT
    left = _normalise((outer @ start).squeeze(-1))
    right = _normalise((outer.mT @ left[..., None]).squeeze(-1))
    return torch.stack([left, right], dim=-2)


def exp(tangent: Tensor) -> Tensor:
    """Exponential [..., 2, 4] of tangents [..., 6]: the rotation vectors [rad] of g and of h."""
    half = tangent.unflatten(-1, (2, 3)) / 2
    angle_squared = half.square().sum(-1, keepdim=True)
    cosine = 1 - angle_squared * _series.versine(angle_squared)
    return torch.cat([cosine, _series.sinc(angle_squared) * half], dim=-1)


def log(element: Tensor) -> Tensor:
    """Shortest tangent [..., 6] with exp(tangent) = element [..., 2, 4] or its negative.

    For a pure rotation both halves are its rotation vector; a pure translation adds +phi and -phi along it.
    The squared norm is twice the squared distance from the identity. Where a principal angle is pi, the cut
    locus, two tangents are equally short and the one for the sign of the element as given is returned. For
    the opposite of the identity every direction is as short; the half that is -1 becomes 2 pi about x, with
    derivatives of zero. Close to that single rotation, and nowhere else, derivatives grow without bound.
    """
    element = _shortest(element)
    scalar, vector = element[..., :1], element[..., 1:]
    eps = torch.finfo(element.dtype).eps
    opposite = (scalar < 0) & (vector.square().sum(-1, keepdim=True) <= eps**2)
    vector = torch.where(opposite, vector.new_tensor([2 * eps, 0.0, 0.0]), vector)
    return (2 * _series.angle_ratio(vector.square().sum(-1, keepdim=True), scalar) * vector).flatten(-2)


def residual(a: Tensor, b: Tensor) -> Tensor:
    """Tangent [..., 6] at a that leads to b, both [..., 2, 4]: the `log` of a^-1 b.

    Half its squared norm is their squared distance. Multiplying both from the left does not change it.
    """
    return log(compose(inverse(a), b))


def squared_distance(a: Tensor, b: Tensor) -> Tensor:
    """Square [...] of the geodesic distance [rad^2] of elements [..., 2, 4]; smooth also where they agree."""
    relative = _shortest(compose(inverse(a), b))
    return 2 * _series.angle_squared(relative[..., 1:].square().sum(-1), relative[..., 0]).sum(-1)


def distance(a: Tensor, b: Tensor) -> Tensor:
    """Geodesic distance [...] in [0, sqrt(2) pi] rad of elements [..., 2, 4], whichever their signs.

    Below the rounding unit of the dtype it is zero, with derivatives of zero; `squared_distance` has a useful
    second derivative there. On the cut locus derivatives are those of one side.
    """
    return _series.root(squared_distance(a, b))


def _shortest(element: Tensor) -> Tensor:
    """The one of (g, h) and (-g, -h) nearer to the identity: alpha + beta <= pi is cos alpha >= -cos beta."""
    return torch.where(element[..., 0].sum(-1)[..., None, None] < 0, -element, element)


def _product(p: Tensor, q: Tensor) -> Tensor:
    (a, u), (b, v) = (p[..., :1], p[..., 1:]), (q[..., :1], q[..., 1:])
    scalar = a * b - (u * v).sum(-1, keepdim=True)
    return torch.cat([scalar, a * v + b * u + torch.linalg.cross(*torch.broadcast_tensors(u, v))], dim=-1)


def _conjugate(q: Tensor) -> Tensor:
    return torch.cat([q[..., :1], -q[..., 1:]], dim=-1)


def _normalise(q: Tensor) -> Tensor:
    return q / torch.linalg.vector_norm(q, dim=-1, keepdim=True)
