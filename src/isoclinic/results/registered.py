"""A registration with everything that went into it, and what all its files and tables say alike."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path
from typing import Any

from ..provenance import Provenance
from ..registration import (
    LandmarkPairs,
    LandmarkPose,
    RegistrationConfig,
    RegistrationResult,
    StructureResult,
)
from ..registration.initialize import MODEL
from ..registration.result import CANONICAL_SEARCH
from ..solver import Status
from ..volumes import Volume, XRay
from .pictures import ViewPictures, expected_error_text, pictures_in_steps
from .targets import Target


@dataclass(frozen=True, kw_only=True, eq=False)
class Registered:
    """A registration with everything that went into it: what files, pictures and tables are made of.

    `Registered(volume=ct, result=result)` is enough after `isoclinic.register`.

    Attributes:
        volume: the CT.
        result: result of the registration.
        xrays: the V X-rays as they were given, the first one's camera being the reference; those of the
            result, if none are given.
        config: settings of the registration.
        provenance: the files it was made from; by default the digests of the files that CT and X-rays were
            read from are taken when they are first needed.
        structures: registered one by one in the first X-ray.
        views_source: the source of the relative positions of several X-rays.
        landmarks: marked in the first X-ray.
        landmark_pose: the pose that the registration started from, fitted to them.
        targets: points of the CT where the error counts.
    """

    volume: Volume
    result: RegistrationResult
    xrays: Sequence[XRay] = ()
    config: RegistrationConfig = field(default_factory=RegistrationConfig)
    provenance: Provenance | None = None
    structures: Sequence[StructureResult] = ()
    views_source: str = ""
    landmarks: LandmarkPairs | None = None
    landmark_pose: LandmarkPose | None = None
    targets: Sequence[Target] = ()
    _drawn: list[ViewPictures] = field(default_factory=list, init=False, repr=False)

    def __post_init__(self) -> None:
        if not self.xrays:
            object.__setattr__(self, "xrays", self.result.xrays)

    @cached_property
    def made_from(self) -> Provenance:
        """`provenance`, or else the digests of the files that CT and X-rays were read from.

        Raises:
            InputError: such a file cannot be read any more.
        """
        if self.provenance is not None:
            return self.provenance
        return Provenance.of(self.volume.path, [xray.path for xray in self.xrays])

    @property
    def pictures(self) -> tuple[ViewPictures, ...]:
        """The X-rays and the CT rendered at start and result, for people to look at; made once."""
        for _ in self.draw_in_steps():
            pass
        return tuple(self._drawn)

    def draw_in_steps(self) -> Iterator[None]:
        """Make `pictures` in steps, each of one rendering; no step where they are made."""
        if self._drawn:
            return
        made = []
        for each in pictures_in_steps(self.volume, self.result, self.xrays, self.config):
            if each is None:
                yield
            else:
                made.append(each)
        self._drawn[:] = made

    @property
    def doubts(self) -> tuple[str, ...]:
        """Reasons to doubt any pose that was asked for, those of structures with their names."""
        of_structures = (f"{each.name}: {doubt}" for each in self.structures for doubt in each.doubts)
        return (*self.result.confidence.doubts, *of_structures)

    @property
    def doubtful(self) -> bool:
        """Whether any pose that was asked for must not be relied on."""
        statuses = (self.result.status, *(each.status for each in self.structures))
        return bool(self.doubts) or any(each in (Status.DOUBTFUL, Status.DIVERGED) for each in statuses)


def stopped_text(result: RegistrationResult) -> str:
    """Why the solver stopped, as a reason to doubt a result that did not converge."""
    return f"the solver stopped: {result.reason.explanation} ({result.reason})"


def verdict(registered: Registered, report: Path | None = None) -> str:
    """The one line that matters most: may the poses be relied on, how far, and what to look at.

    Args:
        registered: the registration.
        report: the page that shows it; not mentioned when None.
    """
    result, where = registered.result, "" if report is None else f" -> {report}"
    if registered.doubtful:
        first = next(iter(registered.doubts), stopped_text(result))
        return f"DOUBTFUL: {first}{where}"
    return f"{result.status}, {expected_error_text(result)}{where}"


def moved_text(each: StructureResult) -> str:
    """The motion of a structure right, down and away in the image, in a few characters."""
    return ", ".join(f"{mm:z.1f}" for mm in each.translation_mm.tolist())


def geometry(xray: XRay) -> dict[str, Any]:
    """Values that were read from an X-ray, by the names of their options."""
    row_mm, column_mm = xray.camera.pixel_spacing_mm
    return {
        "sdd_mm": xray.camera.sdd_mm,
        "pixel_spacing_mm": [row_mm, column_mm],
        "principal_point_px": [xray.camera.cx, xray.camera.cy],
        "source_isocentre_mm": xray.source_isocentre_mm,
        "primary_angle_deg": xray.primary_angle_deg,
        "secondary_angle_deg": xray.secondary_angle_deg,
        "turn": turned(xray),
        "polarity": xray.polarity,
        "pixel_scale": xray.pixel_scale,
    }


def turned(xray: XRay) -> str | None:
    """How the stored image was turned or flipped, for people to read; None where it was not."""
    stored = (xray.stored_camera or xray.camera).turn(xray.turned_deg)
    done = [f"{xray.turned_deg} deg clockwise"] if xray.turned_deg else []
    if (xray.camera.fx * stored.fx < 0) != (xray.camera.fy * stored.fy < 0):
        done.append("mirrored")
    return ", ".join(done) or None


def text(value: Any) -> str:
    """A value for people to read."""
    if isinstance(value, list):
        return ", ".join(f"{number:z.6g}" for number in value)
    return f"{value:z.6g}" if isinstance(value, float) else str(value)


def ct_text(volume: Volume) -> str:
    """The CT's grid for people to read."""
    nx, ny, nz = volume.shape
    spacing = " x ".join(f"{mm:.3g}" for mm in volume.spacing_mm)
    return f"{nx} x {ny} x {nz} voxels of {spacing} mm, {volume.orientation}"


def model_parts(result: RegistrationResult) -> list[str]:
    """The contributions of a model: the start, networks that refined it, the search that found the pose."""
    found = CANONICAL_SEARCH in result.attempt.learned
    return [*_tried_first(result), *([CANONICAL_SEARCH] if found else [])]


def rescue_tried(result: RegistrationResult) -> bool:
    """Whether a model was the last resort."""
    return any(CANONICAL_SEARCH in attempt.learned for attempt in result.attempts)


def fallback_text(result: RegistrationResult) -> tuple[str, str] | None:
    """The outcome of searches that were made because the model led to no match; None without any."""
    first, *searches = result.attempts
    if not (_tried_first(result) and searches):
        return None
    best = result.attempt
    reason = f"the model's result hardly matched: edges {first.edges:.2f}"
    if best is first:
        return f"{len(searches)} searches found nothing better", reason
    return f"found by a search around {', '.join([best.start, *best.learned])}", reason


def _tried_first(result: RegistrationResult) -> list[str]:
    """Parts of a model in the first attempt."""
    first = result.attempts[0]
    networks = [name for name in first.learned if name != CANONICAL_SEARCH]
    return [*(["start"] if first.start == MODEL else []), *networks]
