import math
from dataclasses import replace

import numpy as np
import pytest
import torch

from isoclinic.errors import UsageError
from isoclinic.geometry import Camera, se3, so3
from isoclinic.networks import (
    Checkpoint,
    CTConditionedRegressor,
    CTConditionedRegressorConfig,
    PoseSpace,
    TrainingRecord,
    conditioning_cube,
)
from isoclinic.networks._split_attention import SplitAttention
from isoclinic.rendering import RenderConfig, render
from isoclinic.volumes import Volume, mu_from_hu
from raising import raises

DEPTH_MM = 600.0
SMALL = CTConditionedRegressorConfig(
    image_px=32, cube_voxels=16, feature_px=16, depth_features=4, volume_features=(2, 4), stages=(8, 8)
)
# A pixel of 5 mm shows 3 mm of the isocentre's plane, 1000 / 600 times magnified: the image 192 mm of it.
CAMERA = Camera.from_pixel_spacing(width=64, height=64, pixel_spacing_mm=(5.0, 5.0), sdd_mm=1000.0)
# Upright antero-posterior view, as docs/conventions.md writes it: the patient's left is on the right.
AP = torch.tensor([[-1.0, 0, 0], [0, 0, -1], [0, -1, 0]], dtype=torch.float64)


def regressor(config: CTConditionedRegressorConfig = SMALL, gain: float = 1.0) -> CTConditionedRegressor:
    torch.manual_seed(0)
    network = CTConditionedRegressor(config)
    with torch.no_grad():
        network.output[-1].weight *= gain
    return network.eval()


def uniform(*shape: int, seed: int = 1) -> torch.Tensor:
    return torch.rand(*shape, generator=torch.Generator().manual_seed(seed))


def space(isocentre=(10.0, -20.0, 300.0), rotation: torch.Tensor = AP) -> PoseSpace:
    centre = torch.tensor(isocentre, dtype=torch.float64)
    shift = torch.tensor([0, 0, DEPTH_MM], dtype=torch.float64) - rotation @ centre
    return PoseSpace.about(se3.rigid(rotation, shift), centre, length_mm=100.0)


def balls(centres_mm, *, radius_mm=8.0, spacing_mm=2.0, side=100, isocentre=(10.0, -20.0, 300.0)) -> Volume:
    """Balls of water in air, RAS millimetres from the isocentre, on a grid whose axes run left, up, back."""
    affine = np.array(
        [[-spacing_mm, 0, 0, 0], [0, 0, -spacing_mm, 0], [0, spacing_mm, 0, 0], [0, 0, 0, 1.0]], dtype=float
    )
    middle = np.full(3, (side - 1) / 2)
    affine[:3, 3] = np.array(isocentre) - affine[:3, :3] @ middle
    voxels = np.stack(np.meshgrid(*3 * [np.arange(side)], indexing="ij"), -1) - middle
    points = voxels @ affine[:3, :3].T
    hu = np.full((side,) * 3, -1000.0, dtype=np.float32)
    for centre in np.atleast_2d(centres_mm):
        hu[np.linalg.norm(points - centre, axis=-1) <= radius_mm] = 0.0
    return Volume(hu=hu, world_from_voxel=affine)


def centroid(cube: torch.Tensor) -> np.ndarray:
    """Centre of mass (depth, row, column) of a cube [D, H, W], in voxels."""
    axes = np.stack(np.meshgrid(*map(np.arange, cube.shape), indexing="ij"), -1)
    weight = cube.double().numpy()
    return (axes * weight[..., None]).sum((0, 1, 2)) / weight.sum()


