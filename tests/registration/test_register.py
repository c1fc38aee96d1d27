"""Registration from end to end: planted poses, what is said about the result, real anatomy."""

import json
from dataclasses import replace

import numpy as np
import pytest
import torch
from torch import Tensor

from isoclinic.errors import InputError, UsageError
from isoclinic.geometry import mean_target_registration_error_mm, se3
from isoclinic.registration import (
    AnyViewConfig,
    ConfidenceConfig,
    RegistrationConfig,
    RegistrationResult,
    SearchConfig,
    Stage,
    _run,
    register,
)
from isoclinic.solver import Status
from isoclinic.volumes import MaskConfig, PreprocessConfig, Volume, XRay
from phantoms import (
    CAMERA,
    detected,
    displaced,
    error_mm,
    line_integrals,
    phantom,
    true_pose,
    xray_of,
)
from raising import raises

VOLUME = phantom(0)
TRUTH = true_pose(VOLUME)
XRAY = xray_of(VOLUME, TRUTH, seed=0)
ISOCENTRE = torch.from_numpy(VOLUME.isocentre_world)

NO_SEARCH = SearchConfig(candidates=0)
SMALL = RegistrationConfig(searches=(SearchConfig(candidates=32, keep=6),))
FINE = RegistrationConfig(searches=(NO_SEARCH,), stages=(Stage(pixels=128),))

# What a voxel of 2.5 mm and a pixel of 1.7 mm at the patient allow. The X-ray is exact for boxes of constant
# attenuation; the registration interpolates between their centres, which blurs edges by sqrt(h^2 / 12), or
# 0.7 mm. Widened outlines look closer: a bias of a few tenths of a millimetre, nearly all of it in depth.
EXACT_MM = 1.0
IN_PLANE_MM = 0.3


@pytest.mark.slow
@pytest.mark.parametrize("distance_mm", [15, 30, 60])
@pytest.mark.parametrize("seed", [1, 2])
def test_recovers_the_pose(seed, distance_mm):
    volume = phantom(seed)
    truth = true_pose(volume)
    start = displaced(volume, truth, distance_mm, seed)
    assert error_mm(volume, start, truth) > 0.95 * distance_mm
    result = register(volume, xray_of(volume, truth, seed), start)
    assert error_mm(volume, result.camera_from_world, truth) < EXACT_MM
    isocentre = torch.from_numpy(volume.isocentre_world)
    off = se3.perturbation(truth, result.camera_from_world, isocentre)[3:]
    assert off[:2].norm() < IN_PLANE_MM
    assert result.status is Status.CONVERGED and result.reason.status is Status.CONVERGED
    assert torch.equal(result.initial.camera_from_world, start)


@pytest.mark.slow
def test_starts_from_a_standard_view():
    """The truth is a general view 15 degrees and 30 mm beside the antero-posterior one."""
    result = register(VOLUME, XRAY)
    assert result.initial.rough and result.initial.source == "preset ap"
    assert error_mm(VOLUME, result.initial.camera_from_world, TRUTH) > 20
    assert error_mm(VOLUME, result.camera_from_world, TRUTH) < EXACT_MM


@pytest.mark.slow
@pytest.mark.parametrize("flip", [{"left_right": True}, {"top_bottom": True}])
def test_mirrored_image_has_the_same_pose(flip):
    start = displaced(VOLUME, TRUTH, 20, seed=4)
    result = register(VOLUME, XRAY.flip(**flip), start, SMALL)
    assert error_mm(VOLUME, result.camera_from_world, TRUTH) < EXACT_MM


@pytest.mark.slow
def test_image_that_no_factor_divides_and_whose_middle_is_elsewhere():
    camera = CAMERA.pad(top=7, left=12, right=3).resize(height=211, width=191)
    camera = camera.crop(top=11, left=5, height=173, width=181)
    xray = xray_of(VOLUME, TRUTH, 1, camera)
    result = register(VOLUME, xray, displaced(VOLUME, TRUTH, 25, seed=5), SMALL)
    assert error_mm(VOLUME, result.camera_from_world, TRUTH) < EXACT_MM


@pytest.mark.slow
def test_round_field_of_view_and_inverted_grey_values():
    v, u = np.mgrid[:128, :128]
    field = np.hypot(v - 60, u - 66) < 45
    pixels = np.where(field, XRAY.pixels, 20.0)
    xray = replace(XRAY, pixels=pixels.max() - pixels, polarity="dark_air")
    result = register(VOLUME, xray, displaced(VOLUME, TRUTH, 25, seed=6), SMALL)
    assert error_mm(VOLUME, result.camera_from_world, TRUTH) < EXACT_MM


