"""This library's registration as a method."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, dataclass, field
from functools import lru_cache, partial
from pathlib import Path
from typing import Any

from torch import Tensor

from ...datasets import Sample
from ...errors import InputError
from ...networks import Checkpoint
from ...provenance import InputFile
from ...registration import RegistrationConfig, register
from ...registration._register import Model
from .method import MethodResult


@dataclass(frozen=True, kw_only=True)
class Pipeline:
    """`isoclinic.registration._register` with a configuration.

    Attributes:
        name: as reports call it.
        config: of the registration.
        model: file of the networks, for the CT of the samples or for any; without networks when None.
        last_resort: let the networks take part only where nothing else leads to a match.
    """

    name: str
    config: RegistrationConfig = field(default_factory=RegistrationConfig)
    model: InputFile | None = None
    last_resort: bool = False

    @property
    def settings(self) -> Mapping[str, Any]:
        """See `Method.settings`."""
        model = None if self.model is None else self.model.sha256
        return {
            "model": model,
            "last_resort": self.last_resort,
            "registration": asdict(self.config),
        }

    def register(self, sample: Sample, start: Tensor | str | None) -> MethodResult:
        """See `Method.register`.

        Raises:
            InputError: as for `register`; a model that cannot be read, or is for another CT or other X-rays.
            UsageError: as for `register`.
        """
        result = register(sample.volume, sample.xray, start, self.config, model=self._networks(sample))
        took_part = not self.last_resort or any(attempt.learned for attempt in result.attempts)
        return MethodResult(
            camera_from_world=result.camera_from_world,
            initial_camera_from_world=result.initial.camera_from_world,
            seconds=result.seconds,
            status=str(result.status),
            similarity=result.similarity,
            expected_error_mm=result.confidence.expected_error_mm,
            model=self.model if took_part else None,
            result=result,
        )

    def _networks(self, sample: Sample) -> Model | None:
        if self.model is None:
            return None
        if self.last_resort:
            return partial(_loaded, self.model)
        model = _loaded(self.model)
        self._check_fit(model, sample)
        return model

    def _check_fit(self, model: Checkpoint, sample: Sample) -> None:
        """Refuse a model for another CT, known by its voxels, or by its file."""
        path = sample.volume.path
        digest = None
        # Models of older versions know nothing but the file.
        if path is not None and model.record.volume_sha256 is not None and model.record.ct_voxels is None:
            digest = InputFile.of(path).sha256
        try:
            model.check_fit(sample.xray.camera, digest, sample.volume)
        except InputError as error:
            name = "" if self.model is None else self.model.path
            raise InputError(
                f"{name}, {path} and {sample.xray.path}: {error}", code="model.unsuitable"
            ) from error


@lru_cache(maxsize=2)
def _loaded(model: InputFile) -> Checkpoint:
    return Checkpoint.load(Path(model.path))
