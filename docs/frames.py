"""The drawings of docs/conventions.md, made with the library's own geometry, so that both must agree.

Run `python docs/frames.py` and look at what it wrote to docs/images before committing it.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import torch
from _frames_image import SIDES, draw_stored, radiograph, show, side
from _frames_patient import HEART, MARKER, XRAY, Array, chest_ct, solids
from _frames_scene import (
    AFTER,
    AXIS_COLORS,
    BEAM,
    BEFORE,
    FAINT,
    INK,
    SKIN,
    PlacedCamera,
    Scene,
    arrow,
    dimension,
    figure_of,
    heading,
    looking,
    note,
    panel,
    save,
)
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.patches import FancyBboxPatch
from torch import Tensor

from isoclinic.geometry import Camera, se3
from isoclinic.registration import PRESETS, views_from_angles
from isoclinic.registration.initialize import view
from isoclinic.volumes import Volume
from isoclinic.volumes._grid import RAS_FROM_LPS

_WIDTH_IN = 9.0
# Ways to look at a patient who lies on the back, so that up is anterior.
_FROM_THE_RIGHT = looking((-0.75, -0.5, 0.45), up=(0, 1, 0))
_FROM_THE_FEET = looking((0, 0, 1), up=(0, 1, 0))
_FROM_THE_LEFT = looking((1, 0, 0), up=(0, 1, 0))


def main(output_folder: str | Path) -> list[Path]:
    """Draw every picture into a folder, which must exist; returns the files."""
    ct = chest_ct()
    figures = {
        "world": _draw_world(ct),
        "camera": _draw_camera(ct),
        "views": _draw_views(ct),
        "several": _draw_several(ct),
        "pixels": _draw_pixels(),
        "stored": draw_stored(ct),
        "tangent": _draw_tangent(ct),
        "chain": _draw_chain(ct),
    }
    paths = []
    for name, figure in figures.items():
        paths.append(Path(output_folder) / f"frames-{name}.png")
        save(figure, paths[-1])
    return paths


# World


def _draw_world(ct: Volume) -> Figure:
    figure = figure_of(_WIDTH_IN, 3.1)
    frames = (
        ("RAS+", np.eye(3), "the world here, and of NIfTI"),
        ("LPS+", RAS_FROM_LPS[:3, :3], "of DICOM, ITK and the files of 3D Slicer"),
    )
    for column, (name, ras_axes, remark) in enumerate(frames):
        axes = panel(figure, (0.05 + 3.0 * column, 0.0, 2.9, 3.05), (-10, -5), 1080)
        scene = Scene(axes=axes, eye_from_world=_FROM_THE_RIGHT)
        scene.patient(solids(), HEART)
        x, y, z = (f"+{axis} {SIDES[side(ras)]}" for axis, ras in zip("xyz", ras_axes.T, strict=True))
        scene.frame(np.zeros(3), 300 * ras_axes, (x, y, z))
        heading(axes, name, remark)
    diagonal = ", ".join(f"{entry:.0f}" for entry in np.diag(RAS_FROM_LPS)).replace("-", "−")
    words = f"the same point: RAS = F @ LPS and LPS = F @ RAS with F = diag({diagonal})"
    figure.text(0.33, 0.09, words, ha="center", fontsize=8.5, color=INK)
    _draw_grid(figure, ct.downsample((16, 16, 20)))
    return figure


def _draw_grid(figure: Figure, coarse: Volume) -> None:
    axes = panel(figure, (6.05, 0.0, 2.9, 3.05), (5, 75), 870)
    scene = Scene(axes=axes, eye_from_world=_FROM_THE_RIGHT)
    affine = coarse.world_from_voxel

    def world(voxel: Any) -> Array:
        points: Array = np.asarray(voxel, dtype=np.float64) @ affine[:3, :3].T + affine[:3, 3]
        return points

    far = np.array(coarse.shape) - 0.5
    corner = np.full(3, -0.5)
    # The faces that the eye sees: i = 0 (right), j = last (front), k = 0 (feet).
    for fixed, at in ((0, corner[0]), (1, far[1]), (2, corner[2])):
        first, second = sorted({0, 1, 2} - {fixed})
        for along, across in ((first, second), (second, first)):
            for step in range(coarse.shape[across] + 1):
                ends = np.empty((2, 3))
                ends[:, fixed], ends[:, across], ends[:, along] = at, step - 0.5, (-0.5, far[along])
                scene.line(world(ends), color=FAINT, lw=0.6)
    first_voxel = np.array([[-1, -1, -1], [-1, 1, -1], [-1, 1, 1], [-1, -1, 1]]) / 2
    scene.area(world(first_voxel), color=BEAM, alpha=0.4)
    origin = np.zeros(3)
    for axis, (name, code) in enumerate(zip("ijk", coarse.orientation, strict=True)):
        tip = (far[axis] + 0.7) * np.eye(3)[axis]
        scene.arrow(world(origin), world(tip), f"{name} to {code}", color=AXIS_COLORS[axis])
    scene.dot(world(origin), ms=5)
    scene.text(world(origin), "centre of\nvoxel (0, 0, 0)", fontsize=8, offset=(26, -24))
    heading(axes, f"A CT whose axes run {coarse.orientation}", "its affine says where each voxel is")
    rows = ["  ".join(f"{entry:4.0f}" for entry in row).replace("-", "\u2212") for row in affine[:3]]
    matrix = "world_from_voxel =\n" + "\n".join(f"[{row} ]" for row in [*rows, "   0     0     0     1"])
    axes.text(0.0, 0.02, matrix, transform=axes.transAxes, family="monospace", fontsize=7.5, color=INK)


# Camera


def _draw_camera(ct: Volume) -> Figure:
    figure = figure_of(_WIDTH_IN, 5.0)
    camera_from_world = view(ct, XRAY, *PRESETS["ap"])
    image = radiograph(ct, XRAY.camera, camera_from_world)
    axes = panel(figure, (0.05, 0.0, 5.3, 4.95), (50, -98), 1440)
    _draw_c_arm_in_space(Scene(axes=axes, eye_from_world=_FROM_THE_RIGHT), camera_from_world, image)
    heading(axes, "Camera", "here in an AP view; camera_from_world takes world points to x, y, z")
    axes = panel(figure, (5.6, 0.6, 3.3, 4.35), (88, 94), 236)
    show(axes, image, camera_from_world)
    arrow(axes, (-0.5, -13), (60, -13), "u, x", color=AXIS_COLORS[0])
    arrow(axes, (-13, -0.5), (-13, 60), "v, y", color=AXIS_COLORS[1])
    heading(axes, "Its image, seen from the source", "z points into the page")
    x = PlacedCamera(XRAY.camera, camera_from_world).axes[:, 0]
    words = f"The patient's {SIDES[side(x)]} (the heart, a lead letter L)\nis on the right of the image."
    axes.text(-0.5, 212, words, fontsize=8.5, color=INK, va="top")
    return figure


def _draw_c_arm_in_space(scene: Scene, camera_from_world: Tensor, image: Array) -> None:
    placed = PlacedCamera(XRAY.camera, camera_from_world)
    source, principal, corners = placed.source, placed.principal_point, placed.image_corners
    isocentre = placed.points((0, 0, XRAY.source_isocentre_mm))
    scene.picture(image, corners[[0, 1, 3]], zorder=0.5, vmin=0)
    scene.line(corners[[0, 1, 2, 3, 0]], lw=2, zorder=0.6)
    scene.patient(solids(), HEART)
    for corner in corners:
        behind = scene.depth(corner) > scene.depth(principal)
        scene.line([source, corner], color=BEAM, lw=0.9, zorder=0.8 if behind else 3)
    scene.line([source, principal], lw=0.9, ls=(0, (6, 3, 1, 3)), zorder=3)
    scene.frame(source, 170 * placed.axes, ("x", "y", "z"), fontsize=11)
    for place, words, offset in (
        (source, "source", (-28, 6)),
        (isocentre, "isocentre", (-32, 0)),
        (principal, "principal point (cx, cy)", (0, -12)),
    ):
        scene.dot(place, zorder=6)
        scene.text(place, words, offset=offset)
    for end, words, aside_mm in ((isocentre, "source_isocentre_mm", 590), (principal, "sdd_mm", 670)):
        on_axis = scene.at([source, end])
        for x, y in on_axis:
            scene.axes.plot((x, x + aside_mm + 15), (y, y), color=FAINT, lw=0.6, ls=":", zorder=0.7)
        dimension(scene.axes, *np.add(on_axis, (aside_mm, 0)), words, rotation=90)
    scene.text(corners[0], "pixel (0, 0)", offset=(-8, -9), fontsize=8)
    scene.text(corners[2:].mean(axis=0), "detector, the plane\nz = sdd_mm", offset=(50, -12), fontsize=8)


# Standard views


def _draw_views(ct: Volume) -> Figure:
    figure = figure_of(_WIDTH_IN, 7.3)
    for column, (name, angles) in enumerate(PRESETS.items()):
        left = 0.05 + 2.24 * column
        camera_from_world = view(ct, XRAY, *angles)
        axes = panel(figure, (left, 4.75, 2.18, 2.5), (0, -110), 1540)
        scene = Scene(axes=axes, eye_from_world=_FROM_THE_FEET)
        _draw_axial(scene, ct)
        _draw_c_arm(scene, camera_from_world)
        heading(axes, name, "primary {:.0f}°, secondary {:.0f}°".format(*angles).replace("-", "−"))
        axes = panel(figure, (left, 2.65, 2.18, 2.0), (99.5, 99.5), 222)
        show(axes, radiograph(ct, XRAY.camera, camera_from_world), camera_from_world)
    axes = panel(figure, (0.05, 0, 4.4, 2.55), (0, -165), 1270)
    scene = Scene(axes=axes, eye_from_world=_FROM_THE_FEET)
    _draw_axial(scene, ct)
    _draw_arc(scene, lambda angle: view(ct, XRAY, angle, 0.0))
    heading(axes, "Primary angle", "where the detector is, seen from the feet as above")
    axes = panel(figure, (4.55, 0, 4.4, 2.55), (30, -165), 1270)
    scene = Scene(axes=axes, eye_from_world=_FROM_THE_LEFT)
    scene.patient(solids(), HEART)
    _draw_arc(scene, lambda angle: view(ct, XRAY, 0.0, angle))
    heading(axes, "Secondary angle", "where the detector is, seen from the patient's left")
    return figure


def _draw_axial(scene: Scene, ct: Volume) -> None:
    """A slice of the CT near the isocentre, and the sides of the patient around it."""
    affine, (ni, nj, nk) = ct.world_from_voxel, ct.shape
    k = nk // 2 + 4  # through a vertebra, not a disc
    edges = np.array([[-0.5, -0.5, k], [ni - 0.5, -0.5, k], [-0.5, nj - 0.5, k]])
    tissue = np.ma.masked_less(ct.hu[:, :, k].T, -900)
    scene.picture(tissue, edges @ affine[:3, :3].T + affine[:3, 3], vmin=-1000, vmax=800, zorder=1)
    for direction in (*np.eye(3)[:2], *-np.eye(3)[:2]):
        scene.text(direction * (220, 160, 0), side(direction), color=FAINT, fontsize=8)


def _draw_c_arm(scene: Scene, camera_from_world: Tensor) -> None:
    """Source, detector and the image's x in the plane of the picture."""
    placed = PlacedCamera(XRAY.camera, camera_from_world)
    source, corners, away = placed.source, placed.image_corners, 70 * placed.axes[:, 2]
    scene.area([source, corners[0], corners[1]], color=BEAM, alpha=0.25, zorder=0.5)
    scene.line(corners[:2], lw=4)
    scene.dot(source, ms=7)
    right, down = scene.at(source) - scene.at(placed.principal_point)
    scene.text(source, "source", offset=(25, 0) if abs(down) > abs(right) else (0, 11), fontsize=8)
    scene.arrow(corners[0] + away, corners[1] + away, color=AXIS_COLORS[0], lw=1.5)
    scene.text(corners[:2].mean(axis=0) + 2.1 * away, "x", color=AXIS_COLORS[0])


