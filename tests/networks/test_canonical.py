import torch

from isoclinic.errors import UsageError
from isoclinic.networks import CanonicalConfig, CanonicalNetwork
from raising import raises
from tiny_networks import BACKBONE


def test_every_pixel_gets_a_value_and_a_bounded_precision():
    torch.manual_seed(0)
    network = CanonicalNetwork(CanonicalConfig(backbone=BACKBONE, log_precision_range=2.0))
    with torch.no_grad():
        network.output.weight *= 1e3
    predicted = network(torch.rand(2, 24, 40, generator=torch.Generator().manual_seed(1)))
    assert predicted.target.shape == predicted.log_precision.shape == (2, 24, 40)
    assert predicted.log_precision.abs().max() <= 2.0
    assert predicted.log_precision.abs().max() > 1.9


def test_settings_that_cannot_work_are_refused():
    for settings in [
        {"window_px": 8},
        {"window_px": 1},
        {"floor": 0.0},
        {"log_precision_range": -1.0},
        {"saturation": 0.0},
    ]:
        with raises(UsageError, "model.invalid-value", *settings):
            CanonicalConfig(**settings)


def test_a_hint_is_seen_and_needed():
    torch.manual_seed(0)
    network = CanonicalNetwork(CanonicalConfig(backbone=BACKBONE, hint=True))
    generator = torch.Generator().manual_seed(1)
    image, hint = torch.rand(2, 2, 16, 16, generator=generator)
    predicted = network(image, hint).target
    assert predicted.shape == image.shape
    assert not torch.equal(predicted, network(image, hint.flip(-1)).target)
    with raises(UsageError, "model.wrong-shape", "hint"):
        network(image)
    plain = CanonicalNetwork(CanonicalConfig(backbone=BACKBONE))
    with raises(UsageError, "model.wrong-shape", "hint"):
        plain(image, hint)
