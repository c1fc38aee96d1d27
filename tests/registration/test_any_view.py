"""The search over all views: its directions, its correlations by brute force, and what it finds."""

from dataclasses import replace

import numpy as np
import pytest
import torch

from isoclinic.errors import UsageError
from isoclinic.geometry import Camera, rotation_angle_deg, se3
from isoclinic.registration import AnyViewConfig, RegistrationConfig, View, register, register_views
from isoclinic.registration._any_view import (
    _canvas,
    _Spectra,
    _Target,
    directions,
    looking_along,
    turns,
)
from isoclinic.registration._search import SearchView, features
from isoclinic.rendering import Projector, RenderConfig
from isoclinic.solver import Status
from phantoms import CAMERA, DEPTH_MM, error_mm, line_integrals, phantom, true_pose, xray_of
from raising import raises

VOLUME = phantom(0)
ISOCENTRE = torch.from_numpy(VOLUME.isocentre_world)


@pytest.mark.parametrize(("spacing_deg", "elevation_deg"), [(12.0, 45.0), (15.0, 30.0), (20.0, 90.0)])
def test_directions_cover_the_belt_evenly(spacing_deg, elevation_deg):
    """Every direction within the belt has one of them near, and none of them is next to another.

    A square grid has its farthest points at 0.71 of its spacing, a Fibonacci lattice at most at 1.
    """
    config = AnyViewConfig(spacing_deg=spacing_deg, elevation_deg=elevation_deg)
    lattice = directions(config).numpy()
    assert np.allclose(np.linalg.norm(lattice, axis=1), 1)
    assert np.abs(np.degrees(np.arcsin(lattice[:, 2]))).max() <= elevation_deg
    rng = np.random.default_rng(0)
    height = rng.uniform(-1, 1, 4000) * np.sin(np.radians(elevation_deg))
    around = rng.uniform(0, 2 * np.pi, 4000)
    level = np.sqrt(1 - height**2)
    any_direction = np.stack([level * np.cos(around), level * np.sin(around), height], axis=1)
    nearest = np.degrees(np.arccos(np.clip(any_direction @ lattice.T, -1, 1).max(axis=1)))
    assert nearest.max() < spacing_deg
    between = lattice @ lattice.T - 2 * np.eye(len(lattice))
    assert np.degrees(np.arccos(between.max())) > 0.6 * spacing_deg
    assert config.candidates == len(lattice) * len(turns(config))


def test_a_camera_looks_along_a_beam_with_the_head_up():
    beams = directions(AnyViewConfig())
    poses = looking_along(beams, ISOCENTRE, DEPTH_MM)
    centre = poses[:, :3, :3] @ ISOCENTRE + poses[:, :3, 3]
    torch.testing.assert_close(centre, torch.tensor([0, 0, DEPTH_MM]).double().expand_as(centre))
    identity = torch.eye(3, dtype=torch.float64).expand(len(poses), 3, 3)
    torch.testing.assert_close(poses[:, :3, :3] @ poses[:, :3, :3].mT, identity)
    assert torch.allclose(torch.linalg.det(poses[:, :3, :3]), torch.ones(()).double())
    torch.testing.assert_close(poses[:, 2, :3], beams)
    up = poses[:, :3, 2]  # of the world, in the camera's frame, whose y runs down
    assert bool((up[:, 1] < -0.6).all()) and torch.allclose(up[:, 0], torch.zeros(()).double())


CAMERAS = [
    CAMERA.resize(height=16, width=16),
    CAMERA.crop(top=0, left=32, height=96, width=80).resize(height=12, width=10),
    CAMERA.flip(left_right=True).crop(top=16, left=0, height=96, width=128).resize(height=12, width=16),
]


def _view(camera: Camera, weight: torch.Tensor | None = None) -> SearchView:
    image = torch.from_numpy(line_integrals(VOLUME, true_pose(VOLUME), camera)).float()
    projector = Projector.of(
        VOLUME, camera, true_pose(VOLUME)[None], RenderConfig(method="trilinear", backend="cpu")
    )
    return SearchView(
        projector=projector,
        fixed=image,
        weight=torch.ones_like(image) if weight is None else weight,
        view_from_first=torch.eye(4, dtype=torch.float64),
    )


@pytest.mark.parametrize("camera", CAMERAS)
@pytest.mark.parametrize("turn", [0.0, 0.7, 2.5])
def test_a_turned_picture_is_the_picture_of_the_turned_camera(camera, turn):
    """Where it is not beyond the image's border: up to what interpolation smooths, here by a tenth."""
    config = AnyViewConfig(image="intensity")
    canvas = _canvas(camera)
    target = _Target.of(_view(camera), canvas, torch.tensor(turn).double(), config)
    pose = se3.inverse(target.camera_from_canvas) @ true_pose(VOLUME)
    image = torch.from_numpy(line_integrals(VOLUME, pose, canvas)).float()
    expected = features(image[None], target.weight, config)[0] * target.weight
    seen = float((target.picture * expected).sum())
    share = seen / float(target.picture.square().sum().sqrt() * expected.square().sum().sqrt())
    assert share > 0.9
    # All of the picture lies on the canvas: about as many pixels as it has.
    assert float(target.weight.sum()) > 0.6 * camera.width * camera.height


