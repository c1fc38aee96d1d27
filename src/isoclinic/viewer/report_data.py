"""The content of a report, as plain data: whoever registered fills it in."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

import numpy as np
from numpy.typing import NDArray

from ..errors import InputError
from ..geometry import Camera, PatientSides
from ..solver import Status
from ._panels import check_size
from .convergence import ConvergenceStage

# Vertices that move an outline by less than this [px] are left out.
_OUTLINE_TOLERANCE_PX = 0.2


@dataclass(frozen=True, kw_only=True)
class ErrorRow:
    """One line of the table of errors.

    Attributes:
        name: name of the error, such as "overall" or "depth".
        value: the error; not finite where it is unknown.
        unit: "mm" or "deg".
        note: its meaning, such as the points it is measured at.
        parts: the parts of which it consists, in a few words; shown beside it at the top.
    """

    name: str
    value: float
    unit: str = "mm"
    note: str = ""
    parts: str = ""


@dataclass(frozen=True, kw_only=True)
class CheckRow:
    """One line of the table of checks.

    Attributes:
        name: name of the check.
        value: the value that was found, for people to read.
        limit: the limit beyond which a result is doubtful.
    """

    name: str
    value: str
    limit: str


@dataclass(frozen=True, kw_only=True)
class StructureRow:
    """One line of the table of structures registered one by one.

    Attributes:
        name: name of the structure.
        status: whether its pose can be relied on.
        doubts: reasons not to, for people to read.
        moved: how, relative to the CT as a whole, for people to read.
        across_mm: expected error across the beam [mm]; not finite where it is unknown.
        depth_mm: the same in depth.
        visible: share of it in the X-ray, 0 to 1.
    """

    name: str
    status: Status
    moved: str
    across_mm: float
    depth_mm: float
    visible: float
    doubts: Sequence[str] = ()


@dataclass(frozen=True, kw_only=True)
class GeometryRow:
    """One line of the table of inputs and geometry.

    Attributes:
        name: name of the value, such as "sdd_mm".
        value: the value, for people to read.
        source: the file, tag or option that it comes from.
    """

    name: str
    value: str
    source: str = ""


@dataclass(frozen=True, kw_only=True, eq=False)
class ReportLandmarks:
    """Landmarks of the CT in one view; a row that is not finite is not in front of the camera, or not given.

    Attributes:
        names: N of them.
        start_px: [N, 2], (u, v) projected at the initial pose.
        result_px: [N, 2], projected at the result.
        given_px: [N, 2], where they are in the X-ray, if known.

    Raises:
        InputError: positions that are not [N, 2].
    """

    names: Sequence[str]
    start_px: NDArray[np.floating]
    result_px: NDArray[np.floating]
    given_px: NDArray[np.floating] | None = None

    def __post_init__(self) -> None:
        for name in ("start_px", "result_px", "given_px"):
            positions = getattr(self, name)
            if positions is not None and positions.shape != (len(self.names), 2):
                raise InputError(
                    f"{name} of {len(self.names)} landmarks must have shape ({len(self.names)}, 2), "
                    f"not {positions.shape}",
                    code="picture.wrong-shape",
                )


@dataclass(frozen=True, kw_only=True, eq=False)
class ReportView:
    """One X-ray with the CT rendered at the initial pose and at the result.

    A view of 640 x 640 pixels takes up to 1 MB of the report: average larger images down first.

    Attributes:
        name: name of the view, such as "AP"; for people to read.
        xray: [H, W], bright where dense.
        start: [H, W], DRR at the initial pose.
        result: [H, W], DRR at the result.
        camera: the camera of all of them.
        start_bones: [H, W], bone alone at the initial pose, whose edges are drawn; those of `start` if None.
        result_bones: [H, W], the same at the result.
        weight: [H, W] in 0..1; pixels of weight zero do not count, set no tones and carry no edges.
        sides: sides of the patient at the result, to be marked.
        start_sides: the same at the initial pose.
        landmarks: landmarks of the CT, if there are any.
        contours: outlines at the result by structure, polylines [M, 2] of (u, v) each; see `mask_contours`.
        start_contours: the same at the initial pose.

    Raises:
        InputError: images of different sizes.
    """

    name: str
    xray: NDArray[np.floating]
    start: NDArray[np.floating]
    result: NDArray[np.floating]
    camera: Camera
    start_bones: NDArray[np.floating] | None = None
    result_bones: NDArray[np.floating] | None = None
    weight: NDArray[np.floating] | None = None
    sides: PatientSides | None = None
    start_sides: PatientSides | None = None
    landmarks: ReportLandmarks | None = None
    contours: Mapping[str, Sequence[NDArray[np.floating]]] = field(default_factory=dict)
    start_contours: Mapping[str, Sequence[NDArray[np.floating]]] = field(default_factory=dict)

    def __post_init__(self) -> None:
        images = {
            "X-ray": self.xray,
            "DRR at the start": self.start,
            "DRR": self.result,
            "bone at the start": self.start_bones,
            "bone at the result": self.result_bones,
            "weight map": self.weight,
        }
        check_size(self.camera, {name: image for name, image in images.items() if image is not None})


@dataclass(frozen=True, kw_only=True, eq=False)
class Report:
    """All that is known about a registration.

    Attributes:
        title: title of the report.
        status: whether the result can be relied on.
        reasons: reasons for the status.
        views: the X-rays, or the bones in them; tabs where there are several.
        errors: errors to expect; the first is repeated at the top.
        structures: the structures that were registered one by one.
        checks: the checks that say whether the result can be relied on.
        geometry: inputs and geometry, with their sources.
        warnings: all that was odd.
        command: the command line that does it again.
        folder: the folder to run it in.
        stages: course of the optimisation, if it is to be drawn.

    Raises:
        InputError: there is no view.
    """

    title: str
    status: Status
    reasons: Sequence[str] = ()
    views: Sequence[ReportView]
    errors: Sequence[ErrorRow] = ()
    structures: Sequence[StructureRow] = ()
    checks: Sequence[CheckRow] = ()
    geometry: Sequence[GeometryRow] = ()
    warnings: Sequence[str] = ()
    command: str = ""
    folder: str = ""
    stages: Sequence[ConvergenceStage] = ()

    def __post_init__(self) -> None:
        if not self.views:
            raise InputError("a report needs at least one view", code="picture.incomplete")


def mask_contours(
    rendered: NDArray[np.floating] | NDArray[np.bool_], level: float = 0.5
) -> list[NDArray[np.float64]]:
    """Outlines of a structure in an image, closed also where the structure leaves it.

    Args:
        rendered: [H, W], a mask, or the length of every ray within the structure [mm].
        level: the outline's value: half way between pixels in and out of a mask, or that many millimetres.

    Returns:
        Polylines [M, 2] of (u, v) [px], the last point the same as the first.
    """
    from skimage.measure import approximate_polygon, find_contours  # it takes long to import

    padded = np.pad(np.asarray(rendered, np.float64), 1)
    outlines = (approximate_polygon(each, _OUTLINE_TOLERANCE_PX) for each in find_contours(padded, level))
    return [outline[:, ::-1] - 1 for outline in outlines]
