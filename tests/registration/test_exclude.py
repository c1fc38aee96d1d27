"""Registration of an X-ray in which a tool covers the patient, with and without saying so."""

from dataclasses import replace

import numpy as np
import pytest

from isoclinic.registration import AnyViewConfig, RegistrationConfig, SearchConfig, Stage, register
from isoclinic.volumes import MaskConfig, PreprocessConfig
from phantoms import displaced, error_mm, phantom, true_pose, xray_of

VOLUME = phantom(0)
TRUTH = true_pose(VOLUME)
XRAY = xray_of(VOLUME, TRUTH, seed=0)


def tool(size: int) -> np.ndarray:
    """A comb of slanted teeth over the middle of the image, strong edges at every scale."""
    rows, columns = (np.indices((size, size)) - size / 2) / size
    body = np.hypot(rows + 0.08, columns - 0.05) < 0.26
    return body & (np.sin(40 * (rows + 0.4 * columns)) > 0)


@pytest.mark.slow
@pytest.mark.parametrize("value", [0.0, 15000.0])
def test_painted_tool(value: float) -> None:
    """As exact as test_register is without a tool, 1 mm, under one that covers a tenth of the image."""
    excluded = tool(128)
    painted = np.where(excluded, np.float32(value), XRAY.pixels)
    start = displaced(VOLUME, TRUTH, 8, seed=3)
    # Metal that is found by itself would not need to be excluded.
    config = RegistrationConfig(
        searches=(SearchConfig(candidates=0),),
        stages=(Stage(pixels=64), Stage(pixels=128)),
        any_view=AnyViewConfig(enabled=False),
        preprocess=PreprocessConfig(masks=MaskConfig(find_metal=False, find_saturation=False)),
    )
    covered = register(VOLUME, replace(XRAY, pixels=painted), start, config)
    result = register(VOLUME, replace(XRAY, pixels=painted, excluded=excluded), start, config)
    assert error_mm(VOLUME, result.camera_from_world, TRUTH) < 1
    assert error_mm(VOLUME, covered.camera_from_world, TRUTH) > 2
