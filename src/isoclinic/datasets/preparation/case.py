"""One case from the original files to everything that is kept of it."""

from __future__ import annotations

import json
from dataclasses import dataclass
from pathlib import Path

import nibabel as nib
import numpy as np

from ..._files import atomic
from ...rendering import render
from ...volumes import Volume
from .._documents import read_document
from .config import PreparationConfig
from .drrs import EXACT, draw_poses, write_drrs
from .landmarks import find_landmarks
from .lumbar import extract_lumbar
from .originals import LUMBAR, Original
from .picture import write_picture
from .quality import read_original
from .surface import surface_of
from .vertebrae import present

CT_FILE = "ct.nii.gz"
LABELS_FILE = "labels.nii.gz"
_NAMES_FILE = "labels.json"
_SURFACE_FILE = "surface.surf.gii"
_PICTURE_FILE = "check.png"
CASE_FILE = "case.json"


@dataclass(frozen=True, kw_only=True)
class CaseTask:
    """A case to prepare.

    Attributes:
        original: its files.
        folder: for what is made of it.
        key: digest of everything that depends on.
        config: how.
    """

    original: Original
    folder: Path
    key: str
    config: PreparationConfig

    def __str__(self) -> str:
        return self.original.name


def is_done(task: CaseTask) -> bool:
    """Whether a case is prepared completely, with this key."""
    return key_of(task.folder) == task.key


def key_of(folder: Path) -> str | None:
    """Key of a prepared case; None if it is not complete."""
    file = folder / CASE_FILE
    return str(read_document(file, "key")["key"]) if file.exists() else None


def prepare_case(task: CaseTask) -> None:
    """Write all files of a case; `case.json`, which says that it is complete, comes last.

    Raises:
        InputError: a file cannot be written, or a vertebra without surface.
        UsageError: h5py is not installed.
    """
    config, folder = task.config, task.folder
    folder.mkdir(parents=True, exist_ok=True)
    (folder / CASE_FILE).unlink(missing_ok=True)
    for leftover in folder.glob(".*"):  # of a run that was killed
        leftover.unlink()
    _write_volume(folder, extract_lumbar(read_original(task.original), config.lumbar))
    # As it is read back: NIfTI rounds the affine.
    volume = Volume.read(folder / CT_FILE, labels=folder / LABELS_FILE)
    lumbar = present(volume, LUMBAR)
    surface = surface_of(volume, lumbar, config.surface)
    surface.write(folder / _SURFACE_FILE)
    landmarks = find_landmarks(volume, surface, lumbar, config.landmarks)
    poses = draw_poses(config.drrs, task.original.name, np.mean(list(landmarks.values()), axis=0))
    camera = config.drrs.camera
    first = render(volume, camera, poses[0], EXACT)[0].numpy()
    write_picture(folder / _PICTURE_FILE, task.original.name, surface, landmarks, first, camera, poses[0])
    write_drrs(folder, volume, poses, landmarks, config.drrs, task.key)
    images_of = [config.drrs.file_of(image) for image in range(config.drrs.images)]
    document = {
        "key": task.key,
        "originals": [str(path) for path in (*task.original.cts, *task.original.masks)],
        "drrs": {file: images_of.count(file) for file in dict.fromkeys(images_of)},
    }
    write_json(folder / CASE_FILE, document)


def write_json(path: Path, document: object) -> None:
    """Write a JSON file.

    Raises:
        InputError: it cannot be written.
    """
    with atomic(path) as temporary:
        temporary.write_text(json.dumps(document, indent=2) + "\n", encoding="utf-8")


def _write_volume(folder: Path, volume: Volume) -> None:
    assert volume.labels is not None
    names = {label: volume.label_names[label] for label in present(volume, volume.label_names)}
    for file, voxels in ((CT_FILE, volume.hu), (LABELS_FILE, volume.labels)):
        image = nib.Nifti1Image(voxels, volume.world_from_voxel)
        image.header.set_xyzt_units("mm")
        with atomic(folder / file) as temporary:
            nib.save(image, temporary)
    write_json(folder / _NAMES_FILE, names)
