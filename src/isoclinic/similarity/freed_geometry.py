"""X-rays whose intrinsics, distortion and scatter are free, to be estimated from the images themselves."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, fields, replace
from functools import cached_property

import torch
from scipy.ndimage import gaussian_filter
from torch import Tensor

from ..errors import UsageError
from ..geometry import Distortion, distortion_jacobian, sampled
from ..rendering import Projector, intrinsics_jacobian
from ..solver import Linearization
from .image_similarity import ImageSimilarity, Scatter
from .joint import NOISE, JointSimilarity
from .refinement import refined_camera

# Rows of a point that belong to one view, of three values each.
ROWS = 3
_VALUES = 3 * ROWS
# Width of the scatter's kernel, as a share of the image's longer side, and its strength relative to the
# primary beam where `scatter` is one: ratios of 0.1 to 0.7 are usual behind a grid (Boone & Seibert 1988).
_SCATTER_WIDTH, _SCATTER_SHARE = 0.1, 0.3


@dataclass(frozen=True, kw_only=True)
class Freedom:
    """Standard deviations of Gaussian priors for the values that are free in every view; 0 holds a value.

    Attributes:
        log_focal: logarithm of the focal length's factor.
        right_mm: shift of the principal point along the camera's x on the detector [mm].
        down_mm: the same along y [mm].
        radial: see `Distortion`.
        spiral: see `Distortion`.
        border: share of the CT's outermost layers of voxels that is not there. How far the tissue of a CT
            that ends within the patient reaches is known to a voxel only.
        scatter: strength of scattered light, as a share of what is usual, beyond what a tone curve describes.
    """

    log_focal: float = 0.0
    right_mm: float = 0.0
    down_mm: float = 0.0
    radial: float = 0.0
    spiral: float = 0.0
    border: float = 0.0
    scatter: float = 0.0

    def __post_init__(self) -> None:
        if not all(value >= 0 for value in self.values):
            raise UsageError(
                f"deviations must not be negative, not {self.values}", code="similarity.invalid-value"
            )

    @property
    def values(self) -> tuple[float, ...]:
        """The parameters of all views, in order."""
        return tuple(getattr(self, each.name) for each in fields(self))


# Their places in a view's part of the tangent.
NAMES = tuple(each.name for each in fields(Freedom))


@dataclass(frozen=True, kw_only=True, eq=False)
class FreedGeometry:
    """The solver's problem: that of a joint similarity, with more that gives way in every view.

    A point is [1, 4 + R + 3 V, 4]: one of the joint similarity, then three rows for every view that hold its
    values in the order of `Freedom` and two zeros. The tangent has its entries in the same order.

    Attributes:
        joint: poses, and how views lie; it refines no intrinsics.
        borders: projectors of nothing but the CT's outermost layers, one for each view.
        freedom: the values that may change in each view.
    """

    joint: JointSimilarity
    borders: tuple[Projector, ...]
    freedom: tuple[Freedom, ...]

    def __post_init__(self) -> None:
        if self.joint.refine_intrinsics.on:
            raise UsageError(
                "a joint similarity that refines intrinsics cannot have them freed once more",
                code="similarity.invalid-value",
            )

    def start(self, x: Tensor) -> Tensor:
        """The point at which no value has changed yet, from one of the joint similarity [1, 4 + R, 4]."""
        return torch.cat([x, x.new_zeros(1, ROWS * len(self.joint.views), 4)], dim=1)

    def values(self, x: Tensor) -> Tensor:
        """Values [V, 9] of a point [1, 4 + R + 3 V, 4], the last two of each view being 0."""
        return x[0, -ROWS * len(self.joint.views) :, :3].reshape(-1, _VALUES)

    def joint_point(self, x: Tensor) -> Tensor:
        """The joint similarity's part [1, 4 + R, 4]."""
        return x[:, : x.shape[1] - ROWS * len(self.joint.views)]

    def place(self, name: str, view: int) -> int:
        """Index of a value within the tangent."""
        return self._joint_size + _VALUES * view + NAMES.index(name)

    def linearize(self, x: Tensor, items: Tensor) -> Linearization:
        """Cost, gradient and Gauss-Newton Hessian at one point; see `Problem.linearize`."""
        count = len(self.joint.views)
        total: Linearization | None = None
        for view, rendered, chain in self._rendered(x):
            at = view.linearize_images(*rendered)
            gradient, hessian = at.gradient @ chain, chain.mT @ at.hessian @ chain
            part = Linearization(at.cost / count, gradient / count, hessian / count)
            total = part if total is None else total + part
        assert total is not None
        values, free = self._values_and_free(x)
        prior = self._prior_curvature
        # A value that is held is no parameter: no slope, and a curvature that keeps the matrix regular.
        slope = (total.gradient + prior * values) * free
        curvature = total.hessian * (free[:, None] * free) + (prior + (1 - free)).diag()
        return Linearization(total.cost + 0.5 * (prior * values.square()).sum(-1), slope, curvature)

    def scatter(self, x: Tensor, tile_px: int) -> Scatter:
        """Compute how far tiles of the images agree on the optimum; see `JointSimilarity.scatter`."""
        count, (_, free) = len(self.joint.views), self._values_and_free(x)
        prior = self._prior_curvature
        gradients, curvature = [], (prior + (1 - free)).diag()[None]
        for view, rendered, chain in self._rendered(x):
            own = view.scatter_images(*rendered, tile_px)
            gradients.append(own.gradients @ chain * free / count)
            curvature = curvature + (chain.mT @ own.curvature @ chain) * (free[:, None] * free) / count
        expected = (NOISE * prior).sqrt().diag()[prior > 0]
        return Scatter(torch.cat([*gradients, expected[None]], dim=1), curvature)

    def retract(self, x: Tensor, delta: Tensor) -> Tensor:
        """The point moved along the tangent; nothing leaves five deviations of its prior."""
        size = self._joint_size
        moved = self.joint.retract(self.joint_point(x), delta[:, :size])
        deviations = torch.tensor([[*each.values, 0.0, 0.0] for each in self.freedom], dtype=torch.float64)
        values = self.values(x) + delta[0, size:].reshape(-1, _VALUES)
        values = torch.minimum(torch.maximum(values, -5 * deviations), 5 * deviations)
        rows = torch.cat([values.reshape(-1, 3), values.new_zeros(len(values) * ROWS, 1)], dim=1)
        return torch.cat([moved, rows[None]], dim=1)

    @property
    def _joint_size(self) -> int:
        return 6 + 3 * len(self.joint.bounds)

    @cached_property
    def _prior_curvature(self) -> Tensor:
        """Precisions [P] of the priors; 0 for the pose and for held values."""
        own = [
            NOISE / value**2 if value > 0 else 0.0
            for each in self.freedom
            for value in (*each.values, 0.0, 0.0)
        ]
        joint = torch.cat([torch.zeros(6, dtype=torch.float64), self.joint.prior_curvature])
        return torch.cat([joint, torch.tensor(own, dtype=torch.float64)])

    def _values_and_free(self, x: Tensor) -> tuple[Tensor, Tensor]:
        """Values of the tangent's entries [P], 0 for the pose, and 1 for those that are free, else 0."""
        joint = self.joint_point(x)[0, 4:, :3].flatten()
        values = torch.cat([x.new_zeros(6), joint, self.values(x).flatten()])
        own = [float(value > 0) for each in self.freedom for value in (*each.values, 0.0, 0.0)]
        free = torch.cat(
            [x.new_ones(6), (self.joint.bounds.flatten() > 0).double(), torch.tensor(own).double()]
        )
        return values, free

    def _rendered(self, x: Tensor) -> Iterator[tuple[ImageSimilarity, tuple[Tensor, Tensor], Tensor]]:
        """Every view with its image [1, H, W] with derivatives [1, 13, H, W], and their chain."""
        joint = self.joint_point(x)
        poses, chains = self.joint.cameras_from_world(joint), self.joint.chains(joint)
        size = self._joint_size
        parts = zip(self.joint.views, self.borders, self.values(x), chains, strict=True)
        for index, (view, border, values, pose_chain) in enumerate(parts):
            chain = x.new_zeros(6 + len(NAMES), size + _VALUES * len(self.joint.views))
            chain[:6, :size] = pose_chain[0]
            first = size + _VALUES * index
            chain[6:, first : first + len(NAMES)] = torch.eye(len(NAMES), dtype=x.dtype)
            yield view, _image_and_jacobian(view, border, poses[:, index], values), chain


