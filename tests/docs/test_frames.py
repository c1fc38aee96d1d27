"""The drawings of docs/conventions.md: those committed are what the script draws, right and left included."""

from __future__ import annotations

import importlib
import json
import re
from dataclasses import replace
from pathlib import Path
from types import ModuleType

import numpy as np
import pytest
import torch
from matplotlib.figure import Figure
from PIL import Image
from skimage.io import imread
from skimage.measure import block_reduce

from isoclinic.registration import PRESETS
from isoclinic.registration.initialize import view
from isoclinic.rendering import RenderConfig, render
from made_once import made_once

DOCS = Path(__file__).parents[2] / "docs"
PAGE = (DOCS / "conventions.md").read_text(encoding="utf-8")
COMMITTED = sorted((DOCS / "images").glob("frames-*.png"))


@pytest.fixture(scope="module")
def frames() -> ModuleType:
    with pytest.MonkeyPatch.context() as patch:
        patch.syspath_prepend(DOCS)
        return importlib.import_module("frames")


@pytest.fixture(scope="module")
def scene_module(frames) -> ModuleType:
    return importlib.import_module(frames.Scene.__module__)


@pytest.fixture(scope="module")
def drawn(frames, tmp_path_factory) -> dict[str, Path]:
    """The pictures as the script draws them now, by name."""
    folder = made_once(tmp_path_factory, "frames", frames.main)
    return {path.name: path for path in folder.iterdir()}


def words(picture: Path) -> str:
    """All that is written in a picture."""
    with Image.open(picture) as opened:
        return opened.text["Description"]


def numbers(text: str) -> list[float]:
    return [float(number) for number in re.findall(r"-?\d+(?:\.\d+)?", text.replace("−", "-"))]


@pytest.mark.slow
def test_the_script_draws_the_committed_pictures_and_no_others(drawn):
    assert len(COMMITTED) == 8
    assert sorted(drawn) == [path.name for path in COMMITTED]


@pytest.mark.slow
@pytest.mark.parametrize("committed", COMMITTED, ids=lambda path: path.stem)
def test_the_committed_pictures_are_up_to_date(drawn, committed):
    """If not: python docs/frames.py, and look at the pictures before you commit them."""
    old, new = (imread(path)[..., :3].astype(float) for path in (committed, drawn[committed.name]))
    assert old.shape == new.shape
    # Means of 8x8 pixels: another version of matplotlib may move letters by a pixel, which changes a mean by
    # up to 8/64 of the range per edge of a stroke; a thick line that is gone or new changes it by a half.
    difference = np.abs(block_reduce(old - new, (8, 8, 1), np.mean)).max()
    assert difference < 0.3 * 255


@pytest.mark.slow
@pytest.mark.parametrize("committed", COMMITTED, ids=lambda path: path.stem)
def test_the_words_of_the_committed_pictures_are_up_to_date(drawn, committed):
    """Numbers and signs among them, which change too few pixels to be seen above."""
    assert words(committed) == words(drawn[committed.name])


def test_the_numbers_of_the_chain_follow_from_its_formula(drawn, frames):
    voxel, world, camera, pixel = (
        np.array(numbers(each)) for each in re.findall(r"e\.g\. \((.*)\)", words(drawn["frames-chain.png"]))
    )
    np.testing.assert_allclose(world, frames.chest_ct().world_from_voxel[:3] @ [*voxel, 1], atol=0.5)
    # AP from 650 mm: left is right in the image, up is up, and what is in front is nearer.
    np.testing.assert_allclose(camera, (-world[0], -world[2], 650 - world[1]), atol=1)  # both are rounded
    focal_px, centre_px = 1000 / 3.4, 99.5
    # Half a millimetre at 544 mm of depth is 0.3 px.
    np.testing.assert_allclose(pixel, camera[:2] / camera[2] * focal_px + centre_px, atol=0.4)


def test_the_numbers_of_stored_and_used_images_follow_from_what_is_done(drawn):
    text = words(drawn["frames-stored.png"])
    assert "--flip-left-right" in text
    (crop,), (factor,) = re.findall(r"--crop-px (.*)", text), re.findall(r"--bin (\d+)", text)
    top, left, height, width = numbers(crop)
    pattern = r"(\d+) x (\d+) px\nfx +(\S+) +cx +(\S+)\nfy +(\S+) +cy +(\S+)\nL at \((\S+), (\S+)\)"
    steps = [np.array(numbers(" ".join(found))) for found in re.findall(pattern, text)]
    (columns, rows, fx, cx, fy, cy, u, v), flipped, cropped, _ = steps
    by = int(factor)
    expected = (
        (columns, rows, -fx, columns - 1 - cx, fy, cy, columns - 1 - u, v),
        (width, height, -fx, flipped[3] - left, fy, cy - top, flipped[6] - left, v - top),
        (
            *(width / by, height / by, -fx / by, (cropped[3] + 0.5) / by - 0.5),
            *(fy / by, (cropped[5] + 0.5) / by - 0.5),
            *((cropped[6:] + 0.5) / by - 0.5),
        ),
    )
    assert fx < 0
    for step, values in zip(steps[1:], expected, strict=True):
        np.testing.assert_allclose(step, values, atol=0.101)  # both are rounded to a tenth


