"""RTK: a ThreeDCircularProjectionGeometry with one projection, in its XML.

RTK's fixed frame is the CT's physical frame as ITK reads it, LPS+ in mm, with the isocentre at its origin.
The rotated frame has its z from the detector to the source; M_R turns LPS into it by Rz(-InPlaneAngle)
Rx(-OutOfPlaneAngle) Ry(-GantryAngle). There the source lies at (SourceOffsetX, SourceOffsetY,
SourceToIsocenterDistance) and the origin of the projection image at (ProjectionOffsetX, ProjectionOffsetY,
SourceToIsocenterDistance - SourceToDetectorDistance). The matrix, which RTK checks, takes LPS to the image's
millimetres (u, v). Sources: RTK's documentation page "3D projection geometry"
(https://docs.openrtk.org/en/latest/documentation/docs/Geometry.html) and
`rtkThreeDCircularProjectionGeometry{,XMLFileReader}.cxx`, RTK 2.7.

The projection image has the spacing of the detector and its millimetres counted from its middle, u along its
columns. Because RTK's v points up in an image seen from the source, the rows of such an image run against v,
a direction of diag(1, -1, 1); those of a mirrored one run along it. A comment in the file states all of this.
"""

from __future__ import annotations

import math
from pathlib import Path
from typing import NamedTuple
from xml.etree import ElementTree

import torch
from scipy.spatial.transform import Rotation
from torch import Tensor

from .._files import atomic
from ..errors import InputError
from ..geometry import Camera, se3
from ._euler import zxy_angles_deg
from ._found import read_text, unexpected
from .posed_camera import RAS_FROM_LPS, PosedCamera, axes, mirroring, required

SUFFIXES = (".xml",)
_ROOT = "RTKThreeDCircularGeometry"
_KIND = f"an RTK geometry, <{_ROOT}>"
_VERSIONS = ("2", "3")  # the same for what is used here
_HEADER = '<?xml version="1.0"?>\n<!DOCTYPE RTKGEOMETRY>\n'
# RTK's own: how far entries of the matrix may lie from those of the parameters.
_MATRIX_TOLERANCE = 1e-3


class _Projection(NamedTuple):
    """RTK's nine parameters [mm, deg]."""

    GantryAngle: float
    SourceToIsocenterDistance: float
    SourceToDetectorDistance: float
    SourceOffsetX: float = 0.0
    SourceOffsetY: float = 0.0
    ProjectionOffsetX: float = 0.0
    ProjectionOffsetY: float = 0.0
    InPlaneAngle: float = 0.0
    OutOfPlaneAngle: float = 0.0

    @property
    def rotated_from_lps(self) -> Tensor:
        """[4, 4]: from LPS to the rotated frame, its origin moved to the source."""
        angles = [-self.InPlaneAngle, -self.OutOfPlaneAngle, -self.GantryAngle]
        rotation = torch.from_numpy(Rotation.from_euler("ZXY", angles, degrees=True).as_matrix())
        source = [self.SourceOffsetX, self.SourceOffsetY, self.SourceToIsocenterDistance]
        return se3.rigid(rotation, -rotation.new_tensor(source))

    @property
    def matrix(self) -> Tensor:
        """[3, 4]: homogeneous (u, v) [mm] of points in LPS."""
        projection = torch.diag(torch.tensor([-self.SourceToDetectorDistance] * 2 + [1.0])).double()
        projection[0, 2] = self.SourceOffsetX - self.ProjectionOffsetX
        projection[1, 2] = self.SourceOffsetY - self.ProjectionOffsetY
        return projection @ self.rotated_from_lps[:3]


def write(path: Path, posed: PosedCamera) -> None:
    """Write the file.

    Raises:
        InputError: it cannot be written.
    """
    camera = posed.camera
    row_mm, column_mm = camera.pixel_spacing_mm
    rotated_from_lps = _rotated_from_camera(camera) @ posed.camera_from_world @ RAS_FROM_LPS
    in_plane, out_of_plane, gantry = (-zxy_angles_deg(rotated_from_lps[:3, :3])).tolist()
    x, y, distance = (-rotated_from_lps[:3, 3]).tolist()
    projection = _Projection(
        GantryAngle=gantry % 360,
        SourceToIsocenterDistance=distance,
        SourceToDetectorDistance=camera.sdd_mm,
        SourceOffsetX=x,
        SourceOffsetY=y,
        ProjectionOffsetX=x + column_mm * ((camera.width - 1) / 2 - camera.cx),
        ProjectionOffsetY=y + _along_v(camera) * row_mm * ((camera.height - 1) / 2 - camera.cy),
        InPlaneAngle=in_plane % 360,
        OutOfPlaneAngle=out_of_plane % 360,
    )
    root = ElementTree.Element(_ROOT, version=_VERSIONS[-1])
    root.append(ElementTree.Comment(_image(camera)))
    element = ElementTree.SubElement(root, "Projection")
    for name, value in projection._asdict().items():
        ElementTree.SubElement(element, name).text = repr(value)
    rows = (" ".join(map(repr, row)) for row in projection.matrix.tolist())
    ElementTree.SubElement(element, "Matrix").text = "\n" + "\n".join(rows) + "\n"
    ElementTree.indent(root)
    with atomic(path) as temporary:
        text = _HEADER + ElementTree.tostring(root, encoding="unicode") + "\n"
        temporary.write_text(text, encoding="utf-8")


