import math

import torch

from isoclinic.errors import InputError, UsageError
from isoclinic.geometry import se3, so4
from isoclinic.networks import PoseSpace
from raising import raises
from tiny_networks import LENGTH_MM, poses, space

TANGENTS = torch.randn(8, 6, generator=torch.Generator().manual_seed(0)).double() * torch.tensor(
    [0.4, 0.4, 0.4, 40.0, 40.0, 100.0]
)


def nominal() -> torch.Tensor:
    return torch.tensor(space().nominal_camera_from_world, dtype=torch.float64)


def test_the_nominal_view_is_the_identity():
    # 900 mm from the origin of the world to the isocentre: rounding of 1e-13 mm.
    torch.testing.assert_close(space().element(nominal()), so4.identity(), atol=1e-14, rtol=0)


def test_a_motion_and_its_pose_are_inverse():
    there = poses(TANGENTS)
    torch.testing.assert_close(space().pose(space().motion(there)), there, atol=1e-11, rtol=0)


def test_a_turn_about_the_isocentre_counts_its_angle_and_a_shift_its_arctangent():
    # Closed forms of the projection: theta, and arctan(t / 2L), whatever the direction.
    turned = se3.perturb(nominal(), torch.tensor([0.3, -0.2, 0.1, 0, 0, 0]).double(), space().isocentre)
    shifted = se3.perturb(nominal(), torch.tensor([0, 0, 0, 30.0, 0, -40.0]).double(), space().isocentre)
    squares = space().squared_distance(torch.stack([turned, shifted]), nominal())
    expected = torch.tensor([0.3**2 + 0.2**2 + 0.1**2, math.atan(50 / (2 * LENGTH_MM)) ** 2]).double()
    torch.testing.assert_close(squares, expected, atol=1e-7, rtol=0)  # float32 literals above


def test_the_gradient_of_the_distance_is_that_of_finite_differences():
    moving, fixed = poses(TANGENTS[:4]), poses(TANGENTS[4:])
    step = 1e-5 * torch.eye(6, dtype=torch.float64)
    expected = torch.stack(
        [
            space().squared_distance(se3.perturb(moving, d, space().isocentre), fixed)
            - space().squared_distance(se3.perturb(moving, -d, space().isocentre), fixed)
            for d in step
        ],
        dim=-1,
    )
    # Central differences: h^2 of truncation and eps / h = 1e-11 of rounding.
    gradient = space().squared_distance_gradient(moving, fixed)
    torch.testing.assert_close(gradient, expected / 2e-5, atol=1e-9, rtol=0)


def test_what_is_no_space_is_refused():
    with raises(InputError, "geometry.wrong-shape", "nominal_camera_from_world"):
        PoseSpace(
            nominal_camera_from_world=((1.0, 2.0),), isocentre_world=(0.0, 0.0, 0.0), length_mm=LENGTH_MM
        )
    with raises(UsageError, "model.invalid-value", "length_mm"):
        PoseSpace.about(nominal(), space().isocentre, 0.0)


def test_another_ct_in_the_same_place():
    """Its isocentre lies where that of the first did, and motions mean the same about it."""
    isocentre = torch.tensor([40.0, -15.0, 300.0]).double()
    other = space().about_isocentre(isocentre)
    moved = torch.eye(4).double()
    moved[:3, 3] = space().isocentre - isocentre
    there = poses(TANGENTS)
    torch.testing.assert_close(other.isocentre, isocentre)
    # Points of the first CT are those of the other, moved.
    torch.testing.assert_close(other.motion(there @ moved), space().motion(there), atol=1e-10, rtol=0)
    torch.testing.assert_close(other.pose(space().motion(there)), there @ moved, atol=1e-10, rtol=0)
    torch.testing.assert_close(
        other.about_isocentre(space().isocentre).motion(there), space().motion(there), atol=1e-10, rtol=0
    )
