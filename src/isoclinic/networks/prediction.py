"""What pose regressors say of an X-ray, whether they see the CT or know it."""

from __future__ import annotations

from weakref import WeakKeyDictionary

from torch import Tensor

from ..geometry import Camera
from ..volumes import Volume
from .ct_conditioned import CTConditionedRegressor, conditioning_cube
from .masking import masked
from .pose_regressor import PoseRegressor
from .pose_space import PoseSpace

Regressor = PoseRegressor | CTConditionedRegressor

_cubes: WeakKeyDictionary[Volume, dict[tuple[PoseSpace, Camera, int], Tensor]] = WeakKeyDictionary()


def predicted_motion(
    network: Regressor, image: Tensor, weight: Tensor, volume: Volume, space: PoseSpace, camera: Camera
) -> Tensor:
    """Motion [B, 4, 4] float64 that a regressor predicts; see `PoseSpace.pose`.

    Args:
        network: of one patient, or of any.
        image: X-rays [B, H, W] like line integrals.
        weight: [B, H, W], where they show the patient; see `masked`.
        volume: the CT; what networks of any patient see of it is kept while it lives.
        space: of its poses.
        camera: of the X-rays.
    """
    seen = masked(image, weight)
    if isinstance(network, CTConditionedRegressor):
        voxels = network.config.cube_voxels
        cubes = _cubes.setdefault(volume, {})
        key = space, camera, voxels
        if key not in cubes:
            cubes[key] = conditioning_cube(volume, space, camera, voxels)
        motion: Tensor = network(seen, cubes[key][None].to(seen))
    else:
        motion = network(seen)
    return motion
