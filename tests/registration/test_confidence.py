"""Expected errors against measured ones, and every reason for doubt against what brings it about."""

import math
from dataclasses import replace
from types import SimpleNamespace

import numpy as np
import pytest
import torch
from scipy.ndimage import gaussian_filter

from isoclinic.errors import UsageError
from isoclinic.geometry import se3
from isoclinic.registration import (
    AnyViewConfig,
    ConfidenceConfig,
    IntrinsicsConfig,
    IntrinsicsRefinement,
    PartialConfig,
    RegistrationConfig,
    SearchConfig,
    Stage,
    register,
)
from isoclinic.registration._fixed import FixedImage
from isoclinic.registration.confidence import (
    _covariance,
    _further_reasons,
    _in_view,
    _rival,
    _undecided,
    ceiling,
    expected_errors_mm,
    reasons_to_doubt,
)
from isoclinic.rendering import Projector, RenderConfig, render
from isoclinic.similarity import ImageSimilarity
from isoclinic.solver import Status
from isoclinic.volumes import GeometryWarning, PreprocessConfig, Volume, XRay, target_points
from phantoms import CAMERA, displaced, error_mm, phantom, true_pose, xray_of
from raising import raises

VOLUME = phantom(0)
TRUTH = true_pose(VOLUME)
XRAY = xray_of(VOLUME, TRUTH, seed=0)
ISOCENTRE = torch.from_numpy(VOLUME.isocentre_world)
# Without the factors that were fitted to misfit on other images.
PLAIN = ConfidenceConfig(error_factor=1.0)
FINE = RegistrationConfig(
    searches=(SearchConfig(candidates=0),),
    stages=(Stage(pixels=128),),
    confidence=PLAIN,
    intrinsics=replace(IntrinsicsConfig.exact(), unmodelled_factor=0),
    any_view=AnyViewConfig(enabled=False),
)
SMALL = RegistrationConfig(searches=(SearchConfig(candidates=32, keep=6),))


def noisy_xray(seed: int, correlation_px: float, deviation: float) -> XRay:
    """Line integrals of the registration's own renderer, so that nothing but the noise is wrong."""
    image = render(VOLUME, CAMERA, TRUTH, RenderConfig(voxel_mm="full", backend="cpu"))[0].numpy()
    noise = np.random.default_rng(seed).normal(size=image.shape)
    if correlation_px:
        noise = gaussian_filter(noise, correlation_px)
    pixels = image + deviation * noise / noise.std()
    return XRay(pixels=pixels.astype(np.float32), camera=CAMERA, polarity="dark_air", pixel_scale="log")


@pytest.mark.parametrize("deviation", [0.05, 0.4])
@pytest.mark.parametrize("correlation_px", [0.0, 1.5])
@pytest.mark.slow
def test_covariance_predicts_the_scatter_over_noise(correlation_px, deviation):
    """Standard deviations of 20 registrations that differ in nothing but the noise, white or with grain.

    The weaker noise halves the correlation of the images, the stronger one leaves a sixth of it. Of 20
    samples a standard deviation has an uncertainty of 16 %, that of 64 tiles, few of which decide about
    some directions, about as much again. Grain reaches across the borders of tiles and windows.
    """
    xrays = [noisy_xray(seed, correlation_px, deviation) for seed in range(20)]
    results = [register(VOLUME, xray, TRUTH, FINE) for xray in xrays]
    tangents = torch.stack([se3.perturbation(TRUTH, r.camera_from_world, ISOCENTRE) for r in results])
    covariances = torch.stack([r.confidence.covariance for r in results])
    # Scatter, not error: the registration renders coarser voxels, which biases depth in all of them alike.
    ratio = covariances.diagonal(dim1=1, dim2=2).mean(0).sqrt() / tangents.std(dim=0)
    assert (ratio > 0.6).all() and (ratio < 2.2).all(), ratio
    # Depth is what one view knows least.
    spread = covariances.diagonal(dim1=1, dim2=2).mean(0).sqrt()
    assert spread[5] > 3 * spread[3:5].max()


