"""Collimation, saturation and metal, on phantoms whose masks are known."""

import json
from pathlib import Path

import numpy as np
import pytest
from scipy import ndimage
from scipy.spatial import Delaunay

from isoclinic.volumes._fog import find_fog
from isoclinic.volumes.config import MaskConfig, PreprocessConfig
from isoclinic.volumes.masks import Masks, _convex_hull, find_masks
from isoclinic.volumes.preprocess import line_integrals
from isoclinic.volumes.xray import XRay

SIZE = 256
ROWS, COLUMNS = np.mgrid[:SIZE, :SIZE].astype(np.float64)
PHOTONS = 2e5  # per open-beam pixel: 1 % noise behind 3 nats


def patient(seed: int = 0) -> np.ndarray:
    """Line integrals [nats] of soft tissue, a spine, ribs and texture, without any sharp straight bar."""
    rng = np.random.default_rng(seed)
    body = 2.0 + 0.6 * np.cos((COLUMNS - 128) / 90) * np.cos((ROWS - 128) / 150)
    spine = (
        0.8 * np.exp(-(((COLUMNS - 120 - 12 * np.sin(ROWS / 80)) / 16) ** 4)) * (1 + 0.15 * np.sin(ROWS / 4))
    )
    ribs = sum(
        0.25 * np.exp(-(((np.hypot(ROWS - 330 + 40 * k, 0.9 * (COLUMNS - 128)) - 150) / 4) ** 2))
        for k in range(7)
    )
    texture = sum(a * _smooth(rng, s) for a, s in ((0.2, 24), (0.08, 8), (0.03, 3)))
    return body + spine + ribs + texture


def _smooth(rng: np.random.Generator, sigma: float) -> np.ndarray:
    field = ndimage.gaussian_filter(rng.normal(size=(SIZE, SIZE)), sigma)
    return field / field.std()


def exposed(attenuation: np.ndarray, *, blur_px: float = 0.7, seed: int = 1) -> np.ndarray:
    intensity = ndimage.gaussian_filter(np.exp(-attenuation), blur_px)
    return np.random.default_rng(seed).poisson(PHOTONS * intensity).astype(np.float32)


def masks_of(pixels: np.ndarray, config: MaskConfig | None = None) -> Masks:
    return find_masks(pixels.astype(np.float32), attenuation_of(pixels), config)


def attenuation_of(pixels: np.ndarray) -> np.ndarray:
    return -np.log(np.maximum(pixels / np.percentile(pixels, 99.9), 1e-3)).astype(np.float32)


def iou(found: np.ndarray, true: np.ndarray) -> float:
    return np.count_nonzero(found & true) / np.count_nonzero(found | true)


def off_by_px(found: np.ndarray, true: np.ndarray) -> float:
    """Distance from the true outline within which all wrongly labelled pixels lie."""
    depth = np.maximum(ndimage.distance_transform_edt(true), ndimage.distance_transform_edt(~true))
    return float(depth[found != true].max(initial=0))


def bar(start: tuple[float, float], end: tuple[float, float], width: float) -> np.ndarray:
    """Pixels of a bar between two (row, column) points."""
    axis = np.subtract(end, start)
    length = np.hypot(*axis)
    y, x = ROWS - start[0], COLUMNS - start[1]
    along = (y * axis[0] + x * axis[1]) / length
    return (np.abs(y * axis[1] - x * axis[0]) / length <= width / 2) & (along >= 0) & (along <= length)


FIELDS = {
    "circle": np.hypot(ROWS - 128, COLUMNS - 128) < 110,
    "off-centre circle beyond the border": np.hypot(ROWS - 150, COLUMNS - 128) < 140,
    "small circle": np.hypot(ROWS - 120, COLUMNS - 135) < 48,
    "rectangle": (ROWS > 20) & (ROWS < 230) & (COLUMNS > 45) & (COLUMNS < 200),
    "one blade": COLUMNS > 30,
    "oblique blade": ROWS + 0.6 * COLUMNS > 90,
    "rotated rectangle": (np.abs(ROWS - 128 + 0.3 * (COLUMNS - 128)) < 90)
    & (np.abs(COLUMNS - 128 - 0.3 * (ROWS - 128)) < 80),
}


def fogged(primary: np.ndarray, field: np.ndarray, scatter: float) -> np.ndarray:
    """Blades stop the primary beam only: `scatter`, a share of it, half spread by 33 px and half evenly."""
    primary = primary * ndimage.gaussian_filter(field.astype(float), 1.0)
    return primary + scatter * (ndimage.gaussian_filter(primary, 33) + primary[field].mean()) / 2


