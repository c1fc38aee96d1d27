"""DRRs of a CT at random poses of a mobile C-arm, in HDF5 files of some images each."""

from __future__ import annotations

import hashlib
import io
from collections.abc import Mapping
from dataclasses import asdict
from pathlib import Path

import numpy as np
import torch
from torch import Tensor

from ..._files import atomic
from ..._optional import require
from ...errors import InputError
from ...geometry import gantry_poses
from ...rendering import RenderConfig, render
from ...volumes import Volume
from .._hdf5 import opened
from .config import DrrConfig
from .vertebrae import Array

EXACT = RenderConfig(method="siddon", voxel_mm="full", backend="cpu")
"""How the DRRs are rendered; on the CPU, so that they are the same on every machine."""


def draw_poses(config: DrrConfig, case: str, isocentre_world: Array) -> Tensor:
    """camera_from_world [N, 4, 4] of all images of a case, float64, each number uniform within its range.

    They are `gantry_poses` about the isocentre [3] [mm].
    """
    name = hashlib.sha256(f"{config.seed}/{case}".encode()).digest()
    generator = np.random.default_rng(np.frombuffer(name, dtype=np.uint32))
    ranges = (
        *(config.primary_angle_deg, config.secondary_angle_deg, config.source_isocentre_mm),
        (-config.in_plane_reach_deg, config.in_plane_reach_deg),
        *[(-config.lateral_reach_mm, config.lateral_reach_mm)] * 2,
    )
    low, high = np.transpose(ranges)
    drawn = torch.from_numpy(generator.uniform(low, high, (config.images, len(ranges))))
    shift_mm = torch.nn.functional.pad(drawn[:, 4:], (0, 1))
    centre = torch.from_numpy(isocentre_world)
    return gantry_poses(drawn[:, :3], centre, shift_mm=shift_mm, in_plane_deg=drawn[:, 3])


def write_drrs(
    folder: Path, volume: Volume, poses: Tensor, landmarks: Mapping[str, Array], config: DrrConfig, key: str
) -> None:
    """Render a CT at poses [N, 4, 4] and write the files that are not there yet.

    Each holds `images` [n, H, W] (line integrals, float32), `camera_from_world` [n, 4, 4], the fields of
    `Camera` in `camera`, `landmarks/<vertebra>/<landmark>` [3] (world, RAS mm) and `key`.

    Args:
        folder: of the case.
        volume: to render.
        poses: one an image.
        landmarks: points [3] [mm] by name.
        config: of the images.
        key: of the preparation; files of another one are replaced.

    Raises:
        InputError: a file cannot be written.
        UsageError: h5py is not installed.
    """
    h5py = require("h5py", extra="datasets")
    files = set()
    for first in range(0, config.images, config.images_per_file):
        path = folder / config.file_of(first)
        files.add(path)
        if path.exists() and _key_of(path) == key:
            continue
        mine = poses[first : first + config.images_per_file]
        images = np.stack([render(volume, config.camera, pose, EXACT)[0].numpy() for pose in mine])
        # Made in memory: HDF5 itself has no clear error where the disk is full.
        content = io.BytesIO()
        with h5py.File(content, "w") as file:
            chunks = (1, *images.shape[1:])
            file.create_dataset("images", data=images, chunks=chunks, compression="gzip", shuffle=True)
            file["camera_from_world"] = mine.numpy()
            for field, value in asdict(config.camera).items():
                file[f"camera/{field}"] = value
            for name, point in landmarks.items():
                file[f"landmarks/{name}"] = point
            file["key"] = key
        with atomic(path) as temporary:
            temporary.write_bytes(content.getbuffer())
    for path in set(folder.glob("drrs-*.h5")) - files:
        path.unlink()


def _key_of(path: Path) -> str | None:
    """Key of the preparation that a file belongs to; None for a file that cannot be read."""
    try:
        with opened(path, "") as file:
            return None if file is None else file.text("key")
    except InputError:
        return None
