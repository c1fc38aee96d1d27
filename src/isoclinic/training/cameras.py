"""The cameras whose images networks see in training."""

from __future__ import annotations

from ..geometry import Camera
from ..networks.part_view import PartShape, part_camera
from ..volumes import Volume
from .config import CanonicalPhase, EncoderPhase, TrainConfig


def resized_camera(camera: Camera, config: TrainConfig) -> Camera:
    """The camera with its longer side of so many pixels, both sides multiples of the networks' strides.

    Networks that see the CT, too, take squares: they get the middle of a longer field.
    """
    if "ct_regressor" in config.networks:
        side = min(camera.height, camera.width)
        top, left = (camera.height - side) // 2, (camera.width - side) // 2
        camera = camera.crop(top=top, left=left, height=side, width=side)
    strides = [
        phase.network.backbone.stride
        for phase in map(config.phase, config.networks)
        if isinstance(phase, EncoderPhase | CanonicalPhase)
    ]
    stride = max(strides, default=1)
    scale = config.pixels / max(camera.width, camera.height)
    height, width = (max(1, round(scale * side / stride)) * stride for side in (camera.height, camera.width))
    return camera.resize(height=height, width=width)


def camera_of_part(volume: Volume, config: TrainConfig) -> Camera:
    """The camera that looks at the part of a training, with sides that are multiples of the stride."""
    assert config.part is not None
    stride = config.canonical.network.backbone.stride
    return part_camera(
        PartShape.of(volume, config.part.structures).radius_mm,
        config.poses.source_isocentre_mm,
        field=config.part.field_of_view,
        pixels=max(1, round(config.pixels / stride)) * stride,
    )
