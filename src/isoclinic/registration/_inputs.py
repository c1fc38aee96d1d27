"""Reasons to doubt a registration before it begins: what CT and X-rays themselves leave open."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from ..volumes import Finding, Volume, XRay, compare_identities


def input_doubts(volume: Volume, xrays: Sequence[XRay], *, same_patient: bool) -> tuple[str, ...]:
    """Describe the questions that nothing in the files settles, for people to read.

    Args:
        volume: the CT.
        xrays: the X-rays.
        same_patient: whether to take CT and X-rays as being of the same part of one patient, whatever their
            headers say.
    """
    files = [(volume.path, "the CT", volume.findings)]
    files += [(xray.path, "the X-ray", xray.findings) for xray in xrays]
    others = () if same_patient else identity_findings(volume, xrays)
    return (
        *(
            f"{_name(path, otherwise)}: {finding.text}"
            for path, otherwise, findings in files
            for finding in findings
            if finding.unsettled
        ),
        *(finding.text for finding in others),
    )


def identity_findings(volume: Volume, xrays: Sequence[XRay]) -> tuple[Finding, ...]:
    """Findings that CT and X-rays are not of the same part of one patient."""
    named = [(_name(xray.path, "an X-ray"), xray.identity) for xray in xrays]
    return compare_identities([(_name(volume.path, "the CT"), volume.identity), *named])


def _name(path: Path | None, otherwise: str) -> str:
    return path.name if path is not None else otherwise
