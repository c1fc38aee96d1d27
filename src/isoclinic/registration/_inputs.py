"""Reasons to doubt a registration before it begins: what CT and X-rays themselves leave open."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from ..volumes import Finding, Volume, XRay, compare_identities, tell


def input_doubts(volume: Volume, xrays: Sequence[XRay], *, same_patient: bool) -> tuple[str, ...]:
    """What nothing in the files settles, for people to read.

    Args:
        volume: the CT.
        xrays: the X-rays.
        same_patient: they are of one patient's same part, whatever their headers say.

    Warns:
        GeometryWarning: headers that do not agree on whom they show; of the rest reading has warned.
    """
    others = () if same_patient else identity_findings(volume, xrays)
    tell(others)
    return (
        *(f"{_name(volume.path, 'the CT')}: {each.text}" for each in volume.findings if each.unsettled),
        *(
            f"{_name(xray.path, 'the X-ray')}: {each.text}"
            for xray in xrays
            for each in xray.findings
            if each.unsettled
        ),
        *(each.text for each in others),
    )


def identity_findings(volume: Volume, xrays: Sequence[XRay]) -> tuple[Finding, ...]:
    """What says that CT and X-rays are not of one patient's same part."""
    named = [(_name(xray.path, "an X-ray"), xray.identity) for xray in xrays]
    return compare_identities([(_name(volume.path, "the CT"), volume.identity), *named])


def _name(path: Path | None, otherwise: str) -> str:
    return path.name if path is not None else otherwise
