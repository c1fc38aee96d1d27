"""X-rays from PNG, TIFF and NIfTI with a JSON sidecar."""

import json
from pathlib import Path
from typing import Any, ClassVar

import nibabel as nib
import numpy as np
import pytest
import skimage.io

from isoclinic.errors import InputError
from isoclinic.geometry.camera import Camera
from isoclinic.volumes._warnings import GeometryWarning
from isoclinic.volumes.config import XRayOptions
from isoclinic.volumes.xray import XRay
from raising import raises

PIXELS = np.random.default_rng(0).integers(0, 60000, (20, 30)).astype(np.uint16)
GEOMETRY: dict[str, Any] = {"sdd_mm": 1000, "pixel_spacing_mm": [0.4, 0.5], "polarity": "bright_air"}
CAMERA = Camera(width=30, height=20, fx=2000, fy=2500, cx=14.5, cy=9.5, sdd_mm=1000)


def write_image(path: Path, pixels: np.ndarray) -> Path:
    if path.name.endswith((".nii", ".nii.gz")):
        columns_first = pixels.T if pixels.ndim == 2 else pixels.transpose(2, 1, 0)
        nib.Nifti1Image(columns_first, np.diag([-1, -1, 1, 1])).to_filename(path)
    else:
        skimage.io.imsave(path, pixels, check_contrast=False)
    return path


def write(folder: Path, sidecar: Any = None, name: str = "knee.png", pixels: np.ndarray = PIXELS) -> Path:
    content = GEOMETRY if sidecar is None else sidecar
    text = content if isinstance(content, str) else json.dumps(content)
    (folder / "knee.json").write_text(text)
    return write_image(folder / name, pixels)


@pytest.mark.parametrize("name", ["knee.png", "knee.tif", "knee.TIFF", "knee.nii", "knee.nii.gz"])
def test_formats(tmp_path: Path, name: str) -> None:
    xray = XRay.read(write(tmp_path, name=name))
    np.testing.assert_array_equal(xray.pixels, PIXELS)
    assert xray.camera == CAMERA
    assert xray.provenance["sdd_mm"] == "knee.json: sdd_mm"
    assert xray.provenance["polarity"] == "knee.json: polarity"


def test_full_sidecar(tmp_path: Path) -> None:
    sidecar = {
        **{"width": 30, "height": 20, "fx": 2000, "fy": 2500, "cx": 3.5, "cy": 4.5, "sdd_mm": 1000},
        **{"pixel_spacing_mm": [0.4, 0.5], "source_isocentre_mm": 700, "primary_angle_deg": 5},
        **{"secondary_angle_deg": -6.5, "polarity": "dark_air", "pixel_scale": "linear"},
    }
    xray = XRay.read(write(tmp_path, sidecar))
    assert xray.camera == Camera(width=30, height=20, fx=2000, fy=2500, cx=3.5, cy=4.5, sdd_mm=1000)
    assert (xray.source_isocentre_mm, xray.primary_angle_deg, xray.secondary_angle_deg) == (700, 5, -6.5)
    assert (xray.polarity, xray.pixel_scale) == ("dark_air", "linear")


def test_focal_lengths_instead_of_spacing(tmp_path: Path) -> None:
    sidecar = {"fx": 2000, "fy": 2500, "sdd_mm": 1000, "polarity": "bright_air"}
    assert XRay.read(write(tmp_path, sidecar)).camera == CAMERA


def test_options_win_and_suffice(tmp_path: Path) -> None:
    write_image(tmp_path / "knee.png", PIXELS)
    options = XRayOptions(sdd_mm=1000, pixel_spacing_mm=(0.4, 0.5), polarity="bright_air")
    assert XRay.read(tmp_path / "knee.png", options).camera == CAMERA
    write(tmp_path, {**GEOMETRY, "sdd_mm": 500})
    assert XRay.read(tmp_path / "knee.png", options).camera == CAMERA


def test_polarity_is_guessed_with_a_warning(tmp_path: Path) -> None:
    with pytest.warns(GeometryWarning, match="`polarity`"):
        XRay.read(write(tmp_path, {"sdd_mm": 1000, "pixel_spacing_mm": [0.4, 0.5]}))


