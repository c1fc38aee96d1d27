"""A spool in a folder of its own, and images as devices send them."""

from __future__ import annotations

from io import BytesIO
from pathlib import Path

import numpy as np
import pydicom
import pytest

from isoclinic import Camera
from isoclinic.reception import Spool
from run_files import run_dataset

CAMERA = Camera.from_pixel_spacing(width=16, height=12, pixel_spacing_mm=(3.0, 3.0), sdd_mm=1000.0)
VOLUME = "0" * 64


def image(number: int = 0, **attributes: object) -> pydicom.Dataset:
    """A tiny X-ray with a patient's name; others by their number."""
    pixels = np.full((1, CAMERA.height, CAMERA.width), 1000 + number, dtype=np.uint16)
    return run_dataset(pixels, CAMERA, PatientName="Doe^Jane", NumberOfFrames=1, **attributes)


def content(dataset: pydicom.Dataset) -> bytes:
    """The bytes of its file."""
    stream = BytesIO()
    dataset.save_as(stream, enforce_file_format=True)
    return stream.getvalue()


@pytest.fixture
def spool(tmp_path: Path):
    opened = Spool(tmp_path / "out", VOLUME)
    yield opened
    opened.close()


def stored(spool: Spool) -> list[Path]:
    """The files of received images."""
    return sorted((spool.folder / "received").iterdir())
