"""The report's table of checks: the values and limits by which a result was judged."""

from __future__ import annotations

import math
from dataclasses import replace

import pytest
import torch

from bone_alone import BONE, BONE_TRUTH, BONE_XRAY
from isoclinic.registration import (
    ConfidenceConfig,
    PartialConfig,
    RegistrationConfig,
    RegistrationResult,
    register,
)
from isoclinic.results import Registered
from isoclinic.results.report import report_of
from isoclinic.volumes import Volume

from ..registration.test_learned import FAST, NEAR, VOLUME, XRAY


@pytest.fixture(scope="module")
def result() -> RegistrationResult:
    return register(VOLUME, XRAY, NEAR, FAST)


def _limits(
    volume: Volume, result: RegistrationResult, config: RegistrationConfig
) -> dict[str, tuple[str, str]]:
    report = report_of(Registered(volume=volume, result=result, config=config))
    return {row.name: (row.value, row.limit) for row in report.checks}


def test_every_limit_of_the_confidence_is_in_the_table(result):
    limits = ConfidenceConfig(
        edges_below=0.51,
        similarity_below=0.13,
        rival_above=0.87,
        overlap_below=0.23,
        significance_below=7.5,
        expected_error_above_mm=3.25,
        expected_across_above_mm=1.75,
        expected_rotation_above_deg=1.25,
    )
    judged = replace(result, confidence=replace(result.confidence, limits=limits))
    said = {limit for _, limit in _limits(VOLUME, judged, FAST).values()}
    assert said >= {
        *("below 0.51", "below 0.13", "above 87% of the first row", "below 23%", "below 7.5"),
        *("above 3.25 mm", "above 1.75 mm", "above 1.25 degrees"),
    }


def test_the_values_are_those_of_exact_geometry(result):
    """What is doubted is what the image leaves, before errors of the geometry are added."""
    covariance = torch.diag(torch.tensor([1e-4, 4e-4, 4e-4, 1.0, 1.0, 1.0], dtype=torch.float64))
    confidence = replace(
        result.confidence,
        image_error_by_axis_mm=(0.3, 0.4, 1.2),
        image_covariance=covariance,
        expected_error_by_axis_mm=(3.0, 4.0, 12.0),
        expected_rotation_deg=9.0,
    )
    values = [value for value, _ in _limits(VOLUME, replace(result, confidence=confidence), FAST).values()]
    assert "1.30 mm" in values and "0.50 mm" in values and f"{math.degrees(0.03):.2f} degrees" in values


@pytest.mark.slow
def test_a_part_is_shown_with_the_limits_of_parts():
    """Limits of whole CTs beside the values of a bone would contradict its verdict."""
    config = RegistrationConfig()
    part = register(BONE, BONE_XRAY, BONE_TRUTH, config)
    assert part.confidence.limits == config.partial.confidence == PartialConfig().confidence
    table = _limits(BONE, part, config)
    assert table["correlation of X-ray and CT in the last stage"][1] == "below 0.29"
    assert (
        table["correlation of the edges of X-ray and CT"][1]
        == f"below {config.partial.confidence.edges_below:g}"
    )
    assert config.partial.confidence.edges_below != config.confidence.edges_below
