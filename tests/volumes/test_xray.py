"""X-rays from DICOM: geometry and its provenance, polarity, frames, errors; pixels and camera together."""

from pathlib import Path
from typing import Any

import numpy as np
import pydicom
import pytest
import torch
from pydicom.dataset import Dataset, FileMetaDataset
from pydicom.sequence import Sequence
from pydicom.uid import (
    CTImageStorage,
    ExplicitVRLittleEndian,
    JPEG2000Lossless,
    RLELossless,
    SecondaryCaptureImageStorage,
    XRayAngiographicImageStorage,
    generate_uid,
)
from scipy.ndimage import map_coordinates

from isoclinic.errors import InputError, UsageError
from isoclinic.geometry.camera import Camera
from isoclinic.volumes._warnings import GeometryWarning
from isoclinic.volumes.config import XRayOptions
from isoclinic.volumes.xray import XRay
from raising import raises

HEIGHT, WIDTH = 20, 30


def stored_pixels(frames: int | None = None) -> np.ndarray:
    shape = (HEIGHT, WIDTH) if frames is None else (frames, HEIGHT, WIDTH)
    return np.random.default_rng(0).integers(100, 4000, shape).astype(np.uint16)


def xray_dataset(pixels: np.ndarray | None = None, **attributes: Any) -> Dataset:
    """An XA image; attributes given as None are removed."""
    pixels = stored_pixels() if pixels is None else pixels
    dataset = Dataset()
    dataset.file_meta = FileMetaDataset()
    dataset.file_meta.TransferSyntaxUID = ExplicitVRLittleEndian
    dataset.file_meta.MediaStorageSOPClassUID = XRayAngiographicImageStorage
    dataset.SOPClassUID = XRayAngiographicImageStorage
    dataset.SOPInstanceUID = dataset.file_meta.MediaStorageSOPInstanceUID = generate_uid()
    dataset.Modality = "XA"
    dataset.SamplesPerPixel = 1
    dataset.PhotometricInterpretation = "MONOCHROME2"
    dataset.Rows, dataset.Columns = pixels.shape[-2:]
    dataset.BitsAllocated = dataset.BitsStored = 16
    dataset.HighBit = 15
    dataset.PixelRepresentation = 0
    if pixels.ndim == 3:
        dataset.NumberOfFrames = pixels.shape[0]
    dataset.PixelData = pixels.tobytes()
    dataset.DistanceSourceToDetector = "1000"
    dataset.DistanceSourceToPatient = "700"
    dataset.ImagerPixelSpacing = ["0.4", "0.5"]
    for keyword, value in attributes.items():
        if value is None:
            delattr(dataset, keyword)
        else:
            setattr(dataset, keyword, value)
    return dataset


def write(folder: Path, dataset: Dataset) -> Path:
    path = folder / "xray.dcm"
    dataset.save_as(path, enforce_file_format=True)
    return path


def read(folder: Path, options: XRayOptions | None = None, **attributes: Any) -> XRay:
    return XRay.read(write(folder, xray_dataset(**attributes)), options)


