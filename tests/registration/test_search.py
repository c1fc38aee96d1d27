"""The coarse search: planted shifts and orientations, a brute-force correlation, how candidates lie."""

import numpy as np
import pytest
import torch
from numpy.typing import NDArray
from scipy.spatial import KDTree
from torch import Tensor

from isoclinic.errors import UsageError
from isoclinic.geometry import Camera, se3
from isoclinic.registration import SearchConfig
from isoclinic.registration._search import SearchView, _candidates, _sliding_correlation, search
from isoclinic.rendering import Projector, RenderConfig
from phantoms import CAMERA, phantom, true_pose
from raising import raises

VOLUME = phantom(7)
TRUTH = true_pose(VOLUME)
ISOCENTRE = torch.from_numpy(VOLUME.isocentre_world)
# 40 x 32 pixels of 8 mm around the principal point's surroundings: neither square nor centred.
COARSE = CAMERA.resize(height=40, width=40).crop(top=5, left=0, height=32, width=40)
IN_PLACE = SearchConfig(candidates=1)


def _projector(camera: Camera = COARSE) -> Projector:
    return Projector.of(VOLUME, camera, TRUTH[None], RenderConfig(voxel_mm=4.0, backend="cpu"))


def _fixed(projector: Projector) -> tuple[Tensor, Tensor]:
    """What the truth shows, with another tone, and confidence of 1."""
    fixed = 5 - 0.3 * projector.image(TRUTH[None])[0]
    return -fixed, torch.ones_like(fixed)


def _search(
    projector: Projector, fixed: Tensor, weight: Tensor, start: Tensor, config: SearchConfig
) -> tuple[Tensor, Tensor]:
    """One X-ray."""
    identity = torch.eye(4, dtype=torch.float64)
    view = SearchView(projector=projector, fixed=fixed, weight=weight, view_from_first=identity)
    return search([view], start, config)


def _shifted(pose: Tensor, camera: Camera, right_px: float, down_px: float) -> Tensor:
    """Moved in plane, so that the centre of the CT moves by that many pixels."""
    depth = (pose[:3, :3] @ ISOCENTRE + pose[:3, 3])[2]
    tangent = torch.zeros(6, dtype=torch.float64)
    tangent[3], tangent[4] = right_px * depth / camera.fx, down_px * depth / camera.fy
    return se3.perturb(pose, tangent, ISOCENTRE)


def _before(pose: Tensor, tangent: Tensor) -> Tensor:
    """The start from which `tangent` leads to the pose."""
    motion = se3.exp(tangent)
    rotation = motion[:3, :3].T @ pose[:3, :3]
    centre = pose[:3, :3] @ ISOCENTRE + pose[:3, 3] - motion[:3, 3]
    return se3.rigid(rotation, centre - rotation @ ISOCENTRE)


def _in_unit_ball(rng: np.random.Generator, count: int) -> NDArray[np.float64]:
    points = rng.normal(size=(count, 3))
    return points * np.cbrt(rng.uniform(size=(count, 1))) / np.linalg.norm(points, axis=1, keepdims=True)


@pytest.mark.parametrize("flip", [{}, {"left_right": True}, {"top_bottom": True}])
@pytest.mark.parametrize("shift", [(0, 0), (6, 0), (-6, 0), (0, 7), (0, -7), (-5, 4), (11, -9)])
def test_finds_a_shift_to_the_pixel(shift, flip):
    projector = _projector(COARSE.flip(**flip))
    fixed, weight = _fixed(projector)
    start = _shifted(TRUTH, projector.camera, *shift)
    before, after = (projector.camera.project(ISOCENTRE[None], pose)[0] for pose in (TRUTH, start))
    np.testing.assert_allclose(after - before, shift, atol=1e-9)

    poses, correlation = _search(projector, fixed, weight, start, IN_PLACE)
    assert len(poses) == len(correlation) == 1
    # A whole number of pixels back: only float64 rounding remains.
    torch.testing.assert_close(poses[0], TRUTH, rtol=0, atol=1e-9)
    # Not 1: from a displaced start the CT is seen under a slightly different angle.
    assert 0.85 < correlation[0] <= 1


def test_between_pixels_it_finds_the_nearest():
    projector = _projector()
    fixed, weight = _fixed(projector)
    poses, _ = _search(projector, fixed, weight, _shifted(TRUTH, COARSE, 3.2, -2.2), IN_PLACE)
    torch.testing.assert_close(poses[0], _shifted(TRUTH, COARSE, 0.2, -0.2), rtol=0, atol=1e-9)


