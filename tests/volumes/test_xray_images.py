"""X-rays in NIfTI, MetaImage and NRRD: which way up they are, and the spacing that the files give."""

from __future__ import annotations

import json
import warnings
from pathlib import Path
from typing import Any

import nibabel as nib
import numpy as np
import pytest
import SimpleITK as sitk

from isoclinic.errors import InputError
from isoclinic.volumes import GeometryWarning, XRay, XRayOptions
from isoclinic.volumes._xray_images import read_itk_image
from raising import raises

HEIGHT, WIDTH = 20, 30
PIXELS = np.random.default_rng(0).integers(0, 60000, (HEIGHT, WIDTH)).astype(np.uint16)
GEOMETRY: dict[str, Any] = {"sdd_mm": 1000, "polarity": "bright_air"}
ROW_MM, COLUMN_MM = 0.5, 0.4


def read(path: Path, options: XRayOptions | None = None, **changes: Any) -> XRay:
    path.with_name(f"{path.name.split('.')[0]}.json").write_text(json.dumps(GEOMETRY | changes))
    return XRay.read(path, options)


def nifti(path: Path, stored: np.ndarray, linear: Any, origin: Any = (0, 0, 0), code: int = 1) -> Path:
    """An image [i, j, 1] whose affine has these columns for i, j and k."""
    affine = np.eye(4)
    affine[:3, :3], affine[:3, 3] = linear, origin
    image = nib.Nifti1Image(np.ascontiguousarray(stored[..., None]), affine)
    image.set_sform(affine, code)
    image.set_qform(None, 0)
    nib.save(image, path)
    return path


