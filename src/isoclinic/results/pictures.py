"""Pictures of a registration: X-ray and CT at its start and its result, and how it got there."""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from torch import Tensor

from ..geometry import Camera, PatientSides, se3
from ..registration import Confidence, RegistrationConfig, RegistrationResult
from ..rendering import RenderConfig, render
from ..viewer import ConvergenceStage, write_convergence, write_overlay
from ..volumes import Material, Volume, XRay, line_integrals
from .names import CONVERGENCE, OVERLAY, numbered

# Longer side of the X-ray in a picture [px]; larger ones are averaged down.
_PICTURE_PX = 640
# Share of a rendering's attenuation below which its bone is taken for noise: an implant, a phantom.
_LEAST_BONE = 0.02


@dataclass(frozen=True, kw_only=True, eq=False)
class ViewPictures:
    """One X-ray beside the CT rendered at the start and at the result; all images are bright where dense.

    Attributes:
        xray: averaged down to the size of a picture, with the camera of all images.
        image: [H, W] float32, the X-ray as line integrals.
        weight: [H, W] float32 in 0..1; 0 on pixels that do not count.
        camera_from_world: [4, 4] float64, the result, world RAS in mm.
        start_camera_from_world: [4, 4] float64, where the registration started.
        result: [H, W] float32, all tissue rendered at the result.
        start: [H, W] float32, the same at the start.
        result_bone: [H, W] float32, bone alone rendered at the result; all tissue of a CT without bone.
        start_bone: [H, W] float32, the same at the start.
    """

    xray: XRay
    image: NDArray[np.float32]
    weight: NDArray[np.float32]
    camera_from_world: Tensor
    start_camera_from_world: Tensor
    result: NDArray[np.float32]
    start: NDArray[np.float32]
    result_bone: NDArray[np.float32]
    start_bone: NDArray[np.float32]

    @property
    def camera(self) -> Camera:
        """The camera of all images."""
        return self.xray.camera

    @property
    def sides(self) -> PatientSides:
        """The patient's sides at the borders of the picture at the result."""
        return PatientSides.of(self.camera, self.camera_from_world)

    @property
    def start_sides(self) -> PatientSides:
        """The patient's sides at the borders of the picture at the start."""
        return PatientSides.of(self.camera, self.start_camera_from_world)


def picture_of(xray: XRay) -> XRay:
    """The X-ray averaged down to the size of a picture, 640 pixels along its longer side at most."""
    factor = math.ceil(max(xray.camera.width, xray.camera.height) / _PICTURE_PX)
    return xray.bin(factor) if factor > 1 else xray


def drr(
    volume: Volume,
    camera: Camera,
    camera_from_world: Tensor,
    config: RegistrationConfig,
    material: Material = "all",
) -> NDArray[np.float32]:
    """The CT rendered as a registration compares it with the X-ray.

    Args:
        volume: the CT.
        camera: the camera of the picture.
        camera_from_world: [4, 4] pose, world RAS in mm.
        config: settings of the registration: its structures and its backend.
        material: all of the attenuation, or bone alone.

    Returns:
        [H, W] float32 line integrals.
    """
    rendering = RenderConfig(structures=config.structures, backend=config.backend, material=material)
    image: NDArray[np.float32] = render(volume, camera, camera_from_world, rendering)[0].cpu().numpy()
    return image


def view_pictures(
    volume: Volume, result: RegistrationResult, xrays: Sequence[XRay], config: RegistrationConfig
) -> Iterator[ViewPictures]:
    """The pictures of every X-ray.

    Args:
        volume: the CT.
        result: result of the registration.
        xrays: its V X-rays.
        config: settings of the registration.
    """
    for each in pictures_in_steps(volume, result, xrays, config):
        if each is not None:
            yield each


