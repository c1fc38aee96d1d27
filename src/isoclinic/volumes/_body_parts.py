"""Which terms of BodyPartExamined can be about one place (DICOM PS3.16 Annex L, and what devices write)."""

from __future__ import annotations

import re

# From head to foot; neighbours overlap in what a CT or an X-ray of them shows.
_TRUNK = ("head", "neck", "chest", "abdomen", "pelvis", "thigh", "knee", "shank", "foot")
_ARM = ("chest", "shoulder", "upper arm", "elbow", "forearm", "hand")

_TERMS = {
    "head": r"SKULL|HEAD|BRAIN|FACE|JAW|MANDIBLE|MAXILLA|ORBIT|SINUS|\bEAR|NOSE|ZYGOMA|DENTAL|TEETH|\bEYE",
    "neck": r"NECK|C-?SPINE|CERVICAL|LARYNX|THROAT|THYROID",
    "chest": r"CHEST|THORA|T-?SPINE|\bRIB|STERN|LUNG|HEART|CARDIAC|CORONARY|BREAST",
    "shoulder": r"CLAVICLE|SHOULDER|SCAPULA|AC ?JOINT|AXILLA",
    "abdomen": r"ABDO|L-?SPINE|LUMB|LIVER|KIDNEY|PANCREAS|SPLEEN|STOMACH|BOWEL",
    "pelvis": r"PELV|\bHIP|S-?SPINE|SACR|COCCYX|SI ?JOINT|ILIUM|ACETAB|BLADDER|PROSTATE",
    "thigh": r"FEMUR|THIGH|UP(PER)? ?LEG",
    "knee": r"KNEE|PATELLA",
    "shank": r"\bLEG|LOW(ER)? ?LEG|TIBIA|FIBULA|CALF",
    "foot": r"ANKLE|FOOT|FEET|CALCANEUS|HEEL|\bTOE",
    "upper arm": r"HUMERUS|UPPER ?ARM",
    "elbow": r"ELBOW",
    "forearm": r"FOREARM|RADIUS|ULNA",
    "hand": r"WRIST|HAND|FINGER|THUMB|CARPAL",
}


def apart(one: str, other: str) -> bool:
    """Tell whether an image of one term shows nothing of the other; unknown terms never do."""
    first, second = _regions(one), _regions(other)
    return bool(first and second) and not _widened(first) & second


def _regions(term: str) -> frozenset[str]:
    """Regions that a term names; none where it names no known one."""
    return frozenset(region for region, pattern in _TERMS.items() if re.search(pattern, term.upper()))


def _widened(regions: frozenset[str]) -> frozenset[str]:
    """Regions and their neighbours."""
    wide = set(regions)
    for chain in (_TRUNK, _ARM):
        for index, region in enumerate(chain):
            if region in regions:
                wide.update(chain[max(index - 1, 0) : index + 2])
    return frozenset(wide)
