"""The table of an evaluation: percentiles and success rates by start and group; CSV, JSON and a picture."""

from __future__ import annotations

import csv
import json
import math
from collections.abc import Mapping, Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Any

import numpy as np
import torch
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from numpy.typing import NDArray

from .._files import atomic
from ..errors import InputError
from .calibration import calibration, calibration_figure
from .metrics import Summary, summary
from .protocol import Measurement, errors_of

ALL_GROUPS = "all"
MEASUREMENTS_CSV, SUMMARY_CSV, SUMMARY_JSON, SUMMARY_PNG, CALIBRATION_PNG = (
    "measurements.csv",
    "summary.csv",
    "summary.json",
    "summary.png",
    "calibration.png",
)

# Initial errors are binned for the success rate.
_BIN_MM = 10.0
_SUCCESS_MM = (1.0, 2.0, 5.0)
_RANGE_MM = (0.01, 1000.0)


def summaries(measurements: Sequence[Measurement]) -> dict[tuple[str, str], Summary]:
    """Summary by (start, group), in the order they come; "all" besides where there are several groups."""
    groups = list(dict.fromkeys(each.group for each in measurements))
    result = {}
    for init in dict.fromkeys(each.init for each in measurements):
        for group in [*groups, ALL_GROUPS] if len(groups) > 1 else groups:
            chosen = [
                each for each in measurements if each.init == init and group in (each.group, ALL_GROUPS)
            ]
            if chosen:
                result[init, group] = _summary(chosen)
    return result


def write_report(folder: Path, measurements: Sequence[Measurement]) -> None:
    """Write every measurement, and the summaries as CSV, JSON and a picture.

    Raises:
        InputError: there is no measurement, or the files cannot be written.
    """
    if not measurements:
        raise InputError("there is no measurement to report")
    _write_csv(folder / MEASUREMENTS_CSV, [_flat(asdict(each)) for each in measurements])
    rows = [
        {"init": init, "group": group} | _flat(_document(each))
        for (init, group), each in summaries(measurements).items()
    ]
    _write_csv(folder / SUMMARY_CSV, rows)
    with atomic(folder / SUMMARY_JSON) as temporary:
        document = json.dumps(summary_document(measurements), indent=2, allow_nan=False)
        temporary.write_text(document + "\n", encoding="utf-8")
    with atomic(folder / SUMMARY_PNG) as temporary:
        summary_figure(measurements).savefig(temporary, format="png", dpi=120)
    with atomic(folder / CALIBRATION_PNG) as temporary:
        calibration_figure(measurements).savefig(temporary, format="png", dpi=120)


def summary_document(measurements: Sequence[Measurement]) -> dict[str, Any]:
    """Summaries and measurements as JSON can hold them: what is infinite or not a number becomes null."""
    table = summaries(measurements)
    document: dict[str, Any] = _finite(
        {
            "summaries": [
                {"init": init, "group": group} | _document(each) for (init, group), each in table.items()
            ],
            "calibration": asdict(calibration(measurements)),
            "measurements": [asdict(each) for each in measurements],
        }
    )
    return document


def summary_figure(measurements: Sequence[Measurement]) -> Figure:
    """Left, the fraction of cases that end below an error, by start; right, success against initial error."""
    figure = Figure(figsize=(11, 4.2), layout="constrained")
    distribution, success = figure.subplots(1, 2)
    _draw_distribution(distribution, measurements)
    _draw_success(success, measurements)
    for axes in (distribution, success):
        axes.set_ylim(0, 1.03)
        axes.grid(alpha=0.3)
        axes.legend()
    return figure


def _draw_distribution(axes: Axes, measurements: Sequence[Measurement]) -> None:
    for init in dict.fromkeys(each.init for each in measurements):
        errors = np.sort(_drawable([each.mtre_mm for each in measurements if each.init == init]))
        share = np.arange(1, len(errors) + 1) / len(errors)
        axes.step(
            np.concatenate([_RANGE_MM[:1], errors, _RANGE_MM[1:]]),
            np.concatenate([[0.0], share, share[-1:]]),
            where="post",
            label=f"start {init}, {len(errors)} cases",
        )
    axes.set_xscale("log")
    axes.set_xlim(*_RANGE_MM)
    axes.set_xlabel("final mTRE [mm]")
    axes.set_ylabel("fraction of cases below")


def _draw_success(axes: Axes, measurements: Sequence[Measurement]) -> None:
    initial = _drawable([each.initial_mtre_mm for each in measurements])
    final = np.array([each.mtre_mm for each in measurements])
    bins = (initial // _BIN_MM).astype(int)
    centres = [(index + 0.5) * _BIN_MM for index in np.unique(bins)]
    for bound in _SUCCESS_MM:
        rates = [(final[bins == index] < bound).mean() for index in np.unique(bins)]
        axes.plot(centres, rates, marker="o", alpha=0.7, label=f"mTRE < {bound:g} mm")
    axes.set_xlim(left=0)
    axes.set_xlabel(f"initial mTRE [mm], in bins of {_BIN_MM:g} mm")
    axes.set_ylabel("fraction of cases that succeed")


def _drawable(errors_mm: Sequence[float]) -> NDArray[np.float64]:
    """Errors within the range of the picture; what is infinite or not a number is at its end."""
    return np.clip(np.nan_to_num(errors_mm, nan=np.inf), *_RANGE_MM)


def _summary(measurements: Sequence[Measurement]) -> Summary:
    return summary(
        errors_of(measurements),
        initial_mtre_mm=torch.tensor([each.initial_mtre_mm for each in measurements], dtype=torch.float64),
        run_time_s=torch.tensor([each.seconds for each in measurements], dtype=torch.float64),
    )


def _document(each: Summary) -> dict[str, Any]:
    return {
        "cases": each.cases,
        "success_below_mm": {"1": each.submillimetre_success_rate}
        | {f"{bound:g}": rate for bound, rate in each.success_rates.items()},
        **{
            metric: {f"p{percent}": value for percent, value in percentiles.items()}
            for metric, percentiles in each.percentiles.items()
        },
    }


def _flat(document: Mapping[str, Any], prefix: str = "") -> dict[str, Any]:
    """Nested entries under joined names."""
    result: dict[str, Any] = {}
    for key, value in document.items():
        if isinstance(value, Mapping):
            result |= _flat(value, f"{prefix}{key}_")
        elif isinstance(value, tuple):
            result |= _flat(dict(zip(("x", "y", "depth"), value, strict=True)), f"{prefix}{key}_")
        else:
            result[f"{prefix}{key}"] = value
    return result


def _finite(value: Any) -> Any:
    if isinstance(value, Mapping):
        return {key: _finite(each) for key, each in value.items()}
    if isinstance(value, list | tuple):
        return [_finite(each) for each in value]
    return None if isinstance(value, float) and not math.isfinite(value) else value


def _write_csv(path: Path, rows: Sequence[Mapping[str, Any]]) -> None:
    with atomic(path) as temporary, temporary.open("w", newline="", encoding="utf-8") as file:
        writer = csv.DictWriter(file, list(rows[0]))
        writer.writeheader()
        writer.writerows(rows)
