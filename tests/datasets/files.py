"""Writes small files of the layouts of DeepFluoro and Ljubljana, from scenes described without matrices.

A scene says where the source and the pixels are in the patient; what the files call intrinsic, extrinsic and
cam-to-pelvis-vol is worked out here from their authors' words and programs, in numpy alone.
"""

from dataclasses import dataclass

import h5py
import numpy as np
import torch
from numpy.typing import NDArray
from scipy.spatial.transform import Rotation

from isoclinic.geometry import Camera
from isoclinic.rendering import RenderConfig, render
from isoclinic.volumes import Volume

Array = NDArray[np.float64]

LPS = np.diag([-1.0, -1.0, 1.0])
OPEN_BEAM = 60000.0
EXACT = RenderConfig(method="siddon", voxel_mm="full", backend="cpu")


@dataclass(frozen=True)
class Scene:
    """An image seen from the detector's side: columns, rows and the way to the source are right-handed."""

    source: Array  # RAS mm
    columns: Array  # unit vector along which column numbers grow, RAS
    rows: Array  # unit vector along which row numbers grow, RAS
    size: tuple[int, int] = (60, 76)  # rows, columns
    spacing_mm: tuple[float, float] = (5.0, 4.4)  # row, column
    sdd_mm: float = 1000.0
    principal_px: tuple[float, float] = (36.0, 31.5)  # column, row

    @property
    def to_source(self) -> Array:
        return np.cross(self.columns, self.rows)

    @property
    def rotation(self) -> Array:
        """RAS vectors to the camera frame of both files: x columns, y rows, z to the source."""
        return np.stack([self.columns, self.rows, self.to_source])

    @property
    def intrinsic(self) -> Array:
        """At the detector z = -sdd, where column - principal = x / spacing, so the factor of x / z is < 0."""
        u, v = self.principal_px
        row_mm, column_mm = self.spacing_mm
        return np.array([[-self.sdd_mm / column_mm, 0, u], [0, -self.sdd_mm / row_mm, v], [0, 0, 1]])

    def pixel(self, point: Array) -> Array:
        """(column, row) where the ray from the source through a point meets the detector."""
        ray = point - self.source
        on_detector = ray * self.sdd_mm / (ray @ -self.to_source)
        millimetres = np.array([on_detector @ self.columns, on_detector @ self.rows])
        return self.principal_px + millimetres / self.spacing_mm[::-1]

    def drr(self, volume: Volume, turned: bool = False, shift_px: float = 0.0) -> Array:
        """Ours. The camera's x is rows x (away from the source), which is against the columns: fx < 0."""
        x = np.cross(self.rows, -self.to_source)
        rotation = np.stack([x, self.rows, -self.to_source])
        pose = np.eye(4)
        pose[:3] = np.column_stack([rotation, -rotation @ self.source])
        u, v = self.principal_px
        height, width = self.size
        camera = Camera(
            width=width,
            height=height,
            fx=-self.sdd_mm / self.spacing_mm[1],
            fy=self.sdd_mm / self.spacing_mm[0],
            cx=u + shift_px,
            cy=v + shift_px,
            sdd_mm=self.sdd_mm,
        )
        image = render(volume, camera, torch.from_numpy(pose), EXACT)[0].numpy().astype(np.float64)
        return image[::-1, ::-1] if turned else image


def scene(volume: Volume, seed: int, **detector) -> Scene:
    """The patient, oblique, with the beam from behind; upright, or upside down where the seed is odd."""
    rng = np.random.default_rng(seed)
    # From behind, and seen from the detector: the patient's left on the right, the feet down.
    frontal = np.array([[-1.0, 0, 0], [0, 0, -1], [0, -1, 0]])
    tilt = Rotation.from_euler("xyz", rng.uniform(-25, 25, 3), degrees=True).as_matrix()
    columns, rows, to_source = frontal @ tilt
    source = volume.isocentre_world + 640 * to_source + rng.uniform(-15, 15, 3)
    sign = -1 if seed % 2 else 1
    return Scene(source=source, columns=sign * columns, rows=sign * rows, **detector)


def landmarks(volume: Volume, count: int, seed: int) -> dict[str, Array]:
    """Points of the middle half of the CT [mm], RAS."""
    share = np.random.default_rng(seed).uniform(0.25, 0.75, (count, 3))
    voxels = share * (np.array(volume.shape) - 1)
    points = voxels @ volume.world_from_voxel[:3, :3].T + volume.world_from_voxel[:3, 3]
    return {f"L{number:02d}": point for number, point in enumerate(points)}


def marked(image: Array, pixels: list[Array]) -> Array:
    """The image with the n-th landmark drawn as the value n in the pixel nearest to it."""
    image = image.copy()
    drawn = [tuple(np.rint(pixel).astype(int)) for pixel in pixels]
    assert len(set(drawn)) == len(drawn)
    for number, (column, row) in enumerate(drawn):
        image[row, column] = number
    return image


def homogeneous(rotation: Array, translation: Array) -> Array:
    matrix = np.eye(4)
    matrix[:3, :3], matrix[:3, 3] = rotation, translation
    return matrix


