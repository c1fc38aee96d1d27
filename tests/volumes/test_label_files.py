"""Layers of .seg.nrrd, volumes of channels, and the names that come with label maps."""

from __future__ import annotations

import json
from pathlib import Path

import nibabel as nib
import numpy as np
import pytest
import SimpleITK as sitk

from isoclinic.errors import InputError
from isoclinic.volumes import GeometryWarning, Volume
from raising import raises

from .label_scenes import AFFINE, LABELS, ct, nifti

NAMES = {1: "hip_left", 2: "Kreuzbein – größer"}
LPS = np.diag([-1.0, -1, 1, 1])


def itk_image(values: np.ndarray, *, vector: bool = False) -> sitk.Image:
    """Values [nx, ny, nz] or [nx, ny, nz, layer] where `AFFINE` puts them."""
    order = (2, 1, 0, 3) if values.ndim == 4 else (2, 1, 0)
    image = sitk.GetImageFromArray(np.ascontiguousarray(values.transpose(order)), isVector=vector)
    lps = LPS @ AFFINE
    spacing = np.linalg.norm(lps[:3, :3], axis=0)
    image.SetSpacing(spacing.tolist())
    image.SetDirection((lps[:3, :3] / spacing).ravel().tolist())
    image.SetOrigin(lps[:3, 3].tolist())
    return image


def seg_nrrd(path: Path, values: np.ndarray, **fields: str) -> Path:
    image = itk_image(values, vector=values.ndim == 4)
    for key, value in fields.items():
        image.SetMetaData(key, value)
    sitk.WriteImage(image, str(path), useCompression=True)
    return path


def read(folder: Path, labels: Path) -> Volume:
    return Volume.read(ct(folder), labels=labels)


# .seg.nrrd ----------------------------------------------------------------------------------------------


def test_segments_of_one_layer(tmp_path: Path) -> None:
    path = seg_nrrd(
        tmp_path / "s.seg.nrrd",
        LABELS * 5,
        **{"Segment0_Name": NAMES[1], "Segment0_LabelValue": "5", "Segment0_Layer": "0"},
        **{"Segment1_Name": NAMES[2], "Segment1_LabelValue": "10", "Segment1_Layer": "0"},
    )
    volume = read(tmp_path, path)
    assert volume.label_names == {5: NAMES[1], 10: NAMES[2]}
    np.testing.assert_array_equal(volume.labels, LABELS * 5)


@pytest.mark.parametrize(
    "values", [("1", "1"), ("3", "4"), (None, None)], ids=["equal", "own", "before 4.11"]
)
def test_segments_in_layers(tmp_path: Path, values) -> None:
    """Slicer counts label values anew in every layer; before 4.11 it had a layer a segment and no values."""
    layers = np.stack([(LABELS == 2) * int(values[1] or 1), (LABELS == 1) * int(values[0] or 1)], axis=-1)
    fields = {"Segment0_Name": "first", "Segment1_Name": "second"}
    if values[0] is not None:
        fields |= {"Segment0_Layer": "1", "Segment1_Layer": "0"}
        fields |= {"Segment0_LabelValue": values[0], "Segment1_LabelValue": values[1]}
    volume = read(tmp_path, seg_nrrd(tmp_path / "s.seg.nrrd", layers.astype(np.uint8), **fields))
    named = {name: label for label, name in volume.label_names.items()}
    first = 1 if values[0] is not None else 2
    np.testing.assert_array_equal(volume.labels == named["first"], first == LABELS)
    np.testing.assert_array_equal(volume.labels == named["second"], 3 - first == LABELS)
    assert set(named.values()) == ({3, 4} if values == ("3", "4") else {1, 2})


