"""Surface and landmarks of vertebrae, on solids where both are known and on a real CT sampled in two ways."""

from dataclasses import replace

import nibabel as nib
import numpy as np
import pytest
from scipy.ndimage import affine_transform

from isoclinic.datasets.preparation import (
    LandmarkConfig,
    LumbarConfig,
    SurfaceConfig,
    extract_lumbar,
    find_landmarks,
    surface_of,
)
from isoclinic.errors import InputError, UsageError
from isoclinic.volumes import Volume
from raising import raises
from spine import FRONT_MM, HALF_HEIGHT_MM, HEIGHTS_MM, NUMBERS, TIPS, VERTEBRA_MM3, spine

LABELS = list(NUMBERS.values())
GRIDS = [
    pytest.param((2.0, 2.0, 2.0), (1, 1, 1), id="ras"),
    pytest.param((1.5, 1.5, 2.5), (-1, 1, 1), id="las"),
    pytest.param((2.5, 2.0, 1.5), (-1, -1, 1), id="lps"),
]


def landmarks_of(volume: Volume):
    labels = [label for label in LABELS if (volume.labels == label).any()]
    lumbar = extract_lumbar(volume, LumbarConfig())
    return find_landmarks(lumbar, surface_of(lumbar, labels, SurfaceConfig()), labels, LandmarkConfig())


@pytest.mark.slow
@pytest.mark.parametrize(("spacing_mm", "axes"), GRIDS)
def test_surface_encloses_the_solids_and_faces_outwards(spacing_mm, axes):
    surface = surface_of(spine(spacing_mm, axes=axes), LABELS, SurfaceConfig())
    for label in LABELS:
        of_label = surface.labels[surface.triangles[:, 0]] == label
        corners = surface.vertices_world[surface.triangles[of_label]]
        # Gauss: positive where triangles are counter-clockwise seen from outside.
        enclosed_mm3 = np.einsum("ij,ij->i", corners[:, 0], np.cross(corners[:, 1], corners[:, 2])).sum() / 6
        # The threshold of 100 HU lies below the middle between 40 and 300 HU, which puts the surface a
        # quarter of a voxel (0.6 mm) too far out; it has about 100 cm^2.
        assert VERTEBRA_MM3 < enclosed_mm3 < VERTEBRA_MM3 + 0.6 * 10_000


@pytest.mark.slow
@pytest.mark.parametrize(("spacing_mm", "axes"), GRIDS)
def test_landmarks_of_the_solids(spacing_mm, axes):
    found = landmarks_of(spine(spacing_mm, axes=axes))
    assert list(found)[:7] == [
        f"L1/{name}"
        for name in ("centroid", "superior", "inferior", "anterior", "left", "right", "posterior")
    ]
    assert len(found) == 7 * len(LABELS)
    # A surface is found to half a voxel, a tip may lose its edges: one voxel.
    voxel_mm = max(spacing_mm)
    for name, height in HEIGHTS_MM.items():
        for side, tip in TIPS.items():
            assert np.linalg.norm(found[f"{name}/{side}"] - tip - (0, 0, height)) < voxel_mm, (name, side)
        centroid = found[f"{name}/centroid"]
        assert abs(centroid[0]) < 0.5 and abs(centroid[2] - height) < 0.5
        for side, sign in (("superior", 1), ("inferior", -1)):
            x, y, z = found[f"{name}/{side}"]
            assert abs(x) < 0.5 and centroid[1] < y < FRONT_MM
            assert abs(z - height - sign * HALF_HEIGHT_MM) < 0.5 * voxel_mm + 0.5
        assert abs(found[f"{name}/anterior"][1] - FRONT_MM) < 0.5 * voxel_mm + 0.5


@pytest.fixture(scope="module")
def real_ct(shared_data) -> Volume:
    """The abdomen at 3 mm; its labels 6 to 10 are L1 to L5."""
    volume = Volume.read(
        shared_data / "abdomen_pelvis_3mm.nii.gz", labels=shared_data / "abdomen_pelvis_3mm_labels.nii.gz"
    )
    lookup = np.zeros(256, dtype=np.uint8)
    lookup[6:11] = LABELS
    return replace(volume, labels=lookup[volume.labels], label_names={})


def resampled(volume: Volume, spacing_mm) -> Volume:
    """Trilinear, labels of the nearest voxel."""
    scale = np.array(spacing_mm) / volume.spacing_mm
    shape = tuple(np.floor((np.array(volume.shape) - 1) / scale).astype(int))
    hu = affine_transform(volume.hu.astype(np.float32), scale, 0.0, shape, order=1)
    labels = affine_transform(volume.labels, scale, 0.0, shape, order=0)
    affine = volume.world_from_voxel @ np.diag([*scale, 1.0])
    return Volume(hu=hu, labels=labels, world_from_voxel=affine)


