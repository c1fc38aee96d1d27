"""NIfTI, NRRD and MetaImage: one marked voxel has the same place in the world in every format."""

import gzip
import warnings
from pathlib import Path

import nibabel as nib
import numpy as np
import pytest
import SimpleITK as sitk
from scipy.spatial.transform import Rotation

from isoclinic.errors import InputError
from isoclinic.volumes import GeometryWarning, Volume, find_volumes
from raising import raises

from .dicom_files import hounsfield, write_series

TURN = Rotation.from_euler("xyz", [10, -20, 30], degrees=True).as_matrix()
MARKED = (4, 1, 3)


def affine_of(turn: np.ndarray = TURN, mirrored: bool = False) -> np.ndarray:
    affine = np.eye(4)
    affine[:3, :3] = turn @ np.diag([-0.7 if mirrored else 0.7, 0.9, 2.5])
    affine[:3, 3] = [12.0, -34.0, 56.0]
    return affine


def values(dtype: type = np.int16, shape: tuple[int, ...] = (7, 6, 5)) -> np.ndarray:
    hu = np.random.default_rng(0).integers(-1000, 1500, shape).astype(dtype)
    hu[MARKED] = 3000
    return hu


def marked_world(volume: Volume) -> np.ndarray:
    voxel = np.unravel_index(volume.hu.argmax(), volume.shape)
    return (volume.world_from_voxel @ [*voxel, 1])[:3]


def save_nifti(path: Path, array: np.ndarray, affine: np.ndarray, **header) -> Path:
    image = nib.Nifti1Image(array, affine)
    for name, value in header.items():
        image.header[name] = value
    nib.save(image, path)
    return path


def save_itk(path: Path, array: np.ndarray, world_from_voxel: np.ndarray) -> Path:
    """Write through SimpleITK with its own conventions: LPS, and numpy arrays in z, y, x order."""
    lps_from_voxel = np.diag([-1, -1, 1, 1]) @ world_from_voxel
    spacing = np.linalg.norm(lps_from_voxel[:3, :3], axis=0)
    image = sitk.GetImageFromArray(array.transpose(2, 1, 0))
    image.SetSpacing(spacing.tolist())
    image.SetDirection((lps_from_voxel[:3, :3] / spacing).ravel().tolist())
    image.SetOrigin(lps_from_voxel[:3, 3].tolist())
    sitk.WriteImage(image, str(path))
    return path


def rewrite(path: Path, change) -> Path:
    """Apply a function to the bytes of a file."""
    path.write_bytes(change(path.read_bytes()))
    return path


