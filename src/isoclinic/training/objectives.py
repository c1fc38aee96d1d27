"""What a network is trained for: from a batch to the losses of one network.

An objective holds its network and is a module itself, so that all that touches the weights, derivatives of
derivatives included, happens within one forward pass: what distributed training wraps.
"""

from __future__ import annotations

import torch
from torch import Tensor, nn

from ..geometry import se3, so4
from ..networks import (
    CanonicalNetwork,
    CTConditionedRegressor,
    Embedding,
    PoseRegressor,
    PoseSpace,
    Regressor,
    SphericalEncoder,
    masked,
    predicted_motion,
)
from ..similarity import canonical_target
from .config import CanonicalPhase, CTRegressorPhase, EncoderPhase, PhaseConfig, RegressorPhase
from .losses import (
    CanonicalLoss,
    DirectionLoss,
    MotionLoss,
    StepLoss,
    UnrolledLoss,
    ValueLoss,
    network_gradient,
    pose_loss,
)
from .poses import farthest_rad
from .stream import Batch, Moving


class Objective(nn.Module):
    """Losses of a network on a batch.

    Attributes:
        network: what is trained.
        space: of the poses of some CT; of another, about its isocentre.
    """

    def __init__(self, network: nn.Module, space: PoseSpace) -> None:
        super().__init__()
        self.network = network
        self.space = space

    def forward(self, batch: Batch) -> dict[str, Tensor]:
        """Weighted losses [] by name; their sum is minimised."""
        raise NotImplementedError


class PoseObjective(Objective):
    """Squared distance of the predicted pose to the true one; `dtype` is that of the network's arithmetic."""

    def __init__(self, network: Regressor, space: PoseSpace, dtype: torch.dtype) -> None:
        super().__init__(network, space)
        self._regressor = network
        self._dtype = dtype

    def forward(self, batch: Batch) -> dict[str, Tensor]:
        """See `Objective.forward`."""
        space = self.space.about_isocentre(batch.isocentre_world)
        image, weight = batch.fixed, batch.weight
        with torch.autocast(image.device.type, self._dtype, enabled=self._dtype is not torch.float32):
            motion = predicted_motion(self._regressor, image, weight, batch.volume, space, batch.camera)
        truth = batch.fixed_camera_from_world.to(motion.device)
        return {"pose": pose_loss(space.pose(motion), truth, space)}


class SphericalObjective(Objective):
    """Distances of embeddings like those of poses; see `EncoderPhase`."""

    def __init__(self, network: SphericalEncoder, space: PoseSpace, phase: EncoderPhase) -> None:
        super().__init__(network, space)
        self._encoder = network
        self._phase = phase

    def forward(self, batch: Batch) -> dict[str, Tensor]:
        """See `Objective.forward`."""
        assert batch.moving is not None
        phase, encoder, space = self._phase, self._encoder, self.space.about_isocentre(batch.isocentre_world)
        fixed, moving = masked(batch.fixed, batch.weight), masked(batch.moving, batch.weight)
        poses = batch.moving_camera_from_world, batch.fixed_camera_from_world
        losses: dict[str, Tensor] = {}
        jacobian = None
        if batch.jacobian is not None:
            jacobian = masked(batch.jacobian.movedim(-1, 1), batch.weight[:, None])
        if phase.value or phase.pairs or phase.motion or phase.direction:
            moving = moving.requires_grad_(phase.direction > 0)
            embedded = encoder(moving), encoder(fixed)
            distance = encoder.squared_distance(*embedded)
            if phase.value:
                losses["value"] = phase.value * ValueLoss()(distance, space.squared_distance(*poses))
            if phase.direction:
                assert jacobian is not None
                losses["direction"] = phase.direction * DirectionLoss()(
                    network_gradient(distance, moving, jacobian), space.squared_distance_gradient(*poses)
                )
            if phase.pairs:
                losses["pairs"] = phase.pairs * self._pairs(embedded, poses, space)
            if phase.motion:
                losses["motion"] = phase.motion * self._motion(embedded, poses, space)
        if phase.step:
            assert jacobian is not None
            # Not the perturbation backwards: that one turned about where the isocentre was before it.
            way = se3.perturbation(*poses, space.isocentre)
            losses["step"] = phase.step * StepLoss()(encoder, fixed, moving.detach(), jacobian, way)
        if phase.unrolled:
            images = batch.fixed, batch.weight
            loss = UnrolledLoss(steps=phase.unrolled_steps)
            losses["unrolled"] = phase.unrolled * loss(encoder, batch.projector, images, *poses, batch.domain)
        return losses

    def _pairs(
        self, embedded: tuple[Embedding, Embedding], poses: tuple[Tensor, Tensor], space: PoseSpace
    ) -> Tensor:
        """`ValueLoss` of all images of the batch with all others, moving and fixed ones alike."""
        moving, fixed = embedded
        both = moving.followed_by(fixed)
        every = torch.cat(poses)
        first, second = torch.triu_indices(len(every), len(every), 1)
        distance = self._encoder.squared_distance(both.select(first), both.select(second))
        return ValueLoss()(distance, space.squared_distance(every[first], every[second]))

    def _motion(
        self, embedded: tuple[Embedding, Embedding], poses: tuple[Tensor, Tensor], space: PoseSpace
    ) -> Tensor:
        """`MotionLoss` from the moving images to all others that are not too far away."""
        moving, fixed = embedded
        both = moving.followed_by(fixed)
        elements = space.element(torch.cat(poses))
        every, count = torch.arange(len(elements)), len(poses[0])
        motion = so4.residual(elements[:count, None], elements[None])
        # From the moving to the fixed image of a pair: these always count.
        own = every == torch.arange(count)[:, None] + count
        far = 2 * farthest_rad(self._phase.perturbation_mm[1], space.length_mm) ** 2
        near = (motion.square().sum(-1) <= far) & (every != torch.arange(count)[:, None])
        first, second = (own | near).nonzero(as_tuple=True)
        residual = self._encoder.pair_residuals(both, first, second)
        return MotionLoss()(residual, motion[first, second])


