"""Every step from the words that DICOM stores to values: made files against values worked out by hand."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import gdcm
import numpy as np
import pydicom
import pytest
from pydicom.dataset import Dataset, FileMetaDataset
from pydicom.encaps import encapsulate
from pydicom.sequence import Sequence
from pydicom.uid import (
    CTImageStorage,
    DigitalXRayImageStorageForPresentation,
    ExplicitVRBigEndian,
    ExplicitVRLittleEndian,
    ImplicitVRLittleEndian,
    RLELossless,
    generate_uid,
)

from isoclinic.errors import InputError
from isoclinic.volumes import Volume, XRay
from isoclinic.volumes._dicom_pixels import hounsfield_units, read_pixels
from raising import raises

ROWS, COLUMNS = 12, 16
# 12-bit samples that use every bit and differ everywhere.
SAMPLES = (np.arange(ROWS * COLUMNS).reshape(ROWS, COLUMNS) * 21 + 7).astype(np.uint16)
assert SAMPLES.max() < 4096 and SAMPLES.max() > 2048


def image(
    path: Path, words: np.ndarray, *, syntax: str = ExplicitVRLittleEndian, **attributes: Any
) -> Dataset:
    """A CT's slice of 12 bits with the given words, as read from a file; None removes an attribute."""
    dataset = Dataset()
    dataset.file_meta = FileMetaDataset()
    dataset.file_meta.TransferSyntaxUID = syntax
    dataset.file_meta.MediaStorageSOPClassUID = dataset.SOPClassUID = CTImageStorage
    dataset.file_meta.MediaStorageSOPInstanceUID = dataset.SOPInstanceUID = generate_uid()
    dataset.Modality = "CT"
    dataset.SamplesPerPixel, dataset.PhotometricInterpretation = 1, "MONOCHROME2"
    dataset.Rows, dataset.Columns = words.shape[:2]
    dataset.BitsAllocated, dataset.BitsStored, dataset.HighBit = 8 * words.itemsize, 12, 11
    dataset.PixelRepresentation = 0
    dataset.RescaleSlope, dataset.RescaleIntercept = 1, -1024
    order = ">" if syntax == ExplicitVRBigEndian else "<"
    dataset.PixelData = words.astype(words.dtype.newbyteorder(order)).tobytes()
    dataset["PixelData"].VR = "OW" if words.itemsize == 2 else "OB"
    for keyword, value in attributes.items():
        if value is None:
            delattr(dataset, keyword)
        elif isinstance(value, pydicom.DataElement):
            dataset[keyword] = value
        else:
            setattr(dataset, keyword, value)
    dataset.save_as(path / "image.dcm", enforce_file_format=True)
    return pydicom.dcmread(path / "image.dcm")


def element(keyword: str, vr: str, value: Any) -> pydicom.DataElement:
    return pydicom.DataElement(pydicom.tag.Tag(keyword), vr, value)


def hu(dataset: Dataset) -> np.ndarray:
    values, notes = hounsfield_units(dataset, "image.dcm")
    assert notes == []
    return values


