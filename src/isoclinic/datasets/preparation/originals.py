"""Where the files of CTSpine1K are: CTs and their vertebra masks, paired by name.

Deng et al., "CTSpine1K: a large-scale dataset for spinal vertebrae segmentation in computed tomography",
arXiv:2105.14711; https://github.com/MIRACLE-Center/CTSpine1K. Its authors name a mask after its CT:
`<case>.nii.gz` and `<case>_seg.nii.gz` (`Task056_VerSe2019.py` there, at 95deac3). The copy that they link
to, https://huggingface.co/datasets/alexanderdann/CTSpine1K, has the folders `raw_data/volumes/<sub-data set>`
and `raw_data/labels/<sub-data set>`; its description says `rawdata`, and CTs downloaded from the four sources
lie elsewhere. So files are found in any folders.
"""

from __future__ import annotations

from collections import defaultdict
from dataclasses import dataclass
from pathlib import Path

from ...errors import InputError

GET = (
    "get it (1005 CTs with masks, about 150 GB) from https://huggingface.co/datasets/alexanderdann/CTSpine1K,"
    " to which https://github.com/MIRACLE-Center/CTSpine1K links"
)
_EXPECTED = (
    "CTSpine1K is CTs raw_data/volumes/<sub-data set>/<case>.nii.gz and masks"
    " raw_data/labels/<sub-data set>/<case>_seg.nii.gz"
)

# VerSe's numbers (https://osf.io/b2wxj/wiki): the authors of CTSpine1K train one network for both, with
# labels 1 to 25 (their ReadMe.md).
_SPINE = (*(f"C{n}" for n in range(1, 8)), *(f"T{n}" for n in range(1, 13)), *(f"L{n}" for n in range(1, 7)))
VERTEBRAE = dict(enumerate(_SPINE, start=1))
LUMBAR = {label: name for label, name in VERTEBRAE.items() if name.startswith("L")}

_SUFFIXES = (".nii.gz", ".nii")
_MASK_ENDING = "_seg"
_MASK_FOLDERS = frozenset({"label", "labels", "mask", "masks", "annotation", "annotations"})


@dataclass(frozen=True, kw_only=True)
class Original:
    """The files of one name; a case has one CT and one mask.

    Attributes:
        name: the name of the CT's file, without its ending.
        cts: its CTs.
        masks: its masks.
    """

    name: str
    cts: tuple[Path, ...]
    masks: tuple[Path, ...]


def find_originals(folder: Path) -> tuple[Original, ...]:
    """Cases of CTSpine1K in a folder, at any depth, ordered by name.

    A file is a mask if its name ends in `_seg`, or if it lies in a folder such as `labels`.

    Raises:
        InputError: there are no CTs or no masks; the message says what is expected, and where to get it.
    """
    found: dict[str, tuple[list[Path], list[Path]]] = defaultdict(lambda: ([], []))
    for path in sorted(folder.rglob("*")):
        suffix = next((each for each in _SUFFIXES if path.name.lower().endswith(each)), None)
        if suffix is None or path.name.startswith(".") or not path.is_file():
            continue
        stem = path.name[: -len(suffix)]
        folders = {part.lower() for part in path.relative_to(folder).parts[:-1]}
        is_mask = stem.endswith(_MASK_ENDING) or bool(folders & _MASK_FOLDERS)
        found[stem.removesuffix(_MASK_ENDING)][is_mask].append(path)
    for index, kind in ((0, "CT"), (1, "mask")):
        if not any(files[index] for files in found.values()):
            what = "is not a folder" if not folder.is_dir() else f"holds no {kind} of CTSpine1K"
            raise InputError(f"{folder} {what}. {_EXPECTED}; {GET}", code="preparation.originals-missing")
    return tuple(
        Original(name=name, cts=tuple(cts), masks=tuple(masks))
        for name, (cts, masks) in sorted(found.items())
    )