@pytest.mark.parametrize(
    "settings",
    [
        {},
        {"image_px": 16},
        {"image_px": 64},
        {"cube_voxels": 32, "depth_features": 3},
        {"image_channels": 2, "radix": 4, "cardinality": 2},
        {"image_features": (8,), "volume_features": (2,), "hidden": ()},
    ],
)
def test_images_of_one_ct_and_of_several_give_motions(settings):
    config = replace(SMALL, **settings)
    network = regressor(config, gain=30.0)
    image = uniform(3, config.image_channels, config.image_px, config.image_px)
    ct = uniform(3, *3 * (config.cube_voxels,), seed=2)
    assert network.encode_ct(ct).shape == (3, config.ct_features, config.feature_px, config.feature_px)
    each, one = network(image, ct), network(image, ct[:1])
    assert each.shape == one.shape == (3, 4, 4)
    assert each.dtype == torch.float64
    # One CT stands for all, the first image's. float32 rounding of another batch size, times L = 100 mm.
    torch.testing.assert_close(one[0], each[0], rtol=0, atol=1e-3)
    assert (one[1:] - each[1:]).abs().amax((1, 2)).min() > 0.01


def test_features_of_a_ct_can_be_kept():
    network = regressor(gain=30.0)
    image, ct = uniform(2, 32, 32), uniform(1, 16, 16, 16)
    torch.testing.assert_close(
        network.predict(image, network.encode_ct(ct)), network(image, ct), rtol=0, atol=0
    )
    torch.testing.assert_close(regressor(gain=30.0)(image, ct), network(image, ct), rtol=0, atol=0)


@pytest.mark.parametrize("head", ["so4", "quaternion", "matrix"])
@pytest.mark.parametrize("gain", [1.0, 1e2, 1e4])
def test_every_prediction_is_a_pose_within_reach(head, gain):
    network = regressor(replace(SMALL, head=head), gain)
    motion = network(uniform(4, 32, 32), uniform(1, 16, 16, 16))
    identity = torch.eye(3, dtype=torch.float64).expand(4, 3, 3)
    torch.testing.assert_close(motion[:, :3, :3] @ motion[:, :3, :3].mT, identity, atol=1e-12, rtol=0)
    assert (torch.linalg.det(motion[:, :3, :3]) > 0).all()
    angle = torch.linalg.vector_norm(so3.log(motion[:, :3, :3]), dim=-1)
    assert (angle <= math.radians(math.hypot(*SMALL.rotation_deg))).all()
    reach = math.hypot(*SMALL.translation_mm)
    if head == "so4":
        reach = 2 * SMALL.length_mm * math.tan(math.hypot(*SMALL.translation_angles))
    shift = torch.linalg.vector_norm(motion[:, :3, 3], dim=-1)
    assert (shift <= reach).all()
    if gain == 1.0:
        # The first weights make raw numbers of about 1e-2 radians: the nominal view.
        assert angle.max() < 0.1
        assert shift.max() < 20


def test_every_weight_learns_from_both_inputs():
    network = regressor(gain=30.0).train()
    network(uniform(3, 32, 32), uniform(3, 16, 16, 16, seed=2)).square().sum().backward()
    for name, parameter in network.named_parameters():
        assert parameter.grad is not None, name
        assert parameter.grad.abs().max() > 0, name


def test_derivatives_by_image_and_ct_are_those_of_finite_differences():
    network = regressor(gain=30.0).double()
    image, ct = uniform(2, 32, 32).double(), uniform(1, 16, 16, 16).double()
    directions = uniform(2, 32, 32, seed=3).double() - 0.5, uniform(1, 16, 16, 16, seed=4).double() - 0.5
    weights = uniform(2, 4, 4, seed=5).double()

    def value(step: float) -> torch.Tensor:
        return (weights * network(image + step * directions[0], ct + step * directions[1])).sum()

    image.requires_grad_()
    ct.requires_grad_()
    by_image, by_ct = torch.autograd.grad(value(0.0), (image, ct))
    # ReLUs and maxima kink; over a step of 1e-6 hardly any does. Rounding: 1e-13 of 100 mm over 1e-6.
    expected = (value(1e-6) - value(-1e-6)) / 2e-6
    found = (by_image * directions[0]).sum() + (by_ct * directions[1]).sum()
    torch.testing.assert_close(found, expected, rtol=1e-4, atol=1e-4)


