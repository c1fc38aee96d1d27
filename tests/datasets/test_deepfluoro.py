"""DeepFluoro's layout in small: landmarks fall on the pixels they were drawn at, our DRR is the image."""

import pickle
from dataclasses import replace

import h5py
import numpy as np
import pytest

from isoclinic.datasets import DeepFluoro, DeepFluoroConfig
from isoclinic.errors import InputError, UsageError
from isoclinic.rendering import render
from isoclinic.volumes import GeometryWarning, Volume, line_integrals
from phantoms import phantom
from raising import raises

from .files import EXACT, OPEN_BEAM, landmarks, scene, write_deepfluoro

WHOLE = DeepFluoroConfig(border_px=0)
# Landmarks lie anywhere in the pixel they were drawn at; matrices in float32 add less than 1e-3 px.
HALF_A_PIXEL = 0.501
# Images in float32 (relative 6e-8, on line integrals up to 10), matrices in float32.
DRR_TOLERANCE = 5e-3


@pytest.fixture(scope="module")
def ct() -> Volume:
    return phantom(3, (40, 36, 44))


@pytest.fixture(scope="module")
def points(ct):
    return landmarks(ct, 14, seed=1)


@pytest.fixture(scope="module")
def path(ct, points, tmp_path_factory):
    """Projections 1 and 3 are upside down."""
    path = tmp_path_factory.mktemp("deepfluoro") / "ipcai_2020_full_res_data.h5"
    write_deepfluoro(path, ct, [scene(ct, seed) for seed in range(4)], points, turn=(1, 3))
    return path


def assert_landmarks_on_marks(sample, points):
    assert sample.landmark_names == tuple(points)
    np.testing.assert_allclose(sample.landmarks_world, np.stack(list(points.values())), atol=1e-4)
    pixels = sample.xray.camera.project(sample.landmarks_world, sample.camera_from_world).numpy()
    drawn = np.argwhere(sample.xray.pixels < len(points))
    marks = {int(sample.xray.pixels[row, column]): (column, row) for row, column in drawn}
    assert len(marks) == len(points)
    for number, pixel in enumerate(pixels):
        assert np.abs(pixel - marks[number]).max() <= HALF_A_PIXEL


def assert_drr_is_image(sample, number_of_marks):
    drr = render(sample.volume, sample.xray.camera, sample.camera_from_world, EXACT)[0].numpy()
    unmarked = sample.xray.pixels >= number_of_marks
    image = np.log(OPEN_BEAM / np.maximum(sample.xray.pixels, 1))
    assert np.ptp(drr) > 1
    assert np.abs(drr - image)[unmarked].max() < DRR_TOLERANCE


@pytest.mark.parametrize("config", [WHOLE, replace(WHOLE, upright=False), DeepFluoroConfig(border_px=4)])
@pytest.mark.parametrize("xray", ["000", "001", "002", "003"])
def test_landmarks_and_drr_fit_the_image(path, points, xray, config):
    sample = DeepFluoro(path, config)[f"17-1882/{xray}"]
    assert (sample.name, sample.subject) == (f"17-1882/{xray}", "17-1882")
    assert_landmarks_on_marks(sample, points)
    assert_drr_is_image(sample, len(points))


def test_real_ct(shared_data, tmp_path):
    ct = Volume.read(
        shared_data / "abdomen_pelvis_3mm.nii.gz", labels=shared_data / "abdomen_pelvis_3mm_labels.nii.gz"
    )
    points = landmarks(ct, 14, seed=2)
    detector = {"size": (120, 110), "spacing_mm": (3.4, 3.4), "principal_px": (54.5, 59.5)}
    write_deepfluoro(tmp_path / "file.h5", ct, [scene(ct, s, **detector) for s in (4, 5)], points, turn=(1,))
    dataset = DeepFluoro(tmp_path / "file.h5", WHOLE)
    for sample in dataset.samples("17-1882"):
        assert_landmarks_on_marks(sample, points)
        assert_drr_is_image(sample, len(points))
    volume = dataset.volume("17-1882")
    assert volume.label_names == ct.label_names
    # The same tissue at the same place, whatever the order of the voxels.
    for point in np.random.default_rng(0).uniform(-150, 150, (200, 3)) + ct.isocentre_world:
        assert _at(volume, point) == _at(ct, point)


def _at(volume, point):
    voxel = tuple(np.rint(np.linalg.inv(volume.world_from_voxel) @ [*point, 1])[:3].astype(int))
    return volume.hu[voxel], volume.labels[voxel]


