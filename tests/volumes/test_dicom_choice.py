"""What is a CT's slice by content, and which files of a folder are one CT."""

import gc
import shutil
import warnings
from pathlib import Path

import nibabel as nib
import numpy as np
import pydicom
import pytest
import SimpleITK as sitk
from pydicom.fileset import FileSet
from pydicom.uid import (
    GrayscaleSoftcopyPresentationStateStorage,
    MRImageStorage,
    PositronEmissionTomographyImageStorage,
    SecondaryCaptureImageStorage,
    XRayAngiographicImageStorage,
    generate_uid,
)

from isoclinic.errors import InputError, UsageError
from isoclinic.volumes import CTCorrection, GeometryWarning, Volume
from raising import raises

from .dicom_files import edit, hounsfield, world_from_voxel, write_series

NO_PLACE = dict.fromkeys(("ImagePositionPatient", "ImageOrientationPatient", "PixelSpacing"))


def assert_twin(volume: Volume, hu: np.ndarray | None = None) -> None:
    np.testing.assert_array_equal(volume.hu, hounsfield() if hu is None else hu)
    np.testing.assert_allclose(volume.world_from_voxel, world_from_voxel(), atol=1e-9)


class TestKinds:
    @pytest.mark.parametrize("modality", ["XA", "OT", "DX", "", None])
    def test_cone_beam_cts_of_any_modality(self, tmp_path: Path, modality: str | None) -> None:
        for path in write_series(tmp_path / "ct", hounsfield()):
            edit(path, Modality=modality)
        assert_twin(Volume.read(tmp_path / "ct"))

    @pytest.mark.parametrize(
        "storage",
        [SecondaryCaptureImageStorage, XRayAngiographicImageStorage, "1.2.3.4.5", None],
        ids=["secondary capture", "angiography", "private", "none"],
    )
    def test_slices_in_objects_of_other_classes(self, tmp_path: Path, storage: str | None) -> None:
        for path in write_series(tmp_path / "ct", hounsfield()):
            edit(path, SOPClassUID=storage)
        assert_twin(Volume.read(tmp_path / "ct"))

    @pytest.mark.parametrize("storage", [MRImageStorage, PositronEmissionTomographyImageStorage])
    def test_slices_of_other_kinds(self, tmp_path: Path, storage: str) -> None:
        write_series(tmp_path / "ct", hounsfield(), SOPClassUID=storage, Modality="OT")
        with raises(InputError, "ct.no-slices", "5", "OT", storage.name):
            Volume.read(tmp_path / "ct")

    def test_slices_that_are_called_localizers(self, tmp_path: Path) -> None:
        write_series(tmp_path / "ct", hounsfield(), ImageType=["DERIVED", "PRIMARY", "LOCALIZER"])
        assert_twin(Volume.read(tmp_path / "ct"))

    def test_nothing_but_scouts(self, tmp_path: Path) -> None:
        write_series(tmp_path / "ct", hounsfield()[..., :2], ImageType=["ORIGINAL", "PRIMARY", "LOCALIZER"])
        with raises(InputError, "ct.no-slices", "localizers"):
            Volume.read(tmp_path / "ct")

    @pytest.mark.parametrize(
        ("attributes", "said"),
        [
            ({**NO_PLACE, "ImageType": ["DERIVED", "SECONDARY", "SCREEN SAVE"]}, "without ImagePosition"),
            ({**NO_PLACE, "SOPClassUID": SecondaryCaptureImageStorage}, "without ImagePosition"),
            ({"SOPClassUID": SecondaryCaptureImageStorage}, "Secondary Capture Image Storage, beside"),
            ({"SamplesPerPixel": 3, "PhotometricInterpretation": "RGB"}, "in colour"),
            ({"SOPClassUID": GrayscaleSoftcopyPresentationStateStorage, "Rows": None}, "Presentation State"),
            ({"ImageType": ["ORIGINAL", "PRIMARY", "LOCALIZER"]}, "called a localizer"),
        ],
        ids=["screen save", "capture", "capture with a place", "dose page", "presentation state", "scout"],
    )
    @pytest.mark.parametrize("own_series", [False, True])
    def test_what_lies_among_slices_is_left_out(
        self, tmp_path: Path, attributes: dict[str, object], said: str, own_series: bool
    ) -> None:
        paths = write_series(tmp_path / "ct", hounsfield())
        page = tmp_path / "ct" / "IM999.dcm"
        shutil.copy(paths[0], page)
        edit(page, SOPInstanceUID=generate_uid(), **attributes)
        if own_series:
            edit(page, SeriesInstanceUID=generate_uid())
        with pytest.warns(GeometryWarning, match=rf"left out: 1 .*{said}.*\(IM999\.dcm\)"):
            volume = Volume.read(tmp_path / "ct")
        assert_twin(volume)

    def test_what_is_no_slice_is_refused_as_the_ct(self, tmp_path: Path) -> None:
        (path,) = write_series(tmp_path / "ct", hounsfield()[..., :1])
        edit(path, **NO_PLACE)
        with raises(InputError, "ct.no-slices", "IM000.dcm", "ImagePositionPatient"):
            Volume.read(path)

    def test_empty_files_are_named(self, tmp_path: Path) -> None:
        write_series(tmp_path / "ct", hounsfield())
        (tmp_path / "ct" / "IM777.dcm").touch()
        with pytest.warns(GeometryWarning, match=r"1 empty, damaged or not DICOM.*\(IM777\.dcm\)"):
            volume = Volume.read(tmp_path / "ct")
        assert_twin(volume)


