"""What docs/conventions.md says about frames, signs and files, held against independent formulas."""

from __future__ import annotations

import json
import re
from pathlib import Path

import numpy as np
import pytest
import SimpleITK as sitk
import torch
from scipy.linalg import expm
from scipy.spatial.transform import Rotation
from torch import Tensor

from isoclinic import Camera, Volume, XRay, XRayOptions
from isoclinic.geometry import gantry_view, se3, so4
from isoclinic.provenance import InputFile
from isoclinic.registration import PRESETS, PoseFile, views_from_file

PAGE = (Path(__file__).parents[2] / "docs" / "conventions.md").read_text(encoding="utf-8")
F = np.diag([-1.0, -1.0, 1.0, 1.0])
ISOCENTRE = torch.tensor([12.0, -30.0, 45.0], dtype=torch.float64)
CAMERA = Camera.from_pixel_spacing(width=300, height=200, pixel_spacing_mm=(0.8, 0.5), sdd_mm=1000.0)
# Directions of the page's words in RAS.
SIDES = {
    "left": (-1, 0, 0),
    "right": (1, 0, 0),
    "front": (0, 1, 0),
    "back": (0, -1, 0),
    "behind": (0, -1, 0),
}


def rows(heading: str) -> list[list[str]]:
    """Cells of the first table after a heading, without its own heading."""
    table = re.search(r"(?:^\|.*\n)+", PAGE[PAGE.index(f"\n{heading}\n") :], re.MULTILINE)
    assert table is not None
    return [[cell.strip() for cell in line.strip("|").split("|")] for line in table[0].splitlines()[2:]]


def example(name: str) -> str:
    """The file that the page shows."""
    found = re.search(rf"^`{name}`:\n\n```json\n(.*?)^```", PAGE, re.MULTILINE | re.DOTALL)
    assert found is not None
    return found[1]


def word(cell: str) -> np.ndarray:
    return np.array(next(SIDES[each] for each in re.findall(r"\w+", cell) if each in SIDES), dtype=float)


def test_lps_affines_become_ras_by_f_from_the_left(tmp_path):
    image = sitk.GetImageFromArray(np.linspace(-1000, 1000, 120).astype(np.int16).reshape(4, 5, 6))
    direction = Rotation.from_euler("xyz", [10, -20, 30], degrees=True).as_matrix()
    image.SetDirection(direction.ravel().tolist())
    image.SetOrigin((11.0, -22.0, 33.0))
    image.SetSpacing((0.7, 0.8, 2.5))
    sitk.WriteImage(image, tmp_path / "ct.nrrd")
    volume = Volume.read(tmp_path / "ct.nrrd")
    for voxel in np.ndindex(volume.shape):
        lps = image.TransformIndexToPhysicalPoint([int(index) for index in voxel])
        ras = (volume.world_from_voxel @ [*voxel, 1])[:3]
        np.testing.assert_allclose(ras, F[:3, :3] @ lps, atol=1e-5)  # NRRD has six digits after the point


def test_the_ap_matrix():
    block = re.search(r"```text\n +\[(.*?)```", PAGE, re.DOTALL)
    assert block is not None
    matrix = np.array(re.findall(r"-?\d+(?= )", block[1])[:9], dtype=float).reshape(3, 3)
    assert "t = (0, 0, sid_mm) - R c" in block[1]
    pose = gantry_view(*PRESETS["ap"], 650.0, ISOCENTRE).numpy()
    np.testing.assert_allclose(pose[:3, :3], matrix, atol=1e-15)
    np.testing.assert_allclose(pose[:3, 3], (0, 0, 650) - matrix @ ISOCENTRE.numpy(), atol=1e-12)


def test_the_table_of_views():
    table = rows("### Standard views")
    assert [row[0].strip("`") for row in table] == list(PRESETS)
    for name, angles, detector, x_of_image in table:
        assert tuple(map(float, angles.split(", "))) == PRESETS[name.strip("`")]
        world_from_camera = se3.inverse(gantry_view(*PRESETS[name.strip("`")], 650.0, ISOCENTRE)).numpy()
        x, y, z = world_from_camera[:3, :3].T
        # Sines and cosines of multiples of a right angle, in float64.
        np.testing.assert_allclose(z, word(detector), atol=1e-12)
        np.testing.assert_allclose(x, word(x_of_image), atol=1e-12)
        np.testing.assert_allclose(y, (0, 0, -1), atol=1e-12)  # the head is up
        on_axis = world_from_camera[:3, 3] + 650 * z
        np.testing.assert_allclose(on_axis, ISOCENTRE, atol=1e-9)


