"""Distances, spacing and angles by DICOM headers: right values written down, and every contradiction told."""

import re
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from isoclinic.errors import InputError
from isoclinic.volumes import XRay, XRayOptions
from isoclinic.volumes._warnings import GeometryWarning
from raising import raises

from .test_xray import stored_pixels, write, xray_dataset

FACTOR = "EstimatedRadiographicMagnificationFactor"
# 20 rows and 30 columns, 1000 mm from the source, the patient at 700 mm: a magnification of 10 / 7.
PATIENT_ONLY = {"ImagerPixelSpacing": None, "PixelSpacing": ["0.28", "0.35"]}
CALIBRATED = {**PATIENT_ONLY, "PixelSpacingCalibrationType": "GEOMETRY"}


def read(folder: Path, options: XRayOptions | None = None, **attributes: Any) -> XRay:
    present = {name: value for name, value in attributes.items() if value is not None}
    dataset = xray_dataset(**present)
    for name in attributes.keys() - present.keys():
        if name in dataset:
            delattr(dataset, name)
    return XRay.read(write(folder, dataset), options)


def doubts(xray: XRay) -> list[str]:
    return [each.text for each in xray.findings if each.unsettled]


class TestSpacing:
    @pytest.mark.parametrize(
        ("attributes", "expected"),
        [
            # at the patient, times the stated magnification
            ({**CALIBRATED, FACTOR: "1.4286"}, (0.4, 0.5)),
            # without it, times the distances' ratio
            (CALIBRATED, (0.4, 0.5)),
            # of elements of 0.2 x 0.25 mm, two by two
            (
                {
                    "ImagerPixelSpacing": None,
                    "DetectorElementSpacing": ["0.2", "0.25"],
                    "DetectorBinning": ["2", "2"],
                },
                (0.4, 0.5),
            ),
            # of a film that was scanned
            ({"ImagerPixelSpacing": None, "NominalScannedPixelSpacing": ["0.4", "0.5"]}, (0.4, 0.5)),
            # whose plane the field of view tells: 8 x 15 mm at the detector
            (
                {**PATIENT_ONLY, "FieldOfViewShape": "RECTANGLE", "FieldOfViewDimensions": [80, 150]}
                | {"PixelSpacing": ["2.8", "3.5"]},
                (4.0, 5.0),
            ),
            (
                {**PATIENT_ONLY, "FieldOfViewShape": "RECTANGLE", "FieldOfViewDimensions": [56, 105]}
                | {"PixelSpacing": ["2.8", "3.5"]},
                (2.8, 3.5),
            ),
            # enhanced: in the plane of the isocentre
            ({"ImagerPixelSpacing": None, "ObjectPixelSpacingInCenterOfBeam": [0.28, 0.35]}, (0.4, 0.5)),
            # scaled to the patient beside the detector's, by the magnification that the header gives
            ({"PixelSpacing": ["0.28", "0.35"]}, (0.4, 0.5)),
        ],
    )
    def test_right_value_without_a_word(
        self, tmp_path: Path, attributes: dict[str, Any], expected: tuple[float, float]
    ) -> None:
        """A warning would fail the test."""
        xray = read(tmp_path, **attributes)
        assert xray.camera.pixel_spacing_mm == pytest.approx(expected, rel=1e-4)
        assert doubts(xray) == []

    def test_provenance_names_what_was_multiplied(self, tmp_path: Path) -> None:
        xray = read(tmp_path, **CALIBRATED, **{FACTOR: "1.4286"})
        assert xray.provenance["pixel_spacing_mm"] == f"PixelSpacing (0028,0030) x {FACTOR} (0018,1114)"

    def test_distances_of_options_count(self, tmp_path: Path) -> None:
        xray = read(tmp_path, XRayOptions(sdd_mm=1400), **CALIBRATED)
        assert xray.camera.pixel_spacing_mm == pytest.approx((0.56, 0.7))
        assert "`sdd_mm`" in xray.provenance["pixel_spacing_mm"]

    @pytest.mark.parametrize(
        ("attributes", "said", "expected"),
        [
            (
                PATIENT_ONLY,
                r"ImagerPixelSpacing is missing.*0.28 0.35 confirms it, 0.4 0.5 is ",
                (0.28, 0.35),
            ),
            (
                {**PATIENT_ONLY, "PixelSpacingCalibrationType": "FIDUCIAL"},
                r"FIDUCIAL\) by an object of known size",
                (0.4, 0.5),
            ),
            (
                {**CALIBRATED, FACTOR: "1.2"},
                r"PixelSpacing .*0.336 x 0.42 mm, but .*0.4 x 0.5 mm; the first is used",
                (0.336, 0.42),
            ),
            (
                {"DetectorElementSpacing": ["0.2", "0.25"], "DetectorBinning": ["1", "1"]},
                r"ImagerPixelSpacing .*0.4 x 0.5 mm, but DetectorElementSpacing .* 0.25 mm, and nothing",
                (0.4, 0.5),
            ),
            (
                {"PixelSpacing": ["0.4", "0.5"], "PixelSpacingCalibrationType": "GEOMETRY"},
                r"equals PixelSpacing .*scaled to the patient .*magnification is 1.429",
                (0.4, 0.5),
            ),
        ],
    )
    def test_what_cannot_be_settled_is_a_doubt(
        self, tmp_path: Path, attributes: dict[str, Any], said: str, expected: tuple[float, float]
    ) -> None:
        with pytest.warns(GeometryWarning) as told:
            xray = read(tmp_path, **attributes)
        assert any(re.search(said, str(each.message)) for each in told)
        assert xray.camera.pixel_spacing_mm == pytest.approx(expected, rel=1e-4)
        (doubt,) = doubts(xray)
        assert "`pixel_spacing_mm`" in doubt
        assert next(each.message.finding for each in told if each.message.finding.unsettled).text == doubt
        settled = read(
            tmp_path, XRayOptions(pixel_spacing_mm=(0.4, 0.5), sdd_mm=1000), **{**attributes, FACTOR: None}
        )
        assert doubts(settled) == []

    def test_the_field_of_view_settles_the_binning(self, tmp_path: Path) -> None:
        """ImagerPixelSpacing is that of the elements here, before two by two were averaged."""
        with pytest.warns(GeometryWarning, match=r"field of view agrees with the second.*`pixel_spacing_mm`"):
            xray = read(
                tmp_path,
                ImagerPixelSpacing=["2", "2"],
                DetectorElementSpacing=["2", "2"],
                DetectorBinning=["2", "2"],
                FieldOfViewShape="RECTANGLE",
                FieldOfViewDimensions=[80, 120],
            )
        assert xray.camera.pixel_spacing_mm == (4, 4)
        assert doubts(xray) == []

    def test_resampling_is_no_contradiction(self, tmp_path: Path) -> None:
        xray = read(
            tmp_path,
            ImagerPixelSpacing=["4", "4"],
            DetectorElementSpacing=["2", "2"],
            DetectorBinning=["1", "1"],
            FieldOfViewShape="RECTANGLE",
            FieldOfViewDimensions=[80, 120],
        )
        assert xray.camera.pixel_spacing_mm == (4, 4)
        assert any("resampled" in each.message for each in xray.findings)

    @pytest.mark.parametrize(
        ("attributes", "proposed"),
        [
            (
                {"IntensifierSize": "228.6"},
                ("IntensifierSize", "0018,1162", "228.6", "`pixel_spacing_mm` 7.62 7.62"),
            ),
            (
                {"FieldOfViewShape": "ROUND", "FieldOfViewDimensions": [150]},
                ("FieldOfViewDimensions", "`pixel_spacing_mm` 5 5"),
            ),
            (
                {
                    "FieldOfViewShape": "RECTANGLE",
                    "FieldOfViewDimensions": [80, 150],
                    "IntensifierSize": "300",
                },
                ("FieldOfViewDimensions", "80 x 150", "`pixel_spacing_mm` 4 5"),
            ),
            (
                {"DetectorActiveDimensions": ["60", "60"]},
                ("DetectorActiveDimensions", "`pixel_spacing_mm` 3 2"),
            ),
            ({}, ("ImagerPixelSpacing", "PixelSpacing", "`pixel_spacing_mm`")),
            (
                {
                    "PixelSpacing": ["0.2", "0.2"],
                    "PixelSpacingCalibrationType": "GEOMETRY",
                    "DistanceSourceToPatient": None,
                },
                ("patient", FACTOR, "DistanceSourceToPatient"),
            ),
        ],
    )
    def test_a_missing_spacing_is_proposed_by_its_value_and_never_used(
        self, tmp_path: Path, attributes: dict[str, Any], proposed: tuple[str, ...]
    ) -> None:
        """The image has 30 columns and 20 rows."""
        with raises(InputError, "xray.geometry-missing", *proposed):
            read(tmp_path, ImagerPixelSpacing=None, **attributes)