class TestGeometry:
    def test_header_to_camera(self, tmp_path: Path) -> None:
        xray = read(tmp_path, PositionerPrimaryAngle="30.5", PositionerSecondaryAngle="-12")
        assert xray.camera == Camera(
            width=WIDTH, height=HEIGHT, fx=2000, fy=2500, cx=14.5, cy=9.5, sdd_mm=1000
        )
        np.testing.assert_array_equal(xray.pixels, stored_pixels())
        assert xray.pixels.dtype == np.float32
        assert (xray.source_isocentre_mm, xray.primary_angle_deg, xray.secondary_angle_deg) == (
            700,
            30.5,
            -12,
        )
        assert xray.provenance == {
            "sdd_mm": "DistanceSourceToDetector (0018,1110)",
            "source_isocentre_mm": "DistanceSourceToPatient (0018,1111)",
            "pixel_spacing_mm": "ImagerPixelSpacing (0018,1164)",
            "principal_point_px": "image centre (assumed)",
            "primary_angle_deg": "PositionerPrimaryAngle (0018,1510)",
            "secondary_angle_deg": "PositionerSecondaryAngle (0018,1511)",
            "polarity": "PhotometricInterpretation (0028,0004) MONOCHROME2 of a XA fluoroscopy",
            "pixel_scale": "assumed for bright_air",
        }

    def test_pixel_spacing_is_second_choice(self, tmp_path: Path) -> None:
        with pytest.warns(GeometryWarning, match=r"ImagerPixelSpacing is missing.*`pixel_spacing_mm`"):
            xray = read(tmp_path, ImagerPixelSpacing=None, PixelSpacing=["0.2", "0.25"])
        assert xray.camera.pixel_spacing_mm == pytest.approx((0.2, 0.25))
        assert xray.provenance["pixel_spacing_mm"] == "PixelSpacing (0028,0030)"

    def test_spacings_that_differ_are_reported(self, tmp_path: Path) -> None:
        with pytest.warns(GeometryWarning, match=r"ImagerPixelSpacing.*PixelSpacing.*`pixel_spacing_mm`"):
            xray = read(tmp_path, PixelSpacing=["0.2", "0.25"])
        assert xray.camera.pixel_spacing_mm == pytest.approx((0.4, 0.5))

    def test_distance_to_the_isocentre_of_enhanced_objects(self, tmp_path: Path) -> None:
        xray = read(tmp_path, DistanceSourceToPatient=None, DistanceSourceToIsocenter=710.0)
        assert xray.source_isocentre_mm == 710
        assert xray.provenance["source_isocentre_mm"] == "DistanceSourceToIsocenter (0018,9402)"

    def test_spacings_that_agree_are_not(self, tmp_path: Path) -> None:
        read(tmp_path, PixelSpacing=["0.4", "0.5"])  # a warning would fail the test

    def test_options_win(self, tmp_path: Path) -> None:
        options = XRayOptions(
            sdd_mm=1200,
            source_isocentre_mm=650,
            pixel_spacing_mm=(0.3, 0.6),
            principal_point_px=(3.0, 4.0),
            primary_angle_deg=1,
            secondary_angle_deg=2,
            polarity="dark_air",
            pixel_scale="linear",
        )
        xray = read(tmp_path, options, PositionerPrimaryAngle="30")
        assert xray.camera == Camera(width=WIDTH, height=HEIGHT, fx=2000, fy=4000, cx=3, cy=4, sdd_mm=1200)
        assert (xray.source_isocentre_mm, xray.primary_angle_deg, xray.secondary_angle_deg) == (650, 1, 2)
        assert (xray.polarity, xray.pixel_scale) == ("dark_air", "linear")
        assert set(xray.provenance) == {
            *("sdd_mm", "source_isocentre_mm", "pixel_spacing_mm", "principal_point_px"),
            *("primary_angle_deg", "secondary_angle_deg", "polarity", "pixel_scale"),
        }
        assert all(source == f"option `{name}`" for name, source in xray.provenance.items())

    def test_rescale(self, tmp_path: Path) -> None:
        xray = read(tmp_path, RescaleSlope="2", RescaleIntercept="-50")
        np.testing.assert_array_equal(xray.pixels, stored_pixels().astype(np.float32) * 2 - 50)

    def test_enhanced_functional_groups(self, tmp_path: Path) -> None:
        """Enhanced XA keeps geometry in macros: shared by all frames, or one item a frame."""
        geometry = Dataset()
        geometry.DistanceSourceToDetector = "990"
        shared = Dataset()
        shared.XRayGeometrySequence = Sequence([geometry])
        frames = []
        for angle in (10, 20, 30):
            position = Dataset()
            position.PositionerPrimaryAngle = str(angle)
            frame = Dataset()
            frame.PositionerPositionSequence = Sequence([position])
            frames.append(frame)
        xray = read(
            tmp_path,
            pixels=stored_pixels(3),
            DistanceSourceToDetector=None,
            SharedFunctionalGroupsSequence=Sequence([shared]),
            PerFrameFunctionalGroupsSequence=Sequence(frames),
        )
        assert xray.camera.sdd_mm == 990
        assert xray.primary_angle_deg == 20


