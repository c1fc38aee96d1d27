"""Everything about a training that can be chosen; presets are instances."""

from __future__ import annotations

from dataclasses import dataclass, field, replace
from typing import Literal, get_args

from ..anatomy import CohortConfig
from ..errors import UsageError
from ..networks import (
    BackboneConfig,
    CanonicalConfig,
    CTConditionedRegressorConfig,
    ImageDomain,
    PoseRegressorConfig,
    SphericalEncoderConfig,
)
from ..rendering.config import Method
from ._ranges import Range, check_range
from .part_config import PartConfig
from .pose_config import PoseConfig
from .randomization_config import RandomizationConfig
from .schedule import OptimizerConfig

NetworkKind = Literal["pose_regressor", "ct_regressor", "coarse_encoder", "fine_encoder", "canonical"]
Precision = Literal["auto", "float32", "bfloat16"]
# Numbers of X-rays of the paper's supplement: pose regressor and similarity network, of one patient and of
# any.
_PAPER_IMAGES = (500_000, 200_000)
_PAPER_IMAGES_ANY = (750_000, 300_000)


@dataclass(frozen=True, kw_only=True)
class PhaseConfig:
    """What the training of each network has.

    Attributes:
        share: share of the training's minutes or X-rays, relative to the other networks'.
        batch: X-rays in a batch, on each device.
        copies: X-rays that share a rendering and differ in the randomisation only; divides the batch.
        optimizer: the optimiser of the weights.
    """

    share: float = 1.0
    batch: int = 16
    copies: int = 2
    optimizer: OptimizerConfig = field(default_factory=OptimizerConfig)

    def __post_init__(self) -> None:
        if not self.share > 0 or self.batch < 1 or self.copies < 1 or self.batch % self.copies:
            raise UsageError(
                "a training needs a positive share, and copies that divide the batch",
                code="training.invalid-value",
            )


@dataclass(frozen=True, kw_only=True)
class RegressorPhase(PhaseConfig):
    """Training of the pose regressor.

    Attributes:
        network: architecture. The regressor's reach and length are those of the poses it is trained on.
    """

    batch: int = 32
    copies: int = 8
    optimizer: OptimizerConfig = field(default_factory=lambda: OptimizerConfig(method="adam"))
    network: PoseRegressorConfig = field(default_factory=PoseRegressorConfig)


@dataclass(frozen=True, kw_only=True)
class CTRegressorPhase(PhaseConfig):
    """Training of a pose regressor that sees the CT, too, and so serves any.

    Attributes:
        network: architecture. Its reach, length and image size are those of the training.
    """

    batch: int = 32
    copies: int = 2
    optimizer: OptimizerConfig = field(default_factory=lambda: OptimizerConfig(method="adam"))
    network: CTConditionedRegressorConfig = field(default_factory=CTConditionedRegressorConfig)