class TestWords:
    @pytest.mark.parametrize(
        "syntax",
        [ExplicitVRLittleEndian, ImplicitVRLittleEndian, ExplicitVRBigEndian],
        ids=lambda uid: uid.name,
    )
    @pytest.mark.parametrize("high", [11, 13, 15])
    def test_high_bit(self, tmp_path: Path, syntax: str, high: int) -> None:
        """The other bits of the word hold overlays."""
        rest = np.uint16(0xFFFF ^ (0xFFF << (high - 11)))
        words = (SAMPLES << (high - 11)) | (np.arange(COLUMNS) % 2).astype(np.uint16) * rest
        dataset = image(tmp_path, words, syntax=syntax, HighBit=high)
        dataset.add_new(0x60000102, "US", 15)  # OverlayBitPosition
        np.testing.assert_array_equal(hu(dataset), SAMPLES.astype(float) - 1024)

    @pytest.mark.parametrize("high", [11, 15])
    def test_sign_is_the_samples_highest_bit(self, tmp_path: Path, high: int) -> None:
        signed = SAMPLES.astype(np.int16) - 2048
        words = (signed.view(np.uint16) & 0xFFF) << (high - 11)
        dataset = image(tmp_path, words, HighBit=high, PixelRepresentation=1, RescaleIntercept=0)
        np.testing.assert_array_equal(hu(dataset), signed)

    def test_unused_bits_that_nobody_explains(self, tmp_path: Path) -> None:
        """Cut off as overlays are, and said."""
        words = SAMPLES | ((np.arange(COLUMNS) % 2) << 14).astype(np.uint16)
        values, notes = hounsfield_units(image(tmp_path, words), "image.dcm")
        np.testing.assert_array_equal(values, SAMPLES.astype(float) - 1024)
        assert len(notes) == 1 and "BitsStored (0028,0101)" in notes[0]

    @pytest.mark.parametrize("negative", [-2000, -3024])
    def test_negative_words_beyond_the_bits(self, tmp_path: Path, negative: int) -> None:
        """Padding that no tag declares would become tissue if its sign were cut off."""
        words = np.minimum(SAMPLES, 2000)
        words[:3, :3] = negative % 65536
        with raises(InputError, "dicom.malformed-pixels", "9", "BitsStored", "PixelPaddingValue"):
            hounsfield_units(image(tmp_path, words), "image.dcm")

    @pytest.mark.parametrize("sign", [0, 1])
    def test_wrong_sign(self, tmp_path: Path, sign: int) -> None:
        """A noisy ramp through 0 and through half of the range, with the other PixelRepresentation."""
        ramp = np.tile(np.linspace(-600, 600, COLUMNS * 20), (ROWS, 1))
        ramp = (ramp + np.random.default_rng(0).normal(0, 20, ramp.shape)).astype(np.int16)
        words = ramp.view(np.uint16) if sign == 0 else ramp.view(np.uint16) + np.uint16(32768)
        attributes = {"BitsStored": 16, "HighBit": 15, "RescaleIntercept": 0}
        right = image(tmp_path, words, PixelRepresentation=1 - sign, **attributes)
        expected = words.view(np.int16) if sign == 0 else words
        np.testing.assert_array_equal(read_pixels(right, "image.dcm").values, expected)
        with raises(InputError, "dicom.malformed-pixels", "PixelRepresentation", "0028,0103", sign):
            read_pixels(image(tmp_path, words, PixelRepresentation=sign, **attributes), "image.dcm")

    def test_text_is_no_wrong_sign(self, tmp_path: Path) -> None:
        text = np.where(np.indices((ROWS, COLUMNS)).sum(axis=0) % 2, 4095, 0).astype(np.uint16)
        np.testing.assert_array_equal(hu(image(tmp_path, text)), text.astype(float) - 1024)

    def test_sharp_edges_are_no_wrong_sign(self, tmp_path: Path) -> None:
        """A collimator's edge beside bright air, and a patient in between."""
        picture = np.full((ROWS, COLUMNS), 4000, np.uint16)
        picture[:, :3] = 20
        picture[4:8, 8:] = 2000
        np.testing.assert_array_equal(hu(image(tmp_path, picture)), picture.astype(float) - 1024)

    def test_run_length_encoding_keeps_words(self, tmp_path: Path) -> None:
        dataset = image(tmp_path, SAMPLES << 4, HighBit=15)
        dataset.compress(RLELossless, generate_instance_uid=False)
        np.testing.assert_array_equal(hu(dataset), SAMPLES.astype(float) - 1024)

    @pytest.mark.parametrize("bits", [8, 16, 32])
    @pytest.mark.parametrize("sign", [0, 1])
    def test_whole_words(self, tmp_path: Path, bits: int, sign: int) -> None:
        words = (SAMPLES % 250).astype(f"u{bits // 8}")
        if sign:
            words[0, 0] = 2**bits - 3
        dataset = image(
            tmp_path, words, BitsStored=bits, HighBit=bits - 1, PixelRepresentation=sign, RescaleIntercept=0
        )
        np.testing.assert_array_equal(hu(dataset), words.view(f"i{bits // 8}") if sign else words)

    @pytest.mark.parametrize(
        ("attributes", "fault"),
        [
            ({"HighBit": 10}, ("dicom.malformed-header", "HighBit", "0028,0102", "10", "BitsStored")),
            ({"HighBit": 16}, ("dicom.malformed-header", "HighBit", "0028,0102", "16")),
            (
                {"HighBit": 15},
                ("dicom.malformed-pixels", "HighBit", "0028,0102", "15", "12 bits", "11"),
            ),
        ],
    )
    def test_impossible_place(
        self, tmp_path: Path, attributes: dict[str, Any], fault: tuple[str, ...]
    ) -> None:
        with raises(InputError, *fault):
            hounsfield_units(image(tmp_path, SAMPLES, **attributes), "image.dcm")

    def test_compressed_samples_that_do_not_end_a_word(self, tmp_path: Path) -> None:
        """Whether a codec moved them to the lower bits differs from writer to writer."""
        path = jpeg(tmp_path, SAMPLES, gdcm.TransferSyntax.JPEGLosslessProcess14_1)
        dataset = pydicom.dcmread(path)
        np.testing.assert_array_equal(hu(dataset), SAMPLES.astype(float) - 1024)
        dataset.HighBit = 15
        with raises(InputError, "dicom.malformed-pixels", "compressed", "HighBit", "0028,0102", "15", "11"):
            hounsfield_units(dataset, "image.dcm")

    def test_jpeg_of_12_bits(self, tmp_path: Path) -> None:
        """GDCM's default quality keeps smooth 12 bits within a level or two."""
        rows, columns = np.indices((32, 32))
        smooth = (columns * 60 + rows * 70).astype(np.uint16)
        path = jpeg(tmp_path, smooth, gdcm.TransferSyntax.JPEGExtendedProcess2_4)
        dataset = pydicom.dcmread(path)
        assert dataset.file_meta.TransferSyntaxUID == "1.2.840.10008.1.2.4.51"
        np.testing.assert_allclose(hu(dataset), smooth.astype(float) - 1024, atol=2)
        dataset.BitsStored = 10
        with raises(InputError, "dicom.undecodable", "BitsStored", "0028,0101", "10"):
            hounsfield_units(dataset, "image.dcm")

    def test_damaged_jpeg(self, tmp_path: Path) -> None:
        dataset = pydicom.dcmread(jpeg(tmp_path, SAMPLES, gdcm.TransferSyntax.JPEGExtendedProcess2_4))
        dataset.PixelData = encapsulate([b"no JPEG at all"])
        with raises(InputError, "dicom.undecodable", "image.dcm", "JPEG Extended"):
            hounsfield_units(dataset, "image.dcm")


