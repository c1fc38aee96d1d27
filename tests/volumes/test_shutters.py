"""What shutters, collimators and padding hide is no image."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pydicom
import pytest
from PIL import Image
from pydicom.dataset import Dataset, FileMetaDataset
from pydicom.sequence import Sequence
from pydicom.uid import ExplicitVRLittleEndian, XRayAngiographicImageStorage, generate_uid

from isoclinic.volumes import GeometryWarning, XRay, XRayOptions

HEIGHT, WIDTH = 30, 40
PIXELS = np.random.default_rng(0).integers(100, 4000, (HEIGHT, WIDTH)).astype(np.uint16)
ROWS, COLUMNS = np.indices((HEIGHT, WIDTH)) + 1  # as DICOM counts


def read(folder: Path, options: XRayOptions | None = None, **attributes: Any) -> XRay:
    dataset = Dataset()
    dataset.file_meta = FileMetaDataset()
    dataset.file_meta.TransferSyntaxUID = ExplicitVRLittleEndian
    dataset.file_meta.MediaStorageSOPClassUID = dataset.SOPClassUID = XRayAngiographicImageStorage
    dataset.file_meta.MediaStorageSOPInstanceUID = dataset.SOPInstanceUID = generate_uid()
    dataset.Modality, dataset.PhotometricInterpretation, dataset.SamplesPerPixel = "XA", "MONOCHROME2", 1
    dataset.Rows, dataset.Columns = HEIGHT, WIDTH
    dataset.BitsAllocated, dataset.BitsStored, dataset.HighBit, dataset.PixelRepresentation = 16, 16, 15, 0
    dataset.PixelData = PIXELS.tobytes()
    dataset.DistanceSourceToDetector, dataset.ImagerPixelSpacing = 1000, [0.5, 0.5]
    for keyword, value in attributes.items():
        if isinstance(value, pydicom.DataElement):
            dataset[keyword] = value
        else:
            setattr(dataset, keyword, value)
    dataset.save_as(folder / "xray.dcm", enforce_file_format=True)
    return XRay.read(folder / "xray.dcm", options)


def rectangle(device: str, left: int, right: int, upper: int, lower: int) -> dict[str, Any]:
    return {
        f"{device}Shape": "RECTANGULAR",
        f"{device}LeftVerticalEdge": left,
        f"{device}RightVerticalEdge": right,
        f"{device}UpperHorizontalEdge": upper,
        f"{device}LowerHorizontalEdge": lower,
    }


WITHIN = (ROWS >= 4) & (ROWS <= 25) & (COLUMNS >= 6) & (COLUMNS <= 37)


@pytest.mark.parametrize("device", ["Shutter", "Collimator"])
class TestShapes:
    def test_rectangle(self, tmp_path: Path, device: str) -> None:
        xray = read(tmp_path, **rectangle(device, 6, 37, 4, 25))
        assert xray.excluded is not None
        np.testing.assert_array_equal(~xray.excluded, WITHIN)
        assert xray.provenance["exclude"].startswith(f"{device}Shape (0018,1")
        assert xray.provenance["exclude"].endswith(" RECTANGULAR")

    def test_circle(self, tmp_path: Path, device: str) -> None:
        xray = read(
            tmp_path,
            **{f"{device}Shape": "CIRCULAR", f"CenterOfCircular{device}": [15, 20]},
            **{f"RadiusOfCircular{device}": 12},
        )
        assert xray.excluded is not None
        np.testing.assert_array_equal(~xray.excluded, np.hypot(ROWS - 15, COLUMNS - 20) <= 12)

    def test_circle_of_pixels_that_are_no_squares(self, tmp_path: Path, device: str) -> None:
        """The radius counts pixels along a row; rows twice as far apart make it half as many of them."""
        xray = read(
            tmp_path,
            ImagerPixelSpacing=[0.8, 0.4],
            **{f"{device}Shape": "CIRCULAR", f"CenterOfCircular{device}": [15, 20]},
            **{f"RadiusOfCircular{device}": 16},
        )
        assert xray.excluded is not None
        kept = ~xray.excluded
        assert (kept.any(axis=1).sum(), kept.any(axis=0).sum()) == (17, 33)

    def test_polygon(self, tmp_path: Path, device: str) -> None:
        """A right triangle, whose pixels are those on the inner side of its long side."""
        vertices = [1, 1, 1, WIDTH, HEIGHT, 1]
        xray = read(tmp_path, **{f"{device}Shape": "POLYGONAL", f"VerticesOfThePolygonal{device}": vertices})
        assert xray.excluded is not None
        beyond = (ROWS - 1) / (HEIGHT - 1) + (COLUMNS - 1) / (WIDTH - 1) - 1
        assert not xray.excluded[beyond < -0.05].any()
        assert xray.excluded[beyond > 0.05].all()

    def test_several_shapes_leave_what_all_leave(self, tmp_path: Path, device: str) -> None:
        xray = read(
            tmp_path,
            **rectangle(device, 6, 37, 4, 25)
            | {f"{device}Shape": ["RECTANGULAR", "CIRCULAR"]}
            | {f"CenterOfCircular{device}": [15, 20], f"RadiusOfCircular{device}": 14},
        )
        assert xray.excluded is not None
        np.testing.assert_array_equal(~xray.excluded, WITHIN & (np.hypot(ROWS - 15, COLUMNS - 20) <= 14))

    def test_edges_beyond_the_image_hide_nothing(self, tmp_path: Path, device: str) -> None:
        assert read(tmp_path, **rectangle(device, 0, 1025, -3, 1025)).excluded is None

    @pytest.mark.parametrize(
        ("attributes", "message"),
        [
            ({"Shape": "RECTANGULAR"}, r"LeftVerticalEdge .* not one number"),
            ({"Shape": "POLYGONAL", "VerticesOfThePolygonal": [1, 1, 5, 5]}, "2 vertices"),
            ({"Shape": "CIRCULAR", "CenterOfCircular": [15, 20], "RadiusOfCircular": 0}, "radius 0"),
            ({"Shape": "CIRCULAR", "CenterOfCircular": [15, 20], "RadiusOfCircular": 3}, r"leave 2\.4% of"),
            ({"Shape": "BITMAP"}, "BITMAP is not read"),
        ],
    )
    def test_what_cannot_be_is_said_and_not_used(
        self, tmp_path: Path, device: str, attributes: dict[str, Any], message: str
    ) -> None:
        named = {
            f"{name}{device}" if "Of" in name else f"{device}{name}": value
            for name, value in attributes.items()
        }
        with pytest.warns(GeometryWarning, match=rf"{device}Shape .*{message}.*`exclude`"):
            xray = read(tmp_path, **named)
        assert xray.excluded is None


def test_shutter_and_collimator_together(tmp_path: Path) -> None:
    xray = read(tmp_path, **rectangle("Shutter", 6, 40, 1, 25), **rectangle("Collimator", 1, 37, 4, 30))
    assert xray.excluded is not None
    np.testing.assert_array_equal(~xray.excluded, WITHIN)


def test_of_the_frame(tmp_path: Path) -> None:
    """Enhanced objects have a shutter a frame."""
    frames = []
    for left in (1, 11):
        shutter = Dataset()
        for keyword, value in rectangle("Shutter", left, WIDTH, 1, HEIGHT).items():
            setattr(shutter, keyword, value)
        frame = Dataset()
        frame.FrameDisplayShutterSequence = Sequence([shutter])
        frames.append(frame)
    xray = read(
        tmp_path,
        XRayOptions(frame=1),
        NumberOfFrames=2,
        PixelData=PIXELS.tobytes() * 2,
        PerFrameFunctionalGroupsSequence=Sequence(frames),
    )
    assert xray.excluded is not None
    np.testing.assert_array_equal(xray.excluded, COLUMNS < 11)


def test_stored_image_is_meant_whatever_options_do_to_it(tmp_path: Path) -> None:
    options = XRayOptions(flip_left_right=True, crop_px=(0, 0, HEIGHT, 20))
    xray = read(tmp_path, options, **rectangle("Shutter", 6, 31, 1, HEIGHT))
    assert xray.excluded is not None
    np.testing.assert_array_equal(xray.excluded[0], np.arange(20) < WIDTH - 31)


def test_joins_a_mask(tmp_path: Path) -> None:
    drawn = np.zeros((HEIGHT, WIDTH), np.uint8)
    drawn[12, 20] = 255
    Image.fromarray(drawn).save(tmp_path / "mask.png")
    xray = read(tmp_path, XRayOptions(exclude=tmp_path / "mask.png"), **rectangle("Shutter", 6, 37, 4, 25))
    assert xray.excluded is not None
    np.testing.assert_array_equal(xray.excluded, ~WITHIN | (drawn > 0))
    assert xray.provenance["exclude"].endswith("option `exclude`")


class TestPadding:
    def test_padding_is_excluded_but_for_specks(self, tmp_path: Path) -> None:
        pixels = PIXELS.copy()
        pixels[:5] = 4095
        pixels[20, 20] = 4095  # saturated by chance
        padding = pydicom.DataElement(0x00280120, "US", 4095)
        xray = read(tmp_path, PixelData=pixels.tobytes(), PixelPaddingValue=padding)
        assert xray.excluded is not None
        np.testing.assert_array_equal(xray.excluded, ROWS <= 5)
        assert xray.provenance["exclude"] == "PixelPaddingValue (0028,0120)"

    def test_padding_of_nearly_everything_is_doubted(self, tmp_path: Path) -> None:
        padding = {
            "PixelPaddingValue": pydicom.DataElement(0x00280120, "US", 0),
            "PixelPaddingRangeLimit": pydicom.DataElement(0x00280121, "US", 5000),
        }
        with pytest.warns(GeometryWarning, match=r"PixelPaddingValue \(0028,0120\) would leave 0.0%"):
            xray = read(tmp_path, **padding)
        assert xray.excluded is None