@pytest.mark.parametrize(
    ("angles", "side"),
    [((1, 0), (-1, 0, 0)), ((-1, 0), (1, 0, 0)), ((0, 1), (0, 0, 1)), ((0, -1), (0, 0, -1))],
)
def test_angles_grow_towards_the_left_and_the_head(angles, side):
    to_detector = gantry_view(*angles, 650.0).numpy()[2, :3]
    assert to_detector @ side == pytest.approx(np.sin(np.deg2rad(1)))


def test_projection_as_written():
    """In AP, with the patient's left at the right; spacing is (row, column), on the detector."""
    assert (CAMERA.fx, CAMERA.fy) == (1000 / 0.5, 1000 / 0.8)
    pose = gantry_view(*PRESETS["ap"], 650.0, ISOCENTRE)
    points = ISOCENTRE + torch.tensor(
        [[0, 0, 0], [-20.0, 0, 0], [0, 0, 20.0], [7, -8, 9]], dtype=torch.float64
    )
    pixels = CAMERA.project(points, pose).numpy()
    for point, (u, v) in zip(points.numpy(), pixels, strict=True):
        x, y, z, _ = pose.numpy() @ [*point, 1]
        expected = (CAMERA.fx * x / z + CAMERA.cx, CAMERA.fy * y / z + CAMERA.cy)
        np.testing.assert_allclose((u, v), expected, rtol=1e-12)
        homogeneous = CAMERA.matrix.numpy() @ (x, y, z)
        np.testing.assert_allclose((u, v), homogeneous[:2] / homogeneous[2], rtol=1e-12)
    centre, left, head, _ = pixels
    assert left[0] > centre[0] and head[1] < centre[1]


def test_the_table_of_tangent_elements():
    table = {int(row[0][0]): row for row in rows("## Perturbing a pose")}
    assert sorted(table) == list(range(6))
    pose = gantry_view(25.0, -15.0, 650.0, ISOCENTRE)
    size = 1e-3
    for element, (label, what) in table.items():
        assert label.endswith("[rad]" if element < 3 else "[mm]")
        tangent = torch.zeros(6, dtype=torch.float64)
        tangent[element] = size
        moved = se3.perturb(pose, tangent, ISOCENTRE)
        centre_before, centre_after = ((each.numpy() @ [*ISOCENTRE, 1])[:3] for each in (pose, moved))
        if element < 3:
            np.testing.assert_allclose(centre_after, centre_before, atol=1e-9)
            axis = Rotation.from_matrix((moved @ se3.inverse(pose)).numpy()[:3, :3]).as_rotvec()
            np.testing.assert_allclose(axis, size * np.eye(3)[element], atol=1e-12)
            assert {0: "(x through", 1: "(y)", 2: "(z)"}[element] in what
        else:
            np.testing.assert_allclose(centre_after - centre_before, size * np.eye(3)[element - 3], atol=1e-9)
    # On the screen: above the isocentre, a clockwise turn goes to the right.
    assert "clockwise" in table[2][1]
    above = se3.inverse(pose)[:3, :3] @ torch.tensor([0.0, -30.0, 0.0]).double() + ISOCENTRE
    turn, right, down, away = (torch.eye(6, dtype=torch.float64)[index] * 0.01 for index in (2, 3, 4, 5))
    before = CAMERA.project(above[None], pose)
    shift = {
        name: (CAMERA.project(above[None], se3.perturb(pose, tangent, ISOCENTRE)) - before)[0]
        for name, tangent in {"turn": turn, "right": right, "down": down}.items()
    }
    assert shift["turn"][0] > 0
    assert "right" in table[3][1] and shift["right"][0] > 0
    assert "down" in table[4][1] and shift["down"][1] > 0
    farther = se3.perturb(pose, away, ISOCENTRE).numpy() @ [*ISOCENTRE, 1]
    assert "away" in table[5][1] and farther[2] > 650


