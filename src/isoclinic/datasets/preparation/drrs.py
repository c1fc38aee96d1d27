"""DRRs of a CT at random poses of a mobile C-arm, in HDF5 files of some images each."""

from __future__ import annotations

import hashlib
import io
import math
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from pathlib import Path

import numpy as np
import torch
from torch import Tensor

from ..._files import atomic
from ..._optional import require
from ...errors import InputError, UsageError
from ...geometry import Camera, gantry_poses
from ...rendering import RenderConfig, render
from ...volumes import Volume
from .._hdf5 import opened
from .vertebrae import Array

# Siemens Cios Fusion, a mobile C-arm, with which DeepFluoro was taken: MakeNaiveCIOSFusionMetaDR in
# lib/file_formats/xregCIOSFusionDICOM.cpp of https://github.com/rg2/xreg at c2bdd99.
_SIDE_PX = 1536
_PIXEL_MM = 0.194
_SDD_MM = 1020.0

EXACT = RenderConfig(method="siddon", voxel_mm="full", backend="cpu")
"""How the DRRs are rendered; on the CPU, so that they are the same on every machine."""


@dataclass(frozen=True, kw_only=True)
class DrrConfig:
    """The DRRs of a CT, and the poses of the C-arm. AP is at 180/0 in DICOM's angles, lateral at 90/0.

    Attributes:
        images: of each CT.
        images_per_file: an interrupted preparation loses as many at most.
        binning: detector pixels averaged along each side; 6 leaves 256 x 256 pixels of 1.164 mm.
        primary_angle_deg: smallest and largest primary C-arm angle [deg].
        secondary_angle_deg: smallest and largest secondary C-arm angle [deg].
        source_isocentre_mm: smallest and largest distance from the source to the centre of the lumbar spine
            [mm]; the isocentre of the Cios Fusion is at 632 (CIOSFusionCBCTExtrins of xReg).
        in_plane_reach_deg: largest turn in the image plane [deg].
        lateral_reach_mm: largest shift along each axis of the image [mm], at the patient.
        seed: of the poses; those of a CT depend on it and on the name of the case alone.

    Raises:
        UsageError: a number or range that makes no sense.
    """

    images: int = 500
    images_per_file: int = 100
    binning: int = 6
    primary_angle_deg: tuple[float, float] = (75.0, 285.0)
    secondary_angle_deg: tuple[float, float] = (-30.0, 30.0)
    source_isocentre_mm: tuple[float, float] = (580.0, 720.0)
    in_plane_reach_deg: float = 15.0
    lateral_reach_mm: float = 30.0
    seed: int = 0

    def __post_init__(self) -> None:
        for name in ("images", "images_per_file"):
            if getattr(self, name) < 1:
                raise UsageError(f"{name} must be at least 1, not {getattr(self, name)}")
        if not 1 <= self.binning <= _SIDE_PX // 8:
            raise UsageError(f"binning must lie between 1 and {_SIDE_PX // 8}, not {self.binning}")
        if self.seed < 0:
            raise UsageError(f"seed must not be negative, not {self.seed}")
        for name in ("primary_angle_deg", "secondary_angle_deg", "source_isocentre_mm"):
            low, high = getattr(self, name)
            if not -math.inf < low <= high < math.inf:
                raise UsageError(f"{name} must be a smaller and a larger number, not {low} and {high}")
        if not 0 < self.source_isocentre_mm[0] <= self.source_isocentre_mm[1] < _SDD_MM:
            raise UsageError(
                f"source_isocentre_mm must lie between 0 and {_SDD_MM:g}, the detector's distance"
            )
        for name in ("in_plane_reach_deg", "lateral_reach_mm"):
            if not 0 <= getattr(self, name) < math.inf:
                raise UsageError(f"{name} must be zero or a positive number, not {getattr(self, name)}")

    @property
    def camera(self) -> Camera:
        """Of every DRR; the central ray meets the middle of the detector."""
        detector = Camera.from_pixel_spacing(
            width=_SIDE_PX, height=_SIDE_PX, pixel_spacing_mm=(_PIXEL_MM, _PIXEL_MM), sdd_mm=_SDD_MM
        )
        return detector.bin(self.binning)

    def file_of(self, image: int) -> str:
        """Name of the file that an image is in."""
        return f"drrs-{image // self.images_per_file:03d}.h5"


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
