"""A registration as one JSON document, for programs."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import asdict
from pathlib import Path
from typing import Any

from ..registration import LandmarkPose, StructureResult
from .geometry_check import geometry_document
from .names import REPORT
from .registered import Registered, fallback_text, geometry, model_parts, verdict
from .targets import targets_document


def document_of(registered: Registered, folder: Path | None = None) -> dict[str, Any]:
    """The registration as JSON can hold it.

    Args:
        registered: the registration.
        folder: with its files, if they were written.
    """
    xray, result = registered.xrays[0], registered.result
    confidence = result.confidence
    document = {
        "verdict": verdict(registered, None if folder is None else folder / REPORT),
        "output": None if folder is None else str(folder),
        "status": result.status,
        "reason": result.reason,
        "similarity": result.similarity,
        "confidence": {
            "expected_error_mm": confidence.stated_error_mm,
            "expected_error_by_axis_mm": confidence.stated_error_by_axis_mm,
            "expected_rotation_deg": confidence.stated_rotation_deg,
            "edges": confidence.edges,
            "rival": confidence.rival,
            "overlap": confidence.overlap,
            "significance": confidence.significance,
            "doubts": confidence.doubts,
            "geometry": geometry_document(confidence),
        },
        "seconds": result.seconds,
        "camera_from_world": result.camera_from_world.tolist(),
        "initial": {
            "source": result.initial.source,
            "camera_from_world": result.initial.camera_from_world.tolist(),
        },
        "attempts": [asdict(attempt) for attempt in result.attempts],
        "xray": {
            name: {"value": value, "source": xray.provenance.get(name)}
            for name, value in geometry(xray).items()
        },
    }
    if len(registered.xrays) > 1:
        document["cameras_from_world"] = result.cameras_from_world.tolist()
    if registered.made_from.model is not None:
        fallback = fallback_text(result)
        document["model"] = {
            **asdict(registered.made_from.model),
            "contributed": model_parts(result),
            "fallback": None if fallback is None else fallback[0],
        }
    if registered.landmark_pose is not None:
        document["landmarks"] = {
            name: {"residual_px": px, "residual_mm": mm}
            for name, px, mm in residuals(registered.landmark_pose)
        }
    if registered.targets:
        document["targets"] = targets_document(registered.targets)
    if registered.structures:
        document["structures"] = {each.name: _structure(each) for each in registered.structures}
    return document


def residuals(marked: LandmarkPose) -> Iterator[tuple[str, float, float]]:
    """Name and residual of every landmark, in pixels and in millimetres at its depth."""
    yield from zip(marked.names, marked.residuals_px.tolist(), marked.residuals_mm.tolist(), strict=True)


def _structure(each: StructureResult) -> dict[str, Any]:
    stated_mm = each.stated_error_mm
    return {
        "status": each.status,
        "doubts": each.doubts,
        "similarity": each.stated_similarity,
        "visible": each.visible,
        "rotation_deg": each.rotation_deg,
        "translation_mm": each.translation_mm.tolist(),
        "expected_error_mm": (
            None if stated_mm is None else dict(zip(("across", "depth"), stated_mm, strict=True))
        ),
        "camera_from_world": each.camera_from_world.tolist(),
    }
