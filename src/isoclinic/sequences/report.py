"""One page, complete in itself, to judge a tracked run by: courses over time, pictures, frames to look at."""

from __future__ import annotations

import base64
from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from io import BytesIO
from pathlib import Path

import torch
from markupsafe import Markup
from PIL import Image

from .._files import atomic
from ..registration import RegistrationConfig
from ..solver import Status
from ..viewer.html import bullets, cell, column, folded, heading, summary, table
from ..volumes import Volume
from .charts import Point, chart
from .config import SequenceConfig
from .frames import Frames
from .motion import PARAMETERS, parameters
from .pictures import chosen, planes_picture, write_animation
from .record import FrameRecord
from .relative import AXES, Joint, joints_of, relative_motion
from .tables import POSES, RELATIVE, write_poses, write_relative
from .tracking import LEDGER

REPORT, ANIMATION = "report.html", "animation.gif"
# Files that a tracked run consists of.
SEQUENCE_FILES = frozenset({LEDGER, POSES, RELATIVE, REPORT, ANIMATION})
# A larger animation is not put into the page [bytes].
_LARGEST = 8 * 2**20
_FEW_REASONS = 5
_MOST_ROWS = 200
_RELATIVE_TO = (
    "These curves show the position of the CT's centre, and the rotation of the CT since frame {} as a "
    "rotation vector. Both are in the frame of the first plane's camera."
)
_ERRORS = {
    0: "Expected error to the right",
    1: "Expected error down",
    2: "Expected error in depth",
}


@dataclass(frozen=True, kw_only=True, eq=False)
class TrackedSequence:
    """A tracked run with everything that its files show.

    Attributes:
        volume: the CT.
        frames: of the run, in its first plane.
        second_plane: of the run, in its second plane, if there is one.
        records: what is known about each of them.
        registration: how they were registered.
        config: how they are shown.
        names: of the structures that were registered one by one, in the order in which they were asked for.
        warnings: what was said meanwhile.
        command: a command line that does it again.
    """

    volume: Volume
    frames: Frames
    records: Sequence[FrameRecord]
    registration: RegistrationConfig
    config: SequenceConfig
    names: Sequence[str] = ()
    warnings: Sequence[str] = ()
    command: str = ""
    second_plane: Frames | None = None

    @property
    def planes(self) -> list[Frames]:
        """The frames in every plane."""
        return [self.frames] if self.second_plane is None else [self.frames, self.second_plane]

    @property
    def joints(self) -> list[Joint]:
        """Of the structures."""
        return joints_of(self.names) if len(self.names) > 1 else []

    @property
    def counts(self) -> Counter[str]:
        """Frames by what became of them.

        They are "right" (all checks passed), among these "unsettled", "doubtful", "unusable", "jumped",
        "searched" and "unchanged".
        """
        found: Counter[str] = Counter()
        for record in self.records:
            found["right"] += record.right
            found["unusable"] += not record.usable
            found["doubtful"] += record.usable and not record.right
            found["unsettled"] += record.right and record.status == Status.MAX_STEPS
            for mark in ("jumped", "searched", "unchanged"):
                found[mark] += bool(getattr(record, mark))
        return found

    @property
    def doubtful(self) -> bool:
        """Whether any pose that was asked for is missing, or must not be relied on."""
        return self.counts["right"] < len(self.frames)


def sequence_verdict(run: TrackedSequence, report: Path | None = None) -> str:
    """The one line that matters most: how many frames passed all checks, and why the first other did not.

    Args:
        run: the run.
        report: the page that shows it; not mentioned when None.
    """
    where = "" if report is None else f" -> {report}"
    counts, total = run.counts, len(run.records)
    parts = [f"{counts['right']} of {total} frames passed all checks"]
    if counts["doubtful"]:
        parts.append(f"{counts['doubtful']} doubtful")
    if counts["unusable"]:
        parts.append(f"{counts['unusable']} without a pose")
    if counts["jumped"]:
        parts.append(f"{counts['jumped']} {'jump' if counts['jumped'] == 1 else 'jumps'}")
    if not run.doubtful:
        return f"{', '.join(parts)}{where}"
    first = next((record for record in run.records if not record.right), None)
    why = ""
    if first is not None:
        why = f"; {first.name}: {next(iter(first.all_doubts), 'no pose')}"
    return f"DOUBTFUL: {', '.join(parts)}{why}{where}"


