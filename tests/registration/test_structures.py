"""Structures with poses of their own: bones moved analytically, and every part of the method by itself."""

from dataclasses import replace
from functools import cache

import numpy as np
import pytest
import torch
from scipy.ndimage import distance_transform_edt
from torch import Tensor

from isoclinic.errors import InputError, UsageError
from isoclinic.geometry import se3
from isoclinic.registration._fixed import FixedImage
from isoclinic.registration._structures_model import MovingStructure, Scene
from isoclinic.registration._structures_prior import MotionPrior
from isoclinic.registration.structures import StructureResult, register_structures
from isoclinic.registration.structures_config import StructuresConfig
from isoclinic.rendering import RenderConfig, render
from isoclinic.solver import Status
from isoclinic.volumes import PreprocessConfig, Volume, XRay
from phantoms import CAMERA, detected, line_integrals, true_pose
from raising import raises

SPACING_MM = 2.5
SHAPE = (56, 44, 60)
AFFINE = np.diag([-SPACING_MM, SPACING_MM, SPACING_MM, 1.0])
AFFINE[:3, 3] = (40.0, -120.0, 900.0)
NAMES = {1: "upper", 2: "lower"}
# Each a block with two horns, so that it has no symmetry: centres and semi-axes from the middle [mm].
BONES = {
    "upper": (((0, 0, 34), (26, 16, 10)), ((24, 8, 44), (9, 7, 15)), ((-20, -8, 26), (7, 9, 13))),
    "lower": (((4, 0, -32), (22, 18, 11)), ((-24, 6, -42), (8, 8, 15)), ((16, -12, -20), (9, 6, 12))),
}
# (rotation vector [rad], translation [mm]) in the world about the bone's first block: 5 to 7 mm, 5 to 7 deg.
MOTIONS = {"upper": (0.06, -0.05, 0.08, 4.0, -1.0, 3.0), "lower": (-0.05, 0.07, 0.04, -3.0, 2.0, -4.0)}
MIDDLE = AFFINE[:3, :3] @ ((np.array(SHAPE) - 1) / 2) + AFFINE[:3, 3]


def _motion(name: str) -> Tensor:
    """World transform [4, 4] of a bone."""
    centre = torch.from_numpy(MIDDLE + np.array(BONES[name][0][0]))
    identity = torch.eye(4, dtype=torch.float64)
    return se3.perturb(identity, torch.tensor(MOTIONS[name], dtype=torch.float64), centre)


@cache
def _ct(moved: tuple[str, ...] = ()) -> Volume:
    """A body of water; bones are drawn where they are now, never resampled. Labels are those at rest."""
    voxels = np.stack(np.meshgrid(*map(np.arange, SHAPE), indexing="ij"), axis=-1)
    points = voxels @ AFFINE[:3, :3].T + AFFINE[:3, 3]
    hu = np.full(SHAPE, -1000.0)
    _fill(hu, points - MIDDLE, 0.47 * SPACING_MM * np.array(SHAPE), 40)
    labels = np.zeros(SHAPE, dtype=np.uint8)
    for label, name in NAMES.items():
        back = np.linalg.inv(_motion(name).numpy()) if name in moved else np.eye(4)
        own = points @ back[:3, :3].T + back[:3, 3] - MIDDLE
        for centre, semi_axes in BONES[name]:
            _fill(hu, own - centre, np.array(semi_axes), 700)
            inside = np.linalg.norm((points - MIDDLE - centre) / semi_axes, axis=-1) < 1
            labels[inside] = label
    ct = Volume(hu=hu.astype(np.float32), world_from_voxel=AFFINE)
    return ct.with_labels(labels, NAMES)


def _fill(hu, points, semi_axes, value):
    inside_mm = (1 - np.linalg.norm(points / semi_axes, axis=-1)) * semi_axes.mean()
    share = np.clip(0.5 + inside_mm / (1.5 * SPACING_MM), 0, 1)
    hu += share * (value - hu)


# A third of the pixel at the patient, 1.7 mm; a quarter of a voxel.
ACROSS_MM = 0.6
POSE = true_pose(_ct(), (0.1, -0.15, 0.05, 4.0, -6.0, 15.0))


@cache
def _xray(moved: tuple[str, ...]) -> XRay:
    return detected(line_integrals(_ct(moved), POSE), seed=0)


@cache
def _registered(moved: tuple[str, ...]) -> tuple[StructureResult, ...]:
    """Both bones, of which some moved."""
    return register_structures(_ct(), _xray(moved), POSE, ["upper", "lower"])


