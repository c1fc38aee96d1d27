"""X-rays in PNG and TIFF as programs of all kinds write them."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import SimpleITK as sitk
import tifffile
from PIL import Image, ImageOps

from isoclinic.errors import InputError, UsageError
from isoclinic.volumes import GeometryWarning, XRay, XRayOptions
from raising import raises

HEIGHT, WIDTH = 20, 30
PIXELS = np.random.default_rng(0).integers(0, 60000, (HEIGHT, WIDTH)).astype(np.uint16)
BYTES = (PIXELS >> 8).astype(np.uint8)
GEOMETRY: dict[str, Any] = {"sdd_mm": 1000, "pixel_spacing_mm": [0.5, 0.5], "polarity": "bright_air"}
# How a viewer turns what is stored, by Orientation (TIFF 6.0, section 8): row 0 and column 0 are ...
SHOWN = {
    1: lambda stored: stored,  # top, left
    2: np.fliplr,  # top, right
    3: lambda stored: np.rot90(stored, 2),  # bottom, right
    4: np.flipud,  # bottom, left
    5: np.transpose,  # left, top
    6: lambda stored: np.rot90(stored, -1),  # right, top
    7: lambda stored: np.rot90(stored.T, 2),  # right, bottom
    8: np.rot90,  # left, bottom
}


def read(path: Path, options: XRayOptions | None = None, **changes: Any) -> XRay:
    path.with_suffix(".json").write_text(json.dumps(GEOMETRY | changes))
    return XRay.read(path, options)


def exif(orientation: int) -> Image.Exif:
    tags = Image.Exif()
    tags[0x0112] = orientation
    return tags


class TestOrientation:
    @pytest.mark.parametrize("orientation", SHOWN)
    def test_png(self, tmp_path: Path, orientation: int) -> None:
        Image.fromarray(PIXELS).save(tmp_path / "x.png", exif=exif(orientation))
        xray = read(tmp_path / "x.png")
        np.testing.assert_array_equal(xray.pixels, SHOWN[orientation](PIXELS))
        assert (xray.camera.height, xray.camera.width) == xray.pixels.shape
        if orientation == 1:
            assert "orientation" not in xray.provenance
        else:
            assert xray.provenance["orientation"].startswith(f"EXIF Orientation {orientation}, ")

    @pytest.mark.parametrize("compression", ["raw", "tiff_lzw"])
    @pytest.mark.parametrize("orientation", SHOWN)
    def test_tiff(self, tmp_path: Path, orientation: int, compression: str) -> None:
        image = Image.fromarray(PIXELS)
        image.save(tmp_path / "x.tif", compression=compression, tiffinfo={274: orientation})
        xray = read(tmp_path / "x.tif")
        np.testing.assert_array_equal(xray.pixels, SHOWN[orientation](PIXELS))
        if orientation > 1:
            assert xray.provenance["orientation"].startswith(f"TIFF Orientation {orientation}, ")

    def test_viewers_agree(self, tmp_path: Path) -> None:
        """What pillow, as viewers do, shows of the same files."""
        for orientation in SHOWN:
            Image.fromarray(PIXELS).save(tmp_path / "x.png", exif=exif(orientation))
            with Image.open(tmp_path / "x.png") as image:
                np.testing.assert_array_equal(ImageOps.exif_transpose(image), SHOWN[orientation](PIXELS))

    def test_geometry_is_that_of_the_image_as_shown(self, tmp_path: Path) -> None:
        Image.fromarray(PIXELS).save(tmp_path / "x.png", exif=exif(6))
        with pytest.warns(GeometryWarning, match=r"x\.json .*image as it is shown"):
            xray = read(tmp_path / "x.png", pixel_spacing_mm=[0.4, 0.5], width=HEIGHT, height=WIDTH)
        assert xray.camera.pixel_spacing_mm == pytest.approx((0.4, 0.5))
        assert (xray.camera.cx, xray.camera.cy) == ((HEIGHT - 1) / 2, (WIDTH - 1) / 2)

    def test_geometry_of_the_image_as_stored_is_refused(self, tmp_path: Path) -> None:
        Image.fromarray(PIXELS).save(tmp_path / "x.png", exif=exif(6))
        with raises(InputError, "sidecar.conflict", "height", "20", "Orientation 6"):
            read(tmp_path / "x.png", width=WIDTH, height=HEIGHT)

    def test_mask_turns_as_well(self, tmp_path: Path) -> None:
        drawn = np.zeros((HEIGHT, WIDTH), np.uint8)
        drawn[2, 3] = 1
        Image.fromarray(drawn).save(tmp_path / "mask.png", exif=exif(8))
        Image.fromarray(PIXELS).save(tmp_path / "x.png", exif=exif(8))
        xray = read(tmp_path / "x.png", XRayOptions(exclude=tmp_path / "mask.png"))
        assert xray.excluded is not None
        np.testing.assert_array_equal(xray.excluded, np.rot90(drawn) > 0)


class TestTiff:
    @pytest.mark.parametrize("compression", ["tiff_lzw", "tiff_adobe_deflate", "tiff_deflate", "packbits"])
    @pytest.mark.parametrize("dtype", [np.uint8, np.uint16, np.int32, np.float32])
    def test_compression(self, tmp_path: Path, compression: str, dtype: type) -> None:
        pixels = (BYTES if dtype is np.uint8 else PIXELS).astype(dtype)
        Image.fromarray(pixels).save(tmp_path / "x.tif", compression=compression)
        np.testing.assert_array_equal(read(tmp_path / "x.tif").pixels, pixels)

    def test_jpeg_inside(self, tmp_path: Path) -> None:
        smooth = np.add.outer(np.arange(64), np.arange(64)).astype(np.uint8)
        Image.fromarray(smooth).save(tmp_path / "x.tif", compression="jpeg")
        np.testing.assert_allclose(read(tmp_path / "x.tif").pixels, smooth, atol=4)

    def test_one_bit(self, tmp_path: Path) -> None:
        for compression in ("raw", "group4"):
            Image.fromarray(BYTES > 100).save(tmp_path / "x.tif", compression=compression)
            np.testing.assert_array_equal(read(tmp_path / "x.tif").pixels, BYTES > 100)

    @pytest.mark.parametrize("byteorder", ["<", ">"])
    @pytest.mark.parametrize("bigtiff", [False, True])
    def test_byte_order_and_large_files(self, tmp_path: Path, byteorder: Any, bigtiff: bool) -> None:
        tifffile.imwrite(tmp_path / "x.TIFF", PIXELS, bigtiff=bigtiff, byteorder=byteorder)
        np.testing.assert_array_equal(read(tmp_path / "x.TIFF").pixels, PIXELS)

    @pytest.mark.parametrize("count", [2, 3, 4, 5])
    @pytest.mark.parametrize("kind", ["pages", "ImageJ", "LZW"])
    def test_pages_are_frames(self, tmp_path: Path, count: int, kind: str) -> None:
        stack = np.stack([PIXELS // (page + 1) for page in range(count)])
        path = tmp_path / "x.tif"
        if kind == "LZW":
            first, *others = (Image.fromarray(page) for page in stack)
            first.save(path, compression="tiff_lzw", save_all=True, append_images=others)
        else:
            tifffile.imwrite(path, stack, imagej=kind == "ImageJ", photometric="minisblack")
        np.testing.assert_array_equal(read(path, XRayOptions(frame=1)).pixels, stack[1])
        with raises(InputError, "xray.several-images", count, "30", "20", "`frame`"):
            read(path)
        with raises(UsageError, "xray.frame-missing", "`frame`", count):
            read(path, XRayOptions(frame=count))

    def test_pages_of_other_sizes_and_thumbnails(self, tmp_path: Path) -> None:
        path = tmp_path / "x.tif"
        with tifffile.TiffWriter(path) as file:
            file.write(PIXELS)
            file.write(PIXELS[::2, ::2], subfiletype=1)  # a reduced image
        np.testing.assert_array_equal(read(path).pixels, PIXELS)
        with tifffile.TiffWriter(path) as file:
            file.write(PIXELS)
            file.write(PIXELS[:10])
        np.testing.assert_array_equal(read(path, XRayOptions(frame=1)).pixels, PIXELS[:10])

    @pytest.mark.parametrize("planar", ["contig", "separate"])
    def test_grey_in_channels(self, tmp_path: Path, planar: Any) -> None:
        channels = np.repeat(PIXELS[..., None], 3, axis=-1)
        stored = channels if planar == "contig" else np.moveaxis(channels, -1, 0)
        tifffile.imwrite(tmp_path / "x.tif", stored, photometric="rgb", planarconfig=planar)
        np.testing.assert_array_equal(read(tmp_path / "x.tif").pixels, PIXELS)
        stored = stored.copy()
        stored[0, 0] += 1 if planar == "separate" else np.array([1, 0, 0], np.uint16)
        tifffile.imwrite(tmp_path / "x.tif", stored, photometric="rgb", planarconfig=planar)
        with raises(InputError, "xray.colour"):
            read(tmp_path / "x.tif")

    def test_alpha_is_no_grey_value(self, tmp_path: Path) -> None:
        for channels in (1, 3):
            pixels = np.concatenate(
                [np.repeat(PIXELS[..., None], channels, axis=-1), np.full((HEIGHT, WIDTH, 1), 65535)], axis=-1
            ).astype(np.uint16)
            tifffile.imwrite(
                tmp_path / "x.tif",
                pixels,
                photometric="minisblack" if channels == 1 else "rgb",
                extrasamples=["unassalpha"],
                planarconfig="contig",
            )
            np.testing.assert_array_equal(read(tmp_path / "x.tif").pixels, PIXELS)

    @pytest.mark.parametrize("compression", ["raw", "tiff_lzw"])
    def test_white_is_zero(self, tmp_path: Path, compression: str) -> None:
        """Viewers show such a file the other way round, and so it is read."""
        for pixels in (BYTES, BYTES > 100):
            image = Image.fromarray(pixels)
            image.save(tmp_path / "x.tif", compression=compression, tiffinfo={262: 0})
            with tifffile.TiffFile(tmp_path / "x.tif") as tiff:
                assert tiff.pages[0].photometric == 0  # type: ignore[union-attr]
            np.testing.assert_array_equal(read(tmp_path / "x.tif").pixels, pixels)

    def test_white_is_zero_in_16_bits(self, tmp_path: Path) -> None:
        tifffile.imwrite(tmp_path / "x.tif", PIXELS, photometric="miniswhite")
        np.testing.assert_array_equal(read(tmp_path / "x.tif").pixels, 65535 - PIXELS.astype(int))
        tifffile.imwrite(tmp_path / "x.tif", PIXELS.astype(np.float32), photometric="miniswhite")
        with raises(InputError, "xray.unsupported", "WhiteIsZero"):
            read(tmp_path / "x.tif")

    def test_palette(self, tmp_path: Path) -> None:
        grey = np.tile(np.arange(256, dtype=np.uint16)[::-1] * 257, (3, 1))
        tifffile.imwrite(tmp_path / "x.tif", BYTES, photometric="palette", colormap=grey)
        np.testing.assert_array_equal(read(tmp_path / "x.tif").pixels, (255 - BYTES.astype(int)) * 257)
        colour = grey.copy()
        colour[0] = colour[0, ::-1]
        tifffile.imwrite(tmp_path / "x.tif", BYTES, photometric="palette", colormap=colour)
        with raises(InputError, "xray.colour", "palette"):
            read(tmp_path / "x.tif")

    def test_compression_that_nothing_reads(self, tmp_path: Path) -> None:
        """16 bits in several channels: pillow has 8 bits of them, tifffile no LZW."""
        image = sitk.GetImageFromArray(np.repeat(PIXELS[..., None], 3, axis=-1), isVector=True)
        writer = sitk.ImageFileWriter()
        writer.SetFileName(str(tmp_path / "x.tif"))
        writer.SetUseCompression(True)
        writer.SetCompressor("LZW")
        writer.Execute(image)
        with raises(InputError, "xray.unsupported", "LZW", "PNG"):
            read(tmp_path / "x.tif")


class TestPng:
    @pytest.mark.parametrize(
        ("channels", "dtype"), [(2, np.uint8), (3, np.uint8), (4, np.uint8), (3, np.uint16), (4, np.uint16)]
    )
    def test_grey_in_channels(self, tmp_path: Path, channels: int, dtype: type) -> None:
        """All 16 bits count, which pillow does not keep of several channels."""
        grey = PIXELS if dtype is np.uint16 else BYTES
        full = np.full_like(grey, np.iinfo(grey.dtype).max)
        pixels = np.stack([grey] * (3 if channels > 2 else 1) + [full] * (channels % 2 == 0), axis=-1)
        sitk.WriteImage(sitk.GetImageFromArray(pixels, isVector=True), str(tmp_path / "x.png"))
        xray = read(tmp_path / "x.png")
        np.testing.assert_array_equal(xray.pixels, grey)
        assert xray.excluded is None

    def test_grey_of_16_bits_with_transparency_is_refused(self, tmp_path: Path) -> None:
        """Nothing that is installed keeps the 16 bits."""
        pixels = np.stack([PIXELS, np.full_like(PIXELS, 65535)], axis=-1)
        sitk.WriteImage(sitk.GetImageFromArray(pixels, isVector=True), str(tmp_path / "x.png"))
        with raises(InputError, "xray.unsupported", "alpha channel"):
            read(tmp_path / "x.png")

    def test_transparent_is_no_image(self, tmp_path: Path) -> None:
        alpha = np.full((HEIGHT, WIDTH), 255, np.uint8)
        alpha[:, :4] = 0
        Image.fromarray(np.stack([BYTES, alpha], axis=-1)).save(tmp_path / "x.png")
        xray = read(tmp_path / "x.png")
        assert xray.excluded is not None
        np.testing.assert_array_equal(xray.excluded, alpha == 0)

    def test_transparent_parts_of_a_mask_mask_nothing(self, tmp_path: Path) -> None:
        """Drawn on a layer of its own: white all over, opaque where drawn."""
        mask = np.full((HEIGHT, WIDTH, 4), 255, np.uint8)
        mask[..., 3] = 0
        mask[3:5, 6:9, 3] = 255
        Image.fromarray(mask).save(tmp_path / "mask.png")
        Image.fromarray(PIXELS).save(tmp_path / "x.png")
        xray = read(tmp_path / "x.png", XRayOptions(exclude=tmp_path / "mask.png"))
        assert xray.excluded is not None
        np.testing.assert_array_equal(xray.excluded, mask[..., 3] > 0)

    def test_palette(self, tmp_path: Path) -> None:
        image = Image.fromarray(BYTES, mode="L").convert("P")
        image.putpalette([255 - level for level in range(256) for _ in range(3)])
        image.save(tmp_path / "x.png")
        np.testing.assert_array_equal(read(tmp_path / "x.png").pixels, 255 - BYTES)
        image.putpalette([n for level in range(256) for n in (level, 0, 0)])
        image.save(tmp_path / "x.png")
        with raises(InputError, "xray.colour"):
            read(tmp_path / "x.png")

    def test_one_bit(self, tmp_path: Path) -> None:
        Image.fromarray(BYTES > 100).save(tmp_path / "x.png")
        np.testing.assert_array_equal(read(tmp_path / "x.png").pixels, BYTES > 100)

    def test_animation(self, tmp_path: Path) -> None:
        frames = [Image.fromarray(BYTES // (n + 1)) for n in range(3)]
        frames[0].save(tmp_path / "x.png", save_all=True, append_images=frames[1:])
        with raises(InputError, "xray.several-images", "3", "`frame`"):
            read(tmp_path / "x.png")
        np.testing.assert_array_equal(read(tmp_path / "x.png", XRayOptions(frame=2)).pixels, BYTES // 3)


class TestByContent:
    """The first bytes say what a file is, its name only where they do not."""

    def test_png_of_another_name(self, tmp_path: Path) -> None:
        Image.fromarray(PIXELS).save(tmp_path / "x.tif", format="PNG")
        np.testing.assert_array_equal(read(tmp_path / "x.tif").pixels, PIXELS)

    def test_tiff_without_a_suffix(self, tmp_path: Path) -> None:
        Image.fromarray(PIXELS).save(tmp_path / "x", format="TIFF")
        np.testing.assert_array_equal(read(tmp_path / "x").pixels, PIXELS)

    @pytest.mark.parametrize("name", ["x.jpg", "x.png", "x.dcm"])
    def test_jpeg(self, tmp_path: Path, name: str) -> None:
        Image.fromarray(BYTES).save(tmp_path / name, format="JPEG")
        with raises(InputError, "xray.unsupported", name, "PNG"):
            read(tmp_path / name)

    @pytest.mark.parametrize(
        ("name", "content", "fault"),
        [
            ("x.zip", b"PK\x03\x04rest", ("xray.unsupported", "unpack")),
            ("x.dcm.gz", b"\x1f\x8brest", ("xray.unsupported", "unpack")),
            ("x.pdf", b"%PDF-1.4", ("xray.unsupported", "PDF")),
            ("x.bmp", b"BMrest", ("xray.unsupported", "DICOM", "PNG")),
        ],
    )
    def test_refused(self, tmp_path: Path, name: str, content: bytes, fault: tuple[str, ...]) -> None:
        (tmp_path / name).write_bytes(content)
        with raises(InputError, *fault):
            XRay.read(tmp_path / name)
