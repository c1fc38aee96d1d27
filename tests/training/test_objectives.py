"""From a batch to losses: every weight learns, and from the right poses and derivatives."""

from __future__ import annotations

import math
from dataclasses import replace
from itertools import combinations

import pytest
import torch

from isoclinic import RenderConfig, render
from isoclinic.geometry import se3, so4
from isoclinic.networks import masked
from isoclinic.similarity import canonical_target
from isoclinic.training import EncoderPhase
from isoclinic.training.losses import CanonicalLoss, DirectionLoss, MotionLoss, StepLoss, ValueLoss
from isoclinic.training.objectives import PoseObjective, moving_for, objective
from tiny_training import (
    CAMERA,
    CANONICAL,
    DENSE,
    GLOBAL,
    MOTION,
    REGRESSOR,
    objective_of,
    space,
    stream,
    subject,
)

EVERYTHING = {"value": 1.0, "pairs": 1.0, "direction": 1.0, "step": 1.0, "unrolled": 1.0}
PHASES = {
    "regressor": (REGRESSOR, {"pose"}),
    "global": (replace(GLOBAL, **EVERYTHING), set(EVERYTHING)),
    "dense": (replace(DENSE, **EVERYTHING), set(EVERYTHING)),
    "value alone": (replace(DENSE, direction=0.0), {"value"}),
    "motion": (MOTION, {"motion"}),
    "direction alone": (replace(DENSE, value=0.0), {"direction"}),
    "canonical": (CANONICAL, {"canonical"}),
}


def only(name: str) -> EncoderPhase:
    return replace(GLOBAL, **dict.fromkeys(EVERYTHING, 0.0) | {name: 1.0})


@pytest.mark.parametrize("name", PHASES)
def test_every_weight_gets_a_gradient(name):
    phase, expected = PHASES[name]
    each = objective_of(phase)
    losses = each(stream(phase).batch(0))
    assert set(losses) == expected
    assert all(loss.isfinite() and loss > 0 for loss in losses.values())
    torch.stack(list(losses.values())).sum().backward()
    for weight, parameter in each.named_parameters():
        if "norm_cross_attn" in weight:  # MONAI's blocks have it, and do not use it without cross-attention
            continue
        assert parameter.grad is not None and parameter.grad.isfinite().all(), weight
        assert parameter.grad.abs().max() > 0, weight


@pytest.mark.parametrize("part", EVERYTHING)
def test_losses_have_their_weights(part):
    batch = stream(only(part)).batch(0)
    once, thrice = (objective_of(replace(only(part), **{part: weight}))(batch)[part] for weight in (1.0, 3.0))
    torch.testing.assert_close(thrice, 3 * once)


@pytest.mark.slow
def test_the_direction_is_that_of_renderings_of_moved_poses():
    """The network's distance to the X-ray, by central differences of the pose, rendered in float64.

    Steps are so small that hardly any ray crosses from one voxel into another. The kernel's Jacobian and the
    network have float32's digits: 1e-3 of a loss between 0 and 8.
    """
    phase = only("direction")
    batch, each = stream(phase).batch(0), objective_of(phase)
    network = objective_of(phase).network.double()
    rendering = RenderConfig(method="trilinear", voxel_mm="full", backend="reference")
    weight = batch.weight.double()
    fixed = network(masked(batch.fixed.double(), weight))

    def distance(tangent):
        pose = se3.perturb(batch.moving_camera_from_world, tangent, space().isocentre)
        moving = masked(render(subject().volume, CAMERA, pose, rendering).double(), weight)
        return network.squared_distance(network(moving), fixed).detach()

    gradient = torch.zeros(4, 6, dtype=torch.float64)
    for axis, size in enumerate([1e-6] * 3 + [1e-4] * 3):
        step = torch.zeros(4, 6, dtype=torch.float64)
        step[:, axis] = size
        gradient[:, axis] = (distance(step) - distance(-step)) / (2 * size)
    poses = batch.moving_camera_from_world, batch.fixed_camera_from_world
    expected = DirectionLoss()(gradient, space().squared_distance_gradient(*poses))
    torch.testing.assert_close(each(batch)["direction"].double(), expected, rtol=0.0, atol=1e-2)
    mixed_up = replace(batch, jacobian=batch.jacobian.roll(1, dims=-1))
    assert (each(mixed_up)["direction"] - expected).abs() > 0.2


def test_the_step_leads_to_the_fixed_pose():
    phase = only("step")
    batch, each = stream(phase).batch(0), objective_of(phase)
    fixed, moving = masked(batch.fixed, batch.weight), masked(batch.moving, batch.weight)
    jacobian = masked(batch.jacobian.movedim(-1, 1), batch.weight[:, None])
    poses = batch.moving_camera_from_world, batch.fixed_camera_from_world
    way = se3.perturbation(*poses, space().isocentre)
    torch.testing.assert_close(se3.perturb(poses[0], way, space().isocentre), poses[1])
    expected = StepLoss()(each.network, fixed, moving, jacobian, way)
    torch.testing.assert_close(each(batch)["step"], expected)