class TestDistances:
    def test_a_missing_distance_to_the_detector(self, tmp_path: Path) -> None:
        with pytest.warns(GeometryWarning, match=r"DistanceSourceToDetector is missing; 1050 mm.*`sdd_mm`"):
            xray = read(tmp_path, DistanceSourceToDetector=None, **{FACTOR: "1.5"})
        assert xray.camera.sdd_mm == pytest.approx(1050)
        assert doubts(xray) == []

    def test_a_missing_distance_to_the_patient(self, tmp_path: Path) -> None:
        xray = read(tmp_path, DistanceSourceToPatient=None, **{FACTOR: "1.25"})
        assert xray.source_isocentre_mm == pytest.approx(800)
        assert FACTOR in xray.provenance["source_isocentre_mm"]

    @pytest.mark.parametrize(("factor", "warns"), [("1.4286", False), ("1.44", False), ("1.45", True)])
    def test_a_magnification_that_contradicts_by_more_than_a_percent(
        self, tmp_path: Path, factor: str, warns: bool
    ) -> None:
        """1000 over 700 is 1.4286; 1.44 is 0.8 % more, 1.45 is 1.5 %.

        With a spacing at the detector it decides nothing, so that it is no doubt.
        """
        if not warns:
            read(tmp_path, **{FACTOR: factor})
            return
        with pytest.warns(
            GeometryWarning, match=rf"{FACTOR}.* is 1.45, but 1000 mm .* over 700 mm.* is 1.429"
        ):
            xray = read(tmp_path, **{FACTOR: factor})
        assert doubts(xray) == []

    def test_a_magnification_below_one(self, tmp_path: Path) -> None:
        with pytest.warns(GeometryWarning, match="below 1"):
            read(tmp_path, **{FACTOR: "0.7"})

    def test_the_patient_beyond_the_detector(self, tmp_path: Path) -> None:
        with pytest.warns(GeometryWarning, match="1200 mm"):
            xray = read(tmp_path, DistanceSourceToPatient="1200")
        (doubt,) = doubts(xray)
        assert "1200 mm, beyond the detector at 1000 mm" in doubt
        assert "`sdd_mm`" in doubt and "`source_isocentre_mm`" in doubt
        assert (
            doubts(read(tmp_path, XRayOptions(source_isocentre_mm=700), DistanceSourceToPatient="1200")) == []
        )

    def test_the_beam_enters_behind_the_isocentre(self, tmp_path: Path) -> None:
        with pytest.warns(
            GeometryWarning, match=r"DistanceSourceToEntrance \(0040,0306\).*750 mm, but .*700"
        ):
            read(tmp_path, DistanceSourceToEntrance=750)

    @pytest.mark.parametrize(
        ("attributes", "options", "said"),
        [
            (
                {"DistanceSourceToDetector": "100", "DistanceSourceToPatient": "70"},
                {},
                "100 mm: .* in centimetres",
            ),
            ({}, {"sdd_mm": 1.0, "source_isocentre_mm": 0.7}, "is 1 mm: it seems to be in metres"),
            (
                {"DistanceSourceToDetector": "5000", "DistanceSourceToPatient": "3500"},
                {},
                "C-arms have 500 to",
            ),
            ({"DistanceSourceToPatient": "300"}, {}, "30 % of the way"),
            ({"ImagerPixelSpacing": ["0.02", "0.02"]}, {}, "unlike any detector's"),
            ({"PositionerPrimaryAngle": "190"}, {}, "190 deg; no C-arm.*`primary_angle_deg`"),
            ({"PositionerSecondaryAngle": "-91"}, {}, "-91 deg; no C-arm.*`secondary_angle_deg`"),
        ],
    )
    def test_values_unlike_any_c_arms(
        self, tmp_path: Path, attributes: dict[str, Any], options: dict[str, Any], said: str
    ) -> None:
        with pytest.warns(GeometryWarning, match=said):
            read(tmp_path, XRayOptions(**options), **attributes)

    @pytest.mark.parametrize(
        ("attributes", "said"),
        [
            ({"DistanceSourceToPatient": None}, "isocentre is unknown"),
            ({}, "C-arm angles are missing .primary angle deg, secondary angle deg."),
            ({}, "not square, 0.4 x 0.5 mm"),
            ({}, "assumed at the centre"),
            ({}, "linear is assumed for bright_air"),
            ({"LossyImageCompression": "01"}, "compressed with losses"),
            ({"BurnedInAnnotation": "YES"}, "burned into the pixels"),
            ({"PixelIntensityRelationship": "DISP"}, "display curve"),
        ],
    )
    def test_notes_are_no_warnings(self, tmp_path: Path, attributes: dict[str, Any], said: str) -> None:
        xray = read(tmp_path, **attributes)
        (found,) = (
            each for each in xray.findings if said.replace(".p", "(p").replace("g.", "g)") in each.message
        )
        assert found.level == "note"


