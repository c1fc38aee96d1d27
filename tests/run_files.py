"""Runs of X-rays as devices store them: many frames in one DICOM file."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from pydicom.dataset import Dataset, FileMetaDataset
from pydicom.uid import (
    UID,
    ExplicitVRBigEndian,
    ExplicitVRLittleEndian,
    XRayAngiographicImageStorage,
    generate_uid,
)

from isoclinic import Camera


def run_dataset(frames: NDArray[np.uint16], camera: Camera, **attributes: Any) -> Dataset:
    """Frames [N, H, W] as fluoroscopy with a camera's geometry; attributes by keyword, None to leave out."""
    dataset = Dataset()
    dataset.file_meta = FileMetaDataset()
    dataset.file_meta.TransferSyntaxUID = ExplicitVRLittleEndian
    dataset.file_meta.MediaStorageSOPClassUID = dataset.SOPClassUID = XRayAngiographicImageStorage
    dataset.file_meta.MediaStorageSOPInstanceUID = dataset.SOPInstanceUID = generate_uid()
    dataset.Modality, dataset.PhotometricInterpretation = "XA", "MONOCHROME2"
    dataset.PixelIntensityRelationship = "LIN"
    dataset.SamplesPerPixel, dataset.PixelRepresentation = 1, 0
    dataset.NumberOfFrames, dataset.Rows, dataset.Columns = frames.shape
    dataset.BitsAllocated, dataset.BitsStored, dataset.HighBit = 16, 16, 15
    dataset.DistanceSourceToDetector = f"{camera.sdd_mm:g}"
    dataset.DistanceSourceToPatient = "670"
    dataset.ImagerPixelSpacing = [f"{each:g}" for each in camera.pixel_spacing_mm]
    dataset.PixelData = frames.astype("<u2").tobytes()
    for keyword, value in attributes.items():
        if value is None:
            delattr(dataset, keyword)
        else:
            setattr(dataset, keyword, value)
    return dataset


def write_run(
    path: Path,
    frames: NDArray[np.uint16],
    camera: Camera,
    syntax: UID = ExplicitVRLittleEndian,
    **attributes: Any,
) -> Path:
    """A file of `run_dataset` in a transfer syntax; its path."""
    dataset = run_dataset(frames, camera, **attributes)
    if syntax.is_encapsulated:
        dataset.compress(syntax)
    elif syntax == ExplicitVRBigEndian:
        dataset.PixelData = frames.astype(">u2").tobytes()
    dataset.file_meta.TransferSyntaxUID = syntax
    dataset.save_as(path, enforce_file_format=True)
    return path