class TestEveryFormat:
    @pytest.mark.parametrize("mirrored", [False, True])
    @pytest.mark.parametrize("name", ["ct.nii", "ct.nii.gz", "ct.nrrd", "ct.nhdr", "ct.mha", "ct.mhd"])
    def test_marked_voxel_is_where_it_was_put(self, tmp_path: Path, name: str, mirrored: bool) -> None:
        affine = affine_of(mirrored=mirrored)
        save = save_nifti if ".nii" in name else save_itk
        volume = Volume.read(save(tmp_path / name, values(), affine))
        np.testing.assert_array_equal(volume.hu, values())
        assert volume.hu.dtype == np.int16 and volume.hu.flags.c_contiguous
        # NIfTI stores its affine in float32.
        np.testing.assert_allclose(marked_world(volume), (affine @ [*MARKED, 1])[:3], atol=1e-5)

    @pytest.mark.parametrize("name", ["ct.nii.gz", "ct.nrrd", "ct.mha"])
    def test_agrees_with_simpleitk_on_where_the_mark_is(self, tmp_path: Path, name: str) -> None:
        save = save_nifti if ".nii" in name else save_itk
        path = save(tmp_path / name, values(), affine_of())
        lps = np.array(sitk.ReadImage(str(path)).TransformIndexToPhysicalPoint(MARKED))
        np.testing.assert_allclose(marked_world(Volume.read(path)), lps * [-1, -1, 1], atol=1e-4)

    @pytest.mark.parametrize("name", ["ct.nii", "ct.nrrd"])
    @pytest.mark.parametrize(
        ("stored", "expected"),
        [
            (np.uint8, np.int16),
            (np.int16, np.int16),
            (np.uint16, np.int16),
            (np.int32, np.int16),
            (np.float32, np.int16),
            (np.float64, np.int16),
        ],
    )
    def test_whole_numbers_stay_int16(self, tmp_path: Path, name: str, stored: type, expected: type) -> None:
        array = np.abs(values(np.int32) % 200).astype(stored)
        save = save_nifti if ".nii" in name else save_itk
        path = save(tmp_path / name, array, affine_of())
        with pytest.warns(GeometryWarning):
            volume = Volume.read(path)
        assert volume.hu.dtype == expected
        np.testing.assert_array_equal(volume.hu, array)

    @pytest.mark.parametrize("name", ["ct.nii", "ct.nrrd"])
    @pytest.mark.parametrize("special", [0.25, 40000.0, -32769.0])
    @pytest.mark.parametrize("slice_", [0, 20, 39])
    def test_anything_else_becomes_float32(
        self, tmp_path: Path, name: str, special: float, slice_: int
    ) -> None:
        # 40 slices: the value may come in any of the slabs in which files are read.
        array = values(np.float64, (7, 6, 40))
        array[2, 2, slice_] = special
        save = save_nifti if ".nii" in name else save_itk
        volume = Volume.read(save(tmp_path / name, array, affine_of()))
        assert volume.hu.dtype == np.float32
        np.testing.assert_array_equal(volume.hu, array.astype(np.float32))

    @pytest.mark.parametrize("name", ["ct.nii", "ct.mha"])
    def test_nan_and_infinity_within_the_body_are_counted(self, tmp_path: Path, name: str) -> None:
        array = values(np.float32, (7, 6, 40))
        array[0, 0, 0] = np.nan  # at a corner, outside of the rest
        array[1, 2, 30:32] = np.inf, -np.inf
        save = save_nifti if ".nii" in name else save_itk
        with raises(InputError, "ct.not-finite", "3", "2", "NaN", "body"):
            Volume.read(save(tmp_path / name, array, affine_of()))

    @pytest.mark.parametrize("name", ["ct.nii", "ct.nii.gz", "ct.nrrd", "ct.mha"])
    def test_files_cut_short(self, tmp_path: Path, name: str) -> None:
        save = save_nifti if ".nii" in name else save_itk
        path = save(tmp_path / name, values(shape=(32, 32, 32)), affine_of())
        rewrite(path, lambda data: data[: len(data) // 2])
        with raises(InputError, "ct.unreadable"):
            Volume.read(path)

    @pytest.mark.parametrize("name", ["ct.nii", "ct.nii.gz", "ct.nrrd", "ct.nhdr", "ct.mha", "ct.mhd"])
    def test_files_of_something_else(self, tmp_path: Path, name: str) -> None:
        (tmp_path / name).write_bytes(b"not an image" * 100)
        with raises(InputError, "ct.unreadable", name):
            Volume.read(tmp_path / name)

    @pytest.mark.parametrize("name", ["ct.nii", "ct.nii.gz", "ct.nrrd", "ct.mha"])
    def test_empty_files(self, tmp_path: Path, name: str) -> None:
        (tmp_path / name).touch()
        with raises(InputError, "ct.unreadable", name):
            Volume.read(tmp_path / name)

    def test_missing_and_unknown_files(self, tmp_path: Path) -> None:
        with raises(InputError, "ct.missing"):
            Volume.read(tmp_path / "ct.nii")
        (tmp_path / "ct.png").write_bytes(b"png")
        with raises(InputError, "ct.unknown-format"):
            Volume.read(tmp_path / "ct.png")


class TestNifti:
    def test_slope_and_intercept(self, tmp_path: Path) -> None:
        stored = (values() + 1024).astype(np.uint16)
        path = save_nifti(tmp_path / "ct.nii.gz", stored, affine_of())
        data = bytearray(gzip.decompress(path.read_bytes()))
        data[112:120] = np.array([1, -1024], "<f4").tobytes()  # scl_slope, scl_inter
        path.write_bytes(gzip.compress(bytes(data)))
        volume = Volume.read(path)
        assert volume.hu.dtype == np.int16
        np.testing.assert_array_equal(volume.hu, values())

        data[112:120] = np.array([0.5, -1000.25], "<f4").tobytes()
        path.write_bytes(gzip.compress(bytes(data)))
        volume = Volume.read(path)
        assert volume.hu.dtype == np.float32
        np.testing.assert_array_equal(volume.hu, 0.5 * stored - 1000.25)

    @pytest.mark.parametrize(("unit", "mm"), [(0, 1), (1, 1000), (2, 1), (3, 0.001)])
    def test_units_become_millimetres(self, tmp_path: Path, unit: int, mm: float) -> None:
        path = save_nifti(tmp_path / "ct.nii", values(), affine_of(), xyzt_units=unit)
        expected = (affine_of() @ [*MARKED, 1])[:3] * mm
        np.testing.assert_allclose(marked_world(Volume.read(path)), expected, rtol=1e-6)

    def test_qform_alone(self, tmp_path: Path) -> None:
        image = nib.Nifti1Image(values(), affine_of(mirrored=True))
        image.set_qform(affine_of(mirrored=True), code=1)
        image.set_sform(None, code=0)
        nib.save(image, tmp_path / "ct.nii")
        expected = (affine_of(mirrored=True) @ [*MARKED, 1])[:3]
        np.testing.assert_allclose(marked_world(Volume.read(tmp_path / "ct.nii")), expected, atol=1e-4)

    def test_qform_and_sform_that_disagree(self, tmp_path: Path) -> None:
        image = nib.Nifti1Image(values(), affine_of())
        image.set_sform(affine_of(), code=1)
        image.set_qform(affine_of(np.eye(3)), code=1)
        nib.save(image, tmp_path / "ct.nii")
        with pytest.warns(GeometryWarning, match=r"sform and qform .* disagree"):
            volume = Volume.read(tmp_path / "ct.nii")
        np.testing.assert_allclose(volume.world_from_voxel, affine_of(), atol=1e-5)

    def test_no_orientation(self, tmp_path: Path) -> None:
        image = nib.Nifti1Image(values(), affine_of())
        image.set_sform(affine_of(), code=0)
        image.set_qform(affine_of(), code=0)
        nib.save(image, tmp_path / "ct.nii")
        with pytest.warns(GeometryWarning, match="orientation"):
            Volume.read(tmp_path / "ct.nii")

    def test_sheared_affine_is_kept(self, tmp_path: Path) -> None:
        affine = affine_of()
        affine[:3, 2] += 0.3 * affine[:3, 1]
        image = nib.Nifti1Image(values(), affine)
        image.set_qform(None, code=0)
        nib.save(image, tmp_path / "ct.nii")
        np.testing.assert_allclose(Volume.read(tmp_path / "ct.nii").world_from_voxel, affine, atol=1e-5)

    def test_singular_affine(self, tmp_path: Path) -> None:
        path = save_nifti(tmp_path / "ct.nii", values(), affine_of())
        rewrite(path, lambda data: data[:312] + bytes(16) + data[328:])  # srow_z
        with raises(InputError, "ct.malformed-header", "ct.nii"):
            Volume.read(path)

    def test_one_volume_in_a_fourth_dimension(self, tmp_path: Path) -> None:
        path = save_nifti(tmp_path / "ct.nii", values()[..., None], affine_of())
        np.testing.assert_array_equal(Volume.read(path).hu, values())

    @pytest.mark.parametrize("shape", [(7, 6), (7, 6, 5, 2)])
    def test_other_dimensions(self, tmp_path: Path, shape: tuple[int, ...]) -> None:
        path = save_nifti(tmp_path / "ct.nii", np.zeros(shape, np.int16), affine_of())
        with raises(InputError, "ct.wrong-shape", f"{len(shape)} dimensions"):
            Volume.read(path)

    @pytest.mark.parametrize("dtype", [np.complex64, [("R", "u1"), ("G", "u1"), ("B", "u1")]])
    def test_colour_and_complex(self, tmp_path: Path, dtype) -> None:
        path = save_nifti(tmp_path / "ct.nii", np.zeros((7, 6, 5), dtype), affine_of())
        with raises(InputError, "ct.not-hounsfield", "ct.nii", "colour"):
            Volume.read(path)

    @pytest.mark.parametrize("name", ["Ct.Nii.Gz", "CT.NII.GZ", "CT.NII", "ct.Nii"])
    def test_suffixes_in_capitals(self, tmp_path: Path, name: str) -> None:
        save_nifti(tmp_path / name.lower(), values(), affine_of()).rename(tmp_path / name)
        volume = Volume.read(tmp_path / name)
        np.testing.assert_array_equal(volume.hu, values())
        np.testing.assert_allclose(volume.world_from_voxel, affine_of(), atol=1e-5)

    @pytest.mark.parametrize(("written", "given"), [("ct.nii.gz", "x.nii"), ("ct.nii", "x.nii.gz")])
    def test_suffixes_that_lie_about_compression(self, tmp_path: Path, written: str, given: str) -> None:
        save_nifti(tmp_path / written, values(), affine_of()).rename(tmp_path / given)
        np.testing.assert_array_equal(Volume.read(tmp_path / given).hu, values())

    @pytest.mark.parametrize("name", ["ct.nii", "ct.nii.gz"])
    def test_nifti_2(self, tmp_path: Path, name: str) -> None:
        nib.save(nib.Nifti2Image(values(), affine_of()), tmp_path / name)
        volume = Volume.read(tmp_path / name)
        np.testing.assert_array_equal(volume.hu, values())
        np.testing.assert_allclose(volume.world_from_voxel, affine_of(), atol=1e-5)

    def test_another_nibabel_format(self, tmp_path: Path) -> None:
        nib.save(nib.MGHImage(values(), affine_of().astype(np.float32)), tmp_path / "ct.mgz")
        (tmp_path / "ct.mgz").rename(tmp_path / "ct.nii.gz")
        with raises(InputError, "ct.unreadable", "ct.nii.gz"):
            Volume.read(tmp_path / "ct.nii.gz")


class TestItk:
    @pytest.mark.parametrize(
        ("space", "signs"),
        [
            ("left-posterior-superior", (-1, -1, 1)),
            ("right-anterior-superior", (1, 1, 1)),
            ("left-anterior-superior", (-1, 1, 1)),
        ],
    )
    def test_nrrd_spaces(self, tmp_path: Path, space: str, signs: tuple[int, int, int]) -> None:
        path = save_itk(tmp_path / "ct.nrrd", values(), affine_of())
        stored = np.diag([-1, -1, 1, 1]) @ affine_of()  # what the file says, in whichever space
        rewrite(path, lambda data: data.replace(b"left-posterior-superior", space.encode()))
        expected = np.diag([*signs, 1]) @ stored
        np.testing.assert_allclose(marked_world(Volume.read(path)), (expected @ [*MARKED, 1])[:3], atol=1e-9)

    def test_nrrd_without_space(self, tmp_path: Path) -> None:
        path = save_itk(tmp_path / "ct.nrrd", values(), np.diag([-0.7, -0.9, 2.5, 1]))
        rewrite(path, lambda data: data.replace(b"space: left-posterior-superior", b"space dimension: 3"))
        with pytest.warns(GeometryWarning, match="left-posterior-superior"):
            volume = Volume.read(path)
        np.testing.assert_allclose(volume.world_from_voxel, np.diag([-0.7, -0.9, 2.5, 1]), atol=1e-12)

    @pytest.mark.parametrize("name", ["ct.nrrd", "ct.mha"])
    def test_flat_and_colour_images(self, tmp_path: Path, name: str) -> None:
        sitk.WriteImage(sitk.GetImageFromArray(np.zeros((6, 7), np.int16)), str(tmp_path / name))
        with raises(InputError, "ct.wrong-shape", "2 dimensions", "1 values"):
            Volume.read(tmp_path / name)
        colour = sitk.GetImageFromArray(np.zeros((5, 6, 7, 3), np.uint8), isVector=True)
        sitk.WriteImage(colour, str(tmp_path / name))
        with raises(InputError, "ct.wrong-shape", "3 dimensions", "3 values"):
            Volume.read(tmp_path / name)

    def test_header_without_its_data(self, tmp_path: Path) -> None:
        path = save_itk(tmp_path / "ct.mhd", values(), affine_of())
        (tmp_path / "ct.raw").unlink(missing_ok=True)
        (tmp_path / "ct.zraw").unlink(missing_ok=True)
        with raises(InputError, "ct.missing", "ct.mhd"):
            Volume.read(path)


class TestHounsfieldWarning:
    @pytest.mark.parametrize(
        ("low", "high", "dtype", "problem"),
        [
            (0, 1, np.float32, "normalised"),
            (-1, 1, np.float32, "normalised"),
            (0, 255, np.uint8, "windowed"),
            (0, 4095, np.int16, "intercept"),
            (-1000, -1000, np.int16, "every voxel is -1000"),
        ],
    )
    def test_values_that_are_not_hounsfield_units(self, tmp_path: Path, low, high, dtype, problem) -> None:
        array = np.linspace(low, high, 210).reshape(7, 6, 5).astype(dtype)
        path = save_nifti(tmp_path / "ct.nii", array, affine_of())
        with pytest.warns(GeometryWarning, match=rf"ct\.nii .*{problem}") as caught:
            Volume.read(path)
        assert caught[0].filename == __file__

    @pytest.mark.parametrize(("low", "high"), [(-1000, 1500), (-1024, 0), (-150, 200)])
    def test_values_that_are(self, tmp_path: Path, low: int, high: int) -> None:
        array = np.linspace(low, high, 210).reshape(7, 6, 5).astype(np.int16)
        path = save_nifti(tmp_path / "ct.nii", array, affine_of())
        with warnings.catch_warnings():
            warnings.simplefilter("error")
            Volume.read(path)


class TestFindVolumes:
    def test_images_and_dicom_folders_at_any_depth(self, tmp_path: Path) -> None:
        names = ("a.nii.gz", "B.NII", "deep/c.nrrd", "deep/er/d.mha", "series/1.dcm", "series/2.DCM")
        others = (
            "a_seg.nii.gz",
            "b_labels.nii",
            "c_label.nrrd",
            "d_mask.mha",
            "deep/labels.nii.gz",
            "deep/Segmentation.nrrd",
            "notes.txt",
            "a.json",
            "x.png",
        )
        for name in (*names, *others):
            (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
            (tmp_path / name).touch()
        found = find_volumes(tmp_path)
        assert found == sorted(tmp_path / name for name in (*names[:4], "series"))

    def test_dicom_without_a_suffix(self, tmp_path: Path) -> None:
        for path in write_series(tmp_path / "ct", hounsfield()):
            path.rename(path.with_suffix(""))
        assert find_volumes(tmp_path) == [tmp_path / "ct"]

    def test_nothing_to_find(self, tmp_path: Path) -> None:
        (tmp_path / "a_seg.nii.gz").touch()
        with raises(InputError, "ct.missing"):
            find_volumes(tmp_path)
        with raises(InputError, "ct.missing", "a_seg.nii.gz"):
            find_volumes(tmp_path / "a_seg.nii.gz")
