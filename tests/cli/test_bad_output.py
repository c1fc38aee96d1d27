"""Places that cannot be written to, full disks and interruptions: whole results or none, older ones kept."""

from __future__ import annotations

import errno
import os
import resource
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from isoclinic import cli
from isoclinic.cli import register as register_command
from isoclinic.registration import register_views
from isoclinic.results import files as result_files
from warm import Warm

from .conftest import Files
from .desk import Desk, command, lay_out, refusing_to_open, tree

FORMATS = (
    "slicer.tfm",
    "itk.txt",
    "xreg.h5",
    "itk.mat",
    "opencv.json",
    "diffdrr.json",
    "nanodrr.json",
    "rtk.xml",
)
ON_DISK = "--output result --overwrite"


@pytest.fixture
def desk(run, files: Files, cases: Path, tmp_path: Path, monkeypatch) -> Desk:
    lay_out(tmp_path, files, cases)
    for name in ("old.png", "old.json", "old.tfm", "old.nii", "file"):
        (tmp_path / name).write_text("older")
    for name, content in (("result", "pose.json"), ("mixed", "thesis.tex")):
        (tmp_path / name).mkdir()
        (tmp_path / name / content).write_text("older")
    monkeypatch.chdir(tmp_path)
    return Desk(tmp_path, run)


@pytest.fixture
def registered(monkeypatch, results: dict) -> None:
    """The registration itself is done once only."""

    def register_once(volume, views, init, config, *, model):
        if not results:
            results[0] = register_views(volume, views, init, config, model=model)
        return results[0]

    monkeypatch.setattr(register_command, "register_views", register_once)


@pytest.fixture(scope="module")
def results() -> dict:
    return {}


# Places -------------------------------------------------------------------------------------------------

PLACES = {
    "REGISTER INIT --output result": (
        2,
        ("output.exists", "result", "--overwrite"),
    ),
    "REGISTER INIT --output file --overwrite": (2, ("output.not-a-folder", "file")),
    "REGISTER INIT --output mixed --overwrite": (2, ("output.foreign-files", "thesis.tex")),
    "REGISTER INIT --output file/new": (1, ("output.unwritable", "file/new")),
    "REGISTER INIT --output /proc/new": (1, ("output.unwritable", "/proc/new")),
    "RENDER --output old.png": (2, ("output.exists", "old.png", "--output", "--overwrite")),
    "RENDER --output old.nii": (2, ("output.exists", "old.nii")),
    "RENDER --output landmarks.png": (2, ("output.exists", "landmarks.json")),
    "RENDER --output file/new.png": (1, ("output.unwritable", "file/new.png")),
    "RENDER --output no/new.png": (1, ("output.unwritable", "no/new.png")),
    "RENDER --output /proc/new.png": (1, ("output.unwritable", "/proc/new.png")),
    "convert pose.json --to itk --output old.tfm": (2, ("output.exists", "old.tfm")),
    "convert pose.json --to itk --output file/new.tfm": (
        1,
        ("output.unwritable", "file/new.tfm"),
    ),
    "convert pose.json --to opencv --output no/new.json": (1, ("output.unwritable", "no/new.json")),
    "convert pose.tfm --from itk --camera pose.json --output /proc/new.json": (
        1,
        ("output.unwritable", "/proc/new.json"),
    ),
    "inspect ct.nii.gz xray.dcm --save old.png": (2, ("output.exists", "old.png")),
    "inspect ct.nii.gz xray.dcm --save no/new.png": (1, ("output.unwritable", "no/new.png")),
    "EVALUATE --output file": (2, ("output.not-a-folder", "file")),
    "demo --output result": (2, ("output.exists", "result", "--overwrite")),
    "demo --output file/new": (1, ("output.unwritable", "file/new")),
}


@pytest.mark.parametrize("line", PLACES)
def test_places_that_cannot_be_written_to(desk, line):
    status, fault = PLACES[line]
    desk.refuses(line, status, *fault)


def test_a_folder_in_place_of_a_file(desk):
    (desk.folder / "new.json").mkdir()
    line = "convert pose.json --to opencv --output new.json"
    desk.refuses(line, 2, "output.exists", "new.json", "--overwrite")
    desk.refuses(f"{line} --overwrite", 1, "output.unwritable", "new.json", "Is a directory")


# Full disks ---------------------------------------------------------------------------------------------


@contextmanager
def room_for(size: int) -> Iterator[None]:
    """Writing beyond this many bytes of a file fails in the kernel, as on a full disk."""
    soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (size, hard))
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))


@pytest.mark.parametrize("size", [0, 100, 320])
@pytest.mark.parametrize("format", FORMATS)
def test_a_disk_that_is_full_while_a_pose_is_converted(desk, format, size):
    """SimpleITK says nothing of it: its file would be cut short, and HDF5's would bring Python down."""
    program, suffix = format.split(".")
    place = f"old.{suffix}"
    (desk.folder / place).write_text("older")
    with room_for(size):
        line = f"convert pose.json --to {program} --output {place} --overwrite"
        desk.refuses(line, 1, "output.unwritable", place, "File too large")


@pytest.mark.parametrize("size", [0, 100, 1000])
@pytest.mark.parametrize("place", ["old.png", "old.nii", "old.nii.gz"])
def test_a_disk_that_is_full_while_an_image_is_written(desk, place, size):
    """The image and the JSON file beside it belong together: both stay as they were."""
    with room_for(size):
        desk.refuses(f"RENDER --output {place} --overwrite", 1, "output.unwritable", place, "File too large")


