"""CTs that explain only part of an X-ray: cut short, one bone of many, its mirror image; limits in depth."""

from dataclasses import replace

import numpy as np
import pytest
import torch

from bone_alone import BONE, BONE_TRUTH, BONE_XRAY, CLOSE, PATIENT
from isoclinic.registration import RegistrationConfig, register
from isoclinic.registration._fixed import FixedImage
from isoclinic.registration._run import Run
from isoclinic.solver import Status
from isoclinic.volumes import Volume, open_faces
from phantoms import (
    detected,
    displaced,
    error_mm,
    line_integrals,
    phantom,
    true_pose,
    xray_of,
)

VOLUME = phantom(1)
TRUTH = true_pose(VOLUME)
XRAY = xray_of(VOLUME, TRUTH, seed=0)


def _upper_half(volume: Volume) -> Volume:
    nx, ny, nz = volume.shape
    return volume.crop((0, 0, nz // 2), (nx, ny, nz))


@pytest.mark.slow
@pytest.mark.parametrize("seed", [1, 2, 3])
def test_a_ct_cut_in_half_is_found_in_an_xray_of_the_whole(seed):
    """Its cut face shows in every rendering, the other half of the patient in the X-ray."""
    half = _upper_half(VOLUME)
    assert [(face.axis, face.last) for face in open_faces(half)] == [(2, False)]
    result = register(half, XRAY, displaced(half, TRUTH, 20, seed))
    assert error_mm(half, result.camera_from_world, TRUTH) < 1.5


@pytest.mark.slow
def test_what_is_unknown_is_not_compared():
    """Without the mask the last stage is pulled away from the truth, with it, it stays."""
    half = _upper_half(VOLUME)
    result = register(half, XRAY, TRUTH)
    (view,) = result.trace[-1].problem.views
    assert view.known is not None and 0.2 < float(view.known.mean()) < 0.8
    blind = replace(view, known=None, coverage=None)
    assert float(view.correlation(TRUTH[None])) > float(blind.correlation(TRUTH[None])) + 0.1


def _run(volume: Volume, xray) -> Run:
    config = RegistrationConfig()
    return Run(
        volume=volume,
        fixed=(FixedImage.of(xray, config.preprocess),),
        view_from_first=torch.eye(4, dtype=torch.float64)[None],
        start=BONE_TRUTH if volume is not VOLUME else TRUTH,
        config=config,
    )


def test_a_bone_alone_is_known_by_what_it_leaves_unexplained():
    assert _run(BONE, BONE_XRAY).explained_share() < 0.5
    assert _run(PATIENT, BONE_XRAY).explained_share() > 0.95
    assert _run(VOLUME, XRAY).explained_share() > 0.95


@pytest.mark.slow
@pytest.mark.parametrize("seed", [1, 2, 3, 4])
def test_a_bone_alone_is_found_among_all_else(seed):
    """Across the beam; a single view of one bone hardly tells depth."""
    start = displaced(BONE, BONE_TRUTH, 10, seed)
    result = register(BONE, BONE_XRAY, start)
    points = BONE.isocentre_world + 15.0 * np.vstack([np.eye(3), -np.eye(3)])
    shown, true = (
        CLOSE.project(torch.from_numpy(points), pose) for pose in (result.camera_from_world, BONE_TRUTH)
    )
    off_mm = (shown - true).norm(dim=1).mean() * CLOSE.pixel_spacing_mm[0] / 1.5
    assert float(off_mm) < 1.0
    assert result.status is not Status.DIVERGED


@pytest.mark.slow
def test_a_bone_without_a_search_is_refined_from_its_start_alone():
    start = displaced(BONE, BONE_TRUTH, 60, seed=1)
    result = register(BONE, BONE_XRAY, start, RegistrationConfig().without_search())
    assert [attempt.candidates for attempt in result.attempts] == [0]


@pytest.mark.slow
def test_noisy_pixels_across_a_bone_are_not_averaged_away():
    """Averaged as for a whole CT, three by three, there would be fewer than the last stage asks for."""
    fine = CLOSE.resize(height=480, width=480)
    noisy = detected(line_integrals(PATIENT, BONE_TRUTH, fine), 1, fine, photons=100)
    averaged, alone = FixedImage.of(noisy, RegistrationConfig().preprocess), register(BONE, noisy, BONE_TRUTH)
    assert averaged.camera == fine.bin(3)
    (view,) = alone.trace[-1].problem.views
    assert view.projector.camera.fx > 1.4 * averaged.camera.fx


@pytest.mark.slow
def test_no_result_lies_farther_in_depth_than_search_and_slack_allow():
    config = RegistrationConfig()
    start = displaced(BONE, BONE_TRUTH, 10, 7)
    noise = detected(np.random.default_rng(2).normal(1.5, 0.3, (240, 240)).clip(0), 3, CLOSE)
    result = register(BONE, noise, start, config)
    isocentre = torch.from_numpy(BONE.isocentre_world)
    depths = [float(pose[2, :3] @ isocentre + pose[2, 3]) for pose in (result.camera_from_world, start)]
    reach = max(each.depth_mm for each in config.partial.searches) + config.depth_slack_mm
    assert abs(depths[0] - depths[1]) <= reach + 1e-3
    assert result.status is Status.DOUBTFUL
