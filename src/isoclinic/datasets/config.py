"""How public data sets are read: options only, importable without any array library."""

from __future__ import annotations

from dataclasses import dataclass

from ..errors import UsageError


@dataclass(frozen=True, kw_only=True)
class DeepFluoroConfig:
    """How DeepFluoro is read.

    Attributes:
        half_voxel_correction: move the stored poses by half a voxel, as the authors' own program does.
            Others (DiffPose, DiffDRR-Datasets, xvr) take them as stored; turn this off to compare with their
            poses.
        upright: turn images by 180 degrees, with their camera, where the file says that the patient is upside
            down.
        border_px: pixels to cut off on each side, which show the collimator; 50 by the authors and others.
        open_beam: intensity without a patient: pixels become line integrals log(open_beam / pixel), as
            DiffPose and DiffDRR-Datasets do with 65487. None leaves intensities, and `line_integrals` finds
            the open beam of each image.
        questionable: samples ("17-1882/003") whose true pose is in doubt. Empty: neither the authors nor
            DiffPose, DiffDRR-Datasets or xvr publish such a list.
        include_questionable: give those too.

    Raises:
        UsageError: a negative border, or an open beam that is not positive.
    """

    half_voxel_correction: bool = True
    upright: bool = True
    border_px: int = 50
    open_beam: float | None = None
    questionable: tuple[str, ...] = ()
    include_questionable: bool = False

    def __post_init__(self) -> None:
        if self.border_px < 0:
            raise UsageError(
                f"border_px must not be negative, not {self.border_px}", code="dataset.invalid-value"
            )
        if self.open_beam is not None and not self.open_beam > 0:
            raise UsageError(
                f"open_beam must be positive, not {self.open_beam}", code="dataset.invalid-value"
            )


@dataclass(frozen=True, kw_only=True)
class LjubljanaConfig:
    """How Ljubljana is read.

    Attributes:
        views: X-rays of each patient: "ap" and "lat"; "ap-max" and "lat-max" are there too.
        subtract_background: make the commonest grey value 0 and cut off what is brighter, as DiffDRR-Datasets
            and xvr do, so that only what the contrast agent darkens is left.
        vessel_threshold: values of the 3-D angiogram below this are background and become air; 1000 in
            DiffDRR-Datasets, 500 in DiffPose.

    Raises:
        UsageError: no view.
    """

    views: tuple[str, ...] = ("ap", "lat")
    subtract_background: bool = True
    vessel_threshold: float = 1000.0

    def __post_init__(self) -> None:
        if not self.views:
            raise UsageError("views must name at least one, such as ap", code="dataset.invalid-value")


@dataclass(frozen=True, kw_only=True)
class CTSpine1kConfig:
    """How CTSpine1K is read.

    Attributes:
        unfinished: use the cases that are ready although the preparation is not finished.
    """

    unfinished: bool = False
