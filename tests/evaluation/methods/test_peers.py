"""The methods of others, on a small scene that mirrors, turns and shifts all that an adapter could confuse.

The image has different rows and columns, pixels that are not square, a principal point off its middle, and is
mirrored; the CT lies far from the origin of the world.
"""

import json
import pickle
from dataclasses import replace
from functools import cache

import numpy as np
import pytest
import torch

import missing_package
import phantoms
from isoclinic.datasets import Sample
from isoclinic.errors import UsageError
from isoclinic.evaluation.methods._peer import filled
from isoclinic.evaluation.methods.cmaes import CmaEs, CmaEsConfig, CmaEsScale
from isoclinic.evaluation.methods.diffdrr import DiffDrr, DiffDrrConfig
from isoclinic.evaluation.methods.xvr import Xvr, XvrConfig
from isoclinic.geometry import Camera, se3
from isoclinic.registration.initialize import initial_pose
from isoclinic.volumes import XRay
from raising import raises

CAMERA = Camera.from_pixel_spacing(
    width=128, height=112, pixel_spacing_mm=(2.7, 2.5), sdd_mm=1000.0, principal_point_px=(60.0, 58.0)
).flip(left_right=True)

# Rotations [rad] and shifts [mm] about the camera's axes, each well above its bound below.
OFF = (0.05, -0.04, 0.05, 4.0, -5.0, 10.0)
# The X-ray is free of noise. Left are the differences between its averaged pixels and rays through the
# middles of large ones, and between sums over voxels, interpolated or not: within a tenth of a pixel (7 mm
# at the patient) across the beam, and in rotation what moves the rim of the phantom, 80 mm out, by a fifth of
# one. Depth is seen by magnification only: a tenth of a pixel at that rim is 80 / 670 of it in depth.
MOST_RAD, MOST_ACROSS_MM, MOST_DEPTH_MM = 1.4 / 80, 0.7, 0.7 * 670 / 80

_SMALL_SCALE = CmaEsScale(
    pixels=32, rotation_deg=(4.0, 4.0, 4.0), translation_mm=(8.0, 8.0, 16.0), population=16, generations=50
)
# The methods at about 32 pixels, with iterations for such a start. DiffDRR's tutorial stops at a correlation
# that images as coarse as these reach anywhere near.
SMALL = {
    "xvr": Xvr(config=XvrConfig(pixels=(32,), iterations=(40,), device="cpu")),
    "diffdrr": DiffDrr(config=DiffDrrConfig(pixels=32, iterations=60, converged=1.0, device="cpu")),
    "cmaes": CmaEs(config=CmaEsConfig(scales=(_SMALL_SCALE,), backend="cpu")),
}
# The same, hardly begun.
SHORT = {
    "xvr": replace(SMALL["xvr"], config=replace(SMALL["xvr"].config, iterations=(2,))),
    "diffdrr": replace(SMALL["diffdrr"], config=replace(SMALL["diffdrr"].config, iterations=3)),
    "cmaes": CmaEs(config=CmaEsConfig(scales=(replace(_SMALL_SCALE, generations=2),), backend="cpu")),
}
# What each needs, and the extra that brings it.
PACKAGES = {"xvr": ("nanodrr", "peers"), "diffdrr": ("diffdrr", "diffdrr"), "cmaes": ("cmaes", "peers")}


@cache
def sample():
    volume = phantoms.phantom(3)
    pose = phantoms.true_pose(volume)
    pixels = phantoms.line_integrals(volume, pose, CAMERA).astype(np.float32)
    return Sample(
        name="phantom/1",
        subject="phantom",
        volume=volume,
        xray=XRay(pixels=pixels, camera=CAMERA, pixel_scale="log", polarity="dark_air"),
        camera_from_world=pose,
        landmark_names=("centre",),
        landmarks_world=torch.from_numpy(volume.isocentre_world)[None],
    )


def moved(tangent):
    """The true pose, moved."""
    return se3.perturb(sample().camera_from_world, torch.tensor(tangent, dtype=torch.float64), isocentre())


def isocentre():
    return torch.from_numpy(sample().volume.isocentre_world)


@pytest.fixture(params=SMALL)
def name(request):
    pytest.importorskip(PACKAGES[request.param][0])
    return request.param


@pytest.mark.slow
@pytest.mark.parametrize("off", [(0.0,) * 6, OFF], ids=["kept", "found"])
def test_the_true_pose(name, off):
    start = moved(off)
    result = SMALL[name].register(sample(), start)
    error = se3.perturbation(sample().camera_from_world, result.camera_from_world, isocentre()).abs()
    assert error[:3].max() < MOST_RAD
    assert error[3:5].max() < MOST_ACROSS_MM
    assert error[5] < MOST_DEPTH_MM
    assert torch.equal(result.initial_camera_from_world, start)
    assert result.camera_from_world.dtype == torch.float64
    assert 0.9 < result.similarity <= 1 and result.seconds > 0


def test_the_start_without_one_is_that_of_this_library(name):
    result = SHORT[name].register(sample(), None)
    expected = initial_pose(sample().volume, sample().xray).camera_from_world
    assert torch.equal(result.initial_camera_from_world, expected)


def test_nothing_is_left_to_chance(name):
    poses = []
    for seed in (1, 2):
        torch.manual_seed(seed)
        np.random.seed(seed)
        poses.append(SHORT[name].register(sample(), moved(OFF)).camera_from_world)
    # Sums over threads may be rounded differently.
    torch.testing.assert_close(poses[0], poses[1], rtol=0, atol=1e-3)
    assert not torch.allclose(poses[0], moved(OFF), atol=1e-2)


def test_settings_say_all_that_a_result_depends_on(name):
    settings = json.loads(json.dumps(SMALL[name].settings))
    assert settings[PACKAGES[name][0]] and settings["isoclinic"]
    assert settings["preprocess"]["floor"] == SMALL[name].config.preprocess.floor
    assert settings != json.loads(json.dumps(SHORT[name].settings))
    assert pickle.loads(pickle.dumps(SMALL[name])) == SMALL[name]


@pytest.mark.parametrize("name", SMALL)
def test_without_its_package(name, monkeypatch):
    package, extra = PACKAGES[name]
    missing_package.without(monkeypatch, package)
    with raises(UsageError, "installation.package-missing", package, f"isoclinic[{extra}]"):
        SMALL[name].register(sample(), moved(OFF))
    with raises(UsageError, "installation.package-missing", package, f"isoclinic[{extra}]"):
        _ = SMALL[name].settings


@pytest.mark.skipif(torch.cuda.is_available(), reason="there is a GPU")
@pytest.mark.parametrize("name", ["xvr", "diffdrr"])
def test_without_a_gpu(name):
    pytest.importorskip(PACKAGES[name][0])
    method = replace(SHORT[name], config=replace(SHORT[name].config, device="cuda"))
    with raises(UsageError, "installation.no-gpu", "'cuda'"):
        method.register(sample(), moved(OFF))


def test_masked_pixels_are_filled_with_the_mean_of_the_others():
    image = torch.tensor([[1.0, 5.0], [90.0, 3.0]])
    weight = torch.tensor([[1.0, 1.0], [0.0, 1.0]])
    assert torch.equal(filled(image, weight), torch.tensor([[1.0, 5.0], [3.0, 3.0]]))


def test_scales_that_make_no_sense():
    with raises(UsageError, "evaluation.invalid-value", "xvr", "iterations"):
        XvrConfig(pixels=(32,))
    with raises(UsageError, "evaluation.incomplete", "population"):
        replace(_SMALL_SCALE, population=3)