class TestFrames:
    @pytest.mark.parametrize(("frame", "expected"), [(None, 2), (0, 0), (4, 4)])
    def test_choice(self, tmp_path: Path, frame: int | None, expected: int) -> None:
        xray = read(tmp_path, XRayOptions(frame=frame), pixels=stored_pixels(5))
        np.testing.assert_array_equal(xray.pixels, stored_pixels(5)[expected])
        assert xray.provenance["frame"].startswith(f"frame {expected} of 5")

    @pytest.mark.parametrize("frame", [-1, 5])
    def test_missing_frame(self, tmp_path: Path, frame: int) -> None:
        with raises(UsageError, "xray.frame-missing", "`frame`", "0 to 4"):
            read(tmp_path, XRayOptions(frame=frame), pixels=stored_pixels(5))

    def test_rotational_run_adds_the_frames_increment(self, tmp_path: Path) -> None:
        xray = read(
            tmp_path,
            XRayOptions(frame=2),
            pixels=stored_pixels(3),
            PositionerPrimaryAngle="-30",
            PositionerPrimaryAngleIncrement=["0", "15", "31"],
        )
        assert xray.primary_angle_deg == pytest.approx(1)


class TestPolarity:
    @pytest.mark.parametrize("photometric", ["MONOCHROME1", "MONOCHROME2"])
    @pytest.mark.parametrize("relationship", ["LIN", "LOG"])
    @pytest.mark.parametrize("sign", [1, -1])
    def test_sign_decides(self, tmp_path: Path, photometric: str, relationship: str, sign: int) -> None:
        """PS3.3 C.8.11.3.1.2: the sign relates pixels to the beam, whatever the display does with them."""
        xray = read(
            tmp_path,
            Modality="DX",
            PhotometricInterpretation=photometric,
            PixelIntensityRelationship=relationship,
            PixelIntensityRelationshipSign=sign,
        )
        assert xray.polarity == ("bright_air" if sign == 1 else "dark_air")
        assert xray.pixel_scale == {"LIN": "linear", "LOG": "log"}[relationship]
        assert xray.provenance["polarity"] == f"PixelIntensityRelationshipSign (0028,1041) {sign:+d}"
        assert xray.provenance["pixel_scale"] == f"PixelIntensityRelationship (0028,1040) {relationship}"

    def test_negative_slope_turns_the_sign_around(self, tmp_path: Path) -> None:
        xray = read(tmp_path, PixelIntensityRelationshipSign=1, RescaleSlope="-1", RescaleIntercept="4095")
        assert xray.polarity == "dark_air"

    @pytest.mark.parametrize(
        ("modality", "photometric", "relationship", "expected"),
        [
            ("DX", "MONOCHROME1", None, ("bright_air", "linear")),
            ("DX", "MONOCHROME2", None, ("dark_air", "log")),
            ("CR", "MONOCHROME1", "LOG", ("bright_air", "log")),
            ("CR", "MONOCHROME2", "LOG", ("dark_air", "log")),
            ("DX", "MONOCHROME2", "LIN", ("bright_air", "linear")),
            ("XA", "MONOCHROME2", "LIN", ("bright_air", "linear")),
            ("XA", "MONOCHROME2", "LOG", ("bright_air", "log")),
            ("XA", "MONOCHROME2", "DISP", ("bright_air", "log")),
            ("XA", "MONOCHROME1", "LOG", ("dark_air", "log")),
            ("RF", "MONOCHROME2", None, ("bright_air", "linear")),
        ],
    )
    def test_without_a_sign(
        self,
        tmp_path: Path,
        modality: str,
        photometric: str,
        relationship: str | None,
        expected: tuple[str, str],
    ) -> None:
        attributes = {"Modality": modality, "PhotometricInterpretation": photometric}
        if relationship:
            attributes["PixelIntensityRelationship"] = relationship
        xray = read(tmp_path, **attributes)
        assert (xray.polarity, xray.pixel_scale) == expected

    @pytest.mark.parametrize("inverted", [False, True])
    @pytest.mark.parametrize("logarithmic", [False, True])
    def test_statistics_of_a_file_that_does_not_tell(
        self, tmp_path: Path, inverted: bool, logarithmic: bool
    ) -> None:
        """A thick cylinder in air: brightest beside it in intensity, darkest beside it in attenuation."""
        across = np.linspace(-1, 1, 64)
        attenuation = np.tile(4 * np.sqrt(np.maximum(0, 1 - (across / 0.9) ** 2)), (48, 1))
        bright = -attenuation if logarithmic else np.exp(-attenuation)
        unit = (bright - bright.min()) / np.ptp(bright)
        pixels = ((1 - unit if inverted else unit) * 4000).astype(np.uint16)
        with pytest.warns(GeometryWarning, match="guessed"):
            xray = read(tmp_path, pixels=pixels, Modality="OT")
        assert xray.polarity == ("dark_air" if inverted else "bright_air")
        assert xray.provenance["polarity"] == "image statistics"


