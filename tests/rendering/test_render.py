"""The public functions: shapes, options, automatic resolution, errors."""

import sys
from dataclasses import replace

import numpy as np
import pytest
import torch

from isoclinic import rendering
from isoclinic.errors import InputError, UsageError
from isoclinic.geometry import Camera
from isoclinic.rendering import (
    RenderConfig,
    _cuda,
    pack,
    render,
    render_structures,
    render_with_jacobian,
)
from isoclinic.rendering._render import packed_for
from isoclinic.volumes import Volume
from raising import raises

from .scenes import CAMERA, METHODS, labelled_volume, noise_volume, pose, random_poses

CPU = RenderConfig(voxel_mm="full", backend="cpu")


@pytest.mark.parametrize("backend", ["cpu", "reference"])
@pytest.mark.parametrize("method", METHODS)
def test_shapes(method, backend):
    volume = noise_volume()
    config = replace(CPU, method=method, backend=backend)
    one, many = pose(volume), random_poses(volume, 3)
    assert render(volume, CAMERA, one, config).shape == (1, 8, 9)
    assert render(volume, CAMERA, one.tolist(), config).shape == (1, 8, 9)
    assert render(volume, CAMERA, one.numpy().astype(np.float32), config).shape == (1, 8, 9)
    assert render(volume, CAMERA, many, config).shape == (3, 8, 9)
    image, jacobian = render_with_jacobian(volume, CAMERA, many, config)
    assert image.shape == (3, 8, 9)
    assert jacobian.shape == (3, 8, 9, 6)
    assert torch.equal(image, render(volume, CAMERA, many, config))


def test_a_flipped_camera_gives_a_flipped_image():
    volume = noise_volume()
    image = render(volume, CAMERA, pose(volume), CPU)
    across = render(volume, CAMERA.flip(left_right=True), pose(volume), CPU)
    down = render(volume, CAMERA.flip(top_bottom=True), pose(volume), CPU)
    assert image.max() > 0.1
    torch.testing.assert_close(across, image.flip(2), rtol=0, atol=1e-5)
    torch.testing.assert_close(down, image.flip(1), rtol=0, atol=1e-5)


def test_a_cropped_camera_gives_a_cropped_image():
    volume = noise_volume()
    image = render(volume, CAMERA, pose(volume), CPU)
    cropped = render(volume, CAMERA.crop(top=2, left=3, height=4, width=5), pose(volume), CPU)
    torch.testing.assert_close(cropped, image[:, 2:6, 3:8], rtol=0, atol=1e-5)


def level_for(volume: Volume, camera: Camera, camera_from_world, voxel_mm) -> tuple[int, ...]:
    """Factors of the level that gets used, read off the packed size."""
    packed = packed_for(volume, camera, camera_from_world[None], RenderConfig(voxel_mm=voxel_mm))
    spacing = 1 / np.linalg.norm(np.linalg.inv(packed.voxel_from_world)[:3, :3], axis=0)
    return tuple(int(f) for f in np.rint(1 / (spacing * volume.spacing_mm)))


@pytest.mark.parametrize(
    ("pixel_mm", "depth_mm", "tilt_deg", "factors"),
    [
        # A pixel of p mm is q = p * depth / 300 mm at the isocentre; voxels are 1.2, 0.9, 2.1 mm. Allowed are
        # q / 2 across the rays, q / (2 sin t) at t degrees to them, and at most 2 q.
        (1.5, 200.0, 0.0, (1, 1, 1)),  # q = 1: 0.5, 0.5, 2
        (6.0, 200.0, 0.0, (2, 2, 4)),  # q = 4: 2, 2, 8
        (6.0, 100.0, 0.0, (1, 1, 2)),  # q = 2, closer to the source: 1, 1, 4
        (6.0, 200.0, 30.0, (2, 3, 2)),  # q = 4: 2, 2 / sin 60, 2 / sin 30
        (6.0, 200.0, 90.0, (2, 9, 1)),  # q = 4, along the second axis: 2, 8, 2
        (6.6, 400.0, 0.0, (3, 4, 6)),  # an isocentre behind the detector counts as on it, q = 6.6
        (6.0, -50.0, 0.0, (1, 1, 1)),  # behind the source: as large as can be
        (900.0, 200.0, 0.0, (12, 10, 14)),  # no more than the whole volume
    ],
)
def test_automatic_level_is_what_no_pixel_notices(pixel_mm, depth_mm, tilt_deg, factors):
    volume = noise_volume(world_from_voxel=np.diag([1.2, 0.9, 2.1, 1.0]))
    camera = Camera.from_pixel_spacing(
        width=4, height=4, pixel_spacing_mm=(pixel_mm, 1.3 * pixel_mm), sdd_mm=300.0
    )
    tilt = np.deg2rad([tilt_deg, 0.0, 0.0])
    camera_from_world = pose(volume, tilt, depth_mm=depth_mm, point_world=volume.isocentre_world)
    assert level_for(volume, camera, camera_from_world, "auto") == factors


