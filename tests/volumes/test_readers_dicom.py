"""DICOM series written slice by slice with pydicom, and SimpleITK's GDCM reader as the oracle."""

from contextlib import nullcontext
from pathlib import Path

import numpy as np
import pydicom
import pytest
import SimpleITK as sitk
from pydicom.uid import BasicTextSRStorage, JPEG2000Lossless, RLELossless

from isoclinic.errors import InputError
from isoclinic.volumes import GeometryWarning, Volume
from raising import raises

from .dicom_files import ORIGIN_LPS, SPACING, TURN, edit, hounsfield, world_from_voxel, write_series


def by_simpleitk(paths: list[Path]) -> sitk.Image:
    """GDCM's reading of files sorted by position."""
    reader = sitk.ImageSeriesReader()
    reader.SetFileNames([str(path) for path in paths])
    return reader.Execute()


class TestSeries:
    def test_sorted_by_position_and_in_place(self, tmp_path: Path) -> None:
        write_series(tmp_path / "ct", hounsfield())
        (tmp_path / "ct" / "README.txt").write_text("not DICOM")
        volume = Volume.read(tmp_path / "ct")
        assert volume.hu.dtype == np.int16
        np.testing.assert_array_equal(volume.hu, hounsfield())
        np.testing.assert_allclose(volume.world_from_voxel, world_from_voxel(), atol=1e-9)

    def test_agrees_with_simpleitk(self, tmp_path: Path) -> None:
        paths = write_series(tmp_path / "ct", hounsfield())
        volume, image = Volume.read(tmp_path / "ct"), by_simpleitk(paths)
        np.testing.assert_array_equal(volume.hu, sitk.GetArrayFromImage(image).transpose(2, 1, 0))
        for voxel in ((0, 0, 0), (6, 0, 0), (0, 5, 0), (0, 0, 4), (3, 2, 1)):
            lps = np.array(image.TransformIndexToPhysicalPoint(voxel))
            np.testing.assert_allclose(
                (volume.world_from_voxel @ [*voxel, 1])[:3], lps * [-1, -1, 1], atol=1e-6
            )

    def test_slices_against_the_normal_are_reversed_not_mirrored(self, tmp_path: Path) -> None:
        # The same patient scanned from head to feet: slice 0 is the highest.
        paths = write_series(tmp_path / "ct", hounsfield())
        for index, path in enumerate(paths):
            position = ORIGIN_LPS - index * SPACING[2] * TURN[:, 2]
            edit(path, ImagePositionPatient=position.tolist())
        volume = Volume.read(tmp_path / "ct")
        np.testing.assert_array_equal(volume.hu, hounsfield()[:, :, ::-1])
        first = (volume.world_from_voxel @ [0, 0, 4, 1])[:3]
        np.testing.assert_allclose(first, ORIGIN_LPS * [-1, -1, 1], atol=1e-9)

    @pytest.mark.parametrize(
        "turn", [np.eye(3)[:, [1, 2, 0]], np.diag([1.0, -1, -1])], ids=["sagittal", "prone"]
    )
    def test_other_planes(self, tmp_path: Path, turn: np.ndarray) -> None:
        write_series(tmp_path / "ct", hounsfield(), turn)
        volume = Volume.read(tmp_path / "ct")
        np.testing.assert_array_equal(volume.hu, hounsfield())
        np.testing.assert_allclose(volume.world_from_voxel, world_from_voxel(turn), atol=1e-9)

    def test_one_file_stands_for_its_series(self, tmp_path: Path) -> None:
        paths = write_series(tmp_path / "ct", hounsfield())
        write_series(tmp_path / "other", hounsfield()[:, :, :3])
        for file in (tmp_path / "other").iterdir():
            file.rename(tmp_path / "ct" / f"other_{file.name}")
        np.testing.assert_array_equal(Volume.read(paths[2]).hu, hounsfield())
        paths[2].rename(tmp_path / "ct" / "no_suffix")
        np.testing.assert_array_equal(Volume.read(tmp_path / "ct" / "no_suffix").hu, hounsfield())

    def test_several_series_are_listed(self, tmp_path: Path) -> None:
        write_series(tmp_path / "a", hounsfield(), SeriesDescription="bone kernel")
        write_series(tmp_path / "b", hounsfield()[:, :, :3], SeriesDescription="soft kernel")
        with raises(
            InputError, "ct.several-series", "2 CT series", "5 slices, bone kernel", "3 slices, soft kernel"
        ):
            Volume.read(tmp_path)

    def test_scouts_and_reports_beside_the_series_are_left_out(self, tmp_path: Path) -> None:
        write_series(tmp_path / "ct", hounsfield())
        write_series(
            tmp_path / "scout", hounsfield()[:, :, :1], ImageType=["ORIGINAL", "PRIMARY", "LOCALIZER"]
        )
        write_series(
            tmp_path / "report", hounsfield()[:, :, :1], Modality="SR", SOPClassUID=BasicTextSRStorage
        )
        with pytest.warns(GeometryWarning, match=r"1 of modality SR.*report/IM.*1 .*localizer.*scout/IM"):
            volume = Volume.read(tmp_path)
        np.testing.assert_array_equal(volume.hu, hounsfield())

    def test_rounded_positions_are_even_enough(self, tmp_path: Path) -> None:
        paths = write_series(tmp_path / "ct", hounsfield())
        for path in paths:
            edit(path, ImagePositionPatient=np.round(pydicom.dcmread(path).ImagePositionPatient, 2).tolist())
        np.testing.assert_allclose(
            Volume.read(tmp_path / "ct").world_from_voxel, world_from_voxel(), atol=0.01
        )


