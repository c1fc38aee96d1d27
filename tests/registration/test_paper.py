"""The published registration: a regressor, Levenberg-Marquardt on one encoder, and nothing after it."""

from dataclasses import replace

import pytest
import torch

from isoclinic.errors import UsageError
from isoclinic.networks import in_domain
from isoclinic.registration import LearnedConfig, RegistrationConfig, SearchConfig, _run, register
from isoclinic.registration._fixed import FixedImage
from isoclinic.registration._learned import Learned
from isoclinic.rendering import Projector, RenderConfig
from isoclinic.similarity import SphericalSimilarity
from isoclinic.solver import Reason, Status, levenberg_marquardt
from isoclinic.volumes import PreprocessConfig
from phantoms import error_mm
from raising import raises

from .test_learned import NEAR, TRUTH, VOLUME, XRAY, encoders, model, regressor, same

PAPER = RegistrationConfig.paper()


def published(**networks):
    """Of random weights, in the domain and by the renderer of the published training."""
    both = {**regressor(NEAR).networks, "coarse_encoder": encoders()["coarse_encoder"], **networks}
    made = model(both)
    return replace(made, record=replace(made.record, domain="log_ratio", renderer="siddon"))


@pytest.mark.slow
def test_the_result_is_where_the_solver_ended(monkeypatch):
    """Against the solver called by hand; no search, and no stage that compares images moves the pose."""
    monkeypatch.setattr(_run, "search", None)
    chosen = published()
    result = register(VOLUME, XRAY, None, PAPER, model=chosen)
    seen = FixedImage.of(XRAY, PAPER.preprocess).through(chosen.record.camera)
    image, weight = seen.image[None], seen.weight[None]
    projector = Projector.of(VOLUME, seen.camera, NEAR[None], RenderConfig(method="siddon"))
    with torch.no_grad():
        problem = SphericalSimilarity.of(
            projector,
            chosen.networks["coarse_encoder"],
            in_domain(image, weight, "log_ratio"),
            weight,
            "log_ratio",
        )
        expected = levenberg_marquardt(problem, NEAR[None], PAPER.learned.solver(60.0, 40.0))
    torch.testing.assert_close(result.initial.camera_from_world, NEAR)
    torch.testing.assert_close(result.camera_from_world, expected.x[0], rtol=0.0, atol=1e-3)
    assert len(result.attempts) == 1 and result.attempt.candidates == 0
    assert [stage.solution.steps.tolist() for stage in result.trace][1:] == [[0]]
    assert result.reason is expected.reason[0]


@pytest.mark.slow
def test_the_status_is_that_of_the_refinement():
    """It is not that of the look at the images, which takes no step and would have reached its limit."""
    result = register(VOLUME, XRAY, None, PAPER, model=published())
    assert result.reason in (Reason.STEP_DEVIATION, Reason.STALLED, Reason.MAX_STEPS)
    if result.reason is not Reason.MAX_STEPS:
        assert result.status in (Status.CONVERGED, Status.DOUBTFUL)
    assert result.confidence.expected_error_mm > 0


def test_a_pose_that_does_not_match_is_doubtful_and_stays_what_it_is():
    """Nothing comes to the rescue: that is what is measured, and the verdict says so."""
    far = torch.eye(4, dtype=torch.float64)
    far[0, 3] = 80.0
    made = published(**regressor(far @ NEAR).networks)
    alone = replace(PAPER, learned=replace(PAPER.learned, coarse=False))
    result = register(VOLUME, XRAY, None, alone, model=made)
    assert error_mm(VOLUME, result.camera_from_world, TRUTH) > 50
    torch.testing.assert_close(result.camera_from_world, far @ NEAR)
    assert result.status is Status.DOUBTFUL


def test_the_rule_that_stops_is_the_deviation_of_ten_steps():
    solver = LearnedConfig(step_deviation_mm=1e-2).solver(60.0, 40.0)
    assert solver.step_deviation_tolerance == 1e-2
    assert solver.step_tolerance == 0 == solver.decrease_tolerance
    usual = LearnedConfig().solver(60.0, 40.0)
    assert usual.step_deviation_tolerance == 0 and usual.step_tolerance == 0.3


def test_without_stages_there_must_be_networks_and_no_way_back():
    with raises(UsageError, "registration.invalid-value", "fall_back"):
        RegistrationConfig(stages=())
    with raises(UsageError, "registration.invalid-value", "`refine_distortion`"):
        replace(PAPER, refine_distortion=True)
    with raises(UsageError, "registration.invalid-value", "`model`"):
        register(VOLUME, XRAY, NEAR, PAPER)
    with raises(UsageError, "model.unused", "beer_lambert"):
        config = replace(PAPER, preprocess=PreprocessConfig(method="log_ratio"))
        register(VOLUME, XRAY, None, config, model=published())


@pytest.mark.slow
def test_a_model_of_line_integrals_sees_them_as_before():
    """The domain is the model's: without one, nothing changes."""
    config = RegistrationConfig(
        searches=(SearchConfig(candidates=0),), learned=LearnedConfig(coarse=True, fall_back=False)
    )
    fixed = FixedImage.of(XRAY, config.preprocess)
    made = model({"coarse_encoder": encoders()["coarse_encoder"]})
    learned = Learned.of(made, VOLUME, fixed, config)
    assert torch.equal(learned.fixed.image, fixed.through(made.record.camera).image)
    assert same(*(register(VOLUME, XRAY, NEAR, config, model=made) for _ in range(2)))
