"""Images with their geometry in files that `XRay.read` reads back."""

from __future__ import annotations

import json
from pathlib import Path

import nibabel as nib
import numpy as np
from PIL import Image

from .._files import atomic
from ..errors import UsageError
from ..geometry import Camera
from ..volumes import XRay

_SUFFIXES = (".png", ".nii.gz", ".nii")


def image_files(path: Path) -> tuple[Path, Path]:
    """The image and the JSON file beside it that are written for `path`.

    Raises:
        UsageError: a name that does not end in a known format.
    """
    for suffix in _SUFFIXES:
        if path.name.lower().endswith(suffix):
            return path, path.with_name(f"{path.name[: -len(suffix)]}.json")
    raise UsageError(f"--output {path} must end in {', '.join(_SUFFIXES)}", code="options.invalid-value")


def write_image(path: Path, xray: XRay) -> None:
    """Write pixels that are not negative, and their geometry beside them.

    PNG has 16 bits, its highest value standing for the highest pixel; NIfTI keeps the pixels as they are.
    Both files are replaced, or neither is.

    Raises:
        UsageError: a name that does not end in a known format.
        InputError: the files cannot be written.
    """
    image, sidecar = image_files(path)
    camera = xray.camera
    geometry = {
        **{name: getattr(camera, name) for name in ("width", "height", "fx", "fy", "cx", "cy", "sdd_mm")},
        "polarity": xray.polarity,
        "pixel_scale": xray.pixel_scale,
    }
    with atomic(sidecar) as new_sidecar, atomic(image) as new_image:
        new_sidecar.write_text(json.dumps(geometry, indent=2) + "\n", encoding="utf-8")
        if image.suffix.lower() == ".png":
            scaled = np.rint(xray.pixels / xray.pixels.max() * np.iinfo(np.uint16).max)
            Image.fromarray(scaled.astype(np.uint16)).save(new_image, format="png")
        else:
            nib.save(_nifti(xray), new_image)


def _nifti(xray: XRay) -> nib.Nifti1Image:
    row_mm, column_mm = xray.camera.pixel_spacing_mm
    # NIfTI counts columns first; its axes run to the right and front, columns and rows of X-rays do not.
    return nib.Nifti1Image(xray.pixels.T[..., None], np.diag([-column_mm, -row_mm, 1.0, 1.0]))


def stand_in(camera: Camera, source_isocentre_mm: float | None = None) -> XRay:
    """An X-ray that has geometry only, for what asks for an X-ray before there is one."""
    ramp = np.arange(camera.height * camera.width, dtype=np.float32)
    pixels = ramp.reshape(camera.height, camera.width)
    return XRay(pixels=pixels, camera=camera, source_isocentre_mm=source_isocentre_mm)