@pytest.mark.parametrize("size", [0, 1000, 20_000])
def test_a_disk_that_is_full_while_a_picture_is_written(desk, size):
    with room_for(size):
        line = "inspect ct.nii.gz xray.dcm --save old.png --overwrite"
        desk.refuses(line, 1, "output.unwritable", "old.png", "File too large")


@pytest.mark.slow
@pytest.mark.parametrize("size", [0, 5000, 20_000])
def test_a_disk_that_is_full_while_a_result_is_written(desk, registered, size):
    desk.run(*command("REGISTER INIT --output first"))  # compiles, which may write to caches
    name = {0: "pose.json", 5000: "transform.tfm", 20_000: "transform.tfm"}[size]
    with room_for(size):
        desk.refuses(f"REGISTER INIT {ON_DISK}", 1, "output.unwritable", f"result/{name}", "File too large")


@pytest.mark.parametrize("name", ["pose.json", "transform.tfm", "overlay.png", "report.html"])
@pytest.mark.parametrize("code", [errno.ENOSPC, errno.EACCES])
def test_any_file_of_a_result_that_cannot_be_written(desk, registered, name, code):
    fault = "output.unwritable", f"result/{name}", os.strerror(code)
    refusing_to_open(desk, f".{name}", code).refuses(f"REGISTER INIT {ON_DISK}", 1, *fault)


@pytest.mark.parametrize("format", ["opencv.json", "itk.tfm"])
def test_no_space_left_on_a_device(desk, format):
    """/dev/full in place of the file that is written first."""
    program, suffix = format.split(".")
    before = tree(desk.folder)
    (desk.folder / f".{os.getpid()}.new.{suffix}").symlink_to("/dev/full")
    ran = desk.run("convert", "pose.json", "--to", program, "--output", f"new.{suffix}")
    ran.refused(1, "output.unwritable", f"new.{suffix}", "No space left on device")
    assert (ran.out, ran.err.count("\n")) == ("", 1)
    assert tree(desk.folder) == before


# Interruptions ------------------------------------------------------------------------------------------


def interrupted(*_: object, **__: object) -> None:
    raise KeyboardInterrupt


@pytest.mark.parametrize(
    "place",
    ["cli.register.Volume.read", "cli.register.XRay.read", "cli.register.register_views"]
    + [f"results.files.{name}" for name in ("write_pose", "write_overlays", "write_page")],
)
def test_ctrl_c_at_any_step(desk, registered, monkeypatch, place):
    monkeypatch.setattr(f"isoclinic.{place}", interrupted)
    desk.refuses(f"REGISTER INIT {ON_DISK}", 130, None, "interrupted")
    desk.refuses("REGISTER INIT OUT", 130, None, "interrupted")


class Replacing:
    """`os.replace` that is interrupted at one of its calls, before or after it has done its work."""

    def __init__(self, call: int, *, after: bool) -> None:
        self.calls = 0
        self._call, self._after, self._replace = call, after, os.replace

    def __call__(self, source: Path, target: Path) -> None:
        self.calls += 1
        if self.calls == self._call and not self._after:
            raise KeyboardInterrupt
        self._replace(source, target)
        if self.calls == self._call:
            raise KeyboardInterrupt


@pytest.mark.slow
@pytest.mark.parametrize("after", [False, True])
def test_ctrl_c_at_any_moment_of_writing(desk, registered, monkeypatch, after):
    """Files are moved into place one by one, then the older result away and the new one there."""
    for name in ("write_overlays", "write_page"):  # they only take time
        monkeypatch.setattr(result_files, name, lambda *_: None)
    before = tree(desk.folder)
    files = 2
    for call in range(1, files + 3):
        with monkeypatch.context() as patch:
            replacing = Replacing(call, after=after)
            patch.setattr(os, "replace", replacing)
            ran = desk.run(*command(f"REGISTER INIT {ON_DISK}"))
        assert (ran.code, ran.out, ran.err) == (130, "", "isoclinic: error: interrupted\n")
        assert replacing.calls >= call
        if call == files + 2 and after:  # the new result is in its place
            assert {path.name for path in (desk.folder / "result").iterdir()} == {
                "pose.json",
                "transform.tfm",
            }
            assert len(list(desk.folder.iterdir())) == sum(path.parent == desk.folder for path in before)
        else:
            assert tree(desk.folder) == before


@pytest.mark.parametrize(
    "line",
    [
        "RENDER --output old.png --overwrite",
        "convert pose.json --to itk --output old.tfm --overwrite",
        "inspect ct.nii.gz xray.dcm --save old.png --overwrite",
    ],
)
def test_ctrl_c_while_a_file_is_written(desk, monkeypatch, line):
    monkeypatch.setattr(os, "replace", interrupted)
    desk.refuses(line, 130, None, "interrupted")


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
@pytest.mark.slow
def test_a_real_interrupt(desk, number):
    """Ctrl-C in a terminal sends SIGINT, batch systems SIGTERM; here once the result's folder is begun."""
    before = tree(desk.folder)
    arguments = command(f"REGISTER {ON_DISK} --init ap")
    # A background process, such as a test run's, may have been started with SIGINT ignored.
    program = (
        "import signal, sys; signal.signal(signal.SIGINT, signal.default_int_handler); "
        f"from {cli.__name__} import main; sys.exit(main())"
    )
    process = Warm(
        [sys.executable, "-c", program, *arguments], stdout=subprocess.PIPE, stderr=subprocess.PIPE
    )
    limit = time.monotonic() + 60
    while not list(desk.folder.glob(".result.*.new")):
        assert process.poll() is None and time.monotonic() < limit
        time.sleep(0.01)
    process.send_signal(number)
    out, err = process.communicate(timeout=60)
    assert (process.returncode, out, err) == (130, "", "isoclinic: error: interrupted\n")
    assert tree(desk.folder) == before
