"""X-rays of linear accelerators: distances, spacing and principal point under names of their own."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
from pydicom.dataset import Dataset, FileMetaDataset
from pydicom.uid import ExplicitVRLittleEndian, RTImageStorage, generate_uid

from isoclinic.errors import InputError
from isoclinic.volumes import GeometryWarning, XRay, XRayOptions
from raising import raises

HEIGHT, WIDTH = 30, 40
PIXELS = np.random.default_rng(0).integers(100, 4000, (HEIGHT, WIDTH)).astype(np.uint16)
OPTIONS = XRayOptions(polarity="bright_air")


def read(folder: Path, options: XRayOptions = OPTIONS, **attributes: Any) -> XRay:
    """An image whose pixels are 0.8 mm (rows) by 0.4 mm (columns) apart, the axis in its middle."""
    dataset = Dataset()
    dataset.file_meta = FileMetaDataset()
    dataset.file_meta.TransferSyntaxUID = ExplicitVRLittleEndian
    dataset.file_meta.MediaStorageSOPClassUID = dataset.SOPClassUID = RTImageStorage
    dataset.file_meta.MediaStorageSOPInstanceUID = dataset.SOPInstanceUID = generate_uid()
    dataset.Modality, dataset.PhotometricInterpretation, dataset.SamplesPerPixel = "RTIMAGE", "MONOCHROME2", 1
    dataset.Rows, dataset.Columns = HEIGHT, WIDTH
    dataset.BitsAllocated, dataset.BitsStored, dataset.HighBit, dataset.PixelRepresentation = 16, 16, 15, 0
    dataset.PixelData = PIXELS.tobytes()
    dataset.RTImagePlane, dataset.RTImageSID, dataset.RadiationMachineSAD = "NORMAL", 1500, 1000
    dataset.ImagePlanePixelSpacing = [0.8, 0.4]
    dataset.RTImagePosition = [-0.4 * (WIDTH - 1) / 2, 0.8 * (HEIGHT - 1) / 2]
    for keyword, value in attributes.items():
        if value is None:
            delattr(dataset, keyword)
        else:
            setattr(dataset, keyword, value)
    dataset.save_as(folder / "xray.dcm", enforce_file_format=True)
    return XRay.read(folder / "xray.dcm", options)


def test_geometry(tmp_path: Path) -> None:
    xray = read(tmp_path, GantryAngle=270)
    camera = xray.camera
    assert (camera.sdd_mm, camera.pixel_spacing_mm, xray.source_isocentre_mm) == (1500, (0.8, 0.4), 1000)
    assert (camera.cx, camera.cy) == pytest.approx(((WIDTH - 1) / 2, (HEIGHT - 1) / 2))
    assert xray.provenance["sdd_mm"] == "RTImageSID (3002,0026)"
    assert xray.provenance["gantry_angle_deg"] == "GantryAngle (300a,011e) 270"
    np.testing.assert_array_equal(xray.pixels, PIXELS)


def test_polarity_is_guessed_with_a_warning(tmp_path: Path) -> None:
    with pytest.warns(GeometryWarning, match="`polarity`"):
        read(tmp_path, XRayOptions())


def test_sign_tells_the_polarity(tmp_path: Path) -> None:
    assert read(tmp_path, XRayOptions(), PixelIntensityRelationshipSign=-1).polarity == "dark_air"


def test_first_pixel_tells_where_the_axis_is(tmp_path: Path) -> None:
    """The first pixel 6 mm left of and 4 mm above the axis: 15 columns and 5 rows."""
    camera = read(tmp_path, RTImagePosition=[-6, 4]).camera
    assert (camera.cx, camera.cy) == pytest.approx((15, 5))


def test_shifted_receptor(tmp_path: Path) -> None:
    """The receptor 8 mm towards positive x: the axis meets it 8 mm, or 20 columns, further left."""
    camera = read(tmp_path, XRayImageReceptorTranslation=[8, -4, -500]).camera
    assert (camera.cx, camera.cy) == pytest.approx(((WIDTH - 1) / 2 - 20, (HEIGHT - 1) / 2 - 5))


def test_rows_that_run_upwards(tmp_path: Path) -> None:
    xray = read(tmp_path, RTImageOrientation=[1, 0, 0, 0, 1, 0], RTImagePosition=[-6, -4])
    assert (xray.camera.cx, xray.camera.cy) == pytest.approx((15, 5))


def test_distance_said_in_two_ways(tmp_path: Path) -> None:
    with pytest.warns(GeometryWarning, match=r"RTImageSID .* 1500 mm.*at 1400 mm.*`sdd_mm`"):
        assert read(tmp_path, XRayImageReceptorTranslation=[0, 0, -400]).camera.sdd_mm == 1500


def test_turned_and_shifted_receptor_is_said(tmp_path: Path) -> None:
    with pytest.warns(GeometryWarning, match=r"XRayImageReceptorAngle \(3002,000e\) is 90"):
        camera = read(tmp_path, XRayImageReceptorAngle=90, XRayImageReceptorTranslation=[4, 0, -500]).camera
    assert (camera.cx, camera.cy) != pytest.approx(((WIDTH - 1) / 2, (HEIGHT - 1) / 2))


@pytest.mark.parametrize(
    ("attributes", "fault"),
    [
        ({"RTImageSID": None}, ("xray.geometry-missing", "`sdd_mm`")),
        ({"RTImageSID": 0}, ("xray.geometry-missing", "RTImageSID", "3002,0026", "0.0", "`sdd_mm`")),
        ({"ImagePlanePixelSpacing": None}, ("xray.geometry-missing", "`pixel_spacing_mm`")),
        ({"RTImagePlane": "NON_NORMAL"}, ("xray.unsupported", "RTImagePlane", "3002,000c", "NON_NORMAL")),
        ({"RTImagePosition": [1, 2, 3]}, ("xray.malformed-header", "RTImagePosition")),
    ],
)
def test_unusable(tmp_path: Path, attributes: dict[str, Any], fault: tuple[str, ...]) -> None:
    with raises(InputError, *fault):
        read(tmp_path, **attributes)
