"""Networks small enough for finite differences, and a phantom's images for them."""

import torch
from torch import Tensor

from isoclinic.geometry import Camera, se3
from isoclinic.networks import BackboneConfig, PoseSpace, SphericalEncoder, SphericalEncoderConfig
from isoclinic.rendering import Projector, RenderConfig
from phantoms import CAMERA, phantom, true_pose

BACKBONE = BackboneConfig(channels=(8, 16), transformer_blocks=1, heads=2, norm_groups=4)
VARIANTS = [(head, metric) for metric in ("spherical", "euclidean") for head in ("global", "dense", "motion")]
LENGTH_MM = 100.0


def encoder(head: str = "global", metric: str = "spherical", seed: int = 0, elements: int = 3):
    """Random weights, three times as large at the output: elements all over the sphere."""
    torch.manual_seed(seed)
    config = SphericalEncoderConfig(
        backbone=BACKBONE, head=head, metric=metric, elements=elements, dense_level=1
    )
    network = SphericalEncoder(config)
    with torch.no_grad():
        network.output.weight *= 3
    return network


def projector(side: int = 32) -> Projector:
    volume = phantom(0)
    config = RenderConfig(method="trilinear", backend="cpu")
    return Projector.of(volume, small_camera(side), true_pose(volume)[None], config)


def small_camera(side: int = 32) -> Camera:
    return CAMERA.resize(height=side, width=side)


def space() -> PoseSpace:
    volume = phantom(0)
    return PoseSpace.about(true_pose(volume, (0.0,) * 6), volume.isocentre_world, LENGTH_MM)


def poses(tangents: Tensor) -> Tensor:
    """Poses [B, 4, 4] that tangents [B, 6] lead to from the phantom's true pose."""
    volume = phantom(0)
    return se3.perturb(true_pose(volume), tangents.double(), torch.from_numpy(volume.isocentre_world))