def jpeg(folder: Path, samples: np.ndarray, syntax: int) -> Path:
    image(folder, samples)
    reader = gdcm.ImageReader()
    reader.SetFileName(str(folder / "image.dcm"))
    assert reader.Read()
    change = gdcm.ImageChangeTransferSyntax()
    change.SetTransferSyntax(gdcm.TransferSyntax(syntax))
    change.SetInput(reader.GetImage())
    assert change.Change()
    writer = gdcm.ImageWriter()
    writer.SetFileName(str(folder / "jpeg.dcm"))
    writer.SetFile(reader.GetFile())
    writer.SetImage(change.GetOutput())
    assert writer.Write()
    return folder / "jpeg.dcm"


class TestPadding:
    """The corners are no data; a CT's are air, whatever number stands for them."""

    @pytest.mark.parametrize(
        ("word", "sign", "stored", "vr", "padding", "limit"),
        [
            pytest.param(63536, 0, 16, "US", 63536, None, id="-2000 without sign"),
            pytest.param(63536, 0, 16, "SS", -2000, None, id="unsigned pixels, signed padding"),
            pytest.param(63536, 1, 16, "US", 63536, None, id="signed pixels, unsigned padding"),
            pytest.param(63536, 1, 16, "SS", -2000, None, id="signed"),
            pytest.param(63536, 0, 12, "US", 63536, None, id="beyond the bits stored"),
            pytest.param(63536, 1, 12, "SS", -2000, None, id="signed, beyond the bits stored"),
            pytest.param(4095, 0, 12, "US", 4095, None, id="highest value"),
            pytest.param(63700, 0, 16, "US", 63536, 64000, id="range"),
            pytest.param(63700, 1, 16, "SS", -2000, -1536, id="signed range"),
            pytest.param(63700, 0, 16, "US", 64000, 63536, id="range the other way round"),
            pytest.param(63700, 0, 16, "SS", -2000, -1536, id="range without sign"),
            pytest.param(63700, 0, 12, "US", 63536, 0, id="range through 0"),
        ],
    )
    def test_padding_is_air(
        self, tmp_path: Path, word: int, sign: int, stored: int, vr: str, padding: int, limit: int | None
    ) -> None:
        offset = 0 if sign else 1024
        tissue = np.where(np.indices((ROWS, COLUMNS)).sum(axis=0) % 3, 50, 700)
        words = (tissue + offset).astype(np.uint16)
        words[:3, :3] = word
        attributes = {"PixelPaddingValue": element("PixelPaddingValue", vr, padding)}
        if limit is not None:
            attributes["PixelPaddingRangeLimit"] = element("PixelPaddingRangeLimit", vr, limit)
        dataset = image(
            tmp_path,
            words,
            BitsStored=stored,
            HighBit=stored - 1,
            PixelRepresentation=sign,
            RescaleIntercept=-offset,
            **attributes,
        )
        expected = tissue.astype(float)
        expected[:3, :3] = -1000
        np.testing.assert_array_equal(hu(dataset), expected)

    def test_a_value_that_water_has_is_padding_at_the_rim_only(self, tmp_path: Path) -> None:
        words = np.full((ROWS, COLUMNS), 1100, np.uint16)
        words[:2, :2] = words[6, 7] = 1024
        dataset = image(tmp_path, words, PixelPaddingValue=element("PixelPaddingValue", "US", 1024))
        values, notes = hounsfield_units(dataset, "image.dcm")
        assert (values[:2, :2] == -1000).all()
        assert values[6, 7] == 0
        assert len(notes) == 1 and "PixelPaddingValue (0028,0120)" in notes[0]

    def test_negative_values_without_their_sign(self, tmp_path: Path) -> None:
        words = np.full((ROWS, COLUMNS), 40, np.int16)
        words[:4] = -1000
        dataset = image(tmp_path, words.view(np.uint16), BitsStored=16, HighBit=15, RescaleIntercept=0)
        with raises(InputError, "ct.not-hounsfield", "PixelRepresentation", "0", "1", "PixelPaddingValue"):
            hounsfield_units(dataset, "image.dcm")

    def test_floating_point(self, tmp_path: Path) -> None:
        values = SAMPLES.astype(np.float32) / 4 - 100
        values[0, 0] = -3000
        for name, vr, dtype in (("Float", "OF", np.float32), ("DoubleFloat", "OD", np.float64)):
            dataset = image(tmp_path, SAMPLES, RescaleIntercept=0)
            del dataset.PixelData
            setattr(dataset, f"{name}PixelData", values.astype(dtype).tobytes())
            setattr(dataset, f"{name}PixelPaddingValue", -3000.0)
            dataset.BitsAllocated = 8 * np.dtype(dtype).itemsize
            expected = values.copy()
            expected[0, 0] = -1000
            np.testing.assert_array_equal(hu(dataset), expected)
            assert vr == dataset[f"{name}PixelData"].VR


