"""Relative motion against closed forms: joints moved by known angles, seen from any camera."""

import math

import numpy as np
import pytest
import torch
from scipy.spatial.transform import Rotation

from isoclinic.geometry import gantry_view
from isoclinic.sequences import FrameRecord, StructureRecord, joints_of, relative_motion
from isoclinic.sequences.relative import joint_angles_deg

CENTROIDS = {"femur_right": (40.0, 0.0, 80.0), "tibia_right": (42.0, -5.0, -60.0)}


def turned(rotation: np.ndarray, about: np.ndarray, shift=(0.0, 0.0, 0.0)) -> torch.Tensor:
    """World motion [4, 4] that turns about a point and then shifts."""
    motion = np.eye(4)
    motion[:3, :3] = rotation
    motion[:3, 3] = about - rotation @ about + shift
    return torch.from_numpy(motion)


def record(first: torch.Tensor, second: torch.Tensor, names, doubts=()) -> FrameRecord:
    """A frame in which both bones have moved in the world, seen by a camera from somewhere."""
    camera = gantry_view(35.0, -20.0, 700.0) @ turned(Rotation.from_euler("x", 0.3).as_matrix(), np.ones(3))
    structures = {
        name: StructureRecord(
            status="converged",
            camera_from_world=camera @ moved,
            centroid_world=CENTROIDS.get(name, (0.0, 0.0, 0.0)),
            expected_error_mm=(0.1, 0.5),
            doubts=doubts,
        )
        for name, moved in zip(names, (first, second), strict=True)
    }
    return FrameRecord(index=0, file="x", status="converged", camera_from_world=camera, structures=structures)


@pytest.mark.parametrize("angles", [(30, 4, -7), (-80, -25, 60), (0, 0, 0), (120, 10, 3), (5, -89, 2)])
def test_angles_are_those_of_scipys_sequence(angles):
    rotation = Rotation.from_euler("XYZ", angles, degrees=True).as_matrix()
    np.testing.assert_allclose(joint_angles_deg(torch.from_numpy(rotation)), angles, atol=1e-9)


def test_a_joint_that_is_locked_keeps_the_sum():
    rotation = Rotation.from_euler("XYZ", [20, 90, 15], degrees=True).as_matrix()
    a, b, c = joint_angles_deg(torch.from_numpy(rotation))
    assert (a + c, b) == pytest.approx((35, 90), abs=1e-5)


@pytest.mark.parametrize(("side", "inwards"), [("right", 1), ("left", -1)])
@pytest.mark.parametrize("swapped", [False, True])
def test_a_knee(side, inwards, swapped):
    """A shank that is flexed (its foot goes back), adducted and turned inwards, whatever the thigh does.

    Turns are built one after another about axes that Grood & Suntay define: the femur's lateral-medial axis,
    then the floating one, then the tibia's long axis.
    """
    flexion, adduction, internal = 40.0, 6.0, -9.0
    names = (f"femur_{side}", f"tibia_{side}")
    thigh = turned(Rotation.from_rotvec([0.2, -0.1, 0.4]).as_matrix(), np.array([10.0, 20, 30]), (3, 4, 5))
    e1 = np.array([1.0, 0, 0])
    flexed = Rotation.from_rotvec(-math.radians(flexion) * e1)
    floating = flexed.apply([0.0, 1, 0])
    adducted = Rotation.from_rotvec(inwards * math.radians(adduction) * floating) * flexed
    long_axis = adducted.apply([0.0, 0, 1])
    shank_in_thigh = Rotation.from_rotvec(inwards * math.radians(internal) * long_axis) * adducted
    joint_centre = np.array([40.0, 0, 0])
    shank = thigh @ turned(shank_in_thigh.as_matrix(), joint_centre)
    given = names[::-1] if swapped else names
    (joint,) = joints_of(given)
    assert (joint.first, joint.second) == names and joint.name.startswith(f"{side} knee")
    assert joint.angles == ("flexion", "adduction", "internal rotation")
    poses = (shank, thigh) if swapped else (thigh, shank)
    motion = relative_motion(record(*poses, given), joint)
    assert motion is not None and motion.right
    np.testing.assert_allclose(motion.angles_deg, (flexion, adduction, internal), atol=1e-9)


def test_signs_of_a_knee_in_plain_words():
    """On the right side: the foot goes back, towards the middle, and its toes turn in."""
    (joint,) = joints_of(["femur_right", "tibia_right"])
    foot, toes = np.array([0.0, 0, -400]), np.array([0.0, 1, 0])
    for index, moved in enumerate(
        (
            lambda r: (r @ foot)[1] < -1,  # backwards
            lambda r: (r @ foot)[0] < -1,  # to the left, where the middle is
            lambda r: (r @ toes)[0] < -0.01,  # to the left
        )
    ):
        angles = np.zeros(3)
        angles[index] = 5.0
        turns = np.array(joint.signs) * angles
        assert moved(Rotation.from_euler("XYZ", turns, degrees=True).as_matrix())


def test_shift_is_that_of_the_centroid_in_the_first_bone():
    names = ("femur_right", "tibia_right")
    thigh = turned(Rotation.from_euler("z", 90, degrees=True).as_matrix(), np.zeros(3))
    # Moved together, then 3 mm along the first bone's own right axis, whatever that is in the world now.
    shank = thigh @ turned(np.eye(3), np.zeros(3), (3.0, 0.0, -1.0))
    motion = relative_motion(record(thigh, shank, names), joints_of(names)[0])
    assert motion is not None
    np.testing.assert_allclose(motion.shift_mm, (3, 0, -1), atol=1e-9)
    np.testing.assert_allclose(motion.expected_error_mm, (0.1 * 2**0.5, 0.5 * 2**0.5))
    np.testing.assert_allclose(motion.angles_deg, 0, atol=1e-9)


def test_a_wrist():
    names = ("radius_left", "metacarpal_left")
    (joint,) = joints_of(names)
    assert joint.angles == ("flexion", "ulnar deviation", "pronation")
    # The fingers, which point down, go forward, where the palm looks: flexion.
    flexed = turned(Rotation.from_euler("x", 20, degrees=True).as_matrix(), np.zeros(3))
    assert (flexed[:3, :3].numpy() @ [0, 0, -1])[1] > 0
    motion = relative_motion(record(torch.eye(4).double(), flexed, names), joint)
    assert motion is not None and motion.angles_deg == pytest.approx((20, 0, 0))


def test_names_that_do_not_say_which_joint():
    for names in (("femur_left", "tibia_right"), ("femur", "tibia"), ("hip_left", "hip_right"), ("1", "2")):
        (joint,) = joints_of(names)
        assert joint.angles == ("about right", "about the floating axis", "about superior")
        assert (joint.first, joint.second) == names
    assert [
        (each.first, each.second) for each in joints_of(["hip_left", "sacrum", "femur_left", "tibia_left"])
    ] == [
        ("femur_left", "tibia_left"),
        ("hip_left", "sacrum"),
    ]
    assert joints_of(["femur_left+patella_left", "fibula_left+tibia_left"])[0].name.startswith("left knee")


def test_what_is_in_doubt_or_missing():
    names = ("femur_right", "tibia_right")
    (joint,) = joints_of(names)
    still = torch.eye(4).double()
    motion = relative_motion(record(still, still, names, doubts=("blurred",)), joint)
    assert motion is not None and not motion.right
    assert relative_motion(FrameRecord(index=0, file="x"), joint) is None
