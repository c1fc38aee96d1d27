"""Tables and folders of X-rays: what they mean, however a spreadsheet writes them, and what is refused."""

from __future__ import annotations

from pathlib import Path

import pytest

from isoclinic.batches import read_table, rows_in_folder
from isoclinic.errors import InputError
from raising import raises


@pytest.fixture
def table(tmp_path):
    """Write a table, as text or as bytes; returns its path."""

    def write(content: str | bytes, name: str = "table.csv") -> Path:
        path = tmp_path / name
        path.write_bytes(content if isinstance(content, bytes) else content.encode())
        return path

    return write


def test_paths_are_relative_to_the_table_and_further_columns_are_kept(table, tmp_path):
    path = table(
        "xray,ct,init,name,labels,patient\na/x.dcm,ct,pose.json,one,lab.nii,Ann\n/abs/y.dcm,/abs/ct,AP,,,\n"
    )
    found = read_table(path)
    one, two = found.rows
    assert (one.name, one.xray, one.ct) == ("one", tmp_path / "a" / "x.dcm", tmp_path / "ct")
    assert (one.init, one.labels) == (str(tmp_path / "pose.json"), tmp_path / "lab.nii")
    assert one.further == {"patient": "Ann"} and two.further == {"patient": ""}
    # A word is no path, in capitals neither.
    assert (two.name, two.xray, two.ct, two.init) == ("abs-y", Path("/abs/y.dcm"), Path("/abs/ct"), "ap")
    assert two.labels is None and found.notes == ()


def test_what_is_given_for_all_rows_fills_empty_cells(table, tmp_path):
    path = table("xray,ct\na.dcm,\nb.dcm,own.nii\n")
    rows = read_table(path, ct=Path("all.nii"), init="pa", labels=Path("l.nii")).rows
    assert [row.ct for row in rows] == [Path("all.nii"), tmp_path / "own.nii"]
    assert {(row.init, row.labels) for row in rows} == {("pa", Path("l.nii"))}


@pytest.mark.parametrize(
    "content",
    [
        b"xray,ct,note\na.dcm,c.nii,\xc3\xa4\n",
        b"\xef\xbb\xbfxray,ct,note\r\na.dcm,c.nii,\xc3\xa4\r\n",
        b"xray;ct;note\na.dcm;c.nii;\xc3\xa4\n",
        b"xray\tct\tnote\ra.dcm\tc.nii\t\xc3\xa4\r",
        "xray,ct,note\na.dcm,c.nii,ä\n".encode("utf-16"),
        b"\n,,\n XRay , CT ,note,,\n a.dcm , c.nii , \xc3\xa4 ,,\n,,,\n\n",
        b'"xray","ct","note"\n"a.dcm","c.nii","\xc3\xa4"',
    ],
    ids=["plain", "bom", "semicolons", "tabs", "utf-16", "blanks", "quotes"],
)
def test_a_table_as_any_spreadsheet_writes_it(table, tmp_path, content):
    (row,) = read_table(table(content)).rows
    assert (row.name, row.xray, row.ct) == ("a", tmp_path / "a.dcm", tmp_path / "c.nii")
    assert row.further == {"note": "ä"}


def test_a_separator_or_a_line_end_within_quotes(table):
    content = 'xray,ct,note\n"a, b.dcm",c.nii,"two\nlines"\nx.dcm,c.nii,"says ""no"""\n,c.nii,\n'
    with raises(InputError, "batch.malformed-table", "line 5", "xray"):
        read_table(table(content))
    one, two = read_table(table(content.removesuffix(",c.nii,\n"))).rows
    assert (
        one.name == "a__b" and one.further == {"note": "two\nlines"} and two.further == {"note": 'says "no"'}
    )