@pytest.mark.parametrize("config", [FINE, SMALL])
def test_covariance_is_a_covariance(config):
    result = register(VOLUME, XRAY, displaced(VOLUME, TRUTH, 5, seed=1), config)
    covariance = result.confidence.covariance
    assert covariance.shape == (6, 6) and covariance.dtype == torch.float64
    torch.testing.assert_close(covariance, covariance.T, rtol=1e-6, atol=1e-12)
    scale = covariance.diagonal().sqrt()
    assert torch.linalg.eigvalsh(covariance / scale[:, None] / scale).min() > 0


@pytest.mark.slow
def test_expected_errors_are_those_of_poses_drawn_from_the_covariance():
    """20 000 poses, moved exactly: their spread has an uncertainty below 1 %, linearising adds nothing."""
    result = register(VOLUME, XRAY, TRUTH, FINE)
    confidence = result.confidence
    points = target_points(VOLUME, PLAIN.points, generator=np.random.default_rng(0))
    assert CAMERA.project(points, result.camera_from_world).min() > 0, "all in view"
    draws = np.random.default_rng(1).multivariate_normal(np.zeros(6), confidence.covariance.numpy(), 20_000)
    poses = se3.perturb(result.camera_from_world, torch.from_numpy(draws), ISOCENTRE)
    here = points @ result.camera_from_world[:3, :3].T + result.camera_from_world[:3, 3]
    off = points @ poses[:, :3, :3].mT + poses[:, None, :3, 3] - here
    by_axis = off.square().mean(dim=(0, 1)).sqrt()
    expected = torch.tensor(confidence.expected_error_by_axis_mm, dtype=torch.float64)
    torch.testing.assert_close(expected, by_axis, rtol=0.02, atol=0)
    assert confidence.expected_error_mm == pytest.approx(float(by_axis.norm()), rel=0.02)
    each = expected_errors_mm(confidence.covariance, points, result.camera_from_world, ISOCENTRE)
    torch.testing.assert_close(each, off.square().mean(dim=0).sqrt(), rtol=0.03, atol=0)
    angle = math.degrees(float(torch.from_numpy(draws)[:, :3].square().sum(1).mean().sqrt()))
    assert confidence.expected_rotation_deg == pytest.approx(angle, rel=0.02)


def test_the_factor_scales_every_expected_error():
    plain = register(VOLUME, XRAY, TRUTH, FINE).confidence
    scaled = register(
        VOLUME, XRAY, TRUTH, replace(FINE, confidence=ConfidenceConfig(error_factor=3.0))
    ).confidence
    assert scaled.expected_error_mm == pytest.approx(3 * plain.expected_error_mm)
    assert scaled.image_error_mm == pytest.approx(3 * plain.image_error_mm)
    assert scaled.expected_rotation_deg == pytest.approx(3 * plain.expected_rotation_deg)
    torch.testing.assert_close(scaled.covariance, 9 * plain.covariance)


def checked(xray: XRay, pixels: int) -> tuple[ImageSimilarity, FixedImage]:
    """The X-ray as it is checked."""
    fixed = FixedImage.of(xray, PreprocessConfig())
    small = fixed.at(pixels)
    projector = Projector.of(VOLUME, small.camera, TRUTH[None], RenderConfig(voxel_mm="full", backend="cpu"))
    similarity = ImageSimilarity(
        projector=projector, fixed=small.image, weight=small.weight, config=PLAIN.similarity
    )
    return similarity, fixed


LOG = {"camera": CAMERA, "polarity": "dark_air", "pixel_scale": "log"}


def reached_and_ceiling(image: np.ndarray, noise: float) -> tuple[float, float]:
    """Correlation of an image with itself and noise, and what is said about it from the latter alone."""
    pixels = image + noise * np.random.default_rng(0).normal(size=image.shape)
    noisy, fixed = checked(XRay(pixels=pixels.astype(np.float32), **LOG), 64)
    clean, _ = checked(XRay(pixels=image.astype(np.float32), **LOG), 64)
    return float(noisy.correlate_images(clean.fixed[None])[0]), ceiling(noisy, fixed.halves(fixed.factor(64)))


