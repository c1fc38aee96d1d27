"""How simulated X-rays differ from renderings: options only, importable without torch."""

from __future__ import annotations

from dataclasses import dataclass, field, replace
from typing import Literal

from ..errors import UsageError
from ._ranges import Range, check_probabilities, check_range
from .hospital_config import ObjectsConfig, ProcessingConfig, SaturationConfig


@dataclass(frozen=True, kw_only=True)
class AcquisitionConfig:
    """Ranges of what an X-ray unit and its user do to an image.

    Lengths are shares of the image's width, so that they mean the same at every resolution. An effect without
    a probability is always there; (0, 0) or, for factors, (1, 1) leaves it out.

    Attributes:
        soft_tissue: factor on the line integrals of soft tissue: beam energy, fat, the CT's calibration.
        bone: the same for bone.
        scatter: scattered over primary signal in the whole image.
        scatter_range: standard deviation of the scatter's spread.
        photons: quanta that the open beam gives a pixel, log-uniform.
        blur: standard deviation of the detector's blur.
        shading: largest coefficient of the second-degree polynomial that brightens the image, in nats.
        tone: exponent from signal to pixel value.
        tools_probability: probability of metal tools in the image.
        tools: most tools in an image.
        tool_screws: share of screws among the tools; the others are straight wires and rods.
        tool_attenuation: line integral through the middle of a tool.
        wire_length: length of a wire.
        wire_radius: radius of a wire.
        screw_length: length of a screw.
        screw_radius: radius of a screw.
        collimation_probability: probability of a field smaller than the image.
        collimation_round: share of round fields; the others are rectangles.
        collimation_white: share of fields whose surroundings are white; the others are black.
        collimation_radius: half the size of the field.
        collimation_shift: largest distance of its centre from the image's, along each axis.
        close_probability: probability of a small field that may lie off the centre: a close-up.
        close_radius: half the size of such a field.
        close_shift: largest distance of its centre from the image's, along each axis.
        view_probability: probability of a detector that shows a part of the image only, the rest being
            padded.
        view_area: area of the part shown.
        view_aspect: height over width of the part shown.

    Raises:
        UsageError: a probability or share outside 0 to 1, a range turned round or outside what is possible.
    """

    soft_tissue: Range = (0.8, 1.2)
    bone: Range = (0.6, 1.6)
    scatter: Range = (0.0, 0.25)
    scatter_range: Range = (0.05, 0.25)
    photons: Range = (1e4, 3e5)
    blur: Range = (0.0, 0.006)
    shading: float = 0.3
    tone: Range = (0.6, 1.2)
    tools_probability: float = 0.4
    tools: int = 3
    tool_screws: float = 0.4
    tool_attenuation: Range = (0.7, 6.0)
    wire_length: Range = (0.2, 0.9)
    wire_radius: Range = (0.004, 0.025)
    screw_length: Range = (0.08, 0.2)
    screw_radius: Range = (0.01, 0.02)
    collimation_probability: float = 0.4
    collimation_round: float = 0.6
    collimation_white: float = 0.3
    collimation_radius: Range = (0.35, 0.55)
    collimation_shift: float = 0.05
    close_probability: float = 0.0
    close_radius: Range = (0.15, 0.35)
    close_shift: float = 0.25
    view_probability: float = 0.15
    view_area: Range = (0.5, 0.95)
    view_aspect: Range = (0.7, 1.0)

    def __post_init__(self) -> None:
        check_probabilities(self)
        check_range(self, "soft_tissue", "bone", "scatter", "blur", "tool_attenuation", low=0.0)
        check_range(self, "scatter_range", "photons", "tone", low=1e-6)
        check_range(self, "collimation_radius", "close_radius", low=1e-6)
        check_range(self, "wire_length", "wire_radius", "screw_length", "screw_radius", low=1e-6)
        check_range(self, "view_area", "view_aspect", low=1e-6, high=1.0)
        for name in ("tool_screws", "collimation_round", "collimation_white"):
            if not 0 <= getattr(self, name) <= 1:
                raise UsageError(
                    f"{name} must lie between 0 and 1, not {getattr(self, name)}",
                    code="training.invalid-value",
                )
        if min(self.shading, self.collimation_shift, self.close_shift) < 0 or self.tools < 1:
            raise UsageError(
                "shading, collimation_shift and close_shift must not be negative, tools at least 1",
                code="training.invalid-value",
            )


