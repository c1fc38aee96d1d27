"""Small files of Ljubljana's layout: points fall where they were projected to, our DRR is the angiogram."""

from dataclasses import replace

import h5py
import numpy as np
import pytest

from isoclinic.datasets import Ljubljana, LjubljanaConfig
from isoclinic.errors import InputError, UsageError
from isoclinic.rendering import render
from isoclinic.volumes import Volume, line_integrals
from raising import raises

from .files import EXACT, landmarks, scene, write_ljubljana


@pytest.fixture(scope="module")
def vessels() -> Volume:
    """Tubes of 2000 HU in air, on a grid of three spacings: no two axes can be exchanged unnoticed."""
    shape, spacing_mm = (52, 44, 36), np.array([2.0, 2.5, 3.5])
    rng = np.random.default_rng(6)
    voxels = np.stack(np.indices(shape), axis=-1)
    centres = (voxels - (np.array(shape) - 1) / 2) * spacing_mm
    hu = np.full(shape, -1000, dtype=np.float32)
    for _ in range(5):
        along = rng.normal(size=3)
        along /= np.linalg.norm(along)
        offset = centres - rng.uniform(-25, 25, 3)
        hu[np.linalg.norm(offset - (offset @ along)[..., None] * along, axis=-1) < 5] = 1000
    affine = np.diag([*spacing_mm, 1.0])
    affine[:3, 3] = (-70.0, 12.0, 33.0)
    return Volume(hu=hu, world_from_voxel=affine)


@pytest.fixture(scope="module")
def views(vessels):
    return {
        "ap": scene(vessels, 0),
        "lat": scene(vessels, 2, sdd_mm=1100.0, size=(64, 52)),
        "ap-max": scene(vessels, 4),
    }


@pytest.fixture(scope="module")
def points(vessels):
    return landmarks(vessels, 9, seed=3)


@pytest.fixture(scope="module")
def path(vessels, views, points, tmp_path_factory):
    path = tmp_path_factory.mktemp("ljubljana") / "ljubljana.h5"
    write_ljubljana(path, vessels, views, points)
    return path


@pytest.mark.parametrize("view", ["ap", "lat"])
def test_points_and_drr_fit_the_image(path, views, points, vessels, view):
    sample = Ljubljana(path)[f"subject01/{view}"]
    camera = sample.xray.camera
    pixels = camera.project(sample.landmarks_world, sample.camera_from_world).numpy()
    expected = [views[view].pixel(point) for point in points.values()]
    np.testing.assert_allclose(pixels, expected, atol=1e-3)  # float32 over 1 m
    drr = render(sample.volume, camera, sample.camera_from_world, EXACT)[0].numpy()
    assert np.ptp(drr) > 0.5
    # Stored in float32 as 0.75 - DRR / 10, and the commonest value is that of a bin 1/1024 of the range wide.
    image, _ = line_integrals(sample.xray)
    assert np.abs(10 * image - drr).max() < 2 * np.ptp(drr) / 1024
    assert (camera.height, camera.width) == views[view].size
    assert camera.sdd_mm == pytest.approx(views[view].sdd_mm)
    assert camera.pixel_spacing_mm == pytest.approx(views[view].spacing_mm)
    assert camera.fx < 0 < camera.fy
    assert (sample.xray.polarity, sample.xray.pixel_scale) == ("bright_air", "log")


def test_vessels_lie_where_they_were(path, vessels):
    volume = Ljubljana(path).volume("subject01")
    assert volume.orientation == "LAS"
    np.testing.assert_allclose(volume.isocentre_world, vessels.isocentre_world, atol=1e-9)
    # The writer turned the first axis round; the affine says so.
    np.testing.assert_array_equal(volume.hu[::-1], vessels.hu)


@pytest.mark.parametrize(("threshold", "kept"), [(2000.0, True), (2000.5, False)])
def test_background_of_the_volume_becomes_air(path, threshold, kept):
    volume = Ljubljana(path, LjubljanaConfig(vessel_threshold=threshold)).volume("subject01")
    assert set(np.unique(volume.hu)) == ({-1000.0, 1000.0} if kept else {-1000.0})


def test_background_of_the_image(path, tmp_path):
    """Brighter than the background, as where the patient moved: cut off. Without subtraction: as stored."""
    copy = tmp_path / "copy.h5"
    copy.write_bytes(path.read_bytes())
    with h5py.File(copy, "r+") as file:
        pixels = file["subject01/proj-ap/pixels"]
        pixels[:5, :7] = 0.9
        stored = pixels[()]
    subtracted = Ljubljana(copy)["subject01/ap"].xray
    assert subtracted.pixels.max() == 0
    assert (subtracted.pixels[:5, :7] == 0).all()
    np.testing.assert_allclose(subtracted.pixels[20:], stored[20:] - 0.75, atol=2e-4)
    raw = Ljubljana(copy, LjubljanaConfig(subtract_background=False))["subject01/ap"].xray
    np.testing.assert_array_equal(raw.pixels, stored)


@pytest.mark.parametrize("axis", [0, 2])
def test_extrinsics_of_the_other_handedness(path, tmp_path, axis):
    """A camera frame with one axis reversed, and its intrinsics with it, says the same."""
    copy = tmp_path / "copy.h5"
    copy.write_bytes(path.read_bytes())
    flip = np.ones(3)
    flip[axis] = -1
    with h5py.File(copy, "r+") as file:
        view = file["subject01/proj-ap"]
        view["extrinsic"][:3] = np.diag(flip) @ view["extrinsic"][:3]
        # Pixels are K x / z: reversing z changes the signs of both focal lengths, reversing x that of one.
        intrinsic = view["intrinsic"][()]
        signs = (-1, -1) if axis == 2 else flip[:2]
        intrinsic[[0, 1], [0, 1]] *= signs
        view["intrinsic"][...] = intrinsic
    expected, got = Ljubljana(path)["subject01/ap"], Ljubljana(copy)["subject01/ap"]
    assert got.xray.camera == expected.xray.camera
    np.testing.assert_allclose(got.camera_from_world, expected.camera_from_world, atol=1e-9)


def test_views(path):
    assert Ljubljana(path).names == ("subject01/ap", "subject01/lat")
    everything = Ljubljana(path, LjubljanaConfig(views=("ap", "ap-max")))
    assert everything.names == ("subject01/ap", "subject01/ap-max")
    assert everything["subject01/ap-max"].name == "subject01/ap-max"
    with raises(InputError, "dataset.unknown-name", "subject01", "lat-max", "ap-max"):
        Ljubljana(path, LjubljanaConfig(views=("lat-max",)))
    with raises(UsageError, "dataset.invalid-value", "views"):
        LjubljanaConfig(views=())


@pytest.mark.parametrize(
    "key", ["volume/pixels", "volume/spacing", "points", "proj-ap/extrinsic", "proj-ap/row-spacing"]
)
def test_missing_keys_are_named(path, tmp_path, key):
    copy = tmp_path / "copy.h5"
    copy.write_bytes(path.read_bytes())
    with h5py.File(copy, "r+") as file:
        del file[f"subject01/{key}"]
    with raises(InputError, "dataset.incomplete", key):
        Ljubljana(copy, replace(LjubljanaConfig(), views=("ap",)))["subject01/ap"]
