"""Every command that the documentation shows runs as it stands, on a phantom and with a short schedule."""

from __future__ import annotations

import re
import shlex
import shutil
from dataclasses import replace
from pathlib import Path

import pytest

import isoclinic
from isoclinic.cli import evaluate, register
from isoclinic.registration import SearchConfig, Stage

ROOT = Path(__file__).parents[2]


PAGES = (ROOT / "README.md", *sorted((ROOT / "docs").glob("*.md")))


def blocks(page: Path, language: str) -> list[str]:
    """Fenced blocks of one language."""
    fenced = re.findall(r"^```(\w*)\n(.*?)^```", page.read_text(), re.MULTILINE | re.DOTALL)
    return [text for its_language, text in fenced if its_language == language]


def documented_commands() -> list[list[str]]:
    text = "\n".join(block for page in PAGES for block in blocks(page, "")).replace("\\\n", " ")
    return [shlex.split(line)[1:] for line in text.splitlines() if line.startswith("isoclinic ")]


@pytest.fixture
def user_folder(files, cases, tmp_path, monkeypatch) -> Path:
    """Files of the names that the documentation uses; registrations in it take a tenth of a second."""
    real = isoclinic.register

    def short(volume, xray, init, config):
        searches, stages = (SearchConfig(candidates=0),), (Stage(pixels=32), Stage(pixels=64))
        return real(volume, xray, init, replace(config, searches=searches, stages=stages))

    for module in (isoclinic, register, evaluate):
        monkeypatch.setattr(module, "register", short)
    shutil.copy(files.ct, tmp_path / "ct.nii.gz")
    shutil.copy(files.xray, tmp_path / "xray.dcm")
    shutil.copytree(cases, tmp_path / "cases")
    shutil.copy(files.labels, tmp_path / "labels.nii.gz")
    shutil.copy(files.labels.with_name("labels.json"), tmp_path / "labels.json")
    monkeypatch.chdir(tmp_path)
    return tmp_path


def test_the_documented_commands_run_in_their_order(run, user_folder):
    commands = documented_commands()
    assert {command[0] for command in commands} == {"register", "render", "evaluate"}
    for command in commands:
        ran = run(*command)
        assert ran.code == 0, f"isoclinic {shlex.join(command)}\n{ran.err}"


def test_the_python_example_runs(user_folder, capsys):
    (example,) = blocks(ROOT / "README.md", "python")
    exec(compile(example, "README.md", "exec"), {})
    assert "converged" in capsys.readouterr().out


def test_the_options_file_is_understood(run, user_folder):
    (options,) = blocks(ROOT / "README.md", "toml")
    (user_folder / "shown.toml").write_text(options)
    ran = run("register", "xray.dcm", "--volume", "ct.nii.gz", "--output", "out", "--config", "shown.toml")
    assert ran.code == 0, ran.err


def test_links_lead_somewhere():
    for page in PAGES:
        for target in re.findall(r"\]\(([^)#:]+)(?:#[^)]*)?\)", page.read_text()):
            assert (page.parent / target).exists(), f"{page.name}: {target}"
