"""Compressed X-rays of the kinds that devices write; GDCM encodes them, pydicom's plugins decode them."""

from __future__ import annotations

from pathlib import Path

import gdcm
import numpy as np
import pytest
from pydicom.dataset import Dataset, FileMetaDataset
from pydicom.uid import ExplicitVRLittleEndian, XRayAngiographicImageStorage, generate_uid

from isoclinic.volumes import XRay


def smooth_pixels(bits: int) -> np.ndarray:
    """A smooth image with a little noise, over all but the brightest values [48, 64]."""
    rows, columns = np.indices((48, 64))
    pattern = (np.sin(columns / 9) + np.cos(rows / 7) + 2) / 4 * 0.95
    pattern += np.random.default_rng(0).uniform(0, 0.02, pattern.shape)
    return np.rint(pattern * (2**bits - 1)).astype(np.uint8 if bits == 8 else np.uint16)


def write(path: Path, pixels: np.ndarray, bits: int) -> None:
    dataset = Dataset()
    dataset.file_meta = FileMetaDataset()
    dataset.file_meta.TransferSyntaxUID = ExplicitVRLittleEndian
    dataset.file_meta.MediaStorageSOPClassUID = dataset.SOPClassUID = XRayAngiographicImageStorage
    dataset.file_meta.MediaStorageSOPInstanceUID = dataset.SOPInstanceUID = generate_uid()
    dataset.Modality, dataset.PhotometricInterpretation = "XA", "MONOCHROME2"
    dataset.SamplesPerPixel, dataset.PixelRepresentation = 1, 0
    dataset.Rows, dataset.Columns = pixels.shape
    dataset.BitsAllocated = 8 * pixels.itemsize
    dataset.BitsStored, dataset.HighBit = bits, bits - 1
    dataset.PixelData = pixels.tobytes()
    dataset.DistanceSourceToDetector, dataset.ImagerPixelSpacing = "1000", ["0.4", "0.5"]
    dataset.save_as(path, enforce_file_format=True)


def compress(source: Path, target: Path, syntax: int) -> None:
    reader = gdcm.ImageReader()
    reader.SetFileName(str(source))
    assert reader.Read()
    change = gdcm.ImageChangeTransferSyntax()
    change.SetTransferSyntax(gdcm.TransferSyntax(syntax))
    change.SetInput(reader.GetImage())
    assert change.Change()
    writer = gdcm.ImageWriter()
    writer.SetFileName(str(target))
    writer.SetFile(reader.GetFile())
    writer.SetImage(change.GetOutput())
    assert writer.Write()


@pytest.mark.parametrize(
    ("syntax", "bits", "tolerance"),
    [
        # Lossy: GDCM's default quality quantises smooth 8-bit images to a grey level or two.
        (gdcm.TransferSyntax.JPEGBaselineProcess1, 8, 2),
        (gdcm.TransferSyntax.JPEGLosslessProcess14, 12, 0),
        (gdcm.TransferSyntax.JPEGLosslessProcess14_1, 16, 0),
        (gdcm.TransferSyntax.JPEGLSLossless, 16, 0),
        (gdcm.TransferSyntax.JPEG2000Lossless, 16, 0),
    ],
)
def test_compressed_xrays(tmp_path: Path, syntax: int, bits: int, tolerance: int):
    pixels = smooth_pixels(bits)
    write(tmp_path / "plain.dcm", pixels, bits)
    compress(tmp_path / "plain.dcm", tmp_path / "compressed.dcm", syntax)
    plain, compressed = ((tmp_path / name).read_bytes() for name in ("plain.dcm", "compressed.dcm"))
    assert pixels.tobytes() in plain and pixels.tobytes() not in compressed
    xray = XRay.read(tmp_path / "compressed.dcm")
    np.testing.assert_allclose(xray.pixels, pixels, rtol=0, atol=tolerance)