def write_sequence(folder: Path, run: TrackedSequence) -> None:
    """Write everything but the ledger: `poses.csv`, `relative.csv`, `animation.gif` and `report.html`.

    Args:
        folder: that has the ledger.
        run: the run.

    Raises:
        InputError: a file cannot be written.
    """
    isocentre = torch.from_numpy(run.volume.isocentre_world)
    write_poses(folder / POSES, run.records, isocentre)
    if run.joints:
        write_relative(folder / RELATIVE, run.records, run.joints)
    animated = write_animation(
        folder / ANIMATION, run.volume, run.planes, run.records, run.registration, run.config
    )
    page = _page(run, folder / ANIMATION, animated)
    with atomic(folder / REPORT) as temporary:
        temporary.write_text(page, encoding="utf-8")


def _page(run: TrackedSequence, animation: Path, animated: int) -> str:
    stills = list(_stills(run))
    counts = run.counts
    shown = [("frames", len(run.records)), ("passed all checks", counts["right"])]
    shown += [("doubtful", counts["doubtful"]), ("without a pose", counts["unusable"])]
    shown += [("jumps", counts["jumped"])]
    shown += [("not settled", counts["unsettled"])] if counts["unsettled"] else []
    shown += [("unchanged", counts["unchanged"]), ("searched for", counts["searched"])]
    numbers = [(name, f"{number}") for name, number in shown]
    errors_mm = [each.expected_error_mm for each in run.records if each.expected_error_mm is not None]
    if errors_mm:
        numbers.append(("largest expected error", f"{max(errors_mm):.2f} mm"))
    small = animation.stat().st_size <= _LARGEST
    status = Status.DOUBTFUL if run.doubtful else Status.CONVERGED
    title = f"{run.frames.title} in {run.volume.path.name if run.volume.path else 'the CT'}"
    return summary(
        "isoclinic.sequences",
        title=title,
        status=str(status),
        status_name="Doubtful" if run.doubtful else "Tracked",
        headline=sequence_verdict(run).removeprefix("DOUBTFUL: ").partition(";")[0],
        numbers=numbers,
        reasons=_reasons(run),
        animation=_uri(animation.read_bytes(), "gif") if small else "",
        still=stills[0][0] if stills else "",
        animated=animated,
        count=len(run.records),
        animation_name=animation.name,
        stills=stills,
        courses=list(_courses(run)),
        warnings=list(dict.fromkeys(run.warnings)),
        cards=list(_cards(run)),
    )


def _reasons(run: TrackedSequence) -> Markup:
    """Why frames are not right, each reason with the frames that it is about."""
    about: dict[str, list[int]] = {}
    for record in run.records:
        for doubt in record.all_doubts:
            about.setdefault(doubt, []).append(record.index)
    if not about:
        return Markup()
    ranked = sorted(about.items(), key=lambda item: (-len(item[1]), item[1]))
    lines = [f"{_spans(indices)}: {doubt}" for doubt, indices in ranked[:_FEW_REASONS]]
    if len(ranked) > _FEW_REASONS:
        lines.append(f"{len(ranked) - _FEW_REASONS} further reasons, in the table of frames below")
    return bullets(lines)


def _spans(indices: Sequence[int]) -> str:
    """Numbers of frames for people to read: "frames 3, 7 to 9"."""
    spans: list[list[int]] = []
    for index in indices:
        if spans and index == spans[-1][-1] + 1:
            spans[-1] = [spans[-1][0], index]
        else:
            spans.append([index])
    shown = [" to ".join(map(str, span)) for span in spans[:8]]
    more = ", ..." if len(spans) > 8 else ""
    return f"{'frame' if len(indices) == 1 else 'frames'} {', '.join(shown)}{more}"


def _stills(run: TrackedSequence) -> Iterator[tuple[str, str]]:
    """Pictures of frames with what there is to say: doubtful ones and jumps first."""
    odd = [record for record in run.records if not record.right or record.jumped]
    picked = chosen(odd, run.config.stills)
    rest = [record for record in run.records if record not in picked]
    picked += (
        chosen(rest, run.config.stills - len(picked)) if rest and len(picked) < run.config.stills else []
    )
    for record in sorted(picked, key=lambda each: each.index):
        pixels = run.config.animation_pixels
        picture = planes_picture(run.volume, run.planes, record, run.registration, pixels)
        yield _png(picture), f"{record.name}: {_state(record)}"


def _state(record: FrameRecord) -> str:
    """The first thing to say of a frame; the table of frames has the rest."""
    if record.all_doubts:
        return record.all_doubts[0]
    if record.jumped:
        return "the pose jumps away from the motion so far"
    error_mm = record.expected_error_mm
    return record.status if error_mm is None else f"expected error {error_mm:.2f} mm"


