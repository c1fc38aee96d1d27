"""The rows of a batch: which X-ray is registered to which CT, from a table or a folder."""

from __future__ import annotations

import csv
import re
import unicodedata
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from difflib import get_close_matches
from pathlib import Path

from .._files import read_text, reading
from ..errors import InputError
from ..registration import PRESETS
from ..volumes import images_in

XRAY, CT, INIT, NAME, LABELS, VIEWS = "xray", "ct", "init", "name", "labels", "views"
COLUMNS = (XRAY, CT, INIT, NAME, LABELS, VIEWS)
# Columns of the second X-ray of a row, the third, and so on.
_FURTHER_XRAY = re.compile(r"xray([2-9]|[1-9]\d)")
# How others may call a column that is needed, for the message that misses it.
_OTHER_WORDS = {"volume": CT, "x-ray": XRAY, "x_ray": XRAY, "image": XRAY, "output": NAME, "start": INIT}
_START_WORDS = frozenset({*PRESETS, "dicom", "model", "any"})
_DELIMITERS = ",;\t"
# Of a name [bytes]: file systems end at 143 to 255, and names of temporary files are longer.
_LONGEST_NAME = 100
# Characters that some file system does not allow in a name (Windows has the longest list), and its devices.
_FORBIDDEN = re.compile(r'[<>:"/\\|?*\x00-\x1f]')
_DEVICES = re.compile(r"(con|prn|aux|nul|com\d|lpt\d)(\..*)?", re.IGNORECASE)
_RESEMBLES = 0.75  # of difflib; "inti" and "lables" do


@dataclass(frozen=True, kw_only=True)
class BatchRow:
    """One X-ray to register, or several of one patient at rest, which give one pose.

    Attributes:
        name: of its folder of results, unlike all others of the batch even without regard to case.
        xray: the X-ray.
        others: the second X-ray and so on.
        views: JSON file that says how the X-rays lie relative to each other; by their C-arm angles if None.
        ct: its CT.
        init: where to start; see `isoclinic.register`.
        labels: label map of the CT.
        further: what else the table says of it, by column.
    """

    name: str
    xray: Path
    ct: Path
    init: str | None = None
    labels: Path | None = None
    others: tuple[Path, ...] = ()
    views: Path | None = None
    further: Mapping[str, str] = field(default_factory=dict)

    @property
    def xrays(self) -> tuple[Path, ...]:
        """All X-rays, the first one first."""
        return (self.xray, *self.others)


@dataclass(frozen=True, kw_only=True)
class BatchRows:
    """The rows of a batch.

    Attributes:
        rows: in their order.
        notes: what is odd about the table or folder, for people to read.
    """

    rows: tuple[BatchRow, ...]
    notes: tuple[str, ...] = ()


def read_table(
    path: Path, *, ct: Path | None = None, init: str | None = None, labels: Path | None = None
) -> BatchRows:
    """The rows of a CSV table with the columns xray, ct, init, name and labels; others are kept.

    Columns xray2, xray3, ... name further X-rays of a row, and views how they lie. Only xray is needed, and
    ct unless one is given for all. Paths are relative to the table's folder. Cells
    are separated by commas, semicolons or tabs, as spreadsheets write them; the text is UTF-8, or UTF-16 with
    a byte order mark. Without a name, a row has that of its X-ray's path.

    Args:
        path: of the table.
        ct: of rows whose cell is empty.
        init: likewise.
        labels: likewise.

    Raises:
        InputError: it cannot be read, lacks a column or a cell, or gives two rows one name.
    """
    header, lines = _cells(path)
    notes = tuple(_unused(path, header))
    rows = []
    numbers: dict[str, int] = {}
    for number, cells in lines:
        values = dict(zip(header, cells, strict=True))
        where = f"{path}, line {number}"
        row = _row(path.parent, values, where, {CT: ct, INIT: init, LABELS: labels})
        other = numbers.setdefault(_folded(row.name), number)
        if other != number:
            raise InputError(
                f"{where}: its results would be named {row.name!r}, and so would those of line {other}; give "
                f"both rows names of their own in a column {NAME!r}",
                code="batch.malformed-table",
            )
        rows.append(row)
    if not rows:
        raise InputError(f"{path} has no row below its header", code="batch.empty")
    return BatchRows(rows=tuple(rows), notes=notes)


