"""DICOM segmentations, made after PS3.3 A.51 and C.8.20, on the grid of a CT series and on others."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pydicom
import pytest
from pydicom.dataset import Dataset, FileMetaDataset
from pydicom.pixels.utils import pixel_array
from pydicom.uid import ExplicitVRLittleEndian, RTStructureSetStorage, SegmentationStorage, generate_uid

from isoclinic.errors import InputError
from isoclinic.volumes import GeometryWarning, Volume
from raising import raises

from .label_scenes import AFFINE, LABELS, SHAPE, SPACING_MM, ct

LPS = np.diag([-1.0, -1, 1, 1])
NAMES = {1: "Left hip", 2: "Sacrum"}
# LPS position of the first pixel of slice k.
ORIGIN, STEP = (LPS @ AFFINE)[:3, 3], (LPS @ AFFINE)[:3, 2]
# Columns run along -x, rows along -y of LPS, as the axes of AFFINE do.
COSINES = [-1, 0, 0, 0, -1, 0]


def item(**attributes: Any) -> Dataset:
    dataset = Dataset()
    for keyword, value in attributes.items():
        setattr(dataset, keyword, value)
    return dataset


def frames_of(number: int) -> list[tuple[int, int, np.ndarray]]:
    """Segment, slice and image [rows, columns] of the slices that are not empty."""
    mask = number == LABELS
    return [(number, k, mask[:, :, k].T) for k in range(SHAPE[2]) if mask[:, :, k].any()]


FRAMES = [*frames_of(1), *frames_of(2)]


def segmentation(
    path: Path, frames=FRAMES, names=NAMES, kind: str = "BINARY", step=STEP, **changes: Any
) -> Path:
    """A SEG file; values of fractional frames and label maps are stored as they are, 8 bits each."""
    dataset = Dataset()
    dataset.file_meta = FileMetaDataset()
    dataset.file_meta.TransferSyntaxUID = ExplicitVRLittleEndian
    dataset.file_meta.MediaStorageSOPClassUID = dataset.SOPClassUID = SegmentationStorage
    dataset.file_meta.MediaStorageSOPInstanceUID = dataset.SOPInstanceUID = generate_uid()
    dataset.Modality, dataset.SegmentationType = "SEG", kind
    dataset.SegmentSequence = [
        item(SegmentNumber=number, SegmentLabel=name, SegmentAlgorithmType="MANUAL")
        for number, name in names.items()
    ]
    dataset.SharedFunctionalGroupsSequence = [
        item(
            PlaneOrientationSequence=[item(ImageOrientationPatient=COSINES)],
            PixelMeasuresSequence=[
                item(PixelSpacing=[SPACING_MM[1], SPACING_MM[0]], SliceThickness=SPACING_MM[2])
            ],
        )
    ]
    dataset.PerFrameFunctionalGroupsSequence = [
        item(
            PlanePositionSequence=[item(ImagePositionPatient=(ORIGIN + k * step).tolist())],
            SegmentIdentificationSequence=[item(ReferencedSegmentNumber=number)],
        )
        for number, k, _ in frames
    ]
    dataset.NumberOfFrames = len(frames)
    dataset.Rows, dataset.Columns = frames[0][2].shape
    dataset.SamplesPerPixel, dataset.PhotometricInterpretation, dataset.PixelRepresentation = (
        1,
        "MONOCHROME2",
        0,
    )
    pixels = np.array([image for *_, image in frames]).astype(np.uint8)
    bits = 1 if kind == "BINARY" else 8
    dataset.BitsAllocated, dataset.BitsStored, dataset.HighBit = bits, bits, bits - 1
    content = (np.packbits(pixels.ravel(), bitorder="little") if bits == 1 else pixels).tobytes()
    dataset.PixelData = content + b"\0" * (len(content) % 2)
    for keyword, value in changes.items():
        if value is None:
            delattr(dataset, keyword)
        else:
            setattr(dataset, keyword, value)
    dataset.save_as(path, enforce_file_format=True)
    return path


def test_the_file_is_what_pydicom_reads(tmp_path: Path) -> None:
    stored = pixel_array(segmentation(tmp_path / "s.dcm"))
    np.testing.assert_array_equal(stored, [image for *_, image in FRAMES])


@pytest.mark.parametrize("order", ["as made", "reversed", "shuffled"])
def test_frames_in_any_order_and_without_empty_ones(tmp_path: Path, order: str) -> None:
    frames = list(FRAMES[::-1] if order == "reversed" else FRAMES)
    if order == "shuffled":
        np.random.default_rng(1).shuffle(frames)  # type: ignore[arg-type]
    volume = Volume.read(ct(tmp_path), labels=segmentation(tmp_path / "s.dcm", frames))
    np.testing.assert_array_equal(volume.labels, LABELS)
    assert volume.label_names == NAMES


def test_a_folder_with_the_series_and_its_segmentation(tmp_path: Path) -> None:
    """Found by Modality, whatever the file is called."""
    (tmp_path / "study").mkdir()
    segmentation(tmp_path / "study" / "IM0042")
    (tmp_path / "study" / "notes.txt").write_text("none")
    volume = Volume.read(ct(tmp_path), labels=tmp_path / "study")
    np.testing.assert_array_equal(volume.labels, LABELS)


def test_a_file_for_every_segment(tmp_path: Path) -> None:
    (tmp_path / "s").mkdir()
    for number, name in NAMES.items():
        frames = [(1, k, image) for _, k, image in frames_of(number)]
        segmentation(tmp_path / "s" / f"{number}.dcm", frames, {1: name})
    volume = Volume.read(ct(tmp_path), labels=tmp_path / "s")
    np.testing.assert_array_equal(volume.labels, LABELS)
    assert volume.label_names == NAMES


@pytest.mark.parametrize("largest", [255, 100])
def test_fractional_segments_count_from_half_on(tmp_path: Path, largest: int) -> None:
    rng = np.random.default_rng(0)
    half = -(-largest // 2)
    frames = [
        (
            n,
            k,
            np.where(image, rng.integers(half, largest + 1, image.shape), rng.integers(0, half, image.shape)),
        )
        for n, k, image in FRAMES
    ]
    path = segmentation(tmp_path / "s.dcm", frames, kind="FRACTIONAL", MaximumFractionalValue=largest)
    with pytest.warns(GeometryWarning, match=r"s\.dcm holds fractional segments"):
        volume = Volume.read(ct(tmp_path), labels=path)
    np.testing.assert_array_equal(volume.labels, LABELS)


def test_label_maps(tmp_path: Path) -> None:
    """Supplement 243: values are segment numbers; those of padding mean none."""
    frames = [(0, k, np.where(LABELS[:, :, k].T == 0, 9, LABELS[:, :, k].T)) for k in range(SHAPE[2])]
    path = segmentation(tmp_path / "s.dcm", frames, kind="LABELMAP", PixelPaddingValue=9)
    volume = Volume.read(ct(tmp_path), labels=path)
    np.testing.assert_array_equal(volume.labels, LABELS)


@pytest.mark.parametrize("decimals", [1, 2])
def test_rounded_positions(tmp_path: Path, decimals: int) -> None:
    dataset = pydicom.dcmread(segmentation(tmp_path / "s.dcm"))
    for group in dataset.PerFrameFunctionalGroupsSequence:
        position = group.PlanePositionSequence[0]
        position.ImagePositionPatient = np.round(
            np.array(position.ImagePositionPatient) + 0.013, decimals
        ).tolist()
    dataset.save_as(tmp_path / "s.dcm")
    volume = Volume.read(ct(tmp_path), labels=tmp_path / "s.dcm")
    np.testing.assert_array_equal(volume.labels, LABELS)


def test_slices_without_a_frame_within_a_segment_are_said(tmp_path: Path) -> None:
    """It may be that they are empty, or that the CT's slices are uneven."""
    frames = [frame for frame in FRAMES if frame[:2] != (1, frames_of(1)[3][1])]
    with pytest.warns(GeometryWarning, match=r"s\.dcm: 1 slices within Left hip have no frame .* as empty"):
        volume = Volume.read(ct(tmp_path), labels=segmentation(tmp_path / "s.dcm", frames))
    expected = LABELS.copy()
    k = frames_of(1)[3][1]
    expected[:, :, k][expected[:, :, k] == 1] = 0
    np.testing.assert_array_equal(volume.labels, expected)


