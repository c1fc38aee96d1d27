"""The pinhole camera of an X-ray: intrinsics in pixels, detector at z = SDD, source at the origin."""

from __future__ import annotations

import math
from dataclasses import dataclass, replace

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from ..errors import InputError, UsageError


@dataclass(frozen=True, kw_only=True)
class Camera:
    """Intrinsics of one X-ray image (Hartley & Zisserman 2004, section 6.1).

    The camera frame has x to the right and y down the image, z from the source to the detector; the
    source is the origin and the detector is the plane z = `sdd_mm`. Pixel centres lie at integers:
    (u, v) = (0, 0) is the centre of the top left pixel.

    Attributes:
        width: columns [px].
        height: rows [px].
        fx: SDD over the column spacing [px]; negative for an image mirrored left to right.
        fy: SDD over the row spacing [px]; negative for an image mirrored top to bottom.
        cx: column of the principal point [px].
        cy: row of the principal point [px].
        sdd_mm: distance from the source to the detector [mm].

    Raises:
        InputError: a size below one pixel, a zero or non-finite focal length, or an SDD that is not positive.
    """

    width: int
    height: int
    fx: float
    fy: float
    cx: float
    cy: float
    sdd_mm: float

    def __post_init__(self) -> None:
        for name in ("width", "height"):
            value = getattr(self, name)
            if int(value) != value or value < 1:
                raise InputError(
                    f"camera {name} must be a whole number of pixels, at least 1, not {value}",
                    code="geometry.invalid-value",
                )
        for name in ("fx", "fy", "cx", "cy", "sdd_mm"):
            if not math.isfinite(getattr(self, name)):
                raise InputError(
                    f"camera {name} must be finite, not {getattr(self, name)}", code="geometry.not-finite"
                )
        if self.fx == 0 or self.fy == 0:
            raise InputError(
                "camera fx and fy must not be zero: fx = sdd_mm / column spacing in mm",
                code="geometry.invalid-value",
            )
        if self.sdd_mm <= 0:
            raise InputError(
                f"camera sdd_mm (source-detector distance) must be positive, not {self.sdd_mm}",
                code="geometry.invalid-value",
            )

    @classmethod
    def from_pixel_spacing(
        cls,
        *,
        width: int,
        height: int,
        pixel_spacing_mm: tuple[float, float],
        sdd_mm: float,
        principal_point_px: tuple[float, float] | None = None,
    ) -> Camera:
        """Camera of a detector with pixels of (row, column) spacing [mm].

        Args:
            principal_point_px: (cx, cy) [px]; the image centre when omitted.

        Raises:
            InputError: a spacing that is zero, negative or not finite, or as for the constructor.
        """
        row_mm, column_mm = pixel_spacing_mm
        if not (math.isfinite(row_mm) and math.isfinite(column_mm) and row_mm > 0 and column_mm > 0):
            raise InputError(
                f"pixel_spacing_mm must be two positive numbers (row, column), not {pixel_spacing_mm}",
                code="geometry.invalid-value",
            )
        cx, cy = principal_point_px or ((width - 1) / 2, (height - 1) / 2)
        return cls(
            width=width, height=height, fx=sdd_mm / column_mm, fy=sdd_mm / row_mm, cx=cx, cy=cy, sdd_mm=sdd_mm
        )

    @property
    def pixel_spacing_mm(self) -> tuple[float, float]:
        """(row, column) spacing of the detector's pixels [mm]."""
        return self.sdd_mm / abs(self.fy), self.sdd_mm / abs(self.fx)

    @property
    def matrix(self) -> Tensor:
        """K [3, 3], float64: homogeneous pixel = K @ point in the camera frame."""
        return torch.tensor(
            [[self.fx, 0.0, self.cx], [0.0, self.fy, self.cy], [0.0, 0.0, 1.0]], dtype=torch.float64
        )

    @property
    def detector_from_pixel(self) -> Tensor:
        """[3, 3], float64: (u, v, 1) [px] to the pixel's centre on the detector, camera frame [mm]."""
        return torch.tensor(
            [
                [self.sdd_mm / self.fx, 0.0, -self.cx * self.sdd_mm / self.fx],
                [0.0, self.sdd_mm / self.fy, -self.cy * self.sdd_mm / self.fy],
                [0.0, 0.0, self.sdd_mm],
            ],
            dtype=torch.float64,
        )

    def crop(self, *, top: int, left: int, height: int, width: int) -> Camera:
        """Camera of the window of `height` x `width` pixels whose top left pixel is (left, top).

        A window that reaches beyond the image is a padded one: negative `top` or `left` are allowed.
        """
        return replace(self, width=width, height=height, cx=self.cx - left, cy=self.cy - top)

    def pad(self, *, top: int = 0, bottom: int = 0, left: int = 0, right: int = 0) -> Camera:
        """Camera of the image with that many pixels added on each side."""
        return self.crop(
            top=-top, left=-left, height=self.height + top + bottom, width=self.width + left + right
        )

    def resize(self, *, height: int, width: int) -> Camera:
        """Camera of the same field of view sampled with `height` x `width` pixels.

        Pixel edges, not centres, are kept: u' = (u + 1/2) width' / width - 1/2.
        """
        along_u, along_v = width / self.width, height / self.height
        return replace(
            self,
            width=width,
            height=height,
            fx=self.fx * along_u,
            fy=self.fy * along_v,
            cx=(self.cx + 0.5) * along_u - 0.5,
            cy=(self.cy + 0.5) * along_v - 0.5,
        )

    def bin(self, factor: int) -> Camera:
        """Camera of the image averaged over blocks of `factor` x `factor` pixels; a remainder is dropped.

        Raises:
            InputError: a factor below one or larger than the image.
        """
        if factor < 1 or factor > min(self.width, self.height):
            raise InputError(
                f"bin factor must lie between 1 and {min(self.width, self.height)}, not {factor}",
                code="geometry.invalid-value",
            )
        height, width = self.height // factor, self.width // factor
        kept = self.crop(top=0, left=0, height=height * factor, width=width * factor)
        return kept.resize(height=height, width=width)

    def flip(self, *, left_right: bool = False, top_bottom: bool = False) -> Camera:
        """Camera of the mirrored image: the focal length of a mirrored axis changes sign."""
        camera = self
        if left_right:
            camera = replace(camera, fx=-camera.fx, cx=camera.width - 1 - camera.cx)
        if top_bottom:
            camera = replace(camera, fy=-camera.fy, cy=camera.height - 1 - camera.cy)
        return camera

    def turn(self, degrees: int) -> Camera:
        """Camera of the image turned clockwise, as displayed, by a multiple of 90 degrees.

        Its frame turns along: a point of this camera's frame lies at `roll(degrees)` times it in the new one.

        Raises:
            UsageError: another angle.
        """
        camera = self
        for _ in range(quarter_turns(degrees)):
            camera = replace(
                camera,
                width=camera.height,
                height=camera.width,
                fx=camera.fy,
                fy=camera.fx,
                cx=camera.height - 1 - camera.cy,
                cy=camera.cx,
            )
        return camera

    def rays(self) -> Tensor:
        """Vectors from the source to every pixel centre, camera frame [mm], [height, width, 3], float64."""
        rows = torch.arange(self.height, dtype=torch.float64)
        columns = torch.arange(self.width, dtype=torch.float64)
        v, u = torch.meshgrid(rows, columns, indexing="ij")
        return torch.stack([u, v, torch.ones_like(u)], dim=-1) @ self.detector_from_pixel.T

    def project(self, points_world: Tensor, camera_from_world: Tensor) -> Tensor:
        """Pixel coordinates (u, v) of world points.

        Args:
            points_world: [..., N, 3] [mm].
            camera_from_world: [..., 4, 4].

        Returns:
            [..., N, 2] [px]; NaN for points on or behind the plane of the source, which no ray reaches.
        """
        rotation, translation = camera_from_world[..., :3, :3], camera_from_world[..., None, :3, 3]
        points_camera = points_world @ rotation.transpose(-1, -2) + translation
        depth = points_camera[..., 2:]
        focal = points_camera.new_tensor([self.fx, self.fy])
        principal = points_camera.new_tensor([self.cx, self.cy])
        pixels = points_camera[..., :2] / depth * focal + principal
        return torch.where(depth > 0, pixels, torch.full_like(pixels, torch.nan))