@pytest.mark.parametrize("noise", [0.3, 1.0, 2.0])
def test_the_ceiling_is_the_correlation_with_the_noise_free_image(noise):
    """Where texture is the same everywhere. Some thousand pixels in windows of 81 know both to about 0.02."""
    texture = gaussian_filter(np.random.default_rng(1).normal(size=(128, 128)), 3)
    reached, allowed = reached_and_ceiling(texture / texture.std() + 5, noise)
    assert reached < 0.97
    assert allowed == pytest.approx(reached, abs=0.06)


def test_the_ceiling_is_a_bound_where_parts_are_flat():
    image = render(VOLUME, CAMERA, TRUTH, RenderConfig(voxel_mm="full", backend="cpu"))[0].numpy()
    pairs = [reached_and_ceiling(image, noise) for noise in (0.02, 0.05, 0.2, 0.4)]
    assert all(reached < allowed <= 1 for reached, allowed in pairs)
    ceilings = [allowed for _, allowed in pairs]
    assert ceilings == sorted(ceilings, reverse=True) and ceilings[-1] < 0.6


def test_the_ceiling_of_an_image_that_is_not_averaged_is_not_known():
    noisy, fixed = checked(noisy_xray(0, 0.0, 0.05), 128)
    assert fixed.halves(fixed.factor(128)) is None
    assert ceiling(noisy, None) == 1.0


def test_halves_average_to_the_whole():
    fixed = FixedImage.of(XRAY, PreprocessConfig())
    fixed = FixedImage(image=fixed.image, weight=torch.ones_like(fixed.weight), camera=fixed.camera)
    first, second = fixed.halves(fixed.factor(64))
    torch.testing.assert_close((first + second) / 2, fixed.at(64).image)
    assert (first != second).any()


def test_a_ct_that_is_cut_off_all_around_is_doubtful():
    """The patient goes on beyond a sagittal slab: hardly a ray crosses nothing that the CT does not know."""
    slab = VOLUME.crop((30, 0, 0), (34, 64, 64))
    config = RegistrationConfig(searches=(SearchConfig(candidates=0),), any_view=AnyViewConfig(enabled=False))
    result = register(slab, XRAY, TRUTH, config)
    assert result.status in (Status.DOUBTFUL, Status.DIVERGED)


@pytest.mark.slow
def test_noise_alone_is_no_reason_for_doubt():
    """A noise that leaves but half the correlation; the pose is right all the same."""
    pixels = noisy_xray(0, 0.0, 0.05).pixels
    grain = 0.3 * np.random.default_rng(1).normal(size=pixels.shape)
    xray = replace(noisy_xray(0, 0.0, 0.05), pixels=(pixels + grain).astype(np.float32))
    result = register(VOLUME, xray, displaced(VOLUME, TRUTH, 5, seed=1), SMALL)
    assert result.similarity < 0.6
    assert result.confidence.edges > 0.75
    assert result.status is not Status.DOUBTFUL


def beads() -> Volume:
    """A rod of water with a bead of bone every 30 mm, longer than the X-ray sees."""
    shape = (40, 40, 240)
    spacing = 2.5
    x, y, z = (np.indices(shape).T - (np.array(shape) - 1) / 2).T * spacing
    hu = np.full(shape, -1000, dtype=np.int16)
    hu[np.hypot(x, y) < 40] = 0
    hu[np.linalg.norm([x - 6, 1.4 * y, (z + 15) % 30 - 15], axis=0) < 11] = 800
    affine = np.diag([spacing, spacing, spacing, 1.0])
    affine[:3, 3] = -spacing * (np.array(shape) - 1) / 2
    return Volume(hu=hu, world_from_voxel=affine)


@pytest.mark.slow
def test_anatomy_that_repeats_is_ambiguous():
    volume = beads()
    truth = true_pose(volume, (0.0, 0.0, 0.0, 0.0, 0.0, 0.0))
    between = se3.perturb(
        truth,
        torch.tensor([0, 0, 0, 0, 15.0, 0], dtype=torch.float64),
        torch.from_numpy(volume.isocentre_world),
    )
    result = register(volume, xray_of(volume, truth, seed=0), between, SMALL)
    assert result.confidence.rival is not None
    assert result.confidence.rival > 0.9 * result.confidence.edges
    assert result.status is Status.DOUBTFUL
    assert any("another pose matches about as well" in doubt for doubt in result.confidence.doubts)


