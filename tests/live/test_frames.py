"""Renderings that follow the hand: what they show, and that stale ones are not made."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from numpy.typing import NDArray

from isoclinic import RenderConfig, Volume, XRay, render
from isoclinic.live.frames import FrameRenderer
from isoclinic.live.scene import SceneView
from isoclinic.viewer import edge_overlay
from isoclinic.volumes import PreprocessConfig

from .conftest import Served


def tones(image: NDArray[np.floating]) -> NDArray[np.floating]:
    """From black at the first percentile to white at the 99th."""
    low, high = np.percentile(image, (1, 99))
    return np.clip((image - low) / (high - low), 0, 1)


@pytest.mark.parametrize("pixels", [128, 64, 33])
@pytest.mark.parametrize("material", ["all", "bone"])
def test_a_frame_is_the_ct_at_the_pose(files, pixels, material):
    """Against the renderer at full resolution: what is averaged away is a hundredth of the tones.

    Of renderings that follow the hand, with voxels larger than a pixel, it is some hundredths.
    """
    volume, xray = Volume.read(files.ct), XRay.read(files.xray)
    renderer = FrameRenderer(volume, (SceneView.of(xray, PreprocessConfig()),), moving_px=64)
    pose = files.camera_from_world
    frame = renderer.render(0, pose, pixels, material)
    camera = xray.camera.resize(height=pixels, width=pixels)
    config = RenderConfig(voxel_mm="full", method="trilinear", material=material)
    expected = tones(render(volume, camera, pose, config)[0].numpy())
    assert frame.image.shape == (pixels, pixels)
    assert np.abs(frame.image / 255 - expected).mean() < (0.01 if pixels > 64 else 0.03)
    outlined = edge_overlay(np.zeros(expected.shape), frame.image / 255, np.ones(expected.shape, bool))
    marked = outlined.any(axis=-1)
    assert (marked == (frame.edges > 0)).mean() > 0.98  # tones of 8 bits move some edges by a pixel


def test_only_the_newest_of_a_browser_is_wanted(files):
    view = SceneView.of(XRay.read(files.xray), PreprocessConfig())
    renderer = FrameRenderer(Volume.read(files.ct), (view, view))
    assert renderer.wanted("a", 0, 1) and renderer.wanted("a", 0, 3)
    assert not renderer.wanted("a", 0, 2) and renderer.wanted("a", 0, 3)
    # Another browser and another X-ray count by themselves.
    assert renderer.wanted("b", 0, 1) and renderer.wanted("a", 1, 1)


def test_the_server_sends_tones_edges_and_sides(served: Served, files):
    pose = files.camera_from_world.tolist()
    asked = {"view": 0, "pose": pose, "pixels": 96, "browser": "a", "number": 5}
    answer = served.ask("frame", asked)
    assert (answer.headers["x-width"], answer.headers["x-height"]) == ("96", "96")
    assert answer.headers["x-sides"] == "R,L,H,F"
    image, drawn = np.frombuffer(answer.content, np.uint8).reshape(2, 96, 96)
    assert np.ptp(image) > 200 and set(np.unique(drawn)) == {0, 255}
    assert served.ask("frame", {**asked, "number": 4}).status == 204


@pytest.mark.parametrize(
    "change",
    [
        {"view": 1},
        {"view": -1},
        {"pixels": 100_000},
        {"pixels": 2},
        {"pose": [[1, 0], [0, 1]]},
        {"pose": None},
        {"number": "x"},
        {"view": 0.5, "pixels": float("inf")},
    ],
)
def test_a_frame_that_cannot_be_is_refused(served: Served, files, change):
    asked = {"view": 0, "pose": files.camera_from_world.tolist(), "pixels": 96, "browser": "a", "number": 1}
    answer = served.ask("frame", asked | change)
    assert answer.status == 422 and answer.document["code"]


def test_a_ct_beside_the_beam_is_black(served: Served):
    pose = np.array(served.state["pose"])
    pose[0, 3] += 5000
    answer = served.ask(
        "frame", {"view": 0, "pose": pose.tolist(), "pixels": 64, "browser": "a", "number": 1}
    )
    assert answer.status == 200 and not any(answer.content)


def test_bones_alone_are_rendered_where_they_are_registered_as_one(serve, files):
    served = serve(files.ct, files.xray, "--init", files.init, "--labels", files.labels)
    pose = served.state["pose"]
    asked = {"view": 0, "pose": pose, "pixels": 64, "browser": "a", "number": 1}
    whole = served.ask("frame", asked).content
    served.change("bones", mode="as-one", bones=["bone"])
    bones = served.ask("frame", {**asked, "number": 2}).content
    served.change("bones", mode="each", bones=["bone"])
    each = served.ask("frame", {**asked, "number": 3}).content
    assert bones != whole and each == whole
    volume = Volume.read(files.ct, labels=files.labels)
    camera = XRay.read(files.xray).camera
    config = RenderConfig(structures=("bone",), method="trilinear")
    expected = tones(render(volume, camera, torch.tensor(pose, dtype=torch.float64), config)[0].numpy())
    shown = np.frombuffer(bones, np.uint8)[: 64 * 64].reshape(64, 64) / 255
    assert np.abs(shown - expected).mean() < 0.01
