"""A CT's readings against numbers written down, and every oddity beside a CT that has none."""

import re

import numpy as np
import pytest
from scipy.spatial.transform import Rotation

from isoclinic.inspection import inspect_volume
from isoclinic.volumes import Volume

from .scenes import body, ct, said, value


def test_readings():
    labels = np.zeros((60, 50, 64), np.uint8)
    labels[30, 25, :] = 3
    volume = ct(labels=labels, label_names={3: "rod"}, axes=np.diag([-1, 1, 1]))
    found = inspect_volume(volume)
    assert value(found, "size") == (60, 50, 64)
    assert value(found, "spacing") == (4, 4, 3)
    assert value(found, "orientation") == "LAS"
    assert value(found, "extent") == (240, 200, 192)
    # Half of 59, 49 and 63 steps from the first voxel's centre.
    assert value(found, "centre") == (-10 - 118, 20 + 98, 400 + 94.5)
    assert value(found, "values") == (-1000, 800)
    assert value(found, "labels") == ("3 rod",)
    air, soft, bone = value(found, "air, soft tissue, bone")
    # Areas of the ellipses: pi times the product of the radii, as voxels cut them.
    assert soft + bone == pytest.approx(100 * np.pi * 0.35**2, rel=0.05)
    assert bone == pytest.approx(100 * np.pi * 0.06**2, rel=0.2)
    assert air + soft + bone == pytest.approx(100)


def test_nothing_odd_about_an_ordinary_ct():
    for axes in (np.eye(3), np.diag([-1, 1, 1]), Rotation.from_euler("xyz", [10, 20, 5], True).as_matrix()):
        assert inspect_volume(ct(axes=axes)).findings == ()


@pytest.mark.parametrize("axes", [np.eye(3), np.diag([-1, 1, 1])])
def test_handedness_is_said_but_not_odd(axes):
    (source,) = (
        reading.source for reading in inspect_volume(ct(axes=axes)).readings if reading.name == "orientation"
    )
    assert ("left-handed" in source) == (np.linalg.det(axes) < 0)


def scaled(hu: np.ndarray, slope: float, intercept: float) -> np.ndarray:
    return (hu * slope + intercept).astype(np.float32)


@pytest.mark.parametrize(
    ("change", "expected"),
    [
        (dict(spacing_mm=(0.004, 0.004, 0.003)), "seems to be metres.*`length_unit` m `save_ct`"),
        (
            dict(spacing_mm=(0.07, 0.07, 0.25), hu=body((512, 400, 133))),
            "seems to be centimetres.*`length_unit` cm `save_ct`",
        ),
        (dict(spacing_mm=(4000.0, 4000.0, 3000.0)), "seems to be micrometres.*`length_unit` um `save_ct`"),
        (dict(spacing_mm=(80.0, 80.0, 60.0)), "more than any scanner covers"),
        (dict(hu=body((60, 50, 12))), "covers only 36 mm .12 slices. along S"),
        (dict(spacing_mm=(4.0, 4.0, 5.0)), "slices are 5 mm thick"),
        (dict(spacing_mm=(0.5, 0.5, 3.0), hu=body((300, 300, 64))), "6.0 times as long"),
        (dict(axes=[[1, 0, 0], [0, 1, 0.1], [0, 0, 1]]), "5.[67] deg off right angles.*dcm2niix"),
        (dict(hu=scaled(body(), 1, 1024) - 30), "around 1014 HU.*intercept"),
        (dict(hu=scaled(body(), 0.1, 0)), "no voxel is below -100 HU.*`hu_scale`"),
        (
            dict(hu=np.where(body() == 20, -600, body()).astype(np.int16)),
            "0.* % of the voxels are soft tissue",
        ),
        (dict(hu=np.minimum(body(), 150)), "no voxel exceeds 150 HU.*full range"),
        (dict(hu=body(radii=(0.6, 0.35))), r"touches the sides of the scan \(.*[RL] \d+ %.*`structures`"),
        (dict(hu=body(radii=(0.35, 0.6))), r"touches the sides of the scan \(.*[AP] \d+ %"),
        (dict(labels=np.zeros((60, 50, 64), np.uint8)), "label map is empty.*`labels`"),
        (
            dict(labels=np.ones((60, 50, 64), np.uint8), label_names={1: "a", 2: "b"}),
            "without any voxel.*2 b",
        ),
        (
            dict(labels=np.ones((60, 50, 64), np.uint8), label_names={1: "a", 2: "a"}),
            "named a;.*`structures`",
        ),
    ],
)
def test_oddities(change, expected):
    assert re.search(expected, said(inspect_volume(ct(**change))))


