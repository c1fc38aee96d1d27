"""The stream: reproducible by seed and index, and true to the renderer."""

from __future__ import annotations

from dataclasses import replace
from itertools import islice

import pytest
import torch

import phantoms
from isoclinic import RenderConfig, UsageError, render
from isoclinic.anatomy import Cohort, CohortConfig, VariationConfig
from isoclinic.geometry import se3
from isoclinic.training import (
    AcquisitionConfig,
    Batch,
    PoseConfig,
    RandomizationConfig,
    SimulationStream,
    StreamConfig,
    ToneConfig,
)
from raising import raises

CAMERA = phantoms.CAMERA.resize(height=24, width=32)
# Near enough that every view shows the phantom.
POSES = PoseConfig(source_isocentre_mm=670.0, lateral_reach_mm=10.0, perturbation_mm=(0.1, 20.0))
CONFIG = StreamConfig(batch=4, voxel_mm="full", backend="cpu", poses=POSES)
RENDERING = RenderConfig(method="trilinear", voxel_mm="full", backend="cpu")
UNCHANGED = RandomizationConfig(
    acquisition=None,
    tone=ToneConfig(**{name: 0.0 for name in vars(ToneConfig()) if name.endswith("_probability")}),
)


@pytest.fixture(scope="module")
def volume():
    return phantoms.phantom(0, (32, 32, 32))


def stream(volume, seed: int = 3, **changes) -> SimulationStream:
    return SimulationStream([volume], CAMERA, replace(CONFIG, **changes), seed=seed)


def assert_same(a: Batch, b: Batch) -> None:
    for name, value in vars(a).items():
        if isinstance(value, torch.Tensor):
            assert torch.equal(value, getattr(b, name)), name


def test_a_batch_depends_on_seed_and_index_alone(volume):
    """Bitwise, whatever was drawn before."""
    first, resumed = stream(volume, moving="jacobian"), stream(volume, moving="jacobian")
    batches = list(islice(first, 3))
    torch.rand(5)
    assert_same(resumed.batch(2), batches[2])
    assert_same(next(resumed.batches(start=1)), batches[1])
    assert [batch.index for batch in batches] == [0, 1, 2]
    for other in (batches[0], stream(volume, seed=4).batch(2), stream(volume, seed=2).batch(3)):
        assert not torch.equal(other.fixed, batches[2].fixed)
        assert not torch.equal(other.fixed_camera_from_world, batches[2].fixed_camera_from_world)


def test_processes_share_the_batches(volume):
    ranks = [list(islice(stream(volume, moving="none").batches(rank, 2), 2)) for rank in range(2)]
    assert [[batch.index for batch in rank] for rank in ranks] == [[0, 2], [1, 3]]


def test_images_are_those_of_the_poses(volume):
    batch = stream(volume, randomization=UNCHANGED).batch(0)
    expected = render(volume, CAMERA, batch.fixed_camera_from_world, RENDERING)
    # The two materials are quantised to 16 bits apart from each other.
    torch.testing.assert_close(batch.fixed, expected, rtol=1e-3, atol=1e-3)
    assert batch.fixed.amax(dim=(1, 2)).min() > 0.5 and (batch.weight == 1).all()
    moving = render(volume, CAMERA, batch.moving_camera_from_world, RENDERING)
    assert torch.equal(batch.moving, moving)
    isocentre = torch.from_numpy(volume.isocentre_world)
    perturbed = se3.perturb(batch.fixed_camera_from_world, batch.perturbation, isocentre)
    torch.testing.assert_close(batch.moving_camera_from_world, perturbed)
    assert batch.perturbation[:, 3:].norm(dim=1).max() <= 20


def test_weight_is_where_the_patient_shows(volume):
    acquisition = AcquisitionConfig(collimation_probability=1.0, view_probability=0.0, collimation_white=0.0)
    batch = stream(volume, randomization=replace(UNCHANGED, acquisition=acquisition)).batch(0)
    assert batch.parameters.acquisition is not None
    assert ((batch.weight == 0) | (batch.weight == 1)).all()
    assert 0 < batch.weight.mean() < 1
    # Beside the field nothing arrives: the logarithm of the floor.
    assert batch.fixed[batch.weight == 0].unique().tolist() == pytest.approx([6.9078], abs=1e-3)


