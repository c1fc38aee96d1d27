"""Ways to read X-rays whose files leave open what is bright, or which may have been mirrored on their way."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from functools import cached_property
from itertools import product

from ..volumes import POLARITY_GUESSED, PreprocessConfig, XRay
from ._fixed import FixedImage
from .result import Attempt

AS_READ = "as read"
MIRRORED = "mirrored left to right"
MIRRORED_DOUBT = (
    "the picture matches the CT best if it was mirrored left to right on its way from the detector: check "
    "that, and that the CT is this patient's; then give `flip_left_right`"
)
SIDES_DOUBT = "if the picture was mirrored left to right, it matches the CT about as well from the other side"
# Of more X-rays than this, not every combination of polarities is tried.
_FEW = 2


@dataclass(frozen=True, kw_only=True, eq=False)
class Reading:
    """X-rays as they may have been meant.

    Attributes:
        name: the difference from how they were read.
        mirrored: whether the pictures are taken for mirrored ones.
        xrays: the V X-rays.
        preprocess: how their pixels become line integrals.
    """

    name: str
    xrays: tuple[XRay, ...]
    preprocess: PreprocessConfig
    mirrored: bool = False

    @cached_property
    def fixed(self) -> tuple[FixedImage, ...]:
        """The X-rays as line integrals and weights."""
        return tuple(FixedImage.of(xray, self.preprocess) for xray in self.xrays)

    def unaveraged(self) -> Reading:
        """The same with all pixels of noisy X-rays."""
        if all(found.camera == xray.camera for found, xray in zip(self.fixed, self.xrays, strict=True)):
            return self
        return replace(self, preprocess=self.preprocess.unaveraged)


def readings(xrays: Sequence[XRay], preprocess: PreprocessConfig) -> tuple[Reading, ...]:
    """The X-rays as they were read, then with every other polarity where that was guessed."""
    first = Reading(name=AS_READ, xrays=tuple(xrays), preprocess=preprocess)
    others = (
        Reading(name=_name(changed), xrays=_repolarized(xrays, changed), preprocess=preprocess)
        for changed in _changes(xrays)
    )
    return first, *others


def reading_text(attempt: Attempt, attempts: Sequence[Attempt]) -> str:
    """A sentence on which reading the match has settled, and by what margin.

    Args:
        attempt: the attempt that the result is from.
        attempts: all of them.
    """
    edges: dict[str, float] = {}
    for each in attempts:
        edges[each.reading] = max(each.edges, edges.get(each.reading, -1.0))
    others = [f"{value:.2f} {name}" for name, value in edges.items() if name != attempt.reading]
    against = f", against {', '.join(others)}" if others else ""
    return (
        f"the X-ray matches the CT with {attempt.reading}, so it is used in that way: edges correlate by "
        f"{attempt.edges:.2f}{against}"
    )


def mirrored(reading: Reading) -> Reading:
    """The X-rays as they would be if a program had mirrored all of them left to right."""
    return Reading(
        name=MIRRORED if reading.name == AS_READ else f"{reading.name}, {MIRRORED}",
        xrays=tuple(_mirror(xray) for xray in reading.xrays),
        preprocess=reading.preprocess,
        mirrored=True,
    )


def _changes(xrays: Sequence[XRay]) -> Iterator[tuple[bool, ...]]:
    """The X-rays that may be read with the other polarity."""
    guessed = [xray.provenance.get("polarity") == POLARITY_GUESSED for xray in xrays]
    if sum(guessed) > _FEW:
        yield tuple(guessed)
        for index, own in enumerate(guessed):
            if own:
                yield tuple(index == other for other in range(len(xrays)))
        return
    for changed in product(*((False, True) if own else (False,) for own in guessed)):
        if any(changed):
            yield changed


def _name(changed: Sequence[bool]) -> str:
    if len(changed) == 1:
        return "the other polarity"
    return f"the other polarity of X-ray {', '.join(str(at + 1) for at, own in enumerate(changed) if own)}"


def _repolarized(xrays: Sequence[XRay], changed: Sequence[bool]) -> tuple[XRay, ...]:
    return tuple(xray.repolarized() if own else xray for xray, own in zip(xrays, changed, strict=True))


def _mirror(xray: XRay) -> XRay:
    flipped = xray.flip(left_right=True)
    return flipped.recalibrated(replace(flipped.camera, fx=-flipped.camera.fx))