def _courses(run: TrackedSequence) -> Iterator[tuple[str, str, list[Markup]]]:
    """Headings, what to know, and charts."""
    isocentre = torch.from_numpy(run.volume.isocentre_world)
    found = parameters(run.records, isocentre)
    timed = all(record.time_s is not None for record in run.records)
    unit = "s" if timed else "frame"
    times = [
        record.time_s if timed and record.time_s is not None else float(record.index)
        for record in run.records
    ]

    def points(values: Sequence[float | None], rights: Sequence[bool]) -> list[Point]:
        return [
            Point(time=time, value=value, right=right, jumped=record.jumped)
            for time, value, right, record in zip(times, values, rights, run.records, strict=True)
        ]

    rights = [record.usable and not record.doubts for record in run.records]
    drawn = [
        chart(name, of_unit, points([None if six is None else six[index] for six in found], rights), unit)
        for index, (name, of_unit) in enumerate(PARAMETERS.values())
    ]
    first = next((record.index for record in run.records if record.usable and not record.doubts), 0)
    yield "Motion", _RELATIVE_TO.format(first), drawn
    errors = [record.expected_error_by_axis_mm for record in run.records]
    drawn = [
        chart(
            name,
            "mm",
            points([None if each is None else each[axis] for each in errors], rights),
            unit,
            from_zero=True,
        )
        for axis, name in _ERRORS.items()
    ]
    turned = [record.expected_rotation_deg for record in run.records]
    drawn.append(chart("Expected error of the turn", "deg", points(turned, rights), unit, from_zero=True))
    yield (
        "Expected errors",
        "These are root mean square errors at points of bone in view. They are unknown for doubtful frames.",
        drawn,
    )
    for joint in run.joints:
        motions = [relative_motion(record, joint) for record in run.records]
        sure = [motion is not None and motion.right for motion in motions]
        drawn = [
            chart(
                name[:1].upper() + name[1:],
                "deg",
                points([None if each is None else each.angles_deg[axis] for each in motions], sure),
                unit,
            )
            for axis, name in enumerate(joint.angles)
        ]
        drawn += [
            chart(
                f"Shift to {name}",
                "mm",
                points([None if each is None else each.shift_mm[axis] for each in motions], sure),
                unit,
            )
            for axis, name in enumerate(("right", "anterior", "superior"))
        ]
        yield joint.name[:1].upper() + joint.name[1:], AXES, drawn


def _cards(run: TrackedSequence) -> Iterator[Markup]:
    odd = [record for record in run.records if not record.right or record.jumped]
    if odd:
        yield folded("Frames that need a look", _frames_table(odd), f"{len(odd)}")
    yield folded("Inputs", _inputs(run))
    if run.command:
        body = Markup("<p>Run in <code>{}</code>:</p><pre>{}</pre>").format(Path.cwd(), run.command)
        yield folded("Command that reproduces it", body)


def _frames_table(records: Sequence[FrameRecord]) -> Markup:
    rows = [
        (
            heading(f"{record.index}"),
            cell("" if record.time_s is None else f"{record.time_s:.3f}", "number"),
            cell(record.status, "doubtful" if not record.right else ""),
            cell("; ".join([*record.all_doubts, *(["a jump"] if record.jumped else [])])),
        )
        for record in records[:_MOST_ROWS]
    ]
    header = (column("frame"), column("time [s]", "number"), column("status"), column("why"))
    more = len(records) - _MOST_ROWS
    note = Markup("<p>{} more are in {}.</p>").format(more, POSES) if more > 0 else Markup()
    return Markup('<div class="scrolled">{}</div>').format(table(header, rows)) + note


def _inputs(run: TrackedSequence) -> Markup:
    nx, ny, nz = run.volume.shape
    lines = [f"CT: {run.volume.path or 'given as an array'}, {nx} x {ny} x {nz} voxels"]
    files = run.frames.files
    lines.append(f"X-rays: {files[0]}" + (f" and {len(files) - 1} more files" if len(files) > 1 else ""))
    cameras = list(dict.fromkeys(record.cameras[0] for record in run.records if record.cameras))
    for camera in cameras[:3]:
        row_mm, column_mm = camera.pixel_spacing_mm
        lines.append(
            f"geometry: {camera.width} x {camera.height} pixels of {row_mm:.4g} x {column_mm:.4g} mm, "
            f"{camera.sdd_mm:.5g} mm from the source"
        )
    if len(cameras) > 3:
        lines.append(f"and {len(cameras) - 3} other geometries: it changes within the run")
    timed = run.records[-1].time_s
    if timed is not None:
        lines.append(f"times are those of the files; the run takes {timed:.3f} s")
    else:
        lines.append("the files do not say when frames were taken")
    return bullets([*lines, *run.frames.notes])


def _png(picture: Image.Image) -> str:
    file = BytesIO()
    picture.save(file, format="png")
    return _uri(file.getvalue(), "png")


def _uri(content: bytes, kind: str) -> str:
    return f"data:image/{kind};base64,{base64.b64encode(content).decode()}"
