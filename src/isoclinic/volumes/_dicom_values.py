"""From the stored pixels of a DICOM image to Hounsfield units."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray
from pydicom.dataset import Dataset
from pydicom.pixels.utils import pixel_array

from ..errors import InputError
from ._dicom_files import FrameHeader
from ._grid import DECODER_ERRORS


def hounsfield_units(dataset: Dataset, where: str, frame: int = 0) -> tuple[NDArray[np.float32], list[str]]:
    """Hounsfield units [H, W] of one frame, and what to warn of.

    They are slope times stored value plus intercept (PS3.3 C.11.1).

    Raises:
        InputError: pixels that cannot be decoded or are no grey image, or no rescale.
    """
    header = FrameHeader(dataset, frame)
    missing = [name for name in ("RescaleSlope", "RescaleIntercept") if header.get(name) is None]
    if missing:
        raise InputError(
            f"{where} lacks {', '.join(missing)}: its values have no relation to Hounsfield units; export "
            "the CT again, as the scanner made it"
        )
    frames = int(dataset.get("NumberOfFrames") or 1)
    syntax = dataset.file_meta.TransferSyntaxUID.name
    try:
        stored = pixel_array(dataset, index=frame if frames > 1 else None)
        slope, intercept = (np.float32(header.get(name)) for name in ("RescaleSlope", "RescaleIntercept"))
    except DECODER_ERRORS as error:
        raise InputError(f"the pixels of {where} ({syntax}) cannot be decoded: {error}") from error
    if stored.shape != (dataset.Rows, dataset.Columns):
        raise InputError(f"{where} holds an array of shape {stored.shape}, not one grey image")
    with np.errstate(over="ignore", invalid="ignore"):  # who reads the volume looks for what is not finite
        return stored.astype(np.float32) * slope + intercept, []