@pytest.mark.slow
def test_jacobian_is_that_of_finite_differences(volume):
    """Central differences of the float64 reference, over steps that hardly any sample crosses a voxel in.

    The kernel's float32 sums of some 30 samples leave 1e-4 of the largest derivatives.
    """
    batch = stream(volume, batch=2, moving="jacobian").batch(0)
    isocentre = torch.from_numpy(volume.isocentre_world)
    reference = replace(RENDERING, backend="reference")
    for element in range(6):
        step = torch.zeros(6, dtype=torch.float64)
        step[element] = 1e-6 if element < 3 else 1e-4
        ahead, behind = (
            render(volume, CAMERA, se3.perturb(batch.moving_camera_from_world, change, isocentre), reference)
            for change in (step, -step)
        )
        differences = (ahead - behind) / (2 * step[element])
        error = (batch.jacobian[..., element] - differences).norm() / differences.norm()
        assert error < 1e-3, element
    assert batch.jacobian.shape == (2, 24, 32, 6)


def test_copies_share_the_rendering(volume):
    batch = stream(volume, copies=2).batch(0)
    for name in ("moving", "fixed_camera_from_world", "moving_camera_from_world", "perturbation"):
        value = getattr(batch, name)
        assert torch.equal(value[0], value[1]) and not torch.equal(value[1], value[2]), name
    assert not torch.equal(batch.fixed[0], batch.fixed[1])


def test_pairs_around_a_view_are_near_each_other(volume):
    batch = stream(volume, batch=6, around=3).batch(0)
    isocentre = torch.as_tensor(volume.isocentre_world, dtype=torch.float64)
    poses = batch.fixed_camera_from_world
    tangent = se3.perturbation(poses[::3].repeat_interleave(3, dim=0), poses, isocentre)
    shift = tangent[:, 3:].norm(dim=1)
    assert (shift[::3] < 1e-9).all()
    others = shift.reshape(2, 3)[:, 1:]
    # Within the range of perturbations; the two views are farther apart.
    assert ((others > 0.1 - 1e-9) & (others < 20 + 1e-9)).all() and len(others.unique()) == 4
    assert se3.perturbation(poses[:1], poses[3:4], isocentre)[0, 3:].norm() > 20
    for image, pose in zip(batch.moving, batch.moving_camera_from_world, strict=True):
        assert torch.equal(image, render(volume, CAMERA, pose[None], RENDERING)[0])


def test_no_moving_image_unless_wanted(volume):
    batch = stream(volume, moving="none").batch(0)
    assert batch.moving is None and batch.jacobian is None


def test_many_volumes_take_turns(volume):
    other = phantoms.phantom(1, (24, 24, 24))
    both = SimulationStream([volume, other], CAMERA, replace(CONFIG, moving="image"), seed=0)
    batches = list(islice(both, 8))
    assert {id(batch.volume) for batch in batches} == {id(volume), id(other)}
    for batch in batches[:3]:
        assert torch.equal(
            batch.moving, render(batch.volume, CAMERA, batch.moving_camera_from_world, RENDERING)
        )


@pytest.mark.parametrize(
    "change", [{"batch": 0}, {"copies": 0}, {"copies": 3}, {"moving": "film"}, {"around": 0}, {"around": 3}]
)
def test_batches_that_are_none(change):
    with raises(UsageError, "training.invalid-value", next(iter(change))):
        replace(CONFIG, **change)


def test_streams_that_are_none(volume):
    with raises(UsageError, "training.no-ct", "one CT"):
        SimulationStream([], CAMERA, CONFIG, seed=0)
    with raises(UsageError, "training.invalid-value", "seed"):
        stream(volume, seed=-1)


def test_x_rays_show_all_of_a_patient_whose_ct_ends_early(volume):
    """A cohort of one whose CT lacks its ends: its moving images do, its X-rays and the targets do not."""
    variation = VariationConfig(
        short_probability=1.0, short=(0.3, 0.3), cut_probability=0.0, tumble_probability=0.0
    )
    config = CohortConfig(present=1, batches=100, skeletons=0.0, voxel_mm=4.0, variation=variation)
    poses = replace(POSES, perturbation_mm=(1e-6, 1e-6))
    changes = {"randomization": UNCHANGED, "poses": poses}

    def batch_of(**more) -> Batch:
        cohort = Cohort([volume], config, seed=0)
        return SimulationStream(cohort, CAMERA, replace(CONFIG, **changes, **more), seed=0).batch(0)

    short, same = batch_of(), batch_of(moving="same")
    assert short.moving is not None and same.moving is not None
    torch.testing.assert_close(short.fixed, same.fixed)
    torch.testing.assert_close(same.moving, same.fixed, atol=1e-3, rtol=0)
    difference = short.fixed - short.moving
    body = short.fixed > 0.1
    assert difference.min() > -0.01 and (difference > 0.1)[body].float().mean() > 0.2
    assert torch.equal(short.moving, render(short.volume, CAMERA, short.moving_camera_from_world, RENDERING))
    assert (short.volume.hu < -999).sum() > (same.volume.hu < -999).sum()
