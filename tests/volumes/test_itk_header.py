"""What headers of NRRD and MetaImage say and ITK drops."""

import warnings
from pathlib import Path

import numpy as np
import pytest
import SimpleITK as sitk
from scipy.spatial.transform import Rotation

from isoclinic.errors import InputError
from isoclinic.volumes import GeometryWarning, Volume
from raising import raises

HU = np.random.default_rng(0).integers(-1000, 1500, (7, 6, 5)).astype(np.int16)
SPACING = (0.7, 0.9, 2.5)


def nrrd(path: Path, lines: str) -> Path:
    """An NRRD file by hand; `lines` of the header say where it is."""
    header = f"NRRD0005\ntype: short\ndimension: 3\nsizes: 7 6 5\nencoding: raw\nendian: little\n{lines}\n\n"
    path.write_bytes(header.encode() + HU.tobytes(order="F"))
    return path


def mha(path: Path, lines: str, spacing: str = "0.7 0.9 2.5") -> Path:
    """A MetaImage by hand; `lines` of the header say where it is."""
    header = (
        "ObjectType = Image\nNDims = 3\nBinaryData = True\nBinaryDataByteOrderMSB = False\n"
        f"DimSize = 7 6 5\nElementSpacing = {spacing}\n{lines}\nElementType = MET_SHORT\n"
        "ElementDataFile = LOCAL\n"
    )
    path.write_bytes(header.encode() + HU.tobytes(order="F"))
    return path


def affine(scale: float = 1.0, signs: tuple[int, int, int] = (-1, -1, 1)) -> np.ndarray:
    """RAS of axes along those of LPS (or with other signs), with the first voxel at (3, 4, 5) in LPS."""
    result = np.diag([*(np.array(SPACING) * signs), 1.0])
    result[:3, 3] = -3, -4, 5
    result[:3] *= scale
    return result


def directions(factor: float = 1.0) -> str:
    x, y, z = (f"{mm / factor:g}" for mm in SPACING)
    return (
        f"space directions: ({x},0,0) (0,{y},0) (0,0,{z})\n"
        f"space origin: ({3 / factor:g},{4 / factor:g},{5 / factor:g})"
    )


class TestUnits:
    @pytest.mark.parametrize(
        ("unit", "mm"),
        [
            ("mm", 1),
            ("cm", 10),
            ("m", 1e3),
            ("um", 1e-3),
            ("µm", 1e-3),
            ("CM", 10),
            ("centimeters", 10),
            ("", 1),
        ],
    )
    def test_of_nrrd_spaces(self, tmp_path: Path, unit: str, mm: float) -> None:
        units = f'space units: "{unit}" "{unit}" "{unit}"'
        path = nrrd(tmp_path / "ct.nrrd", f"space: left-posterior-superior\n{directions(mm)}\n{units}")
        volume = Volume.read(path)
        np.testing.assert_array_equal(volume.hu, HU)
        np.testing.assert_allclose(volume.world_from_voxel, affine(), rtol=1e-5)

    def test_of_nrrd_axes(self, tmp_path: Path) -> None:
        lines = 'spacings: 0.07 0.09 0.25\nunits: "cm" "cm" "cm"'
        with pytest.warns(GeometryWarning, match="in which space"):
            volume = Volume.read(nrrd(tmp_path / "ct.nrrd", lines))
        np.testing.assert_allclose(volume.spacing_mm, SPACING)

    @pytest.mark.parametrize(
        ("units", "fault"),
        [
            ('"mm" "mm" "cm"', ("ct.malformed-header", "mm, cm", "space units")),
            ('"furlong" "furlong" "furlong"', ("ct.malformed-header", "space units", "furlong", "mm")),
            ('"ms" "ms" "ms"', ("ct.malformed-header", "'ms'")),
        ],
    )
    def test_that_make_no_sense(self, tmp_path: Path, units: str, fault: tuple[str, ...]) -> None:
        path = nrrd(tmp_path / "ct.nrrd", f"space: LPS\n{directions()}\nspace units: {units}")
        with raises(InputError, *fault):
            Volume.read(path)

    @pytest.mark.parametrize(("unit", "mm"), [("mm", 1), ("cm", 10), ("um", 1e-3), ("?", 1)])
    def test_of_metaimage(self, tmp_path: Path, unit: str, mm: float) -> None:
        lines = f"TransformMatrix = 1 0 0 0 1 0 0 0 1\nOffset = 3 4 5\nDistanceUnits = {unit}"
        volume = Volume.read(mha(tmp_path / "ct.mha", lines))
        np.testing.assert_allclose(volume.world_from_voxel, affine(mm))