class TestNifti:
    @pytest.mark.parametrize("suffix", [".nii", ".nii.gz", ".NII.GZ"])
    def test_as_converters_of_dicom_write_it(self, tmp_path: Path, suffix: str) -> None:
        """dcm2niix: columns to the left, rows from bottom to top."""
        path = nifti(tmp_path / f"x{suffix}", PIXELS[::-1].T, np.diag([-COLUMN_MM, ROW_MM, 1]))
        xray = read(path)
        np.testing.assert_array_equal(xray.pixels, PIXELS)
        assert xray.camera.pixel_spacing_mm == pytest.approx((ROW_MM, COLUMN_MM))
        assert xray.provenance["orientation"] == "the file's axes: rows put in the other order"
        assert xray.provenance["pixel_spacing_mm"].endswith("its own spacing")

    def test_as_itk_writes_it(self, tmp_path: Path) -> None:
        image = sitk.GetImageFromArray(PIXELS)
        image.SetSpacing((COLUMN_MM, ROW_MM))
        sitk.WriteImage(image, str(tmp_path / "x.nii"))
        xray = read(tmp_path / "x.nii")
        np.testing.assert_array_equal(xray.pixels, PIXELS)
        assert xray.camera.pixel_spacing_mm == pytest.approx((ROW_MM, COLUMN_MM))
        assert "orientation" not in xray.provenance

    def test_axes_exchanged(self, tmp_path: Path) -> None:
        """The first axis runs down the rows, the second along them."""
        linear = np.array([[0, -COLUMN_MM, 0], [-ROW_MM, 0, 0], [0, 0, 1]])
        xray = read(nifti(tmp_path / "x.nii", PIXELS, linear))
        np.testing.assert_array_equal(xray.pixels, PIXELS)
        assert xray.camera.pixel_spacing_mm == pytest.approx((ROW_MM, COLUMN_MM))

    @pytest.mark.parametrize(
        ("linear", "stored"),
        [
            pytest.param([[0, 0, 1], [-COLUMN_MM, 0, 0], [0, -ROW_MM, 0]], PIXELS.T, id="lateral"),
            pytest.param(
                [[0, 0, 1], [-COLUMN_MM, 0, 0], [0, ROW_MM, 0]], PIXELS[::-1].T, id="lateral, feet up"
            ),
            pytest.param([[-COLUMN_MM, 0, 0], [0, 0, 1], [0, -ROW_MM, 0]], PIXELS.T, id="frontal"),
            pytest.param(
                [[-COLUMN_MM, 0, 0], [0, 0, 1], [0, ROW_MM, 0]], PIXELS[::-1].T, id="frontal, upwards"
            ),
        ],
    )
    def test_standing_planes(self, tmp_path: Path, linear: Any, stored: np.ndarray) -> None:
        np.testing.assert_array_equal(read(nifti(tmp_path / "x.nii", stored, linear)).pixels, PIXELS)

    def test_reoriented_to_the_canonical_axes(self, tmp_path: Path) -> None:
        """As nibabel and FSL do: mirrored both ways, which the affine says, and a warning with it."""
        path = nifti(tmp_path / "x.nii", PIXELS[::-1].T, np.diag([-COLUMN_MM, ROW_MM, 1]))
        canonical = nib.as_closest_canonical(nib.load(path))
        assert (np.diag(canonical.affine)[:2] > 0).all()
        nib.save(canonical, tmp_path / "y.nii")
        with pytest.warns(GeometryWarning, match="`flip_top_bottom`, `flip_left_right` or both"):
            xray = read(tmp_path / "y.nii")
        np.testing.assert_array_equal(xray.pixels, PIXELS)

    @pytest.mark.parametrize(
        ("linear", "code"),
        [
            pytest.param(np.eye(3), 1, id="identity"),
            pytest.param(np.diag([COLUMN_MM, ROW_MM, 1]), 1, id="spacing alone"),
            pytest.param(np.diag([-COLUMN_MM, ROW_MM, 1]), 0, id="no code"),
        ],
    )
    def test_affine_that_says_nothing(self, tmp_path: Path, linear: Any, code: int) -> None:
        """The image stays as it is stored; the warning names what settles it."""
        for stored, options in ((PIXELS, None), (PIXELS[::-1], XRayOptions(flip_top_bottom=True))):
            path = nifti(tmp_path / "x.nii", stored.T, linear, code=code)
            with pytest.warns(GeometryWarning, match="`flip_top_bottom`"):
                xray = read(path, options, pixel_spacing_mm=[ROW_MM, COLUMN_MM])
            np.testing.assert_array_equal(xray.pixels, PIXELS)

    def test_spacing_said_twice(self, tmp_path: Path) -> None:
        path = nifti(tmp_path / "x.nii", PIXELS.T, np.diag([-COLUMN_MM, -ROW_MM, 1]))
        with pytest.warns(GeometryWarning, match=r"x\.json gives .*own is.*`pixel_spacing_mm` overrides"):
            xray = read(path, pixel_spacing_mm=[0.3, 0.3])
        assert xray.camera.pixel_spacing_mm == pytest.approx((0.3, 0.3))
        with warnings.catch_warnings():
            warnings.simplefilter("error")
            read(path, XRayOptions(pixel_spacing_mm=(0.2, 0.2)), pixel_spacing_mm=[0.3, 0.3])

    def test_spacing_of_1_is_what_nobody_said(self, tmp_path: Path) -> None:
        path = nifti(tmp_path / "x.nii", PIXELS.T, np.diag([-1, -1, 1]))
        with raises(InputError, "xray.geometry-missing", "`pixel_spacing_mm`"):
            read(path)


