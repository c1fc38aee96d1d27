"""What makes two files the same image, and what does not."""

from __future__ import annotations

import pydicom
from pydicom.uid import JPEGLSLossless

from isoclinic.reception.digest import image_digest

from .conftest import content, image


def test_who_wrote_the_file_does_not_count():
    dataset = image(SOPInstanceUID="1.2.3")
    first = content(dataset)
    dataset.file_meta.SourceApplicationEntityTitle = "ELSEWHERE"
    dataset.file_meta.ImplementationVersionName = "OTHER"
    second = content(dataset)
    assert first != second and image_digest(first) == image_digest(second)


def test_pixels_header_and_transfer_syntax_count():
    one = image(SOPInstanceUID="1.2.3")
    base = content(one)
    others = [content(image(1, SOPInstanceUID="1.2.3")), content(image(SOPInstanceUID="1.2.4"))]
    # The same bytes said to be in another syntax are another image.
    one.file_meta.TransferSyntaxUID = JPEGLSLossless
    said = pydicom.filebase.DicomBytesIO()
    pydicom.filewriter.write_file_meta_info(said, one.file_meta)
    length = pydicom.dcmread(pydicom.filebase.DicomBytesIO(base)).file_meta.FileMetaInformationGroupLength
    others.append(bytes(128) + b"DICM" + said.getvalue() + base[132 + 12 + length :])
    assert len({image_digest(each) for each in (base, *others)}) == 4


def test_other_files_count_whole_and_with_what_describes_them():
    digests = [
        image_digest(b"picture"),
        image_digest(b"picture2"),
        image_digest(b"picture", {".json": b"{}"}),
        image_digest(b"picture", {".json": b"{ }"}),
        image_digest(b"picture", {".isoclinic.json": b"{}"}),
    ]
    assert len(set(digests)) == len(digests)
    assert image_digest(b"picture", {}) == digests[0]


def test_a_damaged_file_meta_information_is_no_reason_to_fail():
    whole = content(image())
    for cut in (0, 100, 130, 140, 143, 144, 200):
        assert len(image_digest(whole[:cut])) == 64