@pytest.mark.slow
def test_refined_intrinsics_are_no_rival():
    """The search ran with the focal length as given, which put everything some 20 mm too near."""
    wrong = XRAY.recalibrated(replace(CAMERA, fx=CAMERA.fx * 0.97, fy=CAMERA.fy * 0.97))
    refine = replace(
        SMALL,
        refine_intrinsics=IntrinsicsRefinement(focal_percent=6.0),
        intrinsics=IntrinsicsConfig(above_deviations=0),
    )
    with pytest.warns(GeometryWarning, match="focal length"):
        result = register(VOLUME, wrong, TRUTH, refine)
    searched = result.trace[0].camera_from_world[result.trace[0].best]
    assert error_mm(VOLUME, searched, result.camera_from_world) > ConfidenceConfig().rival_mm
    assert not any("another pose" in doubt for doubt in result.confidence.doubts)


@pytest.mark.slow
def test_a_ct_that_covers_little_of_the_xray():
    """A sagittal slab in air; wherever it ends up, most of what the image shows is something else."""
    hu = np.full_like(VOLUME.hu, -1000)
    hu[30:34] = VOLUME.hu[30:34]
    config = RegistrationConfig(
        searches=(SearchConfig(candidates=0),),
        partial=PartialConfig(covered_below=0),
        any_view=AnyViewConfig(enabled=False),
    )
    result = register(replace(VOLUME, hu=hu), XRAY, TRUTH, config)
    assert result.confidence.overlap < 0.25
    assert any("covers only" in doubt for doubt in result.confidence.doubts)
    assert register(VOLUME, XRAY, TRUTH, SMALL).confidence.overlap > 0.95, (
        "air around the patient does not count"
    )


GOOD = {"edges": 0.9, "significance": 14.0, "rival": 0.3, "overlap": 0.9, "error_mm": 0.3}


@pytest.mark.parametrize(
    ("changes", "said"),
    [
        ({}, []),
        ({"rival": None}, []),
        ({"edges": 0.61}, ["hardly match"]),
        ({"edges": 0.62}, []),
        ({"edges": math.nan}, ["hardly match"]),
        ({"rival": 0.82}, ["another pose"]),
        ({"rival": 0.80}, []),
        ({"significance": 10.9}, ["by chance"]),
        ({"significance": 11.0}, []),
        ({"significance": math.nan}, ["by chance"]),
        ({"overlap": 0.24}, ["covers only 24%"]),
        ({"overlap": 0.25}, []),
        ({"overlap": math.nan}, ["covers only"]),
        ({"error_mm": 4.1}, ["4.1 mm, above 4 mm"]),
        ({"error_mm": 4.0}, []),
        ({"error_mm": math.nan}, ["expected error"]),
        ({"edges": 0.1, "rival": 0.4, "overlap": 0.0}, ["hardly match", "another pose", "covers only"]),
    ],
)
def test_reasons(changes, said):
    doubts = list(reasons_to_doubt(**(GOOD | changes), config=ConfidenceConfig()))
    assert len(doubts) == len(said)
    assert all(part in doubt for part, doubt in zip(said, doubts, strict=True))


@pytest.mark.parametrize(
    ("similarity", "across_mm", "turn_deg", "said"),
    [
        (0.3, 4.0, 2.5, []),
        (0.29, 4.0, 2.5, ["last stage"]),
        (math.nan, 4.0, 2.5, ["last stage"]),
        (0.3, 4.1, 2.5, ["4.1 mm, above 4 mm"]),
        (0.3, math.nan, 2.5, ["across the beam"]),
        (0.3, 4.0, 2.6, ["2.6 degrees, above 2.5"]),
        (0.3, 4.0, math.nan, ["rotation"]),
    ],
)
def test_further_reasons(similarity, across_mm, turn_deg, said):
    doubts = list(_further_reasons(similarity, across_mm, turn_deg, ConfidenceConfig(similarity_below=0.3)))
    assert len(doubts) == len(said)
    assert all(part in doubt for part, doubt in zip(said, doubts, strict=True))


