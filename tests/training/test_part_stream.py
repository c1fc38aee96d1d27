"""X-rays of a part: reproducible, true to the renderer, and with all else in the fixed image only."""

import math
from dataclasses import replace

import numpy as np
import pytest
import torch

from isoclinic import RenderConfig, UsageError, render
from isoclinic.geometry import se3
from isoclinic.networks.part_view import PartShape, part_camera
from isoclinic.training import RandomizationConfig, StreamConfig, ToneConfig
from isoclinic.training.part_config import PartConfig, SurroundingsConfig
from isoclinic.training.part_stream import PartStream, continued
from isoclinic.volumes import Volume
from raising import raises

DEPTH_MM = 700.0
UNCHANGED = RandomizationConfig(
    acquisition=None,
    tone=ToneConfig(**{name: 0.0 for name in vars(ToneConfig()) if name.endswith("_probability")}),
)
STREAM = StreamConfig(
    batch=4, copies=2, moving="same", voxel_mm="full", backend="cpu", randomization=UNCHANGED
)
NOTHING_ELSE = SurroundingsConfig(
    things=(0, 0), tissue=(0.0, 0.0), continued_probability=0.0, rest_probability=0.0
)
ALONE = PartConfig(strength=(1.0, 1.0), surroundings=NOTHING_ELSE)
RENDERING = RenderConfig(method="trilinear", voxel_mm="full", backend="cpu")


def limb(*, labels: bool = False, cut: bool = True) -> Volume:
    """A shaft that ends at the grid's first layer where it is cut, with a head; and muscle where labelled."""
    hu = np.full((24, 24, 28), -1000.0, np.float32)
    if labels:
        hu[4:20, 4:20] = 40.0
    hu[10:14, 10:14, (0 if cut else 4) : 22] = 700.0
    hu[8:16, 9:15, 18:25] = 500.0
    affine = np.diag([2.0, 2.0, 2.0, 1.0])
    affine[:3, 3] = (-20.0, 5.0, 90.0)
    volume = Volume(hu=hu, world_from_voxel=affine)
    return volume.with_labels((hu > 300).astype(np.uint8), {1: "bone"}) if labels else volume


def stream(volume: Volume, part: PartConfig = ALONE, seed: int = 1, **changes) -> PartStream:
    shape = PartShape.of(volume, part.structures)
    camera = part_camera(shape.radius_mm, DEPTH_MM, field=part.field_of_view, pixels=32)
    return PartStream(volume, camera, replace(STREAM, **changes), part, depth_mm=DEPTH_MM, seed=seed)


def test_images_are_those_of_the_poses():
    volume = limb()
    of = stream(volume)
    batch = of.batch(0)
    for image, pose in (
        (batch.moving, batch.fixed_camera_from_world),
        (batch.hint, batch.moving_camera_from_world),
    ):
        torch.testing.assert_close(image, render(volume, of.camera, pose, RENDERING))
    # With nothing else in the picture; the two materials are quantised to 16 bits apart from each other.
    torch.testing.assert_close(batch.fixed, batch.moving, rtol=2e-3, atol=2e-3)
    assert torch.equal(batch.fixed[0], batch.fixed[1]), "copies share their rendering"
    assert batch.moving.amax((1, 2)).min() > 0.2


def test_starts_look_straight_at_the_part_and_truths_lie_within_reach():
    part = replace(ALONE, start_mm=(1.0, 20.0), start_deg=(2.0, 15.0), start_depth_mm=40.0)
    of = stream(limb(), part, batch=64, copies=1)
    batch = of.batch(0)
    shape, start = of.shape, batch.moving_camera_from_world
    centre = se3.transform_points(start, shape.centre_world[None])[:, 0]
    expected = centre.new_tensor([0, 0, DEPTH_MM]).expand_as(centre)
    torch.testing.assert_close(centre, expected)
    same = shape.view_from_camera(start)
    torch.testing.assert_close(same, torch.eye(4, dtype=torch.float64).expand_as(same), atol=1e-9, rtol=0)
    perturbed = se3.perturb(start, batch.perturbation, shape.centre_world)
    torch.testing.assert_close(batch.fixed_camera_from_world, perturbed)
    turn = batch.perturbation[:, :3].norm(dim=1).rad2deg()
    assert 2 <= turn.min() < 4 and 10 < turn.max() <= 15
    assert batch.perturbation[:, 3:5].norm(dim=1).max() <= 20
    assert 10 < batch.perturbation[:, 5].abs().max() <= 40
    # Any way round: the axis of the shaft comes from everywhere.
    along = (start[:, :3, :3] @ shape.axes_world[0])[:, 2]
    assert along.min() < -0.8 and along.max() > 0.8