@pytest.mark.slow
def test_same_input_gives_the_same_result():
    start = displaced(VOLUME, TRUTH, 30, seed=7)
    first, second = (register(VOLUME, XRAY, start, SMALL) for _ in range(2))
    assert torch.equal(first.camera_from_world, second.camera_from_world)
    # The covariance is that of matrix products in float32, whose order of summing is not fixed.
    both = first.confidence.covariance, second.confidence.covariance
    torch.testing.assert_close(*both, rtol=1e-3, atol=1e-6)
    assert (first.status, first.reason, first.similarity) == (second.status, second.reason, second.similarity)


def test_result_is_the_best_of_the_last_stage():
    config = RegistrationConfig(
        searches=(SearchConfig(candidates=20, keep=7),),
        stages=(Stage(pixels=32, keep=3), Stage(pixels=64, keep=2), Stage(pixels=100)),
    )
    start = displaced(VOLUME, TRUTH, 15, seed=8)
    result = register(VOLUME, XRAY, start, config)
    assert [stage.name for stage in result.trace] == ["32 x 32 px", "64 x 64 px", "128 x 128 px"]
    starts = [len(stage.solution.x) for stage in result.trace]
    assert starts[0] == 8, "the search's seven and the initial pose itself"
    assert 1 <= starts[1] <= 3 and 1 <= starts[2] <= 2
    for stage in result.trace:
        assert stage.correlation.shape == (len(stage.solution.x),)
        assert stage.best == stage.correlation.argmax()
        assert stage.seconds > 0
    last = result.trace[-1]
    assert torch.equal(result.camera_from_world, last.solution.x[last.best])
    assert result.camera_from_world.dtype == torch.float64
    assert result.similarity == last.correlation.max().item()
    assert result.reason is last.solution.reason[last.best]
    assert sum(stage.seconds for stage in result.trace) <= result.seconds


def test_stages_hand_on_poses_that_differ():
    """Many starts in one basin end at the same pose; only one of them goes on."""
    stages = (Stage(pixels=32, keep=5), Stage(pixels=64))
    config = RegistrationConfig(
        searches=(SearchConfig(candidates=16, rotation_deg=(2.0,) * 3),), stages=stages
    )
    result = register(VOLUME, XRAY, TRUTH, config)
    first, second = result.trace
    ended = torch.tensor([error_mm(VOLUME, x, TRUTH) for x in first.solution.x])
    assert (ended < 3).sum() > 10, "the scene is not what the test is about"
    near = (torch.tensor([error_mm(VOLUME, x, TRUTH) for x in second.solution.x]) < 3).sum()
    assert near <= 2 < 5


def test_without_a_search_it_starts_at_the_initial_pose():
    result = register(VOLUME, XRAY, displaced(VOLUME, TRUTH, 4, seed=1), FINE)
    (stage,) = result.trace
    assert len(stage.solution.x) == 1
    assert error_mm(VOLUME, result.camera_from_world, TRUTH) < EXACT_MM


# 80 mm and 27 degrees: out of reach without a search, within that of this one.
FAR = displaced(VOLUME, TRUTH, 80, seed=2)
WIDE = SearchConfig(candidates=128, rotation_deg=(35.0, 35.0, 35.0), depth_mm=60.0, keep=16)


@pytest.mark.slow
def test_stuck_far_away_is_doubtful():
    result = register(VOLUME, XRAY, FAR, RegistrationConfig().without_search())
    assert error_mm(VOLUME, result.camera_from_world, TRUTH) > 50
    assert result.status is Status.DOUBTFUL
    assert [attempt.candidates for attempt in result.attempts] == [0], (
        "no search followed, not even of all views"
    )


@pytest.mark.slow
def test_wider_search_only_where_the_result_is_doubtful(monkeypatch):
    config = RegistrationConfig(searches=(NO_SEARCH, WIDE))
    with monkeypatch.context() as patch:
        # Not to be called.
        patch.setattr(_run, "search", None)
        near = register(VOLUME, XRAY, displaced(VOLUME, TRUTH, 5, seed=1), config)
    assert near.status is Status.CONVERGED
    far = register(VOLUME, XRAY, FAR, config)
    assert len(far.trace[0].solution.x) == 17 and far.status is Status.CONVERGED
    assert error_mm(VOLUME, far.camera_from_world, TRUTH) < EXACT_MM