@pytest.mark.parametrize("suffix", [".mha", ".mhd", ".nrrd", ".nhdr", ".MHA", ".Nrrd"])
class TestItk:
    def test_two_dimensions(self, tmp_path: Path, suffix: str) -> None:
        self.write(tmp_path / f"x{suffix}", sitk.GetImageFromArray(PIXELS), (COLUMN_MM, ROW_MM))
        xray = read(tmp_path / f"x{suffix}")
        np.testing.assert_array_equal(xray.pixels, PIXELS)
        assert xray.camera.pixel_spacing_mm == pytest.approx((ROW_MM, COLUMN_MM))
        assert xray.provenance["pixel_spacing_mm"] == f"x{suffix}: its own spacing"

    def test_three_dimensions_with_one_slice(self, tmp_path: Path, suffix: str) -> None:
        spacing = (COLUMN_MM, ROW_MM, 1.0)
        self.write(tmp_path / f"x{suffix}", sitk.GetImageFromArray(PIXELS[None].astype(np.float32)), spacing)
        np.testing.assert_array_equal(read(tmp_path / f"x{suffix}").pixels, PIXELS)

    def test_rows_that_run_upwards(self, tmp_path: Path, suffix: str) -> None:
        image = sitk.GetImageFromArray(PIXELS[None, ::-1])
        image.SetDirection((1, 0, 0, 0, -1, 0, 0, 0, 1))
        self.write(tmp_path / f"x{suffix}", image, (COLUMN_MM, ROW_MM, 1.0))
        np.testing.assert_array_equal(read(tmp_path / f"x{suffix}").pixels, PIXELS)

    def test_several_slices(self, tmp_path: Path, suffix: str) -> None:
        stack = np.stack([PIXELS, PIXELS // 2, PIXELS // 3])
        self.write(tmp_path / f"x{suffix}", sitk.GetImageFromArray(stack), (COLUMN_MM, ROW_MM, 1.0))
        with raises(InputError, "xray.not-a-projection", "`volume`", "3 X-rays", "`frame`"):
            read(tmp_path / f"x{suffix}")
        xray = read(tmp_path / f"x{suffix}", XRayOptions(frame=1))
        np.testing.assert_array_equal(xray.pixels, PIXELS // 2)

    @staticmethod
    def write(path: Path, image: sitk.Image, spacing: tuple[float, ...]) -> None:
        image.SetSpacing(spacing)
        lower = path.with_suffix(path.suffix.lower())
        sitk.WriteImage(image, str(lower))
        lower.rename(path)


def test_itk_in_colour(tmp_path: Path) -> None:
    for change in (0, 1):
        channels = np.repeat(PIXELS[..., None], 3, axis=-1)
        channels[3, 4, 1] += change
        image = sitk.GetImageFromArray(channels, isVector=True)
        image.SetSpacing((COLUMN_MM, ROW_MM))
        sitk.WriteImage(image, str(tmp_path / "x.mha"))
        if not change:
            np.testing.assert_array_equal(read(tmp_path / "x.mha").pixels, PIXELS)
        else:
            with raises(InputError, "xray.colour", "x.mha"):
                read(tmp_path / "x.mha")


def test_lost_data_file(tmp_path: Path) -> None:
    sitk.WriteImage(sitk.GetImageFromArray(PIXELS), str(tmp_path / "x.mhd"))
    (tmp_path / "x.raw").unlink()
    with raises(InputError, "xray.missing", "x.raw"):
        read(tmp_path / "x.mhd")


@pytest.mark.parametrize(("unit", "mm"), [("mm", 1.0), ("cm", 10.0)])
def test_spacings_in_the_unit_of_an_nrrd_header(tmp_path, unit, mm):
    """ITK drops `space units`: a spacing of 0.12 cm is 1.2 mm, in an X-ray as in a CT."""
    path = tmp_path / "x.nrrd"
    header = (
        "NRRD0004\ntype: uint16\ndimension: 2\nspace dimension: 2\nsizes: 4 3\n"
        f"space directions: ({1.2 / mm},0) (0,{1.5 / mm})\nspace origin: (0,0)\n"
        f'space units: "{unit}" "{unit}"\nendian: little\nencoding: raw\n\n'
    )
    path.write_bytes(header.encode() + np.arange(12, dtype="<u2").tobytes())
    assert read_itk_image(path, None).pixel_spacing_mm == pytest.approx((1.5, 1.2))
