"""CT and X-ray together: does the X-ray see the CT from where a registration would start?"""

from __future__ import annotations

from collections.abc import Iterator, Sequence

import numpy as np
import torch
from numpy.typing import NDArray

from ..errors import InputError
from ..registration import InitialPose
from ..registration._inputs import identity_findings
from ..registration.initialize import initial_pose
from ..volumes import Finding, Volume, XRay
from .records import InspectedValue, Inspection

# Patient directions in RAS by their DICOM letters, and in words.
_DIRECTIONS = {
    **{"R": (1, 0, 0), "L": (-1, 0, 0), "A": (0, 1, 0)},
    **{"P": (0, -1, 0), "H": (0, 0, 1), "F": (0, 0, -1)},
}
_WORDS = {"R": "right", "L": "left", "A": "front", "P": "back", "H": "head", "F": "feet"}
_LITTLE_SEEN = 0.1
# Field of view at the isocentre over the size of the CT.
_FIELD_OVER_CT = (0.08, 4.0)
_GRID = 9
# Cosine between directions that are the same but for an oblique view.
_TURNED = 0.7


def inspect_view(
    volume: Volume, xray: XRay, start: InitialPose, patient_orientation: Sequence[str] | None = None
) -> Inspection:
    """Return the readings of how the X-ray sees the CT from a starting pose.

    Args:
        volume: the CT.
        xray: the X-ray.
        start: the pose at which a registration would start.
        patient_orientation: DICOM's directions of the rows and of the columns of these pixels, where the file
            gives them, such as ("L", "F").
    """
    pose = start.camera_from_world.numpy()
    depth_mm = float((pose @ np.append(volume.isocentre_world, 1.0))[2])
    seen = _share_in_image(volume, xray, start)
    readings = [
        InspectedValue(name="start", value=start.source, source="`init`"),
        InspectedValue(
            name="isocentre",
            value=_rounded(volume.isocentre_world),
            unit="mm",
            frame="world, RAS",
            source="centre of the CT",
        ),
        InspectedValue(name="depth", value=round(depth_mm, 2), unit="mm", frame="source to the CT's centre"),
        InspectedValue(
            name="image right", value=_towards(pose[0, :3]), frame="patient direction", source="the start"
        ),
        InspectedValue(
            name="image down", value=_towards(pose[1, :3]), frame="patient direction", source="the start"
        ),
        InspectedValue(
            name="CT in the image", value=round(100 * seen, 1), unit="%", source="of the CT's box"
        ),
    ]
    findings = [
        *_unseen(volume, xray, start, seen),
        *_out_of_reach(volume, xray, pose),
        *_other_orientation(patient_orientation, pose, xray.turned_deg),
        *identity_findings(volume, [xray]),
    ]
    if depth_mm > 0:
        camera = xray.camera
        row_mm, column_mm = camera.pixel_spacing_mm
        magnification = camera.sdd_mm / depth_mm
        field_mm = np.array([camera.width * column_mm, camera.height * row_mm]) / magnification
        at_centre = "at the CT's centre"
        readings += [
            InspectedValue(name="magnification", value=round(magnification, 3), frame=at_centre),
            InspectedValue(
                name="field of view", value=_rounded(field_mm), unit="mm (width, height)", frame=at_centre
            ),
        ]
        findings += _odd_scale(volume, field_mm)
    return Inspection(readings=tuple(readings), findings=tuple(findings))


def _finding(message: str, remedy: str) -> Finding:
    return Finding(level="warning", subject="view", message=message, remedy=remedy)


def _rounded(values: NDArray[np.float64]) -> tuple[float, ...]:
    return tuple(round(float(value), 2) for value in values)


def _towards(direction: NDArray[np.float64]) -> str:
    """The patient direction nearest to a unit vector, and how far it is off."""
    letter = max(_DIRECTIONS, key=lambda name: float(np.dot(_DIRECTIONS[name], direction)))
    off_deg = np.degrees(np.arccos(np.clip(np.dot(_DIRECTIONS[letter], direction), -1, 1)))
    return f"{_WORDS[letter]}, {off_deg:.0f} deg off" if off_deg >= 0.5 else _WORDS[letter]


def _points(volume: Volume) -> NDArray[np.float64]:
    """A regular grid over the CT's box, its corners included, world [N, 3]."""
    steps = [np.linspace(-0.5, count - 0.5, _GRID) for count in volume.shape]
    voxels = np.stack(np.meshgrid(*steps, indexing="ij"), axis=-1).reshape(-1, 3)
    points: NDArray[np.float64] = voxels @ volume.world_from_voxel[:3, :3].T + volume.world_from_voxel[:3, 3]
    return points


