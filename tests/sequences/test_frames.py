"""The frames of a run: which files, in which order, taken when."""

import json
import shutil

import numpy as np
import pytest
from PIL import Image

from isoclinic import Camera, InputError, UsageError, XRayOptions
from isoclinic.sequences import Frames
from run_files import write_run

CAMERA = Camera.from_pixel_spacing(width=32, height=24, pixel_spacing_mm=(2.0, 2.0), sdd_mm=1000.0)
PIXELS = np.random.default_rng(0).integers(100, 60000, (12, 24, 32)).astype(np.uint16)
pytestmark = pytest.mark.filterwarnings("ignore::isoclinic.volumes.GeometryWarning")


def write_single(path, index, **attributes):
    return write_run(path, PIXELS[index : index + 1], CAMERA, NumberOfFrames=None, **attributes)


def write_png(path, index):
    Image.fromarray(PIXELS[index]).save(path)
    path.with_suffix(".json").write_text(json.dumps({"sdd_mm": 1000, "pixel_spacing_mm": [2.0, 2.0]}))


def test_a_file_of_many_frames(tmp_path):
    path = write_run(tmp_path / "run.dcm", PIXELS, CAMERA, FrameTime="40", AcquisitionTime="101112")
    frames = Frames([path])
    assert len(frames) == 12 and [frame.index for frame in frames] == list(range(12))
    assert [frame.number for frame in frames] == list(range(12))
    assert frames[5].time_s == pytest.approx(0.2) and frames[5].taken == "10:11:12.200"
    assert frames[5].name == "run.dcm, frame 5" and frames.title == "run.dcm"
    np.testing.assert_array_equal(frames.read(5).pixels, PIXELS[5])
    assert frames.files == (path,) and not frames.notes


def test_a_folder_in_natural_order(tmp_path):
    for index, name in enumerate(["x1.png", "x2.png", "x10.png", "X11.png", "x100.png"]):
        write_png(tmp_path / name, index)
    (tmp_path / "notes.txt").write_text("beside")
    (tmp_path / ".hidden.png").write_bytes(b"")
    frames = Frames([tmp_path])
    assert [frame.path.name for frame in frames] == ["x1.png", "x2.png", "x10.png", "X11.png", "x100.png"]
    for index in range(5):
        np.testing.assert_array_equal(frames.read(index).pixels, PIXELS[index])
    assert all(frame.time_s is None and frame.number is None for frame in frames)
    assert frames.title == tmp_path.name


def test_files_with_times_that_follow_their_names(tmp_path):
    for index in range(3):
        time = f"1011{10 + index}.5"
        write_single(tmp_path / f"{index}.dcm", index, ContentTime=time, AcquisitionTime="101100")
    frames = Frames([tmp_path])
    # All have one acquisition time, that of the run: the content times tell them apart.
    assert [frame.time_s for frame in frames] == [0, 1, 2]
    assert frames[1].taken == "10:11:11.500" and not frames.notes


def test_names_that_mean_nothing_give_way_to_times(tmp_path):
    order = {"1.2.99.dcm": 0, "1.2.4.dcm": 2, "1.2.57.dcm": 1}
    for name, index in order.items():
        write_single(tmp_path / name, index, AcquisitionDateTime=f"2024010110111{index}")
    frames = Frames([tmp_path])
    assert [order[frame.path.name] for frame in frames] == [0, 1, 2]
    assert "that of AcquisitionDateTime" in frames.notes[0]
    assert [frame.time_s for frame in frames] == [0, 1, 2]


def test_a_file_without_a_time_leaves_all_without(tmp_path):
    for index in range(3):
        write_single(tmp_path / f"{index}.dcm", index, AcquisitionTime=f"10111{index}")
    write_png(tmp_path / "3.png", 3)
    frames = Frames([tmp_path])
    assert [frame.time_s for frame in frames] == [None] * 4
    assert len(frames) == 4


