"""The files of one registration of an evaluation: its pose, then its measurement."""

from __future__ import annotations

import json
from dataclasses import asdict

from .. import __version__
from .._files import atomic
from ..datasets import Sample
from ..provenance import InputFile, Provenance
from ..registration import PoseFile
from ..results import pose_file
from ..results.names import POSE as POSE_FILE
from ..solver import Status
from ._ledger import MEASUREMENT_FILE, Job
from .measurement import Measurement
from .methods import MethodResult


def write_result(
    job: Job, files: tuple[InputFile, ...], sample: Sample, result: MethodResult, measurement: Measurement
) -> None:
    """The pose, then the measurement, by which a later run knows that this one is done."""
    job.folder.mkdir(parents=True, exist_ok=True)
    own = result.result
    origin = Provenance(volume=files[0], xrays=files[1:], model=result.model)
    found = _peer_pose_file(result, sample, origin) if own is None else pose_file(own, origin)
    found.write(job.folder / POSE_FILE)
    document = {
        "key": job.key,
        "measurement": measurement.document(),
        "attempts": [] if own is None else [asdict(attempt) for attempt in own.attempts],
    }
    with atomic(job.folder / MEASUREMENT_FILE) as temporary:
        temporary.write_text(json.dumps(document, indent=2) + "\n", encoding="utf-8")


def _peer_pose_file(result: MethodResult, sample: Sample, origin: Provenance) -> PoseFile:
    """What is known of a pose that another package found."""
    return PoseFile(
        camera_from_world=result.camera_from_world,
        camera=sample.xray.camera,
        volume=origin.volume,
        xray=origin.xrays[0],
        model=origin.model,
        status=Status(result.status) if result.status in list(Status) else None,
        similarity=result.similarity,
        expected_error_mm=result.expected_error_mm,
        isoclinic_version=__version__,
    )
