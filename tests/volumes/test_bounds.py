"""Headers that claim more than their files hold are refused before anything of that size is allocated."""

from __future__ import annotations

import gzip
import resource
import struct
from collections.abc import Callable, Iterator
from pathlib import Path

import nibabel as nib
import numpy as np
import pytest
import SimpleITK as sitk

from isoclinic.errors import InputError
from isoclinic.volumes import Volume
from isoclinic.volumes._bounds import BoundedFile, check_declared_size
from raising import raises

HU = np.random.default_rng(0).integers(-1000, 1500, (7, 6, 5)).astype(np.int16)
HUGE = 30_000


def nifti(path: Path, second: bool = False) -> Path:
    image = (nib.Nifti2Image if second else nib.Nifti1Image)(HU, np.eye(4))
    nib.save(image, path)
    return path


def itk(path: Path, compressed: bool) -> Path:
    sitk.WriteImage(sitk.GetImageFromArray(HU.transpose(2, 1, 0)), str(path), useCompression=compressed)
    return path


def with_dim(path: Path, offset: int, kind: str, *numbers: int) -> Path:
    content = path.read_bytes()
    unpacked = gzip.decompress(content) if path.suffix == ".gz" else content
    changed = bytearray(unpacked)
    struct.pack_into(f"<{len(numbers)}{kind}", changed, offset, *numbers)
    path.write_bytes(gzip.compress(bytes(changed)) if path.suffix == ".gz" else bytes(changed))
    return path


def edited(path: Path, old: bytes, new: bytes) -> Path:
    content = path.read_bytes()
    assert old in content
    path.write_bytes(content.replace(old, new, 1))
    return path


TEXT = {"mha": (b"DimSize = 7 6 5", b"DimSize = %d %d %d"), "nrrd": (b"sizes: 7 6 5", b"sizes: %d %d %d")}


def header(folder: Path, kind: str, *shape: int, compressed: bool = False) -> Path:
    old, new = TEXT[kind]
    return edited(itk(folder / f"ct.{kind}", compressed), old, new % shape)


CLAIMS: dict[str, Callable[[Path], Path]] = {
    "NIfTI": lambda f: with_dim(nifti(f / "ct.nii"), 40, "h", 3, 300, 300, 300),
    "NIfTI-2": lambda f: with_dim(nifti(f / "ct.nii", second=True), 16, "q", 3, 300, 300, 300),
    "NIfTI compressed": lambda f: with_dim(nifti(f / "ct.nii.gz"), 40, "h", 3, 1200, 1200, 1200),
    "NIfTI, dimensions": lambda f: with_dim(nifti(f / "ct.nii"), 40, "h", 300),
    "NIfTI, negative": lambda f: with_dim(nifti(f / "ct.nii"), 40, "h", 3, -7),
    "NIfTI, more than any scan": lambda f: with_dim(nifti(f / "ct.nii.gz"), 40, "h", 3, HUGE, HUGE, HUGE),
    **{
        f"{kind}, {name}": lambda f, kind=kind, shape=shape, compressed=compressed: header(
            f, kind, *shape, compressed=compressed
        )
        for kind in TEXT
        for name, shape, compressed in (
            ("raw", (300, 300, 300), False),
            ("compressed", (1200, 1200, 1200), True),
            ("more than any scan", (HUGE, HUGE, HUGE), True),
            ("none", (7, 0, 5), False),
        )
    },
    "mha, dimensions": lambda f: edited(itk(f / "ct.mha", False), b"NDims = 3", b"NDims = 4294967295"),
    "mha, channels": lambda f: edited(
        itk(f / "ct.mha", False), b"ElementType", b"ElementNumberOfChannels = 99999\nElementType"
    ),
    "mha, no number": lambda f: edited(itk(f / "ct.mha", False), b"= 7 6 5", b"= 7 six 5"),
    "nrrd, dimensions": lambda f: edited(itk(f / "ct.nrrd", False), b"dimension: 3", b"dimension: 99"),
    "nrrd, line": lambda f: edited(itk(f / "ct.nrrd", False), b"origin: (", b"origin: (" + b"<a>" * 2000),
    "mha, line": lambda f: edited(itk(f / "ct.mha", False), b"Offset = ", b"Offset = " + b"[" * 3000),
    "nrrd, text": lambda f: edited(header(f, "nrrd", 20, 20, 20), b"encoding: raw", b"encoding: ascii"),
}


@pytest.fixture
def little_memory() -> Iterator[None]:
    """What a claim of 50 MB needs cannot be had."""
    before = resource.getrlimit(resource.RLIMIT_AS)
    with open("/proc/self/statm") as file:
        now = int(file.read().split()[0]) * resource.getpagesize()
    resource.setrlimit(resource.RLIMIT_AS, (now + (32 << 20), before[1]))
    yield
    resource.setrlimit(resource.RLIMIT_AS, before)


@pytest.mark.parametrize("claim", CLAIMS)
def test_claims_beyond_the_file(claim, tmp_path, little_memory):
    path = CLAIMS[claim](tmp_path)
    code = "ct.too-large" if "more than any scan" in claim else "ct.unreadable"
    with raises(InputError, code, path) as caught:
        check_declared_size(path)
    assert caught.value.__cause__ is None
    with raises(InputError, "ct.malformed-header" if "line" in claim else code, path):
        Volume.read(path)


@pytest.mark.parametrize("compressed", [False, True])
@pytest.mark.parametrize("name", ["ct.nii", "ct.nii.gz", "ct.mha", "ct.mhd", "ct.nrrd", "ct.nhdr"])
def test_honest_files_pass(name, compressed, tmp_path):
    """Of one value throughout they are as small as compression makes them."""
    even = np.zeros((64, 64, 64), dtype=np.float64)
    if name.startswith("ct.nii"):
        nib.save(nib.Nifti1Image(even, np.eye(4)), tmp_path / name)
    else:
        sitk.WriteImage(sitk.GetImageFromArray(even), str(tmp_path / name), useCompression=compressed)
    check_declared_size(tmp_path / name)


def test_long_values_of_keys_are_no_damage(tmp_path):
    """As 3D Slicer writes them into .seg.nrrd."""
    long = b"endian: little\nSegmentation_ConversionParameters:=" + 5000 * b"a|b&"
    path = edited(itk(tmp_path / "ct.nrrd", False), b"endian: little", long)
    check_declared_size(path)
    np.testing.assert_array_equal(Volume.read(path).hu, HU)


def test_other_files_are_left_to_their_readers(tmp_path):
    for name in ("ct.dcm", "ct.nii"):
        (tmp_path / name).write_bytes(b"something else")
        check_declared_size(tmp_path / name)


def test_elements_are_read_as_far_as_they_go(tmp_path, little_memory):
    """An element of 4 GB, as pydicom asks for it."""
    (tmp_path / "a.dcm").write_bytes(bytes(200_000))
    with BoundedFile(tmp_path / "a.dcm") as file:
        assert len(file.read(132)) == 132
        assert len(file.read(2**32 - 2)) == 200_000 - 132
        assert file.read(2**32 - 2) == b""
        file.seek(100)
        assert len(file.read()) == 199_900