def test_turning_shows_the_same_scene_the_other_way_up(path):
    upright, stored = (DeepFluoro(path, replace(WHOLE, upright=up))["17-1882/001"] for up in (True, False))
    np.testing.assert_array_equal(upright.xray.pixels, stored.xray.pixels[::-1, ::-1])
    assert (upright.xray.camera.fx, upright.xray.camera.fy) == (stored.xray.camera.fx, stored.xray.camera.fy)
    # The head is up: world z grows against y.
    assert upright.camera_from_world[1, 2] < 0 < stored.camera_from_world[1, 2]
    corner = np.array([0.0, 0.0])
    last = [stored.xray.camera.width - 1, stored.xray.camera.height - 1]
    np.testing.assert_allclose(upright.xray.pixels_from_stored(corner), last, atol=1e-9)


def test_camera_and_meaning_of_pixels(path):
    sample = DeepFluoro(path, WHOLE)["17-1882/000"]
    camera = sample.xray.camera
    assert (camera.width, camera.height) == (76, 60)
    assert camera.sdd_mm == pytest.approx(1000, abs=1e-3)
    assert camera.pixel_spacing_mm == pytest.approx((5.0, 4.4), abs=1e-5)
    assert (camera.cx, camera.cy) == (36.0, 31.5)
    assert camera.fx < 0 < camera.fy  # seen from the detector
    assert np.linalg.det(sample.camera_from_world[:3, :3]) == pytest.approx(1, abs=1e-9)
    assert (sample.xray.polarity, sample.xray.pixel_scale) == ("bright_air", "linear")
    assert set(sample.xray.provenance) >= {"sdd_mm", "pixel_spacing_mm", "principal_point_px", "polarity"}


def test_border_is_cut_off_all_round(path):
    whole, cut = (DeepFluoro(path, DeepFluoroConfig(border_px=px))["17-1882/001"].xray for px in (0, 4))
    np.testing.assert_array_equal(cut.pixels, whole.pixels[4:-4, 4:-4])
    with raises(UsageError, "xray.invalid-value", "60 x 76"):
        DeepFluoro(path)["17-1882/001"]


def test_line_integrals_of_a_fixed_open_beam(path):
    """Both ways give line integrals up to a constant, at pixels without marks and brighter than the floor."""
    raw, log = (DeepFluoro(path, replace(WHOLE, open_beam=beam))["17-1882/000"] for beam in (None, 65487.0))
    seen = raw.xray.pixels > 100
    assert seen.mean() > 0.5
    difference = (line_integrals(log.xray)[0] - line_integrals(raw.xray)[0])[seen]
    assert np.ptp(difference) < 1e-3
    np.testing.assert_allclose(log.xray.pixels[seen], np.log(65487 / raw.xray.pixels[seen]), atol=1e-5)


def test_half_voxel_correction(path, ct):
    """Stored: half a voxel towards L, P and S from the truth, in the CT; so the camera is moved the same."""
    corrected = DeepFluoro(path, WHOLE)["17-1882/000"].camera_from_world.numpy()
    stored = DeepFluoro(path, replace(WHOLE, half_voxel_correction=False))[
        "17-1882/000"
    ].camera_from_world.numpy()
    shift = np.linalg.inv(stored) @ corrected
    # float32 matrices over distances of about 1 m
    np.testing.assert_allclose(shift[:3, 3], np.array([-1, -1, 1]) * ct.spacing_mm / 2, atol=1e-3)
    np.testing.assert_allclose(shift[:3, :3], np.eye(3), atol=1e-6)


def test_names_and_subjects(path):
    dataset = DeepFluoro(path)
    assert dataset.subjects == ("17-1882",)
    assert dataset.names == tuple(f"17-1882/00{n}" for n in range(4))
    assert len(dataset) == 4
    with raises(UsageError, "dataset.unknown-name", "17-1883", "17-1882"):
        dataset.volume("17-1883")
    with raises(UsageError, "dataset.unknown-name", "007", "17-1882", "000", "001", "002", "003"):
        dataset["17-1882/007"]
    with raises(UsageError, "dataset.unknown-name", "18-1109"):
        dataset.samples("18-1109")


def test_samples_are_read_one_at_a_time_and_share_their_ct(path, monkeypatch):
    dataset = DeepFluoro(path, WHOLE)
    read = []
    sample = DeepFluoro._sample
    monkeypatch.setattr(
        DeepFluoro, "_sample", lambda self, root, *a: read.append(a[1]) or sample(self, root, *a)
    )
    samples = dataset.samples("17-1882")
    assert read == []
    first, second = next(samples), next(samples)
    assert read == ["000", "001"]
    assert first.volume is second.volume
    copy = pickle.loads(pickle.dumps(dataset))  # for workers
    assert copy._latest is None
    assert copy["17-1882/003"].name == "17-1882/003"