@pytest.mark.parametrize(
    ("sidecar", "fault"),
    [
        ({"pixel_spacing_mm": [0.4, 0.5]}, ("xray.geometry-missing", "knee.json", "`sdd_mm`")),
        ({"sdd_mm": 1000}, ("xray.geometry-missing", "knee.json", "`pixel_spacing_mm`")),
        ({**GEOMETRY, "sdd_mm": 0}, ("xray.geometry-invalid", "0", "`sdd_mm`")),
        ({**GEOMETRY, "sdd_mm": -1000}, ("xray.geometry-invalid", "sdd_mm", "-1000")),
        (
            {**GEOMETRY, "pixel_spacing_mm": [0.4, 0]},
            ("xray.geometry-invalid", "(0.4, 0)", "`pixel_spacing_mm`"),
        ),
        ({**GEOMETRY, "sdd": 1000}, ("sidecar.unknown-name", "'sdd'", "'sdd_mm'")),
        ({**GEOMETRY, "sdd_mm": "1000"}, ("sidecar.invalid-value", "sdd_mm", "1000")),
        ({**GEOMETRY, "sdd_mm": True}, ("sidecar.invalid-value", "sdd_mm")),
        ('{"sdd_mm": NaN}', ("sidecar.invalid-value", "sdd_mm")),
        ({**GEOMETRY, "pixel_spacing_mm": 0.4}, ("sidecar.invalid-value", "pixel_spacing_mm")),
        ({**GEOMETRY, "pixel_spacing_mm": [0.4]}, ("sidecar.invalid-value", "pixel_spacing_mm")),
        ({**GEOMETRY, "polarity": "white"}, ("sidecar.invalid-value", "polarity")),
        ({**GEOMETRY, "width": 31}, ("sidecar.wrong-shape", "width", "31", "30")),
        ({**GEOMETRY, "height": 19}, ("sidecar.wrong-shape", "height", "19", "20")),
        ({**GEOMETRY, "fx": 2000}, ("sidecar.incomplete", "fx", "fy")),
        ({**GEOMETRY, "cx": 2}, ("sidecar.incomplete", "cx", "cy")),
        ({**GEOMETRY, "fx": 2100, "fy": 2500}, ("sidecar.conflict", "pixel_spacing_mm")),
        ({**GEOMETRY, "fx": -2000, "fy": 2500}, ("sidecar.invalid-value", "fx", "fy")),
        ("[1, 2]", ("xray.geometry-missing", "knee.isoclinic.json", "`sdd_mm`")),
        ("{", ("sidecar.unreadable", "knee.json")),
    ],
)
def test_unusable_sidecar(tmp_path: Path, sidecar: Any, fault: tuple[str, ...]) -> None:
    with raises(InputError, *fault) as caught:
        XRay.read(write(tmp_path, sidecar))
    assert str(tmp_path) in str(caught.value)


def test_no_sidecar(tmp_path: Path) -> None:
    path = write_image(tmp_path / "knee.png", PIXELS)
    with raises(InputError, "xray.geometry-missing", "knee.json", "`sdd_mm`"):
        XRay.read(path)