@pytest.mark.parametrize(
    ("content", "code", "names"),
    [
        ("image,ct\na,b\n", "batch.malformed-table", ["'xray'", "'image'"]),
        ("a.dcm,ct.nii\n", "batch.malformed-table", ["'xray'", "'a.dcm'"]),
        ("xray,init\na.dcm,ap\n", "batch.malformed-table", ["line 2", "'ct'", "volume"]),
        ("xray,ct\na.dcm,c.nii\nb.dcm\n", "batch.malformed-table", ["line 3", "'ct'"]),
        ("xray,ct\n,c.nii\n", "batch.malformed-table", ["line 2", "'xray'"]),
        ("xray,ct\na b,c,d.nii\n", "batch.malformed-table", ["line 2", "3 cells", "2"]),
        ("xray,ct,xray\na,b,c\n", "batch.malformed-table", ["two columns", "'xray'"]),
        ("xray,,ct\na,b,c\n", "batch.malformed-table", ["column 2"]),
        ('xray,ct\n"a"b,c\n', "batch.malformed-table", ["line 2"]),
        ("xray,ct\na.dcm,c\na.dcm,c\n", "batch.malformed-table", ["line 3", "line 2", "'a'", "'name'"]),
        ("xray,ct\na.dcm,c\na.png,c\n", "batch.malformed-table", ["line 3", "line 2", "'a'"]),
        ("xray,ct,name\na,c,one\nb,c,ONE\n", "batch.malformed-table", ["line 3", "line 2", "'ONE'"]),
        ("xray,ct,name\na,c,a/b\n", "batch.malformed-table", ["line 2", "'a/b'"]),
        ("xray,ct,name\na,c,..\n", "batch.malformed-table", ["line 2", "'..'"]),
        ("xray,ct,name\na,c,con\n", "batch.malformed-table", ["line 2", "'con'"]),
        (f"xray,ct,name\na,c,{'n' * 101}\n", "batch.malformed-table", ["line 2", "100 bytes"]),
        ("xray,ct,views\na,c,v.json\n", "batch.malformed-table", ["line 2", "'views'", "'xray2'"]),
        ("xray,ct,xray2,Xray2\na,c,b,b\n", "batch.malformed-table", ["two columns", "'xray2'"]),
        ("xray,ct\n", "batch.empty", ["table.csv"]),
        ("", "batch.empty", ["table.csv"]),
        (b"xray,ct\n\xe4.dcm,c\n", "batch.unreadable", ["UTF-8"]),
        (b"PK\0\0xray", "batch.unreadable", ["table.csv"]),
    ],
)
def test_a_bad_table_is_refused_as_a_whole(table, content, code, names):
    with raises(InputError, code, *names):
        read_table(table(content))


def test_further_xrays_of_a_row_come_by_their_numbers(table, tmp_path):
    content = "XRAY3,xray,ct,xray2,views,xray10,xrays\nc,a,v,b,w.json,d,note\n,e,v,,,,\n,f,v,,,g,\n"
    three, one, two = read_table(table(content)).rows
    assert three.xrays == tuple(tmp_path / name for name in "abcd") and three.views == tmp_path / "w.json"
    assert three.further == {"xrays": "note"} and three.name == "a"
    assert one.xrays == (tmp_path / "e",) and one.others == () and one.views is None
    assert two.xrays == (tmp_path / "f", tmp_path / "g")


def test_a_table_that_is_not_there(tmp_path):
    with raises(InputError, "batch.unreadable", tmp_path / "none.csv"):
        read_table(tmp_path / "none.csv")


def test_a_column_that_was_perhaps_meant_is_told(table):
    notes = read_table(table("xray,volume,inti,age\na,b,ap,9\n"), ct=Path("c")).notes
    assert len(notes) == 2 and "'volume'" in notes[0] and "'ct'" in notes[0]
    assert "'inti'" in notes[1] and "'init'" in notes[1]


@pytest.mark.parametrize(
    ("xray", "name"),
    [
        ("p1/s 2/x.dcm", "p1-s_2-x"),
        ("../other/x.nii.gz", "other-x"),
        ("IM.0001.1", "IM.0001.1"),
        ("Müller.png", "Müller"),
        ("con.dcm", "con_"),
        ("é" * 80 + ".dcm", "é" * 50),
    ],
)
def test_names_follow_from_paths(table, xray, name):
    (row,) = read_table(table(f"xray,ct\n{xray},c\n")).rows
    assert row.name == name and len(row.name.encode()) <= 100


def test_the_x_rays_of_a_folder(tmp_path):
    for name in ("b.dcm", "a.png", "a.json", ".hidden.dcm", "notes.txt"):
        (tmp_path / name).touch()
    (tmp_path / "more").mkdir()
    found = rows_in_folder(tmp_path, ct=Path("ct"), init="any")
    assert [(row.name, row.xray.name) for row in found.rows] == [("a", "a.png"), ("b", "b.dcm")]
    assert {(row.ct, row.init) for row in found.rows} == {(Path("ct"), "any")}
    assert len(found.notes) == 1 and "more" in found.notes[0]
    (tmp_path / "A.dcm").touch()
    with raises(InputError, "batch.malformed-table", "'a'"):
        rows_in_folder(tmp_path, ct=Path("ct"))


def test_folders_without_x_rays(tmp_path):
    (tmp_path / "patient").mkdir()
    with raises(InputError, "batch.empty", "patient"):
        rows_in_folder(tmp_path, ct=Path("ct"))
    with raises(InputError, "batch.unreadable", tmp_path / "none"):
        rows_in_folder(tmp_path / "none", ct=Path("ct"))