def test_tone_and_scale_do_not_matter_but_content_does():
    network = regressor(replace(SMALL, image_channels=2), gain=30.0)
    image, ct = uniform(1, 2, 32, 32), 0.02 * uniform(1, 16, 16, 16)
    motion = network(image, ct)
    # Each channel has its own gain and offset; 1e-6 of variance are added to the cube's 3e-5.
    toned = image * torch.tensor([3.0, 0.5])[:, None, None] + torch.tensor([1.0, -2.0])[:, None, None]
    shift = (network(image, ct.flip(1)) - motion).abs().max()
    torch.testing.assert_close(network(toned, ct), motion, rtol=0, atol=1e-2)
    assert shift > 0.1
    assert (network(image, 1.2 * ct) - motion).abs().max() < 0.05 * shift
    assert (network(image.flip(1), ct) - motion).abs().max() > 0.1


def test_maps_of_the_ct_lie_on_the_pixels_of_the_image():
    """With and without enlargement, a change of the CT shows in the maps where it is, whatever its depth."""
    for settings in [{}, {"cube_voxels": 32, "depth_features": 2}]:
        network = regressor(replace(SMALL, **settings, volume_features=(1,), norm_groups=1))
        side = network.config.cube_voxels
        plain = torch.zeros(1, side, side, side)
        marked = plain.clone()
        row, column = side // 4, 3 * side // 4
        marked[0, side // 2, row, column] = 1.0
        difference = (network.encode_ct(marked) - network.encode_ct(plain)).abs().sum(1)[0]
        peak = np.unravel_index(int(difference.argmax()), difference.shape)
        scale = network.config.feature_px / side
        # The halved voxel that holds the mark, or one next to it, which its 3 wide convolution reaches.
        assert abs((peak[0] + 0.5) / scale - (row + 0.5)) <= 3
        assert abs((peak[1] + 0.5) / scale - (column + 0.5)) <= 3


@pytest.mark.parametrize(("radix", "cardinality"), [(2, 1), (2, 2), (4, 2)])
def test_split_attention_is_the_weighted_sum_of_its_branches(radix, cardinality):
    """Against a loop over groups and branches, written after the equations of the paper."""
    torch.manual_seed(0)
    block = SplitAttention(16, radix, cardinality, norm_groups=4).eval()
    x = torch.randn(2, 16, 5, 6, generator=torch.Generator().manual_seed(1))
    branches = block.branches(x).chunk(radix, dim=1)
    raw = block.attention(sum(branches).mean((2, 3), keepdim=True))[:, :, 0, 0]
    width = 16 // cardinality
    expected = torch.zeros_like(x)
    for group in range(cardinality):
        channels = slice(group * width, (group + 1) * width)
        parts = raw[:, group * radix * width : (group + 1) * radix * width].split(width, dim=1)
        total = sum(part.exp() for part in parts)
        for part, branch in zip(parts, branches, strict=True):
            expected[:, channels] += (part.exp() / total)[:, :, None, None] * branch[:, channels]
    torch.testing.assert_close(block(x), expected)


@pytest.mark.parametrize(
    ("offset_mm", "step"),
    [
        # RAS millimetres from the isocentre; (depth, row, column), by which it leaves the cube's middle.
        ((-30.0, 0.0, 0.0), (0, 0, 1)),  # the patient's left: right in the image
        ((0.0, 30.0, 0.0), (-1, 0, 0)),  # anterior: towards the source
        ((0.0, 0.0, 30.0), (0, -1, 0)),  # head: up
    ],
)
def test_a_marker_lands_where_the_ap_view_has_it(offset_mm, step):
    voxels = 32
    cube = conditioning_cube(balls([offset_mm]), space(), CAMERA, voxels)
    assert cube.shape == (voxels,) * 3
    assert cube.dtype == torch.float32
    # 192 mm of field of view over 32 voxels: 6 mm each.
    expected = (voxels - 1) / 2 + 30.0 / 6.0 * np.array(step)
    # Where the ball's voxels of 2 mm are averaged and interpolated, its centre keeps to a tenth of a voxel.
    np.testing.assert_allclose(centroid(cube), expected, atol=0.1)


@pytest.mark.parametrize("spacing_mm", [1.6, 3.0, 5.0])
def test_mass_is_kept_at_any_resolution_of_the_ct(spacing_mm):
    """A ball of water of 30 mm radius: its volume times its attenuation, in closed form."""
    volume = balls([(15.0, -9.0, 21.0)], radius_mm=30.0, spacing_mm=spacing_mm, side=int(160 / spacing_mm))
    cube = conditioning_cube(volume, space(), CAMERA, 32)
    expected = 4 / 3 * math.pi * 30.0**3 * float(mu_from_hu(np.zeros(1, np.float32))[0])
    # Voxels of 5 mm make a ball of 30 mm to about a percent.
    assert math.isclose(float(cube.sum()) * 6.0**3, expected, rel_tol=0.02)
    assert math.isclose(float(cube.max()), float(mu_from_hu(np.zeros(1, np.float32))[0]), rel_tol=1e-5)


@pytest.mark.parametrize("flip", [False, True])
def test_rows_and_columns_are_those_of_the_rendered_image(flip):
    """A small ball in the isocentre's plane, seen obliquely, off the detector's centre and mirrored."""
    rotation = so3.exp(torch.tensor([0.3, -0.4, 0.2], dtype=torch.float64)) @ AP
    oblique = space(rotation=rotation)
    camera = replace(CAMERA, cx=CAMERA.cx + 5, cy=CAMERA.cy - 4, fx=-CAMERA.fx if flip else CAMERA.fx)
    offset = rotation.mT @ torch.tensor([24.0, -36.0, 0.0], dtype=torch.float64)
    volume = balls([offset.tolist()])
    cube = conditioning_cube(volume, oblique, camera, 32)
    nominal = torch.tensor(oblique.nominal_camera_from_world, dtype=torch.float64)
    view = camera.resize(height=32, width=32)
    image = render(volume, view, nominal, RenderConfig(method="siddon", backend="cpu"))[0]
    # Perspective magnifies the near half of the ball more: far less than a tenth of a pixel.
    depth, row, column = centroid(cube)
    np.testing.assert_allclose((row, column), centroid(image[None])[1:], atol=0.1)
    assert math.isclose(depth, 15.5, abs_tol=0.1)


def test_depth_has_the_pixels_of_the_image():
    """A far ball and a near one, along the axis: depth in millimetres does not shrink with distance."""
    near, far = (
        centroid(conditioning_cube(balls([(0.0, y, 0.0)]), space(), CAMERA, 48)) for y in (40.0, -40.0)
    )
    # 192 mm over 48 voxels: 80 mm are 20.
    np.testing.assert_allclose(far - near, (20.0, 0.0, 0.0), atol=0.1)


def test_a_cube_of_nothing_and_of_a_point_behind_the_source_are_refused():
    volume = balls([(0.0, 0.0, 0.0)], side=8)
    with raises(UsageError, "model.invalid-value", "voxel", "0"):
        conditioning_cube(volume, space(), CAMERA, 0)
    behind = PoseSpace.about(
        torch.diag(torch.tensor([1.0, 1, 1, 1], dtype=torch.float64)), (0.0, 0.0, -5.0), length_mm=100.0
    )
    with raises(UsageError, "model.invalid-value", "isocentre", "-5"):
        conditioning_cube(volume, behind, CAMERA, 8)


def test_presets_have_the_size_they_claim():
    def weights(config):
        return sum(tensor.numel() for tensor in CTConditionedRegressor(config).state_dict().values())

    assert 0.9e6 < 4 * weights(CTConditionedRegressorConfig()) < 1.1e6  # bytes in float32
    assert 1.8e6 < weights(CTConditionedRegressorConfig.paper()) < 2.4e6
    published = CTConditionedRegressorConfig.paper(image_channels=2)
    assert (published.image_channels, published.ct_features, published.feature_px) == (2, 128, 64)
    assert (published.halvings, published.enlargement) == (2, 2)


def test_what_is_saved_comes_back(tmp_path):
    record = TrainingRecord(
        volume_sha256=None,
        camera=CAMERA,
        space=space(),
        rotation_deg=(30.0, 45.0, 15.0),
        translation_mm=(60.0, 60.0, 150.0),
        curves={},
    )
    saved = regressor(replace(SMALL, image_channels=2), gain=30.0)
    Checkpoint(networks={"ct_regressor": saved}, record=record).save(tmp_path / "model.safetensors")
    loaded = Checkpoint.load(tmp_path / "model.safetensors").networks["ct_regressor"]
    assert loaded.config == saved.config
    image, ct = uniform(2, 2, 32, 32), uniform(1, 16, 16, 16)
    torch.testing.assert_close(loaded(image, ct), saved(image, ct), rtol=0, atol=0)


@pytest.mark.parametrize(
    ("image", "ct", "fault"),
    [
        ((2, 32, 24), (1, 16, 16, 16), ("model.wrong-shape", "images", "1 x 32 x 32", "1 x 32 x 24")),
        ((2, 3, 32, 32), (1, 16, 16, 16), ("model.wrong-shape", "images", "1 x 32 x 32", "3 x 32 x 32")),
        ((2, 32, 32), (1, 16, 16, 8), ("model.wrong-shape", "cubes", "16 x 16 x 16", "16 x 16 x 8")),
        ((3, 32, 32), (2, 16, 16, 16), ("model.wrong-shape", "3 images", "1 or 3 CTs", "2")),
    ],
)
def test_inputs_of_another_size_are_refused(image, ct, fault):
    with raises(UsageError, *fault):
        regressor()(uniform(*image), uniform(*ct))


@pytest.mark.parametrize(
    ("settings", "fault"),
    [
        ({"head": "euler"}, ("model.invalid-value", "head")),
        ({"rotation_deg": (120.0, 120.0, 120.0)}, ("model.invalid-value", "rotation_deg", "180")),
        ({"stages": ()}, ("model.invalid-value", "image_features", "volume_features", "stages")),
        ({"hidden": (64, 0)}, ("model.invalid-value", "channels", "norm_groups", "1")),
        ({"image_channels": 0}, ("model.invalid-value", "channels", "norm_groups", "1")),
        ({"radix": 1}, ("model.invalid-value", "radix", "2", "1 and 1")),
        ({"cardinality": 0}, ("model.invalid-value", "cardinality", "1", "2 and 0")),
        ({"stages": (32, 15)}, ("model.invalid-value", "stages", "radix")),
        ({"feature_px": 20}, ("model.invalid-value", "feature_px", "8", "20")),
        ({"image_px": 96}, ("model.invalid-value", "image_px")),
        ({"image_px": 16}, ("model.invalid-value", "image_px")),
        ({"image_px": 256}, ("model.invalid-value", "image_px", "256")),
        ({"cube_voxels": 33}, ("model.invalid-value", "cube_voxels")),
        ({"cube_voxels": 48}, ("model.invalid-value", "cube_voxels", "feature_px", "48")),
        ({"cube_voxels": 128}, ("model.invalid-value", "cube_voxels", "feature_px", "128")),
        ({"cube_voxels": 32, "depth_features": 6}, ("model.invalid-value", "depth_features", "4", "6")),
    ],
)
def test_settings_that_cannot_work_are_refused(settings, fault):
    with raises(UsageError, *fault):
        CTConditionedRegressorConfig(**settings)