@pytest.mark.parametrize(
    ("edges", "significance", "similarity", "matched"),
    [
        (0.62, 11.0, 0.0, True),
        (0.61, 99.0, 0.0, False),
        (0.90, 10.9, 0.0, False),
        (0.90, 99.0, -0.1, False),
        (math.nan, 99.0, 0.0, False),
        (0.90, math.nan, 0.0, False),
    ],
)
def test_what_counts_as_a_match(edges, significance, similarity, matched):
    config = ConfidenceConfig()
    assert config.matched(edges, significance, similarity) is matched
    if similarity >= 0:
        assert (
            bool(
                list(
                    reasons_to_doubt(**(GOOD | {"edges": edges, "significance": significance}), config=config)
                )
            )
            is not matched
        )


@pytest.mark.slow
@pytest.mark.parametrize("other", [1, 2, 3])
def test_another_patient_of_the_same_outline_is_doubtful(other):
    """Its outline matches far beyond chance; the bones in it do not."""
    patient = phantom(other)
    config = replace(SMALL, any_view=AnyViewConfig(enabled=False))
    result = register(VOLUME, xray_of(patient, true_pose(patient), seed=7), TRUTH, config)
    assert result.confidence.significance > ConfidenceConfig().significance_below
    assert result.status is Status.DOUBTFUL


@pytest.mark.slow
def test_one_smooth_outline_is_no_evidence_of_a_pose():
    """Edges that are as smooth as can be correlate well with whatever is put there."""
    row, column = np.mgrid[: CAMERA.height, : CAMERA.width] / CAMERA.height
    outline = 1 / (1 + np.exp(-(0.3 * column + row - 0.8) / 0.06))
    xray = XRay(pixels=outline.astype(np.float32), camera=CAMERA, polarity="dark_air", pixel_scale="log")
    result = register(VOLUME, xray, TRUTH, SMALL)
    own = register(VOLUME, XRAY, TRUTH, SMALL).confidence
    assert result.confidence.significance < ConfidenceConfig().significance_below < own.significance
    assert any("by chance" in doubt for doubt in result.confidence.doubts)


@pytest.mark.parametrize(
    ("twins", "said"),
    [
        (None, ""),
        ((True, 0.7, 0.9, 1), ""),
        ((False, 0.7, 0.9, 1), "0.700 there, 0.900 here"),
        ((False, 0.9, 0.7, 1), "0.900 there, 0.700 here"),
    ],
)
def test_two_mirrored_answers_are_a_reason(twins, said):
    stage = SimpleNamespace(twins=None)
    if twins is not None:
        stage.twins = SimpleNamespace(agree=twins[0], edges=torch.tensor(twins[1:3]))
        stage.best = twins[3]
    doubts = list(_undecided([SimpleNamespace(twins=None), stage]))
    assert len(doubts) == bool(said)
    assert all(said in doubt for doubt in doubts)


@pytest.mark.parametrize("value", [math.nan, math.inf])
def test_a_curvature_that_is_not_finite_says_nothing(value):
    """Whatever the gradients are: no number of millimetres may come out of it."""
    curvature = torch.eye(6, dtype=torch.float64)
    curvature[2, 3] = value
    problem = SimpleNamespace(scatter=lambda point, tile_px: (torch.ones(1, 9, 6), curvature[None]))
    last = SimpleNamespace(problem=problem, solution=SimpleNamespace(x=TRUTH[None]), best=0)
    assert _covariance(last, 16).diagonal().isposinf().all()


