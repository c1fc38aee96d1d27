"""A network that knows the answer has no error, one that knows nothing has one that is known otherwise."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
import torch

from isoclinic.geometry import se3
from isoclinic.networks import CanonicalImage, CanonicalNetwork, PoseRegressor
from isoclinic.similarity import canonical_target
from isoclinic.training import validation as module
from isoclinic.training.phase import network_of
from isoclinic.training.validation import Validation, quartiles
from tiny_training import CANONICAL, DENSE, REGRESSOR, space, stream


@pytest.fixture(scope="module")
def validation() -> Validation:
    return of(seed=0)


def of(seed: int, images: int = 3) -> Validation:
    simulation = stream(REGRESSOR, batch=images, copies=1)
    batch = simulation.batch(0)
    return Validation.of(simulation.projector(batch.volume), batch, space(), seed=seed)


def regressor_that_says(motion: torch.Tensor) -> PoseRegressor:
    network = network_of(REGRESSOR, seed=0)
    assert isinstance(network, PoseRegressor)
    network.forward = lambda image: motion
    return network


def test_a_perfect_regressor_has_no_error(validation):
    truth = space().motion(validation.batch.fixed_camera_from_world)
    assert validation.mtre_mm(regressor_that_says(truth)).max() < 1e-9


def test_one_that_always_says_the_nominal_view(validation):
    """Against the mean distance of every point, in the camera's frame, one by one."""
    errors = validation.mtre_mm(regressor_that_says(torch.eye(4, dtype=torch.float64).expand(3, 4, 4)))
    nominal = np.array(space().nominal_camera_from_world)
    for found, truth in zip(errors, validation.batch.fixed_camera_from_world.numpy(), strict=True):
        points = validation.points_world.numpy()
        distances = [np.linalg.norm((nominal - truth) @ [*point, 1.0]) for point in points]
        assert found.item() == pytest.approx(np.mean(distances))
    assert errors.min() > 1


def test_an_untrained_regressor_is_looked_at_in_evaluation_mode(validation):
    network = network_of(REGRESSOR, seed=0)
    before = {name: value.clone() for name, value in network.state_dict().items()}
    for training in (True, False):
        network.train(training)
        assert (validation.mtre_mm(network) > 1).all()
        assert network.training is training
    assert all(torch.equal(value, before[name]) for name, value in network.state_dict().items())


def test_similarities_start_as_far_away_as_it_says(validation):
    truth = validation.batch.fixed_camera_from_world
    way = se3.perturbation(truth, validation.starts, space().isocentre)
    turn_deg = torch.rad2deg(way[:, :3].norm(dim=1))
    torch.testing.assert_close(turn_deg, torch.full((3,), 20 / 3, dtype=torch.float64))
    centre = space().isocentre
    moved = (validation.starts - truth)[:, :3] @ torch.cat([centre, torch.ones(1)])
    # The tangent's shift is 20 mm long, its screw motion a little shorter.
    assert ((moved.norm(dim=1) > 19.9) & (moved.norm(dim=1) <= 20)).all()


def test_the_seed_draws_points_and_starts(validation):
    again, other = of(seed=0), of(seed=1)
    assert torch.equal(again.points_world, validation.points_world)
    assert torch.equal(again.starts, validation.starts)
    assert not torch.equal(other.points_world, validation.points_world)
    assert not torch.equal(other.starts, validation.starts)


def test_a_similarity_that_knows_leads_to_the_pose():
    """Levenberg-Marquardt on the true canonical images, which at 16 pixels across have local minima, too."""
    validation = of(seed=0, images=8)
    image = validation.projector.image(validation.batch.fixed_camera_from_world)
    network = canonical()
    target = canonical_target(image, network.config)
    network.forward = lambda seen: CanonicalImage(target, torch.zeros_like(target))
    assert validation.mtre_mm(network).median() < 0.1
    assert validation.mtre_mm(canonical()).median() > 10


def canonical() -> CanonicalNetwork:
    network = network_of(replace(CANONICAL, network=replace(CANONICAL.network, window_px=15)), seed=0)
    assert isinstance(network, CanonicalNetwork)
    return network


def test_an_encoder_that_knows_nothing_finds_nothing(validation, monkeypatch):
    monkeypatch.setattr(module, "_SOLVER", replace(module._SOLVER, max_steps=2))
    errors = validation.mtre_mm(network_of(DENSE, seed=0))
    assert errors.shape == (3,) and errors.isfinite().all()
    assert errors.median() > 5


def test_quartiles():
    errors = torch.tensor([3.0, 9.0, 1.0, 4.0, 7.0], dtype=torch.float64)
    assert quartiles(errors) == np.percentile(errors.numpy(), [25, 50, 75]).tolist()