class TestAngles:
    def test_in_the_isocentre_reference_system(self, tmp_path: Path) -> None:
        xray = read(tmp_path, PositionerIsocenterPrimaryAngle=12.0, PositionerIsocenterSecondaryAngle=-3.0)
        assert (xray.primary_angle_deg, xray.secondary_angle_deg) == (12, -3)
        assert xray.provenance["primary_angle_deg"] == "PositionerIsocenterPrimaryAngle (0018,9463)"

    def test_those_of_the_patient_come_first(self, tmp_path: Path) -> None:
        xray = read(tmp_path, PositionerIsocenterPrimaryAngle=12.0, PositionerPrimaryAngle="20")
        assert xray.primary_angle_deg == 20


def test_findings_are_what_was_warned_of_and_the_notes(tmp_path: Path) -> None:
    with pytest.warns(GeometryWarning) as told:
        xray = read(tmp_path, Modality="OT", **CALIBRATED, **{FACTOR: "1.2"})
    warned = [each for each in xray.findings if each.level == "warning"]
    assert [each.message.finding for each in told] == warned
    assert all(str(each.message).startswith(str(tmp_path / "xray.dcm")) for each in told)
    assert len(xray.findings) == len(set(xray.findings)) > len(warned)


def test_changed_images_keep_their_findings(tmp_path: Path) -> None:
    xray = read(tmp_path)
    changed = xray.turn(90).crop(top=1, left=1, height=20, width=10).bin(2).flip(left_right=True)
    assert changed.findings == xray.findings
    np.testing.assert_array_equal(xray.pixels, stored_pixels())