class TestRescale:
    def test_every_slice_its_own(self, tmp_path: Path) -> None:
        paths = write_series(tmp_path / "ct", hounsfield())
        for index, path in enumerate(paths):
            stored = (hounsfield()[:, :, index].T.astype(np.int32) + 1000 + 10 * index) * 2
            edit(
                path,
                RescaleSlope=0.5,
                RescaleIntercept=-1000 - 10 * index,
                PixelData=stored.astype(np.uint16).tobytes(),
            )
        volume = Volume.read(tmp_path / "ct")
        assert volume.hu.dtype == np.int16
        np.testing.assert_array_equal(volume.hu, hounsfield())

    def test_signed_pixels_and_fractions(self, tmp_path: Path) -> None:
        stored = hounsfield()
        paths = write_series(
            tmp_path / "ct", stored, PixelRepresentation=1, RescaleSlope=0.3, RescaleIntercept=-7.5
        )
        for index, path in enumerate(paths):
            edit(path, PixelData=stored[:, :, index].T.tobytes())
        volume = Volume.read(tmp_path / "ct")
        assert volume.hu.dtype == np.float32
        np.testing.assert_allclose(volume.hu, 0.3 * stored - 7.5, rtol=1e-6, atol=1e-4)

    @pytest.mark.parametrize(
        "tag",
        [
            "RescaleSlope",
            "RescaleIntercept",
            "PixelSpacing",
            "ImagePositionPatient",
            "ImageOrientationPatient",
        ],
    )
    def test_missing_tags(self, tmp_path: Path, tag: str) -> None:
        paths = write_series(tmp_path / "ct", hounsfield())
        edit(paths[3], **{tag: None})
        code = "ct.not-hounsfield" if tag.startswith("Rescale") else "ct.incomplete-header"
        with raises(InputError, code, paths[3].name, tag):
            Volume.read(tmp_path / "ct")

    def test_no_intercept_at_all(self, tmp_path: Path) -> None:
        write_series(tmp_path / "ct", hounsfield(), RescaleIntercept=0)
        with pytest.warns(GeometryWarning, match="intercept"):
            Volume.read(tmp_path / "ct")


