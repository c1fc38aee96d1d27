"""A result folder is there whole or not at all, and nothing of the user's is ever removed."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from isoclinic import InputError, UsageError
from isoclinic._files import atomic
from isoclinic._folders import check_replaceable, new_folder
from raising import raises

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
    with raises(UsageError, "output.exists", "`overwrite`"):
        make(tmp_path / "b")
    assert tree(tmp_path) == {"b/pose.json": "old"}
    make(tmp_path / "b", overwrite=True)
    assert tree(tmp_path) == {"b/pose.json": "new"}


def test_a_folder_with_other_files_is_never_replaced(tmp_path: Path):
    make(tmp_path / "b", "old")
    (tmp_path / "b" / "deep").mkdir()
    (tmp_path / "b" / "deep" / "thesis.tex").write_text("years of work")
    with raises(UsageError, "output.foreign-files", "deep/thesis.tex"):
        make(tmp_path / "b", overwrite=True)
    assert tree(tmp_path) == {"b/pose.json": "old", "b/deep/thesis.tex": "years of work"}


def test_a_file_in_its_place(tmp_path: Path):
    (tmp_path / "b").write_text("a file")
    with raises(UsageError, "output.not-a-folder"):
        make(tmp_path / "b", overwrite=True)
    assert tree(tmp_path) == {"b": "a file"}


def test_a_place_that_cannot_be_written_to(tmp_path: Path):
    (tmp_path / "file").write_text("")
    with raises(InputError, "output.unwritable", f"{tmp_path}/file/b"):
        make(tmp_path / "file" / "b")


def test_a_relative_path(tmp_path: Path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    make(Path("b"))
    assert tree(tmp_path) == {"b/pose.json": "new"}


def test_a_link_stays_and_what_it_points_to_is_replaced(tmp_path: Path):
    make(tmp_path / "real", "old")
    (tmp_path / "link").symlink_to("real")
    make(tmp_path / "link", overwrite=True)
    assert {path.name for path in tmp_path.iterdir()} == {"real", "link"}
    assert (tmp_path / "link").is_symlink() and tree(tmp_path / "real") == {"pose.json": "new"}


@pytest.mark.parametrize("overwrite", [False, True])
def test_a_link_to_nothing_is_refused_before_the_work(tmp_path: Path, overwrite):
    (tmp_path / "link").symlink_to("nowhere")
    place = new_folder(tmp_path / "link", overwrite=overwrite, known=KNOWN)
    with raises(UsageError, "output.dangling-link", "link", "nowhere"), place:
        pytest.fail("the work was done")
    assert [path.name for path in tmp_path.iterdir()] == ["link"]


@pytest.mark.parametrize("name", ["pose.json", "other"])
@pytest.mark.parametrize("kind", ["pipe", "link to nothing", "link to a folder"])
def test_pipes_and_links_are_no_results(tmp_path: Path, kind, name):
    make(tmp_path / "b", "old")
    (tmp_path / "elsewhere").mkdir()
    entry = tmp_path / "b" / name
    entry.unlink(missing_ok=True)
    if kind == "pipe":
        os.mkfifo(entry)
    else:
        entry.symlink_to("nowhere" if kind == "link to nothing" else tmp_path / "elsewhere")
    with raises(UsageError, "output.foreign-files", name):
        check_replaceable(tmp_path / "b", overwrite=True, known=KNOWN)


@pytest.mark.parametrize("taken", [(), ("b-new-1",)])
@pytest.mark.parametrize(
    ("overwrite", "file", "fault"),
    [
        (True, "thesis.tex", ("output.taken-meanwhile", "thesis.tex")),
        (False, "pose.json", ("output.taken-meanwhile", "`overwrite`")),
    ],
)
def test_a_place_that_is_taken_meanwhile_loses_nothing(tmp_path: Path, overwrite, file, fault, taken):
    if overwrite:
        make(tmp_path / "b", "old")
    for name in taken:
        (tmp_path / name).mkdir()
    kept = f"b-new-{len(taken) + 1}"
    place = new_folder(tmp_path / "b", overwrite=overwrite, known=KNOWN)
    with raises(InputError, *fault, f"/{kept}"), place as folder:
        (folder / "pose.json").write_text("new")
        (tmp_path / "b").mkdir(exist_ok=True)
        (tmp_path / "b" / file).write_text("of others")
    expected = {f"b/{file}": "of others", f"{kept}/pose.json": "new"}
    assert tree(tmp_path) == expected | ({"b/pose.json": "old"} if overwrite else {})
    assert not list(tmp_path.glob(".*"))


def test_a_parent_that_became_a_file_meanwhile(tmp_path: Path):
    place = new_folder(tmp_path / "a" / "b", overwrite=False, known=KNOWN)
    with raises(InputError, "output.taken-meanwhile", "/b-new-1"), place as folder:
        (folder / "pose.json").write_text("new")
        (tmp_path / "a").write_text("a file")
    assert tree(tmp_path) == {"a": "a file", "b-new-1/pose.json": "new"}


@pytest.mark.parametrize("name", ["n" * 255, "é" * 127])
def test_the_longest_names(tmp_path: Path, name):
    """255 bytes is what file systems allow."""
    make(tmp_path / name)
    with atomic(tmp_path / f"{name[:120]}.txt") as temporary:
        temporary.write_text("new")
    assert tree(tmp_path) == {f"{name}/pose.json": "new", f"{name[:120]}.txt": "new"}


def test_a_file_is_written_through_a_link(tmp_path: Path):
    (tmp_path / "link").symlink_to("file")
    with atomic(tmp_path / "link") as temporary:
        temporary.write_text("new")
    assert (tmp_path / "link").is_symlink() and not (tmp_path / "file").is_symlink()
    assert tree(tmp_path) == {"file": "new", "link": "new"}