def _draw_arc(scene: Scene, view_at: Callable[[float], Tensor]) -> None:
    """Where the middle of the detector goes as an angle of the C-arm grows or falls from 0."""

    def middle(angle: float) -> Array:
        return PlacedCamera(XRAY.camera, view_at(angle)).principal_point

    for end, color in ((-60.0, FAINT), (60.0, AXIS_COLORS[0])):
        path = np.stack([middle(angle) for angle in np.linspace(0, end, 40)])
        scene.line(path[:-2], color=color, lw=2)
        scene.arrow(path[-3], path[-1], color=color)
        scene.line([0.95 * middle(end / 2), 1.05 * middle(end / 2)], color=color, lw=2)
        scene.text(1.18 * middle(end / 2), f"{end / 2:+.0f}°".replace("-", "−"), color=color)
        words = f"{end:+.0f}°\n{SIDES[side(path[-1] - path[0])]}".replace("-", "−")
        scene.text(path[-1], words, color=color, offset=(np.sign(scene.at(path[-1])[0]) * 32, 2))
    scene.line([np.zeros(3), middle(0.0)], color=FAINT, lw=0.8, ls="--", zorder=4)
    scene.dot(np.zeros(3), ms=4)
    scene.text(middle(0.0), f"0°: detector {SIDES[side(middle(0.0))]}", offset=(0, 13))


