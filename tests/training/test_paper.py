"""The presets `paper` are the published numbers: each is written out here as the supplement has it.

Chen & Kong, "Intraoperative 2D/3D Registration via Spherical Similarity Learning and Differentiable
Levenberg-Marquardt Optimization" (WACV 2026), supplementary material. What it does not say is not pinned.
"""

import math

import pytest
import torch

from isoclinic.registration import RegistrationConfig
from isoclinic.training import EncoderPhase, RandomizationConfig, ToneConfig, TrainConfig
from isoclinic.training.phase import network_of
from isoclinic.training.tone import apply_tone, draw_tone
from isoclinic.training.trainer import steps_of


def test_the_training_of_one_patient():
    config = TrainConfig.paper()
    assert config.networks == ("pose_regressor", "coarse_encoder")
    regressor, similarity = config.pose_regressor, config.coarse_encoder
    # "ResNet-18 ... Adam ... learning rate 1e-3 ... cosine ... 500k synthetic images", batches of 4.
    assert config.images_of("pose_regressor") == 500_000
    assert (regressor.batch, regressor.copies) == (4, 1)
    assert steps_of(config, "pose_regressor") == 125_000
    assert (regressor.optimizer.method, regressor.optimizer.learning_rate) == ("adam", 1e-3)
    assert regressor.optimizer.schedule == "cosine"
    # ResNet-18 (He et al. 2016): 11.18 million weights without the classifier, of one channel.
    weights = sum(each.numel() for each in network_of(regressor, seed=0).parameters())
    assert weights == pytest.approx(11.17e6, rel=1e-3)
    # One similarity network: "AdamW ... 1e-3 ... cyclic ... 200k images", batches of 1.
    assert config.images_of("coarse_encoder") == 200_000
    check_similarity(similarity)
    assert steps_of(config, "coarse_encoder") == 200_000
    check_images(config)


def test_the_training_of_any_patient():
    config = TrainConfig.paper_any_patient()
    assert config.networks == ("ct_regressor", "coarse_encoder")
    regressor, network = config.ct_regressor, config.ct_regressor.network
    # RTPIv3 (Chen et al., ICASSP 2024), "750k and 300k iterations".
    assert config.images_of("ct_regressor") == 750_000
    assert config.images_of("coarse_encoder") == 300_000
    assert (regressor.batch, regressor.copies) == (4, 1)
    assert (regressor.optimizer.method, regressor.optimizer.learning_rate) == ("adam", 1e-3)
    assert regressor.optimizer.schedule == "cosine"
    assert (network.image_features, network.volume_features[1:]) == ((64, 128), (64, 128))
    assert (network.depth_features, network.fused_features) == (16, 128)
    assert (network.stages, network.hidden) == ((64, 32, 16), (512, 128))
    assert (network.feature_px, network.ct_features) == (64, 128)
    assert config.cohort is None
    check_similarity(config.coarse_encoder)
    check_images(config)


def check_similarity(phase: EncoderPhase) -> None:
    assert (phase.batch, phase.copies) == (1, 1)
    assert (phase.optimizer.method, phase.optimizer.learning_rate) == ("adamw", 1e-3)
    assert phase.optimizer.schedule == "cyclic"
    assert phase.network.metric == "spherical"


def check_images(config: TrainConfig) -> None:
    """Siddon's method, equation (17), the seven transforms."""
    assert (config.renderer, config.domain) == ("siddon", "log_ratio")
    assert config.randomization == RandomizationConfig.paper()
    assert config.randomization.acquisition is None
    tone = config.randomization.tone
    assert (tone.smoothing_px, tone.smoothing_probability) == ((3, 5), 0.5)
    assert (tone.noise, tone.noise_reading) == ((-0.15, 0.1), "mean")
    assert (tone.normalization_lower, tone.normalization_upper) == ((-0.04, 0.02), (0.9, 1.05))
    assert (tone.scaling, tone.gamma) == ((0.9, 1.05), (0.7, 1.3))
    assert (tone.sine_amplitude, tone.sine_frequency, tone.sine_phase) == (
        (0.8, 1.1),
        (0.8, 1.1),
        (-0.5, 0.4),
    )
    assert (tone.erasing_area, tone.erasing_aspect) == ((0.02, 0.4), (0.3, 1.0))


def test_the_registration():
    config = RegistrationConfig.paper()
    # "the standard deviation of the last ten steps below 1e-2": here of millimetres and scaled rotations.
    solver = config.learned.solver(config.length_mm, config.max_step_mm)
    assert (solver.step_deviation_tolerance, solver.step_deviation_window) == (1e-2, 10)
    assert (solver.step_tolerance, solver.decrease_tolerance, solver.gradient_tolerance) == (0.0, 0.0, 0.0)
    assert config.learned.initialize and config.learned.coarse
    assert not (config.learned.fine or config.learned.canonical or config.learned.rescue)
    assert not config.learned.fall_back and not config.any_view.enabled
    assert config.stages == () and [search.candidates for search in config.searches] == [0]


def test_the_batched_preset_is_another_one():
    batched = TrainConfig.paper_batched()
    assert batched != TrainConfig.paper()
    assert batched.images == 900_000 and steps_of(batched, "pose_regressor") == math.ceil(500_000 / 32)
    assert batched.randomization.tone.noise_reading == "deviation"


def test_noise_of_the_literal_reading_has_the_mean_that_is_drawn():
    tone = RandomizationConfig.paper().tone
    parameters = draw_tone(tone, torch.Generator().manual_seed(0), 4000)
    applied = parameters.noise > 0
    assert applied.double().mean() == pytest.approx(0.5, abs=0.04)
    means = parameters.noise_mean[applied]
    assert -0.15 <= means.min() < -0.14 and 0.09 < means.max() <= 0.1
    # Uniform: the middle of the range, within five standard errors of 0.0016.
    assert means.mean() == pytest.approx(-0.025, abs=0.008)
    assert (parameters.noise_mean[~applied] == 0).all()
    assert parameters.noise[applied].unique().tolist() == pytest.approx([tone.noise_deviation])
    only = draw_tone(
        ToneConfig(
            noise_reading="mean",
            noise_probability=1.0,
            smoothing_probability=0.0,
            normalization_probability=0.0,
            scaling_probability=0.0,
            gamma_probability=0.0,
            sine_probability=0.0,
            erasing_probability=0.0,
        ),
        torch.Generator().manual_seed(1),
        3,
    )
    images = 2 + torch.rand(3, 64, 64, generator=torch.Generator().manual_seed(2))
    added = apply_tone(images, only) - images
    peak = images.amax((1, 2))
    # Of 4096 pixels the mean is within five standard errors, 0.004 of the peak, and the deviation within 6 %.
    torch.testing.assert_close(added.mean((1, 2)) / peak, only.noise_mean, rtol=0.0, atol=4e-3)
    torch.testing.assert_close(added.std((1, 2)) / peak, only.noise, rtol=0.06, atol=0.0)
