"""The renderers compared by `render.py`, each behind the same few calls.

Run as `_render_worker.py NAME OPTION...` in an environment that has that renderer.
"""

from __future__ import annotations

import os
import sys
import time
from collections.abc import Callable
from types import SimpleNamespace
from typing import Any, Protocol

import numpy as np
from _scene import SDD_MM, View, tangent_gradient
from _worker import Memory, package_version, serve
from numpy.typing import NDArray


class Renderer(Protocol):
    """An image and its derivative by the pose."""

    package: str
    wants: str  # "hu" or "mu": the voxels it is given

    def load(self, voxels: NDArray[Any], world_from_voxel: NDArray[np.float64]) -> None:
        """Take a volume; let go of the one before."""

    def aim(self, view: View, weights: NDArray[np.float32]) -> None:
        """Everything about a view that is not part of rendering; not timed."""

    def render(self) -> tuple[Any, Any]:
        """Image, and derivative of the weighted sum of its pixels by the pose."""

    def tangent(self, gradient: Any) -> NDArray[np.float64]:
        """That derivative [6] by (rotation [rad], translation [mm]), camera axes, about the isocentre."""


class Isoclinic:
    """isoclinic: the whole Jacobian comes with the image."""

    package = "isoclinic"
    wants = "hu"

    def __init__(self, method: str, voxel_mm: str) -> None:
        import torch

        from isoclinic.rendering import RenderConfig

        torch.set_num_threads(int(os.environ["OMP_NUM_THREADS"]))
        level: Any = voxel_mm if voxel_mm in ("full", "auto") else float(voxel_mm)
        self._config = RenderConfig(method=method, voxel_mm=level, backend="cpu")  # type: ignore[arg-type]

    def load(self, voxels: NDArray[Any], world_from_voxel: NDArray[np.float64]) -> None:
        from isoclinic.volumes import Volume

        self._volume = Volume(hu=voxels, world_from_voxel=world_from_voxel)

    def aim(self, view: View, weights: NDArray[np.float32]) -> None:
        import torch

        from isoclinic.geometry import Camera

        self._camera = Camera.from_pixel_spacing(
            width=view.size,
            height=view.size,
            pixel_spacing_mm=(view.pixel_mm, view.pixel_mm),
            sdd_mm=SDD_MM,
        )
        self._camera_from_world = np.linalg.inv(view.world_from_camera)
        self._weights = torch.from_numpy(weights)

    def render(self) -> tuple[Any, Any]:
        import torch

        from isoclinic.rendering import render_with_jacobian

        image, jacobian = render_with_jacobian(
            self._volume, self._camera, self._camera_from_world, self._config
        )
        return image[0], torch.einsum("hw,hwk->k", self._weights, jacobian[0])

    def tangent(self, gradient: Any) -> NDArray[np.float64]:
        found: NDArray[np.float64] = gradient.numpy()
        return found


class Nanodrr:
    """nanodrr's torch path, as it is or compiled by torch."""

    package = "nanodrr"
    wants = "mu"

    def __init__(self, how: str = "eager") -> None:
        import nanodrr.drr  # noqa: F401
        import torch

        torch.set_num_threads(int(os.environ["OMP_NUM_THREADS"]))
        self._compiled = how == "compiled"

    def load(self, voxels: NDArray[Any], world_from_voxel: NDArray[np.float64]) -> None:
        import torch
        from nanodrr.data import Subject
        from torchio import ScalarImage

        image = ScalarImage(tensor=torch.from_numpy(voxels)[None], affine=world_from_voxel)
        self._subject = Subject.from_images(image, convert_to_mu=False)
        self._isocentre_world = image.get_center()

    def aim(self, view: View, weights: NDArray[np.float32]) -> None:
        import torch
        from nanodrr.drr import DRR

        # The principal point offset (0, 0) is the middle of the detector.
        self._drr = DRR.from_carm_intrinsics(
            SDD_MM, view.pixel_mm, view.pixel_mm, 0.0, 0.0, view.size, view.size, dtype=torch.float32
        )
        if self._compiled:
            self._drr = torch.compile(self._drr)
        self._view = view
        self._world_from_camera = torch.from_numpy(view.world_from_camera).float()[None].requires_grad_()
        self._weights = torch.from_numpy(weights)

    def render(self) -> tuple[Any, Any]:
        self._world_from_camera.grad = None
        image = self._drr(self._subject, self._world_from_camera, backend="torch")[0, 0]
        image.backward(self._weights)
        gradient: Any = self._world_from_camera.grad
        return image.detach(), gradient[0]

    def tangent(self, gradient: Any) -> NDArray[np.float64]:
        return tangent_gradient(
            gradient.double().numpy(), self._view.world_from_camera, np.array(self._isocentre_world)
        )