def rows_in_folder(
    folder: Path, *, ct: Path, init: str | None = None, labels: Path | None = None
) -> BatchRows:
    """A row for each X-ray directly in a folder, all with one CT.

    Args:
        folder: the folder; JSON files and text beside the images are passed over.
        ct: the CT.
        init: where to start.
        labels: label map of the CT.

    Raises:
        InputError: it cannot be read, or holds no image, or two images whose names differ by their endings
            alone.
    """
    if not folder.exists():
        raise InputError(f"{folder} does not exist", code="batch.unreadable")
    files = images_in(folder)
    below = sorted(each.name for each in folder.iterdir() if each.is_dir() and not each.name.startswith("."))
    if not files:
        inside = f", only folders ({', '.join(below[:3])})" if below else ""
        raise InputError(
            f"{folder} holds no X-ray{inside}; give the folder that has the X-rays themselves, or a table "
            "with a column xray",
            code="batch.empty",
        )
    rows: dict[str, BatchRow] = {}
    for file in files:
        name = _name_of(file, folder)
        other = rows.get(_folded(name))
        if other is not None:
            raise InputError(
                f"the results of {file} would be named {name!r}, and so would those of {other.xray}; rename "
                f"one of them, or give a table with a column {NAME!r}",
                code="batch.malformed-table",
            )
        rows[_folded(name)] = BatchRow(name=name, xray=file, ct=ct, init=init, labels=labels)
    notes: tuple[str, ...] = ()
    if below:
        notes = (f"{folder}: the folders in it are left out ({', '.join(below[:3])}, {len(below)} in all)",)
    return BatchRows(rows=tuple(rows.values()), notes=notes)


def _cells(path: Path) -> tuple[list[str], list[tuple[int, list[str]]]]:
    """Names of the columns, and the cells of every row that has any, with the number of its line."""
    with reading(f"the table {path}", code="batch.unreadable"):
        try:
            text = read_text(path)
        except UnicodeDecodeError as error:
            raise InputError(
                f"{path} is not text in UTF-8; in a spreadsheet, save the table as CSV UTF-8",
                code="batch.unreadable",
            ) from error
    if "\0" in text:
        raise InputError(f"{path} is no table: it holds NUL characters", code="batch.unreadable")
    reader = csv.reader(text.splitlines(keepends=True), delimiter=_delimiter(text), strict=True)
    header: list[str] | None = None
    lines = []
    last = 0
    try:
        for cells in reader:
            # A row begins after the end of the one before: quoted cells may hold line ends.
            number, last = last + 1, reader.line_num
            cells = [cell.strip() for cell in cells]
            if not any(cells):
                continue
            if header is None:
                header = _checked_header(path, cells)
                continue
            lines.append((number, _as_many(path, number, cells, len(header))))
    except csv.Error as error:
        raise InputError(
            f"{path}, line {reader.line_num}: {error}; quotes must enclose a whole cell",
            code="batch.malformed-table",
        ) from error
    if header is None:
        raise InputError(f"the table {path} is empty", code="batch.empty")
    return header, lines


def _delimiter(text: str) -> str:
    """What separates the cells: whatever separates those of the header."""
    first = next((line for line in text.splitlines() if line.strip(f"{_DELIMITERS} ")), "")
    return max(_DELIMITERS, key=first.count)


def _as_many(path: Path, number: int, cells: list[str], count: int) -> list[str]:
    """As many cells as the header has; programs that write tables leave out empty ones at the end."""
    while len(cells) > count and not cells[-1]:
        cells = cells[:-1]
    if len(cells) > count:
        raise InputError(
            f"{path}, line {number} has {len(cells)} cells, but the header has {count}; a cell with a "
            "separator in it needs quotes",
            code="batch.malformed-table",
        )
    return [*cells, *[""] * (count - len(cells))]


def _checked_header(path: Path, cells: Sequence[str]) -> list[str]:
    header = list(cells)
    while header and not header[-1]:
        header.pop()
    # Only the columns that mean something are known in any case.
    header = [cell.lower() if _has_meaning(cell.lower()) else cell for cell in header]
    for index, cell in enumerate(header):
        if not cell:
            raise InputError(
                f"{path}: column {index + 1} of the header has no name", code="batch.malformed-table"
            )
        if cell in header[:index]:
            raise InputError(f"{path} has two columns {cell!r}", code="batch.malformed-table")
    if XRAY not in header:
        raise InputError(
            f"{path} has no column {XRAY!r}, but {', '.join(map(repr, header))}; its first line must name "
            f"the columns: {XRAY}, {CT}, and if wanted {INIT}, {NAME} and {LABELS}",
            code="batch.malformed-table",
        )
    return header


