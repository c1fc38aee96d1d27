"""The ledger: what is appended is there, what was written by half is not, and nothing is mixed."""

import json
from dataclasses import replace
from pathlib import Path

import pytest
import torch

from isoclinic import Camera, InputError, UsageError
from isoclinic.sequences import Frame, FrameRecord, Ledger, StructureRecord
from isoclinic.sequences.ledger import PARTS, LedgerLine

KEY = {name: f"digest of {name}" for name in PARTS}
CAMERA = Camera.from_pixel_spacing(width=32, height=24, pixel_spacing_mm=(2.0, 2.0), sdd_mm=1000.0)


def record(index: int) -> FrameRecord:
    pose = torch.eye(4, dtype=torch.float64)
    pose[:3, 3] = torch.tensor([0.1, 1 / 3, 600.0 + index])
    return FrameRecord(
        index=index,
        file="run.dcm",
        number=index,
        time_s=index / 15,
        taken="10:11:12.000",
        status="converged",
        camera_from_world=pose,
        further_from_world=(pose + torch.tensor([[0.0, 0, 0, 1 / 7]] * 3 + [[0.0] * 4]),),
        cameras=(CAMERA,),
        expected_error_mm=0.5,
        expected_error_by_axis_mm=(0.1, 0.2, 0.4),
        expected_rotation_deg=0.1,
        edges=0.9,
        searched=index == 0,
        structures={
            "femur": StructureRecord(
                status="doubtful",
                camera_from_world=pose,
                centroid_world=(1.0, 2.0, 3.0),
                expected_error_mm=None,
                doubts=("it is blurred — hardly visible",),
            )
        },
    )


def same(one: FrameRecord, other: FrameRecord) -> bool:
    return one.document() == other.document()


@pytest.fixture
def ledger(tmp_path) -> Ledger:
    made = Ledger(tmp_path / "poses.jsonl", KEY)
    made.begin(3)
    for index in range(3):
        made.append(LedgerLine(record=record(index), state={"index": index + 1}))
    return made


def test_everything_comes_back_exactly(ledger):
    lines, note = ledger.resume()
    assert not note and [line.state["index"] for line in lines] == [1, 2, 3]
    for index, line in enumerate(lines):
        assert same(line.record, record(index))
        assert torch.equal(line.record.camera_from_world, record(index).camera_from_world)
        assert torch.equal(line.record.pose_in(1), record(index).pose_in(1))
        assert line.record.pose_in(2) is None
        assert line.record.cameras == (CAMERA,)
        assert not line.record.right and line.record.all_doubts == ("femur: it is blurred — hardly visible",)


def test_an_unusable_frame_comes_back(tmp_path):
    ledger = Ledger(tmp_path / "poses.jsonl", KEY)
    ledger.begin(1)
    bad = FrameRecord(index=0, file="x.png", doubts=("it is blank",))
    ledger.append(LedgerLine(record=bad, state={}))
    ((line,), _) = ledger.resume()
    assert same(line.record, bad) and not line.record.usable and not line.record.right


@pytest.mark.parametrize("cut", [1, 2, 40, 400])
def test_a_line_written_by_half_is_dropped_and_told(ledger, cut):
    whole = ledger.path.read_bytes()
    kept = b"".join(whole.splitlines(keepends=True)[:3])
    ledger.path.write_bytes(whole[:-cut])
    lines, note = ledger.resume()
    assert "written by half" in note
    assert len(lines) == 2 and ledger.path.read_bytes() == kept
    ledger.append(LedgerLine(record=record(2), state={"index": 3}))
    assert ledger.path.read_bytes() == whole
    assert ledger.resume()[1] == ""


def test_zeros_after_a_power_cut_are_a_half_written_line(ledger):
    whole = ledger.path.read_bytes()
    ledger.path.write_bytes(whole + bytes(300))
    lines, note = ledger.resume()
    assert len(lines) == 3 and "written by half" in note and ledger.path.read_bytes() == whole


def test_damage_before_the_last_line_is_refused(ledger):
    lines = ledger.path.read_bytes().splitlines(keepends=True)
    for bad in (b"{\n", b"[1, 2]\n", b"\xff\xfe\n", b'{"frame": 1}\n'):
        ledger.path.write_bytes(b"".join([*lines[:2], bad, *lines[3:]]))
        with pytest.raises(InputError, match=r"line [23] of"):
            ledger.resume()
    ledger.path.write_bytes(b"".join([lines[0], lines[2], lines[1]]))
    with pytest.raises(InputError, match="not the record of frame 0"):
        ledger.resume()


@pytest.mark.parametrize("change", [{"status": "unusable"}, {"camera_from_world": [[1]]}, {"status": "fine"}])
def test_records_that_contradict_themselves_are_refused(ledger, change):
    lines = ledger.path.read_text().splitlines()
    lines[2] = json.dumps({**json.loads(lines[2]), **change})
    ledger.path.write_text("\n".join([*lines, ""]))
    with pytest.raises(InputError, match="line 3"):
        ledger.resume()


@pytest.mark.parametrize("part", PARTS)
def test_other_inputs_are_refused_by_name(ledger, part):
    other = Ledger(ledger.path, {**KEY, part: "another digest"})
    with pytest.raises(UsageError, match=PARTS[part]):
        other.resume()
    assert len(ledger.resume()[0]) == 3


def test_two_processes_do_not_write_to_one_ledger(ledger):
    other = Ledger(ledger.path, KEY)
    other.resume()
    other.append(LedgerLine(record=record(3), state={}))
    content = ledger.path.read_bytes()
    with pytest.raises(InputError, match="another program"):
        ledger.append(LedgerLine(record=record(3), state={}))
    assert ledger.path.read_bytes() == content
    other.append(LedgerLine(record=record(4), state={}))
    ledger.path.unlink()
    with pytest.raises(InputError, match="cannot be written"):
        other.append(LedgerLine(record=record(5), state={}))


def test_other_files_are_no_ledger(tmp_path):
    ledger = Ledger(tmp_path / "poses.jsonl", KEY)
    for content in (b"", b"no newline", b'{"format": "something"}\n', b"text\nmore\n"):
        ledger.path.write_bytes(content)
        with pytest.raises(InputError):
            ledger.resume()
    ledger.path.unlink()
    with pytest.raises(InputError, match="cannot be read"):
        ledger.resume()


def test_a_place_that_cannot_be_written(tmp_path):
    ledger = Ledger(tmp_path / "missing" / "poses.jsonl", KEY)
    with pytest.raises(InputError, match="cannot be written"):
        ledger.begin(3)


def test_a_full_disk_is_told(ledger, monkeypatch):
    def full(_: int) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr("os.fsync", full)
    with pytest.raises(InputError, match="No space left"):
        ledger.append(LedgerLine(record=record(3), state={}))


def test_repeated_frames_have_the_result_but_not_the_marks():
    first = replace(record(0), jumped=True)
    again = first.repeated(Frame(index=1, path=Path("run.dcm"), number=1, time_s=0.5))
    assert (again.index, again.number, again.time_s, again.unchanged) == (1, 1, 0.5, True)
    assert not (again.searched or again.jumped)
    assert again.camera_from_world is first.camera_from_world and again.structures == first.structures