def test_times_that_go_back_are_not_used(tmp_path):
    first = write_run(
        tmp_path / "a.dcm", PIXELS[:3], CAMERA, FrameTime="1000", AcquisitionDateTime="20240101101110"
    )
    second = write_run(
        tmp_path / "b.dcm", PIXELS[3:6], CAMERA, FrameTime="1000", AcquisitionDateTime="20240101101105"
    )
    frames = Frames([first, second])
    assert [frame.time_s for frame in frames] == [None] * 6
    frames = Frames([second, first])
    assert [frame.time_s for frame in frames] == [0, 1, 2, 5, 6, 7]


def test_frame_times_that_cannot_be_are_told(tmp_path):
    path = write_run(tmp_path / "run.dcm", PIXELS, CAMERA, FrameTimeVector=[0, 40])
    assert "2 entries for 12 frames" in Frames([path]).notes[0]


def test_a_file_that_cannot_be_opened_is_a_bad_frame(tmp_path):
    for index in range(3):
        write_single(tmp_path / f"{index}.dcm", index)
    (tmp_path / "1.dcm").write_bytes((tmp_path / "1.dcm").read_bytes()[:200])
    write_png(tmp_path / "3.png", 3)
    (tmp_path / "3.png").write_bytes(b"\x89PNG\r\n\x1a\n and no more")
    frames = Frames([tmp_path])
    assert len(frames) == 4
    for index in (1, 3):
        with pytest.raises(InputError):
            frames.read(index)
    for index in (0, 2):
        np.testing.assert_array_equal(frames.read(index).pixels, PIXELS[index])
    assert frames.first_readable().path == tmp_path / "0.dcm"


def test_frames_that_lack_their_geometry_are_refused_at_once(tmp_path):
    for index in range(3):
        Image.fromarray(PIXELS[index]).save(tmp_path / f"{index}.png")
    with pytest.raises(InputError, match="sdd_mm"):
        Frames([tmp_path]).first_readable()
    options = XRayOptions(sdd_mm=900.0, pixel_spacing_mm=(1.0, 1.0))
    assert Frames([tmp_path], options).first_readable().camera.sdd_mm == 900


def test_several_planes_in_a_picture_are_refused_by_name(tmp_path):
    pages = [Image.fromarray(each) for each in PIXELS[:3]]
    pages[0].save(tmp_path / "stack.tif", save_all=True, append_images=pages[1:])
    with pytest.raises(InputError, match="one file for each frame"):
        Frames([tmp_path / "stack.tif"]).first_readable()


def test_nothing_there(tmp_path):
    with pytest.raises(InputError, match="does not exist"):
        Frames([tmp_path / "none.dcm"])
    with pytest.raises(InputError, match="holds no image"):
        Frames([tmp_path])
    (tmp_path / "sub").mkdir()
    with pytest.raises(InputError, match="holds no image"):
        Frames([tmp_path])
    with pytest.raises(UsageError, match="frame"):
        Frames([tmp_path], XRayOptions(frame=3))


def test_geometry_that_changes_from_file_to_file(tmp_path):
    for index in range(3):
        write_single(tmp_path / f"{index}.dcm", index)
    dataset = write_run(
        tmp_path / "1.dcm", PIXELS[1:2], CAMERA, NumberOfFrames=None, DistanceSourceToDetector="1100"
    )
    assert [Frames([tmp_path]).read(index).camera.sdd_mm for index in range(3)] == [1000, 1100, 1000]
    shutil.copy(dataset, tmp_path / "4.dcm")
    assert len(Frames([tmp_path])) == 4


@pytest.mark.filterwarnings("ignore:Expected|Unknown|The value")
def test_times_that_cannot_be_decoded_are_told_and_left(tmp_path):
    path = write_run(tmp_path / "run.dcm", PIXELS, CAMERA, FrameTime="40")
    single = write_single(tmp_path / "single.dcm", 0, AcquisitionTime="101112")
    for file, tag in ((path, b"\x18\x00\x63\x10DS"), (single, b"\x08\x00\x32\x00TM")):
        content = file.read_bytes()
        assert content.count(tag) == 1
        file.write_bytes(content.replace(tag, tag[:-2] + b"DQ"))
    frames = Frames([path])
    assert frames[1].time_s is None and "cannot be read" in frames.notes[0]
    np.testing.assert_array_equal(frames.read(1).pixels, PIXELS[1])
    assert Frames([single])[0].time_s is None
