"""Which of the DICOM files in a folder are the slices of one CT."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from pydicom.datadict import tag_for_keyword
from pydicom.multival import MultiValue

from ..errors import InputError, UsageError
from ._dicom_files import (
    DicomFile,
    FrameHeader,
    LeftOut,
    find_dicom,
    is_index,
    list_left_out,
    projection_hint,
    read_header,
    some,
    why_no_slice,
)
from ._dicom_planes import Plane, alike, planes_of
from ._grid import decoding

# Series of one image each are taken together from this many on.
_FEWEST_MERGED = 3
# A scout has one image for each of a few directions.
_MOST_SCOUTS = 3
_MOST_LISTED = 8


@dataclass(frozen=True)
class Selection:
    """Attribute and value that the wanted images have, as `AcquisitionNumber=2`.

    Raises:
        UsageError: another form, or a keyword that DICOM does not know.
    """

    keyword: str
    value: str

    @classmethod
    def parse(cls, text: str) -> Selection:
        """From the text of `slices_where`."""
        keyword, equals, value = (part.strip() for part in text.partition("="))
        if not keyword or not equals or tag_for_keyword(keyword) is None:
            raise UsageError(
                "`slices_where` must name a DICOM attribute by its keyword and the value that the wanted "
                f"slices have, such as AcquisitionNumber=2, not {text!r}",
                code="ct.invalid-value",
            )
        return cls(keyword, value)

    def takes(self, header: FrameHeader) -> bool:
        """Tell whether an image has the value."""
        return same_value(header.get(self.keyword), self.value)


def text_of(value: Any) -> str:
    """An attribute's value as text; several values are joined by backslashes, as in DICOM."""
    return "\\".join(map(str, value)) if isinstance(value, (MultiValue, list)) else str(value)


def same_value(value: Any, text: str) -> bool:
    """Tell whether an attribute's value is what a text says, as words or as a number."""
    if value is None:
        return False
    if text_of(value) == text or (isinstance(value, MultiValue) and text in map(str, value)):
        return True
    try:
        return float(value) == float(text)
    except (TypeError, ValueError):
        return False


@dataclass(frozen=True, kw_only=True)
class Choice:
    """The images of one CT.

    Attributes:
        planes: the images, in no order.
        left_out: files beside them, and why they are none of them.
        scattered: every image has a series of its own; that they belong together is concluded.
    """

    planes: tuple[Plane, ...]
    left_out: tuple[LeftOut, ...]
    scattered: bool = False


def choose_planes(path: Path, only: Selection | None) -> Choice:
    """The images of the one CT meant by a folder, by a DICOMDIR or by one of its files.

    Raises:
        InputError: no CT or several of them, a damaged file, or attributes that are missing.
        UsageError: a selection that no image fulfils.
    """
    given = None if path.is_dir() else read_header(path)
    if path.is_file() and given is None:
        raise InputError(
            f"{path} is empty, damaged or not DICOM; copy or export it again", code="ct.unreadable"
        )
    whole = given is None or is_index(given)
    files, left_out = find_dicom(path if path.is_dir() else path.parent, deep=whole)
    slices = []
    for file in files:
        with decoding(file.path, " as DICOM"):
            reason = why_no_slice(file)
        if not reason:
            slices.append(file)
        elif given is not None and file.path == path:
            raise InputError(
                f"{path} is not a CT slice: it is {reason}{projection_hint([file])}", code="ct.no-slices"
            )
        elif whole:
            left_out.append(LeftOut(file.path, reason))
    if not slices:
        listing = list_left_out(left_out, path) or "none at all"
        raise InputError(
            f"{path} holds no CT images; DICOM files found: {listing}{projection_hint(files)}",
            code="ct.no-slices",
        )
    if only is not None:
        slices = _selected(slices, only, path)
    if whole:
        choice = _of_folder(path, slices, left_out, one_ct=only is not None)
    else:
        choice = _of_file(path, slices, one_ct=only is not None)
    if only is None:
        return choice
    planes = tuple(plane for plane in choice.planes if only.takes(plane.header))
    return Choice(planes=planes, left_out=choice.left_out)


def _selected(slices: list[DicomFile], only: Selection, path: Path) -> list[DicomFile]:
    headers = {
        file.path: [FrameHeader(file.header, frame) for frame in range(file.frames)] for file in slices
    }
    kept = [file for file in slices if any(map(only.takes, headers[file.path]))]
    if not kept:
        values = {text_of(header.get(only.keyword)) for each in headers.values() for header in each}
        raise UsageError(
            f"no slice of {path} has {only.keyword} {only.value} (`slices_where`); there are "
            f"{some(sorted(values))}",
            code="ct.no-slices",
        )
    return kept


def _of_file(path: Path, slices: list[DicomFile], *, one_ct: bool) -> Choice:
    """The CT that a file belongs to: by itself if it holds many frames, else its series in its folder."""
    file = next(each for each in slices if each.path == path)
    if file.frames > 1:
        whole = file.header.get("ConcatenationUID")
        parts = [each for each in slices if whole and each.header.get("ConcatenationUID") == whole]
        return Choice(planes=_planes(parts or [file]), left_out=())
    series = [each for each in slices if _series(each) == _series(file)]
    series, left_out = _without_scouts(series)
    if file not in series:
        raise InputError(
            f"{path} is not a CT slice: ImageType calls it a localizer (scout)", code="ct.no-slices"
        )
    if len(series) > 1:
        return Choice(planes=_planes(series), left_out=tuple(left_out))
    groups, _ = _merged(_singles(_by_series(slices)), one_ct=one_ct)
    for planes in groups:
        if any(plane.path == path for plane in planes):
            return Choice(planes=tuple(planes), left_out=(), scattered=True)
    raise InputError(
        f"{path} is the only slice of its series; a CT volume needs at least two", code="ct.single-slice"
    )


