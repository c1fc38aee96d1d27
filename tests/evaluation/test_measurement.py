"""Measurements against the metrics they are made of, and back from JSON."""

from __future__ import annotations

import hashlib
import json
import math
import struct
from dataclasses import replace

import numpy as np
import pytest
import torch

from isoclinic.errors import InputError
from isoclinic.evaluation import Measurement, MethodResult
from isoclinic.evaluation.measurement import METRICS, errors_of, landmarks_digest
from isoclinic.geometry import pose_errors
from raising import raises
from tiny_samples import off_by, sample


def measured(*tangent: float, **changes) -> Measurement:
    case = sample("chest/02")
    truth = case.camera_from_world
    values = {
        "camera_from_world": off_by(truth, *tangent),
        "initial_camera_from_world": off_by(truth, 0, 0, 0, 3, 4, 0),
        "seconds": 0.25,
    }
    return Measurement.of(case, MethodResult(**values | changes), dataset="cases", method="m", start="5")


def test_a_measurement_is_the_metrics_of_its_poses():
    """The start is 5 mm off in the plane, the result 2 mm in depth; translations are exact to rounding."""
    case = sample("chest/02")
    found = measured(0.01, 0, 0, 0, 0, 2, status="converged", similarity=0.9, expected_error_mm=0.4)
    pose = off_by(case.camera_from_world, 0.01, 0, 0, 0, 0, 2)
    expected = pose_errors(pose, case.camera_from_world, case.landmarks_world, sdd_mm=case.xray.camera.sdd_mm)
    assert (found.dataset, found.case, found.group) == ("cases", "chest/02", "chest")
    assert (found.method, found.start) == ("m", "5")
    assert found.initial_mtre_mm == pytest.approx(5, abs=1e-9)
    assert found.mtre_mm == pytest.approx(expected.mtre_mm.item())
    assert found.mpd_mm == pytest.approx(expected.mpd_mm.item())
    assert found.mrpd_mm == pytest.approx(expected.mrpd_mm.item())
    assert found.rotation_deg == pytest.approx(np.degrees(0.01), abs=1e-6)
    assert found.translation_mm == pytest.approx(expected.translation_mm.tolist())
    assert (found.status, found.similarity, found.expected_error_mm) == ("converged", 0.9, 0.4)
    assert found.seconds == 0.25


def test_what_a_method_does_not_know():
    found = measured(0, 0, 0, 0, 0, 0)
    assert found.status == "" and math.isnan(found.similarity) and math.isnan(found.expected_error_mm)


def test_the_digest_of_landmarks_is_that_of_their_numbers():
    points = [[1.0, -2.5, 3.0], [0.125, 0.0, -7.0]]
    expected = hashlib.sha256(b"".join(struct.pack("<d", each) for point in points for each in point))
    assert landmarks_digest(torch.tensor(points)) == expected.hexdigest()[:12]
    assert landmarks_digest(torch.tensor(points).double().T.contiguous().T) == expected.hexdigest()[:12]
    assert landmarks_digest(torch.tensor(points[::-1])) != expected.hexdigest()[:12]


@pytest.mark.parametrize("mtre_mm", [0.5, math.inf])
def test_json_and_back(mtre_mm):
    found = replace(measured(0.01, 0, 0, 0, 0, 2, similarity=0.5, expected_error_mm=1.0), mtre_mm=mtre_mm)
    assert Measurement.restored(json.loads(json.dumps(found.document())), "file") == found
    unknown = replace(found, similarity=math.nan)
    back = Measurement.restored(json.loads(json.dumps(unknown.document())), "file")
    assert math.isnan(back.similarity) and replace(back, similarity=0.5) == found


@pytest.mark.parametrize(
    ("changes", "fault"),
    [
        (
            {"metrics": "mTRE on the detector"},
            ("evaluation.invalid-value", "m.json", "mTRE on the detector"),
        ),
        ({"mtre_mm": None}, ("evaluation.malformed-record", "m.json", "version")),
        ({"more": 1}, ("evaluation.malformed-record", "m.json", "version")),
        ({"mpd_mm": "2"}, ("evaluation.malformed-record", "m.json", "number")),
    ],
)
def test_documents_that_are_no_measurement(changes, fault):
    document = measured(0, 0, 0, 0, 0, 0).document() | changes
    document = {key: value for key, value in document.items() if value is not None}
    assert METRICS in measured(0, 0, 0, 0, 0, 0).document().values()
    with raises(InputError, *fault):
        Measurement.restored(document, "m.json")


def test_errors_of_several_measurements():
    case = sample("chest/02")
    tangents = [(0.01, 0, 0, 0, 0, 2), (0, 0.02, 0, 1, 0, 0)]
    found = errors_of([measured(*tangent) for tangent in tangents])
    poses = torch.stack([off_by(case.camera_from_world, *tangent) for tangent in tangents])
    expected = pose_errors(
        poses, case.camera_from_world, case.landmarks_world, sdd_mm=case.xray.camera.sdd_mm
    )
    for name in vars(expected):
        torch.testing.assert_close(getattr(found, name), getattr(expected, name))
