"""Which cases are fit for use, and why the others are not."""

from __future__ import annotations

import hashlib
import warnings
from collections.abc import Mapping
from dataclasses import dataclass
from enum import StrEnum
from itertools import pairwise
from typing import Any

import nibabel as nib
import numpy as np
from numpy.typing import NDArray

from ...errors import InputError
from ...volumes import GeometryWarning, Volume
from ...volumes.labels import read_plain
from ...volumes.volume import check_same_grid
from .config import QualityConfig
from .originals import LUMBAR, VERTEBRAE, Original
from .vertebrae import bounding_box, voxels_world

_MM3_PER_CM3 = 1000.0


class Exclusion(StrEnum):
    """Why a case is left out."""

    NO_CT = "no CT"
    NO_MASK = "no mask"
    SAME_NAME = "several files of this name"
    UNREADABLE = "unreadable file"
    NOT_FINITE = "voxels that are not finite"
    NO_ORIENTATION = "orientation unknown"
    OTHER_GRID = "mask on another grid"
    EMPTY_MASK = "empty mask"
    NO_LUMBAR = "no lumbar vertebra"
    FEW_LUMBAR = "too few lumbar vertebrae"
    THICK_SLICES = "slices too thick"
    CUT = "lumbar spine cut off"
    DISORDER = "vertebrae out of order"
    NOT_HU = "values unlike HU"
    DUPLICATE = "same CT as another case"


@dataclass(frozen=True, kw_only=True)
class CaseFinding:
    """What the quality control says of a case.

    Attributes:
        reason: why it is left out; None for a case that is fit for use.
        detail: more about that.
        ct_digest: of the CT's voxels; empty for what could not be read.
        mask_digest: of the mask's voxels.
    """

    reason: Exclusion | None = None
    detail: str = ""
    ct_digest: str = ""
    mask_digest: str = ""


class Unfit(InputError):
    """A case that is left out, with the reason and more about it."""

    def __init__(self, reason: Exclusion, detail: str) -> None:
        super().__init__(f"{reason}: {detail}", code="preparation.case-left-out")
        self.reason = reason
        self.detail = detail

    def __reduce__(self) -> tuple[object, ...]:
        return Unfit, (self.reason, self.detail)


def examine(original: Original, config: QualityConfig) -> CaseFinding:
    """Read a case and look for the first reason to leave it out."""
    volume, reason, detail = None, None, ""
    try:
        volume = read_original(original)
        _check(volume, config)
    except Unfit as unfit:
        reason, detail = unfit.reason, unfit.detail
    if volume is None:
        return CaseFinding(reason=reason, detail=detail)
    return CaseFinding(
        reason=reason, detail=detail, ct_digest=_digest(volume.hu), mask_digest=_digest(volume.labels)
    )


def read_original(original: Original) -> Volume:
    """The CT of a case with its mask.

    Raises:
        Unfit: it cannot be used.
    """
    for files, none in ((original.cts, Exclusion.NO_CT), (original.masks, Exclusion.NO_MASK)):
        if len(files) != 1:
            raise Unfit(Exclusion.SAME_NAME if files else none, ", ".join(map(str, files)))
    ct, mask = original.cts[0], original.masks[0]
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", GeometryWarning)  # what they are about is checked here
        try:
            volume = Volume.read(ct)
            labels, affine = read_plain(mask)
        except InputError as error:
            not_finite = "NaN or infinite" in str(error)
            raise Unfit(Exclusion.NOT_FINITE if not_finite else Exclusion.UNREADABLE, str(error)) from error
    header: Any = nib.load(ct).header
    if header["qform_code"] == 0 and header["sform_code"] == 0:
        raise Unfit(Exclusion.NO_ORIENTATION, f"{ct}: qform and sform codes are 0")
    try:
        check_same_grid(volume, labels, affine, str(mask))
    except InputError as error:
        raise Unfit(Exclusion.OTHER_GRID, str(error)) from error
    return volume.with_labels(labels, VERTEBRAE)


def without_duplicates(findings: Mapping[str, CaseFinding]) -> dict[str, CaseFinding]:
    """The same findings, but of cases with the same CT all but the first are left out."""
    first: dict[str, str] = {}
    result = dict(findings)
    for name, finding in findings.items():
        if finding.reason is None and first.setdefault(finding.ct_digest, name) != name:
            result[name] = CaseFinding(
                reason=Exclusion.DUPLICATE,
                detail=f"as {first[finding.ct_digest]}",
                ct_digest=finding.ct_digest,
                mask_digest=finding.mask_digest,
            )
    return result


def _check(volume: Volume, config: QualityConfig) -> None:
    counts = _label_counts(volume)
    if not counts[1:].any():
        raise Unfit(Exclusion.EMPTY_MASK, "")
    volumes_cm3 = counts * abs(np.linalg.det(volume.world_from_voxel[:3, :3])) / _MM3_PER_CM3
    complete = [
        label for label in LUMBAR if counts[label] and volumes_cm3[label] >= config.least_vertebra_cm3
    ]
    lumbar = [LUMBAR[label] for label in complete if LUMBAR[label] != "L6"]
    if not lumbar:
        raise Unfit(Exclusion.NO_LUMBAR, f"labels {', '.join(map(str, np.flatnonzero(counts[1:]) + 1))}")
    if len(lumbar) < config.least_lumbar:
        raise Unfit(Exclusion.FEW_LUMBAR, f"only {', '.join(lumbar)}")
    if volume.spacing_mm.max() > config.largest_spacing_mm * (1 + 1e-3):
        raise Unfit(Exclusion.THICK_SLICES, f"{volume.spacing_mm.max():.3g} mm")
    lower, upper = bounding_box(volume, complete)
    border_mm = float((np.minimum(lower, volume.shape - upper) * volume.spacing_mm).min())
    if border_mm < config.least_border_mm:
        raise Unfit(Exclusion.CUT, f"{border_mm:.3g} mm from the edge")
    spine = volume.crop(lower.tolist(), upper.tolist())
    _check_order(spine, complete, config)
    mean_hu = float(spine.hu[spine.structure_mask(complete)].mean(dtype=np.float64))
    if not config.vertebra_hu[0] <= mean_hu <= config.vertebra_hu[1]:
        raise Unfit(Exclusion.NOT_HU, f"the lumbar vertebrae have {mean_hu:.0f} on average")


def _check_order(volume: Volume, labels: list[int], config: QualityConfig) -> None:
    centres = [voxels_world(volume, label).mean(axis=0) for label in labels]
    low, high = config.vertebra_distance_mm
    for (above, centre), (below, next_centre) in pairwise(zip(labels, centres, strict=True)):
        step = centre - next_centre
        distance_mm = float(np.linalg.norm(step)) / (below - above)
        if step[2] <= 0 or not low <= distance_mm <= high:
            where = f"{distance_mm:.0f} mm apart" if step[2] > 0 else "upside down"
            raise Unfit(Exclusion.DISORDER, f"{VERTEBRAE[above]} and {VERTEBRAE[below]} are {where}")


def _label_counts(volume: Volume) -> NDArray[np.int64]:
    """Number of voxels by label; row by row, because counting makes 8 bytes of every voxel."""
    assert volume.labels is not None
    labels = np.iinfo(volume.labels.dtype).max + 1
    return np.sum([np.bincount(row.ravel(), minlength=labels) for row in volume.labels], axis=0)


def _digest(voxels: NDArray[np.generic] | None) -> str:
    assert voxels is not None
    return hashlib.blake2b(np.ascontiguousarray(voxels).data, digest_size=16).hexdigest()