def _errors_mm(name: str, estimate: Tensor, moved: bool = True) -> tuple[float, float]:
    """Mean displacement of the bone's voxels across the beam, and of their centroid along it."""
    ct = _ct()
    voxels = np.argwhere(ct.structure_mask((name,)))
    points = torch.from_numpy(voxels @ AFFINE[:3, :3].T + AFFINE[:3, 3])
    truth = POSE @ _motion(name) if moved else POSE
    change = (estimate - truth)[:3]
    off = points @ change[:, :3].T + change[:, 3]
    return float(off[:, :2].norm(dim=-1).mean()), abs(float(off[:, 2].mean()))


@pytest.mark.slow
def test_recovers_bones_that_moved_independently():
    results = _registered(("upper", "lower"))
    assert [result.name for result in results] == ["upper", "lower"]
    for result in results:
        before, _ = _errors_mm(result.name, POSE)
        across, depth = _errors_mm(result.name, result.camera_from_world)
        assert before > 4
        assert across < ACROSS_MM
        # What is expected is a standard deviation.
        assert across < 3 * result.expected_error_mm[0] and depth < 3 * result.expected_error_mm[1]
        assert result.expected_error_mm[0] < 2 < result.expected_error_mm[1] <= 5
        assert result.status is Status.CONVERGED
        assert result.similarity > 0.8 and result.visible == 1
        assert result.seconds > 0


@pytest.mark.slow
def test_others_stay_where_the_overall_pose_puts_them():
    """Only one bone moved and only it is registered: the other one rests, as part of the background."""
    (alone,) = register_structures(_ct(), _xray(("lower",)), POSE, [2])
    resting, moved = _registered(("lower",))
    assert _errors_mm("lower", alone.camera_from_world)[0] < ACROSS_MM
    assert _errors_mm("lower", moved.camera_from_world)[0] < ACROSS_MM
    assert _errors_mm("upper", resting.camera_from_world, moved=False)[0] < ACROSS_MM


@pytest.mark.slow
def test_overall_pose_need_not_be_exact():
    start = se3.perturb(
        POSE, torch.tensor([0.02, -0.02, 0.02, 1.5, -1.5, 2.0]).double(), torch.tensor(MIDDLE)
    )
    for result in register_structures(_ct(), _xray(("upper", "lower")), start, ["upper", "lower"]):
        # The rest of the picture is now 2 mm off.
        assert _errors_mm(result.name, result.camera_from_world)[0] < 1


@pytest.mark.slow
def test_structures_of_one_group_move_as_one():
    (together,) = register_structures(_ct(), _xray(("upper", "lower")), POSE, [("upper", 2)])
    assert together.structure == ("upper", 2) and together.name == "upper+2"
    # Twice the size shows more of its depth.
    apart = _registered(("upper", "lower"))
    assert together.expected_error_mm[1] < min(result.expected_error_mm[1] for result in apart)
    assert torch.linalg.eigvalsh(together.covariance).min() > 0


def test_same_input_gives_the_same_result():
    again = register_structures(_ct(), _xray(("lower",)), POSE, ["upper", "lower"])
    for first, second in zip(_registered(("lower",)), again, strict=True):
        assert torch.equal(first.camera_from_world, second.camera_from_world)
        assert torch.equal(first.covariance, second.covariance)


@pytest.mark.slow
def test_trace_shows_every_turn():
    config = StructuresConfig(candidates=8, starts=2, rounds=2)
    for result in register_structures(_ct(), _xray(("upper",)), POSE, [1, 2], config):
        assert [turn.name for turn in result.trace] == ["64 x 64 px"] * 2 + ["128 x 128 px"]
        assert len(result.trace[0].solution.x) == 1 + 2, "the overall pose and the search's two"
        for turn in result.trace:
            assert turn.best == turn.solution.cost.argmin()
            assert torch.equal(turn.course[-1], turn.solution.x[turn.best])
        last = result.trace[-1]
        assert torch.equal(result.camera_from_world, last.solution.x[last.best])
        assert result.similarity == last.similarity == float(last.correlation[last.best])


def test_motion_is_told_about_the_centroid():
    _, result = _registered(("upper", "lower"))
    pose, overall = result.camera_from_world.numpy(), POSE.numpy()
    turn = pose[:3, :3] @ overall[:3, :3].T
    assert result.rotation_deg == pytest.approx(np.degrees(np.arccos((np.trace(turn) - 1) / 2)), abs=1e-5)
    voxels = np.argwhere(_ct().labels == 2)
    centroid = np.append(voxels.mean(axis=0) @ AFFINE[:3, :3].T + AFFINE[:3, 3], 1)
    assert result.centroid_world.numpy() == pytest.approx(centroid[:3])
    assert result.translation_mm.numpy() == pytest.approx(((pose - overall) @ centroid)[:3])
    assert result.world_from_structure.numpy() == pytest.approx(np.linalg.inv(overall) @ pose)
    # As planted, across the beam: 4 mm to the left and 3 mm down in the patient, seen from the front.
    planted = (overall @ (_motion("lower").numpy() - np.eye(4)) @ centroid)[:2]
    assert result.translation_mm[:2].numpy() == pytest.approx(planted, abs=0.5)