class TestMalformed:
    @pytest.mark.parametrize("frames", [10**9, -1, [2, 3]])
    def test_numbers_of_frames(self, tmp_path: Path, frames: object) -> None:
        write_series(tmp_path / "ct", hounsfield(), NumberOfFrames=frames)
        with raises(InputError, "dicom.malformed-header", "NumberOfFrames"):
            Volume.read(tmp_path / "ct")

    @pytest.mark.filterwarnings("ignore:Invalid value for VR UI")  # of pydicom
    def test_several_classes(self, tmp_path: Path) -> None:
        for path in write_series(tmp_path / "ct", hounsfield(), SOPClassUID="1.2.3.44444"):
            path.write_bytes(path.read_bytes().replace(b"1.2.3.44444", rb"1.2.3\4.444"))
        assert_twin(Volume.read(tmp_path / "ct"))

    def test_decimal_commas(self, tmp_path: Path) -> None:
        for path in write_series(tmp_path / "ct", hounsfield(), PixelSpacing=[0.625, 0.875]):
            path.write_bytes(path.read_bytes().replace(b"0.625\\0.875", b"0,625\\0,875"))
        with raises(InputError, "ct.unreadable", "PixelSpacing", "0,625"):
            Volume.read(tmp_path / "ct")


class TestMarks:
    """The preamble and the suffix are not what makes a file DICOM."""

    @pytest.mark.parametrize("suffix", [".dcm", "", ".IMA", ".1.3.12.2"])
    def test_without_preamble(self, tmp_path: Path, suffix: str) -> None:
        for path in write_series(tmp_path / "ct", hounsfield()):
            path.write_bytes(path.read_bytes()[132:])
            path.rename(path.with_suffix(suffix))
        assert_twin(Volume.read(tmp_path / "ct"))
        assert_twin(Volume.read(next((tmp_path / "ct").iterdir())))

    @pytest.mark.parametrize("implicit", [False, True])
    def test_without_preamble_and_group_2(self, tmp_path: Path, implicit: bool) -> None:
        for path in write_series(tmp_path / "ct", hounsfield()):
            dataset = pydicom.dcmread(path)
            bare = pydicom.Dataset(dataset)
            bare.save_as(path, implicit_vr=implicit, little_endian=True)
            assert path.read_bytes()[:2] == b"\x08\x00"
        assert_twin(Volume.read(tmp_path / "ct"))

    def test_other_files_that_begin_alike(self, tmp_path: Path) -> None:
        write_series(tmp_path / "ct", hounsfield())
        (tmp_path / "ct" / "numbers.raw").write_bytes(np.arange(8, 500, dtype="<u2").tobytes())
        (tmp_path / "ct" / "more.raw").write_bytes(b"\x08\x00\x05\x00CS" + 40 * b"\xff")
        assert_twin(Volume.read(tmp_path / "ct"))