def test_errors_are_those_of_points_that_an_xray_shows():
    """Points on a line across the image: those between its edges, half a pixel beyond the outer centres."""
    camera = replace(CAMERA, width=20, height=20, cx=9.5, cy=9.5)
    column = torch.tensor([-40.0, -0.6, -0.4, *range(1, 19), 19.4, 19.6, 60.0], dtype=torch.float64)
    depth_mm = 500.0
    points = torch.stack(
        [
            (column - camera.cx) / camera.fx * depth_mm,
            torch.zeros_like(column),
            torch.full_like(column, depth_mm),
        ],
        dim=1,
    )
    problem = SimpleNamespace(views=[SimpleNamespace(projector=SimpleNamespace(camera=camera))])
    pose = torch.eye(4, dtype=torch.float64)[None]
    torch.testing.assert_close(_in_view(points, problem, pose), points[2:-2], rtol=0, atol=0)
    few = points[:9]
    assert torch.equal(_in_view(few, problem, pose), few), "seven in view are too few to speak for the rest"


@pytest.mark.parametrize(
    "settings",
    [
        {"pixels": 7},
        {"points": 0},
        {"tile_px": 0},
        {"window_px": 4},
        {"window_px": 10**20 + 1},
        {"tile_px": 10**20},
        {"error_factor": 0.0},
        {"error_factor": 1e300},
        {"rival_mm": -1.0},
        {"expected_error_above_mm": 0.0},
        {"expected_rotation_above_deg": 0.0},
    ],
)
def test_settings_that_make_no_sense(settings):
    with raises(UsageError, "registration.invalid-value", "confidence"):
        ConfidenceConfig(**settings)


def test_rivals_are_told_from_the_pose_that_became_the_result():
    """Three ends of a stage; a later one moved the first 15 mm deeper, so all are far from the result."""
    shifts = torch.tensor([[0.0, 0, 0], [30, 0, 0], [0, 2, 0]], dtype=torch.float64)
    ends = TRUTH.repeat(3, 1, 1)
    ends[:, :3, 3] += shifts
    stage = SimpleNamespace(solution=SimpleNamespace(x=ends), alike=None)
    check = SimpleNamespace(
        problem=SimpleNamespace(start=lambda x: x),
        correlation=lambda x: torch.where(x[:, 0, 3] > TRUTH[0, 3] + 10, 0.4, 0.97),
    )
    result = TRUTH.clone()
    result[2, 3] += 15
    points = target_points(VOLUME, 50, generator=np.random.default_rng(0))
    assert _rival([stage], check, points, result, PLAIN) == pytest.approx(0.4)
    turned = SimpleNamespace(solution=SimpleNamespace(x=ends[::2]), alike=ends[:1])
    assert _rival([stage, turned], check, points, result, PLAIN) == pytest.approx(0.4), "turns hide no rival"
    alone = SimpleNamespace(solution=SimpleNamespace(x=ends[:1]), alike=None)
    assert _rival([alone], check, points, result, PLAIN) is None
    together = SimpleNamespace(solution=SimpleNamespace(x=ends[::2]), alike=None)
    assert _rival([together], check, points, result, PLAIN) is None
    deeper = ends.clone()
    deeper[1, :3, 3] += torch.tensor([-30.0, 0, 25], dtype=torch.float64)
    depth = SimpleNamespace(solution=SimpleNamespace(x=deeper), alike=None)
    assert _rival([depth], check, points, TRUTH, PLAIN) is None, "depth is what the expected error is for"


def test_the_best_rival_counts():
    shifts = torch.tensor([[0.0, 0, 0], [30, 0, 0], [60, 0, 0], [90, 0, 0]], dtype=torch.float64)
    ends = TRUTH.repeat(4, 1, 1)
    ends[:, :3, 3] += shifts
    stage = SimpleNamespace(solution=SimpleNamespace(x=ends), alike=None)
    correlations = torch.tensor([0.97, 0.5, 0.8, 0.3])
    check = SimpleNamespace(
        problem=SimpleNamespace(start=lambda x: x),
        correlation=lambda x: correlations[((x[:, 0, 3] - TRUTH[0, 3]) / 30).round().long()],
    )
    points = target_points(VOLUME, 50, generator=np.random.default_rng(0))
    assert _rival([stage], check, points, TRUTH, PLAIN) == pytest.approx(0.8)
