"""DiffDRR and nanodrr, run by the Python lines in their files, show the picture that we show."""

import json
import sys
from types import ModuleType

import nibabel as nib
import numpy as np
import pytest
import torch

from isoclinic.errors import InputError
from isoclinic.exchange import PosedCamera, read_pose, write_pose
from isoclinic.geometry import Camera, se3
from isoclinic.rendering import RenderConfig, render
from isoclinic.volumes import Volume
from raising import raises

from .views import F, posed

CAMERA = Camera.from_pixel_spacing(
    width=56, height=45, pixel_spacing_mm=(6.4, 5.3), sdd_mm=1010, principal_point_px=(24.0, 25.5)
)
# Siddon against Siddon, trilinear against trilinear: what is left is float32 there, and where samples lie.
# A shift by a single pixel leaves 0.97 or less, as the test shows.
NCC = 0.9995


@pytest.fixture
def ct_path(tmp_path, monkeypatch):
    """A CT, the file that the lines read: oblong ellipsoids of one HU, so that every attenuation is alike.

    One voxel of -799 HU makes DiffDRR's scale begin there, as for air.
    """
    shape, spacing_mm = (44, 36, 40), (4.5, 5.0, 4.0)
    rng = np.random.default_rng(8)
    points = (np.stack(np.indices(shape), axis=-1) - (np.array(shape) - 1) / 2) * spacing_mm
    hu = np.full(shape, -1000, dtype=np.int16)
    for _ in range(9):
        centre, size = rng.uniform(-50, 50, 3), rng.uniform(8, 35, 3)
        hu[np.linalg.norm((points - centre) / size, axis=-1) < 1] = 200
    hu[0, 0, 0] = -799
    world_from_voxel = np.diag([-spacing_mm[0], spacing_mm[1], spacing_mm[2], 1.0])  # x to the left
    world_from_voxel[:3, 3] = (120.0, -210.0, 790.0)
    nib.save(nib.Nifti1Image(hu, world_from_voxel), tmp_path / "ct.nii.gz")
    monkeypatch.chdir(tmp_path)
    return tmp_path / "ct.nii.gz"


def views():
    """Seen from the source, and mirrored; oblique, the phantom's centre near the principal axis."""
    pose = posed("frontal", "square").camera_from_world
    tangent = torch.tensor([0.3, -0.5, 0.2, 4.0, 6.0, 30.0], dtype=torch.float64)
    isocentre = torch.tensor([23.0, -122.0, 868.0], dtype=torch.float64)
    pose = se3.perturb(pose, tangent, isocentre)
    for camera in (CAMERA, CAMERA.flip(left_right=True), CAMERA.flip(top_bottom=True)):
        yield PosedCamera(camera_from_world=pose, camera=camera)


def run_lines(path):
    """Execute the lines that the file recommends; the image [H, W] they end in."""
    names = {}
    exec("\n".join(json.loads(path.read_text())["python"]), names)
    return names["image"][0, 0].numpy()


def picture(view, ct_path, method):
    """Our own image [H, W]."""
    config = RenderConfig(method=method, voxel_mm="full", backend="cpu")
    return render(Volume.read(ct_path), view.camera, view.camera_from_world, config)[0].numpy()


def ncc(a, b):
    return np.corrcoef(a.ravel(), b.ravel())[0, 1]


def assert_same_picture(theirs, ours):
    assert theirs.shape == ours.shape
    assert ncc(theirs, ours) > NCC
    others = [np.roll(theirs, 1, axis=0), np.roll(theirs, 1, axis=1), theirs[:, ::-1], theirs[::-1]]
    assert max(ncc(other, ours) for other in others) < 0.97


@pytest.mark.parametrize("index", range(3))
def test_nanodrr_shows_the_same_picture(index, ct_path, tmp_path):
    pytest.importorskip("nanodrr.drr")
    view = list(views())[index]
    write_pose(tmp_path / "view.json", view, "nanodrr")
    assert_same_picture(run_lines(tmp_path / "view.json"), picture(view, ct_path, "trilinear"))


