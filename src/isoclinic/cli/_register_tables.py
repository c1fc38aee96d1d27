"""What `isoclinic register` shows of a result in a terminal."""

from __future__ import annotations

from collections.abc import Sequence

from rich.console import Console
from rich.table import Table

from ..registration import LandmarkPose, StructureResult
from ..results import Registered, Target
from ..results.document import residuals
from ..results.geometry_check import depth_note, geometry_rows
from ..results.names import POSE, REPORT, TRANSFORM
from ..results.registered import ct_text, fallback_text, geometry, model_parts, moved_text, text
from ._wording import as_options


def print_tables(console: Console, registered: Registered, output: str, start: str) -> None:
    """Print everything that is known about a registration.

    Args:
        console: to print on.
        registered: the registration.
        output: the folder with its files.
        start: the option that said where to start.
    """
    console.print(_table(registered, output, start))
    if registered.landmark_pose is not None:
        console.print(_landmarks_table(registered.landmark_pose))
    if registered.targets:
        console.print(_targets_table(registered.targets))
    if registered.structures:
        console.print(_structures_table(registered.structures))


def _table(registered: Registered, output: str, start: str) -> Table:
    result, confidence = registered.result, registered.result.confidence
    made_from = registered.made_from
    table = Table("", "value")
    table.add_column("source", overflow="fold")
    for xray in registered.xrays:
        table.add_row("X-ray", f"{xray.camera.width} x {xray.camera.height} px", str(xray.path))
        for name, value in geometry(xray).items():
            if value is not None:
                table.add_row(f"  {name}", text(value), as_options(xray.provenance.get(name, "")))
    table.add_row("CT", ct_text(registered.volume), made_from.volume.path if made_from.volume else "")
    table.add_section()
    table.add_row("start", result.initial.source, start)
    if made_from.model is not None:
        table.add_row("model", ", ".join(model_parts(result)) or "took no part", made_from.model.path)
        fallback = fallback_text(result)
        if fallback is not None:
            table.add_row("fallback", *fallback)
    table.add_row("status", str(result.status), f"{result.reason}: {result.reason.explanation}")
    error_mm, by_axis_mm = confidence.stated_error_mm, confidence.stated_error_by_axis_mm
    if error_mm is None or by_axis_mm is None:
        table.add_row("expected error", "unknown", "; ".join(confidence.doubts))
    else:
        right_mm, down_mm, depth_mm = by_axis_mm
        table.add_row(
            "expected error",
            f"{error_mm:.2f} mm",
            f"at bones in view: {right_mm:.2f} mm right, {down_mm:.2f} mm down, {depth_mm:.2f} mm in depth",
        )
        if confidence.geometry is not None:
            table.add_row("", "", f"depth: {depth_note(confidence)}")
    table.add_row("similarity", f"{result.similarity:z.3f}", "local correlation; 1 is a perfect match")
    table.add_row("edges", f"{confidence.edges:z.3f}", "correlation of the gradients at low resolution")
    for said, given in geometry_rows(confidence):
        name, _, value = said.partition(": ")
        table.add_row(name, value, given)
    table.add_row("time", f"{result.seconds:.2f} s", "without reading and writing files")
    table.add_row("result", f"{POSE}, {TRANSFORM}, {REPORT}", output)
    return table


def _landmarks_table(marked: LandmarkPose) -> Table:
    table = Table("landmark", title="distance of the start from the landmarks", title_justify="left")
    table.add_column("residual\n\\[px]", justify="right")
    table.add_column("at its depth\n\\[mm]", justify="right")
    for name, px, mm in residuals(marked):
        table.add_row(name, f"{px:.2f}", f"{mm:.2f}")
    table.add_section()
    table.add_row("root mean square", f"{marked.rms_px:.2f}", f"{marked.rms_mm:.2f}")
    return table


def _structures_table(structures: Sequence[StructureResult]) -> Table:
    table = Table(
        "structure",
        "status",
        title="motion of each structure relative to the CT as a whole",
        title_justify="left",
    )
    for heading in (
        "turned\n\\[deg]",
        "right, down, depth\n\\[mm]",
        "expected error\nacross, depth \\[mm]",
        "similarity",
        "in view",
    ):
        table.add_column(heading, justify="right")
    for each in structures:
        similarity, stated_mm = each.stated_similarity, each.stated_error_mm
        table.add_row(
            each.name,
            str(each.status),
            f"{each.rotation_deg:.1f}",
            moved_text(each),
            "unknown" if stated_mm is None else ", ".join(f"{mm:.1f}" for mm in stated_mm),
            "" if similarity is None else f"{similarity:z.2f}",
            f"{each.visible:.0%}",
        )
    table.caption = (
        "One X-ray hardly shows depth. Where it leaves depth open, --moving.expected-motion-mm decides."
    )
    return table


def _targets_table(targets: Sequence[Target]) -> Table:
    table = Table("target", title="expected error at the targets", title_justify="left")
    for heading in ("column, row\n\\[px]", "expected error\n\\[mm]", "right, down, depth\n\\[mm]"):
        table.add_column(heading, justify="right")
    for each in targets:
        error = ("unknown", "")
        if each.expected_error_mm is not None:
            error = (
                f"{each.overall_mm:.2f}",
                ", ".join(f"{mm:.2f}" for mm in each.expected_error_mm),
            )
        table.add_row(each.name, ", ".join(f"{px:z.1f}" for px in each.pixel), *error)
    return table
