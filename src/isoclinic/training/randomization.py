"""Domain randomisation: parameters are drawn first, and then applied, so that either can be repeated."""

from __future__ import annotations

from dataclasses import dataclass, fields
from typing import Any

import torch
from torch import Tensor

from ..networks import ImageDomain
from ..networks.image_domain import in_domain
from .acquisition import AcquisitionParameters, apply_acquisition, draw_acquisition
from .foreign_objects import ObjectParameters, add_objects, draw_objects
from .processing import ProcessingParameters, apply_processing, draw_processing
from .randomization_config import RandomizationConfig
from .saturation import SaturationParameters, apply_saturation, draw_saturation
from .tone import ToneParameters, apply_tone, draw_tone


@dataclass(frozen=True, kw_only=True, eq=False)
class Parameters:
    """What happens to each image of a batch: plain tensors with the batch first, and seeds.

    Attributes:
        acquisition: None for none.
        tone: the changes of the finished image.
        objects: None for none.
        processing: None for none.
        saturation: None for none.
    """

    acquisition: AcquisitionParameters | None
    tone: ToneParameters
    objects: ObjectParameters | None = None
    processing: ProcessingParameters | None = None
    saturation: SaturationParameters | None = None

    def to(self, device: torch.device) -> Parameters:
        """The same on another device."""
        parts = {item.name: getattr(self, item.name) for item in fields(self)}
        return Parameters(**{name: part and _moved(part, device) for name, part in parts.items()})

    def applied(self, index: int) -> list[str]:
        """Names and sizes of what happens to one image, for people to read."""
        parts = (self.objects, self.acquisition, self.saturation, self.processing, self.tone)
        return [said for part in parts if part is not None for said in part.applied(index)]


def draw(config: RandomizationConfig, generator: torch.Generator, batch: int) -> Parameters:
    """Parameters for that many images, on the CPU."""
    acquisition, objects, processing = config.acquisition, config.objects, config.processing
    saturation = config.saturation
    return Parameters(
        acquisition=None if acquisition is None else draw_acquisition(acquisition, generator, batch),
        tone=draw_tone(config.tone, generator, batch),
        objects=None if objects is None else draw_objects(objects, generator, batch),
        processing=None if processing is None else draw_processing(processing, generator, batch),
        saturation=None if saturation is None else draw_saturation(saturation, generator, batch),
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
        (image [B, H, W], weight [B, H, W]): in that domain, bright where dense; 0 where a collimator,
        the detector's end or masked metal hides the patient, else 1.
    """
    parameters = parameters.to(materials.device)
    shown = None
    if parameters.objects is not None:
        materials, shown = add_objects(materials, parameters.objects)
    if parameters.acquisition is None:
        image = materials.sum(dim=1)
        weight = torch.ones_like(image)
    else:
        image, weight = apply_acquisition(materials, parameters.acquisition)
    if parameters.saturation is not None:
        image = apply_saturation(image, parameters.saturation)
    if parameters.processing is not None:
        image = apply_processing(image, weight, parameters.processing)
    if shown is not None:
        weight = weight * shown
    return apply_tone(in_domain(image, weight, domain), parameters.tone), weight


def _moved(parameters: Any, device: torch.device) -> Any:
    values = {item.name: getattr(parameters, item.name) for item in fields(parameters)}
    return type(parameters)(
        **{name: value.to(device) if isinstance(value, Tensor) else value for name, value in values.items()}
    )
