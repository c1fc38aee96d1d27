"""Renderings of the CT that follow the hand: small ones at once, sharp ones when the hand rests."""

from __future__ import annotations

import threading
from typing import NamedTuple

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from ..registration._fixed import pixel_at_mm
from ..registration.session import COMPUTING
from ..rendering import RenderConfig
from ..rendering.config import Backend
from ..rendering.projector import Projector
from ..viewer._panels import window
from ..viewer.overlay import edges
from ..volumes import Material, Volume
from .scene import SceneView

# The CT's resolution in pixels, seen at its centre, for renderings that follow the hand: finer voxels take up
# to three times as long in oblique views.
_VOXEL_PER_PIXEL = 1.2


class Frame(NamedTuple):
    """A rendering for people.

    Attributes:
        image: [H, W] uint8, bright where dense.
        edges: [H, W] uint8, 255 on the edges and 0 elsewhere.
    """

    image: NDArray[np.uint8]
    edges: NDArray[np.uint8]


class FrameRenderer:
    """Renders the CT in the cameras of X-rays, at sizes that a page asks for.

    What is derived from the CT for a size is prepared once. Registrations and renderings take turns.

    Args:
        volume: the CT.
        views: the X-rays.
        structures: the structures to render, instead of all tissue.
        backend: the device that renders.
        moving_px: renderings of up to this size must be there at once; larger ones may take their time.
    """

    def __init__(
        self,
        volume: Volume,
        views: tuple[SceneView, ...],
        structures: tuple[int | str, ...] | None = None,
        backend: Backend = "auto",
        moving_px: int = 128,
    ) -> None:
        self._volume = volume
        self._views = views
        self._structures = structures
        self._backend = backend
        self._moving_px = moving_px
        self._projectors: dict[tuple[int, int, Material], Projector] = {}
        self._lock = threading.Lock()
        self._newest: dict[tuple[str, int], int] = {}

    def wanted(self, browser: str, view: int, number: int) -> bool:
        """Whether no newer frame than this one was asked for, as far as is known when this is called.

        Args:
            browser: who asks.
            view: index of the X-ray.
            number: which grows with every frame that is asked for.
        """
        with self._lock:
            key = (browser, view)
            if key not in self._newest and len(self._newest) >= 256:
                self._newest.clear()
            self._newest[key] = max(number, self._newest.get(key, number))
            return self._newest[key] == number

    def render(self, view: int, camera_from_world: Tensor, pixels: int, material: Material = "all") -> Frame:
        """The CT in an X-ray.

        Args:
            view: index of the X-ray.
            camera_from_world: its pose [4, 4].
            pixels: longer side of the rendering.
            material: all tissue, or bone alone.
        """
        with COMPUTING:
            projector = self._projector(view, camera_from_world, pixels, material)
            image = projector.image(camera_from_world[None])[0].cpu().numpy()
        tones = window(image, np.ones(image.shape, dtype=bool))
        drawn = edges(tones) if tones.any() else np.zeros(tones.shape, dtype=bool)
        return Frame(np.rint(255 * tones).astype(np.uint8), np.where(drawn, np.uint8(255), np.uint8(0)))

    def _projector(self, view: int, pose: Tensor, pixels: int, material: Material) -> Projector:
        key = (view, pixels, material)
        if key not in self._projectors:
            camera = self._views[view].picture.camera
            scale = pixels / max(camera.width, camera.height)
            width, height = (max(8, round(scale * side)) for side in (camera.width, camera.height))
            resized = camera.resize(height=height, width=width)
            pixel_mm = pixel_at_mm(resized, pose, torch.from_numpy(self._volume.isocentre_world))
            config = RenderConfig(
                method="trilinear",
                voxel_mm=_VOXEL_PER_PIXEL * pixel_mm if pixels <= self._moving_px else "auto",
                structures=self._structures,
                backend=self._backend,
                material=material,
            )
            self._projectors[key] = Projector.of(self._volume, resized, pose[None], config)
        return self._projectors[key]
