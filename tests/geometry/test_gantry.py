"""The C-arm's angles: DICOM's own examples, and back again."""

from __future__ import annotations

import math

import numpy as np
import pytest
import torch

from isoclinic.geometry import gantry_angles, gantry_poses, gantry_view, se3

# Where the detector is, seen from the patient (RAS), by primary and secondary angle: DICOM PS3.3 C.8.7.5.1.2.
DETECTORS = {
    (0.0, 0.0): (0.0, 1.0, 0.0),
    (180.0, 0.0): (0.0, -1.0, 0.0),
    (90.0, 0.0): (-1.0, 0.0, 0.0),
    (-90.0, 0.0): (1.0, 0.0, 0.0),
    (0.0, 90.0): (0.0, 0.0, 1.0),
    (0.0, -90.0): (0.0, 0.0, -1.0),
    (45.0, 0.0): (-math.sqrt(0.5), math.sqrt(0.5), 0.0),
}


@pytest.mark.parametrize("angles", DETECTORS)
def test_where_the_detector_is(angles):
    view = gantry_view(*angles, 700.0)
    np.testing.assert_allclose(view[2, :3], DETECTORS[angles], atol=1e-12)
    np.testing.assert_allclose(view[:3, 3], (0.0, 0.0, 700.0))
    np.testing.assert_allclose(view[:3, :3] @ view[:3, :3].T, np.eye(3), atol=1e-12)
    assert torch.linalg.det(view[:3, :3]).item() == pytest.approx(1.0)


@pytest.mark.parametrize("primary", [-179.0, -90.0, -30.0, 0.0, 1e-6, 45.0, 135.0, 180.0])
@pytest.mark.parametrize("secondary", [-89.0, -20.0, 0.0, 35.0, 89.0])
def test_angles_of_a_view(primary, secondary):
    """Whatever lies between turns in the image plane and shifts."""
    view = gantry_view(primary, secondary, 700.0)
    turned = torch.tensor([0.0, 0.0, 0.7, 10.0, -5.0, 30.0], dtype=torch.float64)
    for pose in (view, se3.perturb(view[None], turned[None], torch.zeros(3, dtype=torch.float64))[0]):
        found = gantry_angles(pose)
        assert math.remainder(found[0] - primary, 360) == pytest.approx(0, abs=1e-6)
        assert found[1] == pytest.approx(secondary, abs=1e-6)


@pytest.mark.parametrize("secondary", [-90.0, 90.0])
def test_at_the_head_and_the_feet_every_primary_angle_is_the_same(secondary):
    assert gantry_angles(gantry_view(40.0, secondary, 700.0)) == pytest.approx((0.0, secondary))


def test_a_patient_who_lies_off():
    """Where points come to lie, step by step: about the isocentre, seen by the C-arm, shifted, turned."""
    isocentre = torch.tensor([20.0, -30.0, 400.0]).double()
    gantry = torch.tensor([[150.0, 20.0, 650.0], [90.0, -10.0, 700.0]]).double()
    shift = torch.tensor([[5.0, -7.0, 40.0], [0.0, 3.0, -20.0]]).double()
    turn = torch.tensor([12.0, -30.0]).double()
    poses = gantry_poses(gantry, isocentre, shift_mm=shift, in_plane_deg=turn)
    points = isocentre + 50 * torch.randn(9, 3, generator=torch.Generator().manual_seed(0)).double()
    for pose, numbers, moved, turned in zip(poses, gantry.tolist(), shift, turn, strict=True):
        rotation = gantry_view(*numbers)[:3, :3]
        seen = (points - isocentre) @ rotation.T
        c, s = math.cos(math.radians(turned)), math.sin(math.radians(turned))
        x, y, z = seen.T
        expected = torch.stack([c * x - s * y, s * x + c * y, z], 1)
        expected = expected + moved + torch.tensor([0.0, 0.0, numbers[2]])
        torch.testing.assert_close(points @ pose[:3, :3].T + pose[:3, 3], expected, atol=1e-9, rtol=0)