class TestSpaces:
    @pytest.mark.parametrize(
        ("space", "signs"),
        [
            ("LPS", (-1, -1, 1)),
            ("RAS", (1, 1, 1)),
            ("LAS", (-1, 1, 1)),
            ("Left-Posterior-Superior", (-1, -1, 1)),
        ],
    )
    def test_of_the_patient(self, tmp_path: Path, space: str, signs: tuple[int, int, int]) -> None:
        volume = Volume.read(nrrd(tmp_path / "ct.nrrd", f"space: {space}\n{directions()}"))
        expected = np.diag([*signs, 1]) @ np.diag([-1, -1, 1, 1]) @ affine()
        np.testing.assert_allclose(volume.world_from_voxel, expected)

    @pytest.mark.parametrize("space", ["scanner-xyz", "3D-right-handed", "3D-left-handed"])
    def test_of_anything(self, tmp_path: Path, space: str) -> None:
        with pytest.warns(GeometryWarning, match=rf"{space}.*left-posterior-superior"):
            volume = Volume.read(nrrd(tmp_path / "ct.nrrd", f"space: {space}\n{directions()}"))
        np.testing.assert_allclose(volume.world_from_voxel, affine())

    def test_without_directions(self, tmp_path: Path) -> None:
        path = nrrd(tmp_path / "ct.nrrd", "space: LPS\nspacings: 0.7 0.9 2.5")
        with raises(InputError, "ct.malformed-header", "space directions", "space origin"):
            Volume.read(path)


class TestAnatomicalOrientation:
    @pytest.mark.parametrize(
        ("letters", "axes"),
        [
            ("RAI", np.diag([-1, -1, 1])),
            ("LPI", np.diag([1, 1, 1])),
            ("rps", np.diag([-1, 1, -1])),
            # From the head down, from the left, from the back.
            ("SLP", np.array([[0, 1, 0], [0, 0, 1], [-1, 0, 0]])),
        ],
    )
    def test_alone(self, tmp_path: Path, letters: str, axes: np.ndarray) -> None:
        """Columns of `axes` are where the voxel axes run in RAS."""
        path = mha(tmp_path / "ct.mha", f"AnatomicalOrientation = {letters}\nOffset = 3 4 5")
        with pytest.warns(GeometryWarning, match="AnatomicalOrientation"):
            volume = Volume.read(path)
        np.testing.assert_allclose(volume.world_from_voxel[:3, :3], axes * np.array(SPACING))
        np.testing.assert_allclose(volume.world_from_voxel[:3, 3], [-3, -4, 5])

    @pytest.mark.parametrize("lines", ["Offset = 3 4 5", "AnatomicalOrientation = ???\nOffset = 3 4 5"])
    def test_neither(self, tmp_path: Path, lines: str) -> None:
        with pytest.warns(GeometryWarning, match="axes"):
            volume = Volume.read(mha(tmp_path / "ct.mha", lines))
        np.testing.assert_allclose(volume.world_from_voxel, affine())

    @pytest.mark.parametrize("letters", ["LPI", "RAS", "AIR"])
    def test_against_the_matrix(self, tmp_path: Path, letters: str) -> None:
        lines = f"TransformMatrix = 1 0 0 0 1 0 0 0 1\nOffset = 3 4 5\nAnatomicalOrientation = {letters}"
        with pytest.warns(GeometryWarning, match=rf"\({letters}\) of .*ct\.mha contradict.*orientation"):
            volume = Volume.read(mha(tmp_path / "ct.mha", lines))
        np.testing.assert_allclose(volume.world_from_voxel, affine())

    def test_as_itk_writes_it(self, tmp_path: Path) -> None:
        """With oblique and left-handed axes too: it names the nearest, and that is no contradiction."""
        image = sitk.GetImageFromArray(HU.transpose(2, 1, 0))
        for seed in range(60):
            turn = Rotation.random(random_state=seed).as_matrix() @ np.diag([-1 if seed % 2 else 1, 1, 1])
            image.SetDirection(turn.ravel().tolist())
            sitk.WriteImage(image, str(tmp_path / "ct.mha"))
            with warnings.catch_warnings():
                warnings.simplefilter("error")
                volume = Volume.read(tmp_path / "ct.mha")
            np.testing.assert_allclose(
                volume.world_from_voxel[:3, :3], np.diag([-1, -1, 1]) @ turn, atol=1e-9
            )