def _unused(path: Path, header: Sequence[str]) -> Iterator[str]:
    """A note for each column that is kept, but was perhaps meant to be used."""
    missing = [name for name in COLUMNS if name not in header]
    for column in header:
        if _has_meaning(column):
            continue
        word = column.lower()
        meant = get_close_matches(word, missing, n=1, cutoff=_RESEMBLES)
        if _OTHER_WORDS.get(word) in missing:
            meant = [_OTHER_WORDS[word]]
        if meant:
            yield f"{path}: the column {column!r} is kept, but not used; did you mean {meant[0]!r}?"


def _row(
    folder: Path, values: Mapping[str, str], where: str, usual: Mapping[str, Path | str | None]
) -> BatchRow:
    if not values[XRAY]:
        raise InputError(f"{where} names no X-ray: the cell {XRAY!r} is empty", code="batch.malformed-table")
    xray = folder / values[XRAY]
    ct = folder / values[CT] if values.get(CT) else usual[CT]
    if ct is None:
        raise InputError(
            f"{where} names no CT: give it in a column {CT!r}, or one for all rows as the `volume`",
            code="batch.malformed-table",
        )
    labels = folder / values[LABELS] if values.get(LABELS) else usual[LABELS]
    others = _further_xrays(values)
    if values.get(VIEWS) and not others:
        raise InputError(
            f"{where} says how several X-rays lie, in the cell {VIEWS!r}, but names only one; give the "
            "second one in a column 'xray2'",
            code="batch.malformed-table",
        )
    init = _start(folder, values[INIT]) if values.get(INIT) else usual[INIT]
    name = values.get(NAME, "")
    if name:
        _check_name(name, where)
    return BatchRow(
        name=name or _name_of(xray, folder),
        xray=xray,
        ct=Path(ct),
        init=None if init is None else str(init),
        labels=None if labels is None else Path(labels),
        others=tuple(folder / each for each in others),
        views=folder / values[VIEWS] if values.get(VIEWS) else None,
        further={column: cell for column, cell in values.items() if not _has_meaning(column)},
    )


def _further_xrays(values: Mapping[str, str]) -> list[str]:
    """The second X-ray of a row and so on, in the order of their numbers; empty cells do not count."""
    columns = [name for name in values if _FURTHER_XRAY.fullmatch(name)]
    return [values[name] for name in sorted(columns, key=lambda name: int(name[4:])) if values[name]]


def _has_meaning(column: str) -> bool:
    return column in COLUMNS or _FURTHER_XRAY.fullmatch(column) is not None


def _start(folder: Path, text: str) -> str:
    """A word as `isoclinic.register` knows it, or the path of a pose file."""
    return text.lower() if text.lower() in _START_WORDS else str(folder / text)


def _name_of(xray: Path, folder: Path) -> str:
    """A name from the path of an X-ray: its parts from the table's folder on, without the ending.

    It depends on nothing else, so that a row keeps its name when others are added.
    """
    try:
        parts = xray.relative_to(folder).parts
    except ValueError:
        parts = xray.parts[-2:]
    if ".." in parts:
        parts = xray.parts[-2:]
    stem = parts[-1].removesuffix(".gz")
    # Not Path.stem: "knee.1" of a PACS is a whole name.
    ending = re.fullmatch(r"(.+)\.[A-Za-z][A-Za-z0-9]{1,4}", stem)
    words = [*parts[:-1], ending[1] if ending else stem]
    name = "-".join(re.sub(r"[^\w+.-]", "_", word).strip(".") for word in words if word not in ("/", "\\"))
    while len(name.encode()) > _LONGEST_NAME:
        name = name[1:]
    return f"{name}_" if _DEVICES.fullmatch(name) else name


def _check_name(name: str, where: str) -> None:
    """Refuse what cannot be the name of a folder, on any system."""
    too_long = len(name.encode()) > _LONGEST_NAME
    if name.startswith(".") or name.endswith(".") or _FORBIDDEN.search(name) or _DEVICES.fullmatch(name):
        reason = "it must be the plain name of a folder, without / and : and dots at its ends"
    elif too_long:
        reason = f"it is longer than {_LONGEST_NAME} bytes"
    else:
        return
    raise InputError(f"{where}: the name {name!r} cannot be used: {reason}", code="batch.malformed-table")


def _folded(name: str) -> str:
    """What file systems that disregard case, and the way accents are written, take for the name."""
    return unicodedata.normalize("NFC", name).casefold()