def test_pairs_are_all_pairs():
    phase = only("pairs")
    batch, each = stream(phase).batch(0), objective_of(phase)
    images = torch.cat([masked(image, batch.weight) for image in (batch.moving, batch.fixed)])
    poses = torch.cat([batch.moving_camera_from_world, batch.fixed_camera_from_world])
    losses = []
    for i, j in combinations(range(8), 2):
        one, other = each.network(images[i : i + 1]), each.network(images[j : j + 1])
        distance = each.network.squared_distance(one, other)
        losses.append(ValueLoss()(distance, space().squared_distance(poses[i : i + 1], poses[j : j + 1])))
    # Convolutions of one image and of many sum in another order.
    torch.testing.assert_close(each(batch)["pairs"], torch.stack(losses).mean(), rtol=1e-4, atol=0.0)


def test_motions_are_read_from_every_moving_image_to_all_near_ones():
    # 22 mm of perturbation are about 0.17 rad: the two views of this batch are farther apart than that.
    phase = replace(MOTION, perturbation_mm=(1.0, 22.0))
    batch, each = stream(phase, copies=1).batch(0), objective_of(phase)
    images = torch.cat([masked(image, batch.weight) for image in (batch.moving, batch.fixed)])
    poses = torch.cat([batch.moving_camera_from_world, batch.fixed_camera_from_world])
    elements = space().element(poses)
    losses, others, left_out = [], 0, 0
    for i in range(4):
        for j in range(8):
            motion = so4.residual(elements[i : i + 1], elements[j : j + 1])
            distance = so4.distance(elements[i], elements[j])
            if i == j or (j != i + 4 and distance > math.hypot(math.radians(22 / 3), 22 / 200)):
                left_out += i != j
                continue
            residual = each.network.residual(each.network(images[i : i + 1]), each.network(images[j : j + 1]))
            losses.append(MotionLoss()(residual, motion))
            others += j != i + 4
    assert others and left_out
    torch.testing.assert_close(each(batch)["motion"], torch.stack(losses).mean(), rtol=1e-4, atol=0.0)


def test_the_canonical_target_is_of_the_xrays_own_pose():
    simulation = stream(CANONICAL)
    batch, each = simulation.batch(0), objective_of(CANONICAL)

    def loss(pose):
        target = canonical_target(simulation.projector(batch.volume).image(pose), each.network.config)
        return CanonicalLoss(nll_share=CANONICAL.nll_share)(
            each.network(masked(batch.fixed, batch.weight)), target
        )

    assert torch.equal(each(batch)["canonical"], loss(batch.fixed_camera_from_world))
    elsewhere = batch.fixed_camera_from_world.clone()
    elsewhere[:, 0, 3] += 20.0
    assert not torch.isclose(each(batch)["canonical"], loss(elsewhere), rtol=1e-3)


class Knowing(torch.nn.Module):
    """Predicts a motion whatever it sees."""

    def __init__(self, motion):
        super().__init__()
        self.motion = motion

    def forward(self, image):
        return self.motion


def test_a_pose_is_compared_in_the_space_of_its_ct():
    """About the isocentre of the anatomy in the batch, wherever that of the objective's space is."""
    batch = stream(REGRESSOR).batch(0)
    truth = batch.fixed_camera_from_world
    elsewhere = space().about_isocentre(torch.tensor([50.0, -20.0, 10.0]))
    knowing = Knowing(space().motion(truth))
    for each in (space(), elsewhere):
        assert PoseObjective(knowing, each, torch.float32)(batch)["pose"] < 1e-12
    moved = batch.volume.world_from_voxel.copy()
    moved[:3, 3] += 30.0
    other = replace(batch, volume=replace(batch.volume, world_from_voxel=moved))
    there = space().about_isocentre(other.isocentre_world)
    expected = there.squared_distance(there.pose(knowing.motion), truth).mean()
    torch.testing.assert_close(PoseObjective(knowing, space(), torch.float32)(other)["pose"], expected)
    assert expected > 1e-4


def test_batches_hold_what_is_needed():
    needed = {name: moving_for(phase) for name, (phase, _) in PHASES.items()}
    assert needed == {
        "regressor": "none",
        "global": "jacobian",
        "dense": "jacobian",
        "value alone": "image",
        "motion": "image",
        "direction alone": "jacobian",
        "canonical": "same",
    }


def test_a_network_and_a_training_that_do_not_go_together():
    with pytest.raises(TypeError, match="no objective for Linear"):
        objective(torch.nn.Linear(1, 1), REGRESSOR, space(), torch.float32)