def test_the_matrix_of_several_x_rays_is_that_of_the_view_file(drawn):
    text = words(drawn["frames-several.png"])
    matrix = np.array([numbers(row) for row in re.findall(r"^\[(.*)\]$", text, re.MULTILINE)])
    example = re.search(r'^\{"view_from_first": \[(.*)\]\}$', PAGE, re.MULTILINE)
    assert example is not None
    np.testing.assert_array_equal(matrix, json.loads(example[1]))
    first, second = (numbers(each) for each in re.findall(r"L at x = \((.*)\) mm", text))
    np.testing.assert_allclose((matrix @ [*first, 1])[:3], second, atol=1)  # both are rounded


def test_the_motions_are_named_as_in_the_table_of_the_page(frames):
    """Which test_conventions.py compares with what they do."""
    table = re.findall(r"^\| \d \[.*\] \| (.*) \|$", PAGE, re.MULTILINE)
    for (_, said), row in zip(frames._MOTIONS, table, strict=True):
        assert said in row


def test_the_page_shows_every_picture_with_words_for_those_who_cannot_see_it():
    shown = dict(re.findall(r"!\[([^\]]*)\]\(images/(frames-[^)]*)\)", PAGE))
    assert sorted(shown.values()) == [path.name for path in COMMITTED]
    assert all(len(words) > 30 for words in shown)


def test_pictures_are_small_enough_to_keep_in_the_repository():
    for path in COMMITTED:
        assert path.stat().st_size < 200_000, path.name


@pytest.mark.slow
@pytest.mark.parametrize(
    ("preset", "at_the_right", "readable"), [("ap", True, True), ("pa", False, False)], ids=["ap", "pa"]
)
def test_the_lead_letter_tells_which_side_the_image_is_seen_from(frames, preset, at_the_right, readable):
    """An L at the patient's left, legible from the front: as a radiographer's marker, no word of ours."""
    ct, camera = frames.chest_ct(), frames.XRAY.camera
    without_lead = replace(ct, hu=np.minimum(ct.hu, 700))
    pose = view(ct, frames.XRAY, *PRESETS[preset])
    on_cpu = RenderConfig(backend="cpu")
    lead = (render(ct, camera, pose, on_cpu) - render(without_lead, camera, pose, on_cpu))[0].numpy()
    rows, columns = np.nonzero(lead > 0.5 * lead.max())
    assert (columns.mean() > camera.cx) == at_the_right
    foot = rows > rows.max() - 0.15 * np.ptp(rows)
    assert (columns[foot].mean() > columns[~foot].mean()) == readable


def test_sides_are_named_as_in_ras(frames):
    for axis, (positive, negative) in enumerate(("RL", "AP", "SI")):
        direction = np.array([0.3, -0.3, 0.3])
        direction[axis] = 0.8
        assert frames.side(direction) == positive
        direction[axis] = -0.8
        assert frames.side(direction) == negative


def test_seen_from_the_feet_the_left_hand_is_at_the_right_and_the_front_is_up(scene_module):
    """As radiologists look at axial slices."""
    eye = scene_module.looking((0, 0, 1), up=(0, 1, 0))
    scene = scene_module.Scene(axes=Figure().add_subplot(), eye_from_world=eye)
    left_hand, chest, head = (-300.0, 0.0, 0.0), (0.0, 100.0, 0.0), (0.0, 0.0, 400.0)
    # The eye is 1 km away: 400 mm nearer or farther change 300 mm by 0.1 mm.
    np.testing.assert_allclose(scene.at([left_hand, chest, head]), [(300, 0), (0, -100), (0, 0)], atol=0.2)
    assert scene.depth(head) > scene.depth(chest)


def test_a_placed_camera_agrees_with_the_projection(frames):
    ct, camera = frames.chest_ct(), frames.XRAY.camera
    pose = view(ct, frames.XRAY, 25.0, -15.0)
    placed = frames.PlacedCamera(camera, pose)
    # On its way from the source to a corner of the detector every point falls on that corner's pixel.
    halfway = (placed.source + placed.image_corners) / 2
    pixels = camera.project(torch.from_numpy(halfway), pose).numpy()
    right, bottom = camera.width - 0.5, camera.height - 0.5
    expected = [(-0.5, -0.5), (right, -0.5), (right, bottom), (-0.5, bottom)]
    np.testing.assert_allclose(pixels, expected, atol=1e-9)  # rounding of coordinates of 1e3
