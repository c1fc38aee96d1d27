"""The CTs of a data set as files of their own, for programs that take CTs."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path

import nibabel as nib

from .._files import atomic
from ..errors import InputError, UsageError
from ..volumes import Volume
from .sample import Dataset


def export_volumes(
    dataset: Dataset,
    folder: Path,
    subjects: Sequence[str] | None = None,
    *,
    overwrite: bool = False,
    on_progress: Callable[[int, int, str], None] = lambda *_: None,
) -> tuple[Path, ...]:
    """Write SUBJECT.nii.gz for every CT, in Hounsfield units, and SUBJECT_labels.nii.gz of its labels.

    Args:
        dataset: of the CTs.
        folder: for the files; made where there is none.
        subjects: whose CTs are written; all when None.
        overwrite: replace files that are there.
        on_progress: told how many are written, how many there are, and which is next.

    Returns:
        Paths of the CTs.

    Raises:
        UsageError: a subject that there is not, or a file that is there.
        InputError: a CT that cannot be read, or a folder that cannot be written to.
    """
    chosen = dataset.subjects if subjects is None else subjects
    unknown = [subject for subject in chosen if subject not in dataset.subjects]
    if unknown:
        raise UsageError(
            f"there is no subject {unknown[0]!r}; there are {', '.join(dataset.subjects)}",
            code="dataset.unknown-name",
        )
    paths = tuple(folder / f"{subject}.nii.gz" for subject in chosen)
    there = [path for path in paths if path.exists()]
    if there and not overwrite:
        raise UsageError(
            f"{there[0]} is there already; choose another folder or add `overwrite`", code="output.exists"
        )
    try:
        folder.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise InputError(f"{folder} cannot be written: {error.strerror}", code="output.unwritable") from error
    for index, (subject, path) in enumerate(zip(chosen, paths, strict=True)):
        on_progress(index, len(paths), subject)
        volume = dataset.volume(subject)
        _write(path, volume, labels=False)
        if volume.labels is not None:
            _write(folder / f"{subject}_labels.nii.gz", volume, labels=True)
    on_progress(len(paths), len(paths), "")
    return paths


def _write(path: Path, volume: Volume, *, labels: bool) -> None:
    image = nib.Nifti1Image(volume.labels if labels else volume.hu, volume.world_from_voxel)
    image.header.set_xyzt_units("mm")
    with atomic(path) as temporary:
        nib.save(image, temporary)