class TestScale:
    def test_of_metaimage(self, tmp_path: Path) -> None:
        lines = (
            "TransformMatrix = 1 0 0 0 1 0 0 0 1\nElementToIntensityFunctionSlope = 0.5\n"
            "ElementToIntensityFunctionOffset = -100"
        )
        volume = Volume.read(mha(tmp_path / "ct.mha", lines))
        np.testing.assert_allclose(volume.hu, 0.5 * HU - 100)

    @pytest.mark.parametrize("slope", ["0", "nan", "many"])
    def test_that_makes_no_sense(self, tmp_path: Path, slope: str) -> None:
        with raises(InputError, "ct.malformed-header", "ct.mha"):
            Volume.read(mha(tmp_path / "ct.mha", f"ElementToIntensityFunctionSlope = {slope}"))


class TestFiles:
    @pytest.mark.parametrize("name", ["CT.MHA", "Ct.Mha", "CT.NRRD", "CT.MHD", "CT.NHDR"])
    def test_suffixes_in_capitals(self, tmp_path: Path, name: str) -> None:
        image = sitk.GetImageFromArray(HU.transpose(2, 1, 0))
        image.SetSpacing(SPACING)
        image.SetOrigin((3, 4, 5))
        sitk.WriteImage(image, str(tmp_path / name.lower()))
        (tmp_path / name.lower()).rename(tmp_path / name)
        volume = Volume.read(tmp_path / name)
        np.testing.assert_array_equal(volume.hu, HU)
        np.testing.assert_allclose(volume.world_from_voxel, affine())

    @pytest.mark.parametrize("name", ["ct.mhd", "ct.nhdr"])
    def test_voxels_that_are_lost(self, tmp_path: Path, name: str, capfd: pytest.CaptureFixture[str]) -> None:
        sitk.WriteImage(sitk.GetImageFromArray(HU.transpose(2, 1, 0)), str(tmp_path / name))
        (tmp_path / "ct.raw").rename(tmp_path / "old.raw")
        with raises(InputError, "ct.missing", name, "ct.raw"):
            Volume.read(tmp_path / name)
        assert capfd.readouterr() == ("", "")  # nor does the C library say anything

    @pytest.mark.parametrize("name", ["ct.mhd", "ct.nhdr"])
    @pytest.mark.parametrize("size", [100, 419, 421, 840])
    def test_voxels_of_another_size(
        self, tmp_path: Path, name: str, size: int, capfd: pytest.CaptureFixture[str]
    ) -> None:
        sitk.WriteImage(sitk.GetImageFromArray(HU.transpose(2, 1, 0)), str(tmp_path / name))
        (tmp_path / "ct.raw").write_bytes((2 * HU.tobytes())[:size])
        with raises(InputError, "ct.unreadable", "ct.raw", size, "420"):
            Volume.read(tmp_path / name)
        assert capfd.readouterr() == ("", "")

    @pytest.mark.parametrize("dtype", [np.uint8, np.int16, np.uint16, np.int32, np.float32, np.float64])
    @pytest.mark.parametrize("name", ["ct.mhd", "ct.nhdr"])
    @pytest.mark.parametrize("compressed", [False, True])
    def test_voxels_of_every_type(self, tmp_path: Path, dtype: type, name: str, compressed: bool) -> None:
        hu = (HU % 200).astype(dtype)
        sitk.WriteImage(sitk.GetImageFromArray(hu.transpose(2, 1, 0)), str(tmp_path / name), compressed)
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", GeometryWarning)  # that these are no Hounsfield units
            np.testing.assert_array_equal(Volume.read(tmp_path / name).hu, hu)

    def test_a_byte_order_mark(self, tmp_path: Path) -> None:
        path = nrrd(tmp_path / "ct.nrrd", f"space: LPS\n{directions()}")
        path.write_bytes(b"\xef\xbb\xbf" + path.read_bytes())
        with raises(InputError, "ct.malformed-header", "byte order mark"):
            Volume.read(path)

    @pytest.mark.parametrize("name", ["ct.mhd", "ct.nhdr"])
    def test_voxels_in_one_file_a_slice(self, tmp_path: Path, name: str) -> None:
        for index in range(5):
            (tmp_path / f"{index}.raw").write_bytes(HU[:, :, index].tobytes(order="F"))
        listed = "\n".join(f"{index}.raw" for index in range(5))
        if name == "ct.mhd":
            header = (
                "ObjectType = Image\nNDims = 3\nBinaryData = True\nBinaryDataByteOrderMSB = False\n"
                "DimSize = 7 6 5\nElementSpacing = 0.7 0.9 2.5\nTransformMatrix = 1 0 0 0 1 0 0 0 1\n"
                f"Offset = 3 4 5\nElementType = MET_SHORT\nElementDataFile = LIST\n{listed}\n"
            )
        else:
            header = (
                "NRRD0005\ntype: short\ndimension: 3\nsizes: 7 6 5\nencoding: raw\nendian: little\n"
                f"space: LPS\n{directions()}\ndata file: LIST 2\n{listed}\n"
            )
        (tmp_path / name).write_text(header)
        volume = Volume.read(tmp_path / name)
        np.testing.assert_array_equal(volume.hu, HU)
        np.testing.assert_allclose(volume.world_from_voxel, affine())
        (tmp_path / "3.raw").unlink()
        with raises(InputError, "ct.missing", "3.raw"):
            Volume.read(tmp_path / name)