# Several X-rays


def _draw_several(ct: Volume) -> Figure:
    figure = figure_of(_WIDTH_IN, 3.9)
    xrays = [
        replace(XRAY, primary_angle_deg=primary, secondary_angle_deg=secondary)
        for primary, secondary in (PRESETS["ap"], PRESETS["left"])
    ]
    first = view(ct, XRAY, *PRESETS["ap"])
    view_from_first = views_from_angles(xrays)[1].view_from_first
    axes = panel(figure, (0.05, 0.0, 4.6, 3.85), (45, -210), 1750)
    scene = Scene(axes=axes, eye_from_world=_FROM_THE_FEET)
    _draw_axial(scene, ct)
    poses = {"first": first, "second": view_from_first @ first}
    for (name, pose), offset in zip(poses.items(), ((-16, 20), (0, -20)), strict=True):
        placed = PlacedCamera(XRAY.camera, pose)
        scene.area([placed.source, *placed.image_corners[:2]], color=BEAM, alpha=0.25, zorder=0.5)
        scene.line(placed.image_corners[:2], lw=4)
        scene.frame(placed.source, 150 * placed.axes[:, [0, 2]], ("x", "z"), colors=AXIS_COLORS[::2])
        scene.dot(placed.source, ms=7)
        scene.text(placed.source, f"{name}\nsource", offset=offset)
    start, end = (scene.at(PlacedCamera(XRAY.camera, pose).source) for pose in poses.values())
    bent = {"connectionstyle": "arc3,rad=0.35", "shrinkA": 14, "shrinkB": 14}
    arrow(axes, start, end, lw=1.5, **bent)
    note(axes, (start + end) / 2, "view_from_first", offset=(-50, 36))
    heading(axes, "Several X-rays", "the isocentre (dot) lies on both central rays; seen from the feet")
    point = np.array([*MARKER, 1.0])
    for column, (name, pose) in enumerate(poses.items()):
        axes = panel(figure, (4.8 + 2.12 * column, 1.15, 2.05, 2.7), (99.5, 83), 206)
        show(axes, radiograph(ct, XRAY.camera, pose), pose)
        pixel = XRAY.camera.project(torch.from_numpy(point[None, :3]), pose)[0].numpy()
        axes.plot(*pixel, "o", ms=9, mfc="none", mec=AFTER, mew=1.8)
        numbers = ", ".join(f"{entry:.0f}" for entry in (pose.numpy() @ point)[:3]).replace("-", "−")
        heading(axes, name, f"L at x = ({numbers}) mm")
    scene.dot(np.zeros(3), ms=4)
    entries = (view_from_first.numpy() + 0.0).tolist()
    rows = ["".join(f"{entry:5.0f}" for entry in row).replace("-", "−") for row in entries]
    matrix = "x_second = view_from_first @ x_first\n\n" + "\n".join(f"[{row} ]" for row in rows)
    figure.text(0.54, 0.03, matrix, family="monospace", fontsize=8, color=INK)
    return figure


