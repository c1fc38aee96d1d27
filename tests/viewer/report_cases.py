"""A report of two small views, and what its pictures have to be."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
from numpy.typing import NDArray
from scipy.ndimage import gaussian_filter

from isoclinic.geometry import Camera, PatientSides
from isoclinic.solver import Status
from isoclinic.viewer import (
    CheckRow,
    ConvergenceStage,
    ErrorRow,
    GeometryRow,
    Report,
    ReportLandmarks,
    ReportView,
    StructureRow,
    mask_contours,
)

MASKED = np.s_[:, :30]


def texture(seed: int, shape: tuple[int, int]) -> NDArray[np.float64]:
    return 3 + gaussian_filter(np.random.default_rng(seed).normal(size=shape), 4)


def camera_of(shape: tuple[int, int]) -> Camera:
    """Rows twice as far apart as columns, so that the two cannot be mixed up."""
    return Camera.from_pixel_spacing(
        width=shape[1], height=shape[0], pixel_spacing_mm=(1.0, 0.5), sdd_mm=1000
    )


def box(shape: tuple[int, int], rows: slice, columns: slice) -> NDArray[np.float64]:
    image = np.zeros(shape)
    image[rows, columns] = 1
    return image


def ap_view() -> ReportView:
    shape = (96, 128)
    weight = np.ones(shape, np.float32)
    weight[MASKED] = 0
    return ReportView(
        name="AP",
        xray=texture(0, shape),
        start=texture(1, shape),
        result=texture(2, shape),
        camera=camera_of(shape),
        weight=weight,
        sides=PatientSides(left="R", right="L", top="H", bottom="F"),
        start_sides=PatientSides(left="F", right="H", top="R", bottom="L"),
        landmarks=ReportLandmarks(
            names=["left hip", "L4", "behind"],
            start_px=np.array([[40.0, 20.0], [90.0, 70.0], [np.nan, np.nan]]),
            result_px=np.array([[50.0, 30.0], [100.0, 60.0], [np.nan, np.nan]]),
            given_px=np.array([[53.0, 34.0], [np.nan, np.nan], [10.0, 10.0]]),
        ),
        contours={"pelvis": mask_contours(box(shape, np.s_[20:60], np.s_[30:80]))},
        start_contours={"pelvis": mask_contours(box(shape, np.s_[10:50], np.s_[20:70]))},
    )


def lateral_view() -> ReportView:
    """Without anything that is optional."""
    shape = (112, 80)
    images = {name: texture(seed, shape) for seed, name in enumerate(("xray", "start", "result"), 5)}
    return ReportView(name="Lateral", **images, camera=camera_of(shape))


def structure(**changes) -> StructureRow:
    complete = StructureRow(
        name="L4",
        status=Status.CONVERGED,
        moved="2.0 deg; 1.0, 0.0, -3.0 mm",
        across_mm=0.5,
        depth_mm=4.0,
        visible=0.87,
    )
    return replace(complete, **changes)


def left_in_place() -> StructureRow:
    return structure(
        name="L5",
        status=Status.DOUBTFUL,
        moved="0.0 deg; 0.0, 0.0, 0.0 mm",
        across_mm=np.nan,
        depth_mm=np.nan,
        visible=0.0,
    )


def report(**changes) -> Report:
    complete = Report(
        title="A pelvis",
        status=Status.CONVERGED,
        reasons=["all starts agree"],
        views=[ap_view(), lateral_view()],
        errors=[
            ErrorRow(name="overall", value=0.84, note="at the landmarks"),
            ErrorRow(name="depth", value=0.42),
            ErrorRow(name="down", value=float("inf")),
            ErrorRow(name="rotation", value=0.3, unit="deg"),
        ],
        structures=[structure(), left_in_place()],
        checks=[CheckRow(name="edges correlate", value="0.97", limit="below 0.62")],
        geometry=[GeometryRow(name="sdd_mm", value="1020", source="DistanceSourceToDetector (0018,1110)")],
        warnings=["the field of view is truncated"],
        command="isoclinic register xray.dcm --volume 'my ct.nii.gz' --output result",
        folder="/home/me/case 1",
        stages=[ConvergenceStage(name="32 x 32 px", cost=[4.0, 2.0, 1.0])],
    )
    return replace(complete, **changes)


def stored(image: NDArray[np.floating], seen: NDArray[np.bool_] | None = None) -> NDArray[np.float64]:
    """Tones 0 to 255 of an image between the 0.1th and the 99.9th percentile of the pixels that count."""
    low, high = np.percentile(image if seen is None else image[seen], (0.1, 99.9))
    return np.rint(255 * np.clip((image - low) / (high - low), 0, 1))


def stored_images(view: ReportView) -> dict[str, NDArray[np.float64]]:
    return {
        "xray": stored(view.xray, None if view.weight is None else view.weight > 0),
        "start": stored(view.start),
        "result": stored(view.result),
    }