def pictures_in_steps(
    volume: Volume, result: RegistrationResult, xrays: Sequence[XRay], config: RegistrationConfig
) -> Iterator[ViewPictures | None]:
    """The same, with None after each rendering, for programs that have something more urgent to do.

    Args:
        volume: as for `view_pictures`.
        result: as for `view_pictures`.
        xrays: as for `view_pictures`.
        config: as for `view_pictures`.
    """
    for index, xray in enumerate(xrays):
        picture = picture_of(xray.recalibrated(result.cameras[index]))
        image, weight = line_integrals(picture, config.preprocess)
        pose = result.cameras_from_world[index]
        start = pose @ se3.inverse(result.camera_from_world) @ result.initial.camera_from_world
        rendered, bones = [], []
        for each in (pose, start):
            rendered.append(drr(volume, picture.camera, each, config))
            yield None
            bones.append(bone_of(volume, picture.camera, each, config, rendered[-1]))
            yield None
        yield ViewPictures(
            xray=picture,
            image=image,
            weight=weight,
            camera_from_world=pose,
            start_camera_from_world=start,
            result=rendered[0],
            start=rendered[1],
            result_bone=bones[0],
            start_bone=bones[1],
        )


def write_overlays(folder: Path, pictures: Sequence[ViewPictures], result: RegistrationResult) -> None:
    """Write the overlay of every X-ray: `overlay.png`, and `overlay-2.png` and so on of further ones.

    Raises:
        InputError: a file cannot be written.
    """
    caption = f"{result.status}, {expected_error_text(result)}, start: {result.initial.source}"
    for index, view in enumerate(pictures):
        write_overlay(
            folder / numbered(OVERLAY, index),
            xray=view.image,
            drr=view.result,
            bones=view.result_bone,
            start_bones=view.start_bone,
            camera=view.camera,
            weight=view.weight,
            sides=view.sides,
            caption=caption,
        )


def write_course(
    folder: Path, result: RegistrationResult, errors_mm: Sequence[Sequence[float]] | None = None
) -> None:
    """Write `convergence.png`: the cost and, where the truth is known, the error at every iteration.

    Args:
        folder: the folder to write to.
        result: result of the registration.
        errors_mm: mTRE of the poses of every stage's `course` [mm].

    Raises:
        InputError: the file cannot be written.
    """
    write_convergence(folder / CONVERGENCE, convergence_stages(result, errors_mm))


def convergence_stages(
    result: RegistrationResult, errors_mm: Sequence[Sequence[float]] | None = None
) -> list[ConvergenceStage]:
    """The course of the best start of every stage, for a drawing."""
    stages = []
    for index, stage in enumerate(result.trace):
        cost = stage.solution.trace.cost[: int(stage.solution.steps[stage.best]) + 1, stage.best].numpy()
        error_mm = None if errors_mm is None else errors_mm[index]
        stages.append(ConvergenceStage(name=f"{index + 1}: {stage.name}", cost=cost, error_mm=error_mm))
    return stages


def expected_error_text(result: RegistrationResult) -> str:
    """The expected error in a few words."""
    confidence = result.confidence
    error_mm = confidence.stated_error_mm
    if error_mm is None:
        return "expected error unknown"
    if confidence.geometry is None:
        return f"expected error {error_mm:.2f} mm"
    return f"expected error {error_mm:.2f} mm ({error_parts(confidence)})"


def error_parts(confidence: Confidence) -> str:
    """The expected error across the beam and in depth in a few words; empty where it is unknown."""
    by_axis_mm = confidence.stated_error_by_axis_mm
    if by_axis_mm is None:
        return ""
    return f"{confidence.expected_error_across_mm:.2f} mm across the beam, {by_axis_mm[2]:.2f} mm in depth"


def bone_of(
    volume: Volume,
    camera: Camera,
    camera_from_world: Tensor,
    config: RegistrationConfig,
    tissue: NDArray[np.float32],
) -> NDArray[np.float32]:
    """Bone alone, or all tissue where there is hardly any: its edges would be those of noise."""
    bone = drr(volume, camera, camera_from_world, config, "bone")
    return bone if bone.sum() > _LEAST_BONE * tissue.sum() else tissue