def test_questionable_frames_are_left_out_unless_asked_for(path):
    config = replace(WHOLE, questionable=("17-1882/002",))
    assert DeepFluoro(path, config).names == ("17-1882/000", "17-1882/001", "17-1882/003")
    assert len(DeepFluoro(path, replace(config, include_questionable=True))) == 4
    with raises(UsageError, "dataset.unknown-name", "17-1882/999"):
        DeepFluoro(path, replace(WHOLE, questionable=("17-1882/999",)))


def test_landmarks_elsewhere_than_the_pose_says_are_reported(path, tmp_path):
    """The check that a real file will be put to: the pose inverted, as if it were volume to camera."""
    copy = tmp_path / "copy.h5"
    copy.write_bytes(path.read_bytes())
    with h5py.File(copy, "r+") as file:
        pose = file["17-1882/projections/000/gt-poses/cam-to-pelvis-vol"]
        pose[...] = pose[()] @ np.diag([-1, -1, 1, 1])
    with pytest.warns(GeometryWarning, match=r"gt-landmarks lie \d+\.\d px \(median\)"):
        DeepFluoro(copy, WHOLE)["17-1882/000"]


def test_config_rejects_nonsense():
    with raises(UsageError, "dataset.invalid-value", "border_px"):
        DeepFluoroConfig(border_px=-1)
    with raises(UsageError, "dataset.invalid-value", "open_beam"):
        DeepFluoroConfig(open_beam=0.0)


@pytest.mark.parametrize(
    "key",
    [
        *("proj-params/intrinsic", "proj-params/extrinsic", "proj-params/num-rows"),
        *(
            "17-1882/vol/pixels",
            "17-1882/vol/origin",
            "17-1882/vol-seg/image/pixels",
            "17-1882/vol-landmarks",
        ),
        *("17-1882/vol-seg/labels-def", "17-1882/projections/000/image/pixels"),
        *("17-1882/projections/000/gt-poses/cam-to-pelvis-vol", "17-1882/projections/000/rot-180-for-up"),
        "17-1882/projections/000/gt-poses",
    ],
)
def test_missing_keys_are_named(path, tmp_path, key):
    copy = tmp_path / "copy.h5"
    copy.write_bytes(path.read_bytes())
    with h5py.File(copy, "r+") as file:
        del file[key]
    with raises(InputError, "dataset.incomplete", key):
        DeepFluoro(copy, WHOLE)["17-1882/000"]


@pytest.mark.parametrize(
    ("key", "value", "fault"),
    [
        ("17-1882/vol/origin", [1.0, 2.0], ("dataset.wrong-shape", "/17-1882/vol/origin", "(2,)")),
        ("17-1882/vol/pixels", np.zeros((4, 4)), ("dataset.wrong-shape", "/17-1882/vol/pixels", "(4, 4)")),
        (
            "17-1882/vol-seg/image/origin",
            [0.0, 0.0, 0.0],
            ("dataset.wrong-shape", "/17-1882/vol-seg/image/pixels", "/17-1882/vol/pixels"),
        ),
        ("17-1882/vol-landmarks/L03", [np.nan, 0, 0], ("dataset.not-finite", "L03")),
        ("17-1882/vol-landmarks/L03", "left", ("dataset.invalid-value", "L03")),
        (
            "17-1882/projections/000/image/pixels",
            np.ones((60, 60)),
            ("dataset.wrong-shape", "60 x 76", "(60, 60)"),
        ),
        ("17-1882/vol-seg/labels-def/1", [1, 2], ("dataset.invalid-value", "labels-def/1")),
        ("proj-params/intrinsic", np.eye(4), ("dataset.wrong-shape", "/proj-params/intrinsic", "(4, 4)")),
        ("proj-params/intrinsic", np.ones((3, 3)), ("dataset.invalid-value", "intrinsic matrix")),
        ("proj-params/extrinsic", np.diag([2.0, 1, 1, 1]), ("pose.not-rigid", "cam-to-pelvis-vol")),
    ],
)
@pytest.mark.filterwarnings("ignore::isoclinic.volumes.GeometryWarning")
def test_entries_that_cannot_be_used(path, tmp_path, key, value, fault):
    copy = tmp_path / "copy.h5"
    copy.write_bytes(path.read_bytes())
    with h5py.File(copy, "r+") as file:
        del file[key]
        file[key] = value
    with raises(InputError, *fault):
        DeepFluoro(copy, WHOLE)["17-1882/000"]