@pytest.mark.parametrize("index", range(3))
def test_diffdrr_shows_the_same_picture(index, ct_path, tmp_path, monkeypatch):
    pytest.importorskip("diffdrr.drr")
    # diffdrr.data needs pandas for its example only.
    monkeypatch.setitem(sys.modules, "pandas", ModuleType("pandas"))
    view = list(views())[index]
    write_pose(tmp_path / "view.json", view, "diffdrr")
    assert_same_picture(run_lines(tmp_path / "view.json"), picture(view, ct_path, "siddon"))


@pytest.mark.parametrize("index", range(3))
def test_diffdrr_views_of_the_other_orientation_are_read(index, ct_path, tmp_path, monkeypatch):
    """From behind, where DiffDRR's own change of frame mirrors space."""
    pytest.importorskip("diffdrr.drr")
    monkeypatch.setitem(sys.modules, "pandas", ModuleType("pandas"))
    write_pose(tmp_path / "view.json", list(views())[index], "diffdrr")
    document = json.loads((tmp_path / "view.json").read_text())
    document["read"]["orientation"] = "PA"
    document["translation"][1] -= 1450  # to the other side of the phantom
    (tmp_path / "view.json").write_text(json.dumps(document))
    back = read_pose(tmp_path / "view.json", "diffdrr")
    assert_same_picture(run_lines(tmp_path / "view.json"), picture(back, ct_path, "siddon"))


def changed(tmp_path, format, group, **entries):
    path = tmp_path / "view.json"
    write_pose(path, next(views()), format)
    document = json.loads(path.read_text())
    (document[group] if group else document).update(entries)
    path.write_text(json.dumps(document))
    return path


@pytest.mark.parametrize(
    ("group", "entries", "fault"),
    [
        ("read", {"center_volume": True}, ("exchange.invalid-value", "center_volume")),
        ("read", {"orientation": "LAT"}, ("exchange.invalid-value", "orientation", "AP", "PA", "LAT")),
        (
            "forward",
            {"parameterization": "se3_log_map"},
            ("exchange.invalid-value", "parameterization", "euler_angles"),
        ),
        ("forward", {"convention": "AB"}, ("exchange.invalid-value", "forward", "convention", "'AB'")),
        ("DRR", {"reverse_x_axis": 1}, ("exchange.invalid-value", "reverse_x_axis", "1")),
        ("DRR", {"delx": 0}, ("exchange.invalid-value", "delx", "dely")),
        ("DRR", {"sdd": -1000}, ("geometry.invalid-value", "sdd_mm", "-1000.0")),
        (None, {"rotation": [0, 0]}, ("exchange.invalid-value", "rotation", "3")),
    ],
)
def test_diffdrr_entries_that_cannot_be_used(group, entries, fault, tmp_path):
    with raises(InputError, *fault):
        read_pose(changed(tmp_path, "diffdrr", group, **entries), "diffdrr")


@pytest.mark.parametrize(
    ("entries", "fault"),
    [
        ({"rt_inv": np.diag([1, 1, -1, 1]).tolist()}, ("pose.not-rigid", "rt_inv")),
        ({"rt_inv": F[:3].tolist()}, ("exchange.invalid-value", "rt_inv", "4 x 4")),
        ({"k_inv": np.eye(3)[::-1].tolist()}, ("exchange.invalid-value", "k_inv", "inverse")),
        ({"k_inv": np.diag([0, 1, 1]).tolist()}, ("exchange.invalid-value", "k_inv", "diagonal")),
        ({"height": 0}, ("geometry.invalid-value", "height")),
    ],
)
def test_nanodrr_entries_that_cannot_be_used(entries, fault, tmp_path):
    with raises(InputError, *fault):
        read_pose(changed(tmp_path, "nanodrr", None, **entries), "nanodrr")
