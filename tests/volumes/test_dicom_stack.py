"""Slices that repeat, contradict or do not belong to each other."""

import shutil
from pathlib import Path

import numpy as np
import pydicom
import pytest
from pydicom.uid import generate_uid
from scipy.spatial.transform import Rotation

from isoclinic.errors import InputError
from isoclinic.volumes import CTCorrection, GeometryWarning, Volume
from raising import raises

from .dicom_files import (
    ORIGIN_LPS,
    SPACING,
    TURN,
    edit,
    hounsfield,
    phantom,
    places_of,
    world_from_voxel,
    write_planes,
    write_series,
)


def denser(path: Path) -> None:
    """Another image than before: all pixels 20 HU higher."""
    pixels = np.frombuffer(pydicom.dcmread(path).PixelData, np.uint16)
    edit(path, PixelData=(pixels + 20).tobytes())


def moved_to_one_series(folder: Path, sources: list[list[Path]]) -> None:
    """Files of several series, renamed, as images of one series in one folder."""
    folder.mkdir()
    for number, paths in enumerate(sources):
        for path in paths:
            edit(path, SeriesInstanceUID="1.2.3")
            path.rename(folder / f"{number}_{path.name}")


class TestCopies:
    def test_count_once(self, tmp_path: Path) -> None:
        paths = write_series(tmp_path / "ct", hounsfield())
        shutil.copy(paths[1], tmp_path / "ct" / f"{paths[1].stem} (copy).dcm")
        shutil.copytree(tmp_path / "ct", tmp_path / "ct" / "again")
        with pytest.warns(GeometryWarning, match=rf"copies of images.*again/{paths[0].name} \(of "):
            volume = Volume.read(tmp_path / "ct")
        np.testing.assert_array_equal(volume.hu, hounsfield())
        np.testing.assert_allclose(volume.world_from_voxel, world_from_voxel(), atol=1e-9)

    def test_with_other_pixels_are_no_copies(self, tmp_path: Path) -> None:
        paths = write_series(tmp_path / "ct", hounsfield())
        shutil.copy(paths[1], tmp_path / "ct" / "other.dcm")
        denser(tmp_path / "ct" / "other.dcm")
        with raises(InputError, "ct.several-phases", "other.dcm", "Nothing"):
            Volume.read(tmp_path / "ct")

    def test_with_another_identity_are_no_copies(self, tmp_path: Path) -> None:
        paths = write_series(tmp_path / "ct", hounsfield())
        shutil.copy(paths[1], tmp_path / "ct" / "other.dcm")
        edit(tmp_path / "ct" / "other.dcm", SOPInstanceUID=generate_uid())
        with raises(InputError, "ct.several-phases", "other.dcm"):
            Volume.read(tmp_path / "ct")

    def test_one_identity_for_all(self, tmp_path: Path) -> None:
        """As careless anonymisers write: the places tell the images apart."""
        for path in write_series(tmp_path / "ct", hounsfield()):
            edit(path, SOPInstanceUID="1.2.3")
        np.testing.assert_array_equal(Volume.read(tmp_path / "ct").hu, hounsfield())


