"""The overlay is read back from its PNG: panels are found by the white gaps between them."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from numpy.typing import NDArray
from scipy.ndimage import gaussian_filter
from skimage.io import imread

from isoclinic.errors import InputError
from isoclinic.geometry import Camera, PatientSides
from isoclinic.viewer import checkerboard, edge_overlay, write_overlay, write_overview
from raising import raises

# A PNG holds 8 bits: half a step of rounding, or a whole one where matplotlib truncates.
STEP = 1 / 255
X_RAY, DRR, EDGES, CHECKERBOARD = range(4)


def texture(seed: int, shape: tuple[int, int]) -> NDArray[np.float64]:
    return gaussian_filter(np.random.default_rng(seed).normal(size=shape), 2)


def camera_of(image: NDArray[np.floating]) -> Camera:
    height, width = image.shape
    return Camera.from_pixel_spacing(width=width, height=height, pixel_spacing_mm=(0.5, 0.5), sdd_mm=1000)


def draw(path: Path, xray, drr, **options) -> list[NDArray[np.float64]]:
    write_overlay(path, xray=xray, drr=drr, camera=camera_of(xray), **options)
    return panels(path)


def panels(path: Path) -> list[NDArray[np.float64]]:
    """The pictures [h, w, 3] in 0..1 that white columns separate, cut to the rows that they fill."""
    picture = imread(path)[..., :3] / 255
    height = len(picture)
    gaps = (picture[height // 5 : 4 * height // 5] == 1).all(axis=(0, 2))
    starts = np.flatnonzero(gaps[:-1] & ~gaps[1:]) + 1
    ends = np.flatnonzero(~gaps[:-1] & gaps[1:]) + 1
    columns = [picture[:, start:end] for start, end in zip(starts, ends, strict=True)]
    rows = np.flatnonzero((columns[0] == 1).all(axis=-1).mean(axis=1) < 0.5)
    return [column[rows[0] : rows[-1] + 1] for column in columns]


def windowed(image: NDArray[np.floating]) -> NDArray[np.floating]:
    low, high = np.percentile(image, (1, 99))
    return np.clip((image - low) / (high - low), 0, 1)


@pytest.mark.parametrize(
    ("shape", "factor"), [((40, 56), 11), ((80, 64), 8), ((256, 256), 2), ((500, 640), 1)]
)
def test_panels_are_the_images_magnified_by_a_whole_factor(tmp_path: Path, shape, factor):
    xray, drr = texture(0, shape), texture(1, shape)
    drawn = draw(tmp_path / "overlay.png", xray, drr, caption="converged")
    assert len(drawn) == 4
    assert {panel.shape for panel in drawn} == {(shape[0] * factor, shape[1] * factor, 3)}
    for panel, image in ((drawn[X_RAY], xray), (drawn[DRR], drr)):
        expected = windowed(image).repeat(factor, 0).repeat(factor, 1)[..., None]
        np.testing.assert_allclose(panel, np.broadcast_to(expected, panel.shape), atol=1.01 * STEP)


@pytest.mark.slow
def test_a_large_image_is_averaged_down(tmp_path: Path):
    """1300 x 1000 is reduced by three; the odd row and column at the end are dropped."""
    xray, drr = texture(0, (1300, 1000)), texture(1, (1300, 1000))
    panel = draw(tmp_path / "overlay.png", xray, drr)[X_RAY]
    expected = windowed(xray)[:1299, :999].reshape(433, 3, 333, 3).mean(axis=(1, 3))
    np.testing.assert_allclose(panel[..., 0], expected, atol=1.01 * STEP)


def test_checkerboard_tiles_are_cut_from_the_other_panels(tmp_path: Path):
    """Eight tiles along the shorter side, 80 px shown as 640, the X-ray's at the top left."""
    drawn = draw(tmp_path / "overlay.png", texture(0, (80, 80)), texture(1, (80, 80)))
    assert not np.array_equal(drawn[X_RAY], drawn[DRR])
    tile = 80
    for row in range(8):
        for column in range(8):
            window = np.s_[row * tile : (row + 1) * tile, column * tile : (column + 1) * tile]
            source = drawn[X_RAY] if (row + column) % 2 == 0 else drawn[DRR]
            np.testing.assert_array_equal(drawn[CHECKERBOARD][window], source[window])


