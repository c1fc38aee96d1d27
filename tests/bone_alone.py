"""A bone alone in its CT, and an X-ray of the patient that it is a part of."""

from dataclasses import replace

import numpy as np

from isoclinic.volumes import Volume
from phantoms import CAMERA, detected, line_integrals, true_pose


def _one_bone() -> tuple[Volume, Volume]:
    """A crooked bone in air, and the patient it is a part of."""
    shape = (72, 72, 72)
    index = np.stack(np.meshgrid(*map(np.arange, shape), indexing="ij"), axis=-1)
    x, y, z = np.moveaxis((index - 35.5) * 1.5, -1, 0)
    bone = np.hypot(x - 0.004 * (z + 10) ** 2, y + 0.1 * z) < 6 + 0.08 * np.abs(z)
    bone &= np.abs(z) < 40
    bone |= (np.abs(x - 14) < 5) & (np.abs(y - 3) < 9) & (np.abs(z - 22) < 6)
    rng = np.random.default_rng(3)
    body = np.full(shape, -1000.0)
    body[(x / 50) ** 2 + (y / 48) ** 2 < 1] = 40.0
    for _ in range(12):  # fat, muscle and other bones
        centre, radii = rng.uniform(-32, 32, 3), rng.uniform(5, 14, 3)
        inside = sum(((c - m) / r) ** 2 for c, m, r in zip((x, y, z), centre, radii, strict=True)) < 1
        body[inside & ~bone] = rng.choice([-100.0, 120.0, 500.0])
    affine = np.diag([1.5, 1.5, 1.5, 1.0])
    affine[:3, 3] = (-20.0, 11.0, 300.0)
    alone = Volume(hu=np.where(bone, 900.0, -1000.0).astype(np.float32), world_from_voxel=affine)
    whole = Volume(hu=np.where(bone, 900.0, body).astype(np.float32), world_from_voxel=affine)
    return alone, whole


BONE, PATIENT = _one_bone()
BONE_TRUTH = true_pose(BONE, (0.1, 0.3, -0.2, 4.0, -6.0, 10.0))
CLOSE = replace(CAMERA.crop(top=24, left=24, height=80, width=80).resize(height=240, width=240))
BONE_XRAY = detected(line_integrals(PATIENT, BONE_TRUTH, CLOSE), 1, CLOSE)
