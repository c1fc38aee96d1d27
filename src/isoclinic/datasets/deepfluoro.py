"""DeepFluoro: fluoroscopic images of six cadaveric hips with their CTs (Grupp et al. 2020).

Grupp et al., "Automatic annotation of hip anatomy in fluoroscopy for robust and efficient 2D/3D
registration", IJCARS 15, 2020, arXiv:1911.07042. The file and its conventions, as its authors state them in
https://github.com/rg2/DeepFluoroLabeling-IPCAI2020 at d28af72:

- `hdf5_layouts/Readme.md`: `origin`, `dir-mat` and landmarks are LPS in mm; pixels are row-major, so a volume
  is [z, y, x]; `extrinsic` maps the world to the camera; `intrinsic` maps the camera to the image;
  `cam-to-pelvis-vol` maps the camera's world to the pelvis volume. The camera frame has its origin at the
  source, x along columns, y along rows, and **z towards the source**, so the patient and the detector are at
  negative z and the focal lengths are negative: an image seen from the detector.
- `examples_dataset/full_res_3d_viz.py`: from the pelvis volume to the camera it is `extrinsic` times the
  inverse of `cam-to-pelvis-vol`; 2-D landmarks are indices, so pixel centres lie at integers.
- `examples_dataset/make_full_res_overlays.py`: `rot-180-for-up` turns the image, flipping rows and columns.
- `README.md`: bone is dark, pixels are intensities (Beer-Lambert); 50 pixels on every side show the
  collimator.

Their own program for this file (`ReadPelvisVolProjAndGtFromH5File` in
`xreg_sample_single_view_regi_2d_3d_main.cpp` of https://github.com/rg2/xreg at c2bdd99) moves the stored pose
by half a voxel, -0.5 mm along each axis of the volume, to "correct an inconsistency with linear interpolation
texture indexing between when the ground truth was constructed and now". With voxel centres where the affine
puts them, as here, the pose needs that correction; it moves targets by 0.87 mm.
"""

from __future__ import annotations

import warnings
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from torch import Tensor

from ..errors import InputError, UsageError
from ..volumes import GeometryWarning, Volume, XRay
from ..volumes.readers import warn_unless_hounsfield
from ._hdf5 import Hdf5Dataset, Node, Source, as_hu
from ._indexed import Array, Landmarks, stacked
from ._pinhole import RAS_FROM_LPS, posed_camera, translation, turned
from .config import DeepFluoroConfig
from .sample import Sample

_README = "README.md of DeepFluoroLabeling-IPCAI2020"
_PROVENANCE = {
    "sdd_mm": "proj-params/intrinsic times pixel spacing",
    "pixel_spacing_mm": "proj-params/pixel-row-spacing, pixel-col-spacing",
    "principal_point_px": "proj-params/intrinsic",
    "polarity": _README,
    "pixel_scale": _README,
}
# Between the landmarks stored in an image and where the stored pose puts them: the former are projections of
# those in 3-D (https://github.com/rg2/DeepFluoroLabeling-IPCAI2020/issues/4), rounded to float32.
_LANDMARK_TOLERANCE_PX = 1.0