# Pixels


def _draw_pixels() -> Figure:
    figure = figure_of(_WIDTH_IN, 3.7)
    camera = Camera.from_pixel_spacing(
        width=7, height=4, pixel_spacing_mm=(1.4, 1.0), sdd_mm=100.0, principal_point_px=(3.25, 1.45)
    )
    axes = panel(figure, (0.05, 0, 4.6, 3.65), (0.2, -0.29), 12.0)
    right, bottom = camera.width - 0.5, camera.height - 0.5

    def place(u: float, v: float) -> Array:
        on_detector: Array = (camera.detector_from_pixel.numpy() @ (u, v, 1))[:2]
        return on_detector

    for column in np.arange(-0.5, camera.width):
        axes.plot(*np.transpose([place(column, -0.5), place(column, bottom)]), color=FAINT, lw=0.8)
    for row in np.arange(-0.5, camera.height):
        axes.plot(*np.transpose([place(-0.5, row), place(right, row)]), color=FAINT, lw=0.8)
    for column, row in np.ndindex(camera.width, camera.height):
        axes.plot(*place(column, row), "o", ms=2.5, color=INK)
    for pixel in ((0, 0), (camera.width - 1, camera.height - 1)):
        note(axes, place(*pixel), f"{pixel}", offset=(0, 8), fontsize=8)
    for corner, offset in (((-0.5, -0.5), (-14, 9)), ((right, bottom), (14, -9))):
        axes.plot(*place(*corner), "s", ms=4.5, color=INK)
        note(
            axes, place(*corner), "({:g}, {:g})".format(*corner).replace("-", "−"), offset=offset, fontsize=8
        )
    axes.plot(*place(camera.cx, camera.cy), "P", ms=9, color=BEAM, mec=INK)
    note(axes, place(camera.cx, camera.cy), "principal point (cx, cy)", offset=(9, 0), ha="left", fontsize=8)
    arrow(axes, place(1, -0.85), place(3, -0.85), "u", color=AXIS_COLORS[0])
    arrow(axes, place(-1.0, 0.5), place(-1.0, 1.9), "v", color=AXIS_COLORS[1])
    below, beside = bottom + 0.25, right + 0.4
    dimension(axes, place(2, below), place(3, below), "column spacing", offset=(0, -9), fontsize=8)
    dimension(axes, place(beside, 1), place(beside, 2), "row\nspacing", offset=(24, 0), fontsize=8)
    heading(axes, "Pixels", "pixel_spacing_mm = (row spacing, column spacing), on the detector")
    _draw_magnification(panel(figure, (4.85, 0, 4.1, 3.65), (0, 0), 165))
    return figure


