"""A phantom that registers in a second, as the files a user would have, and the command line in process."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import NamedTuple

import nibabel as nib
import numpy as np
import pytest
import torch
from pydicom.dataset import Dataset, FileMetaDataset
from pydicom.uid import ExplicitVRLittleEndian, XRayAngiographicImageStorage, generate_uid

from isoclinic import Camera, Volume
from isoclinic.cli import main
from isoclinic.geometry import se3
from isoclinic.simulation import SimulationConfig, simulate_xray
from raising import Ran

CAMERA = Camera.from_pixel_spacing(width=64, height=64, pixel_spacing_mm=(3.0, 3.0), sdd_mm=1000.0)
# One small stage after another, without a search: the starts below are near.
FAST = """
[[searches]]
candidates = 0
[[stages]]
pixels = 32
[[stages]]
pixels = 64
"""


class Files(NamedTuple):
    """Paths of the phantom's files, and its true pose."""

    folder: Path
    ct: Path
    labels: Path
    xray: Path
    init: Path
    config: Path
    camera_from_world: torch.Tensor


@pytest.fixture
def run(capsys: pytest.CaptureFixture[str]) -> Callable[..., Ran]:
    """Run `isoclinic` with these arguments."""

    def run_command(*arguments: object) -> Ran:
        try:
            code = main([str(argument) for argument in arguments])
        except SystemExit as exit_:
            code = int(exit_.code or 0)
        return Ran(code, *capsys.readouterr())

    return run_command


@pytest.fixture(scope="session")
def files(tmp_path_factory: pytest.TempPathFactory) -> Files:
    folder = tmp_path_factory.mktemp("phantom")
    volume = phantom()
    nib.save(nib.Nifti1Image(volume.hu, volume.world_from_voxel), folder / "ct.nii.gz")
    labels = (volume.hu > 300).astype(np.uint8)
    nib.save(nib.Nifti1Image(labels, volume.world_from_voxel), folder / "labels.nii.gz")
    (folder / "labels.json").write_text('{"1": "bone"}')
    pose = true_pose()
    write_xray(folder / "xray.dcm", volume, pose)
    (folder / "init.json").write_text(json.dumps(off(pose, 5.0).tolist()))
    (folder / "fast.toml").write_text(FAST)
    return Files(
        folder,
        folder / "ct.nii.gz",
        folder / "labels.nii.gz",
        folder / "xray.dcm",
        folder / "init.json",
        folder / "fast.toml",
        pose,
    )


@pytest.fixture(scope="session")
def cases(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Two cases of one group, each with starts at 4 and 8 mm."""
    folder = tmp_path_factory.mktemp("cases")
    volume = phantom()
    rng = np.random.default_rng(5)
    landmarks = rng.uniform(-40, 40, (12, 3))
    for index in range(2):
        pose = off(true_pose(), 6.0 * index)
        case = folder / "phantom" / f"{index:02}"
        case.mkdir(parents=True)
        write_xray(case / "xray.dcm", volume, pose)
        truth = {
            "extrinsic": pose.tolist(),
            "landmarks": landmarks.tolist(),
            "inits": {name: off(pose, float(name)).tolist() for name in ("4", "8")},
        }
        (case / "truth.json").write_text(json.dumps(truth))
    return folder


def phantom() -> Volume:
    """Bones of several sizes in an ellipsoid of water, 64 x 48 x 64 voxels of 3 mm about the origin."""
    shape = (64, 48, 64)
    affine = np.diag([3.0, 3.0, 3.0, 1.0])
    affine[:3, 3] = -1.5 * (np.array(shape) - 1)
    points = np.stack(np.indices(shape), axis=-1) @ affine[:3, :3] + affine[:3, 3]
    hu = np.full(shape, -1000, dtype=np.int16)
    hu[np.linalg.norm(points / [85, 60, 88], axis=-1) < 1] = 20
    rng = np.random.default_rng(3)
    for _ in range(14):
        centre, size = rng.uniform([-55, -35, -55], [55, 35, 55]), rng.uniform(5, 20, 3)
        hu[np.linalg.norm((points - centre) / size, axis=-1) < 1] = 900
    return Volume(hu=hu, world_from_voxel=affine)


def true_pose() -> torch.Tensor:
    """AP from 650 mm, turned a little."""
    frontal = torch.tensor(
        [[-1.0, 0, 0, 0], [0, 0, -1, 0], [0, -1, 0, 650], [0, 0, 0, 1]], dtype=torch.float64
    )
    tangent = torch.tensor([0.05, -0.08, 0.04, 4.0, -3.0, 5.0], dtype=torch.float64)
    return se3.perturb(frontal, tangent, torch.zeros(3, dtype=torch.float64))


def off(pose: torch.Tensor, size_mm: float) -> torch.Tensor:
    """A pose shifted by `size_mm` and turned by as many hundredths of a radian."""
    axes = torch.tensor([0.006, -0.006, 0.005, 0.6, 0.6, -0.5], dtype=torch.float64)
    return se3.perturb(pose, axes * size_mm, torch.zeros(3, dtype=torch.float64))


def write_xray(path: Path, volume: Volume, pose: torch.Tensor) -> None:
    """A simulated X-ray as a DICOM fluoroscopy image."""
    config = SimulationConfig(full_scale=60000.0)
    xray = simulate_xray(volume, CAMERA, pose, config, generator=np.random.default_rng(0))
    pixels = np.clip(np.rint(xray.pixels), 0, 65535).astype(np.uint16)
    dataset = Dataset()
    dataset.file_meta = FileMetaDataset()
    dataset.file_meta.TransferSyntaxUID = ExplicitVRLittleEndian
    dataset.file_meta.MediaStorageSOPClassUID = dataset.SOPClassUID = XRayAngiographicImageStorage
    dataset.file_meta.MediaStorageSOPInstanceUID = dataset.SOPInstanceUID = generate_uid()
    dataset.Modality, dataset.PhotometricInterpretation = "XA", "MONOCHROME2"
    dataset.SamplesPerPixel, dataset.PixelRepresentation = 1, 0
    dataset.Rows, dataset.Columns = pixels.shape
    dataset.BitsAllocated, dataset.BitsStored, dataset.HighBit = 16, 16, 15
    dataset.PixelData = pixels.tobytes()
    dataset.DistanceSourceToDetector, dataset.DistanceSourceToPatient = "1000", "650"
    dataset.ImagerPixelSpacing = ["3", "3"]
    dataset.save_as(path, enforce_file_format=True)