class TestSeriesOfEachSlice:
    def test_read_as_one(self, tmp_path: Path) -> None:
        paths = write_series(tmp_path / "ct", hounsfield())
        for path in paths:
            edit(path, SeriesInstanceUID=generate_uid())
        for given in (tmp_path / "ct", paths[2]):
            with pytest.warns(GeometryWarning, match="5 images .*series"):
                volume = Volume.read(given)
            assert_twin(volume)

    @pytest.mark.parametrize("keyword", ["StudyInstanceUID", "FrameOfReferenceUID"])
    def test_not_said_to_be_one(self, tmp_path: Path, keyword: str) -> None:
        for path in write_series(tmp_path / "ct", hounsfield()):
            edit(path, **{"SeriesInstanceUID": generate_uid(), keyword: generate_uid()})
        with raises(InputError, "ct.not-a-series", "5 images", "`slices_where`", "Modality=CT") as caught:
            Volume.read(tmp_path / "ct")
        assert str(caught.value).count("\n") < 3
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", GeometryWarning)  # of the frames of reference
            volume = Volume.read(tmp_path / "ct", correction=CTCorrection(slices_where="Modality=CT"))
        assert_twin(volume)

    def test_with_a_gap(self, tmp_path: Path) -> None:
        paths = write_series(tmp_path / "ct", hounsfield((7, 6, 9)))
        for path in paths:
            edit(path, SeriesInstanceUID=generate_uid())
        paths[4].unlink()
        with raises(InputError, "ct.not-a-series", "IM004.dcm", "IM005.dcm", "`slices_where`"):
            Volume.read(tmp_path / "ct")
        with pytest.warns(GeometryWarning, match="slice is missing between"):
            Volume.read(tmp_path / "ct", correction=CTCorrection(slices_where="Modality=CT"))

    def test_beside_a_scout(self, tmp_path: Path) -> None:
        for path in write_series(tmp_path / "ct", hounsfield()):
            edit(path, SeriesInstanceUID=generate_uid())
        write_series(tmp_path / "scout", hounsfield()[..., :1], np.eye(3)[:, [1, 2, 0]])
        with pytest.warns(GeometryWarning) as caught:
            volume = Volume.read(tmp_path)
        assert_twin(volume)
        assert any("1 alone in the series (scout/IM000.dcm)" in str(each.message) for each in caught)


