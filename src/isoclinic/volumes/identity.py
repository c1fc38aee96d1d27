"""The patients of CTs and X-rays by their DICOM headers, and whether both can show the same part of one.

DICOM PS3.3 C.7.1.1 (Patient), C.7.4.1 (Frame of Reference), C.7.3.1 and C.8.11.2 (body part, laterality).
"""

from __future__ import annotations

import re
import unicodedata
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from itertools import combinations

from ._body_parts import apart
from ._dicom_header import DicomHeader
from .findings import Finding

OPTION = "same_patient"
_REMEDY = "`same_patient`, if they show the same part of one patient"
# What removes names from files leaves instead of them.
_NOBODY = frozenset(
    {
        *("UNKNOWN", "NONE", "NULL", "NO", "NAME", "NONAME", "NOBODY", "UNNAMED", "UNSPECIFIED", "SUBJECT"),
        *("REMOVED", "REDACTED", "NOT", "AVAILABLE", "NA", "N", "A", "DE", "IDENTIFIED", "DEIDENTIFIED"),
        *("PATIENT", "TEST"),
    }
)
_SIDES = {"R": "right", "L": "left"}


@dataclass(frozen=True, kw_only=True)
class Identity:
    """The patient, side and body part that an image shows; empty where its file does not say.

    Attributes:
        patient_ids: PatientID first, then OtherPatientIDs, without padding and upper case.
        issuer: IssuerOfPatientID, within which identifiers are unique.
        names: parts of PatientName, without accents and upper case.
        birth_date: PatientBirthDate, eight digits.
        sex: "M" or "F".
        frame_of_reference: FrameOfReferenceUID.
        laterality: "R" or "L" where the image is of one side.
        body_part: BodyPartExamined.
    """

    patient_ids: tuple[str, ...] = ()
    issuer: str = ""
    names: frozenset[str] = frozenset()
    birth_date: str = ""
    sex: str = ""
    frame_of_reference: str = ""
    laterality: str = ""
    body_part: str = ""

    @classmethod
    def of(cls, header: DicomHeader | None) -> Identity:
        """As a header says; what anonymisation left in the place of a name or number counts as missing."""
        if header is None:
            return cls()
        birth_date = re.sub(r"\D", "", header.text("PatientBirthDate"))
        sides = (header.text(word).upper() for word in ("FrameLaterality", "ImageLaterality", "Laterality"))
        sex = header.text("PatientSex").upper()
        return cls(
            patient_ids=tuple(dict.fromkeys(_patient_ids(header))),
            issuer=header.text("IssuerOfPatientID").upper(),
            names=_names(header.text("PatientName")),
            birth_date=birth_date if len(birth_date) == 8 and birth_date[:4] > "1800" else "",
            sex=sex if sex in ("M", "F") else "",
            frame_of_reference=header.text("FrameOfReferenceUID"),
            laterality=next((side for side in sides if side in _SIDES), ""),
            body_part=header.text("BodyPartExamined").upper(),
        )


def compare_identities(identities: Sequence[tuple[str, Identity]], volumes: int = 1) -> tuple[Finding, ...]:
    """Return what says that images are not of one patient's same part.

    Frames of reference of a CT and an X-ray differ as a rule, as the two are taken at different times: they
    are compared only where no PatientID tells; those of X-rays are always compared.

    Args:
        identities: each with the name of what it is of, CTs first.
        volumes: how many of them are CTs.
    """
    return tuple(
        Finding(
            level="warning",
            subject="view",
            message=f"the headers of {second} and {first} do not agree on whom they show: {difference}",
            remedy=_REMEDY,
            unsettled=True,
            settled_by=(OPTION,),
        )
        for (i, (first, one)), (_, (second, other)) in combinations(enumerate(identities), 2)
        for difference in _differences(one, other, both_xrays=i >= volumes)
    )


