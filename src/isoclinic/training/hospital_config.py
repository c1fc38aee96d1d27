"""What hospitals add to an X-ray of a patient: options only, importable without torch."""

from __future__ import annotations

from dataclasses import dataclass

from ..errors import UsageError
from ._ranges import Range, check_probabilities, check_range


@dataclass(frozen=True, kw_only=True)
class ObjectsConfig:
    """Probabilities and ranges of what lies in the beam and is not in the CT.

    Lengths are shares of the image's width. Attenuations are line integrals through the middle [nats].

    Attributes:
        metal_probability: probability of an implant: a prosthesis with head and stem, a plate with its
            screws, two rods with their screws, or screws alone, each as likely.
        metal_attenuation: of the implant; from about 5 on it is opaque.
        metal_masked: share of implants whose pixels do not count, as when preprocessing has found them.
        head_radius: of a prosthesis.
        stem_length: of a prosthesis.
        plate_length: length of a plate, and of a pair of rods.
        screw_length: of an implant's screw.
        screw_radius: of an implant's screw; a rod is up to twice, a plate up to three times as thick.
        table_probability: probability of the edges of a table or cushion.
        table_attenuation: of the table.
        leads_probability: probability of cables and catheters.
        leads: most of them in an image.
        leads_attenuation: of one.
        arm_probability: probability of an arm with its bone in the beam.
        arm_attenuation: of its soft tissue, and of its bone.
        vessels_probability: probability of vessels filled with contrast agent.
        vessels: most of them in an image.
        vessels_attenuation: of one.
        gas_probability: probability of bowel gas that is not where it was.
        gas: most bubbles in an image.
        gas_attenuation: what a bubble takes away; no more is taken away than there is.
        surroundings_probability: probability of more of the body at the image's rim than the CT knows.
        surroundings_attenuation: of its soft tissue.

    Raises:
        UsageError: a probability or share outside 0 to 1, a range turned round or outside what is possible.
    """

    metal_probability: float = 0.25
    metal_attenuation: Range = (2.0, 12.0)
    metal_masked: float = 0.5
    head_radius: Range = (0.03, 0.09)
    stem_length: Range = (0.12, 0.35)
    plate_length: Range = (0.15, 0.6)
    screw_length: Range = (0.05, 0.2)
    screw_radius: Range = (0.005, 0.015)
    table_probability: float = 0.2
    table_attenuation: Range = (0.1, 0.6)
    leads_probability: float = 0.2
    leads: int = 4
    leads_attenuation: Range = (0.1, 1.5)
    arm_probability: float = 0.15
    arm_attenuation: Range = (0.3, 1.3)
    vessels_probability: float = 0.2
    vessels: int = 5
    vessels_attenuation: Range = (0.1, 1.0)
    gas_probability: float = 0.25
    gas: int = 6
    gas_attenuation: Range = (0.1, 1.0)
    surroundings_probability: float = 0.15
    surroundings_attenuation: Range = (0.5, 3.5)

    def __post_init__(self) -> None:
        check_probabilities(self)
        for name in vars(self):
            if name.endswith("_attenuation"):
                check_range(self, name, low=0.0)
        check_range(self, "head_radius", "stem_length", "plate_length", low=1e-6)
        check_range(self, "screw_length", "screw_radius", low=1e-6)
        if not 0 <= self.metal_masked <= 1:
            raise UsageError(
                f"metal_masked must lie between 0 and 1, not {self.metal_masked}",
                code="training.invalid-value",
            )
        if min(self.leads, self.vessels, self.gas) < 1:
            raise UsageError("leads, vessels and gas must be at least 1", code="training.invalid-value")


@dataclass(frozen=True, kw_only=True)
class ProcessingConfig:
    """Probabilities and ranges of what detector and workstation do to the finished picture, in this order.

    Lengths are shares of the image's width.

    Attributes:
        low_dose_probability: probability of a picture of few quanta.
        low_dose_photons: quanta that the open beam gives a pixel of the detector, log-uniform.
        detector_pixels: fewest and most pixels of the detector along each side of a pixel of the image. The
            logarithm is taken of the former and averaged in the latter, as registration does.
        sharpening_probability: probability of edge enhancement by an unsharp mask.
        sharpening: factor on what is added: the difference to the blurred picture.
        sharpening_radius: standard deviation of that blur.
        equalization_probability: probability of local equalisation.
        equalization: share of the equalised picture in the sum.
        equalization_window: side of the window.
        quantization_probability: probability of few grey values.
        bits: fewest and most bits of a pixel.
        text_probability: probability of burnt-in text.
        text_blocks: most blocks of text in a picture.
        text_height: height of a block.
        text_width: width of a block.

    Raises:
        UsageError: a probability or share outside 0 to 1, a range turned round or outside what is possible.
    """

    low_dose_probability: float = 0.2
    low_dose_photons: Range = (20.0, 600.0)
    detector_pixels: tuple[int, int] = (2, 10)
    sharpening_probability: float = 0.2
    sharpening: Range = (0.3, 2.5)
    sharpening_radius: Range = (0.01, 0.06)
    equalization_probability: float = 0.2
    equalization: Range = (0.2, 0.8)
    equalization_window: Range = (0.1, 0.4)
    quantization_probability: float = 0.2
    bits: tuple[int, int] = (7, 8)
    text_probability: float = 0.2
    text_blocks: int = 4
    text_height: Range = (0.02, 0.06)
    text_width: Range = (0.1, 0.35)

    def __post_init__(self) -> None:
        check_probabilities(self)
        check_range(self, "low_dose_photons", "sharpening_radius", "text_height", "text_width", low=1e-6)
        check_range(self, "sharpening", low=0.0)
        check_range(self, "equalization", low=0.0, high=1.0)
        check_range(self, "equalization_window", low=1e-6, high=1.0)
        for name in ("detector_pixels", "bits"):
            fewest, most = getattr(self, name)
            if not 1 <= fewest <= most <= 16:
                raise UsageError(
                    f"{name} must be a fewest and a most between 1 and 16, not {(fewest, most)}",
                    code="training.invalid-value",
                )
        if self.text_blocks < 1:
            raise UsageError("text_blocks must be at least 1", code="training.invalid-value")


@dataclass(frozen=True, kw_only=True)
class SaturationConfig:
    """Probabilities and ranges of what a detector cannot tell apart, in line integrals [nats].

    Attributes:
        black_probability: probability that what is dense saturates.
        black: line integral above that of white from which everything is equally black.
        white_probability: probability that what is thin saturates, as air around a limb does.
        white: line integral up to which everything is equally white.

    Raises:
        UsageError: a probability outside 0 to 1, a range turned round or outside what is possible.
    """

    black_probability: float = 0.5
    black: Range = (1.2, 4.0)
    white_probability: float = 0.4
    white: Range = (0.0, 0.5)

    def __post_init__(self) -> None:
        check_probabilities(self)
        check_range(self, "black", low=1e-6)
        check_range(self, "white", low=0.0)
