"""Pixels that are not to be used, and marks on the stored image, through every change of the X-ray."""

from dataclasses import replace
from pathlib import Path

import nibabel as nib
import numpy as np
import pytest
import skimage.io

from isoclinic.errors import InputError
from isoclinic.geometry.camera import Camera
from isoclinic.volumes._warnings import GeometryWarning
from isoclinic.volumes.config import XRayOptions
from isoclinic.volumes.xray import XRay
from raising import raises

from .test_xray import HEIGHT, WIDTH, read, stored_pixels, xray_dataset


def mask(height: int = HEIGHT, width: int = WIDTH) -> np.ndarray:
    """A bar and a pixel that no factor or symmetry puts at a special place."""
    excluded = np.zeros((height, width), dtype=bool)
    excluded[3:8, 10:13] = excluded[height - 2, 5] = True
    return excluded


class TestExclude:
    @staticmethod
    def write(folder: Path, excluded: np.ndarray, name: str = "mask.png") -> Path:
        path = folder / name
        if name.endswith(".nii.gz"):
            nib.save(
                nib.Nifti1Image(excluded.T[..., None].astype(np.uint8), np.diag([-1.0, -1.0, 1.0, 1.0])), path
            )
        elif name.endswith(".dcm"):
            xray_dataset(7 * excluded.astype(np.uint16), Modality="OT").save_as(
                path, enforce_file_format=True
            )
        else:
            skimage.io.imsave(path, excluded.astype(np.uint8) * 200, check_contrast=False)
        return path

    @pytest.mark.parametrize("name", ["mask.png", "mask.tif", "mask.nii.gz", "mask.dcm"])
    @pytest.mark.parametrize("frames", [None, 5])
    def test_read(self, tmp_path: Path, name: str, frames: int | None) -> None:
        """One mask for whatever frame of a run."""
        path = self.write(tmp_path, mask(), name)
        options = XRayOptions(exclude=path, frame=None if frames is None else 4)
        xray = read(tmp_path, options, pixels=stored_pixels(frames))
        assert xray.excluded is not None
        np.testing.assert_array_equal(xray.excluded, mask())
        np.testing.assert_array_equal(xray.usable_pixels, xray.pixels[~mask()])

    def test_nothing_is_excluded_without_it(self, tmp_path: Path) -> None:
        xray = read(tmp_path)
        assert xray.excluded is None
        np.testing.assert_array_equal(xray.usable_pixels, xray.pixels.ravel())

    def test_flip_crop_bin(self, tmp_path: Path) -> None:
        """The mask is of the image as stored; a block with any excluded pixel is excluded."""
        path = self.write(tmp_path, mask())
        options = XRayOptions(exclude=path, flip_left_right=True, crop_px=(2, 4, 16, 20), bin=2)
        moved = mask()[2:18, ::-1][:, 4:24]
        assert moved.any()
        np.testing.assert_array_equal(
            read(tmp_path, options).excluded, moved.reshape(8, 2, 10, 2).any(axis=(1, 3))
        )

    @staticmethod
    def xray(excluded: np.ndarray | None) -> XRay:
        camera = Camera(width=60, height=48, fx=2000, fy=2500, cx=25, cy=30, sdd_mm=1000)
        return XRay(pixels=np.arange(48 * 60.0).reshape(48, 60), camera=camera, excluded=excluded)

    def test_flip(self) -> None:
        flipped = self.xray(mask(48, 60)).flip(top_bottom=True)
        np.testing.assert_array_equal(flipped.excluded, mask(48, 60)[::-1])

    @pytest.mark.parametrize("excluded", [None, mask(48, 60)])
    def test_padding_is_excluded(self, excluded: np.ndarray | None) -> None:
        padded = self.xray(excluded).pad(top=3, bottom=1, left=2, right=5)
        assert padded.excluded is not None
        kept = padded.excluded[3:-1, 2:-5]
        np.testing.assert_array_equal(kept, np.zeros_like(kept) if excluded is None else excluded)
        assert padded.excluded.sum() - kept.sum() == padded.pixels.size - kept.size

    @pytest.mark.parametrize(("height", "width"), [(24, 30), (96, 120), (40, 70), (48, 60)])
    def test_resize(self, height: int, width: int) -> None:
        """Excluded is exactly what changes when the pixels under the mask do, and near it only."""
        plain = self.xray(mask(48, 60))
        bright = replace(plain, pixels=plain.pixels + 1e6 * mask(48, 60))
        resized = plain.resize(height=height, width=width)
        assert resized.excluded is not None
        changed = bright.resize(height=height, width=width).pixels - resized.pixels > 1
        np.testing.assert_array_equal(resized.excluded, changed)
        scale = np.array([height / 48, width / 60])
        reach = np.ceil(np.maximum(scale, 1)) + 1
        centres = (np.argwhere(mask(48, 60)) + 0.5) * scale - 0.5
        for pixel in np.argwhere(resized.excluded):
            assert (np.abs(pixel - centres) <= reach).all(axis=1).any()

    def test_guessed_polarity_does_not_see_it(self, tmp_path: Path) -> None:
        """Tools, dark at the rim and bright in the middle, would speak for dark air."""
        rng = np.random.default_rng(2)
        across = np.linspace(-1, 1, 64)
        attenuation = np.tile(4 * np.sqrt(np.maximum(0, 1 - (across / 0.9) ** 2)), (48, 1))
        pixels = (4000 * np.exp(-attenuation)).astype(np.uint16)
        rim, middle = np.zeros((2, *pixels.shape), dtype=bool)
        rim[:34, :16] = rim[:34, -16:] = middle[8:40, 12:52] = True
        pixels[rim] = rng.integers(0, 100, rim.sum())
        pixels[middle] = rng.integers(2900, 3000, middle.sum())
        with pytest.warns(GeometryWarning, match="guessed"):
            assert read(tmp_path, pixels=pixels, Modality="OT").polarity == "dark_air"
        options = XRayOptions(exclude=self.write(tmp_path, rim | middle))
        with pytest.warns(GeometryWarning, match="guessed"):
            assert read(tmp_path, options, pixels=pixels, Modality="OT").polarity == "bright_air"

    @pytest.mark.parametrize(
        ("excluded", "fault"),
        [
            (mask(WIDTH, HEIGHT), ("xray.unusable-mask", "mask.png", "30 x 20", "xray.dcm", "20 x 30")),
            (np.zeros((HEIGHT, WIDTH)), ("xray.unusable-mask", "mask.png", "nothing")),
            (np.ones((HEIGHT, WIDTH)), ("xray.unusable-mask", "mask.png", "every pixel")),
        ],
    )
    def test_unusable_mask(self, tmp_path: Path, excluded: np.ndarray, fault: tuple[str, ...]) -> None:
        options = XRayOptions(exclude=self.write(tmp_path, excluded))
        with raises(InputError, *fault, "`exclude`"):
            read(tmp_path, options)

    def test_mask_that_is_not_finite(self, tmp_path: Path) -> None:
        path = tmp_path / "mask.tif"
        skimage.io.imsave(path, np.where(mask(), np.nan, 0).astype(np.float32), check_contrast=False)
        with raises(InputError, "xray.unusable-mask", "`exclude`", "mask.tif", "NaN"):
            read(tmp_path, XRayOptions(exclude=path))

    def test_unreadable_mask(self, tmp_path: Path) -> None:
        (tmp_path / "broken.png").write_text("not an image")
        for name in ("nowhere.png", "broken.png"):
            with raises(InputError, "xray.unusable-mask", "`exclude`", name):
                read(tmp_path, XRayOptions(exclude=tmp_path / name))

    def test_nothing_left_in_the_window(self, tmp_path: Path) -> None:
        options = XRayOptions(exclude=self.write(tmp_path, mask()), crop_px=(3, 10, 5, 3))
        with raises(InputError, "xray.all-masked", "xray.dcm", "`exclude`"):
            read(tmp_path, options)

    def test_constant_but_for_the_tool(self) -> None:
        xray = self.xray(mask(48, 60))
        with raises(InputError, "xray.blank", "5"):
            replace(xray, pixels=np.where(mask(48, 60), xray.pixels, 5))

    def test_mask_must_be_the_cameras(self) -> None:
        with raises(InputError, "xray.wrong-shape", "excluded mask", "(60, 48)"):
            self.xray(mask(60, 48))


