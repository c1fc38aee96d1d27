"""X-ray files to pixels and what the files say about them: one function for every format."""

from __future__ import annotations

from pathlib import Path

from ..errors import InputError
from ._grid import decoding, of_kind
from ._pictures import read_png, read_tiff
from ._reading import FileReading, PixelScale
from ._sidecar import with_sidecar
from ._xray_dicom import read_dicom_xray
from ._xray_images import read_itk_image, read_nifti_image

__all__ = ["FileReading", "PixelScale", "images_in", "read_file", "xray_file"]

# What a file's first bytes say goes before its name.
_MAGIC = {
    b"\x89PNG\r\n\x1a\n": "png",
    **dict.fromkeys((b"II*\0", b"MM\0*", b"II+\0", b"MM\0+"), "tiff"),
    b"NRRD0": "itk",
    **dict.fromkeys((b"\xff\xd8\xff", b"\0\0\0\x0cjP  ", b"RIFF"), "lossy"),
    **dict.fromkeys((b"GIF8", b"BM"), "other picture"),
    b"%PDF": "document",
    b"PK\x03\x04": "archive",
}
_SUFFIXES = {
    (".png",): "png",
    (".tif", ".tiff"): "tiff",
    (".nii", ".nii.gz"): "nifti",
    (".nrrd", ".nhdr", ".mha", ".mhd"): "itk",
    (".jpg", ".jpeg", ".jp2", ".webp"): "lossy",
    (".bmp", ".gif"): "other picture",
    (".zip", ".gz", ".7z", ".rar", ".tar", ".tgz"): "archive",
}
_REFUSED = {
    "lossy": (
        "is a picture with lossy compression (JPEG or the like), whose grey values are not the detector's:"
        " export the X-ray again as DICOM, or as PNG or TIFF of 16 bits. If there is nothing else, save it as"
        " PNG and give `polarity`"
    ),
    "other picture": "has a picture format that is not read; save the X-ray as DICOM, or as PNG or TIFF",
    "document": "is a PDF document, not an X-ray; export the X-ray as DICOM, or as PNG or TIFF",
    "archive": "is an archive or a compressed file; unpack it and give the X-ray in it",
}
# Files that lie beside an X-ray in a folder and are not X-rays.
_BESIDE = (".json", ".txt", ".md", ".csv", ".xml", ".html", ".htm", ".ini", ".db", ".inf", ".raw", ".zraw")
_NAMED = 5


@of_kind("xray")
def xray_file(path: Path) -> Path:
    """The X-ray meant by a path: the file itself, or the only one in a folder.

    Raises:
        InputError: nothing there, an empty file, or a folder with none or several.
    """
    with decoding(path):
        if path.is_dir():
            return _only_file(path)
        if not path.is_file():
            raise InputError(f"X-ray file {path} does not exist", code="xray.missing")
        if not path.stat().st_size:
            raise InputError(f"X-ray file {path} is empty; copy or export it again", code="xray.no-pixels")
    return path


@of_kind("xray")
def images_in(folder: Path) -> list[Path]:
    """Files directly in a folder, but for what lies beside images and is none, sorted by name.

    Raises:
        InputError: it cannot be read.
    """
    with decoding(folder):
        return [
            file
            for file in sorted(folder.iterdir())
            if file.is_file() and not file.name.startswith(".") and not file.name.lower().endswith(_BESIDE)
            if file.name.upper() != "DICOMDIR"
        ]


def _only_file(folder: Path) -> Path:
    files = images_in(folder)
    if len(files) == 1:
        return xray_file(files[0])
    names = ", ".join(file.name for file in files[:_NAMED])
    raise InputError(
        f"{folder} is a folder, not an X-ray: it holds "
        + (f"{len(files)} files ({names}{', ...' if len(files) > _NAMED else ''})" if files else "no image")
        + "; give one X-ray file. A CT series is given as the volume (`volume`), and X-rays of several "
        "patients to isoclinic batch",
        code="xray.several-files",
    )


@of_kind("xray")
def read_file(path: Path, frame: int | None) -> FileReading:
    """Read an X-ray from DICOM, or from PNG, TIFF, NIfTI, MetaImage or NRRD with a JSON sidecar.

    Raises:
        InputError: the file is missing, unreadable, not an X-ray or not a single grey image.
        UsageError: `frame` does not exist in the file.
    """
    path = xray_file(path)
    kind = _kind(path)
    if kind in _REFUSED:
        raise InputError(f"{path} {_REFUSED[kind]}", code="xray.unsupported")
    pictures = {"png": read_png, "tiff": read_tiff, "nifti": read_nifti_image, "itk": read_itk_image}
    if kind in pictures:
        return with_sidecar(path, pictures[kind](path, frame))
    return read_dicom_xray(path, frame)


def _kind(path: Path) -> str:
    """Return what a file is, by its content where that tells, else by its name; DICOM if nothing tells."""
    with decoding(path), path.open("rb") as file:
        start = file.read(352)
    if start[128:132] == b"DICM":
        return "dicom"
    if start[344:347] in (b"n+1", b"ni1"):
        return "nifti"
    for magic, kind in _MAGIC.items():
        if start.startswith(magic):
            return kind
    name = path.name.lower()
    return next((kind for suffixes, kind in _SUFFIXES.items() if name.endswith(suffixes)), "dicom")
