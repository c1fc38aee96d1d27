"""Every way in which a file can be unusable: an InputError that names it and the remedy, nothing else."""

import json
import warnings
from collections.abc import Callable
from pathlib import Path
from typing import Any

import nibabel as nib
import numpy as np
import pydicom
import pytest
import SimpleITK as sitk
import skimage.io
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from pydicom.dataset import Dataset, FileMetaDataset
from pydicom.uid import CTImageStorage, ExplicitVRLittleEndian, XRayAngiographicImageStorage, generate_uid

from isoclinic.errors import InputError, UsageError
from isoclinic.volumes import GeometryWarning, Volume, XRay, XRayOptions
from raising import raises

from .dicom_files import write_enhanced

LPS = np.diag([-1.0, -1.0, 1.0, 1.0])
HU = np.random.default_rng(0).integers(-1000, 1500, (7, 6, 5)).astype(np.int16)
PIXELS = np.random.default_rng(1).integers(100, 4000, (20, 30)).astype(np.uint16)
GEOMETRY = XRayOptions(sdd_mm=1000, pixel_spacing_mm=(0.4, 0.4), polarity="bright_air")
FEW = settings(
    max_examples=60,
    derandomize=True,
    deadline=None,
    suppress_health_check=[HealthCheck.function_scoped_fixture],
)


def affine_of(spacing: tuple[float, float, float] = (0.7, 0.9, 2.5)) -> np.ndarray:
    affine = np.diag([*spacing, 1.0])
    affine[:3, 3] = [12.0, -34.0, 56.0]
    return affine


def nifti(path: Path, values: np.ndarray = HU, affine: np.ndarray | None = None) -> Path:
    nib.save(nib.Nifti1Image(values, affine_of() if affine is None else affine), path)
    return path


def itk(path: Path, values: np.ndarray = HU, affine: np.ndarray | None = None) -> Path:
    """Through SimpleITK: LPS, arrays in z, y, x order."""
    lps = LPS @ (affine_of() if affine is None else affine)
    spacing = np.linalg.norm(lps[:3, :3], axis=0)
    image = sitk.GetImageFromArray(values.transpose(2, 1, 0))
    image.SetSpacing(spacing.tolist())
    image.SetDirection((lps[:3, :3] / spacing).ravel().tolist())
    image.SetOrigin(lps[:3, 3].tolist())
    sitk.WriteImage(image, str(path))
    return path


def dicom(path: Path, pixels: np.ndarray = PIXELS, **attributes: Any) -> Path:
    """An XA image, or with other attributes a CT slice; those given as None are removed."""
    dataset = Dataset()
    dataset.file_meta = FileMetaDataset()
    dataset.file_meta.TransferSyntaxUID = ExplicitVRLittleEndian
    storage = CTImageStorage if attributes.get("Modality") == "CT" else XRayAngiographicImageStorage
    dataset.SOPClassUID = dataset.file_meta.MediaStorageSOPClassUID = storage
    dataset.SOPInstanceUID = dataset.file_meta.MediaStorageSOPInstanceUID = generate_uid()
    dataset.Modality, dataset.PhotometricInterpretation = "XA", "MONOCHROME2"
    dataset.SamplesPerPixel, dataset.PixelRepresentation = 1, 0
    dataset.Rows, dataset.Columns = pixels.shape
    dataset.BitsAllocated, dataset.BitsStored, dataset.HighBit = 16, 16, 15
    dataset.PixelData = pixels.tobytes()
    dataset.DistanceSourceToDetector, dataset.ImagerPixelSpacing = "1000", ["0.4", "0.5"]
    for keyword, value in attributes.items():
        if value is None:
            delattr(dataset, keyword)
        else:
            setattr(dataset, keyword, value)
    dataset.save_as(path, enforce_file_format=True)
    return path


def series(folder: Path, count: int = 4, **attributes: Any) -> Path:
    folder.mkdir()
    for index in range(count):
        geometry = {
            "Modality": "CT",
            "SeriesInstanceUID": "1.2.3",
            "ImagePositionPatient": [0, 0, 2.5 * index],
            "ImageOrientationPatient": [1, 0, 0, 0, 1, 0],
            "PixelSpacing": [0.7, 0.7],
            "RescaleSlope": 1,
            "RescaleIntercept": -1024,
        }
        dicom(folder / f"{index}.dcm", **{**geometry, **attributes})
    return folder