def single(values) -> NDArray[np.float32]:
    """As both files store their matrices and points: the loaders of their users take them for float32."""
    return np.asarray(values, dtype=np.float32)


def rigid(rng: np.random.Generator) -> Array:
    return homogeneous(Rotation.random(random_state=rng).as_matrix(), rng.uniform(-600, 600, 3))


def toward_lps(volume: Volume, grid: NDArray) -> tuple[NDArray, Array, Array]:
    """Voxels [x, y, z] ordered so that indices grow to L, P and S; their spacing and first centre, LPS."""
    affine = volume.world_from_voxel
    assert np.array_equal(affine[:3, :3], np.diag(np.diag(affine[:3, :3])))
    steps = LPS @ np.diag(affine[:3, :3])
    first = LPS @ affine[:3, 3]
    for axis in range(3):
        if steps[axis] < 0:
            grid = np.flip(grid, axis)
            first[axis] += steps[axis] * (grid.shape[axis] - 1)
    return grid, np.abs(steps), first


def write_deepfluoro(path, volume, scenes, points, *, specimen="17-1882", turn=(), half_voxel=True):
    """`scenes` one a projection; those whose numbers are in `turn` are to be rotated for up."""
    extrinsic = rigid(np.random.default_rng(5))  # camera's world to camera
    row_mm, column_mm = scenes[0].spacing_mm
    with h5py.File(path, "w") as file:
        parameters = file.create_group("proj-params")
        parameters["extrinsic"] = single(extrinsic)
        parameters["intrinsic"] = single(scenes[0].intrinsic)
        parameters["num-rows"], parameters["num-cols"] = scenes[0].size
        parameters["pixel-row-spacing"], parameters["pixel-col-spacing"] = row_mm, column_mm
        group = file.create_group(specimen)
        labels = volume.labels if volume.labels is not None else (volume.hu > 0).astype(np.uint8)
        for key, grid in (("vol", volume.hu), ("vol-seg/image", labels)):
            ordered, spacing_mm, first = toward_lps(volume, grid)
            group[f"{key}/pixels"] = ordered.transpose(2, 1, 0)  # row-major: z, y, x
            group[f"{key}/spacing"] = spacing_mm[:, None]
            group[f"{key}/origin"] = first[:, None]
            group[f"{key}/dir-mat"] = np.eye(3)
        names = volume.label_names or {1: "bone"}
        for label, name in names.items():
            group[f"vol-seg/labels-def/{label}"] = name
        for name, point in points.items():
            group[f"vol-landmarks/{name}"] = single(LPS @ point)[:, None]
        for number, one in enumerate(scenes):
            camera_from_lps = homogeneous(one.rotation @ LPS, -one.rotation @ one.source)
            # xReg: true cam-to-vol = T(-half a voxel) stored cam-to-vol.
            lps_from_camera_world = np.linalg.inv(camera_from_lps) @ extrinsic
            stored_offset = homogeneous(np.eye(3), half_voxel * spacing_mm / 2)
            pixels = [one.pixel(point) for point in points.values()]
            image = marked(OPEN_BEAM * np.exp(-one.drr(volume)), pixels)
            projection = group.create_group(f"projections/{number:03d}")
            projection["image/pixels"] = image.astype(np.float32)
            projection["gt-poses/cam-to-pelvis-vol"] = single(stored_offset @ lps_from_camera_world)
            projection["rot-180-for-up"] = int(number in turn)
            stored_from_lps = camera_from_lps @ np.linalg.inv(stored_offset)
            for name, point in points.items():
                u, v, w = one.intrinsic @ (stored_from_lps @ [*(LPS @ point), 1])[:3]
                projection[f"gt-landmarks/{name}"] = single([[u / w], [v / w]])


def write_ljubljana(path, volume, views, points, *, subject="subject01", background=0.75):
    """`views`: scenes by name. Values of `volume` are HU of vessels in air; stored is HU + 1000."""
    affine = volume.world_from_voxel
    steps = np.diag(affine[:3, :3])
    first = affine[:3, 3].copy()
    grid = volume.hu + 1000
    # Indices grow against x, with y and z; the origin is that of the array turned the right way round.
    for axis, wanted in enumerate((-1, 1, 1)):
        if steps[axis] * wanted < 0:
            grid = np.flip(grid, axis)
            first[axis] += steps[axis] * (grid.shape[axis] - 1)
    spacing_mm = np.abs(steps)
    first[0] -= spacing_mm[0] * (grid.shape[0] - 1)
    with h5py.File(path, "w") as file:
        group = file.create_group(subject)
        group["volume/pixels"] = grid.astype(np.float32)
        group["volume/spacing"], group["volume/origin"] = spacing_mm, first
        group["points"] = single(list(points.values()))
        for name, one in views.items():
            view = group.create_group(f"proj-{name}")
            view["pixels"] = (background - 0.1 * one.drr(volume)).astype(np.float32)
            view["extrinsic"] = single(homogeneous(one.rotation, -one.rotation @ one.source))
            view["intrinsic"] = single(one.intrinsic)
            view["row-spacing"], view["col-spacing"] = one.spacing_mm