@pytest.mark.parametrize("shape", [(1, 1), (3, 50), (64, 96), (97, 65)])
def test_checkerboard_takes_every_pixel_from_one_of_both(shape: tuple[int, int]):
    board = checkerboard(np.zeros(shape), np.ones(shape))
    tile = max(1, round(min(shape) / 8))
    expected = [[(row // tile + column // tile) % 2 for column in range(shape[1])] for row in range(shape[0])]
    np.testing.assert_array_equal(board, expected)


def disc(shape: tuple[int, int], radius: float) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    rows, columns = np.indices(shape)
    distance = np.hypot(rows - shape[0] / 2, columns - shape[1] / 2)
    return np.clip(radius + 0.5 - distance, 0, 1), distance


def test_edges_follow_the_outline_and_only_where_pixels_are_seen():
    """Canny with a Gaussian of 2 px finds a disc's edge to within a pixel and closes the circle."""
    shape, radius = (120, 160), 40
    image, distance = disc(shape, radius)
    background = windowed(texture(3, shape))
    seen = np.ones(shape, bool)
    seen[:, :60] = False
    picture = edge_overlay(background, image, seen)
    coloured = np.ptp(picture, axis=-1) > 0
    np.testing.assert_array_equal(picture[~coloured], background[~coloured][:, None].repeat(3, axis=1))
    assert np.abs(distance[coloured] - radius).max() <= 1
    assert not coloured[~seen].any()
    rows, columns = np.nonzero(coloured)
    angles = np.sort(np.arctan2(rows - shape[0] / 2, columns - shape[1] / 2))
    visible = np.pi - np.arccos(20 / radius)
    assert -angles[0] == pytest.approx(visible, abs=0.05)
    assert angles[-1] == pytest.approx(visible, abs=0.05)
    assert np.diff(angles).max() < 0.05


def test_the_edge_panel_outlines_the_drr_on_the_xray(tmp_path: Path):
    drr, distance = disc((128, 128), 40)
    drawn = draw(tmp_path / "overlay.png", texture(0, (128, 128)), drr)
    coloured = np.ptp(drawn[EDGES], axis=-1) > 0
    assert np.abs(distance.repeat(5, 0).repeat(5, 1)[coloured] - 40).max() <= 1
    np.testing.assert_array_equal(drawn[EDGES][~coloured], drawn[X_RAY][~coloured])


def test_pixels_without_weight_do_not_set_the_tones(tmp_path: Path):
    xray, drr = texture(0, (64, 64)), texture(1, (64, 64))
    weight = np.ones((64, 64), np.float32)
    weight[:, :20] = 0
    clean = draw(tmp_path / "clean.png", xray, drr, weight=weight)
    spoilt_xray = np.where(weight > 0, xray, -1e6)
    spoilt = draw(tmp_path / "spoilt.png", spoilt_xray, drr, weight=weight)
    np.testing.assert_array_equal(clean[X_RAY][:, 200:], spoilt[X_RAY][:, 200:])
    assert (spoilt[X_RAY][:, :200] == 0).all()


@pytest.mark.parametrize("weight", [None, np.zeros((64, 64))])
def test_a_blank_drr_is_drawn_black(tmp_path: Path, weight):
    drawn = draw(tmp_path / "overlay.png", texture(0, (64, 64)), np.full((64, 64), 3.0), weight=weight)
    assert (drawn[DRR] == 0).all()
    np.testing.assert_array_equal(drawn[EDGES], drawn[X_RAY])


def test_sizes_must_agree_and_nothing_is_left_behind(tmp_path: Path):
    image = texture(0, (64, 48))
    camera = camera_of(image)
    path = tmp_path / "overlay.png"
    with raises(InputError, "picture.wrong-shape", "DRR", "(48, 64)"):
        write_overlay(path, xray=image, drr=image.T, camera=camera)
    with raises(InputError, "picture.wrong-shape", "X-ray", "(32, 48)"):
        write_overlay(path, xray=image[:32], drr=image, camera=camera)
    with raises(InputError, "picture.wrong-shape", "weight map", "(1, 48)"):
        write_overlay(path, xray=image, drr=image, camera=camera, weight=image[:1])
    with raises(InputError, "output.unwritable", "overlay.png"):
        write_overlay(tmp_path / "nowhere" / "overlay.png", xray=image, drr=image, camera=camera)
    assert list(tmp_path.iterdir()) == []


def test_the_overview_shows_start_and_result(tmp_path: Path):
    """The X-ray is black where it does not count; the last panel outlines the result, not the start."""
    shape = (128, 128)
    xray, (start, _), (drr, distance) = texture(0, shape), disc(shape, 20), disc(shape, 40)
    weight = np.ones(shape, np.float32)
    weight[:, :30] = 0
    path = tmp_path / "overview.png"
    write_overview(path, xray=xray, start=start, drr=drr, camera=camera_of(xray), weight=weight)
    fixed, before, after, edges = panels(path)
    assert (fixed[:, : 5 * 30] == 0).all() and fixed[:, 5 * 30 :].std() > 0.1
    for panel, image in ((before, start), (after, drr)):
        expected = image.repeat(5, 0).repeat(5, 1)[..., None]
        np.testing.assert_allclose(panel, np.broadcast_to(expected, panel.shape), atol=1.01 * STEP)
    coloured = np.ptp(edges, axis=-1) > 0
    assert coloured.any()
    assert np.abs(distance.repeat(5, 0).repeat(5, 1)[coloured] - 40).max() <= 1
    with raises(InputError, "picture.wrong-shape", "DRR", "start"):
        write_overview(path, xray=xray, start=start[:9], drr=drr, camera=camera_of(xray), weight=weight)


# Letters are smoothed at other fractions of a pixel in every panel.
SMOOTHED = 3 * STEP
# Where the letters may be in a panel of 640 x 640 [px], and which picture they are read from.
BORDERS = {
    "left": np.s_[280:360, :60],
    "right": np.s_[280:360, -60:],
    "top": np.s_[:40, 280:360],
    "bottom": np.s_[-40:, 280:360],
}
SIDES = PatientSides(left="R", right="L", top="H", bottom="F")


@pytest.mark.slow
def test_sides_of_the_patient_are_at_the_borders_of_every_panel(tmp_path: Path):
    """Each letter is found where it was drawn, and is not the letter that another side would have."""
    image = np.full((128, 128), 0.3)
    bare = draw(tmp_path / "bare.png", image, image)
    marked = draw(tmp_path / "marked.png", image, image, sides=SIDES)
    others = draw(tmp_path / "others.png", image, image, sides=PatientSides("L", "R", "F", "H"))
    rest = np.ones((640, 640), dtype=bool)
    for border, place in BORDERS.items():
        rest[place] = False
        drawn = marked[X_RAY][place]
        assert (drawn == 1).all(axis=-1).sum() > 30, f"white letter at the {border}"
        assert (drawn == 0).all(axis=-1).sum() > 30, f"with a black outline at the {border}"
        assert not np.array_equal(drawn, others[X_RAY][place]), border
    for before, after in zip(bare, marked, strict=True):
        np.testing.assert_array_equal(before[rest], after[rest])
        for place in BORDERS.values():
            # The panels have the same pixels below the letters, so the same with them.
            np.testing.assert_allclose(after[place], marked[X_RAY][place], atol=SMOOTHED)
    # R is R at either side: its white pixels have the same shape.
    letter = [
        trimmed(panel[BORDERS[border]]) for panel, border in ((marked[0], "left"), (others[0], "right"))
    ]
    assert letter[0].shape == letter[1].shape and (letter[0] != letter[1]).mean() < 0.1


def trimmed(picture: NDArray[np.floating]) -> NDArray[np.bool_]:
    """The white pixels, cut to the box around them."""
    white = (picture == 1).all(axis=-1)
    rows, columns = np.flatnonzero(white.any(axis=1)), np.flatnonzero(white.any(axis=0))
    return white[rows[0] : rows[-1] + 1, columns[0] : columns[-1] + 1]


def test_the_overview_marks_the_sides_at_the_start_and_at_the_result(tmp_path: Path):
    image = np.full((128, 128), 0.3)
    path = tmp_path / "overview.png"
    turned = PatientSides(left="F", right="H", top="R", bottom="L")
    images = {"xray": image, "start": image, "drr": image, "weight": np.ones_like(image)}
    write_overview(path, **images, camera=camera_of(image), sides=SIDES, start_sides=turned)
    fixed, before, after, edges = panels(path)
    for border, place in BORDERS.items():
        np.testing.assert_allclose(fixed[place], after[place], atol=SMOOTHED)
        np.testing.assert_allclose(edges[place], after[place], atol=SMOOTHED)
        assert np.abs(before[place] - after[place]).max() > 0.5, border