def _share_in_image(volume: Volume, xray: XRay, start: InitialPose) -> float:
    pixels = xray.camera.project(torch.from_numpy(_points(volume)), start.camera_from_world).numpy()
    limits = np.array([xray.camera.width, xray.camera.height]) - 0.5
    return float(((pixels >= -0.5) & (pixels <= limits)).all(axis=1).mean())


def _unseen(volume: Volume, xray: XRay, start: InitialPose, seen: float) -> Iterator[Finding]:
    try:
        initial_pose(volume, xray, start.camera_from_world)
    except InputError:
        yield Finding(
            level="error",
            subject="view",
            message=f"from the start ({start.source}) the X-ray does not see the CT: no part of it projects "
            "onto the image",
            remedy="`init`, `principal_point_px`, `source_isocentre_mm`",
        )
        return
    if seen < _LITTLE_SEEN:
        yield _finding(
            f"from the start ({start.source}) only {100 * seen:.1f} % of the CT lies in the image",
            "`init`, or a CT cropped to the region of interest",
        )


def _out_of_reach(volume: Volume, xray: XRay, pose: NDArray[np.float64]) -> Iterator[Finding]:
    depths_mm = _points(volume) @ pose[2, :3] + pose[2, 3]
    nearest, farthest = float(depths_mm.min()), float(depths_mm.max())
    if nearest <= 0:
        yield _finding(
            f"the CT reaches {-nearest:.0f} mm behind the X-ray source",
            "`source_isocentre_mm`, `sdd_mm`, `init`",
        )
    if farthest > xray.camera.sdd_mm:
        yield _finding(
            f"the CT reaches {farthest - xray.camera.sdd_mm:.0f} mm beyond the detector",
            "`source_isocentre_mm`, `sdd_mm`, `init`",
        )
    camera = xray.camera
    centre = np.array([(camera.width - 1) / 2, (camera.height - 1) / 2, 1.0])
    ray = camera.detector_from_pixel.numpy() @ centre
    on_ray = np.linspace(0, 1, 500)[:, None] * ray
    voxel_from_camera = np.linalg.inv(pose @ volume.world_from_voxel)
    voxels = on_ray @ voxel_from_camera[:3, :3].T + voxel_from_camera[:3, 3]
    if not ((voxels >= -0.5) & (voxels <= np.array(volume.shape) - 0.5)).all(axis=1).any():
        yield _finding(
            "the ray through the middle of the image misses the CT: the isocentre lies outside of the volume",
            "`init` with a pose nearer to the truth, `principal_point_px`",
        )


def _odd_scale(volume: Volume, field_mm: NDArray[np.float64]) -> Iterator[Finding]:
    ratio = float(field_mm.max() / (volume.spacing_mm * volume.shape).max())
    if not _FIELD_OVER_CT[0] <= ratio <= _FIELD_OVER_CT[1]:
        yield _finding(
            f"the X-ray's field of view, {field_mm[0]:.4g} x {field_mm[1]:.4g} mm at the CT's centre, is "
            f"{ratio:.2g} times the size of the CT: one of them is in another unit",
            "`pixel_spacing_mm`, `sdd_mm`, or the CT's spacing",
        )


def _other_orientation(
    letters: Sequence[str] | None, pose: NDArray[np.float64], turned_deg: int
) -> Iterator[Finding]:
    """Directions stated by the file that point elsewhere than those of the starting view."""
    if letters is None or len(letters) != 2:
        return
    right, down = (_DIRECTIONS.get(letter[:1]) for letter in letters)
    towards_down = 0.0 if right is None else float(np.dot(right, pose[1, :3]))
    if abs(towards_down) > _TURNED:
        by = (turned_deg + (90 if towards_down > 0 else 270)) % 360
        yield _finding(
            f"PatientOrientation says that the image runs left to right towards {_WORDS[letters[0][0]]}, but "
            "from the start that is up or down: the image is turned by 90 deg",
            f"`turn` {by}, or `init` with a pose that is turned alike",
        )
        return
    against = [
        (axis, letter, option, _towards(pose[row, :3]))
        for row, letter, stated, axis, option in (
            (0, letters[0], right, "left to right", "`flip_left_right`"),
            (1, letters[1], down, "top to bottom", "`flip_top_bottom`"),
        )
        if stated is not None and float(np.dot(stated, pose[row, :3])) < -0.5
    ]
    for axis, letter, option, there in against:
        turn = f"`turn` {(turned_deg + 180) % 360}" if len(against) == 2 else option
        state = "turned upside down" if len(against) == 2 else "mirrored"
        yield _finding(
            f"PatientOrientation says that the image runs {axis} towards {_WORDS[letter[0]]}, but from "
            f"the start towards {there}",
            f"{turn} if the image is {state}, else another `init`",
        )