def _image_and_jacobian(
    view: ImageSimilarity, border: Projector, pose: Tensor, values: Tensor
) -> tuple[Tensor, Tensor]:
    """Image [1, H, W] at a pose [1, 4, 4] and values [9], and its derivatives [1, 13, H, W]."""
    nominal = view.projector.camera
    camera = refined_camera(nominal, values[:3])
    image, by_pose = (each.cpu() for each in view.projector.image_and_jacobian(pose, camera))
    centre = (pose[:, :3, :3] @ view.projector.isocentre_world) + pose[:, :3, 3]
    by_intrinsics = intrinsics_jacobian(by_pose, camera, centre)
    by_border = -border.image(pose, camera).cpu()[:, None]
    by_scatter = _scattered(image)[:, None]
    image = image + float(values[5]) * by_border[:, 0] + float(values[6]) * by_scatter[:, 0]
    straight = torch.cat([image[:, None], by_pose, by_intrinsics, by_border, by_scatter], dim=1)
    radial, spiral = values[3:5].tolist()
    if radial or spiral:
        displacement = Distortion(radial=radial, spiral=spiral).source_px(nominal)
        straight = sampled(straight[0], displacement)[None]
    image, by_pose, by_intrinsics, by_more = straight.split([1, 6, 3, 2], dim=1)
    by_distortion = distortion_jacobian(by_intrinsics[:, 1:], nominal)
    return image[:, 0], torch.cat([by_pose, by_intrinsics, by_distortion, by_more], dim=1)


def _scattered(image: Tensor) -> Tensor:
    """Return how far the usual scatter, smooth light added to the beam's, lowers line integrals [1, H, W]."""
    primary = torch.exp(-image.double())
    width = _SCATTER_WIDTH * max(image.shape[-2:])
    scatter = torch.from_numpy(gaussian_filter(primary[0].numpy(), width, mode="nearest"))
    return -torch.log1p(_SCATTER_SHARE * scatter[None] / primary).to(image)


def without_intrinsics(joint: JointSimilarity, x: Tensor) -> tuple[JointSimilarity, Tensor]:
    """The same problem and point [1, ...] with refined intrinsics for given ones."""
    if not joint.refine_intrinsics.on:
        return joint, x
    cameras = joint.cameras(x[0], tuple(view.projector.camera for view in joint.views))
    views = tuple(
        replace(view, projector=replace(view.projector, camera=camera))
        for view, camera in zip(joint.views, cameras, strict=True)
    )
    trusting = replace(joint, views=views, refine_intrinsics=type(joint.refine_intrinsics)())
    return trusting, x[:, : x.shape[1] - len(joint.views)]