class TestCollimation:
    """Outlines are found to 2.5 px where the shadow is blank: two for rounding corners off, one for the grid.

    Lead shadows are noisy and end in an edge that a blur of 1.5 px spreads over 4.5 px (3 sigma).
    """

    @pytest.mark.parametrize("name", FIELDS)
    @pytest.mark.parametrize("blank", ["black", "white"])
    def test_blank(self, name: str, blank: str) -> None:
        pixels = exposed(patient())
        pixels[~FIELDS[name]] = 0 if blank == "black" else pixels.max()
        masks = masks_of(pixels)
        assert off_by_px(masks.collimation, ~FIELDS[name]) < 2.5
        assert masks.metal.mean() < 1e-3
        assert not masks.weight[~FIELDS[name]].any()
        clear_px = 2.5 + 2 * MaskConfig().margin * SIZE
        inner = ndimage.distance_transform_edt(np.pad(FIELDS[name], 9, mode="edge"))[9:-9, 9:-9] > clear_px
        assert masks.weight[inner].min() == 1

    @pytest.mark.parametrize("name", FIELDS)
    def test_lead(self, name: str) -> None:
        """Blades cast a blurred shadow, lit by scatter from the exposed part and by the detector's glare."""
        primary = np.exp(-patient()) * ndimage.gaussian_filter(FIELDS[name].astype(float), 1.5)
        scatter = 0.05 * ndimage.gaussian_filter(primary, 60) + 0.01 * primary.mean()
        masks = masks_of(exposed(-np.log(primary + scatter)))
        assert off_by_px(masks.collimation, ~FIELDS[name]) < 5
        assert masks.metal.mean() < 2e-3
        assert masks.weight[~FIELDS[name]].mean() < 0.01

    @pytest.mark.parametrize("name", FIELDS)
    @pytest.mark.parametrize("scatter", [0.1, 0.3, 0.6])
    def test_fog(self, name: str, scatter: float) -> None:
        """Edges fitted to a blur of 1 px lie within 3 px of the outline, a pixel of margin included."""
        masks = masks_of(exposed(-np.log(fogged(np.exp(-patient()), FIELDS[name], scatter))))
        assert off_by_px(masks.collimation, ~FIELDS[name]) < 4
        assert masks.weight[~FIELDS[name]].mean() < 0.01

    @pytest.mark.parametrize("name", FIELDS)
    def test_denser_beyond_a_sharp_outline_is_not_fog(self, name: str) -> None:
        """An implant, a fold of skin or a cast: anatomy is seen through it."""
        denser = ndimage.gaussian_filter((~FIELDS[name]).astype(float), 1.0)
        assert not find_fog(attenuation_of(exposed(patient() + 0.7 * denser))).any()

    def test_strip_along_the_border_is_not_fog(self) -> None:
        """The edge of the table: beyond it, it gets brighter again."""
        strip = (COLUMNS > 18) & (COLUMNS < 24)
        thin = 1 - 0.8 * (COLUMNS < 24)  # next to no structure out there
        assert not find_fog(attenuation_of(exposed(patient() * thin + 2.0 * strip))).any()

    @pytest.mark.parametrize("seed", range(5))
    def test_hull(self, seed: int) -> None:
        """Against a point-in-triangle search over the Delaunay triangles of all corners of the pixels."""
        rng = np.random.default_rng(seed)
        mask = ndimage.binary_dilation(rng.random((30, 41)) > 0.995, iterations=2)
        pixels = np.argwhere(mask)
        corners = (pixels[:, None] + [[0, 0], [0, 1], [1, 0], [1, 1]]).reshape(-1, 2)
        centres = np.argwhere(np.ones_like(mask)) + 0.5
        inside = Delaunay(corners).find_simplex(centres, tol=1e-9).reshape(mask.shape) >= 0
        np.testing.assert_array_equal(_convex_hull(mask), inside)

    def test_metal_that_touches_the_shadow_stays_metal(self) -> None:
        tool = bar((120, 120), (245, 180), 8)
        pixels = exposed(patient() + 1.0 * tool)
        pixels[~FIELDS["circle"]] = pixels[FIELDS["circle"]].min()
        masks = masks_of(pixels)
        assert off_by_px(masks.collimation, ~FIELDS["circle"]) < 2.5
        assert masks.weight[tool].max() < 0.5

    @pytest.mark.parametrize("seed", range(4))
    def test_none(self, seed: int) -> None:
        assert not masks_of(exposed(patient(seed))).collimation.any()

    def test_air_beside_the_patient_is_not_collimation(self) -> None:
        """Thickness, and with it attenuation, rises continuously from the skin, like the root of depth."""
        inside = np.maximum(0, 1 - ((COLUMNS - 128) / 110) ** 2)
        assert not masks_of(exposed(patient() * np.sqrt(inside))).collimation.any()


