"""Line integrals by brute force in float64 numpy: no code, and no idea, in common with the renderer."""

import numpy as np
from numpy.typing import NDArray
from scipy.ndimage import map_coordinates

from isoclinic.geometry import Camera

Array = NDArray[np.float64]


def rays_world(camera: Camera, camera_from_world: Array) -> tuple[Array, Array]:
    """Source [3] and pixel centres [H, W, 3] in the world [mm]."""
    v, u = np.mgrid[: camera.height, : camera.width].astype(np.float64)
    in_camera = camera.sdd_mm * np.stack(
        [(u - camera.cx) / camera.fx, (v - camera.cy) / camera.fy, np.ones_like(u)], axis=-1
    )
    world_from_camera = np.linalg.inv(camera_from_world)
    return world_from_camera[:3, 3], in_camera @ world_from_camera[:3, :3].T + world_from_camera[:3, 3]


def through_boxes(
    mu: Array, world_from_voxel: Array, camera: Camera, camera_from_world: Array
) -> tuple[Array, Array]:
    """Sum over every voxel of mu times the length of the ray inside that voxel's box (slab method).

    Returns:
        (line integrals [H, W], length of each ray inside the volume [H, W] in mm).
    """
    source, target = _in_voxels(world_from_voxel, *rays_world(camera, camera_from_world))
    direction = target - source
    length_mm = np.linalg.norm(direction @ world_from_voxel[:3, :3].T, axis=-1)
    centres = np.stack(np.meshgrid(*map(np.arange, mu.shape), indexing="ij"), axis=-1).reshape(-1, 3)
    enter = np.zeros((*direction.shape[:2], len(centres)))
    leave = np.ones_like(enter)
    for axis in range(3):
        with np.errstate(divide="ignore", invalid="ignore"):
            lower = (centres[:, axis] - 0.5 - source[axis]) / direction[..., axis, None]
            upper = (centres[:, axis] + 0.5 - source[axis]) / direction[..., axis, None]
        # A ray parallel to a slab and inside it gets -inf and +inf: no restriction.
        enter = np.maximum(enter, np.minimum(lower, upper))
        leave = np.minimum(leave, np.maximum(lower, upper))
    inside_mm = np.clip(leave - enter, 0, None) * length_mm[..., None]
    return inside_mm @ mu.reshape(-1), inside_mm.sum(axis=-1)


def on_planes(mu: Array, world_from_voxel: Array, camera: Camera, camera_from_world: Array) -> Array:
    """Trilinear interpolation of mu where rays meet the planes of their steepest axis, times spacing."""
    source, target = _in_voxels(world_from_voxel, *rays_world(camera, camera_from_world))
    image = np.zeros(target.shape[:2])
    for pixel in np.ndindex(*image.shape):
        direction = target[pixel] - source
        axis = int(np.argmax(np.abs(direction)))
        a = (np.arange(mu.shape[axis]) - source[axis]) / direction[axis]
        a = a[(a >= 0) & (a <= 1)]
        spacing_mm = np.linalg.norm(world_from_voxel[:3, :3] @ direction) / abs(direction[axis])
        image[pixel] = _interpolate(mu, source + a[:, None] * direction).sum() * spacing_mm
    return image


def densely_sampled(
    mu: Array, world_from_voxel: Array, camera: Camera, camera_from_world: Array, samples: int
) -> Array:
    """Midpoint rule of that many samples over the trilinear interpolation of mu."""
    source, target = _in_voxels(world_from_voxel, *rays_world(camera, camera_from_world))
    direction = target - source
    length_mm = np.linalg.norm(direction @ world_from_voxel[:3, :3].T, axis=-1)
    a = (np.arange(samples) + 0.5) / samples
    points = source + a[:, None] * direction[..., None, :]
    return _interpolate(mu, points).mean(axis=-1) * length_mm


def _in_voxels(world_from_voxel: Array, *points: Array) -> list[Array]:
    voxel_from_world = np.linalg.inv(world_from_voxel)
    return [p @ voxel_from_world[:3, :3].T + voxel_from_world[:3, 3] for p in points]


def _interpolate(mu: Array, points: Array) -> Array:
    """Trilinear interpolation at voxel coordinates [..., 3]; zero one voxel outside."""
    return map_coordinates(mu, np.moveaxis(points, -1, 0), order=1, mode="grid-constant", cval=0.0)
