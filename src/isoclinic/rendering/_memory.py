"""Images that were rendered a moment ago, for whoever asks for them again."""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Iterator
from dataclasses import dataclass

import torch
from torch import Tensor

from ..geometry import Camera
from ._pack import PackedVolume

# Pixels times poses that are kept at most: a handful of steps of any stage.
_MOST_PIXELS = 2**20

Key = tuple[Camera, bytes]
Rendered = tuple[Tensor, Tensor]


@dataclass(frozen=True, kw_only=True, eq=False)
class Rendering:
    """An image with its derivatives, and all that they depend on.

    Attributes:
        packed: the volume at its resolution.
        exact: whether by Siddon's method.
        camera: intrinsics of the image.
        camera_from_world: pose [1, 4, 4] float64.
        image: [1, H, W].
        jacobian: [1, 6, H, W].
    """

    packed: PackedVolume
    exact: bool
    camera: Camera
    camera_from_world: Tensor
    image: Tensor
    jacobian: Tensor


class Memory:
    """The last images of one projector with their derivatives, each by its camera and pose.

    An optimiser ends at a pose that it has rendered, where its result is then weighed, its tone is fitted,
    and its uncertainty is computed.

    Args:
        most_pixels: pixels times poses that are kept.
    """

    def __init__(self, most_pixels: int = _MOST_PIXELS) -> None:
        self._most_pixels = most_pixels
        self._pixels = 0
        self._kept: OrderedDict[Key, Rendered] = OrderedDict()

    def recall(self, camera: Camera, camera_from_world: Tensor, parameters: int) -> Rendered | None:
        """Images [B, H, W] and derivatives [B, P, H, W] of poses [B, 4, 4]; None unless all are there.

        Args:
            camera: intrinsics of the images.
            camera_from_world: poses.
            parameters: P; images that are kept with more serve where P is 0.
        """
        found = [self._kept.get(key) for key in _keys(camera, camera_from_world)]
        known = [each for each in found if each is not None and each[1].shape[0] >= parameters]
        if not known or len(known) < len(found):
            return None
        images, jacobians = zip(*known, strict=True)
        return torch.stack(images), torch.stack([each[:parameters] for each in jacobians])

    def keep(self, camera: Camera, camera_from_world: Tensor, images: Tensor, jacobians: Tensor) -> None:
        """Keep images [B, H, W] and derivatives [B, P, H, W] of poses [B, 4, 4], which nobody may change."""
        for key, image, jacobian in zip(_keys(camera, camera_from_world), images, jacobians, strict=True):
            before = self._kept.pop(key, None)
            if before is not None:
                self._pixels -= before[0].numel()
                if before[1].shape[0] > jacobian.shape[0]:
                    image, jacobian = before
            self._kept[key] = image, jacobian
            self._pixels += image.numel()
        while self._pixels > self._most_pixels:
            _, (image, _) = self._kept.popitem(last=False)
            self._pixels -= image.numel()

    def clear(self) -> None:
        """Forget everything."""
        self._kept.clear()
        self._pixels = 0


def _keys(camera: Camera, camera_from_world: Tensor) -> Iterator[Key]:
    for pose in camera_from_world.numpy():
        yield camera, pose.tobytes()