class TestSaturation:
    def test_saturated_air(self) -> None:
        """White with a convex steep outline may also be a blank border; it is left out either way."""
        inside = np.maximum(0, 1 - ((COLUMNS - 128) / 110) ** 2)
        pixels = exposed(patient() * np.sqrt(inside))
        limit = np.percentile(pixels, 85)
        saturated = pixels >= limit
        masks = masks_of(np.minimum(pixels, limit))
        left_out = masks.saturation | masks.collimation
        assert masks.saturation.any()
        assert iou(left_out, saturated) > 0.9  # but for specks below the smallest area and a pixel of outline
        assert not masks.weight[left_out].any()
        assert masks.weight[~ndimage.binary_dilation(saturated, iterations=4)].mean() > 0.99

    def test_single_extreme_pixels_are_not_saturation(self) -> None:
        assert not masks_of(exposed(patient())).saturation.any()


class TestMetal:
    @pytest.mark.parametrize("contrast", [0.6, 1.0, 2.5])
    @pytest.mark.parametrize("width", [4, 7, 11])
    @pytest.mark.parametrize("angle_deg", [0, 33, 75, 90, 140])
    def test_bar(self, contrast: float, width: float, angle_deg: float) -> None:
        """All of it is covered; the mask may be a pixel wider and two longer on each side than the bar."""
        y, x = 45 * np.sin(np.deg2rad(angle_deg)), 45 * np.cos(np.deg2rad(angle_deg))
        tool = bar((130 - y, 140 - x), (130 + y, 140 + x), width)
        masks = masks_of(exposed(patient() + contrast * tool))
        assert (masks.weight[tool] < 0.5).mean() > 0.97
        assert not (masks.metal & ~ndimage.binary_dilation(tool, iterations=4)).any()
        assert masks.weight.mean() > 0.9

    def test_crossing_bars_that_leave_the_image(self) -> None:
        tools = bar((60, 60), (300, 160), 7) | bar((200, 40), (130, 300), 5)
        masks = masks_of(exposed(patient() + 0.8 * tools))
        assert (masks.weight[tools] < 0.5).mean() > 0.97

    @pytest.mark.parametrize("radius", [8, 20])
    def test_implant(self, radius: float) -> None:
        """A ball's outline is found to the blurred edge, a pixel on a radius of 8: IoU 0.8."""
        implant = np.hypot(ROWS - 100, COLUMNS - 150) < radius
        masks = masks_of(exposed(patient() + 2.0 * implant))
        assert iou(masks.metal, implant) > 0.75
        assert (masks.weight[implant] < 0.5).all()

    def test_dark_pocket_is_not_metal(self) -> None:
        """Gas has the same sharp outline, but attenuates less than its surroundings."""
        gas = np.hypot(ROWS - 100, COLUMNS - 150) < 12
        assert not masks_of(exposed(patient() - 1.0 * gas)).metal.any()

    @pytest.mark.parametrize("seed", range(4))
    def test_bone_is_not_metal(self, seed: int) -> None:
        masks = masks_of(exposed(patient(seed)))
        assert masks.metal.mean() < 1e-3
        assert masks.weight.mean() > 0.99


class TestWeight:
    def test_margin(self) -> None:
        """Zero within the margin, full beyond twice the margin, rising in between."""
        pixels = exposed(patient())
        pixels[:, :30] = 0
        masks = masks_of(pixels, MaskConfig(margin=4 / SIZE, find_metal=False))
        row = masks.weight[128]
        assert not row[:34].any()
        assert row[38:].min() == 1
        assert np.all(np.diff(row[33:38]) > 0)

    def test_off(self) -> None:
        pixels = exposed(patient() + 2.0 * bar((100, 100), (200, 150), 7))
        pixels[:, :30] = 0
        masks = masks_of(pixels, MaskConfig(find_collimation=False, find_saturation=False, find_metal=False))
        assert masks.weight.min() == 1
        assert not (masks.collimation | masks.saturation | masks.metal).any()

    def test_never_removes_everything(self) -> None:
        """An image that is saturated all over but for a speck keeps its weight and still reports it."""
        pixels = np.full((SIZE, SIZE), 1000.0)
        pixels[100:104, 100:104] = 900.0
        masks = masks_of(pixels)
        assert masks.saturation.mean() > 0.9 or masks.collimation.mean() > 0.9
        assert masks.weight.mean() >= 0.05

    @pytest.mark.parametrize("shape", [(1024, 1024), (700, 515), (40, 60), (5, 9), (1, 2)])
    def test_any_size(self, shape: tuple[int, int]) -> None:
        zoom = np.array(shape) / SIZE
        pixels = ndimage.zoom(exposed(patient()), zoom, order=1, grid_mode=True, mode="nearest")
        masks = masks_of(pixels)
        assert masks.weight.shape == masks.metal.shape == masks.collimation.shape == shape
        assert masks.weight.dtype == np.float32
        assert masks.weight.mean() > 0.9

    @pytest.mark.slow
    def test_large_image_finds_the_same(self) -> None:
        tool = bar((60, 60), (200, 170), 7)
        pixels = exposed(patient() + 0.8 * tool)
        pixels[~FIELDS["circle"]] = 0
        small = masks_of(pixels)
        large = masks_of(pixels.repeat(4, axis=0).repeat(4, axis=1))
        np.testing.assert_array_equal(large.collimation[::4, ::4], small.collimation)
        np.testing.assert_array_equal(large.metal[::4, ::4], small.metal)


