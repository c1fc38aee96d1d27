"""Measurements made up for tests of statistics and reports."""

from __future__ import annotations

from typing import Any

from isoclinic.evaluation.measurement import Measurement


def measurement(
    case: str = "chest/00", start: str = "15", mtre_mm: float = 1.0, method: str = "isoclinic", **changes: Any
) -> Measurement:
    values: dict[str, Any] = {
        "dataset": "cases",
        "case": case,
        "group": case.split("/")[0],
        "method": method,
        "start": start,
        "landmarks": "0123456789ab",
        "initial_mtre_mm": 15.0,
        "mtre_mm": mtre_mm,
        "mpd_mm": 2 * mtre_mm,
        "mrpd_mm": mtre_mm / 2,
        "rotation_deg": 0.5,
        "translation_mm": (-1.0, 0.5, 2.0),
        "status": "converged",
        "similarity": 0.9,
        "expected_error_mm": 0.4,
        "seconds": 1.5,
    }
    return Measurement(**values | changes)