class TestPhases:
    @pytest.mark.parametrize("shorter", [0, 2])
    @pytest.mark.parametrize(
        ("keyword", "values"),
        [
            ("AcquisitionNumber", [1, 2, 3]),
            ("TemporalPositionIdentifier", [1, 2, 3]),
            ("NominalPercentageOfCardiacPhase", [0.0, 40.0, 75.0]),
            ("ContentTime", ["120000", "120030", "120100"]),
            ("ConvolutionKernel", ["B30f", "B60f", "B70f"]),
            ("ImageType", [["ORIGINAL", "PRIMARY", "AXIAL", kind] for kind in ("CT_SOM5 SPI", "MAR", "VNC")]),
        ],
    )
    def test_in_one_folder(self, tmp_path: Path, keyword: str, values: list[object], shorter: int) -> None:
        sources = []
        for number, value in enumerate(values):
            count = 5 - (shorter if number else 0)
            hu = hounsfield()[..., :count] // (number + 1)
            sources.append(write_series(tmp_path / str(number), hu, **{keyword: value}))
        moved_to_one_series(tmp_path / "ct", sources)
        with raises(InputError, "ct.several-phases", keyword, "5") as caught:
            Volume.read(tmp_path / "ct")
        option = str(caught.value).partition("`slices_where` '")[2].partition("'")[0]
        assert option.startswith(f"{keyword}=")
        chosen = Volume.read(tmp_path / "ct", correction=CTCorrection(slices_where=option))
        texts = ["\\".join(v) if isinstance(v, list) else str(v) for v in values]
        number = texts.index(option.partition("=")[2])
        np.testing.assert_array_equal(
            chosen.hu, hounsfield()[..., : 5 - (shorter if number else 0)] // (number + 1)
        )

    def test_in_folders_of_equal_names(self, tmp_path: Path) -> None:
        (tmp_path / "ct").mkdir()
        for number, name in enumerate("ab"):
            for path in write_series(tmp_path / "ct" / name, hounsfield() // (number + 1)):
                edit(path, SeriesInstanceUID="1.2.3")
        with raises(InputError, "ct.several-phases", "ct/a", "ct/b"):
            Volume.read(tmp_path / "ct")
        np.testing.assert_array_equal(Volume.read(tmp_path / "ct" / "a").hu, hounsfield())

    def test_all_at_one_position(self, tmp_path: Path) -> None:
        for path in write_series(tmp_path / "ct", hounsfield()):
            edit(path, ImagePositionPatient=ORIGIN_LPS.tolist())
        with raises(InputError, "ct.several-phases", "IM000.dcm", "IM001.dcm"):
            Volume.read(tmp_path / "ct")

    @pytest.mark.parametrize("offset", [0.5, 0.3])
    def test_that_reach_into_each_other(self, tmp_path: Path, offset: float) -> None:
        """A second acquisition half a slice off would look like one of thinner slices."""
        first = write_series(tmp_path / "0", hounsfield(), AcquisitionNumber=1)
        second = write_series(tmp_path / "1", hounsfield() // 2, AcquisitionNumber=2)
        for index, path in enumerate(second):
            position = ORIGIN_LPS + (index + offset) * SPACING[2] * TURN[:, 2]
            edit(path, ImagePositionPatient=position.tolist())
        moved_to_one_series(tmp_path / "ct", [first, second])
        with raises(InputError, "ct.several-phases", "AcquisitionNumber"):
            Volume.read(tmp_path / "ct")

    def test_acquisitions_one_after_the_other_are_one_ct(self, tmp_path: Path) -> None:
        for index, path in enumerate(write_series(tmp_path / "ct", hounsfield((7, 6, 8)))):
            edit(path, AcquisitionNumber=1 + index // 4)
        np.testing.assert_array_equal(Volume.read(tmp_path / "ct").hu, hounsfield((7, 6, 8)))


class TestDirections:
    @pytest.mark.slow
    def test_that_jitter(self, tmp_path: Path) -> None:
        """By 1e-3 from slice to slice; positions are right."""
        rng = np.random.default_rng(3)
        centres = np.linspace(-40, 40, 41)[:, None] * np.array([0.0, 0, 1])
        paths = write_planes(tmp_path / "ct", centres, np.eye(3)[:2], shape=(256, 208), spacing=(0.4, 0.375))
        for path in paths:
            turn = Rotation.from_rotvec(rng.normal(0, 1e-3, 3)).as_matrix()
            edit(path, ImageOrientationPatient=np.round(turn[:, :2].T.ravel(), 6).tolist())
        with pytest.warns(GeometryWarning, match="ImageOrientationPatient"):
            volume = Volume.read(tmp_path / "ct")
        axes = volume.world_from_voxel[:3, :3] / volume.spacing_mm
        np.testing.assert_allclose(axes, np.diag([-1.0, -1, 1]), atol=1e-3)
        assert (volume.hu == phantom(places_of(volume))).mean() > 0.99

    def test_that_are_rounded_stretch_nothing(self, tmp_path: Path) -> None:
        """Two decimals: the vectors are up to half a percent off unit length, and the spacing is right."""
        turn = Rotation.from_euler("xyz", [31, 17, 44], degrees=True).as_matrix()
        rounded = np.round(turn[:, :2].T.ravel(), 2)
        assert np.abs(np.linalg.norm(rounded.reshape(2, 3), axis=1) - 1).max() > 2e-3
        write_series(tmp_path / "ct", hounsfield(), turn, ImageOrientationPatient=rounded.tolist())
        with pytest.warns(
            GeometryWarning, match=r"tilted by 0\.3 deg"
        ):  # the normal is off the positions' line
            volume = Volume.read(tmp_path / "ct")
        np.testing.assert_allclose(volume.spacing_mm[:2], SPACING[:2], rtol=1e-9)

    @pytest.mark.parametrize("odd", [0, 4])
    def test_a_scout_that_nothing_calls_so(self, tmp_path: Path, odd: int) -> None:
        hu = hounsfield()
        paths = write_series(tmp_path / "ct", hu)
        edit(paths[odd], ImageOrientationPatient=[1, 0, 0, 0, 0, -1])
        with pytest.warns(GeometryWarning, match=rf"left out: 1 of another size.*\({paths[odd].name}\)"):
            volume = Volume.read(tmp_path / "ct")
        np.testing.assert_array_equal(volume.hu, np.delete(hu, odd, axis=2))

    def test_a_slice_turned_where_it_is_needed(self, tmp_path: Path) -> None:
        paths = write_series(tmp_path / "ct", hounsfield())
        edit(paths[2], ImageOrientationPatient=[1, 0, 0, 0, 0, -1])
        with raises(InputError, "ct.odd-slices", "ImageOrientationPatient", paths[2].name):
            Volume.read(tmp_path / "ct")


class TestContradictions:
    def test_a_tilt_that_positions_lack(self, tmp_path: Path) -> None:
        write_series(tmp_path / "ct", hounsfield(), GantryDetectorTilt=15)
        with pytest.warns(GeometryWarning, match="GantryDetectorTilt is 15 deg.*upright"):
            Volume.read(tmp_path / "ct")

    def test_a_tilt_of_zero(self, tmp_path: Path) -> None:
        write_series(tmp_path / "ct", hounsfield(), GantryDetectorTilt=0)
        Volume.read(tmp_path / "ct")

    def test_several_frames_of_reference(self, tmp_path: Path) -> None:
        for path in write_series(tmp_path / "ct", hounsfield()):
            edit(path, FrameOfReferenceUID=generate_uid())
        with pytest.warns(GeometryWarning, match="5 frames of reference"):
            Volume.read(tmp_path / "ct")

    def test_two_orientations_in_one_series(self, tmp_path: Path) -> None:
        """Axial and coronal reconstructions, told apart by what the error names."""
        first = write_series(tmp_path / "0", hounsfield(), SeriesDescription="a", AcquisitionNumber=4)
        second = write_series(
            tmp_path / "1", hounsfield()[..., :4], np.eye(3)[:, [0, 2, 1]], AcquisitionNumber=5
        )
        moved_to_one_series(tmp_path / "ct", [first, second])
        with raises(
            InputError, "ct.odd-slices", "ImageOrientationPatient", "`slices_where`", "AcquisitionNumber"
        ) as caught:
            Volume.read(tmp_path / "ct")
        option = str(caught.value).partition("`slices_where` '")[2].partition("'")[0]
        chosen = Volume.read(tmp_path / "ct", correction=CTCorrection(slices_where=option))
        np.testing.assert_array_equal(chosen.hu, hounsfield())

    def test_a_page_at_the_place_of_a_slice(self, tmp_path: Path) -> None:
        paths = write_series(tmp_path / "ct", hounsfield())
        page = tmp_path / "ct" / "page.dcm"
        shutil.copy(paths[1], page)
        denser(page)
        edit(page, SOPInstanceUID=generate_uid(), ImageType=["DERIVED", "SECONDARY", "SCREEN SAVE"])
        with raises(InputError, "ct.several-phases", "page.dcm", "ImageType") as caught:
            Volume.read(tmp_path / "ct")
        option = str(caught.value).partition("`slices_where` '")[2].partition("'")[0]
        chosen = Volume.read(tmp_path / "ct", correction=CTCorrection(slices_where=option))
        np.testing.assert_array_equal(chosen.hu, hounsfield())


class TestSpacings:
    def test_rounded_ones_are_one(self, tmp_path: Path) -> None:
        paths = write_series(tmp_path / "ct", hounsfield())
        edit(paths[1], PixelSpacing=[0.6, 0.801])
        assert Volume.read(tmp_path / "ct").spacing_mm[0] == pytest.approx(0.8, abs=1e-3)