def image(path: Path, pixels: np.ndarray = PIXELS) -> Path:
    skimage.io.imsave(path, pixels, check_contrast=False)
    return path


def written(path: Path, content: bytes) -> Path:
    path.write_bytes(content)
    return path


def changed(path: Path, old: bytes, new: bytes) -> Path:
    content = path.read_bytes()
    assert old in content
    return written(path, content.replace(old, new))


def with_pixdim(path: Path, pixdim: list[float], code: int) -> Path:
    """A NIfTI file without sform, whose header has this spacing."""
    header = nib.Nifti1Image(HU, affine_of())
    header.set_sform(None, code=0)
    header.set_qform(affine_of(), code=code)
    nib.save(header, path)
    content = path.read_bytes()
    return written(path, content[:80] + np.array(pixdim, "<f4").tobytes() + content[92:])


def labelled(folder: Path, labels: Path, names: bytes | None = None) -> Volume:
    if names is not None:
        written(folder / "labels.json", names)
    return Volume.read(nifti(folder / "ct.nii"), labels=labels)


ONES = (1.0, 1.0, 1.0)
FAR = np.eye(1, 16, 3).reshape(4, 4)  # along the x of the world
Case = Callable[[Path], object]

VOLUMES: dict[str, tuple[Case, tuple[str, ...]]] = {
    "one plane": (
        lambda f: Volume.read(nifti(f / "flat.nii", HU[:, :, :1])),
        ("ct.not-a-volume", "flat.nii", "7 x 6 x 1"),
    ),
    "no voxels along an axis": (
        lambda f: Volume.read(nifti(f / "none.nii", HU[:, :, :0])),
        ("ct.unreadable", "none.nii"),
    ),
    "zero spacing, NIfTI": (
        lambda f: Volume.read(with_pixdim(f / "zero.nii", [0, 0.9, 2.5], 1)),
        ("ct.malformed-header", "zero.nii", "pixdim", "[0.0"),
    ),
    "negative spacing, NIfTI": (
        lambda f: Volume.read(with_pixdim(f / "less.nii", [-0.7, 0.9, 2.5], 0)),
        ("ct.malformed-header", "less.nii", "pixdim"),
    ),
    "spacing that is no number": (
        lambda f: Volume.read(with_pixdim(f / "nan.nii", [np.nan, 0.9, 2.5], 1)),
        ("ct.malformed-header", "affine", "nan.nii"),
    ),
    "zero spacing, MetaImage": (
        lambda f: Volume.read(
            changed(itk(f / "zero.mha", affine=affine_of(ONES)), b"Spacing = 1 1 1", b"Spacing = 0 1 1")
        ),
        ("ct.malformed-header", "zero.mha", "ElementSpacing", "0 1 1"),
    ),
    "negative spacing, MetaImage": (
        lambda f: Volume.read(
            changed(itk(f / "less.mha", affine=affine_of(ONES)), b"Spacing = 1 1 1", b"Spacing = 1 -1 1")
        ),
        ("ct.malformed-header", "less.mha", "ElementSpacing", "1 -1 1"),
    ),
    "singular, NRRD": (
        lambda f: Volume.read(
            changed(itk(f / "ct.nrrd", affine=LPS), b"(1,0,0) (0,1,0)", b"(0,1,0) (0,1,0)")
        ),
        ("ct.unreadable", "ct.nrrd", "determinant"),
    ),
    "singular, MetaImage": (
        lambda f: Volume.read(
            changed(itk(f / "ct.mha", affine=LPS), b"Matrix = 1 0 0 0 1 0", b"Matrix = 1 0 0 1 0 0")
        ),
        ("ct.unreadable", "ct.mha", "determinant"),
    ),
    "unit that does not exist": (
        lambda f: Volume.read(
            written(
                f / "unit.nii",
                (content := nifti(f / "unit.nii").read_bytes())[:123] + b"\x07" + content[124:],
            )
        ),
        ("ct.unreadable", "unit.nii"),
    ),
    "zero spacing, DICOM": (
        lambda f: Volume.read(series(f / "ct", PixelSpacing=[0, 0.7])),
        ("ct.malformed-header", "PixelSpacing"),
    ),
    "singular, DICOM": (
        lambda f: Volume.read(series(f / "ct", ImageOrientationPatient=[1, 0, 0, 1, 0, 0])),
        ("ct.malformed-header", "ImageOrientationPatient"),
    ),
    "one number instead of two": (
        lambda f: Volume.read(series(f / "ct", PixelSpacing="0.7")),
        ("ct.malformed-header", "PixelSpacing", "0.7", "2"),
    ),
    "DICOM without rows": (
        lambda f: Volume.read(series(f / "ct", Rows=None)),
        ("ct.incomplete-header", "Rows"),
    ),
    "frames instead of slices": (
        lambda f: Volume.read(series(f / "ct", Rows=10, NumberOfFrames=2)),
        ("ct.incomplete-header", "2 frames"),
    ),
    "X-ray as CT": (
        lambda f: Volume.read(dicom(f / "xray.dcm")),
        ("ct.no-slices", "xray.dcm", "modality XA"),
    ),
    "folder of X-rays as CT": (
        lambda f: Volume.read(dicom(f / "xray.dcm").parent),
        ("ct.no-slices", "modality XA", "xray.dcm"),
    ),
    "PNG as CT": (
        lambda f: Volume.read(image(f / "xray.png")),
        ("ct.unknown-format", "xray.png"),
    ),
    "NIfTI X-ray as CT": (
        lambda f: Volume.read(nifti(f / "xray.nii", PIXELS, np.eye(4))),
        ("ct.wrong-shape", "xray.nii", "2 dimensions"),
    ),
    "empty DICOM": (lambda f: Volume.read(written(f / "ct.dcm", b"")), ("ct.unreadable", "ct.dcm")),
    "DICOM cut in its header": (
        lambda f: Volume.read(written(f / "cut.dcm", dicom(f / "x.dcm").read_bytes()[:140])),
        ("ct.no-slices", "cut.dcm"),
    ),
    "name too long": (lambda f: Volume.read(f / (300 * "x")), ("ct.unreadable", "File name too long")),
    "label map of HU": (
        lambda f: labelled(f, nifti(f / "labels.nii")),
        ("labels.not-labels", "labels.nii"),
    ),
    "label map that is missing": (lambda f: labelled(f, f / "no.nii"), ("labels.missing", "no.nii")),
    "label map elsewhere": (
        lambda f: labelled(f, nifti(f / "labels.nii", (HU > 0).astype(np.uint8), affine_of() + 900 * FAR)),
        ("labels.wrong-shape", "labels.nii"),
    ),
    "label names of words": (
        lambda f: labelled(f, nifti(f / "labels.nii", (HU > 0).astype(np.uint8)), b'{"one": "hip"}'),
        ("labels.malformed-names", "labels.json"),
    ),
    "label names nested without end": (
        lambda f: labelled(f, nifti(f / "labels.nii", (HU > 0).astype(np.uint8)), 100_000 * b"["),
        ("labels.malformed-names", "labels.json"),
    ),
}