# Tools drawn into the simulated X-rays, (row, column) ends and width [px], measured on the images.
TOOLS = {
    "chest/01": [((171, 69), (256, 130), 8)],
    "chest/03": [((87, 83), (232, 162), 9)],
    "chest/05": [((155, 52), (216, -1), 7), ((149, 131), (256, 189), 5)],
    "chest/07": [((118, 67), (256, 85), 3)],
    "pelvis/01": [((148, 61), (159, 0), 5), ((157, 122), (257, 169), 4)],
    "pelvis/02": [((133, 180), (176, 1), 10)],
    "pelvis/03": [((153, 163), (257, 136), 6)],
    "pelvis/06": [((131, 143), (255, 56), 10), ((152, 116), (186, 256), 7)],
    "pelvis/07": [((161, 95), (191, 257), 6)],
}


@pytest.mark.parametrize("case", TOOLS)
def test_tools_in_simulated_xrays(shared_data: Path, case: str) -> None:
    xray = XRay.read(shared_data / "xrays" / case / "xray.dcm")
    _, weight = line_integrals(xray)
    tools = np.any([bar(*tool) for tool in TOOLS[case]], axis=0)
    assert (weight[tools] < 0.5).mean() > 0.95  # ends were measured to a pixel or two


def test_simulated_xrays_without_tools_keep_their_weight(shared_data: Path) -> None:
    clean = _without_tools(shared_data)
    assert clean
    for folder in clean:
        _, weight = line_integrals(XRay.read(folder / "xray.dcm"), PreprocessConfig())
        assert weight.mean() > 0.99


def _without_tools(shared_data: Path) -> list[Path]:
    folders = [path.parent for path in sorted((shared_data / "xrays").glob("*/*/truth.json"))]
    return [folder for folder in folders if json.loads((folder / "truth.json").read_text())["level"] == 0]


@pytest.mark.slow
@pytest.mark.parametrize("name", FIELDS)
def test_fog_on_simulated_xrays(shared_data: Path, name: str) -> None:
    """All but one of them at most: where the field shows little structure, a shadow is left alone."""
    found = []
    for folder in _without_tools(shared_data):
        attenuation, _ = line_integrals(XRay.read(folder / "xray.dcm"))
        pixels = exposed(-np.log(fogged(np.exp(-attenuation.astype(float)), FIELDS[name], 0.3)))
        found.append(iou(masks_of(pixels).collimation, ~FIELDS[name]))
    assert sorted(found)[1] > 0.85


@pytest.mark.parametrize("corner", [(0, 0), (0, 96), (96, 0), (96, 96), (48, 48)])
def test_dense_anatomy_at_the_border_is_not_fog(shared_data: Path, corner: tuple[int, int]) -> None:
    top, left = corner
    for folder in _without_tools(shared_data):
        pixels = XRay.read(folder / "xray.dcm").pixels[top : top + 160, left : left + 160]
        assert not find_fog(attenuation_of(pixels)).any()


# Images that are none -----------------------------------------------------------------------------------


def test_specks_all_over_an_even_image_leave_nothing_beside_a_shadow():
    """Every pixel of the image touches the even area, so that there is no step to measure."""
    attenuation = np.zeros((64, 64), dtype=np.float32)
    for row in (16, 17):  # two pixels wide, because averages of two by two are looked at
        for column in (16, 17):
            attenuation[row:48:4, column:48:4] = 1
    masks = find_masks(attenuation, attenuation)
    assert np.isfinite(masks.weight).all() and masks.weight.shape == (64, 64)


@pytest.mark.parametrize("shape", [(100_000, 1), (2, 60_000)])
def test_slivers_take_no_more_memory_than_they_have_pixels(shape):
    """Their blocks would be squares of the longer side."""
    pixels = np.random.default_rng(0).random(shape, dtype=np.float32)
    assert find_masks(pixels, pixels).weight.shape == shape