def _draw_magnification(axes: Axes) -> None:
    """One row of a detector from above: similar triangles."""
    camera = Camera.from_pixel_spacing(
        width=7, height=1, pixel_spacing_mm=(11.0, 11.0), sdd_mm=100.0, principal_point_px=(2.0, 0.0)
    )
    # Seen along +y: z runs to the right and x down the page.
    scene = Scene(axes=axes, eye_from_world=looking((0, 1, 0), up=(-1, 0, 0)))
    camera_from_world = se3.rigid(torch.eye(3).double(), torch.tensor([14.0, 0.0, 60.0]).double())
    placed = PlacedCamera(camera, camera_from_world)
    x, z = 18.0, 50.0
    point, foot = placed.points([(x, 0, z), (0, 0, z)])
    u = float(camera.project(torch.from_numpy(point[None]), camera_from_world)[0, 0])
    source, hit = placed.source, placed.detector(u, 0)
    scene.line([source, placed.principal_point], lw=0.9, ls=(0, (6, 3, 1, 3)))
    scene.line([source, hit], color=BEAM, lw=1.8)
    scene.line([placed.detector(-0.5, 0), placed.detector(camera.width - 0.5, 0)], lw=2)
    for edge in np.arange(-0.5, camera.width):
        scene.line(np.add(placed.detector(edge, 0), [(0, 0, -2), (0, 0, 2)]))
    for column in range(camera.width):
        scene.dot(placed.detector(column, 0), ms=4)
        scene.text(placed.detector(column, 0), str(column), offset=(10, 0), fontsize=8)
    scene.frame(source, 24 * placed.axes[:, [0, 2]], ("x", "z"), colors=AXIS_COLORS[::2])
    scene.dot(source, ms=7)
    scene.text(source, "source", offset=(-2, 12))
    scene.dimension(foot, point, "x", offset=(-8, 0))
    scene.dot(point, ms=6)
    scene.text(point, "(x, y, z)", offset=(2, -13))
    scene.dimension(*placed.points([(-20, 0, 0), (-20, 0, z)]), "z", offset=(0, 8))
    scene.dimension(*placed.points([(60, 0, 0), (60, 0, camera.sdd_mm)]), "sdd_mm", offset=(0, -9))
    scene.dot(hit, color=BEAM, mec=INK)
    scene.text(hit, f"u = {u:.3g}", offset=(36, 0))
    scene.text(placed.principal_point, f"cx = {camera.cx:.3g}", offset=(36, 0))
    heading(axes, "From a point to its column", "u = fx x / z + cx  with  fx = sdd_mm / column spacing")