XRAYS: dict[str, tuple[Case, tuple[str, ...]]] = {
    "CT slice as X-ray": (
        lambda f: XRay.read(series(f / "ct") / "0.dcm"),
        ("xray.not-a-projection", "0.dcm", "SOPClassUID", "CT Image Storage"),
    ),
    "CT folder as X-ray": (
        lambda f: XRay.read(series(f / "ct")),
        ("xray.several-files", "4 files"),
    ),
    "NIfTI CT as X-ray": (
        lambda f: XRay.read(nifti(f / "ct.nii.gz"), GEOMETRY),
        ("xray.several-images", "ct.nii.gz", "5 planes"),
    ),
    "NRRD CT as X-ray": (
        lambda f: XRay.read(itk(f / "ct.nrrd"), GEOMETRY),
        ("xray.not-a-projection", "ct.nrrd"),
    ),
    "MetaImage CT as X-ray": (
        lambda f: XRay.read(itk(f / "ct.mha"), GEOMETRY),
        ("xray.not-a-projection", "ct.mha"),
    ),
    "JPEG": (
        lambda f: XRay.read(image(f / "xray.jpg", (PIXELS // 16).astype(np.uint8)), GEOMETRY),
        ("xray.unsupported", "xray.jpg", "PNG"),
    ),
    "empty": (lambda f: XRay.read(written(f / "xray.png", b"")), ("xray.no-pixels", "xray.png")),
    "empty DICOM": (lambda f: XRay.read(written(f / "xray.dcm", b"")), ("xray.no-pixels", "xray.dcm")),
    "name too long": (lambda f: XRay.read(f / (300 * "x")), ("xray.unreadable", "File name too long")),
    "no pixels": (
        lambda f: XRay.read(nifti(f / "none.nii", np.zeros((0, 5), np.int16)), GEOMETRY),
        ("xray.unreadable", "none.nii"),
    ),
    "values beyond float32": (
        lambda f: XRay.read(nifti(f / "large.nii", np.linspace(0, 1e300, 30).reshape(6, 5)), GEOMETRY),
        ("xray.not-finite", "large.nii"),
    ),
    "compressed NIfTI cut short": (
        lambda f: XRay.read(
            written(f / "cut.nii.gz", nifti(f / "x.nii.gz", PIXELS).read_bytes()[:-200]), GEOMETRY
        ),
        ("xray.unreadable", "cut.nii.gz"),
    ),
    "PNG cut short": (
        lambda f: XRay.read(written(f / "cut.png", image(f / "x.png").read_bytes()[:200]), GEOMETRY),
        ("xray.unreadable", "cut.png"),
    ),
    "DICOM cut short": (
        lambda f: XRay.read(written(f / "cut.dcm", dicom(f / "x.dcm").read_bytes()[:-200])),
        ("dicom.undecodable", "cut.dcm"),
    ),
    "damaged value representation": (
        lambda f: XRay.read(
            changed(dicom(f / "xray.dcm"), b"\x18\x00\x10\x11DS", b"\x18\x00\x10\x11\x00\xff")
        ),
        ("dicom.no-pixels", "xray.dcm"),
    ),
    "sidecar number too large": (
        lambda f: (
            written(f / "xray.json", b'{"sdd_mm": 1' + 400 * b"0" + b"}"),
            XRay.read(image(f / "xray.png")),
        ),
        ("sidecar.invalid-value", "xray.json", "sdd_mm"),
    ),
    "sidecar nested without end": (
        lambda f: (written(f / "xray.json", 100_000 * b"["), XRay.read(image(f / "xray.png"))),
        ("sidecar.unreadable", "xray.json"),
    ),
}


@pytest.mark.filterwarnings("ignore::UserWarning:pydicom")
@pytest.mark.parametrize("case", [*VOLUMES.values(), *XRAYS.values()], ids=[*VOLUMES, *XRAYS])
def test_unusable_files(tmp_path: Path, case: tuple[Case, tuple[str, ...]]) -> None:
    read, fault = case
    with raises(InputError, *fault):
        read(tmp_path)


@pytest.mark.parametrize(
    ("name", "field"),
    [("ct.mha", b"ElementSpacing = 1 1 1\n"), ("ct.nrrd", b"space directions: (1,0,0) (0,1,0) (0,0,1)\n")],
)
def test_spacing_that_is_not_said(tmp_path: Path, name: str, field: bytes) -> None:
    path = changed(itk(tmp_path / name, affine=LPS), field, b"")
    with pytest.warns(GeometryWarning, match=rf"{name} .*voxel spacing.* 1 mm"):
        Volume.read(path)


# Whatever the bytes -------------------------------------------------------------------------------------


def usable_or_refused(read: Callable[[], object]) -> bool:
    """Whether something was read; any other exception than the two promised is the test's failure."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        try:
            return isinstance(read(), Volume | XRay)
        except (InputError, UsageError):
            return False


def damaged(valid: bytes) -> st.SearchStrategy[bytes]:
    """The file cut short, or with a few bytes of its first kilobyte overwritten, or some taken out."""
    places = st.integers(0, min(len(valid), 1000) - 1)
    cut = st.integers(0, len(valid) - 1).map(lambda end: valid[:end])
    overwritten = st.lists(st.tuples(places, st.integers(0, 255)), min_size=1, max_size=8).map(
        lambda changes: _overwritten(valid, changes)
    )
    shortened = st.tuples(places, st.integers(1, 40)).map(lambda gap: valid[: gap[0]] + valid[sum(gap) :])
    return st.one_of(cut, overwritten, shortened)


def _overwritten(valid: bytes, changes: list[tuple[int, int]]) -> bytes:
    content = bytearray(valid)
    for place, value in changes:
        content[place] = value
    return bytes(content)


MAKERS: dict[str, Callable[[Path], Path]] = {
    "ct.nii": nifti,
    "ct.nii.gz": nifti,
    "ct.nrrd": itk,
    "ct.mha": itk,
    "ct_frames.dcm": lambda path: write_enhanced(path, HU),
    "xray.dcm": dicom,
    "xray.png": image,
    "xray.tif": image,
    "xray.nii.gz": lambda path: nifti(path, PIXELS, np.eye(4)),
}


def read_any(path: Path) -> Volume | XRay:
    return Volume.read(path) if path.name.startswith("ct") else XRay.read(path, GEOMETRY)


@pytest.mark.parametrize("name", MAKERS)
def test_damaged_files(tmp_path: Path, name: str) -> None:
    """The undamaged file is read; a damaged one is read or refused."""
    path = MAKERS[name](tmp_path / name)
    valid = path.read_bytes()
    assert usable_or_refused(lambda: read_any(path))

    @FEW
    @given(content=damaged(valid))
    def check(content: bytes) -> None:
        usable_or_refused(lambda: read_any(written(path, content)))

    check()


@pytest.mark.parametrize("name", [*MAKERS, "ct.dcm"])
def test_files_of_anything(tmp_path: Path, name: str) -> None:
    path = tmp_path / name

    @FEW
    @given(content=st.binary(max_size=600))
    def check(content: bytes) -> None:
        preamble = bytes(128) + b"DICM" if name.endswith(".dcm") else b""
        assert not usable_or_refused(lambda: read_any(written(path, preamble + content)))

    check()


@pytest.mark.slow
def test_damaged_slices(tmp_path: Path) -> None:
    folder = series(tmp_path / "ct")
    path = folder / "2.dcm"
    valid = path.read_bytes()
    assert usable_or_refused(lambda: Volume.read(folder))

    @FEW
    @given(content=damaged(valid))
    def check(content: bytes) -> None:
        written(path, content)
        usable_or_refused(lambda: Volume.read(folder))

    check()


KEYS = (
    *("width", "height", "fx", "fy", "cx", "cy", "sdd_mm", "source_isocentre_mm", "pixel_spacing_mm"),
    *("principal_point_px", "primary_angle_deg", "secondary_angle_deg", "polarity", "pixel_scale"),
)
SCALARS = st.one_of(
    st.none(), st.booleans(), st.integers(), st.floats(), st.sampled_from(["bright_air", "log", ""])
)
VALUES = st.recursive(SCALARS, lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(), inner))
PAIRS = st.lists(st.floats(-10, 3000), min_size=2, max_size=2)
PLAUSIBLE = st.one_of(
    st.floats(-1, 3000), PAIRS, st.sampled_from([20, 30, "bright_air", "dark_air", "linear"])
)


@pytest.mark.slow
@pytest.mark.parametrize("values", [VALUES, PLAUSIBLE], ids=["anything", "plausible"])
def test_sidecars_of_anything(tmp_path: Path, values: st.SearchStrategy[object]) -> None:
    path = image(tmp_path / "xray.png")

    @FEW
    @given(content=st.dictionaries(st.sampled_from(KEYS), values, max_size=6) | VALUES)
    def check(content: object) -> None:
        (tmp_path / "xray.json").write_text(json.dumps(content))
        usable_or_refused(lambda: XRay.read(path))
        usable_or_refused(lambda: XRay.read(path, GEOMETRY))

    check()


@pytest.mark.slow
@FEW
@given(content=st.binary(max_size=80) | st.text(max_size=80).map(str.encode))
def test_label_names_of_anything(tmp_path: Path, content: bytes) -> None:
    labels = nifti(tmp_path / "labels.nii", (HU > 0).astype(np.uint8))
    usable_or_refused(lambda: labelled(tmp_path, labels, content))


# Back and forth -----------------------------------------------------------------------------------------


@st.composite
def volumes(draw: st.DrawFn) -> tuple[np.ndarray, np.ndarray]:
    """Random Hounsfield units and affines, mirrored ones included."""
    rng = np.random.default_rng(draw(st.integers(0, 2**32 - 1)))
    shape = tuple(draw(st.lists(st.integers(2, 6), min_size=3, max_size=3)))
    values = rng.integers(-1024, 3071, shape).astype(np.int16)
    values.flat[:2] = -1000, 1000  # whatever the rest, these are Hounsfield units
    turn, _ = np.linalg.qr(rng.normal(size=(3, 3)))
    affine = np.eye(4)
    affine[:3, :3] = turn * rng.uniform(0.3, 5, 3)
    affine[:3, 3] = rng.uniform(-500, 500, 3)
    return values, affine


@pytest.mark.slow
@pytest.mark.parametrize(
    ("write", "name", "atol"),
    [(nifti, "ct.nii.gz", 1e-4), (itk, "ct.nii.gz", 1e-4), (itk, "ct.nrrd", 1e-8), (itk, "ct.mha", 1e-8)],
    ids=["nibabel", "simpleitk NIfTI", "simpleitk NRRD", "simpleitk MetaImage"],
)
def test_volumes_come_back(tmp_path: Path, write: Callable[..., Path], name: str, atol: float) -> None:
    """Values exactly, places as exactly as the header's numbers: float32 of 500 mm in NIfTI, else decimals.

    nibabel writes RAS, SimpleITK LPS: both must come back in RAS.
    """

    @FEW
    @given(volume=volumes())
    def check(volume: tuple[np.ndarray, np.ndarray]) -> None:
        values, affine = volume
        read = Volume.read(write(tmp_path / name, values, affine))
        np.testing.assert_array_equal(read.hu, values)
        np.testing.assert_allclose(read.world_from_voxel, affine, rtol=0, atol=atol)

    check()


@pytest.mark.slow
@FEW
@given(volume=volumes())
def test_label_maps_come_back(tmp_path: Path, volume: tuple[np.ndarray, np.ndarray]) -> None:
    values, affine = volume
    labels = ((values + 1024) % 300).astype(np.uint16)
    ct = nifti(tmp_path / "ct.nii", values, affine)
    read = Volume.read(ct, labels=nifti(tmp_path / "labels.nii", labels, affine))
    assert read.labels is not None
    np.testing.assert_array_equal(read.labels, labels)


@pytest.mark.slow
def test_dicom_x_ray_comes_back(tmp_path: Path) -> None:
    @FEW
    @given(
        seed=st.integers(0, 2**32 - 1),
        sdd_mm=st.floats(500, 2000),
        spacing_mm=st.tuples(st.floats(0.05, 3), st.floats(0.05, 3)),
    )
    def check(seed: int, sdd_mm: float, spacing_mm: tuple[float, float]) -> None:
        rng = np.random.default_rng(seed)
        pixels = rng.integers(0, 65536, rng.integers(2, 12, 2)).astype(np.uint16)
        pixels.flat[:2] = 0, 1
        xray = XRay.read(
            dicom(
                tmp_path / "xray.dcm",
                pixels,
                DistanceSourceToDetector=f"{sdd_mm:.8g}",
                ImagerPixelSpacing=[f"{mm:.8g}" for mm in spacing_mm],
            )
        )
        np.testing.assert_array_equal(xray.pixels, pixels)
        # The header has eight digits.
        assert xray.camera.sdd_mm == pytest.approx(sdd_mm, rel=1e-7)
        assert xray.camera.pixel_spacing_mm == pytest.approx(spacing_mm, rel=1e-7)

    check()


def test_the_cases_above_start_from_files_that_are_read(tmp_path: Path) -> None:
    """So that it is the damage that is refused."""
    assert isinstance(XRay.read(dicom(tmp_path / "xray.dcm")), XRay)
    assert isinstance(XRay.read(image(tmp_path / "xray.png"), GEOMETRY), XRay)
    assert isinstance(Volume.read(with_pixdim(tmp_path / "ct.nii", [0.7, 0.9, 2.5], 1)), Volume)
    assert isinstance(labelled(tmp_path, nifti(tmp_path / "labels.nii", (HU > 0).astype(np.uint8))), Volume)
    assert pydicom.dcmread(tmp_path / "xray.dcm").Modality == "XA"
