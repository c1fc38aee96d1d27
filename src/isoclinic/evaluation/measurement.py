"""What a registration of a sample with a known pose measures."""

from __future__ import annotations

import hashlib
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, fields
from typing import TYPE_CHECKING, Any, Self

import torch
from torch import Tensor

from ..datasets import Sample
from ..errors import InputError
from ..geometry import PoseErrors, mean_target_registration_error_mm, pose_errors

if TYPE_CHECKING:
    from .methods import MethodResult

# Errors under another definition are never read as these; to be changed with any formula in `metrics`.
METRICS = "mTRE, mPD and mRPD of van de Kraats et al. 2005 [mm], float64"

_DIGEST_CHARACTERS = 12
_NUMBERS = (
    *("initial_mtre_mm", "mtre_mm", "mpd_mm", "mrpd_mm", "rotation_deg"),
    *("similarity", "expected_error_mm", "seconds"),
)


@dataclass(frozen=True, kw_only=True)
class Measurement:
    """Errors of one registration.

    Attributes:
        dataset: its name.
        case: name of the sample.
        group: the subject, whose CT it is.
        method: name of the method.
        start: name of the start.
        landmarks: digest of the points the errors were measured at; see `landmarks_digest`.
        initial_mtre_mm: mTRE of the pose it started from [mm].
        mtre_mm: mTRE of the result [mm]; this and the next see `PoseErrors`.
        mpd_mm: mean projection distance [mm].
        mrpd_mm: mean reprojection distance [mm].
        rotation_deg: [deg].
        translation_mm: along the camera's axes, depth last [mm].
        status: of the result; empty where the method has none.
        similarity: of the result; NaN where the method has none.
        expected_error_mm: what the registration itself expected [mm]; NaN where it did not.
        seconds: run time without reading files.
    """

    dataset: str
    case: str
    group: str
    method: str
    start: str
    landmarks: str
    initial_mtre_mm: float
    mtre_mm: float
    mpd_mm: float
    mrpd_mm: float
    rotation_deg: float
    translation_mm: tuple[float, float, float]
    status: str
    similarity: float
    expected_error_mm: float
    seconds: float

    @classmethod
    def of(cls, sample: Sample, result: MethodResult, *, dataset: str, method: str, start: str) -> Self:
        """Compare a result with the truth.

        Args:
            sample: that was registered.
            result: of the registration.
            dataset: name of the data set.
            method: name of the method.
            start: name of the start.
        """
        truth, landmarks = sample.camera_from_world, sample.landmarks_world
        errors = pose_errors(result.camera_from_world, truth, landmarks, sdd_mm=sample.xray.camera.sdd_mm)
        initial_mtre_mm = mean_target_registration_error_mm(
            result.initial_camera_from_world, truth, landmarks
        )
        x_mm, y_mm, depth_mm = errors.translation_mm.tolist()
        return cls(
            dataset=dataset,
            case=sample.name,
            group=sample.subject,
            method=method,
            start=start,
            landmarks=landmarks_digest(landmarks),
            initial_mtre_mm=float(initial_mtre_mm),
            mtre_mm=float(errors.mtre_mm),
            mpd_mm=float(errors.mpd_mm),
            mrpd_mm=float(errors.mrpd_mm),
            rotation_deg=float(errors.rotation_deg),
            translation_mm=(x_mm, y_mm, depth_mm),
            status=result.status,
            similarity=result.similarity,
            expected_error_mm=result.expected_error_mm,
            seconds=result.seconds,
        )

    def document(self) -> dict[str, Any]:
        """As Python's JSON holds it, NaN and infinity included, with the definition of the metrics."""
        return {"metrics": METRICS} | asdict(self)

    @classmethod
    def restored(cls, document: Any, label: str) -> Self:
        """The measurement of a `document`.

        Args:
            document: that was read.
            label: what an error calls it.

        Raises:
            InputError: it is none, or of other metrics.
        """
        names = {field.name for field in fields(cls)}
        if not isinstance(document, Mapping) or document.keys() != {"metrics"} | names:
            raise InputError(
                f"{label} is not a measurement of this version of isoclinic",
                code="evaluation.malformed-record",
            )
        if document["metrics"] != METRICS:
            raise InputError(
                f"{label} was measured by other metrics ({document['metrics']}), which must not be mixed "
                f"with these ({METRICS})",
                code="evaluation.invalid-value",
            )
        values = {name: document[name] for name in names}
        numbers = [*(values[name] for name in _NUMBERS), *values["translation_mm"]]
        if not all(isinstance(number, int | float) for number in numbers):
            raise InputError(
                f"{label} contains a value that is not a number", code="evaluation.malformed-record"
            )
        return cls(**values | {"translation_mm": tuple(values["translation_mm"])})


def landmarks_digest(landmarks_world: Tensor) -> str:
    """First 12 hex digits of the SHA-256 of points [N, 3] as float64 bytes, row by row."""
    points = landmarks_world.to(torch.float64).contiguous().numpy()
    return hashlib.sha256(points.tobytes()).hexdigest()[:_DIGEST_CHARACTERS]


def errors_of(measurements: Sequence[Measurement]) -> PoseErrors:
    """The errors of N measurements, each field [N]; translations [N, 3]."""

    def column(name: str) -> Tensor:
        return torch.tensor([getattr(each, name) for each in measurements], dtype=torch.float64)

    return PoseErrors(
        mtre_mm=column("mtre_mm"),
        mpd_mm=column("mpd_mm"),
        mrpd_mm=column("mrpd_mm"),
        rotation_deg=column("rotation_deg"),
        translation_mm=column("translation_mm"),
    )