@dataclass(frozen=True, kw_only=True)
class EncoderPhase(PhaseConfig):
    """Training of a spherical encoder.

    Attributes:
        perturbation_mm: smallest and largest shift between the two images [mm]; see `PoseConfig`.
        value: weight of `ValueLoss` between each X-ray and its moving image.
        pairs: weight of `ValueLoss` between all images of a batch.
        motion: weight of `MotionLoss` from every moving image to all images of the batch that are no farther
            away than the largest perturbation; for the head "motion".
        around: number of pairs in succession whose images are near each other; see `StreamConfig`.
        direction: weight of `DirectionLoss`.
        step: weight of `StepLoss`; it makes a batch about five times as slow.
        unrolled: weight of `UnrolledLoss`, the only one that differentiates the whole solver; each of its
            steps costs about as much as `StepLoss`, and 12 renderings besides.
        unrolled_steps: number of steps of Levenberg-Marquardt that it differentiates.
        network: architecture.
    """

    batch: int = 8
    perturbation_mm: Range = (1.0, 60.0)
    value: float = 1.0
    pairs: float = 0.0
    motion: float = 0.0
    around: int = 1
    direction: float = 1.0
    step: float = 0.0
    unrolled: float = 0.0
    unrolled_steps: int = 3
    network: SphericalEncoderConfig = field(default_factory=SphericalEncoderConfig)

    def __post_init__(self) -> None:
        super().__post_init__()
        check_range(self, "perturbation_mm", low=1e-6)
        weights = (self.value, self.pairs, self.motion, self.direction, self.step, self.unrolled)
        if min(weights) < 0 or not any(weights):
            raise UsageError(
                "value, pairs, motion, direction, step and unrolled must not be negative, and one must be "
                "positive",
                code="training.invalid-value",
            )
        if self.motion and self.network.head != "motion":
            raise UsageError(
                f'the loss "motion" needs network.head "motion", not "{self.network.head}"',
                code="training.invalid-value",
            )
        if self.around < 1 or (self.batch // self.copies) % self.around:
            raise UsageError(
                f"around ({self.around}) must be at least 1 and divide batch over copies "
                f"({self.batch // self.copies})",
                code="training.invalid-value",
            )
        if self.unrolled_steps < 1:
            raise UsageError(
                f"unrolled_steps must be at least 1, not {self.unrolled_steps}", code="training.invalid-value"
            )


@dataclass(frozen=True, kw_only=True)
class CanonicalPhase(PhaseConfig):
    """Training of the canonical network.

    Attributes:
        nll_share: weight of the likelihood of its errors; see `CanonicalLoss`.
        network: architecture, and what it predicts.
    """

    nll_share: float = 0.5
    network: CanonicalConfig = field(default_factory=CanonicalConfig)


def _regressor_phase() -> RegressorPhase:
    # Half of ResNet-18's channels: in the same minutes it sees twice as many X-rays, and errs less.
    return RegressorPhase(share=1.33, network=PoseRegressorConfig(width=32))


def _coarse_phase() -> EncoderPhase:
    network = SphericalEncoderConfig(head="dense", dense_level=3)
    return EncoderPhase(batch=16, perturbation_mm=(3.0, 120.0), network=network)


def _fine_phase() -> EncoderPhase:
    return EncoderPhase(network=SphericalEncoderConfig(head="dense", dense_level=2))


def _paper_similarity(images: int) -> EncoderPhase:
    return EncoderPhase(
        share=float(images),
        batch=1,
        copies=1,
        optimizer=OptimizerConfig(method="adamw", schedule="cyclic"),
        perturbation_mm=(3.0, 120.0),
        network=SphericalEncoderConfig.paper(head="dense", dense_level=3),
    )


@dataclass(frozen=True, kw_only=True)
class TrainConfig:
    """What is trained, on what, and for how long; see the presets.

    They are `fast`, `hospital`, `paper`, `paper_batched`, and of any patient `any_patient` and
    `paper_any_patient`.

    Attributes:
        minutes: minutes of training, divided among the networks.
        images: X-rays to train on, divided among the networks, instead of minutes.
        networks: the networks to train, in this order.
        pixels: longer side of the images that networks see [px].
        domain: the domain in which networks see line integrals: as they are, or by the equation (17) of the
            paper; see `in_domain`.
        renderer: the renderer of X-rays and moving images. Siddon's is exact for voxels that are boxes, but
            its derivative by the pose is rough (`benchmarks/gradients.py`).
        length_mm: characteristic length of the poses' distance in SO(4): twice as many millimetres count
            about like one radian.
        seed: seed of all random draws.
        precision: precision of the regressor's arithmetic: "auto" is bfloat16 on GPUs and on processors with
            instructions for it. Whatever is differentiated twice is computed in float32.
        checkpoint_minutes: time from one checkpoint to the next.
        validations: number of validations of each network, evenly spread over its training; there is one more
            at its beginning.
        validation_images: held-back X-rays to validate on.
        poses: views, and how the CT may lie in them.
        randomization: randomisation of the X-rays to train on; those to validate on have always a simulated
            acquisition.
        pose_regressor: its training.
        ct_regressor: its training.
        coarse_encoder: its training.
        fine_encoder: its training.
        canonical: its training.
        cohort: anatomies made from the CTs to train on in their place, for networks that are to know others;
            None for the CTs themselves.
        part: what the CT is if it is only part of what X-rays show, or such a part is a structure of it; None
            for CTs that explain their X-rays.

    Raises:
        UsageError: no network is named, one is named twice or does not exist, or numbers are too small.
    """

    minutes: float = 30.0
    images: int | None = None
    networks: tuple[NetworkKind, ...] = ("pose_regressor", "coarse_encoder", "fine_encoder")
    pixels: int = 64
    domain: ImageDomain = "line_integrals"
    renderer: Method = "trilinear"
    length_mm: float = 100.0
    seed: int = 0
    precision: Precision = "auto"
    checkpoint_minutes: float = 2.0
    validations: int = 8
    validation_images: int = 16
    poses: PoseConfig = field(default_factory=PoseConfig)
    randomization: RandomizationConfig = field(default_factory=RandomizationConfig.isoclinic)
    pose_regressor: RegressorPhase = field(default_factory=_regressor_phase)
    ct_regressor: CTRegressorPhase = field(default_factory=CTRegressorPhase)
    coarse_encoder: EncoderPhase = field(default_factory=_coarse_phase)
    fine_encoder: EncoderPhase = field(default_factory=_fine_phase)
    canonical: CanonicalPhase = field(default_factory=CanonicalPhase)
    cohort: CohortConfig | None = None
    part: PartConfig | None = None

    def __post_init__(self) -> None:
        known = get_args(NetworkKind)
        if not self.networks or len(set(self.networks)) < len(self.networks):
            raise UsageError(
                "networks must name at least one network, and none twice", code="training.invalid-value"
            )
        for kind in self.networks:
            if kind not in known:
                raise UsageError(
                    f"networks must be some of {', '.join(known)}, not {kind!r}",
                    code="training.invalid-value",
                )
        if not self.minutes > 0 or (self.images is not None and self.images < 1):
            raise UsageError("minutes and images must be positive", code="training.invalid-value")
        if self.pixels < 16 or self.validation_images < 1 or self.validations < 1 or self.seed < 0:
            raise UsageError(
                "pixels must be at least 16, validations and validation_images at least 1, and seed not "
                "negative",
                code="training.invalid-value",
            )
        if not (self.length_mm > 0 and self.checkpoint_minutes > 0):
            raise UsageError(
                "length_mm and checkpoint_minutes must be positive", code="training.invalid-value"
            )
        if self.domain not in get_args(ImageDomain) or self.renderer not in get_args(Method):
            raise UsageError(
                f"domain must be one of {', '.join(get_args(ImageDomain))} and renderer one of "
                f"{', '.join(get_args(Method))}, not {self.domain!r} and {self.renderer!r}",
                code="training.invalid-value",
            )
        if "canonical" in self.networks and self.domain != "line_integrals":
            raise UsageError(
                "the canonical network is trained on line integrals: leave domain at that",
                code="training.invalid-value",
            )
        if (self.part is not None) != self.canonical.network.hint or (
            self.part is not None and (self.networks != ("canonical",) or self.cohort is not None)
        ):
            raise UsageError(
                "a part has the canonical network alone, which needs canonical.network.hint, as no other "
                'does, and no cohort: begin with the preset "part"',
                code="training.invalid-value",
            )
        if self.precision not in get_args(Precision):
            raise UsageError(
                f"precision must be one of {', '.join(get_args(Precision))}", code="training.invalid-value"
            )

    @classmethod
    def fast(cls) -> TrainConfig:
        """For a processor, in half an hour: the defaults."""
        return cls()

    @classmethod
    def for_part(cls) -> TrainConfig:
        """For a bone or an implant alone, or a structure of a CT, in X-rays that show much else."""
        network = CanonicalConfig(
            backbone=BackboneConfig(channels=(8, 16, 32, 64), contrast_px=15), hint=True, saturation=2.0
        )
        return cls(
            minutes=15.0,
            networks=("canonical",),
            pixels=96,
            randomization=RandomizationConfig.part(),
            canonical=CanonicalPhase(network=network),
            part=PartConfig(),
        )

    @classmethod
    def hospital(cls) -> TrainConfig:
        """As `fast`, on X-rays with what hospitals add; it takes more of them to learn as much."""
        return cls(randomization=RandomizationConfig.hospital())

    @classmethod
    def paper(cls) -> TrainConfig:
        """The published training of one patient's networks, for a GPU (Chen & Kong, WACV 2026, supplement).

        A ResNet-18 by Adam with a cosine on 500 000 X-rays, 4 in a batch; one similarity network
        by AdamW with cycles on 200 000, one by one; learning rates 1e-3. Every X-ray is rendered
        anew, by Siddon's method, both sides in the domain of equation (17); the transforms are
        those of `RandomizationConfig.paper`.

        Where the supplement is silent, it is ours: 128 pixels, the heads, the architecture of the encoder,
        value and direction loss, four cycles down to a tenth, weight decay, clipping, poses and
        perturbations.
        """
        regressor, similarity = _PAPER_IMAGES
        return cls(
            images=regressor + similarity,
            networks=("pose_regressor", "coarse_encoder"),
            pixels=128,
            domain="log_ratio",
            renderer="siddon",
            precision="float32",
            randomization=RandomizationConfig.paper(),
            pose_regressor=RegressorPhase(share=float(regressor), batch=4, copies=1),
            coarse_encoder=_paper_similarity(similarity),
        )

    @classmethod
    def paper_any_patient(cls) -> TrainConfig:
        """The published training of networks of any patient: as `paper`, with RTPIv3 as the regressor.

        750 000 and 300 000 X-rays; RTPIv3 has its published widths and images of 256 pixels. The CTs are
        trained on as they are, none made up.
        """
        regressor, similarity = _PAPER_IMAGES_ANY
        network = CTConditionedRegressorConfig.paper()
        return replace(
            cls.paper(),
            images=regressor + similarity,
            networks=("ct_regressor", "coarse_encoder"),
            pixels=network.image_px,
            ct_regressor=CTRegressorPhase(share=float(regressor), batch=4, copies=1, network=network),
            coarse_encoder=_paper_similarity(similarity),
        )

    @classmethod
    def paper_batched(cls) -> TrainConfig:
        """The numbers of X-rays of `paper` in fewer, larger batches that share renderings: faster, not it.

        Line integrals, rendered by the trilinear method, noise of mean zero, and two similarity networks
        with as many X-rays each.
        """
        cyclic = OptimizerConfig(method="adamw", schedule="cyclic")
        coarse, fine = (SphericalEncoderConfig.paper(head="dense", dense_level=level) for level in (3, 2))
        fast = cls()
        return cls(
            images=900_000,
            pixels=128,
            randomization=RandomizationConfig.paper_batched(),
            pose_regressor=replace(fast.pose_regressor, share=5.0, network=PoseRegressorConfig()),
            coarse_encoder=replace(fast.coarse_encoder, share=2.0, optimizer=cyclic, network=coarse),
            fine_encoder=replace(fast.fine_encoder, share=2.0, optimizer=cyclic, network=fine),
        )

    @classmethod
    def any_patient(cls) -> TrainConfig:
        """For a processor, in an hour: networks of any patient, from a cohort made of the CTs."""
        return cls(
            minutes=60.0,
            networks=("ct_regressor", "coarse_encoder", "canonical"),
            poses=PoseConfig(turned_probability=0.15, anywhere_probability=0.3),
            randomization=RandomizationConfig.hospital(),
            cohort=CohortConfig(),
        )

    def phase(self, kind: NetworkKind) -> PhaseConfig:
        """How a network is trained."""
        phases: dict[NetworkKind, PhaseConfig] = {
            "pose_regressor": self.pose_regressor,
            "ct_regressor": self.ct_regressor,
            "coarse_encoder": self.coarse_encoder,
            "fine_encoder": self.fine_encoder,
            "canonical": self.canonical,
        }
        return phases[kind]

    def images_of(self, kind: NetworkKind) -> int | None:
        """X-rays to train one of `networks` on; None where minutes set the length."""
        return None if self.images is None else max(1, round(self.share(kind) * self.images))

    def share(self, kind: NetworkKind) -> float:
        """Of the whole training, that of one of `networks`."""
        return self.phase(kind).share / sum(self.phase(each).share for each in self.networks)