class TestNumbers:
    """As programs write them under a locale with a decimal comma: C code reads 3,25 as 3."""

    @pytest.mark.parametrize(
        ("lines", "fault"),
        [
            ("spacings: 3,25 3,5 2,75", ("ct.malformed-header", "spacings")),
            (
                "space: LPS\nspace directions: (3,25,0,0) (0,3,5,0) (0,0,2,75)\nspace origin: (1,2,3)",
                ("ct.malformed-header", "directions"),
            ),
            (f"space: LPS\n{directions()}".replace("(3,", "(3,4,"), ("ct.malformed-header", "space origin")),
        ],
    )
    def test_of_nrrd(self, tmp_path: Path, lines: str, fault: tuple[str, ...]) -> None:
        with raises(InputError, *fault, "decimal point"):
            Volume.read(nrrd(tmp_path / "ct.nrrd", lines))

    @pytest.mark.parametrize(
        "line", ["Offset = 1,5 2 3", "Position = 1,5 2 3", "TransformMatrix = 0,9 0 0 0 1 0 0 0 1"]
    )
    def test_of_metaimage(self, tmp_path: Path, line: str) -> None:
        with raises(InputError, "ct.malformed-header", "ct.mha", "decimal point"):
            Volume.read(mha(tmp_path / "ct.mha", line))

    def test_of_metaimage_spacings(self, tmp_path: Path) -> None:
        with raises(InputError, "ct.malformed-header", "elementspacing", "0,7 0,9 2,5"):
            Volume.read(mha(tmp_path / "ct.mha", "Offset = 1 2 3", spacing="0,7 0,9 2,5"))


_PLACED = (
    "space: left-posterior-superior\nspace directions: (0.7,0,0) (0,0.9,0) (0,0,2.5)\nspace origin: (3,4,5)"
)


@pytest.mark.parametrize(
    "line",
    [
        "space units: " + 10 * '"mm" "mm" "mm" ' + 1100 * "x",
        "labels: " + 1100 * "x",
        "nonsense: " + 1100 * "x",
        1100 * "x",
        "old min: " + 5000 * "1",
    ],
    ids=["units", "labels", "unknown field", "no field", "longer than is read at once"],
)
def test_a_field_on_which_itk_would_crash_is_refused(tmp_path, line):
    path = nrrd(tmp_path / "long.nrrd", f"{_PLACED}\n{line}")
    ct = nrrd(tmp_path / "ct.nrrd", _PLACED)
    with raises(InputError, "ct.unreadable", "long.nrrd"):
        Volume.read(path)
    with raises(InputError, "labels.unreadable", "long.nrrd"):
        Volume.read(ct, labels=path)


@pytest.mark.parametrize("line", ["# {}", "key:={}", "labels: {}"])
def test_comments_and_keys_may_be_long_and_fields_up_to_the_limit(tmp_path, line):
    length = 880 if line.startswith("labels") else 3000
    text = '"' + (length - 20) * "x" + '" "" ""' if line.startswith("labels") else length * "x"
    path = nrrd(tmp_path / "long.nrrd", f"{_PLACED}\n{line.format(text)}")
    np.testing.assert_array_equal(Volume.read(path).hu, HU)
