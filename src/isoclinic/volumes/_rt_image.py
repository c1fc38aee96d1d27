"""Geometry of X-rays of linear accelerators: DICOM's RT Image (PS3.3 C.8.8.2)."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray
from pydicom.dataset import Dataset
from pydicom.multival import MultiValue

from ..errors import InputError
from ._dicom_tables import describe

# Of a distance that is said in two ways [mm]; linear accelerators write whole millimetres.
_AGREES_MM = 2.0


class RTGeometry:
    """What an RT Image says of its geometry, as a `FileReading` holds it.

    Attributes:
        values: by the name of the option.
        provenance: where each came from.
        problems: names of required values -> what is wrong with them.
        notes: what to warn of.

    Raises:
        InputError: an image plane that the beam's axis does not meet at a right angle.
    """

    def __init__(self, dataset: Dataset, where: str) -> None:
        self.values: dict[str, Any] = {}
        self.provenance: dict[str, str] = {}
        self.problems: dict[str, str] = {}
        self.notes: list[str] = []
        # One beam's exposures may have the distances and angles of their own.
        exposures = dataset.get("ExposureSequence") or []
        self._places = [dataset, *list(exposures)[:1]]
        if str(self._find("RTImagePlane") or "NORMAL").strip().upper() != "NORMAL":
            raise InputError(
                f"{where} has {describe('RTImagePlane')} {self._find('RTImagePlane')}: only images at a right"
                " angle to the beam's axis are read; rectify it to RTImagePlane NORMAL first",
                code="xray.unsupported",
            )
        for name, keyword in (("sdd_mm", "RTImageSID"), ("source_isocentre_mm", "RadiationMachineSAD")):
            value = self._numbers(keyword, 1)
            if value is not None:
                self._keep(name, keyword, float(value[0]))
        spacing = self._numbers("ImagePlanePixelSpacing", 2)
        if spacing is not None:
            self._keep("pixel_spacing_mm", "ImagePlanePixelSpacing", (float(spacing[0]), float(spacing[1])))
        self._principal_point(spacing)
        angle = self._numbers("GantryAngle", 1)
        if angle is not None:
            self.provenance["gantry_angle_deg"] = f"{describe('GantryAngle')} {angle[0]:g}"

    def _principal_point(self, spacing: NDArray[np.float64] | None) -> None:
        """Where the beam's axis meets the image, by the place of the first pixel's centre in the receptor."""
        position = self._numbers("RTImagePosition", 2)
        if position is None or spacing is None or not np.all(spacing > 0):
            return
        translation = self._numbers("XRayImageReceptorTranslation", 3)
        axis_mm = np.zeros(2)  # of the beam, in the receptor's frame
        source = describe("RTImagePosition")
        if translation is not None:
            # The receptor's origin in the gantry's frame, whose z axis is the beam's axis.
            axis_mm = -self._turned(translation[:2])
            source += f", {describe('XRayImageReceptorTranslation')}"
            self._check_depth(float(translation[2]))
        directions = self._numbers("RTImageOrientation", 6)
        if directions is None:  # the default of PS3.3: x to the right, y upwards
            directions = np.array([1.0, 0, 0, 0, -1, 0])
        along_row, along_column = directions[:2], directions[3:5]
        if abs(np.hypot(*along_row) - 1) > 1e-2 or abs(np.hypot(*along_column) - 1) > 1e-2:
            self.notes.append(
                f"{describe('RTImageOrientation')} is {directions.tolist()}, no directions within the image"
                " plane; the image's centre is taken for the principal point (`principal_point_px` overrides)"
            )
            return
        from_first_mm = axis_mm - position
        self._keep(
            "principal_point_px",
            "RTImagePosition",
            (
                float(from_first_mm @ along_row / spacing[1]),
                float(from_first_mm @ along_column / spacing[0]),
            ),
        )
        self.provenance["principal_point_px"] = source

    def _turned(self, in_gantry_mm: NDArray[np.float64]) -> NDArray[np.float64]:
        """A vector of the gantry's frame in the receptor's, which is turned by XRayImageReceptorAngle."""
        angle = self._numbers("XRayImageReceptorAngle", 1)
        if angle is None or angle[0] % 360 == 0 or not in_gantry_mm.any():
            return in_gantry_mm
        self.notes.append(
            f"{describe('XRayImageReceptorAngle')} is {angle[0]:g} deg while"
            f" {describe('XRayImageReceptorTranslation')} is not zero: the principal point follows from both;"
            " check it (`principal_point_px` overrides)"
        )
        cosine, sine = np.cos(np.radians(angle[0])), np.sin(np.radians(angle[0]))
        return np.array([[cosine, sine], [-sine, cosine]]) @ in_gantry_mm

    def _check_depth(self, along_axis_mm: float) -> None:
        sdd, isocentre = self.values.get("sdd_mm"), self.values.get("source_isocentre_mm")
        if sdd is None or isocentre is None:
            return
        by_translation = isocentre - along_axis_mm
        if abs(by_translation - sdd) > _AGREES_MM:
            self.notes.append(
                f"{describe('RTImageSID')} is {sdd:g} mm but {describe('RadiationMachineSAD')} and"
                f" {describe('XRayImageReceptorTranslation')} put the receptor at {by_translation:g} mm; the"
                " first, for which the pixel spacing holds, is used (`sdd_mm` overrides)"
            )

    def _find(self, keyword: str) -> Any:
        found = (place.get(keyword) for place in self._places)
        return next((value for value in found if value is not None and value != ""), None)

    def _numbers(self, keyword: str, count: int) -> NDArray[np.float64] | None:
        value = self._find(keyword)
        if value is None:
            return None
        numbers = np.array([float(v) for v in (value if isinstance(value, MultiValue) else [value])])
        if numbers.shape != (count,) or not np.isfinite(numbers).all():
            raise ValueError(f"{describe(keyword)} is {value}, not {count} finite number(s)")
        return numbers

    def _keep(self, name: str, keyword: str, value: Any) -> None:
        if name != "principal_point_px" and not np.all(np.asarray(value) > 0):
            self.problems[name] = f"{describe(keyword)} is {value}"
        else:
            self.values[name], self.provenance[name] = value, describe(keyword)