def _differences(one: Identity, other: Identity, *, both_xrays: bool) -> Iterator[str]:
    same = _same_patient(one, other)
    if same is False:
        yield _other_patient(one, other)
    frames = one.frame_of_reference, other.frame_of_reference
    if all(frames) and frames[0] != frames[1] and (both_xrays or same is None):
        moved = "; the patient may have moved between them" if both_xrays else ""
        yield f"FrameOfReferenceUID (0020,0052) differs{moved}"
    sides = one.laterality, other.laterality
    if all(sides) and sides[0] != sides[1]:
        names = " and ".join(_SIDES[side] for side in reversed(sides))
        yield f"laterality differs (ImageLaterality (0020,0062) or Laterality (0020,0060)): {names}"
    if apart(one.body_part, other.body_part):
        yield f"BodyPartExamined (0018,0015) differs: {other.body_part} and {one.body_part}"


def _same_patient(one: Identity, other: Identity) -> bool | None:
    """Tell whether the patient is the same; None where nothing tells."""
    if _comparable(one, other):
        return bool(set(one.patient_ids) & set(other.patient_ids))
    told = [
        _agree(one.names, other.names),
        one.birth_date == other.birth_date if one.birth_date and other.birth_date else None,
    ]
    if False in told or (one.sex and other.sex and one.sex != other.sex):
        return False
    return True if True in told else None


def _comparable(one: Identity, other: Identity) -> bool:
    """Tell whether both have numbers, and not of two hospitals that number on their own."""
    issuers = {one.issuer, other.issuer} - {""}
    return bool(one.patient_ids and other.patient_ids) and len(issuers) < 2


def _agree(one: frozenset[str], other: frozenset[str]) -> bool | None:
    """Tell whether two names can be one person's: some files have initials, second names or titles."""
    if not one or not other:
        return None
    fewer, more = sorted((one, other), key=len)
    return all(any(_abbreviates(part, each) for each in more) for part in fewer)


def _abbreviates(part: str, other: str) -> bool:
    return part == other or (min(len(part), len(other)) == 1 and part[0] == other[0])


def _other_patient(one: Identity, other: Identity) -> str:
    """Which attributes differ; names are not shown, and of numbers the end."""
    if _comparable(one, other):
        shown = " and ".join(_shortened(each.patient_ids[0]) for each in (other, one))
        rest = [_agree(one.names, other.names), one.birth_date == other.birth_date or None]
        known = " (name and birth date agree)" if rest == [True, True] and one.birth_date else ""
        return f"PatientID (0010,0020) differs, {shown}{known}"
    attributes = []
    if _agree(one.names, other.names) is False:
        attributes.append("PatientName (0010,0010)")
    if one.birth_date and other.birth_date and one.birth_date != other.birth_date:
        attributes.append("PatientBirthDate (0010,0030)")
    if one.sex and other.sex and one.sex != other.sex:
        attributes.append("PatientSex (0010,0040)")
    return f"{' and '.join(attributes)} {'differs' if len(attributes) == 1 else 'differ'}"


def _shortened(patient_id: str) -> str:
    return f"...{patient_id[-min(4, max(1, len(patient_id) // 2)) :]}"


def _patient_ids(header: DicomHeader) -> Iterator[str]:
    others = header.get("OtherPatientIDs")
    several = [others] if isinstance(others, str) else list(others or ())
    items = header.get("OtherPatientIDsSequence") or ()
    nested = [str(item.get("PatientID", "")) for item in items]
    own = header.text("PatientID")
    if not _known(own):
        return  # others alone tell nothing of the one that counts
    for each in (own, *map(str, several), *nested):
        if _known(each):
            bare = re.sub(r"\s+", "", each).upper()
            yield bare.lstrip("0") or bare


def _names(name: str) -> frozenset[str]:
    alphabetic = name.partition("=")[0]
    if not _known(alphabetic):
        return frozenset()
    plain = unicodedata.normalize("NFKD", alphabetic)
    letters = "".join(char for char in plain if not unicodedata.combining(char)).upper()
    return frozenset(part for part in re.split(r"[\W_]+", letters) if part)


def _known(text: str) -> bool:
    """Tell whether a name or number says something: not words for nobody, nor one character over and over."""
    words = [word for word in re.split(r"[\W_]+", text.upper()) if word]
    if any(re.fullmatch(r"ANON\d*|ANONYM.*", word) for word in words):
        return False
    return any(word not in _NOBODY for word in words) and len(set("".join(words))) > 1