class TestImages:
    def test_colour_is_refused(self, tmp_path: Path) -> None:
        colour = np.random.default_rng(0).integers(0, 255, (20, 30, 3)).astype(np.uint8)
        with raises(InputError, "xray.colour"):
            XRay.read(write(tmp_path, pixels=colour))

    @pytest.mark.parametrize("channels", [3, 4])
    def test_grey_stored_as_colour_is_read(self, tmp_path: Path, channels: int) -> None:
        grey = (PIXELS // 256).astype(np.uint8)
        colour = np.repeat(grey[..., None], channels, axis=-1)
        if channels == 4:
            colour[..., 3] = 255
        np.testing.assert_array_equal(XRay.read(write(tmp_path, pixels=colour)).pixels, grey)

    @pytest.mark.parametrize("name", ["knee.tif", "knee.nii.gz"])
    def test_stack_needs_a_frame(self, tmp_path: Path, name: str) -> None:
        stack = np.stack([PIXELS + plane for plane in range(7)])
        path = write(tmp_path, name=name, pixels=stack)
        with raises(InputError, "xray.several-images", "7 planes", "30 x 20", "`frame`", "`volume`"):
            XRay.read(path)
        np.testing.assert_array_equal(XRay.read(path, XRayOptions(frame=3)).pixels, stack[3])

    @pytest.mark.parametrize("name", ["knee.tif", "knee.nii.gz"])
    def test_nan(self, tmp_path: Path, name: str) -> None:
        pixels = PIXELS.astype(np.float32)
        pixels[3, 4] = np.nan
        with raises(InputError, "xray.not-finite", "1"):
            XRay.read(write(tmp_path, name=name, pixels=pixels))

    def test_black(self, tmp_path: Path) -> None:
        with raises(InputError, "xray.blank", "0"):
            XRay.read(write(tmp_path, pixels=np.zeros_like(PIXELS)))

    @pytest.mark.parametrize("name", ["knee.png", "knee.tif", "knee.nii.gz"])
    def test_damaged(self, tmp_path: Path, name: str) -> None:
        path = tmp_path / name
        path.write_bytes(b"not an image at all")
        with raises(InputError, "xray.unreadable", name):
            XRay.read(path)


class TestEncodings:
    @pytest.mark.parametrize("encoding", ["utf-8", "utf-8-sig", "utf-16", "utf-16-le", "utf-32"])
    def test_unicode(self, tmp_path: Path, encoding: str) -> None:
        path = write_image(tmp_path / "knee.png", PIXELS)
        content = json.dumps(GEOMETRY | {"_comment": "Königstraße"}, ensure_ascii=False)
        (tmp_path / "knee.json").write_bytes(content.encode(encoding))
        assert XRay.read(path).camera == CAMERA

    def test_other_encoding(self, tmp_path: Path) -> None:
        path = write_image(tmp_path / "knee.png", PIXELS)
        (tmp_path / "knee.json").write_bytes('{"_comment": "Straße", "sdd_mm": 1000}'.encode("latin-1"))
        with raises(InputError, "sidecar.unreadable", "knee.json", "utf-8"):
            XRay.read(path)

    def test_empty(self, tmp_path: Path) -> None:
        with raises(InputError, "sidecar.unreadable", "knee.json", "empty"):
            XRay.read(write(tmp_path, " \n"))


class TestWhoseItIs:
    """A JSON file of the image's name is ours if it has a key of ours, or one that is nearly so."""

    BIDS: ClassVar[dict[str, Any]] = {
        **{"Modality": "RF", "Manufacturer": "X", "ImageType": ["ORIGINAL"], "EchoTime": 1.5},
        **{"DistanceSourceToDetector": 1020, "PixelSpacing": [1, 1], "ConversionSoftware": "dcm2niix"},
    }
    OPTIONS = XRayOptions(sdd_mm=1000, pixel_spacing_mm=(0.4, 0.5), polarity="bright_air")

    @pytest.mark.parametrize(
        "content",
        [
            BIDS,
            {"version": "5.0.1", "flags": {}, "shapes": [], "imageHeight": 20, "imageWidth": 30},
            {"filename": "knee.png", "width": 30, "height": 20, "regions": []},
            {"1": "hip_left", "2": "hip_right"},
            ["a", "list"],
        ],
    )
    def test_another_programs_is_left_alone(self, tmp_path: Path, content: Any) -> None:
        path = write(tmp_path, json.dumps(content))
        with pytest.warns(GeometryWarning, match=r"another program's.*sdd_mm .*named knee\.isoclinic\.json"):
            assert XRay.read(path, self.OPTIONS).camera == CAMERA
        with raises(InputError, "xray.geometry-missing", "knee.isoclinic.json", "`sdd_mm`"):
            XRay.read(path)

    def test_ours_beside_it(self, tmp_path: Path) -> None:
        path = write(tmp_path, self.BIDS)
        (tmp_path / "knee.isoclinic.json").write_text(json.dumps(GEOMETRY))
        xray = XRay.read(path)
        assert xray.camera == CAMERA
        assert xray.provenance["sdd_mm"] == "knee.isoclinic.json: sdd_mm"

    def test_two_of_ours(self, tmp_path: Path) -> None:
        path = write(tmp_path, GEOMETRY | {"sdd_mm": 900})
        (tmp_path / "knee.isoclinic.json").write_text(json.dumps(GEOMETRY))
        with raises(InputError, "sidecar.conflict", "knee.isoclinic.json", "knee.json"):
            XRay.read(path)

    @pytest.mark.parametrize(
        ("key", "meant"),
        [
            ("sdd", "sdd_mm"),
            ("SDD", "sdd_mm"),
            ("sdd_m", "sdd_mm"),
            ("sdd-mm", "sdd_mm"),
            ("pixel_spacing", "pixel_spacing_mm"),
            ("pixelSpacing", "pixel_spacing_mm"),
            ("principal_point", "principal_point_px"),
            ("polarty", "polarity"),
            ("source_isocenter_mm", "source_isocentre_mm"),
        ],
    )
    @pytest.mark.parametrize("alone", [False, True])
    def test_a_slip_in_ours_is_an_error(self, tmp_path: Path, key: str, meant: str, alone: bool) -> None:
        path = write(tmp_path, {key: 1} if alone else GEOMETRY | {key: 1})
        with raises(InputError, "sidecar.unknown-name", f"'{key}'", f"'{meant}'"):
            XRay.read(path, self.OPTIONS)

    @pytest.mark.parametrize("key", ["_comment", "$schema", "comment", "Comments", "//", "#"])
    def test_comments(self, tmp_path: Path, key: str) -> None:
        assert XRay.read(write(tmp_path, GEOMETRY | {key: ["anything"]})).camera == CAMERA

    @pytest.mark.slow
    def test_key_given_twice(self, tmp_path: Path) -> None:
        with raises(InputError, "sidecar.conflict", "'sdd_mm'", "2 times"):
            XRay.read(write(tmp_path, '{"sdd_mm": 1000, "pixel_spacing_mm": [1, 1], "sdd_mm": 900}'))
