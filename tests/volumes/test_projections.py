"""Which DICOM images are X-rays: told by class and content, not by Modality, preamble or folder."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
from pydicom import dcmread, uid
from pydicom.dataset import Dataset, FileMetaDataset

from isoclinic.errors import InputError
from isoclinic.volumes import GeometryWarning, XRay, XRayOptions
from raising import raises

HEIGHT, WIDTH = 20, 30
PIXELS = np.random.default_rng(0).integers(0, 4000, (HEIGHT, WIDTH)).astype(np.uint16)
OPTIONS = XRayOptions(polarity="bright_air")
PLACE = {"ImagePositionPatient": [0, 0, 0], "ImageOrientationPatient": [1, 0, 0, 0, 1, 0]}


def write(path: Path, sop_class: str, modality: str, **attributes: Any) -> Path:
    dataset = Dataset()
    dataset.file_meta = FileMetaDataset()
    dataset.file_meta.TransferSyntaxUID = uid.ExplicitVRLittleEndian
    dataset.file_meta.MediaStorageSOPClassUID = dataset.SOPClassUID = sop_class
    dataset.file_meta.MediaStorageSOPInstanceUID = dataset.SOPInstanceUID = uid.generate_uid()
    dataset.StudyInstanceUID, dataset.SeriesInstanceUID = uid.generate_uid(), uid.generate_uid()
    dataset.PatientID, dataset.StudyID, dataset.SeriesNumber, dataset.InstanceNumber = "P", "1", 1, 1
    dataset.PatientName, dataset.StudyDate, dataset.StudyTime = "P", "20200101", "120000"
    dataset.Modality, dataset.PhotometricInterpretation, dataset.SamplesPerPixel = modality, "MONOCHROME2", 1
    dataset.Rows, dataset.Columns = HEIGHT, WIDTH
    dataset.BitsAllocated, dataset.BitsStored, dataset.HighBit, dataset.PixelRepresentation = 16, 12, 11, 0
    dataset.PixelData = PIXELS.tobytes()
    dataset.DistanceSourceToDetector, dataset.ImagerPixelSpacing = 1000, [0.4, 0.5]
    for keyword, value in attributes.items():
        if value is None:
            delattr(dataset, keyword)
        else:
            setattr(dataset, keyword, value)
    dataset.save_as(path, enforce_file_format=True)
    return path


class TestClass:
    @pytest.mark.parametrize("modality", ["OT", "SC", "XA", "DX", ""])
    @pytest.mark.parametrize(
        "sop_class", [uid.SecondaryCaptureImageStorage, uid.ComputedRadiographyImageStorage]
    )
    def test_xrays_of_any_modality(self, tmp_path: Path, sop_class: str, modality: str) -> None:
        xray = XRay.read(write(tmp_path / "x.dcm", sop_class, modality), OPTIONS)
        np.testing.assert_array_equal(xray.pixels, PIXELS)
        assert xray.camera.sdd_mm == 1000

    def test_class_is_believed_rather_than_modality(self, tmp_path: Path) -> None:
        path = write(tmp_path / "x.dcm", uid.XRayAngiographicImageStorage, "CT")
        with pytest.warns(GeometryWarning, match=r"Modality \(0008,0060\) CT is not that of an X-ray"):
            np.testing.assert_array_equal(XRay.read(path, OPTIONS).pixels, PIXELS)

    @pytest.mark.parametrize("modality", ["XA", "CT", "OT"])
    @pytest.mark.parametrize(
        "sop_class", [uid.CTImageStorage, uid.EnhancedCTImageStorage, uid.XRay3DAngiographicImageStorage]
    )
    def test_volumes_of_any_modality(self, tmp_path: Path, sop_class: str, modality: str) -> None:
        path = write(tmp_path / "x.dcm", sop_class, modality)
        with raises(InputError, "xray.not-a-projection", "SOPClassUID", uid.UID(sop_class).name, "`volume`"):
            XRay.read(path, OPTIONS)

    def test_slice_in_a_class_of_projections(self, tmp_path: Path) -> None:
        """Some C-arms store the slices that they reconstruct as angiographic images."""
        sop_class = uid.XRayAngiographicImageStorage
        path = write(tmp_path / "x.dcm", sop_class, "XA", DistanceSourceToDetector=None, **PLACE)
        with raises(InputError, "xray.not-a-projection", "ImagePositionPatient", "0020,0032", "`volume`"):
            XRay.read(path, OPTIONS)
        projection = write(tmp_path / "y.dcm", sop_class, "XA", **PLACE)
        np.testing.assert_array_equal(XRay.read(projection, OPTIONS).pixels, PIXELS)

    @pytest.mark.parametrize("photometric", ["MONOCHROME1", "MONOCHROME2"])
    @pytest.mark.parametrize("shape", ["IDENTITY", "INVERSE"])
    def test_display_said_in_two_ways(self, tmp_path: Path, photometric: str, shape: str) -> None:
        path = write(
            tmp_path / "x.dcm",
            uid.DigitalXRayImageStorageForPresentation,
            "DX",
            PhotometricInterpretation=photometric,
            PresentationLUTShape=shape,
        )
        if (photometric == "MONOCHROME1") == (shape == "INVERSE"):
            xray = XRay.read(path)
        else:
            with pytest.warns(GeometryWarning, match=r"PresentationLUTShape .*`polarity`"):
                xray = XRay.read(path)
        assert xray.polarity == ("bright_air" if photometric == "MONOCHROME1" else "dark_air")

    def test_directory_of_a_medium(self, tmp_path: Path) -> None:
        """It has no SOP class of its own."""
        directory = Dataset()
        directory.file_meta = FileMetaDataset()
        directory.file_meta.TransferSyntaxUID = uid.ExplicitVRLittleEndian
        directory.file_meta.MediaStorageSOPClassUID = uid.MediaStorageDirectoryStorage
        directory.file_meta.MediaStorageSOPInstanceUID = uid.generate_uid()
        directory.FileSetID = "CD"
        directory.DirectoryRecordSequence = []
        directory.save_as(tmp_path / "DICOMDIR", enforce_file_format=True)
        with raises(InputError, "xray.not-a-projection", "DICOMDIR"):
            XRay.read(tmp_path / "DICOMDIR")


class TestWithoutPreamble:
    @pytest.mark.parametrize("name", ["x.dcm", "x", "x.img"])
    @pytest.mark.parametrize("meta", [False, True])
    @pytest.mark.parametrize("implicit", [False, True])
    def test_read_all_the_same(self, tmp_path: Path, name: str, meta: bool, implicit: bool) -> None:
        """Without the file's meta information as well, as data sets travel on the network."""
        dataset = dcmread(write(tmp_path / "whole.dcm", uid.XRayAngiographicImageStorage, "XA"))
        if implicit:
            dataset.file_meta.TransferSyntaxUID = uid.ImplicitVRLittleEndian
        if meta:
            dataset.preamble = None
            dataset.save_as(tmp_path / name)
        else:
            del dataset.file_meta
            dataset.preamble = None
            dataset.save_as(tmp_path / name, implicit_vr=implicit, little_endian=True)
        assert (tmp_path / name).read_bytes()[128:132] != b"DICM"
        xray = XRay.read(tmp_path / name, OPTIONS)
        np.testing.assert_array_equal(xray.pixels, PIXELS)
        assert xray.camera.sdd_mm == 1000

    def test_what_is_no_dicom(self, tmp_path: Path) -> None:
        noise = np.random.default_rng(0).integers(0, 256, 4000).astype(np.uint8).tobytes()
        for content in (noise, b"text\n" * 200, bytes(5000)):
            (tmp_path / "x.dcm").write_bytes(content)
            with raises(InputError, "xray.unknown-format", "x.dcm"):
                XRay.read(tmp_path / "x.dcm", OPTIONS)


class TestFolder:
    def test_of_one_xray(self, tmp_path: Path) -> None:
        """Whatever else lies beside it."""
        for name in ("notes.txt", "Thumbs.db", ".hidden", "DICOMDIR"):
            (tmp_path / name).write_text("x")
        path = write(tmp_path / "IM0001", uid.XRayAngiographicImageStorage, "XA")
        xray = XRay.read(tmp_path, OPTIONS)
        assert xray.path == path
        np.testing.assert_array_equal(xray.pixels, PIXELS)

    def test_of_several_names_them(self, tmp_path: Path) -> None:
        for index in range(7):
            write(tmp_path / f"IM{index}.dcm", uid.XRayAngiographicImageStorage, "XA")
        with raises(InputError, "xray.several-files", "7", "IM0.dcm", "IM4.dcm", "..."):
            XRay.read(tmp_path)

    def test_of_none(self, tmp_path: Path) -> None:
        with raises(InputError, "xray.several-files", "`volume`"):
            XRay.read(tmp_path)