_NUMBERS = st.sampled_from(["0", "-1", "1", "1e-30", "1e30", "1e300", "0.5", "90", "400", "nan", "inf", "x"])
_FUZZED = {
    **dict.fromkeys(("DistanceSourceToDetector", "DistanceSourceToPatient", FACTOR), 1),
    **dict.fromkeys(("ImagerPixelSpacing", "PixelSpacing", "DetectorElementSpacing", "DetectorBinning"), 2),
    **dict.fromkeys(("FieldOfViewOrigin", "DetectorActiveDimensions", "DetectorActiveOrigin"), 2),
    **dict.fromkeys(("FieldOfViewDimensions", "FieldOfViewRotation", "IntensifierSize"), 1),
    "PositionerPrimaryAngle": 1,
}


@pytest.mark.slow
@pytest.mark.filterwarnings("ignore::UserWarning", "ignore:.*pydicom.*")
@settings(max_examples=150, derandomize=True, deadline=None, suppress_health_check=[*HealthCheck])
@given(data=st.data())
def test_headers_of_any_numbers(tmp_path: Path, data: st.DataObject) -> None:
    """They are read, or refused as an error about the file; nothing else may come of them."""
    dataset = xray_dataset()
    for keyword in data.draw(st.sets(st.sampled_from(sorted(_FUZZED)), min_size=1)):
        count = data.draw(st.sampled_from([_FUZZED[keyword], 1, 2, 3]))
        values = data.draw(st.lists(_NUMBERS, min_size=count, max_size=count))
        dataset.add_new(keyword, "LO", values)
    try:
        xray = XRay.read(write(tmp_path, dataset))
    except InputError as error:
        assert "xray.dcm" in str(error) or "camera" in str(error)
    else:
        assert np.isfinite(xray.camera.matrix.numpy()).all()