def test_overlapping_layers_are_said(tmp_path: Path) -> None:
    layers = np.stack([LABELS == 1, LABELS > 0], axis=-1).astype(np.uint8)
    fields = {"Segment0_Name": "hip", "Segment0_Layer": "0", "Segment0_LabelValue": "1"}
    fields |= {"Segment1_Name": "bones", "Segment1_Layer": "1", "Segment1_LabelValue": "1"}
    path = seg_nrrd(tmp_path / "s.seg.nrrd", layers, **fields)
    with pytest.warns(GeometryWarning, match=r"s\.seg\.nrrd: structures overlap"):
        volume = read(tmp_path, path)
    np.testing.assert_array_equal(volume.labels, LABELS)


def test_a_layer_that_does_not_exist(tmp_path: Path) -> None:
    layers = np.stack([LABELS == 1, LABELS == 2], axis=-1).astype(np.uint8)
    path = seg_nrrd(tmp_path / "s.seg.nrrd", layers, Segment0_Name="hip", Segment0_Layer="2")
    with raises(InputError, "labels.malformed-header", "s.seg.nrrd", "hip", "2"):
        read(tmp_path, path)
    path = seg_nrrd(tmp_path / "t.seg.nrrd", layers, Segment0_Name="hip", Segment0_Layer="two")
    with raises(InputError, "labels.malformed-names", "t.seg.nrrd", "Segment0"):
        read(tmp_path, path)


# Channels -----------------------------------------------------------------------------------------------

ONE_HOT = np.stack([LABELS == 0, LABELS == 1, LABELS == 2], axis=-1).astype(np.uint8)


@pytest.mark.parametrize("first", [0, 1], ids=["one-hot with background", "masks only"])
@pytest.mark.parametrize("write", ["labels.nii.gz", "labels.nrrd"])
def test_channels_become_labels_and_that_is_said(tmp_path: Path, write, first) -> None:
    channels, path = ONE_HOT[..., first:], tmp_path / write
    if write.endswith(".nrrd"):
        sitk.WriteImage(itk_image(channels, vector=True), str(path))
    else:
        nifti(path, channels)
    background = ", the first of them as background" if first == 0 else ""
    with pytest.warns(GeometryWarning, match=f"has {3 - first} masks .* read as labels 1 to 2{background}$"):
        volume = read(tmp_path, path)
    np.testing.assert_array_equal(volume.labels, LABELS)


def test_channels_that_are_ambiguous_or_no_masks(tmp_path: Path) -> None:
    with raises(InputError, "labels.not-labels", "a.nii", "3"):
        read(tmp_path, nifti(tmp_path / "a.nii", ONE_HOT[..., ::-1]))
    several = np.stack([LABELS, LABELS], axis=-1)
    with raises(InputError, "labels.not-labels", "b.nii", "2", "0"):
        read(tmp_path, nifti(tmp_path / "b.nii", several))


def test_a_fourth_dimension_of_one(tmp_path: Path) -> None:
    volume = read(tmp_path, nifti(tmp_path / "labels.nii", LABELS[..., None]))
    np.testing.assert_array_equal(volume.labels, LABELS)


# Names --------------------------------------------------------------------------------------------------

TOTAL_SEGMENTATOR = """<?xml version="1.0" encoding="UTF-8"?> <CaretExtension>
  <Date><![CDATA[2013-07-14T05:45:09]]></Date>
  <VolumeInformation Index="0">
    <LabelTable>
      <Label Key="1" Red="255" Green="0" Blue="0" Alpha="255"><![CDATA[hip_left]]></Label>
      <Label Key="2" Red="0" Green="255" Blue="0" Alpha="255"><![CDATA[Kreuzbein – größer]]></Label>
    </LabelTable>
    <StudyMetaDataLinkSet></StudyMetaDataLinkSet>
    <VolumeType><![CDATA[Label]]></VolumeType>
  </VolumeInformation></CaretExtension>
"""


def with_extension(path: Path, content: str, code: int) -> Path:
    image = nib.Nifti1Image(LABELS, AFFINE)
    image.header.extensions.append(nib.nifti1.Nifti1Extension(code, content.encode()))
    nib.save(image, path)
    return path


