"""Domain randomisation: parameters are drawn first, and then applied, so that either can be repeated."""

from __future__ import annotations

from dataclasses import dataclass, fields
from typing import Any

import torch
from torch import Tensor

from ..networks import ImageDomain
from ..networks.image_domain import in_domain
from .acquisition import AcquisitionParameters, apply_acquisition, draw_acquisition
from .randomization_config import RandomizationConfig
from .tone import ToneParameters, apply_tone, draw_tone
from .workstation import WorkstationParameters, apply_workstation, draw_workstation


@dataclass(frozen=True, kw_only=True, eq=False)
class Parameters:
    """What happens to each image of a batch: plain tensors with the batch first, and seeds.

    Attributes:
        acquisition: None for none.
        tone: the rest.
        workstation: None for none.
    """

    acquisition: AcquisitionParameters | None
    tone: ToneParameters
    workstation: WorkstationParameters | None = None

    def to(self, device: torch.device) -> Parameters:
        """The same on another device."""
        acquisition = None if self.acquisition is None else _moved(self.acquisition, device)
        workstation = None if self.workstation is None else _moved(self.workstation, device)
        return Parameters(acquisition=acquisition, tone=_moved(self.tone, device), workstation=workstation)

    def applied(self, index: int) -> list[str]:
        """Names and sizes of what happens to one image, for people to read."""
        acquisition = [] if self.acquisition is None else self.acquisition.applied(index)
        workstation = [] if self.workstation is None else self.workstation.applied(index)
        return acquisition + workstation + self.tone.applied(index)


def draw(config: RandomizationConfig, generator: torch.Generator, batch: int) -> Parameters:
    """Parameters for that many images, on the CPU."""
    acquisition, workstation = config.acquisition, config.workstation
    return Parameters(
        acquisition=None if acquisition is None else draw_acquisition(acquisition, generator, batch),
        tone=draw_tone(config.tone, generator, batch),
        workstation=None if workstation is None else draw_workstation(workstation, generator, batch),
    )


def apply(
    materials: Tensor, parameters: Parameters, domain: ImageDomain = "line_integrals"
) -> tuple[Tensor, Tensor]:
    """Randomised images of line integrals; the same parameters give the same images on the same device.

    Args:
        materials: [B, 2, H, W], line integrals of soft tissue and bone.
        parameters: of B images.
        domain: that images are brought into before anything is done to their tone.

    Returns:
        (image [B, H, W], weight [B, H, W]): in that domain, bright where dense; 0 where a collimator or
        the detector's end hides the patient, else 1.
    """
    parameters = parameters.to(materials.device)
    if parameters.acquisition is None:
        image = materials.sum(dim=1)
        weight = torch.ones_like(image)
    else:
        image, weight = apply_acquisition(materials, parameters.acquisition)
    if parameters.workstation is not None:
        image = apply_workstation(image, parameters.workstation)
    return apply_tone(in_domain(image, weight, domain), parameters.tone), weight


def _moved(parameters: Any, device: torch.device) -> Any:
    values = {item.name: getattr(parameters, item.name) for item in fields(parameters)}
    return type(parameters)(
        **{name: value.to(device) if isinstance(value, Tensor) else value for name, value in values.items()}
    )