def test_reaches_as_far_as_the_margin():
    """Half the width is 20 pixels: 19 are within reach, 24 are not."""
    projector = _projector()
    fixed, weight = _fixed(projector)
    for shift, found in ((19, True), (-19, True), (24, False)):
        start = _shifted(TRUTH, COARSE, shift, 0)
        poses, _ = _search(projector, fixed, weight, start, SearchConfig(candidates=1, margin=0.5))
        assert torch.allclose(poses[0], TRUTH, rtol=0, atol=1e-9) == found
        wider, _ = _search(projector, fixed, weight, start, SearchConfig(candidates=1, margin=0.75))
        torch.testing.assert_close(wider[0], TRUTH, rtol=0, atol=1e-9)


@pytest.mark.parametrize("depth_mm", [0.0, 60.0])
@pytest.mark.parametrize("index", [3, 70, 295])
def test_ranks_the_true_orientation_first(index, depth_mm):
    """Also beyond 256 candidates, which are rendered in several goes."""
    config = SearchConfig(candidates=300, depth_mm=depth_mm, rotation_deg=(30.0, 40.0, 20.0), keep=5)
    projector = _projector()
    fixed, weight = _fixed(projector)
    start = _before(_shifted(TRUTH, COARSE, 4, -3), _candidates(config)[index])
    poses, correlation = _search(projector, fixed, weight, start, config)
    torch.testing.assert_close(poses[0], TRUTH, rtol=0, atol=1e-9)
    assert len(poses) == 5 and (correlation.diff() <= 0).all()


def test_masked_part_of_the_image_does_not_mislead():
    """A collimated X-ray: what lies in the shadow is blank, and there is no weight on it."""
    projector = _projector()
    fixed, weight = _fixed(projector)
    weight[:, :14] = 0
    weight[25:] = 0
    start = _shifted(TRUTH, COARSE, -6, 5)
    poses, _ = _search(projector, torch.where(weight > 0, fixed, 0.0), weight, start, IN_PLACE)
    torch.testing.assert_close(poses[0], TRUTH, rtol=0, atol=1e-9)


def test_masked_pixels_have_exactly_no_influence():
    projector = _projector()
    fixed, weight = _fixed(projector)
    weight[:, :14] = 0
    config = SearchConfig(candidates=8)
    poses, correlation = _search(projector, fixed, weight, TRUTH, config)
    for value in (0.0, 50.0):
        changed = _search(projector, torch.where(weight > 0, fixed, value), weight, TRUTH, config)
        assert torch.equal(changed[0], poses) and torch.equal(changed[1], correlation)


def test_is_deterministic_and_takes_no_part_of_its_arguments():
    projector = _projector()
    fixed, weight = _fixed(projector)
    arguments = [tensor.clone() for tensor in (fixed, weight, TRUTH)]
    config = SearchConfig(candidates=40, depth_mm=30.0)
    first = _search(projector, *arguments, config)
    second = _search(projector, *arguments, config)
    assert all(torch.equal(a, b) for a, b in zip(first, second, strict=True))
    assert all(torch.equal(a, b) for a, b in zip(arguments, (fixed, weight, TRUTH), strict=True))


@pytest.mark.parametrize(("candidates", "keep"), [(1, 4), (6, 4), (6, 6)])
def test_keeps_no_more_than_asked_and_no_more_than_there_are(candidates, keep):
    projector = _projector()
    poses, correlation = _search(
        projector, *_fixed(projector), TRUTH, SearchConfig(candidates=candidates, keep=keep)
    )
    assert poses.shape == (min(candidates, keep), 4, 4) and poses.dtype == torch.float64
    assert correlation.shape == (min(candidates, keep),)
    torch.testing.assert_close(torch.linalg.det(poses[:, :3, :3]), torch.ones(len(poses)).double())


@pytest.mark.parametrize("kind", ["ones", "fractions", "mask"])
def test_sliding_correlation_is_the_direct_sum(kind):
    rng = np.random.default_rng(0)
    moving, target = rng.normal(size=(2, 17, 14)), rng.normal(size=(7, 6))
    weight = np.ones_like(target) if kind == "ones" else rng.uniform(size=target.shape)
    if kind == "mask":
        weight[weight < 0.5] = 0
    expected = np.zeros((2, 11, 9))
    for b, v, u in np.ndindex(*expected.shape):
        part = moving[b, v : v + 7, u : u + 6]
        energy = (weight * part**2).sum() * (weight * target**2).sum()
        expected[b, v, u] = (weight * part * target).sum() / np.sqrt(energy)
    actual = _sliding_correlation(*(torch.from_numpy(array) for array in (moving, target, weight)))
    # float64 transforms; the energy is nowhere near its lower bound.
    np.testing.assert_allclose(actual.numpy(), expected, atol=1e-12)