# Tangent

_MOTIONS = (
    (0.35, "about the image's horizontal axis"),
    (0.35, "about the image's vertical axis"),
    (0.35, "in the image plane, clockwise"),
    (50.0, "to the right of the image"),
    (50.0, "down the image"),
    (150.0, "in depth, away from the source"),
)
_CUBOID_MM = np.array([120.0, 80.0, 165.0])
_WIDE = XRAY.camera.pad(top=24, bottom=24, left=24, right=24)


def _draw_tangent(ct: Volume) -> Figure:
    figure = figure_of(_WIDTH_IN, 5.7)
    cells = [(0.06 + 2.24 * column, 0.06 + 2.87 * (1 - row), 2.16, 2.7) for row, column in np.ndindex(2, 4)]
    centre, width = ((_WIDE.width - 1) / 2, (_WIDE.height - 1) / 2 - 28), _WIDE.width
    before = view(ct, XRAY, *PRESETS["ap"])
    axes = panel(figure, cells[0], centre, width)
    show(axes, radiograph(ct, _WIDE, before), before)
    _draw_cuboid(axes, ct, before, color=BEFORE)
    heading(axes, "Before", "an AP view")
    _explain_tangent(panel(figure, cells[4], (0, 0), 10))
    for element, (amount, words) in enumerate(_MOTIONS):
        tangent = torch.zeros(6, dtype=torch.float64)
        tangent[element] = amount
        after = se3.perturb(before, tangent, torch.from_numpy(ct.isocentre_world))
        axes = panel(figure, [*cells[1:4], *cells[5:]][element], centre, width)
        show(axes, radiograph(ct, _WIDE, after))
        corners_before = _draw_cuboid(axes, ct, before, color=BEFORE, ls="--")
        corners_after = _draw_cuboid(axes, ct, after, color=AFTER)
        for start, end in zip(corners_before[:4], corners_after[:4], strict=True):
            arrow(axes, start, end, color=AFTER, lw=1.2)
        size = f"{amount:+g} mm" if element > 2 else f"{amount:+g} rad ({np.rad2deg(amount):.0f}°)"
        heading(axes, f"{element}:  {size}", words)
    return figure


def _explain_tangent(axes: Axes) -> None:
    """What the lines of the other panels are, and the camera's axes as the image shows them."""
    for height, words, style in (
        (-3.6, "before", {"color": BEFORE, "ls": "--"}),
        (-2.7, "after", {"color": AFTER}),
    ):
        axes.plot((-4.8, -3.4), (height, height), lw=2, **style)
        note(axes, (-3.1, height), words, ha="left")
    note(axes, (-4.8, -1.5), "thick: the face of the box\ntowards the source", ha="left", fontsize=8.5)
    x, y = corner = (-3.2, 1.4)
    arrow(axes, corner, (x + 2.4, y), "x  (0, 3)", color=AXIS_COLORS[0])
    arrow(axes, corner, (x, y + 2.4), "y  (1, 4)", color=AXIS_COLORS[1])
    axes.plot(*corner, "o", ms=10, mfc="white", mec=AXIS_COLORS[2], mew=1.8, zorder=6)
    axes.plot(*corner, "x", ms=6, mec=AXIS_COLORS[2], mew=1.8, zorder=7)
    note(axes, corner, "z  (2, 5)\ninto the page", offset=(44, -30), color=AXIS_COLORS[2])


