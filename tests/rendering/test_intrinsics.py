"""Derivatives by the intrinsics, taken from those by the pose, against rendering with other intrinsics."""

import math

import pytest
import torch

from isoclinic.geometry import se3
from isoclinic.rendering import Projector, RenderConfig, intrinsics_jacobian
from phantoms import CAMERA, phantom, true_pose

VOLUME = phantom(5, (24, 24, 24))
CAMERA_OFF_CENTRE = CAMERA.crop(top=20, left=40, height=50, width=64).resize(height=15, width=16)
# Small against voxels of 2.5 mm, whose borders are kinks of Joseph's interpolation.
STEPS = (1e-7, 1e-5, 1e-5)


@pytest.mark.parametrize("method", ["trilinear", "siddon"])
@pytest.mark.parametrize("flip", [{}, {"left_right": True}, {"left_right": True, "top_bottom": True}])
def test_against_central_differences_in_float64(flip, method):
    camera = CAMERA_OFF_CENTRE.flip(**flip)
    isocentre = torch.from_numpy(VOLUME.isocentre_world)
    tangents = torch.tensor([[0.0] * 6, [0.3, -0.2, 0.4, 12, -8, 30]], dtype=torch.float64)
    poses = se3.perturb(true_pose(VOLUME), tangents, isocentre)
    config = RenderConfig(method=method, voxel_mm="full", backend="reference")
    projector = Projector.of(VOLUME, camera, poses, config)
    _, jacobian = projector.image_and_jacobian(poses)
    centre = poses[:, :3, :3] @ isocentre + poses[:, :3, 3]
    analytic = intrinsics_jacobian(jacobian, camera, centre)
    assert analytic.shape == (2, 3, 15, 16)

    def changed(parameter: int, step: float):
        scale = math.exp(step) if parameter == 0 else 1.0
        shift_mm = [step if parameter == axis else 0.0 for axis in (1, 2)]
        return type(camera)(
            width=camera.width,
            height=camera.height,
            fx=camera.fx * scale,
            fy=camera.fy * scale,
            # fx over SDD is one over the signed pixel spacing.
            cx=camera.cx + shift_mm[0] * camera.fx / camera.sdd_mm,
            cy=camera.cy + shift_mm[1] * camera.fy / camera.sdd_mm,
            sdd_mm=camera.sdd_mm * scale,
        )

    for parameter, step in enumerate(STEPS):
        ahead, behind = (projector.image(poses, changed(parameter, sign * step)) for sign in (1, -1))
        numeric = (ahead - behind) / (2 * step)
        assert numeric.norm() > 0
        # float32 tangents: none in the reference; rounding 1e-15 of a line integral over the step.
        assert (analytic[:, parameter] - numeric).norm() < 1e-5 * numeric.norm()