@pytest.mark.slow
def test_later_search_does_not_replace_a_better_result():
    config = RegistrationConfig(
        searches=(WIDE, NO_SEARCH),
        confidence=ConfidenceConfig(edges_below=1.1),
        any_view=AnyViewConfig(enabled=False),
    )
    result = register(VOLUME, XRAY, FAR, config)
    assert result.status is Status.DOUBTFUL, "nothing correlates by 1"
    assert error_mm(VOLUME, result.camera_from_world, TRUTH) < EXACT_MM


@pytest.mark.slow
def test_xray_of_somebody_else_is_doubtful():
    other = phantom(11)
    xray = xray_of(other, true_pose(other), seed=0)
    result = register(VOLUME, xray, TRUTH, SMALL)
    assert result.status is Status.DOUBTFUL
    trusting = register(
        VOLUME, xray, TRUTH, replace(SMALL, confidence=ConfidenceConfig(edges_below=-1.0, rival_above=9.0))
    )
    assert trusting.status is trusting.reason.status is result.reason.status


def _labelled() -> Volume:
    labels = np.where(VOLUME.hu > 250, 1, 2).astype(np.uint8)
    return VOLUME.with_labels(labels, {1: "bone", 2: "rest"})


@pytest.mark.slow
def test_structures_are_registered_by_themselves():
    """Bones and the rest of the body have moved apart: each has a pose of its own."""
    volume = _labelled()
    rest_pose = se3.perturb(TRUTH, torch.tensor([0, 0, 0.05, 8.0, -5.0, 0], dtype=torch.float64), ISOCENTRE)
    both = line_integrals(volume, TRUTH, structures=("bone",)) + line_integrals(
        volume, rest_pose, structures=("rest",)
    )
    start = displaced(VOLUME, TRUTH, 10, seed=3)
    near = replace(SMALL, any_view=AnyViewConfig(enabled=False))
    bones, by_label, all_tissue = (
        register(volume, detected(both, seed=0), start, replace(near, structures=structures))
        for structures in (("bone",), (1,), None)
    )
    assert error_mm(VOLUME, bones.camera_from_world, TRUTH) < EXACT_MM
    assert error_mm(VOLUME, all_tissue.camera_from_world, TRUTH) > 3 * EXACT_MM
    assert torch.equal(by_label.camera_from_world, bones.camera_from_world)


def test_unknown_structure():
    with raises(UsageError, "labels.structure-missing", "femur"):
        register(_labelled(), XRAY, TRUTH, RegistrationConfig(structures=("femur",)))


def test_image_of_which_nothing_is_left():
    pixels = XRAY.pixels.copy()
    v, u = np.mgrid[:128, :128]
    pixels[np.hypot(v - 63.5, u - 63.5) > 45] = 0
    # A margin wider than the image around the collimator's shadow.
    config = RegistrationConfig(preprocess=PreprocessConfig(masks=MaskConfig(margin=1.0)))
    with raises(InputError, "xray.all-masked"):
        register(VOLUME, replace(XRAY, pixels=pixels), TRUTH, config)


def test_initial_pose_that_does_not_see_the_ct():
    aside = se3.perturb(TRUTH, torch.tensor([0, 0, 0, 900.0, 0, 0], dtype=torch.float64), ISOCENTRE)
    with raises(InputError, "start.ct-not-seen"):
        register(VOLUME, XRAY, aside)


@pytest.fixture(scope="module")
def real_volumes(shared_data, chest_ct_path) -> dict[str, Volume]:
    return {
        "chest": Volume.read(chest_ct_path),
        "pelvis": Volume.read(shared_data / "abdomen_pelvis_3mm.nii.gz"),
    }


@pytest.mark.slow
@pytest.mark.parametrize("anatomy", ["chest", "pelvis"])
@pytest.mark.parametrize("case", ["00", "01"])
def test_real_anatomy_from_30_mm(real_volumes, shared_data, anatomy, case):
    """X-rays of an independent simulator: 00 noise-free, 01 with scatter, noise, tools and collimation."""
    folder = shared_data / "xrays" / anatomy / case
    case_truth = json.loads((folder / "truth.json").read_text())
    xray = XRay.read(folder / "xray.dcm")
    result: RegistrationResult = register(real_volumes[anatomy], xray, np.array(case_truth["inits"]["30"]))

    def mtre_mm(pose: Tensor) -> float:
        truth = torch.tensor(case_truth["extrinsic"], dtype=torch.float64)
        landmarks = torch.tensor(case_truth["landmarks"], dtype=torch.float64)
        return mean_target_registration_error_mm(pose, truth, landmarks).item()

    assert mtre_mm(result.initial.camera_from_world) > 20
    assert mtre_mm(result.camera_from_world) < 1
    assert result.status is Status.CONVERGED
