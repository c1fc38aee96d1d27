"""A result folder is there whole or not at all, and nothing of the user's is ever removed."""

from __future__ import annotations

from pathlib import Path

import pytest

from isoclinic import InputError, UsageError
from isoclinic.cli._folder import new_folder

KNOWN = frozenset({"pose.json"})


def make(path: Path, text: str = "new", *, overwrite: bool = False) -> None:
    with new_folder(path, overwrite=overwrite, known=KNOWN) as folder:
        (folder / "pose.json").write_text(text)
        assert not (path / "pose.json").exists() or (path / "pose.json").read_text() != text


def tree(folder: Path) -> dict[str, str]:
    return {str(path.relative_to(folder)): path.read_text() for path in folder.rglob("*") if path.is_file()}


def test_it_appears_with_its_parents(tmp_path: Path):
    make(tmp_path / "a" / "b")
    assert tree(tmp_path) == {"a/b/pose.json": "new"}


@pytest.mark.parametrize("error", [ValueError, KeyboardInterrupt])
@pytest.mark.parametrize("exists", [False, True])
def test_a_failure_leaves_everything_as_it_was(tmp_path: Path, error, exists):
    if exists:
        make(tmp_path / "a" / "b", "old")
    before = sorted(tmp_path.rglob("*"))
    with pytest.raises(error), new_folder(tmp_path / "a" / "b", overwrite=True, known=KNOWN) as folder:
        (folder / "pose.json").write_text("half")
        raise error
    assert sorted(tmp_path.rglob("*")) == before
    assert tree(tmp_path) == ({"a/b/pose.json": "old"} if exists else {})


def test_an_older_result_is_replaced_only_when_asked(tmp_path: Path):
    make(tmp_path / "b", "old")
    with pytest.raises(UsageError, match=r"exists already.*--overwrite"):
        make(tmp_path / "b")
    assert tree(tmp_path) == {"b/pose.json": "old"}
    make(tmp_path / "b", overwrite=True)
    assert tree(tmp_path) == {"b/pose.json": "new"}


def test_a_folder_with_other_files_is_never_replaced(tmp_path: Path):
    make(tmp_path / "b", "old")
    (tmp_path / "b" / "deep").mkdir()
    (tmp_path / "b" / "deep" / "thesis.tex").write_text("years of work")
    with pytest.raises(UsageError, match=r"it holds deep/thesis\.tex, which is no result"):
        make(tmp_path / "b", overwrite=True)
    assert tree(tmp_path) == {"b/pose.json": "old", "b/deep/thesis.tex": "years of work"}


def test_a_file_in_its_place(tmp_path: Path):
    (tmp_path / "b").write_text("a file")
    with pytest.raises(UsageError, match="is a file, but the result is a folder"):
        make(tmp_path / "b", overwrite=True)
    assert tree(tmp_path) == {"b": "a file"}


def test_a_place_that_cannot_be_written_to(tmp_path: Path):
    (tmp_path / "file").write_text("")
    with pytest.raises(InputError, match=rf"--output {tmp_path}/file/b cannot be written"):
        make(tmp_path / "file" / "b")


def test_a_relative_path(tmp_path: Path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    make(Path("b"))
    assert tree(tmp_path) == {"b/pose.json": "new"}
