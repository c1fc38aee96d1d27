"""Runs in one DICOM file: each frame as if the whole file were read, without the others in memory."""

import tracemalloc

import numpy as np
import pytest
from pydicom import dcmread
from pydicom.dataset import Dataset
from pydicom.encaps import encapsulate, generate_frames
from pydicom.uid import (
    DeflatedExplicitVRLittleEndian,
    ExplicitVRBigEndian,
    ExplicitVRLittleEndian,
    ImplicitVRLittleEndian,
    JPEG2000Lossless,
    RLELossless,
)

from isoclinic import Camera, InputError, UsageError, XRay, XRayOptions
from isoclinic.volumes import DicomRun, GeometryWarning
from run_files import run_dataset, write_run

CAMERA = Camera.from_pixel_spacing(width=48, height=40, pixel_spacing_mm=(2.0, 2.0), sdd_mm=1000.0)
PIXELS = np.random.default_rng(0).integers(100, 60000, (5, 40, 48)).astype(np.uint16)
pytestmark = pytest.mark.filterwarnings("ignore::isoclinic.volumes.GeometryWarning")


@pytest.mark.parametrize(
    "syntax",
    [
        *(ExplicitVRLittleEndian, ImplicitVRLittleEndian, ExplicitVRBigEndian),
        *(DeflatedExplicitVRLittleEndian, RLELossless, JPEG2000Lossless),
    ],
    ids=lambda syntax: syntax.name,
)
def test_every_frame_is_that_of_the_whole_file(tmp_path, syntax):
    increments = [0, 1.5, 3, 4.5, 6]
    path = write_run(
        tmp_path / "run.dcm",
        PIXELS,
        CAMERA,
        syntax,
        PositionerPrimaryAngle=10,
        PositionerSecondaryAngle=-5,
        PositionerPrimaryAngleIncrement=increments,
    )
    run = DicomRun(path)
    assert run.count == 5
    for index in (3, 0, 4, 1, 2, 3):  # in any order, and again
        frame, whole = XRay.read_frame(run, index), XRay.read(path, XRayOptions(frame=index))
        np.testing.assert_array_equal(frame.pixels, PIXELS[index])
        np.testing.assert_array_equal(whole.pixels, frame.pixels)
        assert frame.primary_angle_deg == whole.primary_angle_deg == 10 + increments[index]
        assert frame.secondary_angle_deg == whole.secondary_angle_deg == -5
        assert frame.camera == whole.camera and frame.polarity == whole.polarity
        assert frame.provenance["frame"] == f"frame {index} of 5"


def test_each_frame_has_its_own_functional_groups(tmp_path):
    groups = []
    for index in range(5):
        geometry = Dataset()
        geometry.DistanceSourceToDetector = 1000.0 + 10 * index
        group = Dataset()
        group.XRayGeometrySequence = [geometry]
        groups.append(group)
    path = write_run(tmp_path / "run.dcm", PIXELS, CAMERA, PerFrameFunctionalGroupsSequence=groups)
    run = DicomRun(path)
    assert [XRay.read_frame(run, index).camera.sdd_mm for index in range(5)] == [1000, 1010, 1020, 1030, 1040]
    assert XRay.read(path, XRayOptions(frame=3)).camera.sdd_mm == 1030


@pytest.mark.parametrize("syntax", [ExplicitVRLittleEndian, RLELossless], ids=lambda syntax: syntax.name)
def test_a_file_that_ends_early_has_the_frames_before(tmp_path, syntax):
    path = write_run(tmp_path / "run.dcm", PIXELS, CAMERA, syntax)
    path.write_bytes(path.read_bytes()[: -2 * 48 * 40 - 100])
    run = DicomRun(path)
    np.testing.assert_array_equal(XRay.read_frame(run, 2).pixels, PIXELS[2])
    with pytest.raises(InputError):
        XRay.read_frame(run, 4)
    np.testing.assert_array_equal(XRay.read_frame(run, 1).pixels, PIXELS[1])


def test_a_frame_that_cannot_be_decoded_harms_no_other(tmp_path):
    dataset = run_dataset(PIXELS, CAMERA)
    dataset.compress(JPEG2000Lossless)
    dataset.save_as(tmp_path / "run.dcm", enforce_file_format=True)
    content = bytearray((tmp_path / "run.dcm").read_bytes())
    starts = [place for place in range(len(content)) if content[place : place + 4] == b"\xff\x4f\xff\x51"]
    assert len(starts) == 5
    content[starts[2] : starts[2] + 60] = bytes(60)
    (tmp_path / "run.dcm").write_bytes(content)
    run = DicomRun(tmp_path / "run.dcm")
    with pytest.raises(InputError, match="cannot be decoded"):
        XRay.read_frame(run, 2)
    np.testing.assert_array_equal(XRay.read_frame(run, 3).pixels, PIXELS[3])


