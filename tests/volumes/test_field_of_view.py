"""Where on the detector an image lies, by DICOM headers: against a detector whose elements know their places.

The oracle is the detector as an array: each element holds its own x or y in millimetres from the middle.
numpy cuts it, averages blocks, turns and mirrors it as the header says, and what comes out is the stored
image. Read back, the ray of each pixel must meet the detector where the pixel's value says.
"""

from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import pytest
from pydicom.dataset import Dataset
from pydicom.sequence import Sequence

from isoclinic.errors import InputError
from isoclinic.volumes import XRay, XRayOptions
from isoclinic.volumes._warnings import GeometryWarning
from raising import raises

from .test_xray import write, xray_dataset

ROWS, COLUMNS, PITCH_MM = 120, 160, 0.5
SCALE = 200.0  # stored values for a millimetre, around the middle of 16 bits
# Half a stored value, and the header's decimals.
ROUNDING_MM = 0.51 / SCALE + 1e-6


class Shot(NamedTuple):
    """How the device made the image."""

    top: int = 0
    left: int = 0
    rows: int = ROWS
    columns: int = COLUMNS
    binning: int = 1
    turned: int = 0
    mirrored: bool = False

    def stored(self, detector: np.ndarray) -> np.ndarray:
        field = detector[self.top : self.top + self.rows, self.left : self.left + self.columns]
        blocks = field.reshape(self.rows // self.binning, self.binning, self.columns // self.binning, -1)
        image = np.rot90(blocks.mean(axis=(1, 3)), -self.turned // 90)
        return image[:, ::-1] if self.mirrored else image

    def header(self, **changes: Any) -> dict[str, Any]:
        spacing = PITCH_MM * self.binning
        return {
            "DistanceSourceToDetector": "1000",
            "ImagerPixelSpacing": [f"{spacing:g}"] * 2,
            "DetectorElementSpacing": [f"{PITCH_MM:g}"] * 2,
            "DetectorBinning": [str(self.binning)] * 2,
            "DetectorActiveDimensions": [f"{ROWS * PITCH_MM:g}", f"{COLUMNS * PITCH_MM:g}"],
            "FieldOfViewOrigin": [str(self.top), str(self.left)],
            "FieldOfViewShape": "RECTANGLE",
            "FieldOfViewDimensions": [round(self.rows * PITCH_MM), round(self.columns * PITCH_MM)],
            "FieldOfViewRotation": str(self.turned),
            "FieldOfViewHorizontalFlip": "YES" if self.mirrored else "NO",
            **changes,
        }

    def read(self, folder: Path, options: XRayOptions | None = None, **changes: Any) -> list[XRay]:
        """Two images: of where each pixel is across, and down the detector."""
        down_mm, across_mm = np.indices((ROWS, COLUMNS)) * PITCH_MM
        middle_mm = [(size - 1) / 2 * PITCH_MM for size in (COLUMNS, ROWS)]
        xrays = []
        for place_mm, middle in zip((across_mm, down_mm), middle_mm, strict=True):
            stored = np.rint(self.stored((place_mm - middle) * SCALE) + 2**15).astype(np.uint16)
            dataset = xray_dataset(np.ascontiguousarray(stored), **self.header(**changes))
            xrays.append(XRay.read(write(folder, dataset), options))
        return xrays


def assert_rays_meet(xrays: list[XRay]) -> None:
    """Every pixel's ray meets the detector where its value says: x across it, y down."""
    rays_mm = xrays[0].camera.rays().numpy()
    for axis, xray in enumerate(xrays):
        place_mm = (xray.pixels - 2**15) / SCALE
        np.testing.assert_allclose(rays_mm[..., axis], place_mm, atol=ROUNDING_MM)


CUT = Shot(top=20, left=8, rows=80, columns=60, binning=2)


@pytest.mark.parametrize(
    "shot",
    [
        Shot(),
        CUT,
        CUT._replace(turned=90),
        CUT._replace(turned=180),
        CUT._replace(turned=270),
        CUT._replace(mirrored=True),
        CUT._replace(turned=90, mirrored=True),
        CUT._replace(turned=180, mirrored=True),
        CUT._replace(turned=270, mirrored=True),
    ],
)
class TestOnTheDetector:
    def test_the_header_is_followed(self, tmp_path: Path, shot: Shot) -> None:
        xrays = shot.read(tmp_path)
        assert_rays_meet(xrays)
        assert xrays[0].camera.fx > 0 and xrays[0].camera.fy > 0
        assert xrays[0].pixels.shape == (shot.rows // shot.binning, shot.columns // shot.binning)
        assert ("undoes" in xrays[0].provenance.get("turn", "")) == (shot.turned > 0 or shot.mirrored)

    def test_through_crop_and_bin(self, tmp_path: Path, shot: Shot) -> None:
        xrays = shot.read(tmp_path, XRayOptions(crop_px=(2, 4, 20, 24), bin=2))
        assert_rays_meet(xrays)

    def test_marks_of_the_stored_image(self, tmp_path: Path, shot: Shot) -> None:
        """The value under a mark in the stored image is found again where the mark has gone."""
        used = shot.read(tmp_path)[0]
        stored = np.rint(
            shot.stored((np.indices((ROWS, COLUMNS))[1] * PITCH_MM - (COLUMNS - 1) / 2 * PITCH_MM) * SCALE)
            + 2**15
        )
        v, u = np.indices(stored.shape)
        found = np.rint(used.pixels_from_stored(np.stack([u, v], axis=-1).astype(float))).astype(int)
        np.testing.assert_array_equal(used.pixels[found[..., 1], found[..., 0]], stored)


def test_rows_and_columns_of_dimensions_in_either_order(tmp_path: Path) -> None:
    """Devices write the width first, too: what does not fit one way is taken the other."""
    tall = Shot(top=0, left=50, rows=120, columns=60)
    swapped = [f"{COLUMNS * PITCH_MM:g}", f"{ROWS * PITCH_MM:g}"]
    xrays = Shot(left=90, columns=70).read(
        tmp_path, DetectorActiveDimensions=swapped, FieldOfViewDimensions=[35, 60]
    )
    assert_rays_meet(xrays)
    assert_rays_meet(tall.read(tmp_path, FieldOfViewDimensions=[30, 60]))


def test_elements_without_spacing_are_counted_by_their_binning(tmp_path: Path) -> None:
    assert_rays_meet(CUT.read(tmp_path, DetectorElementSpacing=[]))


def test_physical_size_of_elements_stands_in_for_their_spacing(tmp_path: Path) -> None:
    assert_rays_meet(
        CUT.read(tmp_path, DetectorElementSpacing=[], DetectorElementPhysicalSize=["0.5", "0.5"])
    )


def test_the_active_area_has_an_origin_too(tmp_path: Path) -> None:
    """Both are counted from the corner of the physical detector."""
    xrays = CUT.read(tmp_path, FieldOfViewOrigin=["27", "11"], DetectorActiveOrigin=["7", "3"])
    assert_rays_meet(xrays)


def test_options_are_believed_instead(tmp_path: Path) -> None:
    turned = CUT._replace(turned=90)
    xray, _ = turned.read(tmp_path, XRayOptions(turn=0))
    assert xray.pixels.shape == (30, 40) and xray.turned_deg == 0
    assert xray.provenance["turn"] == "option `turn`"
    assert_rays_meet(turned.read(tmp_path, XRayOptions(turn=270)))
    mirrored = CUT._replace(mirrored=True)
    assert_rays_meet(mirrored.read(tmp_path, XRayOptions(flip_left_right=True)))
    centre, _ = CUT.read(tmp_path, XRayOptions(principal_point_px=(3.0, 4.0)))
    assert (centre.camera.cx, centre.camera.cy) == (3, 4)
    assert not any("principal point" in each.message for each in centre.findings)


def test_enhanced_objects_keep_it_in_functional_groups(tmp_path: Path) -> None:
    """X-Ray Field of View and X-Ray Geometry macros (PS3.3 C.8.19.6), of the frame that is read."""

    def macro(sequence: str, **attributes: Any) -> Dataset:
        item, group = Dataset(), Dataset()
        for keyword, value in attributes.items():
            setattr(item, keyword, value)
        setattr(group, sequence, Sequence([item]))
        return group

    across_mm = np.indices((ROWS, COLUMNS))[1] * PITCH_MM
    stored = CUT.stored((across_mm - (COLUMNS - 1) / 2 * PITCH_MM) * SCALE) + 2**15
    frames = np.rint(np.stack([stored[::-1], stored])).astype(np.uint16)
    shared = macro("XRayGeometrySequence", DistanceSourceToDetector="1000", DistanceSourceToIsocenter=700.0)
    shared.update(macro("FramePixelDataPropertiesSequence", ImagerPixelSpacing=["1", "1"]))
    per_frame = [
        macro(
            "FieldOfViewSequence",
            FieldOfViewShape="RECTANGLE",
            FieldOfViewDimensionsInFloat=[40.0, 30.0],
            FieldOfViewOrigin=origin,
            FieldOfViewRotation=0.0,
            FieldOfViewHorizontalFlip="NO",
        )
        for origin in ([0.0, 0.0], [20.0, 8.0])
    ]
    dataset = xray_dataset(
        frames,
        **{
            name: None
            for name in ("DistanceSourceToDetector", "DistanceSourceToPatient", "ImagerPixelSpacing")
        },
        SharedFunctionalGroupsSequence=Sequence([shared]),
        PerFrameFunctionalGroupsSequence=Sequence(per_frame),
        DetectorActiveDimensions=["60", "80"],
        DetectorElementSpacing=["0.5", "0.5"],
    )
    xray = XRay.read(write(tmp_path, dataset), XRayOptions(frame=1))
    rays_mm = xray.camera.rays().numpy()
    np.testing.assert_allclose(rays_mm[..., 0], (xray.pixels - 2**15) / SCALE, atol=ROUNDING_MM)
    # The middle of 120 rows is element 59.5; the image begins at 20 and averages two.
    assert xray.camera.cy == pytest.approx((59.5 - 20 + 0.5) / 2 - 0.5)
    assert (xray.camera.sdd_mm, xray.source_isocentre_mm) == (1000, 700)


OPEN = {
    "nothing says how large the detector is": (
        dict(DetectorActiveDimensions=[]),
        r"FieldOfViewOrigin \(0018,7030\) 20, 8 .*DetectorActiveDimensions is missing.*`principal_point_px`",
    ),
    "cut after it was taken": (
        dict(FieldOfViewDimensions=[60, 30]),
        r"field of view is FieldOfViewDimensions \(0018,1149\) 60 x 30 mm: it was cut.*`principal_point_px`",
    ),
    "cut on both sides": (dict(FieldOfViewDimensions=[60, 60]), r"it was cut.*`principal_point_px`"),
    "beyond the detector": (
        dict(FieldOfViewOrigin=["90", "8"]),
        r"FieldOfViewOrigin .*beyond the detector of 60 x 80 mm.*`principal_point_px`",
    ),
    "another spacing": (
        dict(FieldOfViewDimensions=[60, 45]),
        r"its field of view is .*60 x 45 mm: then its pixels are 1.5 x 1.5 mm, or it.*`pixel_spacing_mm`",
    ),
    "a detector of which it shows a part": (
        dict(FieldOfViewOrigin=[], FieldOfViewDimensions=[], FieldOfViewShape=""),
        r"40 x 30 mm of a detector of 60 x 80 mm .*nothing says where.*`principal_point_px`",
    ),
}


@pytest.mark.parametrize(("changes", "said"), OPEN.values(), ids=OPEN.keys())
def test_what_cannot_be_settled_is_a_doubt(tmp_path: Path, changes: dict[str, Any], said: str) -> None:
    """The centre is assumed then, and said so, until an option says better."""
    with pytest.warns(GeometryWarning, match=said):
        xray, _ = CUT.read(tmp_path, **changes)
    assert (xray.camera.cx, xray.camera.cy) == (14.5, 19.5)
    assert "assumed" in xray.provenance["principal_point_px"]
    (finding,) = (each for each in xray.findings if each.unsettled)
    options: dict[str, Any] = {
        "principal_point_px": {"principal_point_px": (14.5, 19.5)},
        "pixel_spacing_mm": {"pixel_spacing_mm": (1.0, 1.0)},
    }[finding.settled_by[0]]
    settled, _ = CUT.read(tmp_path, XRayOptions(**options), **changes)
    assert not any(each.unsettled for each in settled.findings)


@pytest.mark.parametrize(
    "changes",
    [
        dict(FieldOfViewShape="ROUND", FieldOfViewDimensions=[42]),  # inscribed
        dict(FieldOfViewShape="", FieldOfViewDimensions=[50]),  # the diagonal
        dict(FieldOfViewDimensions=[41, 31]),  # rounded up
        dict(DetectorActiveDimensions=[], FieldOfViewOrigin=["0", "0"]),
        dict(FieldOfViewOrigin=[]),  # a zoom
    ],
)
def test_what_is_no_contradiction(tmp_path: Path, changes: dict[str, Any]) -> None:
    """Warnings would fail the test."""
    xray, _ = CUT.read(tmp_path, **changes)
    assert not any(each.unsettled for each in xray.findings)


def test_borders_around_the_field_are_told(tmp_path: Path) -> None:
    with pytest.warns(GeometryWarning, match="given a border"):
        xray, _ = CUT.read(tmp_path, FieldOfViewDimensions=[40, 20])
    assert not any(each.unsettled for each in xray.findings)


def test_an_odd_turn_is_told_and_not_followed(tmp_path: Path) -> None:
    with pytest.warns(GeometryWarning, match=r"FieldOfViewRotation \(0018,7032\) is 12.5 deg.*`turn`"):
        xray, _ = CUT.read(tmp_path, FieldOfViewRotation="12.5")
    assert xray.turned_deg == 0


def test_numbers_that_are_none_are_told(tmp_path: Path) -> None:
    dataset = xray_dataset(np.arange(1200, dtype=np.uint16).reshape(40, 30), **CUT.header())
    dataset.add_new("FieldOfViewOrigin", "LO", ["top", "left"])
    with pytest.warns(GeometryWarning, match=r"FieldOfViewOrigin \(0018,7030\) is not used"):
        XRay.read(write(tmp_path, dataset))


def test_a_cut_image_needs_a_spacing(tmp_path: Path) -> None:
    with raises(InputError, "xray.geometry-missing", "`pixel_spacing_mm` 1 1"):
        CUT.read(tmp_path, ImagerPixelSpacing=None, DetectorBinning=[])