class CanonicalObjective(Objective):
    """Prediction of the standardised DRR; the moving image is that of the X-ray's own pose.

    `dtype` is that of the network's arithmetic.
    """

    def __init__(
        self,
        network: CanonicalNetwork,
        space: PoseSpace,
        phase: CanonicalPhase,
        dtype: torch.dtype = torch.float32,
    ) -> None:
        super().__init__(network, space)
        self._config = network.config
        self._dtype = dtype
        self._loss = CanonicalLoss(nll_share=phase.nll_share)

    def forward(self, batch: Batch) -> dict[str, Tensor]:
        """See `Objective.forward`."""
        assert batch.moving is not None
        target = canonical_target(batch.moving.cpu(), self._config).to(batch.fixed)
        hint: tuple[Tensor, ...] = ()
        if batch.hint is not None and self._config.hint:
            hint = (canonical_target(batch.hint.cpu(), self._config).to(batch.fixed),)
        with torch.autocast(batch.fixed.device.type, self._dtype, enabled=self._dtype != torch.float32):
            predicted = self.network(masked(batch.fixed, batch.weight), *hint)
        return {"canonical": self._loss(predicted, target)}


def moving_for(phase: PhaseConfig) -> Moving:
    """What batches must have beside the X-rays."""
    match phase:
        case EncoderPhase():
            return "jacobian" if phase.direction or phase.step else "image"
        case CanonicalPhase():
            return "same"
    return "none"


def objective(network: nn.Module, phase: PhaseConfig, space: PoseSpace, dtype: torch.dtype) -> Objective:
    """The objective of a network and its training.

    Args:
        network: to be trained.
        phase: how.
        space: of the poses of some CT; of another, about its isocentre.
        dtype: of what is not differentiated twice.
    """
    match network, phase:
        case PoseRegressor(), RegressorPhase():
            return PoseObjective(network, space, dtype)
        case CTConditionedRegressor(), CTRegressorPhase():
            return PoseObjective(network, space, dtype)
        case SphericalEncoder(), EncoderPhase():
            return SphericalObjective(network, space, phase)
        case CanonicalNetwork(), CanonicalPhase():
            # That of whole CTs has been measured in single precision.
            return CanonicalObjective(network, space, phase, dtype if network.config.hint else torch.float32)
    raise TypeError(f"no objective for {type(network).__name__} and {type(phase).__name__}")