class TestErrors:
    @pytest.mark.parametrize(
        ("attributes", "fault"),
        [
            ({"DistanceSourceToDetector": None}, ("xray.geometry-missing", "`sdd_mm`")),
            (
                {"DistanceSourceToDetector": "0"},
                ("xray.geometry-missing", "DistanceSourceToDetector", "0018,1110", "0.0", "`sdd_mm`"),
            ),
            ({"DistanceSourceToDetector": "-5"}, ("xray.geometry-missing", "-5.0", "`sdd_mm`")),
            ({"ImagerPixelSpacing": None}, ("xray.geometry-missing", "`pixel_spacing_mm`")),
            (
                {"ImagerPixelSpacing": ["0", "0.4"]},
                ("xray.geometry-missing", "ImagerPixelSpacing", "`pixel_spacing_mm`"),
            ),
            (
                {"ImagerPixelSpacing": ["0.4", "-0.4"]},
                ("xray.geometry-missing", "ImagerPixelSpacing", "`pixel_spacing_mm`"),
            ),
            (
                {"Modality": "CT", "SOPClassUID": SecondaryCaptureImageStorage},
                ("xray.not-a-projection", "modality CT", "`volume`"),
            ),
            (
                {"Modality": "MR", "SOPClassUID": SecondaryCaptureImageStorage},
                ("xray.not-a-projection", "modality MR"),
            ),
            (
                {"SOPClassUID": CTImageStorage},
                ("xray.not-a-projection", "SOPClassUID", "0008,0016", "CT Image Storage", "`volume`"),
            ),
            ({"PixelData": None}, ("dicom.no-pixels",)),
            (
                {"PhotometricInterpretation": "PALETTE COLOR"},
                ("dicom.malformed-header", "RedPaletteColorLookupTableDescriptor"),
            ),
            ({"pixels": np.zeros((HEIGHT, WIDTH), np.uint16)}, ("xray.blank", "0")),
            ({"pixels": np.full((HEIGHT, WIDTH), 77, np.uint16)}, ("xray.blank", "77")),
            ({"Rows": HEIGHT + 1}, ("dicom.undecodable",)),
        ],
    )
    def test_unusable_file(self, tmp_path: Path, attributes: dict[str, Any], fault: tuple[str, ...]) -> None:
        with raises(InputError, *fault) as caught:
            read(tmp_path, **attributes)
        assert str(tmp_path / "xray.dcm") in str(caught.value)

    def test_option_supplies_what_is_missing(self, tmp_path: Path) -> None:
        options = XRayOptions(sdd_mm=1000, pixel_spacing_mm=(0.4, 0.5))
        xray = read(tmp_path, options, DistanceSourceToDetector="0", ImagerPixelSpacing=None)
        assert (xray.camera.fx, xray.camera.fy) == (2000, 2500)

    def test_malformed_number(self, tmp_path: Path) -> None:
        path = write(tmp_path, xray_dataset(DistanceSourceToDetector="1003"))
        path.write_bytes(path.read_bytes().replace(b"1003", b"1x03"))
        with raises(InputError, "xray.malformed-header", "1x03"):
            XRay.read(path)

    def test_folder(self, tmp_path: Path) -> None:
        with raises(InputError, "xray.several-files", "`volume`"):
            XRay.read(tmp_path)

    def test_missing_file(self, tmp_path: Path) -> None:
        with raises(InputError, "xray.missing", "nowhere.dcm"):
            XRay.read(tmp_path / "nowhere.dcm")

    def test_other_file(self, tmp_path: Path) -> None:
        path = tmp_path / "notes.txt"
        path.write_text("not an image")
        with raises(InputError, "xray.unknown-format", "notes.txt"):
            XRay.read(path)

    @pytest.mark.parametrize("name", ["sdd_mm", "source_isocentre_mm"])
    @pytest.mark.parametrize("value", [0.0, -1.0, float("nan"), float("inf")])
    def test_impossible_distance(self, name: str, value: float) -> None:
        with raises(UsageError, "xray.invalid-value", f"`{name}`") as refused:
            XRayOptions(**{name: value})  # type: ignore[arg-type]
        assert refused.value.parameters == (name,)

    def test_impossible_spacing(self) -> None:
        with raises(UsageError, "xray.invalid-value", "`pixel_spacing_mm`"):
            XRayOptions(pixel_spacing_mm=(0.4, 0.0))

    def test_pixels_must_be_the_cameras(self) -> None:
        camera = Camera(width=4, height=3, fx=1, fy=1, cx=0, cy=0, sdd_mm=1)
        with raises(InputError, "xray.wrong-shape", "pixels", "(4, 3)"):
            XRay(pixels=np.arange(12.0).reshape(4, 3), camera=camera)

    @pytest.mark.parametrize("bad", [np.nan, np.inf])
    def test_non_finite_pixels(self, bad: float) -> None:
        pixels = np.arange(12.0).reshape(3, 4)
        pixels[1, 1] = bad
        with raises(InputError, "xray.not-finite", "1"):
            XRay(pixels=pixels, camera=Camera(width=4, height=3, fx=1, fy=1, cx=0, cy=0, sdd_mm=1))