def test_a_batch_depends_on_seed_and_index_alone():
    part = PartConfig(surroundings=SurroundingsConfig(voxels=16))
    first, resumed = (stream(limb(), part, randomization=RandomizationConfig.part()) for _ in range(2))
    batches = [first.batch(index) for index in range(2)]
    again = resumed.batch(1)
    for name in ("fixed", "weight", "moving", "hint", "fixed_camera_from_world"):
        assert torch.equal(getattr(again, name), getattr(batches[1], name)), name
    assert not torch.equal(batches[0].fixed, batches[1].fixed)
    assert not torch.equal(stream(limb(), part, seed=2).batch(1).moving, again.moving)


def test_surroundings_are_in_the_fixed_image_only():
    surroundings = replace(NOTHING_ELSE, things=(2, 2), tissue=(0.3, 0.3), voxels=16)
    of = stream(limb(), replace(ALONE, surroundings=surroundings))
    batch = of.batch(0)
    torch.testing.assert_close(
        batch.moving, render(limb(), of.camera, batch.fixed_camera_from_world, RENDERING)
    )
    more = batch.fixed - batch.moving
    assert more.min() > -2e-3, "nothing takes attenuation away"
    assert more.mean() > 0.1
    assert not torch.equal(batch.fixed[0], batch.fixed[1]), "copies differ in their surroundings"


def test_the_rest_of_the_ct_lies_about_where_it_does():
    volume = limb(labels=True)
    surroundings = replace(NOTHING_ELSE, rest_probability=1.0, rest_reach_mm=0.0)
    part = replace(ALONE, structures=("bone",), surroundings=surroundings)
    of = stream(volume, part)
    batch = of.batch(0)
    bone = replace(RENDERING, structures=("bone",))
    poses = batch.fixed_camera_from_world
    torch.testing.assert_close(batch.moving, render(volume, of.camera, poses, bone))
    # Where it does not move, part and rest are the CT.
    torch.testing.assert_close(batch.fixed, render(volume, of.camera, poses, RENDERING), rtol=5e-3, atol=5e-3)
    moved = replace(part, surroundings=replace(surroundings, rest_reach_mm=20.0))
    assert (stream(volume, moved).batch(0).fixed - batch.fixed).abs().max() > 0.02


def test_a_bone_goes_on_where_its_ct_ends():
    cut, whole = limb(), limb(cut=False)
    assert continued(whole) is whole, "nothing of it touches the rim"
    longer = continued(cut)
    half = cut.shape[2] // 2
    assert longer.shape == (24, 24, 28 + half)
    np.testing.assert_array_equal(longer.hu[..., half:], cut.hu)
    np.testing.assert_array_equal(longer.hu[..., :half], np.repeat(cut.hu[..., :1], half, axis=2))
    # The same voxel is at the same place.
    np.testing.assert_allclose(
        longer.world_from_voxel @ [3, 4, 5 + half, 1], cut.world_from_voxel @ [3, 4, 5, 1]
    )
    always = replace(NOTHING_ELSE, continued_probability=1.0)
    batch = stream(cut, replace(ALONE, surroundings=always)).batch(0)
    more = batch.fixed - batch.moving
    assert more.min() > -2e-2 and more.max() > 0.1


def test_settings_that_cannot_be_are_refused():
    for settings in [
        {"field_of_view": 0.5},
        {"field_of_view": math.inf},
        {"structures": ()},
        {"start_mm": (0, 1)},
    ]:
        with raises(UsageError, "training.invalid-value"):
            PartConfig(**settings)
    for settings in [{"things": (3, 1)}, {"skeletons": 1.5}, {"voxels": 4}, {"rest_reach_mm": -1.0}]:
        with raises(UsageError, "training.invalid-value"):
            SurroundingsConfig(**settings)


@pytest.mark.parametrize("count", [1, 5])
def test_any_number_of_surroundings(count):
    of = stream(limb(), replace(ALONE, surroundings=replace(NOTHING_ELSE, things=(1, 3), voxels=16)))
    images = of._surroundings.images(0, torch.Generator().manual_seed(0), count)
    assert images.shape == (count, 2, 32, 32)
    assert images.min() >= 0 and images.max() > 0
