"""X-rays in PNG and TIFF: which plane is meant, what its numbers mean, and which way up it is."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import SimpleITK as sitk
from numpy.typing import NDArray
from PIL import ExifTags, Image

from ..errors import InputError
from ._grid import decoding
from ._reading import Picture, frame_index, grey_image, one_channel

# EXIF and TIFF Orientation: how to show what is stored (TIFF 6.0, section 8; EXIF 2.3, table 6).
_ORIENTATIONS = {
    2: "mirrored left to right",
    3: "turned by 180 degrees",
    4: "mirrored top to bottom",
    5: "mirrored along its main diagonal",
    6: "turned by 90 degrees clockwise",
    7: "mirrored along its other diagonal",
    8: "turned by 90 degrees counterclockwise",
}
_EXCHANGED = (5, 6, 7, 8)
_GREY_MODES = ("1", "L", "I;16", "I;16B", "I;16L", "I", "F")
_PALETTE, _MIN_IS_WHITE = 3, 0  # TIFF PhotometricInterpretation


def read_png(path: Path, frame: int | None) -> Picture:
    """The grey image in a PNG file, as viewers show it.

    Raises:
        InputError: damaged or coloured, or another kind of picture.
        UsageError: `frame` does not exist.
    """
    with decoding(path, " as an image"), Image.open(path, formats=["PNG"]) as image:
        count = getattr(image, "n_frames", 1)
        if count > 1 and frame is None:
            raise InputError(
                f"{path} holds {count} pictures, not one X-ray: choose one with `frame`",
                code="xray.several-images",
            )
        image.seek(frame_index(path, count, frame))
        orientation = int(image.getexif().get(ExifTags.Base.Orientation, 1))
        pixels = _png_pixels(path, image)
    alpha = None
    if pixels.ndim == 3 and pixels.shape[-1] in (2, 4):
        pixels, alpha = pixels[..., :-1], pixels[..., -1]
    grey = grey_image(path, one_channel(path, pixels), frame=None)
    picture = Picture(pixels=grey, excluded=None if alpha is None or alpha.all() else alpha == 0)
    return _shown(picture, orientation, "EXIF Orientation")


def _png_pixels(path: Path, image: Image.Image) -> NDArray[Any]:
    with path.open("rb") as file:
        bits, colour = file.read(26)[24:26]  # of the header chunk, the first of every PNG
    if bits == 16 and colour == 4:
        raise InputError(
            f"{path} has 16 bits and transparency, which is not read; save it without an alpha channel",
            code="xray.unsupported",
        )
    if bits == 16 and colour != 0:  # pillow cuts those with several channels down to 8 bits
        if getattr(image, "n_frames", 1) > 1:
            raise InputError(
                f"{path} is an animation of 16 bits and several channels; save one grey picture",
                code="xray.unsupported",
            )
        return sitk.GetArrayFromImage(sitk.ReadImage(str(path), imageIO="PNGImageIO"))
    if image.mode == "P":
        image = image.convert("RGBA" if "transparency" in image.info else "RGB")
    return np.asarray(image)


def read_tiff(path: Path, frame: int | None) -> Picture:
    """The grey image of one page of a TIFF file, as viewers show it.

    Pages of a file, planes of an ImageJ stack and the like are frames; only samples of a pixel are channels.

    Raises:
        InputError: damaged or coloured, a compression that nothing installed reads, or several pages without
            `frame`.
        UsageError: `frame` does not exist.
    """
    import tifffile  # it takes long to import

    with decoding(path, " as an image"), tifffile.TiffFile(path) as tiff:
        planes = [
            (series, index)
            for series in tiff.series
            if not series.keyframe.is_reduced
            for index in range(_plane_count(series))
        ]
        if not planes:
            raise InputError(f"{path} is a TIFF file without an image", code="xray.no-pixels")
        series, index = planes[_chosen(path, planes, frame)]
        page: Any = series.keyframe
        pixels, by_pillow = _plane(path, series, index)
        pixels = _meant(path, page, pixels, turned_around=by_pillow and pixels.dtype.itemsize == 1)
        tag = page.tags.get("Orientation")
        picture = Picture(pixels=grey_image(path, pixels, frame=None))
        orientation = 1 if tag is None else int(tag.value)
    return _shown(picture, orientation, "TIFF Orientation", done=by_pillow)


def _plane_count(series: Any) -> int:
    return int(np.prod([n for n, axis in zip(series.shape, series.axes, strict=True) if axis not in "YXS"]))


def _chosen(path: Path, planes: list[Any], frame: int | None) -> int:
    if len(planes) > 1 and frame is None:
        series = planes[0][0]
        size = dict(zip(series.axes, series.shape, strict=True))
        raise InputError(
            f"{path} holds {len(planes)} planes of {size.get('X')} x {size.get('Y')} pixels, not one X-ray:"
            " choose one with `frame`, or give it as the volume (`volume`) if it is a CT",
            code="xray.several-images",
        )
    return frame_index(path, len(planes), frame)


def _plane(path: Path, series: Any, index: int) -> tuple[NDArray[Any], bool]:
    """One plane [H, W] or [H, W, samples], and whether pillow read it, which applies the orientation."""
    try:
        stored = series.asarray()
    except ValueError as error:  # tifffile decodes most compressions with a package that is not installed
        if "imagecodecs" not in str(error):
            raise
        return _by_pillow(path, series.pages[index]), True
    axes = series.axes
    samples = axes.index("S") if "S" in axes else None
    if samples is not None:  # also where each sample has a plane of its own
        stored = np.moveaxis(stored, samples, -1)
    pixels = stored.reshape(-1, *stored.shape[-2 if samples is None else -3 :])[index]
    return pixels, False


def _by_pillow(path: Path, page: Any) -> NDArray[Any]:
    compression = getattr(page.compression, "name", page.compression)
    way_out = (
        f"{path} has a compression that is not read for such pixels ({compression}, {page.bitspersample}"
        f" bits, {page.samplesperpixel} per pixel); save it as TIFF without compression, or as PNG"
    )
    try:
        with Image.open(path, formats=["TIFF"]) as image:
            image.seek(page.index)
            image.load()
            # With several channels pillow has 8 bits, whatever is stored.
            narrow = image.mode in ("RGB", "RGBA", "LA", "P") and page.bitspersample <= 8
            if image.mode not in _GREY_MODES and not narrow:
                raise InputError(way_out, code="xray.unsupported")
            return np.asarray(image)
    except (NotImplementedError, OSError, SyntaxError, ValueError) as error:
        raise InputError(f"{way_out}: {error}", code="xray.unsupported") from error


def _meant(path: Path, page: Any, pixels: NDArray[Any], *, turned_around: bool) -> NDArray[Any]:
    """Grey values as viewers show them, of samples or of indices into a palette.

    Args:
        path: the path of the file.
        page: tifffile's.
        pixels: as stored.
        turned_around: whether white being 0 has been undone.
    """
    photometric = int(page.photometric)
    if photometric == _PALETTE and page.colormap is not None and pixels.ndim == 2:
        red, green, blue = page.colormap
        if np.any(red != green) or np.any(red != blue):
            raise InputError(
                f"{path} is a colour image (its palette is not grey); convert it to grey", code="xray.colour"
            )
        return np.asarray(red[pixels])
    if pixels.ndim == 3:
        extra = len(page.extrasamples or ())
        pixels = pixels[..., : pixels.shape[-1] - extra] if pixels.shape[-1] > extra else pixels
        return one_channel(path, pixels)
    if photometric == _MIN_IS_WHITE and not turned_around:
        if pixels.dtype.kind == "b":
            return ~pixels
        if pixels.dtype.kind != "u":
            raise InputError(
                f"{path} has TIFF PhotometricInterpretation WhiteIsZero with {pixels.dtype} pixels; save it"
                " as BlackIsZero",
                code="xray.unsupported",
            )
        return np.asarray(2**page.bitspersample - 1 - pixels.astype(np.int64))
    return pixels


def _shown(picture: Picture, orientation: int, name: str, *, done: bool = False) -> Picture:
    """The picture as its orientation tag says that it is to be shown, unless that is done."""
    if orientation not in _ORIENTATIONS:  # 1, or not among those that there are
        return picture

    def turned(image: NDArray[Any]) -> NDArray[Any]:
        if done:
            return image
        ways: dict[int, Any] = {
            2: image[:, ::-1],
            3: image[::-1, ::-1],
            4: image[::-1],
            5: image.T,
            6: np.rot90(image, -1),
            7: image[::-1, ::-1].T,
            8: np.rot90(image),
        }
        return np.ascontiguousarray(ways[orientation])

    pixels = turned(picture.pixels)
    height, width = pixels.shape
    return Picture(
        pixels=pixels,
        excluded=None if picture.excluded is None else turned(picture.excluded),
        orientation=f"{name} {orientation}, {_ORIENTATIONS[orientation]}",
        stored_shape=(width, height) if orientation in _EXCHANGED else (height, width),
        exchanged=orientation in _EXCHANGED,
    )