def _of_folder(path: Path, slices: list[DicomFile], left_out: list[LeftOut], *, one_ct: bool) -> Choice:
    """The one CT of a folder; what cannot be part of it is left out."""
    if any(file.is_ct_class for file in slices):
        left_out += [
            LeftOut(file.path, f"of {file.storage}, beside CT images")
            for file in slices
            if not file.is_ct_class
        ]
        slices = [file for file in slices if file.is_ct_class]
    if all(file.is_localizer for file in slices) and sum(file.frames for file in slices) <= _MOST_SCOUTS:
        raise InputError(
            f"{path} contains only localizers (scouts) and no CT: {some([f.path.name for f in slices])}",
            code="ct.no-slices",
        )
    slices, scouts = _without_scouts(slices)
    left_out += scouts
    series = _by_series(slices)
    singles = _singles(series)
    several = [group for group in series.values() if sum(file.frames for file in group) > 1]
    merged, rest = _merged(singles, one_ct=one_ct)
    if len(several) + len(merged) > 1:
        raise InputError(
            _listing(path, [*several, *([p.file for p in planes] for planes in merged)]),
            code="ct.several-series",
        )
    left_out += [LeftOut(file.path, reason) for file, reason in rest]
    if several:
        return Choice(planes=_planes(several[0]), left_out=tuple(left_out))
    if merged:
        return Choice(planes=tuple(merged[0]), left_out=tuple(left_out), scattered=True)
    if len(singles) == 1:
        raise InputError(
            f"{singles[0].path} is the only slice of its series; a CT volume needs at least two",
            code="ct.single-slice",
        )
    raise InputError(
        f"{path} holds {len(singles)} images of as many series, one image each (SeriesInstanceUID), and "
        "study, frame of reference, size and orientation do not say that they are one CT. "
        f"{way_to_merge(singles[0])}",
        code="ct.not-a-series",
    )


def way_to_merge(file: DicomFile) -> str:
    """Return how to read images as one CT each of which has a series of its own."""
    return (
        "If they are one, read it by isoclinic inspect with `slices_where` and what they have in common, as "
        f"`slices_where` Modality={file.header.get('Modality', 'CT')} `save_ct` FILE.nii.gz"
    )


def _series(file: DicomFile) -> str:
    return str(file.header.get("SeriesInstanceUID", ""))


def _by_series(slices: Iterable[DicomFile]) -> dict[str, list[DicomFile]]:
    series: dict[str, list[DicomFile]] = defaultdict(list)
    for file in slices:
        series[_series(file)].append(file)
    return series


def _singles(series: dict[str, list[DicomFile]]) -> list[DicomFile]:
    """The files of series that have one image."""
    return [group[0] for group in series.values() if len(group) == 1 and group[0].frames == 1]


def _planes(files: Iterable[DicomFile]) -> tuple[Plane, ...]:
    return tuple(plane for file in files for plane in planes_of(file))


def _without_scouts(slices: list[DicomFile]) -> tuple[list[DicomFile], list[LeftOut]]:
    """The slices that ImageType does not call localizers, unless it calls all so."""
    kept = [file for file in slices if not file.is_localizer]
    if not kept:
        return slices, []
    reason = "called a localizer (scout) by ImageType"
    return kept, [LeftOut(file.path, reason) for file in slices if file.is_localizer]


def _merged(
    singles: list[DicomFile], *, one_ct: bool
) -> tuple[list[list[Plane]], list[tuple[DicomFile, str]]]:
    """Images that belong together though each has a series of its own, and the rest with reasons.

    They share study, frame of reference (unless they are known to be of `one_ct`), size, orientation and
    spacing.
    """
    groups: list[list[Plane]] = []
    rest = []
    for file in singles:
        try:
            (plane,) = planes_of(file)
        except InputError:
            rest.append((file, "with missing or malformed attributes of a slice"))
            continue
        for group in groups:
            same = one_ct or _reference(group[0]) == _reference(plane)
            if same and alike(group[0], plane):
                group.append(plane)
                break
        else:
            groups.append([plane])
    alone = "alone in the series"
    rest += [(plane.file, alone) for group in groups if len(group) < _FEWEST_MERGED for plane in group]
    return [group for group in groups if len(group) >= _FEWEST_MERGED], rest


def _reference(plane: Plane) -> tuple[str, ...]:
    names = ("StudyInstanceUID", "FrameOfReferenceUID", "SOPClassUID")
    return tuple(str(plane.file.header.get(name, "")) for name in names)


def _listing(path: Path, groups: list[list[DicomFile]]) -> str:
    """The error about several series: what each is, and how to choose one."""
    lines = [
        f"  {sum(file.frames for file in group)} slices, "
        f"{group[0].header.get('SeriesDescription', 'no description')}: {group[0].path}"
        for group in groups[:_MOST_LISTED]
    ]
    if len(groups) > _MOST_LISTED:
        lines.append(f"  and {len(groups) - _MOST_LISTED} more")
    way = "give one file of the wanted one"
    if any(len({file.path.parent for file in group}) > 1 for group in groups):
        uid = _series(groups[0][0])
        way = (
            "choose one by isoclinic inspect with `slices_where` and its SeriesInstanceUID, as "
            f"`slices_where` SeriesInstanceUID={uid} for the first, `save_ct` FILE.nii.gz"
        )
    return "\n".join([f"{path} holds {len(groups)} CT series; {way}:", *lines])
