"""A lumbar spine of simple solids whose landmarks are known, and the files of CTSpine1K made of it."""

from pathlib import Path

import nibabel as nib
import numpy as np

from isoclinic.volumes import Volume

PITCH_MM = 34.0
NUMBERS = {"L1": 20, "L2": 21, "L3": 22, "L4": 23, "L5": 24}
HEIGHTS_MM = {name: 2 * PITCH_MM - PITCH_MM * index for index, name in enumerate(NUMBERS)}
# Where the solids end, about the vertebra's height; RAS mm.
TIPS = {"left": (-38.0, -6.0, 0.0), "right": (38.0, -6.0, 0.0), "posterior": (0.0, -35.0, 0.0)}
FRONT_MM, HALF_HEIGHT_MM = 31.0, 13.0
VERTEBRA_MM3 = (
    np.pi * 22 * 16 * 2 * HALF_HEIGHT_MM  # body
    + 8 * 36 * 16  # spinous process, up to the body at y = 1
    + 2 * 34 * 8 * 8  # transverse processes outside that
)


def spine(spacing_mm=(2.5, 2.5, 2.5), *, axes=(1, 1, 1), seed=0) -> Volume:
    """Bone of 300 HU with a little noise in muscle and fat; the signs say which way the voxel axes run."""
    spacing = np.array(spacing_mm)
    size_mm = np.array([130.0, 130.0, 230.0])
    shape = np.floor(size_mm / spacing).astype(int)
    affine = np.diag([*(spacing * axes), 1.0])
    affine[:3, 3] = -(affine[:3, :3] @ (shape - 1)) / 2 + (0.3, -0.2, 0.1)
    centres = np.moveaxis(np.indices(shape), 0, -1) @ affine[:3, :3].T + affine[:3, 3]
    # Voxels at edges are filled in part: the mean of eight points of each.
    corners = np.stack(np.meshgrid(*[(-0.25, 0.25)] * 3), axis=-1).reshape(-1, 3) * spacing
    share = np.mean([solid(centres + corner) > 0 for corner in corners], axis=0)
    fat = (np.abs(centres[..., 0]) > 44) | (centres[..., 1] < -42)
    hu = np.where(fat, -100, 40 + 260 * share) + np.random.default_rng(seed).normal(0, 8, tuple(shape))
    labels = solid(centres).astype(np.uint8)
    return Volume(hu=np.rint(hu).astype(np.int16), world_from_voxel=affine, labels=labels)


def solid(points):
    """Label of the vertebra at each point [..., 3] in mm, 0 for none."""
    x, y, _ = np.moveaxis(points, -1, 0)
    labels = np.zeros(points.shape[:-1], dtype=int)
    for name, height in HEIGHTS_MM.items():
        z = points[..., 2] - height
        body = ((x / 22) ** 2 + ((y - 15) / 16) ** 2 <= 1) & (np.abs(z) <= HALF_HEIGHT_MM)
        spinous = (np.abs(x) <= 4) & (y >= -35) & (y <= 2) & (np.abs(z) <= 8)
        transverse = (np.abs(x) <= 38) & (np.abs(y + 6) <= 4) & (np.abs(z) <= 4)
        labels[body | spinous | transverse] = NUMBERS[name]
    return labels


def write_original(
    folder: Path, name: str, volume: Volume, *, hu=None, labels=None, mask_affine=None
) -> None:
    """In the layout of the copy on Hugging Face."""
    hu = volume.hu if hu is None else hu
    labels = volume.labels if labels is None else labels
    affine = volume.world_from_voxel
    places = {
        "volumes": (hu, affine, ""),
        "labels": (labels, affine if mask_affine is None else mask_affine, "_seg"),
    }
    for kind, (voxels, grid, ending) in places.items():
        path = folder / "raw_data" / kind / "COLONOG" / f"{name}{ending}.nii.gz"
        path.parent.mkdir(parents=True, exist_ok=True)
        nib.save(nib.Nifti1Image(voxels, grid), path)