@pytest.mark.slow
def test_landmarks_of_a_real_ct_stay_where_they_are_when_it_is_resampled(real_ct):
    """Less far than a voxel.

    Measured from 3 to 2 mm: centroids 0.5 mm at most, end plates and front wall 1.6, tips 2.4 mm; 0.7 mm on
    average. From 0.7 x 0.7 x 2.5 mm (thoracic spine of the chest CT) to 1.2 mm: 0.3, 1.7 and 1.0 mm.
    """
    before, after = landmarks_of(real_ct), landmarks_of(resampled(real_ct, (2.0, 2.0, 2.0)))
    moved_mm = {name: float(np.linalg.norm(after[name] - point)) for name, point in before.items()}
    for name, distance_mm in moved_mm.items():
        kind = name.partition("/")[2]
        assert distance_mm < {"centroid": 0.6, "left": 3.0, "right": 3.0, "posterior": 3.0}.get(kind, 2.0), (
            name
        )
    assert np.mean(list(moved_mm.values())) < 0.9


def test_landmarks_of_a_real_ct_are_where_anatomy_says(real_ct):
    found = landmarks_of(real_ct)
    for name in NUMBERS:
        points = {
            side: found[f"{name}/{side}"] for side in ("left", "right", "anterior", "posterior", "superior")
        }
        assert points["left"][0] + 30 < points["right"][0]
        assert points["posterior"][1] + 50 < points["anterior"][1]
        assert found[f"{name}/inferior"][2] + 15 < points["superior"][2]


def test_denoising_evens_out_noise_in_millimetres():
    left = {}
    for spacing_mm in ((2.5, 2.5, 2.5), (4.0, 4.0, 4.0)):
        volume = spine(spacing_mm)
        soft = volume.labels[2:-2, 2:-2] == 0
        soft[:, 3:] = False  # fat behind the spine
        noisy, smooth = (
            extract_lumbar(volume, LumbarConfig(margin_mm=1000, denoising_mm2=each))
            .hu[2:-2, 2:-2][soft]
            .std()
            for each in (0.0, 2.0)
        )
        assert noisy == volume.hu[2:-2, 2:-2][soft].std()
        left[spacing_mm] = smooth / noisy
    assert max(left.values()) < 0.95
    # The same duration is more voxels squared where voxels are smaller.
    assert left[2.5, 2.5, 2.5] < left[4.0, 4.0, 4.0] - 0.1


def test_crop_and_the_rest_of_the_tissue():
    volume = spine()
    box = extract_lumbar(volume, LumbarConfig(margin_mm=5, denoising_mm2=0))
    assert box.shape < volume.shape
    occupied = np.argwhere(box.labels > 0)
    assert occupied.min(axis=0).tolist() == [2, 2, 2]  # 5 mm of 2.5 mm voxels
    alone = extract_lumbar(volume, LumbarConfig(margin_mm=5, denoising_mm2=0, vertebrae_only=True))
    assert (alone.hu[alone.labels == 0] == -1000).all()
    assert np.array_equal(alone.hu[alone.labels > 0], box.hu[box.labels > 0])


def test_surface_file(tmp_path):
    surface = surface_of(spine((3.0, 3.0, 3.0)), LABELS[:2], SurfaceConfig())
    surface.write(tmp_path / "surface.surf.gii")
    points, triangles, labels = nib.load(tmp_path / "surface.surf.gii").darrays
    np.testing.assert_allclose(points.data, surface.vertices_world, atol=1e-4)  # float32 of 100 mm
    assert np.array_equal(triangles.data, surface.triangles)
    assert np.array_equal(labels.data, surface.labels)


def test_a_vertebra_without_bone():
    volume = spine((4.0, 4.0, 4.0))
    labels = np.zeros_like(volume.labels)
    labels[15:18, 15:18, 30] = 20
    with raises(InputError, "preparation.no-bone", "20", "100 HU"):
        surface_of(replace(volume, hu=np.full_like(volume.hu, 40), labels=labels), [20], SurfaceConfig())


@pytest.mark.parametrize(
    ("config", "values"),
    [
        (SurfaceConfig, {"rim_mm": -1.0}),
        (SurfaceConfig, {"closing_mm": -1.0}),
        (LandmarkConfig, {"radius_mm": 0.0}),
        (LandmarkConfig, {"tip_radius_mm": 0.0}),
        (LandmarkConfig, {"tip_mm": -1.0}),
        (LumbarConfig, {"margin_mm": -1.0}),
        (LumbarConfig, {"denoising_mm2": -0.1}),
    ],
)
def test_settings_that_make_no_sense(config, values):
    with raises(UsageError, "preparation.invalid-value", next(iter(values))):
        config(**values)