def test_structure_out_of_view_keeps_the_overall_pose():
    xray = _xray(("upper",))
    pixels, camera = xray.pixels[:64], CAMERA.crop(top=0, left=0, height=64, width=128)
    upper, lower = register_structures(_ct(), replace(xray, pixels=pixels, camera=camera), POSE, [1, 2])
    assert upper.visible == 1 and _errors_mm("upper", upper.camera_from_world)[0] < ACROSS_MM
    assert lower.visible < 0.25 and lower.status is Status.DOUBTFUL
    assert lower.doubts == (
        f"the X-ray shows only {lower.visible:.0%} of it, so it keeps the pose of the whole CT",
    )
    assert lower.stated_error_mm is lower.stated_overall_mm is lower.stated_similarity is None
    assert upper.doubts == () and upper.stated_error_mm == upper.expected_error_mm
    assert torch.equal(lower.camera_from_world, POSE)
    assert lower.trace == () and np.isnan(lower.similarity) and lower.seconds == 0
    # Nothing is known but what was expected: 5 mm along each axis. A rigid motion of six numbers whose mean
    # square over the points is that of three independent axes a point: trace of the projector, 6 for 3 N.
    across, depth = lower.expected_error_mm
    assert across**2 + depth**2 == pytest.approx(6 * 5.0**2)


def test_unlike_pictures_are_doubtful():
    pixels = np.random.default_rng(0).uniform(500, 3000, (128, 128)).astype(np.float32)
    (result,) = register_structures(_ct(), XRay(pixels=pixels, camera=CAMERA), POSE, ["upper"])
    assert result.status is Status.DOUBTFUL
    (doubt,) = result.doubts
    assert f"they correlate by {result.similarity:.2f}, below 0.6" in doubt
    assert result.stated_error_mm is None


def _halves() -> tuple[MovingStructure, ...]:
    return tuple(MovingStructure.of(_ct(), (name,), halo_mm=4.0, soft_tissue_hu=40.0) for name in BONES)


@pytest.mark.slow
def test_scene_is_the_picture_of_the_moved_ct():
    """The sum of parts against a CT in which the bones were drawn elsewhere: two discretisations."""
    fixed = FixedImage.of(_xray(()), PreprocessConfig())
    config = RenderConfig(method="trilinear", voxel_mm="full", backend="cpu")
    at_rest = render(_ct(), CAMERA, POSE, config)[0]
    truth = render(_ct(("upper", "lower")), CAMERA, POSE, config)[0]
    poses = [POSE @ _motion(name) for name in BONES]
    scene = Scene(_ct(), _halves(), fixed, POSE, poses, config)
    similarity = scene.similarity(0, 200, StructuresConfig().stages[0].similarity)
    picture = similarity.background + similarity.projector.image(poses[0][None])[0]
    # One line integral is about two centimetres of this bone; drawing it twice on a 2.5 mm grid differs by
    # a tenth of a voxel or so along each of its surfaces.
    assert (truth - at_rest).abs().max() > 0.3
    assert (picture - truth).abs().max() < 0.06
    assert (picture - truth).square().mean().sqrt() < 0.01
    # A margin that covers the image leaves it whole; a small one leaves the surroundings of the bone.
    assert similarity.fixed.shape == (128, 128)
    near = scene.similarity(0, 3, StructuresConfig().stages[0].similarity)
    shows = (scene.similarity(0, 0, StructuresConfig().stages[0].similarity).weight > 0).sum()
    assert near.fixed.shape[0] < 80 and shows < (near.weight > 0).sum() < near.weight.numel()


def test_excess_is_what_exceeds_soft_tissue():
    upper, _ = _halves()
    crop = _ct().crop_to_structures(("upper",), margin_mm=4.0)
    beyond = (
        crop.attenuation()
        - Volume(hu=np.full((1, 1, 1), 40, np.float32), world_from_voxel=AFFINE).attenuation()
    )
    excess = upper.excess.attenuation()
    inside = crop.structure_mask(("upper",))
    # Attenuation goes through Hounsfield units and back in float32.
    assert excess[inside] == pytest.approx(np.maximum(beyond[inside], 0), abs=1e-7)
    rim = ~inside & (distance_transform_edt(~inside) * SPACING_MM <= 4) & (beyond > 0)
    assert rim.any() and excess[rim] == pytest.approx(beyond[rim], abs=1e-7)
    beyond_halo = ~inside & ~rim
    assert (excess[beyond_halo] < 1e-7).all()
    assert (
        MovingStructure.of(_ct(), ("upper",), halo_mm=0.0, soft_tissue_hu=40.0).excess.attenuation().sum()
        < excess.sum()
    )