class DeepFluoro(Hdf5Dataset):
    """The full-resolution file `ipcai_2020_full_res_data.h5`.

    Subjects are specimens ("17-1882"), samples their projections ("17-1882/003"). Volumes carry the bones'
    labels; an X-ray keeps the file's pixels, so its camera has a negative fx; the pose is the pelvis'.

    Args:
        path: of the file.
        config: how to read it.

    Raises:
        InputError: a file that is missing, cut short, damaged, another one, or empty.
        UsageError: a questionable sample that the file does not have, or h5py is not installed.

    Warns:
        GeometryWarning: landmarks that the stored pose does not put where the file says they are, or values
            unlike Hounsfield units; when a sample is read.
    """

    _source = Source(
        name="DeepFluoro",
        file="ipcai_2020_full_res_data.h5 at full resolution",
        get="download it (2.5 GB) from https://doi.org/10.7281/T1/IFSXNV",
        root="proj-params",
        others={"land-names": "it is one of the downsampled files, which have neither CT nor poses"},
    )

    def __init__(self, path: str | Path, config: DeepFluoroConfig | None = None) -> None:
        self.config = config or DeepFluoroConfig()
        super().__init__(path)

    def _index(self, root: Node) -> dict[str, tuple[str, ...]]:
        xrays = {name: tuple(root.child(f"{name}/projections")) for name in root if name != self._source.root}
        doubted = self.config.questionable
        if unknown := set(doubted) - {f"{subject}/{xray}" for subject in xrays for xray in xrays[subject]}:
            raise UsageError(
                f"questionable: {self.path} has no {', '.join(sorted(unknown))}", code="dataset.unknown-name"
            )
        if self.config.include_questionable:
            return xrays
        return {
            subject: tuple(xray for xray in names if f"{subject}/{xray}" not in doubted)
            for subject, names in xrays.items()
        }

    def _volume(self, root: Node, subject: str) -> Volume:
        specimen = root.child(subject)
        image, labels = specimen.child("vol"), specimen.child("vol-seg/image")
        hu, affine = as_hu(_from_zyx(image.image("pixels", 3))), _world_from_voxel(image)
        warn_unless_hounsfield(hu, image.label("pixels"))
        grid = _from_zyx(labels.image("pixels", 3))
        if grid.shape != hu.shape or not np.allclose(_world_from_voxel(labels), affine, atol=1e-3):
            raise InputError(
                f"{labels.label('pixels')} must lie on the grid of {image.label('pixels')}",
                code="dataset.wrong-shape",
            )
        names = specimen.child("vol-seg/labels-def")
        return Volume(
            hu=hu,
            world_from_voxel=affine,
            labels=grid.astype(np.uint8),
            label_names={int(label): names.text(label) for label in names if label.isdecimal()},
            path=self.path,
        )

    def _sample(self, root: Node, subject: str, xray: str, volume: Volume) -> Sample:
        projection = root.child(f"{subject}/projections/{xray}")
        landmarks = _landmarks(root.child(f"{subject}/vol-landmarks"))
        intrinsic, camera_from_world = _stored_pose(root.child("proj-params"), projection)
        _warn_unless_consistent(projection, intrinsic @ camera_from_world[:3], landmarks)
        if self.config.half_voxel_correction:
            half_voxel = volume.world_from_voxel[:3, :3] @ (0.5, 0.5, 0.5)
            camera_from_world = camera_from_world @ translation(half_voxel)
        image, pose = self._xray(root.child("proj-params"), projection, intrinsic, camera_from_world, volume)
        return Sample(
            name=f"{subject}/{xray}",
            subject=subject,
            volume=volume,
            xray=image,
            camera_from_world=pose,
            landmark_names=tuple(landmarks),
            landmarks_world=stacked(landmarks),
        )

    def _xray(
        self, parameters: Node, projection: Node, intrinsic: Array, extrinsic: Array, volume: Volume
    ) -> tuple[XRay, Tensor]:
        """The X-ray, and camera_from_world in the axes of its camera."""
        pixels = projection.image("image/pixels", 2)
        size = (int(parameters.number("num-rows")), int(parameters.number("num-cols")))
        if pixels.shape != size:
            raise InputError(
                f"{projection.label('image/pixels')} must have {size[0]} x {size[1]} pixels, as proj-params"
                f" says, not {pixels.shape}",
                code="dataset.wrong-shape",
            )
        camera, camera_from_world = posed_camera(
            intrinsic,
            extrinsic,
            size=size,
            pixel_spacing_mm=(parameters.number("pixel-row-spacing"), parameters.number("pixel-col-spacing")),
            centre_world=volume.isocentre_world,
            label=projection.label("gt-poses/cam-to-pelvis-vol"),
        )
        turn = self.config.upright and bool(projection.number("rot-180-for-up"))
        if turn:
            camera, camera_from_world = turned(camera, camera_from_world)
        open_beam, border = self.config.open_beam, self.config.border_px
        xray = XRay(
            pixels=pixels if open_beam is None else np.log(open_beam) - np.log(np.maximum(pixels, 1)),
            camera=camera,
            polarity="bright_air" if open_beam is None else "dark_air",
            pixel_scale="linear" if open_beam is None else "log",
            provenance=_PROVENANCE,
            path=self.path,
        ).flip(left_right=turn, top_bottom=turn)
        return xray.crop(
            top=border, left=border, height=size[0] - 2 * border, width=size[1] - 2 * border
        ), camera_from_world


def _from_zyx(stored: NDArray[Any]) -> NDArray[Any]:
    """[nz, ny, nx] to [nx, ny, nz]."""
    return stored.transpose(2, 1, 0)


def _world_from_voxel(image: Node) -> Array:
    """Affine [4, 4], RAS mm, of an image that says in ITK's way where it lies."""
    affine = np.eye(4)
    affine[:3, :3] = image.matrix("dir-mat", 3, rows=3) * image.vector("spacing", 3)
    affine[:3, 3] = image.vector("origin", 3)
    return RAS_FROM_LPS @ affine


def _landmarks(group: Node) -> Landmarks:
    """Points in the world [3] [mm] by name."""
    return {name: RAS_FROM_LPS[:3, :3] @ group.vector(name, 3) for name in group}


def _stored_pose(parameters: Node, projection: Node) -> tuple[Array, Array]:
    """The intrinsic matrix [3, 3], and RAS world to the file's camera frame [4, 4]."""
    extrinsic = parameters.matrix("extrinsic", 4, rows=4)
    pelvis_from_camera_world = projection.matrix("gt-poses/cam-to-pelvis-vol", 4, rows=4)
    camera_from_lps = extrinsic @ np.linalg.inv(pelvis_from_camera_world)
    return parameters.matrix("intrinsic", 3, rows=3), camera_from_lps @ RAS_FROM_LPS


def _warn_unless_consistent(projection: Node, pixel_from_world: Array, landmarks: Landmarks) -> None:
    """Compare landmarks in the image as stored with the projections [3, 4] of those in the CT."""
    if "gt-landmarks" not in projection:
        return
    stored = projection.child("gt-landmarks")
    distances_px = []
    for name in set(stored) & landmarks.keys():
        u, v, w = pixel_from_world @ [*landmarks[name], 1.0]
        distances_px.append(np.linalg.norm((u / w, v / w) - stored.vector(name, 2)))
    # The median: a femoral head may have moved with its femur.
    if distances_px and not np.median(distances_px) <= _LANDMARK_TOLERANCE_PX:
        warnings.warn(
            f"{projection.label('gt-landmarks')} lie {np.median(distances_px):.1f} px (median) from where the"
            " stored pose projects those of the CT: pose or landmarks are not what DeepFluoro documents",
            GeometryWarning,
            stacklevel=2,
        )