@dataclass(frozen=True, kw_only=True)
class ToneConfig:
    """Ranges of the transforms, in the order in which they are applied; the defaults are the paper's.

    Values are in units of the image's largest one. Each probability is that of one image to be transformed;
    the paper gives the smoothing's only.

    Attributes:
        smoothing_probability: probability of averaging over a square window.
        smoothing_px: sides of the windows to choose from [px], odd.
        noise_probability: probability of Gaussian noise.
        noise: magnitude parameter.
        noise_reading: meaning of `noise`. "deviation": its absolute value is the standard deviation of noise
            of mean zero. "mean": it is the mean, as the paper's sentence says word by word.
        noise_deviation: standard deviation where the parameter is the mean; ours, the paper gives none.
        normalization_probability: probability of stretching [lower, upper] to [0, 1].
        normalization_lower: value that becomes 0.
        normalization_upper: value that becomes 1.
        scaling_probability: probability of multiplying by a factor.
        scaling: the factor.
        gamma_probability: probability of raising to a power; negative values become 0.
        gamma: the power.
        sine_probability: probability of a sin(b x + c).
        sine_amplitude: a.
        sine_frequency: b.
        sine_phase: c [rad].
        erasing_probability: probability of filling a box with the image's mean.
        erasing_area: area of the box, as a share of the image.
        erasing_aspect: height over width of the box, as shares of the image's; raised where the box would not
            fit.

    Raises:
        UsageError: a probability outside 0 to 1, a range turned round or of values that make no image.
    """

    smoothing_probability: float = 0.5
    smoothing_px: tuple[int, ...] = (3, 5)
    noise_probability: float = 0.5
    noise: Range = (-0.15, 0.1)
    noise_reading: Literal["deviation", "mean"] = "deviation"
    noise_deviation: float = 0.05
    normalization_probability: float = 0.5
    normalization_lower: Range = (-0.04, 0.02)
    normalization_upper: Range = (0.9, 1.05)
    scaling_probability: float = 0.5
    scaling: Range = (0.9, 1.05)
    gamma_probability: float = 0.5
    gamma: Range = (0.7, 1.3)
    sine_probability: float = 0.5
    sine_amplitude: Range = (0.8, 1.1)
    sine_frequency: Range = (0.8, 1.1)
    sine_phase: Range = (-0.5, 0.4)
    erasing_probability: float = 0.5
    erasing_area: Range = (0.02, 0.4)
    erasing_aspect: Range = (0.3, 1.0)

    def __post_init__(self) -> None:
        check_probabilities(self)
        check_range(self, "noise", "normalization_lower", "normalization_upper", "sine_phase")
        check_range(self, "scaling", "gamma", "sine_amplitude", "sine_frequency", low=1e-6)
        check_range(self, "erasing_area", "erasing_aspect", low=1e-6, high=1.0)
        if self.noise_reading not in ("deviation", "mean") or not self.noise_deviation >= 0:
            raise UsageError(
                "noise_reading must be deviation or mean, and noise_deviation must not be negative, not "
                f"{self.noise_reading!r} and {self.noise_deviation}",
                code="training.invalid-value",
            )
        if self.normalization_lower[1] >= self.normalization_upper[0]:
            raise UsageError(
                "normalization_lower must lie below normalization_upper", code="training.invalid-value"
            )
        if not self.smoothing_px or any(side < 1 or side % 2 == 0 for side in self.smoothing_px):
            raise UsageError(
                f"smoothing_px must be odd numbers of pixels, not {self.smoothing_px}",
                code="training.invalid-value",
            )


@dataclass(frozen=True, kw_only=True)
class RandomizationConfig:
    """How renderings become X-rays that differ; see the presets `paper`, `isoclinic`, `hospital` and `part`.

    Attributes:
        acquisition: the effects of the X-ray unit; None leaves the line integrals of all tissue as they are.
        tone: the changes of the image after that.
        objects: what lies in the beam and is not in the CT; None for nothing.
        saturation: limits of the detector, after the acquisition; None for none.
        processing: what detector and workstation do to the picture before `tone`; None for nothing.

    Raises:
        UsageError: objects or processing without an acquisition.
    """

    acquisition: AcquisitionConfig | None
    tone: ToneConfig = field(default_factory=ToneConfig)
    objects: ObjectsConfig | None = None
    processing: ProcessingConfig | None = None
    saturation: SaturationConfig | None = None

    def __post_init__(self) -> None:
        if self.acquisition is None and not (self.objects is None and self.processing is None):
            raise UsageError(
                "objects and processing need an acquisition, which makes a picture that they are in",
                code="training.invalid-value",
            )

    @classmethod
    def paper(cls) -> RandomizationConfig:
        """The published transforms and ranges, word by word, on images of all tissue."""
        return cls(acquisition=None, tone=ToneConfig(noise_reading="mean"))

    @classmethod
    def paper_batched(cls) -> RandomizationConfig:
        """The same with noise of mean zero, which its parameter gives the deviation of."""
        return cls(acquisition=None)

    @classmethod
    def isoclinic(cls) -> RandomizationConfig:
        """A simulated acquisition; of the published transforms those that it does not cover, more rarely."""
        return cls(
            acquisition=AcquisitionConfig(),
            tone=ToneConfig(
                smoothing_probability=0.1,
                noise_probability=0.0,
                normalization_probability=0.25,
                scaling_probability=0.25,
                gamma_probability=0.25,
                sine_probability=0.1,
                erasing_probability=0.15,
            ),
        )

    @classmethod
    def hospital(cls) -> RandomizationConfig:
        """As `isoclinic`, with what hospitals add: few quanta, scatter, metal, close-ups, workstations."""
        plain = cls.isoclinic()
        assert plain.acquisition is not None
        acquisition = replace(
            plain.acquisition,
            scatter=(0.0, 1.0),
            photons=(1e3, 3e5),
            tone=(0.5, 1.5),
            close_probability=0.15,
        )
        return replace(plain, acquisition=acquisition, objects=ObjectsConfig(), processing=ProcessingConfig())

    @classmethod
    def part(cls) -> RandomizationConfig:
        """For parts: what `isoclinic` does, with more scatter, saturation and processing.

        What metal lets through is scatter, and so implants are about equally black everywhere.
        """
        return cls(
            acquisition=AcquisitionConfig(
                scatter=(0.0, 0.7),
                collimation_radius=(0.35, 0.6),
                collimation_shift=0.2,
                view_area=(0.35, 0.95),
            ),
            tone=cls.isoclinic().tone,
            saturation=SaturationConfig(),
            processing=ProcessingConfig(
                low_dose_probability=0.1, sharpening_probability=0.5, quantization_probability=0.5
            ),
        )