def table(entries: np.ndarray, first: int = 0, bits: int = 16, vr: str = "OW", kind: str = "HU") -> Sequence:
    item = Dataset()
    signed = first < 0
    item.add_new("LUTDescriptor", "SS" if signed else "US", [entries.size % 65536, first, bits])
    item.ModalityLUTType = kind
    item.add_new("LUTData", vr, entries.tobytes() if vr == "OW" else [int(n) & 0xFFFF for n in entries])
    return Sequence([item])


class TestModalityLUT:
    @pytest.mark.parametrize("vr", ["OW", "US"])
    def test_hounsfield_units_below_zero(self, tmp_path: Path, vr: str) -> None:
        entries = (3000 - np.arange(4096)).astype(np.int16)
        dataset = image(
            tmp_path,
            SAMPLES,
            ModalityLUTSequence=table(entries, vr=vr),
            RescaleSlope=None,
            RescaleIntercept=None,
        )
        np.testing.assert_array_equal(hu(dataset), 3000.0 - SAMPLES)

    def test_unspecified_unit_is_said(self, tmp_path: Path) -> None:
        entries = np.arange(4096, dtype=np.int16) - 1024
        dataset = image(tmp_path, SAMPLES, ModalityLUTSequence=table(entries, kind="US"))
        values, notes = hounsfield_units(dataset, "image.dcm")
        np.testing.assert_array_equal(values, SAMPLES.astype(float) - 1024)
        assert len(notes) == 1 and "ModalityLUTType (0028,3004) is US" in notes[0]

    def test_first_value_and_beyond_the_table(self, tmp_path: Path) -> None:
        """Values before the table take its first entry, values after it the last (PS3.3 C.11.1.1.1)."""
        entries = np.arange(1000, dtype=np.int16) - 300
        dataset = image(tmp_path, SAMPLES, ModalityLUTSequence=table(entries, first=500))
        np.testing.assert_array_equal(hu(dataset), np.clip(SAMPLES.astype(int) - 500, 0, 999) - 300)

    def test_first_value_is_as_signed_as_the_pixels(self, tmp_path: Path) -> None:
        signed = SAMPLES.astype(np.int16) - 2048
        dataset = image(
            tmp_path,
            signed.view(np.uint16) & 0xFFF,
            PixelRepresentation=1,
            ModalityLUTSequence=table(np.arange(4096, dtype=np.int16), first=-2048),
        )
        np.testing.assert_array_equal(hu(dataset), SAMPLES)

    def test_65536_entries(self, tmp_path: Path) -> None:
        entries = (np.arange(65536) // 16).astype(np.uint16)
        dataset = image(tmp_path, SAMPLES * 16, BitsStored=16, HighBit=15, ModalityLUTSequence=table(entries))
        np.testing.assert_array_equal(hu(dataset), SAMPLES)

    def test_entries_of_8_bits_two_a_word(self, tmp_path: Path) -> None:
        entries = np.arange(256, dtype=np.uint8)[::-1].copy()
        dataset = image(
            tmp_path,
            (SAMPLES % 256).astype(np.uint8),
            BitsStored=8,
            HighBit=7,
            ModalityLUTSequence=table(entries, bits=8),
        )
        np.testing.assert_array_equal(hu(dataset), 255 - SAMPLES % 256)

    @pytest.mark.parametrize(
        ("sequence", "fault"),
        [
            (
                table(np.arange(9, dtype=np.int16), bits=40),
                ("dicom.malformed-header", "LUTDescriptor", "0028,3002", "40"),
            ),
            (
                table(np.arange(9, dtype=np.int16), kind="OD"),
                ("ct.not-hounsfield", "ModalityLUTType", "0028,3004", "OD"),
            ),
        ],
    )
    def test_unusable(self, tmp_path: Path, sequence: Sequence, fault: tuple[str, ...]) -> None:
        with raises(InputError, *fault):
            hounsfield_units(image(tmp_path, SAMPLES, ModalityLUTSequence=sequence), "image.dcm")

    def test_too_short(self, tmp_path: Path) -> None:
        sequence = table(np.arange(100, dtype=np.int16))
        sequence[0].LUTData = bytes(50)
        with raises(InputError, "dicom.malformed-header", "ModalityLUTSequence", "50", "100"):
            hounsfield_units(image(tmp_path, SAMPLES, ModalityLUTSequence=sequence), "image.dcm")


class TestRescale:
    def test_of_the_frame(self, tmp_path: Path) -> None:
        """Enhanced objects give each frame its own slope and intercept."""
        frames = []
        for slope in (1, 2):
            item = Dataset()
            item.RescaleSlope, item.RescaleIntercept, item.RescaleType = slope, -slope, "HU"
            frame = Dataset()
            frame.PixelValueTransformationSequence = Sequence([item])
            frames.append(frame)
        dataset = image(
            tmp_path,
            np.concatenate([SAMPLES, SAMPLES]),
            Rows=ROWS,
            NumberOfFrames=2,
            RescaleSlope=None,
            RescaleIntercept=None,
            PerFrameFunctionalGroupsSequence=Sequence(frames),
        )
        for frame, slope in enumerate((1, 2)):
            values, _ = hounsfield_units(dataset, "image.dcm", frame)
            np.testing.assert_array_equal(values, SAMPLES.astype(float) * slope - slope)

    @pytest.mark.parametrize(
        ("attributes", "fault"),
        [
            (
                {"RescaleSlope": None},
                ("ct.not-hounsfield", "RescaleSlope", "0028,1053", "ModalityLUTSequence"),
            ),
            ({"RescaleSlope": 0}, ("dicom.malformed-header", "RescaleSlope", "0028,1053", "0")),
            ({"RescaleType": "ED"}, ("ct.not-hounsfield", "RescaleType", "0028,1054", "ED")),
            ({"RescaleType": "Z_EFF"}, ("ct.not-hounsfield", "RescaleType")),
        ],
    )
    def test_no_hounsfield_units(
        self, tmp_path: Path, attributes: dict[str, Any], fault: tuple[str, ...]
    ) -> None:
        with raises(InputError, *fault):
            hounsfield_units(image(tmp_path, SAMPLES, **attributes), "image.dcm")


def palette(entries: list[np.ndarray], bits: int = 16, first: int = 0) -> dict[str, Any]:
    attributes: dict[str, Any] = {"PhotometricInterpretation": "PALETTE COLOR", "RescaleIntercept": 0}
    for colour, numbers in zip(("Red", "Green", "Blue"), entries, strict=True):
        keyword = f"{colour}PaletteColorLookupTable"
        attributes[f"{keyword}Descriptor"] = element(
            f"{keyword}Descriptor", "US", [numbers.size, first, bits]
        )
        attributes[f"{keyword}Data"] = element(f"{keyword}Data", "OW", numbers.tobytes())
    return attributes


class TestGreyInColour:
    @pytest.mark.parametrize("bits", [8, 16])
    @pytest.mark.parametrize("first", [0, 40])
    def test_grey_palette(self, tmp_path: Path, bits: int, first: int) -> None:
        numbers = np.arange(256)[::-1].astype(np.uint8 if bits == 8 else np.uint16) * (
            1 if bits == 8 else 257
        )
        indices = (SAMPLES % 256).astype(np.uint8)
        dataset = image(
            tmp_path, indices, BitsStored=8, HighBit=7, **palette([numbers] * 3, bits=bits, first=first)
        )
        pixels = read_pixels(dataset, "image.dcm")
        expected = (255 - np.clip(indices.astype(int) - first, 0, 255)) * (1 if bits == 8 else 257)
        np.testing.assert_array_equal(pixels.values, expected)
        assert pixels.rising is False

    def test_palette_of_4096_entries_of_8_bits(self, tmp_path: Path) -> None:
        numbers = (np.arange(4096) // 16).astype(np.uint8)
        dataset = image(tmp_path, SAMPLES, **palette([numbers] * 3, bits=8))
        np.testing.assert_array_equal(read_pixels(dataset, "image.dcm").values, SAMPLES // 16)

    def test_segmented_palette(self, tmp_path: Path) -> None:
        """Discrete 0, then a line to 65535 in 255 steps (PS3.3 C.7.9.2)."""
        attributes: dict[str, Any] = {"PhotometricInterpretation": "PALETTE COLOR"}
        for colour in ("Red", "Green", "Blue"):
            keyword = f"{colour}PaletteColorLookupTable"
            attributes[f"{keyword}Descriptor"] = element(f"{keyword}Descriptor", "US", [256, 0, 16])
            segments = np.array([0, 1, 0, 1, 255, 65535], np.uint16)
            attributes[f"Segmented{keyword}Data"] = element(
                f"Segmented{keyword}Data", "OW", segments.tobytes()
            )
        indices = (SAMPLES % 256).astype(np.uint8)
        dataset = image(tmp_path, indices, BitsStored=8, HighBit=7, RescaleIntercept=0, **attributes)
        np.testing.assert_array_equal(read_pixels(dataset, "image.dcm").values, indices.astype(float) * 257)

    def test_coloured_palette(self, tmp_path: Path) -> None:
        numbers = np.arange(256, dtype=np.uint16)
        attributes = palette([numbers, numbers, numbers[::-1].copy()])
        dataset = image(tmp_path, (SAMPLES % 256).astype(np.uint8), BitsStored=8, HighBit=7, **attributes)
        with raises(InputError, "xray.colour", "PALETTE COLOR"):
            read_pixels(dataset, "image.dcm")

    @pytest.mark.parametrize("bits", [8, 16])
    @pytest.mark.parametrize("planar", [0, 1])
    @pytest.mark.parametrize("kind", ["RGB", "YBR_FULL"])
    def test_channels(self, tmp_path: Path, bits: int, planar: int, kind: str) -> None:
        dtype = np.uint8 if bits == 8 else np.uint16
        grey = (SAMPLES * (16 if bits == 16 else 1)).astype(dtype)
        other = grey if kind == "RGB" else np.full_like(grey, 2 ** (bits - 1))
        channels = np.stack([grey, other, other], axis=-1)
        attributes = {"SamplesPerPixel": 3, "PhotometricInterpretation": kind, "PlanarConfiguration": planar}
        attributes |= {"BitsStored": bits, "HighBit": bits - 1, "RescaleIntercept": 0}
        stored = np.moveaxis(channels, -1, 0) if planar else channels

        def read(pixels: np.ndarray) -> np.ndarray:
            dataset = image(tmp_path, pixels, Rows=ROWS, Columns=COLUMNS, **attributes)
            return read_pixels(dataset, "image.dcm").values

        np.testing.assert_array_equal(read(stored), grey)
        stored = stored.copy()
        stored[(2, 3, 4) if planar else (3, 4, 2)] ^= 1
        with raises(InputError, "xray.colour", kind):
            read(stored)


class TestMeaning:
    """What pixels mean after a table, in an X-ray: polarity and scale by the header."""

    @staticmethod
    def read(path: Path, modality: str, **attributes: Any) -> XRay:
        dataset = image(path, SAMPLES, RescaleIntercept=None, RescaleSlope=None, **attributes)
        dataset.SOPClassUID = DigitalXRayImageStorageForPresentation
        dataset.file_meta.MediaStorageSOPClassUID = dataset.SOPClassUID
        dataset.Modality = modality
        dataset.DistanceSourceToDetector, dataset.ImagerPixelSpacing = 1000, [0.4, 0.5]
        dataset.save_as(path / "xray.dcm")
        return XRay.read(path / "xray.dcm")

    def test_falling_table_of_a_radiograph(self, tmp_path: Path) -> None:
        """MONOCHROME2 is about what comes out of the table: bone is bright."""
        falling = (4095 - np.arange(4096)).astype(np.uint16)
        xray = self.read(tmp_path, "CR", ModalityLUTSequence=table(falling, kind="US"))
        np.testing.assert_array_equal(xray.pixels, 4095 - SAMPLES.astype(float))
        assert xray.polarity == "dark_air"
        assert xray.provenance["pixels"] == "through ModalityLUTSequence (0028,3000)"

    def test_sign_is_about_what_goes_into_the_table(self, tmp_path: Path) -> None:
        falling = (4095 - np.arange(4096)).astype(np.uint16)
        sequence = table(falling, kind="US")
        xray = self.read(tmp_path, "DX", ModalityLUTSequence=sequence, PixelIntensityRelationshipSign=1)
        assert xray.polarity == "dark_air"

    def test_curved_table_leaves_the_scale_open(self, tmp_path: Path) -> None:
        curved = np.sqrt(np.arange(4096) * 4096).astype(np.uint16)
        with pytest.warns(UserWarning, match=r"PixelIntensityRelationship .*`pixel_scale` overrides"):
            xray = self.read(
                tmp_path,
                "DX",
                ModalityLUTSequence=table(curved, kind="US"),
                PixelIntensityRelationship="LIN",
                PixelIntensityRelationshipSign=1,
            )
        assert xray.provenance["pixel_scale"].startswith("assumed")

    @pytest.mark.parametrize("modality", ["XA", "RF"])
    def test_fluoroscopy_is_not_put_through_it(self, tmp_path: Path, modality: str) -> None:
        """PS3.3 C.8.7.1.1.2: there the table leads from stored pixels to the beam's intensity."""
        squared = (np.arange(4096) ** 2 // 4096).astype(np.uint16)
        xray = self.read(tmp_path, modality, ModalityLUTSequence=table(squared, kind="US"))
        np.testing.assert_array_equal(xray.pixels, SAMPLES)
        assert xray.polarity == "bright_air"


def test_series(tmp_path: Path) -> None:
    """A whole CT whose slices need every step: left-aligned words, undeclared overlays, padding, a table."""
    entries = (3000 - np.arange(4096)).astype(np.int16)
    for index in range(3):
        words = ((SAMPLES + index) << 4) | (np.arange(COLUMNS) % 2).astype(np.uint16)
        words[:2, :2] = 4095 << 4
        dataset = image(
            tmp_path,
            words,
            HighBit=15,
            RescaleSlope=None,
            RescaleIntercept=None,
            ModalityLUTSequence=table(entries),
            PixelPaddingValue=element("PixelPaddingValue", "US", 4095),
            ImagePositionPatient=[0, 0, 2 * index],
            ImageOrientationPatient=[1, 0, 0, 0, 1, 0],
            PixelSpacing=[1, 1],
            SeriesInstanceUID="1.2.3",
            StudyInstanceUID="1.2",
            FrameOfReferenceUID="1.2.4",
            InstanceNumber=index + 1,
        )
        (tmp_path / "ct").mkdir(exist_ok=True)
        dataset.save_as(tmp_path / "ct" / f"{index}.dcm")
    volume = Volume.read(tmp_path / "ct")
    assert volume.shape == (COLUMNS, ROWS, 3)
    for index in range(3):
        expected = 3000.0 - (SAMPLES + index)
        expected[:2, :2] = -1000
        np.testing.assert_array_equal(volume.hu[:, :, index].T, expected)