@pytest.mark.slow
def test_only_one_frame_is_in_memory(tmp_path):
    """A file of 400 frames of 128 KiB each; read as a whole it would take 50 MiB."""
    frames = np.broadcast_to(np.arange(256 * 256, dtype=np.uint16).reshape(256, 256), (400, 256, 256))
    camera = Camera.from_pixel_spacing(width=256, height=256, pixel_spacing_mm=(1.0, 1.0), sdd_mm=1000.0)
    path = write_run(tmp_path / "run.dcm", frames, camera)
    XRay.read_frame(DicomRun(path), 0)  # imports
    tracemalloc.start()
    try:
        run = DicomRun(path)
        for index in range(0, 400, 80):
            XRay.read_frame(run, index)
        _, peak = tracemalloc.get_traced_memory()
    finally:
        tracemalloc.stop()
    # A frame as float64, twice, with what is made of it.
    assert peak < 6 * 2**20


def test_reading_a_frame_leaves_the_header_alone(tmp_path):
    path = write_run(
        tmp_path / "run.dcm",
        PIXELS,
        CAMERA,
        PositionerPrimaryAngle=10,
        PositionerSecondaryAngle=0,
        PositionerPrimaryAngleIncrement=[0, 1, 2, 3, 4],
    )
    run = DicomRun(path)
    before = dcmread(path, stop_before_pixels=True)
    for index in range(5):
        XRay.read_frame(run, index)
    assert run.header == before


def test_frames_that_there_are_not(tmp_path):
    run = DicomRun(write_run(tmp_path / "run.dcm", PIXELS, CAMERA))
    for index in (-1, 5):
        with pytest.raises(UsageError, match="has frames 0 to 4"):
            XRay.read_frame(run, index)


@pytest.mark.parametrize("count", ["0", "-3", "100000000"])
def test_numbers_of_frames_that_cannot_be(tmp_path, count):
    path = write_run(tmp_path / "run.dcm", PIXELS, CAMERA, NumberOfFrames=count)
    if count == "0":  # PS3.5 has no such run; one frame is meant
        assert DicomRun(path).count == 1
        return
    with pytest.raises(InputError, match="NumberOfFrames"):
        DicomRun(path)


def test_no_image_and_no_dicom(tmp_path):
    path = write_run(tmp_path / "run.dcm", PIXELS, CAMERA, PixelData=None)
    with pytest.raises(InputError, match="without an image"):
        DicomRun(path)
    (tmp_path / "text").write_text("no DICOM at all, but a text that is long enough to have a preamble " * 4)
    assert DicomRun.of(tmp_path / "text") is None
    with pytest.raises(InputError):
        DicomRun(tmp_path / "text")


def test_without_a_preamble(tmp_path):
    path = write_run(tmp_path / "run.dcm", PIXELS, CAMERA)
    dataset = dcmread(path)
    del dataset.file_meta
    bare = tmp_path / "bare.dcm"
    dataset.save_as(bare, implicit_vr=True, little_endian=True)
    run = DicomRun.of(bare)
    assert run is not None and run.count == 5
    np.testing.assert_array_equal(XRay.read_frame(run, 3).pixels, PIXELS[3])


def test_warns_of_what_a_frame_lacks(tmp_path):
    run = DicomRun(
        write_run(tmp_path / "run.dcm", PIXELS, CAMERA, PixelIntensityRelationship=None, Modality="OT")
    )
    with pytest.warns(GeometryWarning, match="bright or dark"):
        XRay.read_frame(run, 0)


@pytest.mark.filterwarnings("ignore:Expected|Unknown|The value")
@pytest.mark.parametrize("tag", [b"\x18\x00\x10\x11DS", b"\x18\x00\x64\x11DS"], ids=["distance", "spacing"])
def test_attributes_of_no_known_type_are_refused(tmp_path, tag):
    """They are decoded when they are asked for, long after the file was opened."""
    path = write_run(tmp_path / "run.dcm", PIXELS, CAMERA)
    content = path.read_bytes()
    assert content.count(tag) == 1
    path.write_bytes(content.replace(tag, tag[:-2] + b"DQ"))
    run = DicomRun(path)
    with pytest.raises(InputError):
        XRay.read_frame(run, 1)
    with pytest.raises(InputError):
        XRay.read(path)


@pytest.mark.parametrize("syntax", [JPEG2000Lossless, RLELossless], ids=lambda syntax: syntax.name)
@pytest.mark.parametrize("table", [True, False], ids=["offsets", "no offsets"])
def test_a_frame_of_another_size_is_refused_alone(tmp_path, syntax, table):
    dataset, small = run_dataset(PIXELS, CAMERA), run_dataset(PIXELS[:1, :36, :36], CAMERA)
    dataset.compress(syntax)
    small.compress(syntax)
    frames = list(generate_frames(dataset.PixelData, number_of_frames=5))
    frames[2] = next(generate_frames(small.PixelData, number_of_frames=1))
    dataset.PixelData = encapsulate(frames, has_bot=table)
    dataset.save_as(tmp_path / "run.dcm", enforce_file_format=True)
    run = DicomRun(tmp_path / "run.dcm")
    with pytest.raises(InputError, match="cannot be decoded"):
        XRay.read_frame(run, 2)
    for index in (0, 1, 3, 4):
        np.testing.assert_array_equal(XRay.read_frame(run, index).pixels, PIXELS[index])