def in_a_circle(radius: float) -> Volume:
    """A body of that radius [share of the width] in a scanner's round field of view with padded corners."""
    shape = (80, 80, 40)
    x, y = np.meshgrid(*2 * [np.linspace(-0.5, 0.5, 80)], indexing="ij")
    hu = body(shape, (radius, radius))
    hu[np.hypot(x, y) > 0.5] = -2048
    return ct(hu, spacing_mm=(4.0, 4.0, 3.0))


@pytest.mark.parametrize(("radius", "cut"), [(0.3, False), (0.44, False), (0.6, True)])
def test_body_cut_by_a_round_field(radius, cut):
    """The field of radius 0.5 reaches the sides in strips that are less than a tenth of a side."""
    found = [finding.message for finding in inspect_volume(in_a_circle(radius)).findings]
    assert any("cut off" in message for message in found) == cut


def test_body_that_ends_below_and_above_is_not_cut():
    """All CTs end there."""
    for axes in (np.eye(3), np.eye(3)[:, [2, 0, 1]]):
        hu = body() if axes[0, 0] else body().transpose(2, 0, 1)
        assert "cut off" not in said(inspect_volume(ct(hu, spacing_mm=(3.0, 3.0, 3.0), axes=axes)))


@pytest.mark.slow
def test_real_cts(shared_data, chest_ct_path):
    """Numbers of the data's description; arms beside the body of the series reach out of its round field."""
    pelvis = shared_data / "abdomen_pelvis_3mm.nii.gz"
    labels = shared_data / "abdomen_pelvis_3mm_labels.nii.gz"
    found = inspect_volume(Volume.read(pelvis, labels=labels))
    assert value(found, "orientation") == "RAS" and value(found, "spacing") == (3, 3, 3)
    assert "3 sacrum" in value(found, "labels")
    assert inspect_volume(Volume.read(chest_ct_path)).findings == ()
    found = inspect_volume(Volume.read(shared_data / "ct_dicom_series"))
    assert "covers only 40 mm" in said(found) and "round field of view" in said(found)


def textured() -> np.ndarray:
    """A body whose slices change slowly, with the noise of a scanner."""
    z = np.arange(64)
    rings = 200 * np.sin(z / 9)[None, None] * (body() == 20)
    return (body() + rings + np.random.default_rng(0).normal(0, 20, body().shape)).astype(np.int16)


def test_order_of_slices():
    """Neighbours are alike, shuffled slices are not, and no two noisy slices are the same."""
    assert inspect_volume(ct(textured())).findings == ()
    shuffled = textured()[:, :, np.random.default_rng(1).permutation(64)]
    assert "out of order" in said(inspect_volume(ct(shuffled)))
    doubled = np.insert(textured(), 21, textured()[:, :, 20], axis=2)
    assert "(20 and 21, counted from 0)" in said(inspect_volume(ct(doubled)))


@pytest.mark.parametrize(
    ("hu", "expected"),
    [
        (scaled(textured(), 4, 0), "lighter than air.*`hu_scale`"),
        (scaled(textured(), 1, -1024), "lighter than air.*`hu_offset`"),
        (scaled(textured(), 0.1, 0), "no voxel is below.*`hu_scale`"),
    ],
)
def test_lost_slope(hu, expected):
    assert re.search(expected, said(inspect_volume(ct(hu)), "warning"))


def test_a_coarse_ct_in_centimetres():
    """36 x 30 x 34 mm are no patient."""
    found = inspect_volume(ct(spacing_mm=(0.6, 0.6, 0.5)))
    assert "seems to be centimetres" in said(found, "warning")