def test_a_single_frame_is_placed_by_its_thickness(tmp_path: Path) -> None:
    frame = frames_of(1)[2]
    volume = Volume.read(ct(tmp_path), labels=segmentation(tmp_path / "s.dcm", [frame], {1: "hip"}))
    expected = np.zeros_like(LABELS)
    expected[:, :, frame[1]] = frame[2].T
    np.testing.assert_array_equal(volume.labels, expected)


def test_segments_without_frames_are_said(tmp_path: Path) -> None:
    path = segmentation(tmp_path / "s.dcm", frames_of(1))
    with pytest.warns(GeometryWarning, match=r"s\.dcm: 1 of 2 structures are empty: Sacrum"):
        volume = Volume.read(ct(tmp_path), labels=path)
    np.testing.assert_array_equal(volume.labels, LABELS == 1)


def test_contours_are_refused_with_a_way_forward(tmp_path: Path) -> None:
    path = segmentation(tmp_path / "rs.dcm", Modality="RTSTRUCT", SOPClassUID=RTStructureSetStorage)
    (tmp_path / "study").mkdir()
    path.rename(tmp_path / "study" / path.name)
    for labels in (tmp_path / "study", tmp_path / "study" / path.name):
        with raises(InputError, "labels.contours", "rs.dcm", "RTSTRUCT", "3D Slicer"):
            Volume.read(ct(tmp_path), labels=labels)


