"""Multi-frame CTs: where their frames are, against the same CT of single slices and against GDCM."""

from pathlib import Path

import numpy as np
import pydicom
import pytest
import SimpleITK as sitk
from pydicom.dataset import Dataset
from pydicom.uid import CTImageStorage, XRay3DAngiographicImageStorage

from isoclinic.errors import InputError
from isoclinic.volumes import CTCorrection, GeometryWarning, Volume
from raising import raises

from .dicom_files import (
    ORIGIN_LPS,
    SPACING,
    TURN,
    edit,
    empty_dataset,
    hounsfield,
    item,
    world_from_voxel,
    write_enhanced,
)

SHUFFLED = np.array([3, 0, 4, 1, 2])


def assert_twin(volume: Volume, turn: np.ndarray = TURN) -> None:
    np.testing.assert_array_equal(volume.hu, hounsfield())
    np.testing.assert_allclose(volume.world_from_voxel, world_from_voxel(turn), atol=1e-9)


class TestEnhanced:
    @pytest.mark.parametrize("order", [np.arange(5), SHUFFLED, np.arange(5)[::-1]])
    @pytest.mark.parametrize("turn", [TURN, np.diag([1.0, -1, -1])], ids=["oblique", "prone"])
    def test_places_and_values_are_the_frames_own(
        self, tmp_path: Path, order: np.ndarray, turn: np.ndarray
    ) -> None:
        path = write_enhanced(tmp_path / "ct" / "ct.dcm", hounsfield(), turn=turn, order=order)
        assert_twin(Volume.read(path), turn)
        assert_twin(Volume.read(path.parent), turn)

    def test_agrees_with_gdcm(self, tmp_path: Path) -> None:
        """Which knows one rescale for all frames; so the places only."""
        path = write_enhanced(tmp_path / "ct.dcm", hounsfield())
        image, volume = sitk.ReadImage(str(path)), Volume.read(path)
        for voxel in ((0, 0, 0), (6, 0, 0), (0, 5, 0), (0, 0, 4), (3, 2, 1)):
            lps = np.array(image.TransformIndexToPhysicalPoint(voxel))
            np.testing.assert_allclose(
                (volume.world_from_voxel @ [*voxel, 1])[:3], lps * [-1, -1, 1], atol=1e-5
            )

    def test_reconstruction_of_a_c_arm(self, tmp_path: Path) -> None:
        path = write_enhanced(tmp_path / "ct.dcm", hounsfield())
        edit(path, SOPClassUID=XRay3DAngiographicImageStorage, Modality="XA")
        assert_twin(Volume.read(path))

    def test_orientation_of_each_frame(self, tmp_path: Path) -> None:
        def own(groups: Dataset, slice_: int) -> None:
            groups.PlaneOrientationSequence = item(ImageOrientationPatient=TURN[:, :2].T.ravel().tolist())
            groups.PixelMeasuresSequence = item(PixelSpacing=[SPACING[1], SPACING[0]])

        path = write_enhanced(tmp_path / "ct.dcm", hounsfield(), change=own)
        edit(path, SharedFunctionalGroupsSequence=None)
        assert_twin(Volume.read(path))

    @pytest.mark.parametrize(
        ("keyword", "places"),
        [("StackID", "FrameContentSequence"), ("TemporalPositionIndex", "FrameContentSequence")],
    )
    def test_stacks_and_phases(self, tmp_path: Path, keyword: str, places: str) -> None:
        """Two images at each position: the second ones are denser."""
        path = tmp_path / "ct.dcm"
        count = 0

        def second(groups: Dataset, slice_: int) -> None:
            nonlocal count
            number = 1 + count // 5
            setattr(groups[places].value[0], keyword, str(number) if keyword == "StackID" else number)
            groups.PixelValueTransformationSequence[0].RescaleIntercept += 20 * (count // 5)
            count += 1

        write_enhanced(path, hounsfield(), order=np.r_[np.arange(5), np.arange(5)], change=second)
        with raises(
            InputError,
            "ct.several-phases",
            *("ct.dcm, frame 0", "ct.dcm, frame 5", keyword, "1 (5 images), 2 (5 images)", "`slices_where`"),
        ):
            Volume.read(path)
        assert_twin(Volume.read(path, correction=CTCorrection(slices_where=f"{keyword}=1")))
        denser = Volume.read(path, correction=CTCorrection(slices_where=f"{keyword}=2"))
        np.testing.assert_array_equal(denser.hu, hounsfield() + 20)

    def test_frames_without_a_position(self, tmp_path: Path) -> None:
        def without(groups: Dataset, slice_: int) -> None:
            if slice_ == 2:
                del groups.PlanePositionSequence

        path = write_enhanced(tmp_path / "ct.dcm", hounsfield(), change=without)
        with raises(InputError, "ct.incomplete-header", "ct.dcm", "frame 2", "ImagePositionPatient"):
            Volume.read(path)

    def test_several_files_of_one_ct(self, tmp_path: Path) -> None:
        """Of a concatenation any file stands for all; else a file stands for itself."""
        parts = [
            write_enhanced(tmp_path / "ct" / f"{part}.dcm", hounsfield(), order=order)
            for part, order in enumerate((np.array([0, 1, 2]), np.array([3, 4])))
        ]
        for path in parts:
            edit(path, SeriesInstanceUID="1.2.3", ConcatenationUID="1.2.3.4")
        for given in (tmp_path / "ct", *parts):
            assert_twin(Volume.read(given))
        for path in parts:
            edit(path, ConcatenationUID=None)
        assert Volume.read(parts[0]).shape == (7, 6, 3)

    def test_phases_in_files_of_their_own(self, tmp_path: Path) -> None:
        paths = [write_enhanced(tmp_path / "ct" / name, hounsfield()) for name in ("a.dcm", "b.dcm")]
        for path in paths:
            edit(path, SeriesInstanceUID="1.2.3")
        with raises(InputError, "ct.several-phases", "ct/a.dcm", "ct/b.dcm"):
            Volume.read(tmp_path / "ct")
        assert_twin(Volume.read(paths[1]))


def write_frames(path: Path, hu: np.ndarray, **attributes: object) -> Path:
    """CT Image Storage with many frames and one position, as dental devices write it."""
    dataset = empty_dataset(path, CTImageStorage)
    dataset.Rows, dataset.Columns, dataset.NumberOfFrames = hu.shape[1], hu.shape[0], hu.shape[2]
    dataset.ImagePositionPatient = ORIGIN_LPS.tolist()
    dataset.ImageOrientationPatient = TURN[:, :2].T.ravel().tolist()
    dataset.PixelSpacing = [SPACING[1], SPACING[0]]
    dataset.RescaleSlope, dataset.RescaleIntercept = 1, -1024
    dataset.PixelData = (hu.transpose(2, 1, 0).astype(np.int32) + 1024).astype(np.uint16).tobytes()
    for keyword, value in attributes.items():
        setattr(dataset, keyword, value)
    dataset.save_as(path, enforce_file_format=True)
    return path


class TestOnePositionForAllFrames:
    @pytest.mark.parametrize(
        ("keyword", "value"),
        [
            ("SpacingBetweenSlices", 2.5),
            ("GridFrameOffsetVector", [0, 2.5, 5, 7.5, 10]),
            ("GridFrameOffsetVector", [-50, -47.5, -45, -42.5, -40]),
            ("SliceLocationVector", [100, 102.5, 105, 107.5, 110]),
        ],
    )
    def test_along_the_normal(self, tmp_path: Path, keyword: str, value: object) -> None:
        path = write_frames(tmp_path / "ct.dcm", hounsfield(), **{keyword: value})
        with pytest.warns(GeometryWarning, match=rf"5 frames and one position.*as {keyword} says"):
            volume = Volume.read(path)
        assert_twin(volume)

    def test_against_the_normal(self, tmp_path: Path) -> None:
        path = write_frames(tmp_path / "ct.dcm", hounsfield(), SpacingBetweenSlices=-2.5)
        with pytest.warns(GeometryWarning, match="SpacingBetweenSlices"):
            volume = Volume.read(path)
        np.testing.assert_array_equal(volume.hu, hounsfield()[..., ::-1])
        np.testing.assert_allclose((volume.world_from_voxel @ [0, 0, 4, 1])[:3], ORIGIN_LPS * [-1, -1, 1])

    def test_uneven_offsets(self, tmp_path: Path) -> None:
        path = write_frames(tmp_path / "ct.dcm", hounsfield(), GridFrameOffsetVector=[0, 2.5, 5, 10, 12.5])
        with pytest.warns(GeometryWarning) as caught:
            volume = Volume.read(path)
        assert any("frame 2 and ct.dcm, frame 3 (5 mm apart)" in str(each.message) for each in caught)
        np.testing.assert_array_equal(volume.hu[..., [0, 1, 2, 4, 5]], hounsfield())

    def test_no_distance(self, tmp_path: Path) -> None:
        path = write_frames(tmp_path / "ct.dcm", hounsfield())
        with raises(InputError, "ct.incomplete-header", "ct.dcm", "5"):
            Volume.read(path)

    def test_offsets_of_other_frames(self, tmp_path: Path) -> None:
        path = write_frames(tmp_path / "ct.dcm", hounsfield(), GridFrameOffsetVector=[0, 2.5])
        with raises(InputError, "ct.malformed-header", "GridFrameOffsetVector", "5"):
            Volume.read(path)


def test_one_frame_in_each_of_many_files(tmp_path: Path) -> None:
    """Legacy converted slices: functional groups, and one frame a file."""
    for slice_ in range(5):
        path = write_enhanced(tmp_path / "ct" / f"{slice_}.dcm", hounsfield(), order=np.array([slice_]))
        edit(path, SeriesInstanceUID="1.2.3")
        assert pydicom.dcmread(path).NumberOfFrames == 1
    assert_twin(Volume.read(tmp_path / "ct"))