@pytest.mark.parametrize(
    ("voxel_mm", "factors"),
    [("full", (1, 1, 1)), (0.1, (1, 1, 1)), (1.7, (1, 2, 1)), (4, (3, 4, 2)), (1e6, (12, 10, 14))],
)
def test_chosen_level(voxel_mm, factors):
    volume = noise_volume()
    assert level_for(volume, CAMERA, pose(volume), voxel_mm) == factors
    image = render(volume, CAMERA, pose(volume), RenderConfig(voxel_mm=voxel_mm))
    assert image.isfinite().all()


@pytest.mark.parametrize("method", METHODS)
def test_levels_agree_on_average(method):
    """Averaging blocks keeps the mass of the volume, hence the sum over a detector that sees all of it.

    2 %: rays to pixels off the centre weigh the mass by magnification and obliquity, which a block moves.
    """
    volume = noise_volume()
    camera = Camera.from_pixel_spacing(width=80, height=80, pixel_spacing_mm=(1.0, 1.0), sdd_mm=300.0)
    full, coarse = (
        render(volume, camera, pose(volume), RenderConfig(method=method, voxel_mm=voxel_mm)).sum()
        for voxel_mm in ("full", 5.0)
    )
    assert coarse.item() == pytest.approx(full.item(), rel=0.02)


def test_structures_add_up_to_their_union():
    volume = labelled_volume()
    config = replace(CPU, method="siddon")
    images = render_structures(volume, CAMERA, random_poses(volume, 2), ("femur", 2), config)
    assert images.shape == (2, 2, 8, 9)
    assert images.amax(dim=(0, 2, 3)).min() > 0.1
    both = render(volume, CAMERA, random_poses(volume, 2), replace(config, structures=(1, 2)))
    # Three quantisations of at most 2^-17 of the peak, over some 30 mm.
    atol = 3 * 30 * 2.0**-17 * float(volume.attenuation().max())
    torch.testing.assert_close(images.sum(dim=1), both, rtol=0, atol=atol)
    whole = render(volume, CAMERA, random_poses(volume, 2), config)
    assert (both < whole + atol).all()
    assert both.sum() < 0.8 * whole.sum()


def test_materials_add_up_to_all():
    volume = noise_volume()
    parts = [
        render(volume, CAMERA, pose(volume), replace(CPU, method="siddon", material=material))
        for material in ("soft_tissue", "bone")
    ]
    whole = render(volume, CAMERA, pose(volume), replace(CPU, method="siddon"))
    atol = 3 * 30 * 2.0**-17 * float(volume.attenuation().max())
    torch.testing.assert_close(sum(parts), whole, rtol=0, atol=atol)
    assert all(part.max() > 0.01 for part in parts)


@pytest.mark.parametrize("voxel_mm", [0, -1.0, float("nan"), float("inf"), "fine", None])
def test_bad_voxel_sizes_are_refused(voxel_mm):
    with raises(UsageError, "rendering.invalid-value", "voxel_mm"):
        RenderConfig(voxel_mm=voxel_mm)


@pytest.mark.parametrize(("name", "value"), [("method", "joseph"), ("backend", "gpu")])
def test_unknown_choices_are_refused(name, value):
    with raises(UsageError, "rendering.invalid-value", name, f"'{value}'"):
        RenderConfig(**{name: value})


@pytest.mark.parametrize(
    ("options", "fault"),
    [
        ({"structures": ("fibula",)}, ("labels.structure-missing", "fibula")),
        ({"structures": (9,)}, ("labels.structure-missing", "9")),
        ({"material": "metal"}, ("ct.invalid-value", "material", "soft_tissue")),
    ],
)
def test_unknown_structures_and_materials_are_refused(options, fault):
    volume = labelled_volume()
    for function in (render, render_with_jacobian):
        with raises(UsageError, *fault):
            function(volume, CAMERA, pose(volume), RenderConfig(**options))


def test_poses_that_are_not_rigid_are_refused():
    volume = noise_volume()
    with raises(InputError, "pose.not-rigid", "camera_from_world"):
        render(volume, CAMERA, 2 * torch.eye(4))


def test_cuda_without_a_gpu_names_the_remedy():
    if _cuda.available():
        pytest.skip("this machine has a GPU")
    volume = noise_volume()
    with raises(UsageError, "installation.no-gpu", "'cuda'", "'cpu'", "'auto'"):
        render(volume, CAMERA, pose(volume), RenderConfig(backend="cuda"))
    # "auto" takes the processor then.
    automatic = render(volume, CAMERA, pose(volume), replace(CPU, backend="auto"))
    assert torch.equal(automatic, render(volume, CAMERA, pose(volume), CPU))


def test_cuda_without_its_numba_target_names_the_package(monkeypatch):
    monkeypatch.setitem(sys.modules, "isoclinic.rendering._cuda_kernel", None)
    monkeypatch.delattr(rendering, "_cuda_kernel", raising=False)
    volume = noise_volume()
    with raises(UsageError, "installation.package-missing", "isoclinic[cuda]"):
        render(volume, CAMERA, pose(volume), RenderConfig(backend="cuda"))


def test_rendering_leaves_the_volume_alone():
    volume = noise_volume()
    hu = volume.hu.copy()
    packed = pack(volume)
    words = packed.words.copy()
    render_with_jacobian(volume, CAMERA, pose(volume), CPU)
    assert np.array_equal(volume.hu, hu)
    assert np.array_equal(packed.words, words)