def test_correlations_are_those_of_every_shift():
    """Against loops over all shifts, in float64."""
    config = AnyViewConfig(margin=0.3)
    view = _view(CAMERAS[0], weight=(torch.arange(16)[:, None] > 2).float().expand(16, 16).contiguous())
    canvas = _canvas(view.projector.camera)
    wide = canvas.pad(top=5, bottom=5, left=5, right=5)
    poses = looking_along(directions(config)[:3], ISOCENTRE, DEPTH_MM)
    target = _Target.of(view, canvas, turns(config)[1], config)
    best, row, column = _Spectra.of(view, wide, poses, canvas.height, config).best(target)
    moving = features(view.projector.image(poses, wide).cpu(), torch.ones(wide.height, wide.width), config)
    for index, image in enumerate(moving.double()):
        scores = np.full((11, 11), -np.inf)
        for top in range(11):
            for left in range(11):
                part = image[:, top : top + canvas.height, left : left + canvas.width]
                energy = float((part.square() * target.weight).sum()) * target.energy
                scores[top, left] = float((part * target.picture).sum()) / max(energy, 1e-12) ** 0.5
        assert float(best[index]) == pytest.approx(scores.max(), abs=1e-4)
        assert (int(row[index]), int(column[index])) == np.unravel_index(scores.argmax(), scores.shape)


def _seen_from(azimuth_deg: float, tilt_deg: float, turn_deg: float) -> torch.Tensor:
    height = np.sin(np.radians(tilt_deg))
    level = np.cos(np.radians(tilt_deg))
    angle = np.radians(azimuth_deg)
    beam = torch.tensor([[level * np.cos(angle), level * np.sin(angle), height]])
    pose = looking_along(beam.double(), ISOCENTRE, DEPTH_MM)[0]
    moved = se3.perturb(pose, torch.tensor([0, 0, 0, 8.0, -11.0, 20.0]).double(), ISOCENTRE)
    return se3.exp(torch.tensor([0, 0, np.radians(turn_deg), 0, 0, 0]).double()) @ moved


@pytest.mark.parametrize("view", [(200.0, 10.0, 0.0), (75.0, -25.0, 90.0), (310.0, 35.0, 200.0)])
@pytest.mark.parametrize("camera", [CAMERA, CAMERA.flip(left_right=True)])
@pytest.mark.slow
def test_an_unknown_view_is_found(view, camera):
    truth = _seen_from(*view)
    result = register(VOLUME, xray_of(VOLUME, truth, 0, camera), "any")
    assert error_mm(VOLUME, result.camera_from_world, truth) < 1.5
    assert result.status is Status.CONVERGED
    assert result.attempt.start == result.initial.source == "any view" and result.initial.unknown


@pytest.mark.slow
def test_where_no_search_around_the_start_finds_it_all_views_are_looked_through():
    truth = _seen_from(120.0, -15.0, 250.0)
    result = register(VOLUME, xray_of(VOLUME, truth, 0), true_pose(VOLUME))
    assert error_mm(VOLUME, result.camera_from_world, truth) < 1.5
    # The mirrored picture is tried, too: from the other side it looks alike.
    tried = [(attempt.start, attempt.reading) for attempt in result.attempts]
    assert tried[:3] == [("matrix", "as read"), ("matrix", "as read"), ("any view", "as read")]
    assert tried[3:] == [("any view", "mirrored left to right")]
    off = replace(RegistrationConfig(), any_view=AnyViewConfig(enabled=False))
    without = register(VOLUME, xray_of(VOLUME, truth, 0), true_pose(VOLUME), off)
    assert without.status is Status.DOUBTFUL
    assert float(rotation_angle_deg(without.camera_from_world[:3, :3], truth[:3, :3])) > 20


@pytest.mark.slow
def test_of_two_xrays_the_second_shows_the_depth():
    truth = _seen_from(30.0, 5.0, 130.0)
    other = se3.perturb(truth, torch.tensor([0.0, 1.2, 0.0, 0, 0, 0]).double(), ISOCENTRE)
    views = [
        View(xray=xray_of(VOLUME, truth, 0)),
        View(xray=xray_of(VOLUME, other, 1), view_from_first=other @ se3.inverse(truth)),
    ]
    result = register_views(VOLUME, views, "any")
    assert error_mm(VOLUME, result.camera_from_world, truth) < 0.5


@pytest.mark.parametrize(
    "wrong",
    [
        {"spacing_deg": 0.5},
        {"spacing_deg": 91.0},
        {"elevation_deg": 0.0},
        {"elevation_deg": 91.0},
        {"pixels": 7},
        {"keep": 0},
        {"margin": -0.1},
        {"depth_mm": float("nan")},
        {"mirrored_margin": -1.0},
        {"window_px": 4},
        {"window_px": 1},
    ],
)
def test_settings_without_a_meaning_are_refused(wrong):
    with raises(UsageError, "registration.invalid-value", *wrong):
        AnyViewConfig(**wrong)