def test_empty_views_do_not_correlate():
    """Where the moving image is empty the quotient is rounding over rounding; it must stay small."""
    rng = np.random.default_rng(0)
    moving, target = torch.zeros(1, 40, 40), torch.from_numpy(rng.normal(size=(9, 9))).float()
    moving[0, :12, :12] = torch.from_numpy(rng.normal(size=(12, 12)))
    actual = _sliding_correlation(moving, target, torch.ones(9, 9))
    assert actual.abs().max() <= 1 and actual[0, :4, :4].abs().max() > 0.1
    assert actual[0, 13:, 13:].abs().max() < 1e-3  # float32 transforms, 1e-6, over the root of 0.005


@pytest.mark.parametrize("candidates", [1, 2, 128, 600])
@pytest.mark.parametrize("depth_mm", [0.0, 45.0])
def test_candidates_lie_within_reach_and_begin_at_the_start(candidates, depth_mm):
    rotation_deg = (20.0, 50.0, 10.0)
    config = SearchConfig(candidates=candidates, rotation_deg=rotation_deg, depth_mm=depth_mm)
    tangents = _candidates(config)
    assert tangents.shape == (candidates, 6) and tangents.dtype == torch.float64
    assert (tangents[0] == 0).all()
    assert torch.equal(tangents, _candidates(config))
    assert len(tangents.unique(dim=0)) == candidates
    assert ((tangents[:, :3] / np.deg2rad(rotation_deg)).norm(dim=1) <= 1 + 1e-12).all()
    assert (tangents[:, 3:5] == 0).all()
    assert (tangents[:, 5].abs() <= depth_mm).all()


@pytest.mark.parametrize("candidates", [128, 512, 2048])
def test_candidates_fill_the_ellipsoid_more_evenly_than_random_ones(candidates):
    """Mean and largest distance of a rotation within reach from the nearest candidate, by Monte Carlo."""
    rng = np.random.default_rng(0)
    reach = np.deg2rad([20.0, 50.0, 10.0])
    config = SearchConfig(candidates=candidates, rotation_deg=(20.0, 50.0, 10.0), depth_mm=30.0)
    asked = _in_unit_ball(rng, 20000)
    even, _ = KDTree(_candidates(config)[:, :3].numpy() / reach).query(asked)
    random, _ = KDTree(_in_unit_ball(rng, candidates)).query(asked)
    assert even.mean() < random.mean()
    assert even.max() < random.max()


def test_candidates_fill_the_range_of_depths():
    """Of 512 depths every eighth of the range holds its share within a tenth; random ones stray by 12 %."""
    depths = _candidates(SearchConfig(candidates=512, depth_mm=40.0))[:, 5]
    counts, _ = np.histogram(depths, bins=8, range=(-40, 40))
    assert np.abs(counts - 64).max() <= 6


def test_best_candidate_is_nearer_to_the_truth_than_a_far_start():
    config = SearchConfig(candidates=128, rotation_deg=(25.0, 25.0, 25.0), keep=1)
    projector = _projector()
    start = _before(
        _shifted(TRUTH, COARSE, 5, 5), torch.deg2rad(torch.tensor([12.0, -12, 10, 0, 0, 0])).double()
    )
    poses, _ = _search(projector, *_fixed(projector), start, config)
    angles = se3.perturbation(TRUTH.expand(2, 4, 4), torch.stack([poses[0], start]), ISOCENTRE)[:, :3]
    assert angles[0].norm() < 0.6 * angles[1].norm()


@pytest.mark.parametrize(
    "settings",
    [
        {"candidates": -1},
        {"pixels": 7},
        {"keep": 0},
        {"window_px": 1},
        {"window_px": 10},
        {"rotation_deg": (10.0, -1.0, 10.0)},
        {"depth_mm": -1.0},
        {"margin": -0.1},
    ],
)
def test_settings_without_meaning_are_refused(settings):
    with raises(UsageError, "registration.invalid-value", "search"):
        SearchConfig(**settings)