def read(path: Path, camera: Camera | None) -> PosedCamera:
    """Read a file with one projection; size, pixel spacing and mirroring of its image are those of `camera`.

    Raises:
        InputError: another file, or a geometry that is not one projection onto a flat detector.
        UsageError: no camera was given.
    """
    projection = _parse(path)
    camera = required(camera, path, "the size and pixel spacing of the image")
    row_mm, column_mm = camera.pixel_spacing_mm
    x_mm = projection.ProjectionOffsetX - projection.SourceOffsetX
    y_mm = projection.ProjectionOffsetY - projection.SourceOffsetY
    sdd_mm = projection.SourceToDetectorDistance
    return PosedCamera(
        camera_from_world=_rotated_from_camera(camera) @ projection.rotated_from_lps @ RAS_FROM_LPS,
        camera=Camera(
            width=camera.width,
            height=camera.height,
            fx=math.copysign(sdd_mm / column_mm, camera.fx),
            fy=math.copysign(sdd_mm / row_mm, camera.fy),
            cx=(camera.width - 1) / 2 - x_mm / column_mm,
            cy=(camera.height - 1) / 2 - _along_v(camera) * y_mm / row_mm,
            sdd_mm=sdd_mm,
        ),
    )


def _rotated_from_camera(camera: Camera) -> Tensor:
    """[4, 4], its own inverse: u along the columns of the image, z from the detector to the source."""
    along_x, _ = mirroring(camera)
    return axes(along_x, -along_x, -1)


def _along_v(camera: Camera) -> int:
    """1 where the rows of the image run along v, -1 where they run against it."""
    along_x, along_y = mirroring(camera)
    return -along_x * along_y


def _image(camera: Camera) -> str:
    """Return what the projection image has to look like in ITK."""
    (row_mm, column_mm), along_v = camera.pixel_spacing_mm, _along_v(camera)
    origin = -column_mm * (camera.width - 1) / 2, -along_v * row_mm * (camera.height - 1) / 2
    return (
        f" The projection image: {camera.width} x {camera.height} pixels, spacing {column_mm!r} {row_mm!r},"
        f" origin {origin[0]!r} {origin[1]!r}, direction diag(1, {along_v}, 1).\n"
        "       The world is the CT's physical frame in ITK: LPS, mm. "
    )


def _parse(path: Path) -> _Projection:
    text = read_text(path, _KIND)
    if "<!ENTITY" in text:  # whose expansion may grow without end
        raise InputError(
            f"{path} declares entities, which no geometry of RTK needs; save it again",
            code="exchange.unsupported",
        )
    try:
        root = ElementTree.fromstring(text)
    except ElementTree.ParseError:
        raise unexpected(path, _KIND) from None
    if root.tag != _ROOT:
        raise unexpected(path, _KIND)
    if root.get("version") not in _VERSIONS:
        raise InputError(
            f"{path} is version {root.get('version')} of RTK's geometry; known are 2 and 3",
            code="exchange.unsupported",
        )
    projections = root.findall("Projection")
    if len(projections) != 1:
        raise InputError(
            f"{path} has {len(projections)} projections; keep one, a pose file holds one",
            code="exchange.unsupported",
        )
    element = projections[0]
    values = {name: _number(path, root, element, name) for name in _Projection._fields}
    defaults = _Projection._field_defaults
    for name in values.keys() - defaults.keys():
        if values[name] is None:
            raise InputError(f"{path} lacks {name}", code="exchange.incomplete")
    projection = _Projection(**{name: value for name, value in values.items() if value is not None})
    if projection.SourceToDetectorDistance <= 0:
        raise InputError(
            f"{path}: SourceToDetectorDistance is {projection.SourceToDetectorDistance:g}; parallel beams "
            "(0) and detectors behind the source (negative) cannot be converted",
            code="exchange.unsupported",
        )
    if _number(path, root, element, "RadiusCylindricalDetector"):
        raise InputError(
            f"{path} describes a cylindrical detector; a pose file is about a flat one",
            code="exchange.unsupported",
        )
    _check_matrix(path, element, projection)
    return projection


def _number(path: Path, root: ElementTree.Element, element: ElementTree.Element, name: str) -> float | None:
    """A parameter of the projection, or else of all projections."""
    text = element.findtext(name) or root.findtext(name)
    if text is None:
        return None
    try:
        value = float(text)
    except ValueError:
        value = math.nan
    if not math.isfinite(value):
        raise InputError(
            f"{path}: {name} must be a finite number, not {text.strip()!r}", code="exchange.invalid-value"
        )
    return value


def _check_matrix(path: Path, element: ElementTree.Element, projection: _Projection) -> None:
    text = element.findtext("Matrix")
    if text is None:
        return
    try:
        matrix = torch.tensor([float(word) for word in text.split()], dtype=torch.float64).reshape(3, 4)
    except (ValueError, RuntimeError) as error:
        raise InputError(f"{path}: Matrix must be 3 x 4 numbers", code="exchange.invalid-value") from error
    if not (matrix - projection.matrix).abs().max() <= _MATRIX_TOLERANCE:
        raise InputError(
            f"{path}: Matrix contradicts the parameters; RTK would refuse the file, too",
            code="exchange.inconsistent",
        )
