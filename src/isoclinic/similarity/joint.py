"""Several X-rays of one patient, one pose; on demand, geometry that gives way within bounds."""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field, replace
from functools import cached_property

import torch
from torch import Tensor

from ..geometry import Camera, se3, so3
from ..rendering import Rendering, intrinsics_jacobian
from ..solver import Linearization
from .config import IntrinsicsRefinement, SimilarityConfig, ViewRefinement
from .image_similarity import ImageSimilarity, Scatter
from .refinement import refined_camera

# Noise that the priors are weighed against: variance of a residual over the number of independent ones. At
# the right pose simulated X-rays, noise, tools and all, cost about 0.02, half a variance of 0.04; 128 x 128
# pixels hold some 1000 independent windows.
NOISE = 4e-5
_AT_BOUND = 1e-6  # share of a bound that counts as rounding


@dataclass(frozen=True, kw_only=True, eq=False)
class JointSimilarity:
    """The solver's problem: V X-rays against DRRs of one volume; the cost is the mean of theirs.

    Every view counts alike, however many of its pixels are masked.

    A point is [4 + R, 4]: the pose of the first camera, then R rows of refined values, each three numbers and
    a zero. Two rows for every view after the first (`ViewRefinement.bounds`: a turn about the isocentre and a
    shift, in that camera's axes, after the pose that follows from the first camera's), if these are refined;
    then one row for every view (`IntrinsicsRefinement.bounds`), if these are.

    The tangent [6 + 3 R] is that of `se3.perturb` for the first camera, then changes of the values. The same
    motion of the patient in another camera's axes is the tangent turned by the rotation between the two:
    A T(c) exp(x) T(-c) A^-1 = T(A c) exp(y) T(-A c), y being x with both halves turned by A's rotation.

    Attributes:
        views: similarity of every X-ray, all with one isocentre.
        view_from_first: [V, 4, 4] float64, from the first camera's frame to each camera's.
        refine_views: bounds for how the other views lie.
        refine_intrinsics: bounds for the intrinsics.
        depth_mm: limits for the depth of the isocentre at the first camera's pose [mm]: one view hardly
            sees depth, and a model enlarged beyond recognition can match soft tissue; None for no limits.
    """

    views: tuple[ImageSimilarity, ...]
    view_from_first: Tensor
    refine_views: ViewRefinement = field(default_factory=ViewRefinement)
    refine_intrinsics: IntrinsicsRefinement = field(default_factory=IntrinsicsRefinement)
    depth_mm: tuple[float, float] | None = None

    @cached_property
    def bounds(self) -> Tensor:
        """Largest absolute refined values [R, 3]."""
        rows = self.refine_views.bounds * (len(self.views) - 1) if self.refine_views.on else ()
        rows += self.refine_intrinsics.bounds * len(self.views) if self.refine_intrinsics.on else ()
        return torch.tensor(rows, dtype=torch.float64).reshape(-1, 3)

    def seen_from(self, x: Tensor) -> JointSimilarity:
        """Return the problem with the pixels that the CT can explain at points [B, 4 + R, 4].

        See `ImageSimilarity.seen_from`.
        """
        poses = self.cameras_from_world(x).unbind(1)
        views = tuple(view.seen_from(pose) for view, pose in zip(self.views, poses, strict=True))
        same = all(new is old for new, old in zip(views, self.views, strict=True))
        return self if same else replace(self, views=views)

    def recalled(self, x: Tensor) -> tuple[Rendering, ...]:
        """What is still known of how the views look at a point [1, 4 + R, 4]; see `Projector.recalled`."""
        poses = self.cameras_from_world(x).unbind(1)
        found = (view.projector.recalled(pose) for view, pose in zip(self.views, poses, strict=True))
        return tuple(each for each in found if each is not None)

    def forget(self) -> None:
        """Give back the memory of what was rendered last: for problems that are kept with results."""
        for view in self.views:
            view.projector.forget()
            if view.coverage is not None:
                view.coverage.forget()

    def compared_by(self, config: SimilarityConfig) -> JointSimilarity:
        """The problem of the same X-rays with another similarity."""
        return replace(self, views=tuple(replace(view, config=config) for view in self.views))

    @property
    def known_share(self) -> Tensor:
        """Mean over the views of the share [K] of their weight that is compared; see `ImageSimilarity`."""
        return torch.stack(torch.broadcast_tensors(*(view.known_share for view in self.views))).mean(dim=0)

    def start(self, x: Tensor) -> Tensor:
        """Points [B, 4 + R, 4] from those of a problem that refines no more; new values begin at 0."""
        missing = 4 + len(self.bounds) - x.shape[1]
        return torch.cat([x, x.new_zeros(len(x), missing, 4)], dim=1)

    def step_scale(self, length_mm: float) -> tuple[float, ...]:
        """Change of each parameter that moves the image like a millimetre, `length_mm` from the isocentre."""
        rows = [(1 / length_mm,) * 3, (1.0,) * 3]
        if self.refine_views.on:
            rows += rows * (len(self.views) - 1)
        if self.refine_intrinsics.on:
            rows += [(1 / view.projector.camera.sdd_mm, 1.0, 1.0) for view in self.views]
        return tuple(scale for row in rows for scale in row)

    def cameras_from_world(self, x: Tensor) -> Tensor:
        """Poses of all cameras [b, V, 4, 4] at the points [b, 4 + R, 4]."""
        poses = self.view_from_first @ x[:, None, :4]
        if self.refine_views.on:
            turn, shift = self._view_values(x).unbind(2)
            rotation, centre = so3.exp(turn), _apply(poses[:, 1:], self._isocentre_world)
            moved = centre + shift - (rotation @ centre[..., None])[..., 0]
            poses = torch.cat([poses[:, :1], se3.rigid(rotation, moved) @ poses[:, 1:]], dim=1)
        return poses

    def cameras(self, x: Tensor, nominal: tuple[Camera, ...]) -> tuple[Camera, ...]:
        """Cameras of one point [4 + R, 4]: the nominal ones, at whatever resolution, with its intrinsics."""
        if not self.refine_intrinsics.on:
            return nominal
        values = self._intrinsics_values(x[None])[0]
        return tuple(refined_camera(camera, row) for camera, row in zip(nominal, values, strict=True))

    def at_bounds(self, x: Tensor) -> tuple[str, ...]:
        """Return what of one point [4 + R, 4] lies at its bound, for people to read."""
        kinds: list[tuple[int, str]] = []
        found = ["depth"] if bool(self.at_depth_limit(x[None])) else []
        if self.refine_views.on:
            others = range(2, len(self.views) + 1)
            kinds += [(number, name) for number in others for name in ("turn", "shift")]
        if self.refine_intrinsics.on:
            kinds += [(number, "") for number in range(1, len(self.views) + 1)]
        reached = (self.bounds > 0) & (x[4:, :3].abs() >= (1 - _AT_BOUND) * self.bounds)
        for (number, name), (first, *others_reached) in zip(kinds, reached.tolist(), strict=True):
            if name:
                parts = [name] if first or any(others_reached) else []
            else:
                parts = ["focal length"] * first + ["principal point"] * any(others_reached)
            found += [f"{part} of X-ray {number}" for part in parts]
        return tuple(found)

    def linearize(self, x: Tensor, items: Tensor) -> Linearization:
        """Cost, gradient and Gauss-Newton Hessian at the points [b, 4 + R, 4]; see `Problem.linearize`.

        A value at its bound that the cost pushes against it is held: as if it were no parameter.
        """
        at = self.linearize_freely(x, items)
        return self._held(x, at) if len(self.bounds) else at

    def linearize_freely(self, x: Tensor, items: Tensor | None = None) -> Linearization:
        """The same, with no value held; `items` is None where points and masks come in one order."""
        parts = [
            _along(view.linearize_images(*rendered, items), chain)
            for view, rendered, chain in zip(self.views, self._rendered(x), self.chains(x), strict=True)
        ]
        total = sum(parts[1:], start=parts[0])
        mean = Linearization(*(part / len(parts) for part in (total.cost, total.gradient, total.hessian)))
        return mean + self._prior(x) if len(self.bounds) else mean

    def retract(self, x: Tensor, delta: Tensor) -> Tensor:
        """Points [b, 4 + R, 4] moved along the tangent [b, 6 + 3 R], values no further than their bounds."""
        first = self._within_depth(se3.perturb(x[:, :4], delta[:, :6], self._isocentre_world))
        values = x[:, 4:, :3] + delta[:, 6:].unflatten(1, self.bounds.shape)
        values = torch.minimum(torch.maximum(values, -self.bounds), self.bounds)
        return torch.cat([first, torch.cat([values, x[:, 4:, 3:]], dim=2)], dim=1)

    def _within_depth(self, poses: Tensor) -> Tensor:
        """Poses [b, 4, 4] moved along the ray to the isocentre, up to the limits of its depth."""
        if self.depth_mm is None:
            return poses
        centre = _apply(poses, self._isocentre_world)
        depth = centre[:, 2:]
        allowed = depth.clamp(*self.depth_mm)
        # What lies behind the source has no ray to move along; the cost rejects such a step.
        shift = torch.where(depth > 0, centre * (allowed / depth - 1), 0.0)
        moved = poses.clone()
        moved[:, :3, 3] += shift
        return moved

    def at_depth_limit(self, x: Tensor) -> Tensor:
        """Tell whether points [b, 4 + R, 4] lie at a limit of the depth: [b] bool."""
        if self.depth_mm is None:
            return torch.zeros(len(x), dtype=torch.bool)
        depth = _apply(x[:, :4], self._isocentre_world)[:, 2]
        nearest, farthest = self.depth_mm
        slack = _AT_BOUND * (farthest - nearest)
        return (depth <= nearest + slack) | (depth >= farthest - slack)

    def scatter(self, x: Tensor, tile_px: int) -> Scatter:
        """Compute how far tiles of the images agree on the optimum at the points [b, 4 + R, 4].

        A value at its bound is not held; one whose bound is 0 is.

        See `ImageSimilarity.scatter`. A prior is one more observation of its value: the last 3 R rows of the
        gradients hold what size is to be expected of each, one deviation from where it is least.
        """
        count = len(self.views)
        priors = torch.cat([x.new_zeros(6), self.prior_curvature])
        # What may not change at all is no parameter.
        free = torch.cat([x.new_ones(6), (self.bounds.flatten() > 0).to(x)])
        gradients, curvature = [], (priors + 1 - free).diag().expand(len(x), -1, -1)
        for view, rendered, chain in zip(self.views, self._rendered(x), self.chains(x), strict=True):
            own, chain = view.scatter_images(*rendered, tile_px), chain * free
            gradients.append(own.gradients @ chain / count)
            curvature = curvature + chain.mT @ own.curvature @ chain / count
        expected = (NOISE * priors).sqrt().diag()[6:]
        return Scatter(torch.cat([*gradients, expected.expand(len(x), -1, -1)], dim=1), curvature)

    def toned(self, x: Tensor, least_gain: float) -> JointSimilarity:
        """Return the problem with tone curves fitted at a point [1, 4 + R, 4]; itself if they gain little."""
        pairs = zip(self.views, self.images(x), strict=True)
        views = tuple(view.toned(image[0], least_gain) for view, image in pairs)
        return self if views == self.views else replace(self, views=views)

    def images(self, x: Tensor) -> list[Tensor]:
        """Line integrals [b, H, W] in every view."""
        return [
            torch.cat([view.projector.image(pose, camera) for pose, camera in placed])
            for view, placed in zip(self.views, self._placed(x), strict=True)
        ]

    def correlation(self, x: Tensor) -> Tensor:
        """Mean over views of their correlation [b]; see `ImageSimilarity.correlation`."""
        pairs = zip(self.views, self.images(x), strict=True)
        return torch.stack([view.correlate_images(image) for view, image in pairs]).mean(dim=0)

    def significance_of_images(self, images: Sequence[Tensor]) -> float:
        """How many standard deviations of chance the correlations with images [1, H, W] are above 0.

        Those of several views add up as independent evidence does (Stouffer 1949). See
        `ImageSimilarity.significance`.
        """
        pairs = zip(self.views, images, strict=True)
        return sum(view.significance(image) for view, image in pairs) / math.sqrt(len(self.views))

    @property
    def _isocentre_world(self) -> Tensor:
        return self.views[0].projector.isocentre_world

    def _view_values(self, x: Tensor) -> Tensor:
        """The refined turns and shifts [b, V - 1, 2, 3] of the views after the first."""
        others = len(self.views) - 1
        return x[:, 4 : 4 + 2 * others, :3].unflatten(1, (others, 2))

    def _intrinsics_values(self, x: Tensor) -> Tensor:
        """The refined intrinsics [b, V, 3] of every view."""
        return x[:, -len(self.views) :, :3]

    def _placed(self, x: Tensor) -> Iterator[list[tuple[Tensor, Camera]]]:
        """The poses [b', 4, 4] of every view, each as its camera sees it, in the order of the items."""
        poses = self.cameras_from_world(x)
        for index, view in enumerate(self.views):
            camera = view.projector.camera
            if self.refine_intrinsics.on:
                values = self._intrinsics_values(x)[:, index]
                pairs = zip(poses[:, index].split(1), values, strict=True)
                yield [(pose, refined_camera(camera, value)) for pose, value in pairs]
            else:
                yield [(poses[:, index], camera)]

    def _rendered(self, x: Tensor) -> Iterator[tuple[Tensor, Tensor]]:
        """The images of every view, with derivatives along its pose and, if refined, its intrinsics."""
        for view, placed in zip(self.views, self._placed(x), strict=True):
            parts = []
            for pose, camera in placed:
                image, jacobian = view.projector.image_and_jacobian(pose, camera)
                if self.refine_intrinsics.on:
                    centre = _apply(pose, self._isocentre_world)
                    extra = intrinsics_jacobian(jacobian, camera, centre)
                    jacobian = torch.cat([jacobian, extra], dim=1)
                parts.append((image, jacobian))
            images, jacobians = zip(*parts, strict=True)
            yield (images[0], jacobians[0]) if len(parts) == 1 else (torch.cat(images), torch.cat(jacobians))

    def chains(self, x: Tensor) -> Tensor:
        """Derivative [V, b, 6 or 9, 6 + 3 R] of every view's own parameters by the joint ones."""
        count, own = len(self.views), 9 if self.refine_intrinsics.on else 6
        chains = x.new_zeros(count, len(x), own, 6 + 3 * len(self.bounds))
        rotation, identity = self.view_from_first[:, None, :3, :3], torch.eye(3, dtype=x.dtype)
        chains[:, :, :3, :3] = rotation
        chains[:, :, 3:6, 3:6] = rotation
        if self.refine_views.on:
            turn = self._view_values(x)[:, :, 0].transpose(0, 1)
            chains[1:, :, :3, :3] = so3.exp(turn) @ rotation[1:]
            for index in range(1, count):
                chains[index, :, :3, 6 * index : 6 * index + 3] = _turning_by(turn[index - 1])
                chains[index, :, 3:6, 6 * index + 3 : 6 * index + 6] = identity
        if self.refine_intrinsics.on:
            for index, first in enumerate(range(chains.shape[-1] - 3 * count, chains.shape[-1], 3)):
                chains[index, :, 6:, first : first + 3] = identity
        return chains

    @property
    def prior_curvature(self) -> Tensor:
        """Precisions [3 R] of Gaussians whose deviation is half the bound; 0 where nothing may change."""
        deviation = self.bounds.flatten() / 2
        return torch.where(deviation > 0, NOISE / deviation.square(), 0.0)

    def _prior(self, x: Tensor) -> Linearization:
        values, curvature = x[:, 4:, :3].flatten(1), self.prior_curvature
        slope = torch.cat([x.new_zeros(len(x), 6), curvature * values], dim=1)
        diagonal = torch.cat([curvature.new_zeros(6), curvature]).expand_as(slope)
        return Linearization(0.5 * (curvature * values.square()).sum(1), slope, diagonal.diag_embed())

    def _held(self, x: Tensor, at: Linearization) -> Linearization:
        values, slope = x[:, 4:, :3].flatten(1), at.gradient[:, 6:]
        limit = self.bounds.flatten()
        held = (values >= limit) & (slope <= 0) | (values <= -limit) & (slope >= 0)
        free = torch.cat([held.new_ones(len(x), 6), ~held], dim=1)
        hessian = at.hessian * (free[:, :, None] & free[:, None, :]) + (~free).diag_embed()
        return replace(at, gradient=at.gradient * free, hessian=hessian)


def _along(at: Linearization, chain: Tensor) -> Linearization:
    """The same in parameters [Q]; `chain` [b, P, Q] is the derivative of its own ones by these."""
    gradient = (chain.mT @ at.gradient[..., None])[..., 0]
    return Linearization(at.cost, gradient, chain.mT @ at.hessian @ chain)


def _turning_by(rotation_vector: Tensor) -> Tensor:
    """The turn [..., 3, 3] [rad] that a change of a rotation vector [..., 3] adds to its rotation.

    It is the left Jacobian of SO(3), which is also what turns velocity into translation in `se3.exp`.
    """
    axes = torch.eye(3, dtype=rotation_vector.dtype).expand(*rotation_vector.shape[:-1], 3, 3)
    screws = torch.cat([rotation_vector[..., None, :].expand_as(axes), axes], dim=-1)
    return se3.exp(screws)[..., :3, 3].mT


def _apply(transforms: Tensor, point: Tensor) -> Tensor:
    """The places [..., 3] to which transforms [..., 4, 4] take a point [3]."""
    return transforms[..., :3, :3] @ point + transforms[..., :3, 3]