@pytest.mark.parametrize("code", [0, 30])
def test_names_in_the_nifti_extension(tmp_path: Path, code: int) -> None:
    """TotalSegmentator writes code 0, Caret 30."""
    path = with_extension(tmp_path / "labels.nii.gz", TOTAL_SEGMENTATOR, code)
    assert read(tmp_path, path).label_names == NAMES
    (tmp_path / "labels.json").write_text('{"1": "left", "2": "right"}')
    assert read(tmp_path, path).label_names == {1: "left", 2: "right"}  # who writes a file means it


@pytest.mark.parametrize("damage", [('Key="1"', 'Key="one"'), ('Key="1"', ""), ("</Label>", "")])
def test_a_damaged_label_table(tmp_path: Path, damage) -> None:
    path = with_extension(tmp_path / "labels.nii", TOTAL_SEGMENTATOR.replace(*damage), 0)
    with raises(InputError, "labels.unreadable", "labels.nii"):
        read(tmp_path, path)


def test_extensions_about_something_else(tmp_path: Path) -> None:
    path = with_extension(tmp_path / "labels.nii", '{"made": "by hand"}', 6)
    assert read(tmp_path, path).label_names == {}


ITK_SNAP = """\
################################################
# ITK-SnAP Label Description File
# IDX   -R-  -G-  -B-  -A--  VIS MSH  LABEL
################################################
    0     0    0    0        0  0  0    "Clear Label"
    1   255    0    0      0.5  1  1    "hip_left"
    2     0  255    0        1  1  1    "Kreuzbein – größer"
"""
COLOUR_TABLE = (
    "# Color table file\n0 background 0 0 0 0\n1 hip_left 9 8 7 255\n2 Kreuzbein – größer 1 2 3 255\n"
)
NAME_FILES = {
    "labels.json": json.dumps({"1": NAMES[1], "2": NAMES[2]}),
    "labels.json of nnU-Net": json.dumps(
        {"channel_names": {}, "labels": {"background": 0, NAMES[1]: 1, NAMES[2]: 2}}
    ),
    "labels.json the other way round": json.dumps({NAMES[1]: 1, NAMES[2]: 2}),
    "labels.txt of ITK-SNAP": ITK_SNAP,
    "labels.label": ITK_SNAP,
    "labels.ctbl": COLOUR_TABLE,
    "labels.txt of FreeSurfer": COLOUR_TABLE,
    "labels.tsv": f"index\tname\tabbreviation\n1\t{NAMES[1]}\thl\n2\t{NAMES[2]}\tk\n",
    "labels.csv": f"LabelValue,Name,Color_R\n1,{NAMES[1]},5\n2,{NAMES[2]},6\n",
}


@pytest.mark.parametrize("encoding", ["utf-8", "utf-8-sig", "utf-16"])
@pytest.mark.parametrize("ends", ["\n", "\r\n", "\r"], ids=["unix", "windows", "old mac"])
@pytest.mark.parametrize("kind", NAME_FILES)
def test_names_in_a_file_beside(tmp_path: Path, kind, ends, encoding) -> None:
    text = NAME_FILES[kind].replace("\n", ends)
    (tmp_path / kind.split()[0]).write_bytes(text.encode(encoding))
    assert read(tmp_path, nifti(tmp_path / "labels.nii.gz", LABELS)).label_names == NAMES


def test_files_beside_that_are_about_something_else(tmp_path: Path) -> None:
    """A text is nobody's claim to name structures; a JSON file might be meant to."""
    path = nifti(tmp_path / "labels.nii.gz", LABELS)
    (tmp_path / "labels.txt").write_text("1 of 2 label maps of Tuesday\n")
    (tmp_path / "labels.csv").write_text("case,dice\n1,0.9\n")
    (tmp_path / "labels.tsv").write_bytes(b"\xff\x00\x01")
    assert read(tmp_path, path).label_names == {}
    (tmp_path / "labels.json").write_text('{"Modality": "CT", "SliceThickness": 0.7}')
    with pytest.warns(GeometryWarning, match=r"labels\.json.* names no structures"):
        assert read(tmp_path, path).label_names == {}