def test_halo_stops_half_way_to_another_structure():
    labels = np.zeros((20, 8, 8), np.uint8)
    labels[:8], labels[12:] = 1, 2
    hu = np.full((20, 8, 8), 500, np.int16)
    ct = Volume(hu=hu, world_from_voxel=np.diag([2.0, 2.0, 2.0, 1.0])).with_labels(labels, {})
    left, right = (
        MovingStructure.of(ct, (label,), halo_mm=30.0, soft_tissue_hu=40.0).excess for label in (1, 2)
    )
    both = left.attenuation()[:, 0, 0] + right.attenuation()[:, 0, 0]
    assert (left.attenuation()[:10] > 0).all() and (left.attenuation()[10:] == 0).all()
    assert (both > 0).all()


@pytest.mark.parametrize("deviation_mm", [0.5, 5.0])
def test_prior_against_finite_differences(deviation_mm):
    """The cost as mean square over points in numpy; gradient and Hessian by central differences of it."""
    rng = np.random.default_rng(3)
    points, centroid = torch.from_numpy(rng.normal(size=(50, 3)) * 20 + MIDDLE), torch.from_numpy(MIDDLE) + 5
    prior = MotionPrior(
        overall=POSE, points_world=points, centroid_world=centroid, deviation_mm=deviation_mm, share=0.01
    )
    x = se3.perturb(POSE, torch.tensor([0.1, -0.2, 0.05, 3.0, -4.0, 5.0]).double(), centroid)

    def motion(pose):
        change = (pose - POSE).numpy()
        return points.numpy() @ change[:3, :3].T + change[:3, 3]

    def cost(tangent):
        moved = motion(se3.perturb(x, torch.from_numpy(tangent), centroid))
        return 0.01 * 0.5 * np.square(moved / deviation_mm).sum(axis=1).mean()

    at = prior.linearize(x[None])
    assert at.cost[0] == pytest.approx(cost(np.zeros(6)), rel=1e-9)
    steps = 1e-5 * np.eye(6)
    slope = [(cost(step) - cost(-step)) / 2e-5 for step in steps]
    assert at.gradient[0].numpy() == pytest.approx(slope, rel=1e-5)
    jacobian = se3.point_jacobian(x, points, centroid).numpy()
    for column, step in enumerate(steps):
        ahead, behind = (se3.perturb(x, torch.from_numpy(sign * step), centroid) for sign in (1, -1))
        # Rounding of positions around 1 m, over the step.
        assert jacobian[..., column] == pytest.approx((motion(ahead) - motion(behind)) / 2e-5, abs=1e-6)
    gauss_newton = 0.01 / 50 * np.einsum("nki,nkj->ij", jacobian, jacobian) / deviation_mm**2
    assert at.hessian[0].numpy() == pytest.approx(gauss_newton, rel=1e-9, abs=1e-12)


def test_expected_motion_decides_what_the_view_does_not_show():
    config = StructuresConfig(expected_motion_mm=0.05)
    (held,) = register_structures(_ct(), _xray(("upper", "lower")), POSE, ["lower"], config)
    _, free = _registered(("upper", "lower"))
    assert held.translation_mm.norm() < 0.5 < 3 < free.translation_mm.norm()
    assert held.expected_error_mm[1] < 0.1 < 1 < free.expected_error_mm[1]


@pytest.mark.parametrize(
    ("structures", "fault"),
    [
        ([], ("structures.invalid-value", "one structure")),
        (["tibia"], ("labels.structure-missing", "tibia")),
        ([7], ("labels.structure-missing", "7")),
        (["upper", "upper"], ("structures.ambiguous", "upper, upper")),
        ([("upper", 2), "lower"], ("structures.ambiguous", "2, lower")),
        ([()], ("structures.invalid-value", "one structure")),
    ],
)
def test_structures_that_mean_nothing(structures, fault):
    with raises(UsageError, *fault):
        register_structures(_ct(), _xray(()), POSE, structures)


def test_inputs_that_cannot_be_used():
    with raises(UsageError, "labels.missing", "`labels`"):
        register_structures(replace(_ct(), labels=None), _xray(()), POSE, [1])
    with raises(InputError, "structures.invalid-value", "overall_pose"):
        register_structures(_ct(), _xray(()), torch.stack([POSE, POSE]), [1])
    with raises(InputError, "pose.not-rigid", "overall_pose"):
        register_structures(_ct(), _xray(()), 2 * POSE, [1])


@pytest.mark.parametrize(
    "wrong", [{"stages": ()}, {"rounds": 0}, {"expected_motion_mm": 0.0}, {"margin_mm": -1.0}, {"starts": 0}]
)
def test_config_that_means_nothing(wrong):
    with raises(UsageError, "structures.invalid-value", "stage" if "stages" in wrong else next(iter(wrong))):
        StructuresConfig(**wrong)
