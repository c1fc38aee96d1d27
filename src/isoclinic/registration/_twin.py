"""The second pose of nearly the same outline that a part has which is its own mirror image."""

from __future__ import annotations

import torch
from torch import Tensor

from ..similarity import SimilarityConfig, SimilarityTerm
from ..volumes import MirrorPlane

# The twins differ by perspective and by what the part lets through: by values over some distance, rather than
# by the place of single edges.
WIDE = SimilarityConfig(terms=(SimilarityTerm(window_px=51),))


def twin_pose(camera_from_world: Tensor, plane: MirrorPlane) -> Tensor:
    """The pose [4, 4] whose outline is that of `camera_from_world` [4, 4] but for perspective.

    The part is mirrored in itself, which changes nothing, and in the plane across the ray to its middle,
    which turns silhouettes seen from afar into themselves; the two reflections together are a rigid motion.
    """
    middle = camera_from_world[:3, :3] @ torch.from_numpy(plane.point_world) + camera_from_world[:3, 3]
    ray = middle / middle.norm()
    across = torch.eye(4, dtype=torch.float64)
    across[:3, :3] -= 2 * torch.outer(ray, ray)
    across[:3, 3] = 2 * ray * (ray @ middle)
    return across @ camera_from_world @ torch.from_numpy(plane.reflection)