@pytest.mark.parametrize(
    ("changes", "fault"),
    [
        ({"SegmentSequence": None}, ("labels.malformed-header", "no segment", "SegmentSequence")),
        (
            {"PerFrameFunctionalGroupsSequence": None},
            ("labels.malformed-header", "0", "PerFrameFunctionalGroupsSequence"),
        ),
        ({"SharedFunctionalGroupsSequence": None}, ("labels.malformed-header", "ImageOrientationPatient")),
        ({"PixelData": b"\0\0"}, ("labels.unreadable", "frame 0")),
        ({"Rows": 30000}, ("labels.unreadable", "frame 0")),
        ({"names": {1: "hip"}}, ("labels.malformed-header", "segment 2", "SegmentSequence")),
        ({"NumberOfFrames": 3}, ("labels.malformed-header", "3 frames")),
    ],
    ids=lambda value: next(iter(value)) if isinstance(value, dict) else "",
)
def test_damaged_segmentations_are_named(tmp_path: Path, changes, fault: tuple[str, ...]) -> None:
    path = segmentation(tmp_path / "s.dcm", **changes)
    with raises(InputError, *fault, "s.dcm"):
        Volume.read(ct(tmp_path), labels=path)


def test_uneven_frames_are_refused(tmp_path: Path) -> None:
    dataset = pydicom.dcmread(segmentation(tmp_path / "s.dcm"))
    group = dataset.PerFrameFunctionalGroupsSequence[4].PlanePositionSequence[0]
    group.ImagePositionPatient = np.add(group.ImagePositionPatient, [0, 0, 1.1]).tolist()
    dataset.save_as(tmp_path / "s.dcm")
    with raises(InputError, "labels.malformed-header", "s.dcm", "ImagePositionPatient"):
        Volume.read(ct(tmp_path), labels=tmp_path / "s.dcm")