def quarter_turns(degrees: int) -> int:
    """Compute how many turns by 90 degrees, 0 to 3, a clockwise turn by `degrees` is.

    Raises:
        UsageError: it is no whole number of them.
    """
    turns, rest = divmod(degrees, 90)
    if rest:
        raise UsageError(
            f"an image can be turned by multiples of 90 degrees, not by {degrees}",
            code="geometry.invalid-value",
        )
    return int(turns) % 4


def turn_pixels(pixels: NDArray[np.float64], *, width: int, height: int, degrees: int) -> NDArray[np.float64]:
    """Return where points [..., 2], (u, v) [px], are once their image has been turned clockwise by `degrees`.

    Args:
        pixels: points in the image before the turn.
        width: columns of that image [px].
        height: rows of that image [px].
        degrees: a multiple of 90.

    Raises:
        UsageError: another angle.
    """
    for _ in range(quarter_turns(degrees)):
        pixels = np.stack([height - 1 - pixels[..., 1], pixels[..., 0]], axis=-1)
        width, height = height, width
    return pixels


def roll(degrees: int) -> Tensor:
    """[4, 4], float64: from a camera's frame to that of the image turned clockwise by `degrees`.

    A turn by 90 degrees takes what lay to the right in the image down, and what lay down to the left.

    Raises:
        UsageError: `degrees` is no multiple of 90.
    """
    cosine, sine = ((1, 0), (0, 1), (-1, 0), (0, -1))[quarter_turns(degrees)]
    matrix = torch.eye(4, dtype=torch.float64)
    matrix[:2, :2] = torch.tensor([[cosine, -sine], [sine, cosine]], dtype=torch.float64)
    return matrix