class TestStoredPixels:
    """Where a mark made in the stored image is now: pixel by pixel, through an image of pixel numbers."""

    def test_flip_crop_bin(self, tmp_path: Path) -> None:
        """Blocks of two: the mean of the marks on a block's pixels is the block's centre."""
        options = XRayOptions(flip_left_right=True, flip_top_bottom=True, crop_px=(2, 4, 16, 20), bin=2)
        xray = read(tmp_path, options)
        v, u = np.mgrid[:HEIGHT, :WIDTH].astype(np.float64)
        found = xray.pixels_from_stored(np.stack([u, v], axis=-1))
        moved = found[::-1, ::-1][2:18, 4:24].reshape(8, 2, 10, 2, 2).mean(axis=(1, 3))
        rows, columns = np.mgrid[:8, :10]
        np.testing.assert_allclose(moved, np.stack([columns, rows], axis=-1), atol=1e-12)

    @pytest.mark.parametrize("degrees", [90, 180, 270])
    def test_turned(self, tmp_path: Path, degrees: int) -> None:
        """Each stored pixel's number, and the mask on it, are found where the pixel has gone."""
        numbers = np.arange(HEIGHT * WIDTH, dtype=np.uint16).reshape(HEIGHT, WIDTH)
        path = TestExclude.write(tmp_path, mask())
        options = XRayOptions(flip_top_bottom=True, turn=degrees, exclude=path)  # type: ignore[arg-type]
        xray = read(tmp_path, options, pixels=numbers)
        v, u = np.indices(numbers.shape)
        found = np.rint(xray.pixels_from_stored(np.stack([u, v], axis=-1).astype(float))).astype(int)
        np.testing.assert_array_equal(xray.pixels[found[..., 1], found[..., 0]], numbers)
        assert xray.excluded is not None
        np.testing.assert_array_equal(xray.excluded[found[..., 1], found[..., 0]], mask())

    @pytest.mark.parametrize("degrees", [0, 90, 180, 270])
    def test_recalibrated(self, degrees: int) -> None:
        """What corrects the used image's intrinsics corrects the stored one's: marks keep their places."""
        camera = Camera(width=60, height=48, fx=2000, fy=2500, cx=25, cy=30, sdd_mm=1000)
        xray = XRay(pixels=np.arange(48 * 60.0).reshape(48, 60), camera=camera)
        used = xray.flip(left_right=True).turn(degrees).crop(top=3, left=5, height=40, width=41)
        refined = replace(used.camera, fx=used.camera.fx * 1.02, fy=used.camera.fy * 1.03, cx=11.0, cy=12.0)
        again = used.recalibrated(refined)
        marks = np.random.default_rng(0).uniform(0, 40, (9, 2))
        np.testing.assert_allclose(again.pixels_from_stored(marks), used.pixels_from_stored(marks), atol=1e-9)
        assert again.camera == refined and again.stored_camera != camera

    def test_pad_and_resize(self) -> None:
        """Edges are kept: stored pixel (0, 0) begins at -1/2."""
        camera = Camera(width=60, height=48, fx=2000, fy=2500, cx=25, cy=30, sdd_mm=1000)
        xray = XRay(pixels=np.arange(48 * 60.0).reshape(48, 60), camera=camera)
        changed = xray.pad(top=2, left=4, right=6).resize(height=25, width=35)
        corners = changed.pixels_from_stored(np.array([[-0.5, -0.5], [59.5, 47.5]]))
        np.testing.assert_allclose(corners, [[1.5, 0.5], [31.5, 24.5]])

    def test_of_an_unchanged_image(self) -> None:
        camera = Camera(width=4, height=3, fx=-9, fy=8, cx=1, cy=2, sdd_mm=7)
        marks = np.array([[0.25, -3], [1, 2]])
        xray = XRay(pixels=np.arange(12.0).reshape(3, 4), camera=camera)
        assert xray.stored_camera == camera
        np.testing.assert_array_equal(xray.pixels_from_stored(marks), marks)
