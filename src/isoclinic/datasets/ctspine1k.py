"""CTSpine1K as `preparation` leaves it: lumbar spines, each with DRRs at known poses and landmarks."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import torch

from ..errors import InputError
from ..geometry import Camera, as_poses
from ..volumes import Volume, XRay
from ._documents import read_document
from ._hdf5 import Node, opened
from ._indexed import IndexedDataset, stacked
from .config import CTSpine1kConfig
from .preparation.case import CASE_FILE, CT_FILE, LABELS_FILE
from .preparation.originals import GET
from .preparation.prepare import DATASET_FILE, FORMAT, VERSION
from .sample import Sample

_PREPARE = "isoclinic dataset prepare ctspine1k"
_PROVENANCE = dict.fromkeys(
    ("sdd_mm", "pixel_spacing_mm", "principal_point_px", "polarity", "pixel_scale"), "rendered (a DRR)"
)


class CTSpine1k(IndexedDataset):
    """The folder that `isoclinic dataset prepare ctspine1k` wrote.

    Subjects are cases of CTSpine1K ("liver_106"), samples their DRRs ("liver_106/0007"). An X-ray's pixels
    are line integrals through the CT of the sample, whose labels are the vertebrae ("L3"). Landmarks are
    those that `preparation.find_landmarks` finds ("L3/centroid").

    Args:
        path: of the folder.
        config: how to read it.

    Raises:
        InputError: a folder that is missing, damaged, something else, or whose preparation is not finished.
        UsageError: h5py is not installed.
    """

    def __init__(self, path: str | Path, config: CTSpine1kConfig | None = None) -> None:
        self.config = config or CTSpine1kConfig()
        folder = Path(path)
        cases = _cases(folder)
        ready = [case for case in cases or () if (folder / case / CASE_FILE).is_file()]
        if cases is None or not ready or (len(ready) < len(cases) and not self.config.unfinished):
            raise InputError(
                f"the preparation of {folder} is not finished ({len(ready)} of {len(cases or ()) or '?'}"
                f" cases); run {_PREPARE} again with the same options, it goes on where it stopped",
                code="dataset.not-prepared",
            )
        self._documents = {case: read_document(folder / case / CASE_FILE) for case in ready}
        self._places = {case: _places(folder, case, document) for case, document in self._documents.items()}
        super().__init__(folder, {case: tuple(places) for case, places in self._places.items()})

    def _read_volume(self, subject: str) -> Volume:
        folder = self.path / subject
        try:
            return Volume.read(folder / CT_FILE, labels=folder / LABELS_FILE)
        except InputError as error:
            raise InputError(f"{error}; {_remedy(folder)}", code="dataset.not-prepared") from error

    def _read_sample(self, subject: str, xray: str, volume: Volume) -> Sample:
        path, index = self._places[subject][xray]
        with self._open(path, self._documents[subject]["key"]) as file:
            size = file.child("camera")
            camera = Camera(
                width=int(size.number("width")),
                height=int(size.number("height")),
                **{name: size.number(name) for name in ("fx", "fy", "cx", "cy", "sdd_mm")},
            )
            pose = as_poses(file.element("camera_from_world", index, 2), file.label("camera_from_world"))[0]
            landmarks = {
                f"{vertebra}/{name}": points.vector(name, 3)
                for vertebra in file.child("landmarks")
                for points in [file.child(f"landmarks/{vertebra}")]
                for name in points
            }
            pixels = file.element("images", index, 2)
        return Sample(
            name=f"{subject}/{xray}",
            subject=subject,
            volume=volume,
            xray=XRay(
                pixels=pixels,
                camera=camera,
                polarity="dark_air",
                pixel_scale="log",
                provenance=_PROVENANCE,
                path=path,
            ),
            camera_from_world=pose.to(torch.float64),
            landmark_names=tuple(landmarks),
            landmarks_world=stacked(landmarks),
        )

    def _files(self, subject: str, xray: str) -> tuple[Path, ...]:
        folder = self.path / subject
        return folder / CT_FILE, self._places[subject][xray][0], folder / LABELS_FILE

    @contextmanager
    def _open(self, path: Path, key: str) -> Iterator[Node]:
        remedy = _remedy(path.parent)
        with opened(path, remedy) as file:
            if file is None or "key" not in file:
                raise InputError(f"{path} is no file of DRRs; {remedy}", code="dataset.not-prepared")
            if file.text("key") != key:
                raise InputError(
                    f"{path} is of another preparation than {CASE_FILE} beside it; {remedy}",
                    code="dataset.mixed",
                )
            yield file


def _cases(folder: Path) -> list[str] | None:
    """Names of the cases of a prepared data set; None while they are not known."""
    file = folder / DATASET_FILE
    if not file.is_file():
        what = f"has no {DATASET_FILE}" if folder.is_dir() else "is not a folder"
        raise InputError(
            f"{folder} {what}: it is not what {_PREPARE} writes. To prepare CTSpine1K, {GET}, then run"
            f" {_PREPARE}",
            code="dataset.not-prepared",
        )
    document = read_document(file)
    if document.get("format") != FORMAT or document.get("version") != VERSION:
        raise InputError(
            f"{file} is {document.get('format')} {document.get('version')}, not {FORMAT} {VERSION}: prepare"
            " CTSpine1K with this version of isoclinic",
            code="dataset.not-prepared",
        )
    cases: list[str] | None = document.get("cases")
    return cases


def _places(folder: Path, case: str, document: Mapping[str, Any]) -> dict[str, tuple[Path, int]]:
    """File of each DRR of a case and its number there, by name."""
    if not isinstance(document.get("key"), str) or not isinstance(document.get("drrs"), dict):
        raise InputError(
            f"{folder / case / CASE_FILE} lacks key or drrs; {_remedy(folder / case)}",
            code="dataset.not-prepared",
        )
    places = [(folder / case / file, index) for file, n in document["drrs"].items() for index in range(n)]
    return {f"{number:04d}": place for number, place in enumerate(places)}


def _remedy(case: Path) -> str:
    return f"delete the folder {case} and run {_PREPARE} again, which makes it anew"