def test_the_perturbation_formula():
    """T(c) exp(tangent) T(-c) camera_from_world, the exponential being that of 4x4 matrices."""
    assert "camera_from_world  <-  T(c) exp(tangent) T(-c) camera_from_world" in PAGE
    pose = gantry_view(25.0, -15.0, 650.0, ISOCENTRE)
    tangent = np.array([0.3, -0.2, 0.1, 5.0, -6.0, 7.0])
    twist, shift = np.zeros((4, 4)), np.eye(4)
    twist[:3, :3] = np.cross(np.eye(3), tangent[:3])
    twist[:3, 3] = tangent[3:]
    shift[:3, 3] = (pose.numpy() @ [*ISOCENTRE, 1])[:3]
    expected = shift @ expm(twist) @ np.linalg.inv(shift) @ pose.numpy()
    moved = se3.perturb(pose, torch.from_numpy(tangent), ISOCENTRE)
    np.testing.assert_allclose(moved, expected, atol=1e-11)  # rounding of 650 mm


def test_so4_statements():
    length_mm = 100.0
    rotation = se3.exp(torch.tensor([0.3, -0.4, 0.5, 0, 0, 0], dtype=torch.float64))
    shift = se3.exp(torch.tensor([0, 0, 0, 40.0, 0, 30.0], dtype=torch.float64))
    still = so4.from_se3(torch.eye(4, dtype=torch.float64), length_mm)

    def distance(pose: Tensor) -> float:
        return float(so4.distance(so4.from_se3(pose, length_mm), still))

    assert distance(rotation) == pytest.approx(np.sqrt(0.5), rel=1e-9)  # |(0.3, -0.4, 0.5)|
    assert distance(shift) == pytest.approx(np.arctan(50 / (2 * length_mm)), rel=1e-9)
    element = so4.from_se3(rotation @ shift, length_mm)
    assert float(so4.distance(element, -element)) == pytest.approx(0, abs=1e-7)  # square root of rounding


def test_the_example_of_several_x_rays_is_ap_and_left(tmp_path):
    (tmp_path / "views.json").write_text(example("views.json"))
    xray = XRay(pixels=np.eye(200, 300, dtype=np.float32), camera=CAMERA)
    _, second = views_from_file([xray, xray], tmp_path / "views.json")
    ap, left = (gantry_view(*PRESETS[name], 650.0) for name in ("ap", "left"))
    np.testing.assert_allclose(second.view_from_first, left @ se3.inverse(ap), atol=1e-12)


def test_the_page_shows_and_explains_every_field_of_a_pose_file(tmp_path):
    document = json.loads(example("pose.json"))
    written = PoseFile(
        camera_from_world=gantry_view(*PRESETS["ap"], 700.0),
        camera=CAMERA,
        volume=InputFile(path="ct", sha256="1"),
        xray=InputFile(path="xray", sha256="2"),
    )
    written.write(tmp_path / "pose.json")
    fields = json.loads((tmp_path / "pose.json").read_text())
    assert document.keys() == fields.keys()
    assert document["intrinsics"].keys() == fields["intrinsics"].keys()
    text = PAGE[PAGE.index("`format`, `version`, `camera_from_world`") : PAGE.index("\n## Several X-rays")]
    for name in document:
        assert f"`{name}`" in text, name


def test_options_change_the_image_in_this_order(tmp_path):
    """Flip, crop, bin: what was said about the stored image finds its point again in the one used."""
    stored = np.arange(12 * 16, dtype=np.float32).reshape(12, 16)
    sitk.WriteImage(sitk.GetImageFromArray(stored), tmp_path / "xray.tiff")
    options = XRayOptions(
        sdd_mm=1000.0,
        pixel_spacing_mm=(1.0, 1.0),
        principal_point_px=(5.0, 3.0),
        polarity="bright_air",
        flip_left_right=True,
        crop_px=(2, 4, 8, 10),
        bin=2,
    )
    xray = XRay.read(tmp_path / "xray.tiff", options)
    used = stored[:, ::-1][2:10, 4:14].reshape(4, 2, 5, 2).mean(axis=(1, 3))
    np.testing.assert_allclose(xray.pixels, used)
    expected = ((16 - 1 - 5 - 4 + 0.5) / 2 - 0.5, (3 - 2 + 0.5) / 2 - 0.5)
    np.testing.assert_allclose((xray.camera.cx, xray.camera.cy), expected)
    np.testing.assert_allclose(xray.pixels_from_stored(np.array([[5.0, 3.0]])), [expected])
