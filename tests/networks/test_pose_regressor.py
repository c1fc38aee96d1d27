import math

import pytest
import torch

from isoclinic.errors import UsageError
from isoclinic.geometry import se3, so3, so4
from isoclinic.networks import PoseRegressor, PoseRegressorConfig
from raising import raises

HEADS = ["so4", "quaternion", "matrix"]


def regressor(head: str, gain: float = 1.0, **settings) -> PoseRegressor:
    torch.manual_seed(0)
    network = PoseRegressor(PoseRegressorConfig(width=8, norm="group", head=head, **settings))
    with torch.no_grad():
        network.network.fc.weight *= gain
    return network.eval()


def images(batch: int = 6, height: int = 40, width: int = 56) -> torch.Tensor:
    return torch.rand(batch, height, width, generator=torch.Generator().manual_seed(1))


@pytest.mark.parametrize("head", HEADS)
@pytest.mark.parametrize("norm", ["batch", "group"])
def test_an_untrained_network_predicts_about_the_nominal_view(head, norm):
    torch.manual_seed(0)
    motion = PoseRegressor(PoseRegressorConfig(width=8, norm=norm, head=head))(images())
    # The initial weights make raw numbers of about 1e-2: that many radians, 2L times as many millimetres.
    assert se3.log(motion)[:, :3].abs().max() < 0.1
    assert motion[:, :3, 3].abs().max() < 20


@pytest.mark.parametrize("head", HEADS)
@pytest.mark.parametrize("gain", [1.0, 1e2, 1e4])
def test_every_prediction_is_a_pose_within_reach(head, gain):
    network = regressor(head, gain)
    motion = network(images())
    identity = torch.eye(3, dtype=torch.float64).expand(len(motion), 3, 3)
    torch.testing.assert_close(motion[:, :3, :3] @ motion[:, :3, :3].mT, identity, atol=1e-12, rtol=0)
    assert (torch.linalg.det(motion[:, :3, :3]) > 0).all()
    reach = math.hypot(*network.config.translation_mm)
    if head == "so4":
        reach = 2 * network.config.length_mm * math.tan(math.hypot(*network.config.translation_angles))
    assert (torch.linalg.vector_norm(motion[:, :3, 3], dim=-1) <= reach).all()
    most = math.radians(math.hypot(*network.config.rotation_deg))
    assert (torch.linalg.vector_norm(so3.log(motion[:, :3, :3]), dim=-1) <= most).all()


def test_the_so4_head_bounds_each_axis_of_a_pure_motion():
    network = regressor("so4")
    # Halves of the logarithm: equal for a turn about x, opposite for a shift along z.
    turn = so4.exp(torch.tensor([[3.0, 0, 0, 3.0, 0, 0]]).double())
    shift = so4.exp(torch.tensor([[0, 0, 3.0, 0, 0, -3.0]]).double())
    raw = (torch.cat([turn, shift]) - so4.identity()).flatten(1)
    turned, shifted = network._decode(raw)
    bound = math.radians(60)
    expected = torch.tensor([bound * math.tanh(3.0 / bound), 0, 0]).double()
    torch.testing.assert_close(so3.log(turned[:3, :3]), expected, atol=1e-7, rtol=0)
    limit = math.atan(225 / 200)
    depth = 200 * math.tan(limit * math.tanh(3.0 / limit))
    torch.testing.assert_close(shifted[:3, 3], torch.tensor([0, 0, depth]).double(), atol=1e-4, rtol=0)


@pytest.mark.parametrize("head", HEADS)
def test_derivatives_are_those_of_finite_differences(head):
    network = regressor(head, gain=30.0).double()
    image = images(batch=2, height=32, width=32).double()
    direction = torch.randn(image.shape, generator=torch.Generator().manual_seed(2)).double()
    weights = torch.randn(2, 4, 4, generator=torch.Generator().manual_seed(3)).double()

    def value(step: float) -> torch.Tensor:
        return (weights * network(image + step * direction)).sum()

    image.requires_grad_()
    (gradient,) = torch.autograd.grad(value(0.0), image)
    # ReLUs kink; over a step of 1e-6 hardly any does. Rounding is about 1e-13 of 100 mm over 1e-6.
    expected = (value(1e-6) - value(-1e-6)) / 2e-6
    torch.testing.assert_close((gradient * direction).sum(), expected, rtol=1e-4, atol=1e-4)


def test_a_range_that_is_no_range_is_refused():
    for settings, names in [
        ({"head": "euler"}, ("head", "euler")),
        ({"rotation_deg": (120.0, 120.0, 120.0)}, ("rotation_deg", "180")),
        (
            {"translation_mm": (90.0, 90.0, 2250.0), "length_mm": 10.0},
            ("translation_mm", "length_mm", "2250.0"),
        ),
        ({"translation_mm": (0.0, 90.0, 225.0)}, ("rotation_deg", "translation_mm", "length_mm")),
    ]:
        with raises(UsageError, "model.invalid-value", *names):
            PoseRegressorConfig(**settings)