@pytest.mark.parametrize("syntax", [RLELossless, JPEG2000Lossless])
def test_compressed(tmp_path: Path, syntax: pydicom.uid.UID) -> None:
    pixels = np.tile(stored_pixels(), (4, 4))  # JPEG 2000 wants room for its wavelets
    dataset = xray_dataset(pixels)
    dataset.compress(syntax)
    np.testing.assert_array_equal(XRay.read(write(tmp_path, dataset)).pixels, pixels)


class TestPixelsAndCameraTogether:
    """Every pixel keeps its place on the detector: what a world point projects to is found there.

    The image is linear in detector millimetres, which crop, flip, block averages and bilinear resampling
    all reproduce exactly, up to float32 (values up to about 100: 1e-5) and, for resizing, away from the
    border, where the antialiasing kernel is cut off.
    """

    @staticmethod
    def ramp() -> XRay:
        camera = Camera(width=60, height=48, fx=2000, fy=2500, cx=25, cy=30, sdd_mm=1000)
        x, y, _ = camera.rays().numpy().transpose(2, 0, 1)
        return XRay(pixels=3 * x + 5 * y, camera=camera)

    @staticmethod
    def assert_same_scene(xray: XRay, atol: float = 2e-4) -> None:
        rng = np.random.default_rng(1)
        corners = xray.camera.rays().numpy()[[8, -9], [8, -9], :2]
        detector_mm = rng.uniform(corners.min(axis=0), corners.max(axis=0), (50, 2))
        points = np.column_stack([detector_mm, np.full(50, 1000.0)]) * rng.uniform(0.3, 1, (50, 1))
        # Points are placed in the frame of the camera as made; a turned image's frame has turned.
        pose = torch.from_numpy(xray.camera_from_stored)
        points = points @ xray.camera_from_stored[:3, :3]
        detector_mm = (points / points[:, 2:] * 1000)[:, :2]
        u, v = xray.camera.project(torch.from_numpy(points), pose).numpy().T
        found = map_coordinates(xray.pixels.astype(np.float64), [v, u], order=1)
        np.testing.assert_allclose(found, detector_mm @ [3, 5], atol=atol)

    def test_as_made(self) -> None:
        self.assert_same_scene(self.ramp())

    def test_crop(self) -> None:
        cropped = self.ramp().crop(top=5, left=9, height=40, width=45)
        assert cropped.pixels.shape == (40, 45)
        self.assert_same_scene(cropped)

    def test_pad(self) -> None:
        ramp = self.ramp()
        padded = ramp.pad(top=3, bottom=1, left=2, right=5)
        assert padded.pixels.shape == (52, 67)
        assert np.all(padded.pixels[:3] == ramp.pixels.min())
        self.assert_same_scene(padded)

    @pytest.mark.parametrize("factor", [1, 2])
    def test_bin(self, factor: int) -> None:
        self.assert_same_scene(self.ramp().bin(factor))

    def test_bin_drops_the_remainder(self) -> None:
        binned = self.ramp().crop(top=0, left=0, height=47, width=59).bin(2)
        assert binned.pixels.shape == (23, 29)
        self.assert_same_scene(binned)

    @pytest.mark.parametrize(("height", "width"), [(24, 30), (96, 120)])
    def test_resize(self, height: int, width: int) -> None:
        self.assert_same_scene(self.ramp().resize(height=height, width=width))

    def test_resize_by_a_fraction(self) -> None:
        """The kernel's few samples are then off centre by up to 0.1 px, of a gradient of 2 a pixel."""
        self.assert_same_scene(self.ramp().resize(height=40, width=70), atol=0.2)

    @pytest.mark.parametrize("left_right", [False, True])
    @pytest.mark.parametrize("top_bottom", [False, True])
    def test_flip(self, left_right: bool, top_bottom: bool) -> None:
        self.assert_same_scene(self.ramp().flip(left_right=left_right, top_bottom=top_bottom))

    @pytest.mark.parametrize("degrees", [0, 90, 180, 270, 360, -90])
    def test_turn(self, degrees: int) -> None:
        """The frame turns along, so that the scene is the same from the pose that turns with it."""
        turned = self.ramp().turn(degrees)
        np.testing.assert_array_equal(turned.pixels, np.rot90(self.ramp().pixels, -(degrees // 90)))
        assert turned.turned_deg == degrees % 360
        self.assert_same_scene(turned)

    @pytest.mark.parametrize("degrees", [90, 180, 270])
    @pytest.mark.parametrize("flip_first", [False, True])
    def test_turn_among_other_changes(self, degrees: int, flip_first: bool) -> None:
        xray = self.ramp().crop(top=1, left=3, height=44, width=56)
        for flip in (flip_first, not flip_first):
            xray = xray.flip(left_right=True) if flip else xray.turn(degrees)
        self.assert_same_scene(xray.bin(2).turn(90).pad(left=3))

    def test_turned_back_it_is_the_same(self) -> None:
        ramp = self.ramp()
        back = ramp.turn(90).turn(180).turn(90)
        assert (back.camera, back.turned_deg) == (ramp.camera, 0)
        np.testing.assert_array_equal(back.pixels, ramp.pixels)

    def test_other_angles(self) -> None:
        with raises(UsageError, "geometry.invalid-value", "90", "45"):
            self.ramp().turn(45)

    def test_chain(self) -> None:
        chained = self.ramp().flip(left_right=True).crop(top=2, left=4, height=46, width=50).bin(2)
        self.assert_same_scene(chained.pad(top=3).resize(height=52, width=50))

    @pytest.mark.parametrize(
        "window", [(-1, 0, 5, 5), (0, -1, 5, 5), (0, 0, 49, 5), (0, 56, 5, 5), (0, 0, 0, 5)]
    )
    def test_crop_outside(self, window: tuple[int, int, int, int]) -> None:
        top, left, height, width = window
        with raises(UsageError, "xray.invalid-value", "crop", "48 x 60"):
            self.ramp().crop(top=top, left=left, height=height, width=width)

    def test_options_flip_then_turn_then_crop_then_bin(self, tmp_path: Path) -> None:
        """A pixel's way by hand: column 10 of 30 is mirrored to 19, which the turn makes row 19 of 30."""
        options = XRayOptions(
            flip_left_right=True, turn=90, principal_point_px=(10.0, 8.0), crop_px=(4, 2, 20, 16), bin=2
        )
        xray = read(tmp_path, options)
        turned = np.rot90(stored_pixels()[:, ::-1], -1)[4:24, 2:18].astype(np.float64)
        np.testing.assert_allclose(xray.pixels, turned.reshape(10, 2, 8, 2).mean((1, 3)))
        # Row 8 of 20 becomes column 11; each loses what was cropped, and is halved: x -> (x + 1/2) / 2 - 1/2.
        assert xray.camera == Camera(width=8, height=10, fx=1250, fy=1000, cx=4.25, cy=7.25, sdd_mm=1000)
        np.testing.assert_allclose(xray.pixels_from_stored(np.array([[10.0, 8.0]])), [[4.25, 7.25]])

    @pytest.mark.parametrize("degrees", [45, 1, 360])
    def test_options_turn_by_right_angles_only(self, degrees: int) -> None:
        with raises(UsageError, "xray.invalid-value", "`turn`"):
            XRayOptions(turn=degrees)  # type: ignore[arg-type]

    def test_options_flip_then_crop_then_bin(self, tmp_path: Path) -> None:
        """An image stored mirrored ends up as seen from the source, with positive focal lengths."""
        options = XRayOptions(
            flip_left_right=True, principal_point_px=(10.0, 8.0), crop_px=(2, 4, 16, 20), bin=2
        )
        xray = read(tmp_path, options)
        mirrored = stored_pixels()[2:18, ::-1][:, 4:24].astype(np.float64)
        np.testing.assert_allclose(xray.pixels, mirrored.reshape(8, 2, 10, 2).mean((1, 3)))
        # Column 10 of 30 becomes 19, loses 4, and is halved: 15 -> (15 + 1/2) / 2 - 1/2.
        assert xray.camera == Camera(width=10, height=8, fx=1000, fy=1250, cx=7.25, cy=2.75, sdd_mm=1000)


def test_simulated_xrays(shared_data: Path) -> None:
    for path in sorted((shared_data / "xrays").glob("*/*/xray.dcm")):
        xray = XRay.read(path)
        assert xray.camera == Camera(width=256, height=256, fx=850, fy=850, cx=127.5, cy=127.5, sdd_mm=1020)
        assert (xray.polarity, xray.pixel_scale, xray.source_isocentre_mm) == ("bright_air", "linear", 700)