class TestSpacing:
    @pytest.mark.parametrize("removed", [[1, 2], [3, 4, 5]])
    def test_several_missing_slices(self, tmp_path: Path, removed: list[int]) -> None:
        paths = write_series(tmp_path / "ct", hounsfield((7, 6, 9)))
        for index in removed:
            paths[index].unlink()
        before, after = paths[removed[0] - 1].name, paths[removed[-1] + 1].name
        with raises(
            InputError, "ct.slices-missing", before, after, f"{len(removed)} slice(s)", "`fill_gaps_mm`"
        ):
            Volume.read(tmp_path / "ct")

    @pytest.mark.parametrize("removed", [1, 4, 7])
    def test_one_missing_slice_is_interpolated(self, tmp_path: Path, removed: int) -> None:
        hu = hounsfield((7, 6, 9))
        paths = write_series(tmp_path / "ct", hu)
        paths[removed].unlink()
        before, after = paths[removed - 1].name, paths[removed + 1].name
        with pytest.warns(GeometryWarning, match=f"a slice is missing between {before} and {after}"):
            volume = Volume.read(tmp_path / "ct")
        mean = (hu[..., removed - 1].astype(float) + hu[..., removed + 1]) / 2
        np.testing.assert_allclose(volume.hu[..., removed], mean, atol=0.5)  # rounded to whole numbers
        rest = [index for index in range(9) if index != removed]
        np.testing.assert_array_equal(volume.hu[..., rest], hu[..., rest])
        np.testing.assert_allclose(volume.world_from_voxel, world_from_voxel(), atol=1e-9)

    @pytest.mark.parametrize("factor", [0.0, 0.01])
    def test_doubled_slices(self, tmp_path: Path, factor: float) -> None:
        paths = write_series(tmp_path / "ct", hounsfield())
        position = ORIGIN_LPS + (2 + factor) * SPACING[2] * TURN[:, 2]
        edit(paths[3], ImagePositionPatient=position.tolist())
        with raises(InputError, "ct.several-phases", "IM001.dcm", "IM002.dcm"):
            Volume.read(tmp_path / "ct")

    def test_two_phases(self, tmp_path: Path) -> None:
        paths = write_series(tmp_path / "ct", hounsfield((7, 6, 8)))
        for index, path in enumerate(paths):
            position = ORIGIN_LPS + (index // 2) * SPACING[2] * TURN[:, 2]
            edit(path, ImagePositionPatient=position.tolist())
        with raises(InputError, "ct.several-phases", "IM000.dcm", "IM005.dcm"):
            Volume.read(tmp_path / "ct")

    @pytest.mark.parametrize(
        ("off_mm", "said"), [(0.05, ""), (0.2, "0.2 mm off its place"), (1.0, "not evenly spaced.*interpol")]
    )
    def test_one_slice_off_its_place(self, tmp_path: Path, off_mm: float, said: str) -> None:
        hu = hounsfield((7, 6, 9))
        paths = write_series(tmp_path / "ct", hu)
        position = ORIGIN_LPS + (4 * SPACING[2] + off_mm) * TURN[:, 2]
        edit(paths[4], ImagePositionPatient=position.tolist())
        with pytest.warns(GeometryWarning, match=said) if said else nullcontext():
            volume = Volume.read(tmp_path / "ct")
        np.testing.assert_allclose(volume.world_from_voxel, world_from_voxel(), atol=1e-9)
        expected = hu[..., 4].astype(float)
        if off_mm > 0.25:  # linearly between the slice before and this one, which lies further
            expected = (off_mm * hu[..., 3] + SPACING[2] * expected) / (SPACING[2] + off_mm)
        np.testing.assert_allclose(volume.hu[..., 4], expected, atol=0.5)

    def test_a_drift_too_small_for_a_tilt_is_kept_in_the_affine(self, tmp_path: Path) -> None:
        paths = write_series(tmp_path / "ct", hounsfield())
        step = SPACING[2] * (TURN[:, 2] + np.tan(np.radians(0.05)) * TURN[:, 1])
        for index, path in enumerate(paths):
            edit(path, ImagePositionPatient=(ORIGIN_LPS + index * step).tolist())
        volume = Volume.read(tmp_path / "ct")
        np.testing.assert_array_equal(volume.hu, hounsfield())
        np.testing.assert_allclose(volume.world_from_voxel[:3, 2], step * [-1, -1, 1], atol=1e-9)

    def test_a_single_slice(self, tmp_path: Path) -> None:
        write_series(tmp_path / "ct", hounsfield()[:, :, :1])
        with raises(InputError, "ct.single-slice", "IM000.dcm"):
            Volume.read(tmp_path / "ct")


class TestRefusals:
    def test_mixed_shapes(self, tmp_path: Path) -> None:
        paths = write_series(tmp_path / "ct", hounsfield())
        edit(paths[1], Rows=3, Columns=14)  # as many pixels as the others
        with raises(InputError, "ct.odd-slices", "3x14"):
            Volume.read(tmp_path / "ct")

    @pytest.mark.parametrize(
        ("tag", "value"),
        [("ImageOrientationPatient", [1, 0, 0, 0, 1, 0]), ("PixelSpacing", [0.6, 0.9])],
    )
    def test_mixed_geometry(self, tmp_path: Path, tag: str, value: list[float]) -> None:
        paths = write_series(tmp_path / "ct", hounsfield())
        edit(paths[1], **{tag: value})
        with raises(InputError, "ct.odd-slices", tag):
            Volume.read(tmp_path / "ct")

    def test_other_modalities(self, tmp_path: Path) -> None:
        write_series(tmp_path / "mr", hounsfield(), Modality="MR")
        with raises(InputError, "ct.no-slices", "5", "modality MR", "IM000.dcm"):
            Volume.read(tmp_path / "mr")
        with raises(InputError, "ct.no-slices", "IM003.dcm", "modality MR"):
            Volume.read(next((tmp_path / "mr").iterdir()))

    def test_folders_without_dicom(self, tmp_path: Path) -> None:
        (tmp_path / "notes.txt").write_text("nothing here")
        with raises(InputError, "ct.no-slices"):
            Volume.read(tmp_path)

    def test_slices_without_places(self, tmp_path: Path) -> None:
        for path in write_series(tmp_path / "ct", hounsfield()):
            edit(path, ImagePositionPatient=None, ImageOrientationPatient=None)
        with raises(InputError, "ct.no-slices", "5", "modality CT", "ImagePositionPatient"):
            Volume.read(tmp_path / "ct")


class TestCompressed:
    @pytest.mark.parametrize("syntax", [JPEG2000Lossless, RLELossless])
    def test_lossless(self, tmp_path: Path, syntax) -> None:
        for path in write_series(tmp_path / "ct", hounsfield((64, 48, 3))):
            dataset = pydicom.dcmread(path)
            dataset.compress(syntax)
            dataset.save_as(path)
        np.testing.assert_array_equal(Volume.read(tmp_path / "ct").hu, hounsfield((64, 48, 3)))

    def test_broken_stream(self, tmp_path: Path) -> None:
        paths = write_series(tmp_path / "ct", hounsfield((64, 48, 3)))
        for path in paths:
            dataset = pydicom.dcmread(path)
            dataset.compress(JPEG2000Lossless)
            if path == paths[1]:
                dataset.PixelData = dataset.PixelData[:20] + bytes(len(dataset.PixelData) - 20)
            dataset.save_as(path)
        with raises(InputError, "dicom.undecodable", paths[1].name, "JPEG 2000"):
            Volume.read(tmp_path / "ct")

    def test_pixels_cut_short(self, tmp_path: Path) -> None:
        paths = write_series(tmp_path / "ct", hounsfield())
        dataset = pydicom.dcmread(paths[1])
        dataset.PixelData = dataset.PixelData[:20]
        dataset.save_as(paths[1])
        with raises(InputError, "dicom.undecodable", paths[1].name):
            Volume.read(tmp_path / "ct")

    @pytest.mark.slow
    def test_real_jpeg_2000_series(self, shared_data: Path) -> None:
        folder = shared_data / "ct_dicom_series"
        volume = Volume.read(folder)
        assert volume.hu.dtype == np.int16
        np.testing.assert_allclose(volume.spacing_mm, [0.9765625, 0.9765625, 2.0])
        headers = {path: pydicom.dcmread(path, stop_before_pixels=True) for path in folder.iterdir()}
        image = by_simpleitk(sorted(headers, key=lambda path: headers[path].ImagePositionPatient[2]))
        np.testing.assert_array_equal(volume.hu, sitk.GetArrayFromImage(image).transpose(2, 1, 0))
        lps = np.array(image.TransformIndexToPhysicalPoint((511, 100, 19)))
        np.testing.assert_allclose(
            (volume.world_from_voxel @ [511, 100, 19, 1])[:3], lps * [-1, -1, 1], atol=1e-6
        )