class TestSeveralSeries:
    def test_the_list_is_short(self, tmp_path: Path) -> None:
        for number in range(12):
            write_series(tmp_path / f"{number:02d}", hounsfield(), SeriesNumber=number)
        with raises(InputError, "ct.several-series", "12") as caught:
            Volume.read(tmp_path)
        assert str(caught.value).count("\n") == 9

    def test_one_by_its_number(self, tmp_path: Path) -> None:
        write_series(tmp_path, hounsfield(), SeriesNumber=2)
        for path in tmp_path.iterdir():
            path.rename(tmp_path / f"a{path.name}")
        write_series(tmp_path, hounsfield() // 2, SeriesNumber=3)
        volume = Volume.read(tmp_path, correction=CTCorrection(slices_where="SeriesNumber=3"))
        assert_twin(volume, hounsfield() // 2)

    def test_a_series_in_several_folders_is_not_chosen_by_one_file(self, tmp_path: Path) -> None:
        """Its other folders would be missing."""
        paths = write_series(tmp_path / "a", hounsfield())
        (tmp_path / "b").mkdir()
        for path in paths[3:]:
            path.rename(tmp_path / "b" / path.name)
        write_series(tmp_path / "c", hounsfield() // 2)
        with raises(InputError, "ct.several-series", "2", "`slices_where`", "SeriesInstanceUID") as caught:
            Volume.read(tmp_path)
        uid = pydicom.dcmread(paths[0]).SeriesInstanceUID
        assert f"`slices_where` SeriesInstanceUID={uid} " in str(caught.value)
        assert_twin(Volume.read(tmp_path, correction=CTCorrection(slices_where=f"SeriesInstanceUID={uid}")))

    @pytest.mark.parametrize("text", ["SeriesNumber", "NoSuchKeyword=2", "=3"])
    def test_malformed_selections(self, tmp_path: Path, text: str) -> None:
        write_series(tmp_path / "ct", hounsfield())
        with raises(UsageError, "ct.invalid-value", "`slices_where`"):
            Volume.read(tmp_path / "ct", correction=CTCorrection(slices_where=text))

    def test_selections_of_nothing(self, tmp_path: Path) -> None:
        write_series(tmp_path / "ct", hounsfield(), SeriesNumber=2)
        with raises(UsageError, "ct.no-slices", "SeriesNumber", "3", "2"):
            Volume.read(tmp_path / "ct", correction=CTCorrection(slices_where="SeriesNumber=3"))
        nib.save(nib.Nifti1Image(hounsfield(), np.eye(4)), tmp_path / "ct.nii")
        with raises(UsageError, "ct.not-a-series", "`slices_where`", "ct.nii"):
            Volume.read(tmp_path / "ct.nii", correction=CTCorrection(slices_where="SeriesNumber=3"))


class TestWrappings:
    @pytest.mark.slow
    def test_dicomdir(self, tmp_path: Path) -> None:
        files = FileSet()
        for path in write_series(tmp_path / "ct", hounsfield()):
            edit(path, StudyInstanceUID="1.2.3", PatientID="P", StudyDate="20200101", StudyTime="1200",
                 StudyID="1", SeriesNumber=1)  # fmt: skip
            files.add(path)
        files.write(tmp_path / "cd")
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", ResourceWarning)  # of the folder in which it puts files together
            del files
            gc.collect()
        assert_twin(Volume.read(tmp_path / "cd" / "DICOMDIR"))
        assert_twin(Volume.read(tmp_path / "cd"))

    @pytest.mark.parametrize("kind", ["zip", "gztar"])
    def test_archives(self, tmp_path: Path, kind: str) -> None:
        write_series(tmp_path / "ct", hounsfield())
        (tmp_path / "given").mkdir()
        archive = Path(shutil.make_archive(str(tmp_path / "given" / "ct"), kind, tmp_path / "ct"))
        for given in (archive, archive.parent):
            with raises(InputError, "ct.unknown-format", archive.name, "archive"):
                Volume.read(given)

    def test_a_zip_of_another_name(self, tmp_path: Path) -> None:
        write_series(tmp_path / "ct", hounsfield())
        Path(shutil.make_archive(str(tmp_path / "ct"), "zip", tmp_path / "ct")).rename(tmp_path / "export")
        with raises(InputError, "ct.unknown-format", "export", "archive"):
            Volume.read(tmp_path / "export")

    @pytest.mark.parametrize("name", ["ct.nii.gz", "deep/CT.NII", "ct.nrrd", "ct.mha"])
    def test_a_folder_of_one_image_file(self, tmp_path: Path, name: str) -> None:
        path = tmp_path / "given" / name
        path.parent.mkdir(parents=True)
        if ".nii" in name.lower():
            plain = tmp_path / ("x.nii.gz" if ".gz" in name else "x.nii")
            nib.save(nib.Nifti1Image(hounsfield(), world_from_voxel()), plain)
            plain.rename(path)  # nibabel writes no suffix in capitals
        else:
            sitk.WriteImage(sitk.GetImageFromArray(hounsfield().transpose(2, 1, 0)), str(path))
        (path.parent / "ct_seg.nii.gz").touch()
        np.testing.assert_array_equal(Volume.read(tmp_path / "given").hu, hounsfield())

    def test_a_folder_of_several(self, tmp_path: Path) -> None:
        for name in ("a.nii.gz", "b.nii.gz"):
            nib.save(nib.Nifti1Image(hounsfield(), world_from_voxel()), tmp_path / name)
        with raises(InputError, "ct.several-files", "2", "a.nii.gz", "b.nii.gz"):
            Volume.read(tmp_path)

    def test_an_image_file_beside_other_dicom(self, tmp_path: Path) -> None:
        """The folder of a case: its X-ray, and its CT as NIfTI."""
        (path,) = write_series(tmp_path / "case", hounsfield()[..., :1])
        edit(path, SOPClassUID=XRayAngiographicImageStorage, Modality="XA", **NO_PLACE)
        nib.save(nib.Nifti1Image(hounsfield(), world_from_voxel()), tmp_path / "case" / "ct.nii.gz")
        (tmp_path / "case" / "._ct.nii.gz").write_bytes(b"\x00\x05\x16\x07")  # of macOS
        assert_twin(Volume.read(tmp_path / "case"))

    def test_nothing_but_labels(self, tmp_path: Path) -> None:
        nib.save(nib.Nifti1Image(hounsfield(), world_from_voxel()), tmp_path / "ct_seg.nii.gz")
        with raises(InputError, "ct.no-slices"):
            Volume.read(tmp_path)

    def test_dicom_beside_an_image_file(self, tmp_path: Path) -> None:
        write_series(tmp_path / "ct", hounsfield())
        nib.save(nib.Nifti1Image(hounsfield() // 2, world_from_voxel()), tmp_path / "ct" / "other.nii.gz")
        with pytest.warns(GeometryWarning, match=r"DICOM files and other\.nii\.gz"):
            volume = Volume.read(tmp_path / "ct")
        assert_twin(volume)


def test_warnings_point_at_the_line_that_read(tmp_path: Path) -> None:
    write_series(tmp_path / "ct", hounsfield())
    (tmp_path / "ct" / "IM777.dcm").touch()
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        Volume.read(tmp_path / "ct")
    assert [each.filename for each in caught] == [__file__]