class Diffdrr:
    """DiffDRR's renderers; of the package only what rendering needs is imported."""

    package = "diffdrr"
    wants = "mu"

    def __init__(self, method: str) -> None:
        import diffdrr.drr  # noqa: F401
        import torch

        torch.set_num_threads(int(os.environ["OMP_NUM_THREADS"]))
        self._method = method

    def load(self, voxels: NDArray[Any], world_from_voxel: NDArray[np.float64]) -> None:
        import torch

        # As its own reader does: the world's origin in the middle of the volume.
        middle = world_from_voxel @ [*((np.array(voxels.shape) - 1) / 2), 1.0]
        centred = world_from_voxel.copy()
        centred[:3, 3] -= middle[:3]
        self._centre_world = middle[:3]
        self._subject = SimpleNamespace(
            volume=SimpleNamespace(affine=centred),
            density=SimpleNamespace(data=torch.from_numpy(voxels)),
            mask=None,
            reorient=torch.eye(4),
        )

    def aim(self, view: View, weights: NDArray[np.float32]) -> None:
        import torch
        from diffdrr.drr import DRR

        self._drr = DRR(
            self._subject, sdd=SDD_MM, height=view.size, delx=view.pixel_mm, renderer=self._method
        )
        # Its camera has x to the left and y up.
        self._turn = np.diag([-1.0, -1.0, 1.0, 1.0])
        self._view = view
        pose = view.world_from_camera.copy()
        pose[:3, 3] -= self._centre_world
        self._pose = torch.from_numpy(pose @ self._turn).float()[None].requires_grad_()
        self._weights = torch.from_numpy(weights)

    def render(self) -> tuple[Any, Any]:
        from diffdrr.pose import RigidTransform

        self._pose.grad = None
        image = self._drr(RigidTransform(self._pose))[0, 0]
        image.backward(self._weights)
        gradient: Any = self._pose.grad
        return image.detach(), gradient[0]

    def tangent(self, gradient: Any) -> NDArray[np.float64]:
        gradient = gradient.double().numpy() @ self._turn
        pose = self._view.world_from_camera.copy()
        pose[:3, 3] -= self._centre_world
        return tangent_gradient(gradient, pose, np.zeros(3))


class Worker:
    """Requests of `render.py`."""

    def __init__(self, name: str, options: list[str]) -> None:
        renderers: dict[str, Callable[..., Any]] = {
            "isoclinic": Isoclinic,
            "nanodrr": Nanodrr,
            "diffdrr": Diffdrr,
        }
        self._make: Callable[[], Renderer] = lambda: renderers[name](*options)
        self._memory = Memory()

    def start(self) -> dict[str, Any]:
        """Import and compile; memory is counted from here."""
        self._renderer: Renderer = self._make()
        small = View(size=4, world_from_camera=np.eye(4))
        dtype = np.int16 if self._renderer.wants == "hu" else np.float32
        self._renderer.load(np.zeros((8, 8, 8), dtype), np.eye(4))
        self._renderer.aim(small, np.ones((4, 4), np.float32))
        self._renderer.render()
        self._before = self._memory.resident_bytes()
        return {"version": package_version(self._renderer.package)}

    def load(self, hu: str, mu: str, world_from_voxel: list[list[float]]) -> dict[str, Any]:
        """Load the volume afresh."""
        path = hu if self._renderer.wants == "hu" else mu
        self._renderer.load(np.load(path), np.array(world_from_voxel))
        self._loaded = self._memory.resident_bytes()
        self._memory.restart_peak()
        return {}

    def render(
        self, size: int, world_from_camera: list[list[float]], weights: str, save: str | None = None
    ) -> dict[str, Any]:
        """Render one view, timed."""
        view = View(size=size, world_from_camera=np.array(world_from_camera))
        self._renderer.aim(view, np.load(weights))
        start = time.perf_counter()
        image, gradient = self._renderer.render()
        seconds = time.perf_counter() - start
        if save is not None:
            np.save(save, image.numpy())
        return {"seconds": seconds, "gradient": self._renderer.tangent(gradient).tolist()}

    def memory(self) -> dict[str, Any]:
        """Peak since `load`, less what the volume takes, and with it [bytes]."""
        peak = self._memory.peak_bytes()
        if peak is None or self._before is None or self._loaded is None:
            return {"rendering": None, "with_volume": None}
        return {"rendering": peak - self._loaded, "with_volume": peak - self._before}


if __name__ == "__main__":
    serve(Worker(sys.argv[1], sys.argv[2:]))