def _draw_cuboid(axes: Axes, ct: Volume, camera_from_world: Tensor, **style: Any) -> Array:
    """The image [8, 2] of a cuboid about the isocentre, its front face first and drawn thick."""
    x, y, z = _CUBOID_MM
    front = np.array([(x, y, z), (-x, y, z), (-x, y, -z), (x, y, -z)])
    corners = np.concatenate([front, front * (1, -1, 1)]) + ct.isocentre_world
    on_image: Array = _WIDE.project(torch.from_numpy(corners), camera_from_world).numpy()
    for face, width in ((on_image[:4], 2.0), (on_image[4:], 0.8)):
        axes.plot(*np.concatenate([face, face[:1]]).T, lw=width, **style)
    for edge in zip(on_image[:4], on_image[4:], strict=True):
        axes.plot(*np.transpose(edge), lw=0.8, **style)
    return on_image


# Chain of transforms


def _draw_chain(ct: Volume) -> Figure:
    height = 3.0
    figure = figure_of(_WIDTH_IN, height)
    axes = panel(figure, (0, 0, _WIDTH_IN, height), (_WIDTH_IN / 2, height / 2), _WIDTH_IN)
    camera_from_world = view(ct, XRAY, *PRESETS["ap"])
    voxel = np.rint(np.linalg.inv(ct.world_from_voxel) @ [*MARKER, 1])
    world = ct.world_from_voxel @ voxel
    camera = camera_from_world.numpy() @ world
    pixel = XRAY.camera.project(torch.from_numpy(world[None, :3]), camera_from_world)[0].numpy()
    boxes = (
        ("voxel", "(i, j, k)", f"runs {ct.orientation}", voxel[:3], 0),
        ("world", "(x, y, z) mm", "RAS+", world[:3], 0),
        ("camera", "(x, y, z) mm", "from the source", camera[:3], 0),
        ("pixel", "(u, v) px", "column, row", pixel, 1),
    )
    middles, y, half = np.linspace(0.75, _WIDTH_IN - 0.75, len(boxes)), 1.4, 0.58
    for x, (name, coordinates, remark, example, decimals) in zip(middles, boxes, strict=True):
        _draw_box(axes, (x, y), (2 * half, 0.86))
        note(axes, (x, y - 0.24), name, weight="bold", fontsize=10, bbox=None)
        note(axes, (x, y + 0.02), coordinates, bbox=None)
        note(axes, (x, y + 0.26), remark, bbox=None, fontsize=8, color=FAINT)
        numbers = ", ".join(f"{entry:.{decimals}f}" for entry in example).replace("-", "−")
        note(axes, (x, y + 0.72), f"e.g. ({numbers})", fontsize=9, color=AXIS_COLORS[2])
    for left, right, forward, back in zip(
        middles[:-1] + half + 0.05,
        middles[1:] - half - 0.05,
        ("world_from_voxel", "camera_from_world", "K, then divide by z"),
        ("voxel_from_world", "world_from_camera", "detector_from_pixel"),
        strict=True,
    ):
        arrow(axes, (left, y - 0.12), (right, y - 0.12))
        note(axes, ((left + right) / 2, y - 0.29), forward)
        arrow(axes, (right, y + 0.14), (left, y + 0.14), color=FAINT, lw=1.2)
        note(axes, ((left + right) / 2, y + 0.31), back, fontsize=8, color=FAINT)
    _draw_box(axes, (middles[1], 0.3), (2.4, 0.34))
    note(axes, (middles[1], 0.3), "world of DICOM and ITK: LPS+ mm", fontsize=8, bbox=None)
    dimension(axes, (middles[1], 0.5), (middles[1], y - 0.46), "F", offset=(9, 0))
    formula = "(u, v, 1)  ∝  K @ (camera_from_world @ world_from_voxel @ (i, j, k, 1))[:3]"
    axes.text(
        _WIDTH_IN / 2, 2.65, formula, family="monospace", fontsize=9, color=INK, ha="center", va="center"
    )
    return figure


def _draw_box(axes: Axes, centre: tuple[float, float], size: tuple[float, float]) -> None:
    corner = np.asarray(centre) - np.asarray(size) / 2
    axes.add_patch(
        FancyBboxPatch(corner, *size, boxstyle="round,pad=0,rounding_size=0.08", fc=SKIN, ec=FAINT)
    )


if __name__ == "__main__":
    for written in main(Path(__file__).parent / "images"):
        print(written)
