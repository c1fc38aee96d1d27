"""`isoclinic view` as a command: what it refuses, how it ends, and the `register` that it stands for."""

from __future__ import annotations

import json
import os
import re
import signal
import socket
import subprocess
import sys
import urllib.request
from pathlib import Path

import pytest

from isoclinic.cli import view
from isoclinic.live import LivePage
from warm import Warm


class Program:
    """The command in a process of its own."""

    def __init__(self, *words: object, folder: Path) -> None:
        command = [sys.executable, "-m", "isoclinic", "view", *map(str, words), "--no-browser"]
        self.process = Warm(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, cwd=folder)
        assert self.process.stdout is not None
        self.address = self.process.stdout.readline().strip()

    def ask(self, path: str, body: object = None) -> dict:
        content = None if body is None else json.dumps(body).encode()
        request = urllib.request.Request(self.address + path, content)
        opener = urllib.request.build_opener(urllib.request.ProxyHandler({}))
        with opener.open(request, timeout=30) as answer:
            return json.load(answer)

    def end(self, number: int) -> tuple[int, str]:
        self.process.send_signal(number)
        _, err = self.process.communicate(timeout=60)
        return self.process.returncode, err


@pytest.mark.slow
@pytest.mark.skipif(os.name == "nt", reason="signals of POSIX")
def test_it_is_killed_and_ended_and_goes_on(files, tmp_path):
    usual = files.ct, files.xray, "--init", files.init, "--output", "out"
    first = Program(*usual, folder=tmp_path)
    try:
        assert re.fullmatch(r"http://127\.0\.0\.1:\d+/[\w-]{43}/", first.address)
        state = first.ask("state")
        pose = state["pose"]
        pose[0][3] += 7.0
        first.ask("change", {"do": "pose", "revision": state["revision"], "pose": pose})
        first.ask("register", {"revision": state["revision"] + 1})
    finally:
        first.end(signal.SIGKILL)
    second = Program("--output", "out", folder=tmp_path)
    try:
        state = second.ask("state")
        assert state["pose"] == pose and state["steps"][-1] == "moved by hand" and state["results"] == []
        assert second.address != first.address
    finally:
        code, err = second.end(signal.SIGTERM)
    assert code == 0 and "Traceback" not in err and "ended; everything is in out" in err
    assert not any((tmp_path / "out" / "results").iterdir())


def test_a_port_that_is_taken(run, files, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
        ran = run("view", files.ct, files.xray, "--no-browser", "--port", port)
        ran.refused(1, "view.cannot-listen", "--port", port)


@pytest.mark.slow
def test_what_makes_no_sense_is_refused(run, files, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    usual = ("view", files.ct, files.xray, "--no-browser")
    run(*usual, "--port", 70_000).refused(2, "view.invalid-value", "--port", "70000")
    run(*usual, "--moving-px", 500).refused(2, "view.invalid-value", "--moving-px", "--resting-px")
    run("view", "none.nii.gz", "--no-browser").refused(1, "ct.missing", "none.nii.gz")
    run("view", files.ct, "none.dcm", "--no-browser").refused(1, "xray.missing", "none.dcm")
    run(*usual, "--init", "sideways").refused(2, "start.unknown-name", "sideways")
    folder = tmp_path / "series"
    folder.mkdir()
    run("view", folder, "--output", folder / "out", "--no-browser").refused(
        2, "output.is-an-input", "--output"
    )


@pytest.mark.parametrize("package", ["starlette", "uvicorn"])
def test_without_its_packages_it_names_the_extra(run, files, tmp_path, monkeypatch, package):
    monkeypatch.chdir(tmp_path)
    monkeypatch.setitem(sys.modules, package, None)
    ran = run("view", files.ct, files.xray, "--no-browser")
    ran.refused(2, "installation.package-missing", package, "isoclinic[view]")


def test_it_opens_the_browser_unless_told_not_to(run, files, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    opened: list[str] = []
    monkeypatch.setattr(view.webbrowser, "open", opened.append)

    def interrupted(_: LivePage) -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr(LivePage, "run", interrupted)
    ran = run("view", files.ct, files.xray)
    assert ran.code == 0 and opened == [ran.out.strip()]
    assert run("view", files.ct, files.xray, "--no-browser").code == 0
    assert len(opened) == 1


def test_the_words_that_hold_for_a_registration():
    ct, xray = Path("ct.nii.gz"), Path("x.dcm")
    words = [
        *("ct.nii.gz", "x.dcm", "--output", "out", "--no-browser", "--port", "80", "--init", "ap"),
        *("--pixel-spacing-mm", "0.5", "0.4", "--sdd-mm=1000", "--exclude", "m.png", "--same-patient"),
    ]
    kept = view.kept_words(words, [ct, xray])
    assert kept == [["--pixel-spacing-mm", "0.5", "0.4"], ["--sdd-mm=1000"], ["--same-patient"]]
    # A switch before the files takes none of them.
    assert view.kept_words(["--same-patient", "ct.nii.gz", "x.dcm"], [ct, xray]) == [["--same-patient"]]


def test_what_the_page_sets_takes_the_place_of_the_option():
    options = view.ViewOptions(files=(Path("ct.nii.gz"),))
    command = view._Register(options, ["ct.nii.gz", "--sdd-mm", "900", "--turn", "90"])
    assert command(["x.dcm", "--sdd-mm", "1000"]) == "isoclinic register x.dcm --sdd-mm 1000 --turn 90"
