"""The layers against the blocks of MONAI that they stand for: names, initial weights, results."""

from __future__ import annotations

import pytest
import torch
from torch import nn

from isoclinic.models import default_model
from isoclinic.networks._blocks import Backbone
from isoclinic.networks._layers import Convolution, Enlargement, LayerNorm, ResidualUnit, TransformerBlock

blocks = pytest.importorskip("monai.networks.blocks")

GROUP = ("group", {"num_groups": 4})
IMAGE, VOLUME, TOKENS = (2, 8, 12, 10), (1, 8, 6, 5, 4), (2, 15, 16)


def monai_transformer(channels: int, heads: int) -> nn.Module:
    block = blocks.TransformerBlock(channels, 4 * channels, heads)
    # MONAI's has torch's fused normalisation, which lacks derivatives that training needs.
    for name in ("norm1", "norm2", "norm_cross_attn"):
        setattr(block, name, LayerNorm(channels))
    return block


PAIRS = {
    "convolution": (
        lambda: Convolution(2, 8, 16, norm_groups=4, activation="gelu"),
        lambda: blocks.Convolution(2, 8, 16, act="gelu", norm=GROUP),
        IMAGE,
    ),
    "convolution in 3-D, grouped": (
        lambda: Convolution(3, 8, 16, norm_groups=4, activation="relu", bias=False, groups=2),
        lambda: blocks.Convolution(3, 8, 16, act="relu", norm=GROUP, bias=False, groups=2),
        VOLUME,
    ),
    "1x1 convolution without activation": (
        lambda: Convolution(2, 8, 8, norm_groups=4, activation=None, kernel_size=1),
        lambda: blocks.Convolution(2, 8, 8, act=None, norm=GROUP, kernel_size=1),
        IMAGE,
    ),
    "residual unit": (
        lambda: ResidualUnit(8, 8, stride=1, norm_groups=4),
        lambda: blocks.ResidualUnit(2, 8, 8, act="gelu", norm=GROUP),
        IMAGE,
    ),
    "residual unit, wider": (
        lambda: ResidualUnit(8, 16, stride=1, norm_groups=4),
        lambda: blocks.ResidualUnit(2, 8, 16, act="gelu", norm=GROUP),
        IMAGE,
    ),
    "residual unit, halving": (
        lambda: ResidualUnit(8, 16, stride=2, norm_groups=4),
        lambda: blocks.ResidualUnit(2, 8, 16, strides=2, act="gelu", norm=GROUP),
        IMAGE,
    ),
    "transformer": (lambda: TransformerBlock(16, 4), lambda: monai_transformer(16, 4), TOKENS),
    "enlargement": (
        lambda: Enlargement(8, 4),
        lambda: blocks.UpSample(2, 8, 4, mode="nontrainable", align_corners=False),
        IMAGE,
    ),
    "enlargement to as many channels": (
        lambda: Enlargement(8, 8),
        lambda: blocks.UpSample(2, 8, 8, mode="nontrainable", align_corners=False),
        IMAGE,
    ),
}


def seeded(make) -> nn.Module:
    torch.manual_seed(3)
    return make()


@pytest.mark.parametrize("name", PAIRS)
def test_same_weights_and_results_as_monai(name):
    ours, theirs = seeded(PAIRS[name][0]), seeded(PAIRS[name][1])
    assert list(ours.state_dict()) == list(theirs.state_dict())
    for key, weight in theirs.state_dict().items():
        assert torch.equal(ours.state_dict()[key], weight), key
    x = torch.randn(PAIRS[name][2], generator=torch.Generator().manual_seed(1))
    results = []
    for network in (ours, theirs):
        moving = x.clone().requires_grad_()
        result = network(moving)
        (gradient,) = torch.autograd.grad(result.square().sum(), moving)
        results.append((result, gradient))
    # The same operations in the same order give the same bits on one machine; 1e-6 of numbers near 1 leaves
    # room for another order of summation.
    for mine, its in zip(*results, strict=True):
        torch.testing.assert_close(mine, its, rtol=1e-6, atol=1e-6)


def test_the_whole_network_that_comes_along_against_monai():
    """The backbone as it was built from MONAI's blocks, with the weights of the file that comes along."""
    network = default_model().networks["canonical"]
    ours = network.backbone
    config = network.config.backbone
    theirs = Backbone(config, 0).eval()
    norm, channels = ("group", {"num_groups": config.norm_groups}), config.channels
    theirs.levels = nn.ModuleList(
        blocks.ResidualUnit(2, below, here, strides=1 if level == 0 else 2, act="gelu", norm=norm)
        for level, (below, here) in enumerate(zip((1, *channels), channels, strict=False))
    )
    attention = [monai_transformer(channels[-1], config.heads) for _ in range(config.transformer_blocks)]
    theirs.transformer = nn.Sequential(*attention, nn.LayerNorm(channels[-1]))
    theirs.enlarge = nn.ModuleList(
        blocks.UpSample(2, channels[level + 1], channels[level], mode="nontrainable", align_corners=False)
        for level in (2, 1, 0)
    )
    theirs.merge = nn.ModuleList(
        blocks.Convolution(2, 2 * channels[level], channels[level], act="gelu", norm=norm)
        for level in (2, 1, 0)
    )
    theirs.load_state_dict(ours.state_dict())
    image = torch.rand(2, 64, 48, generator=torch.Generator().manual_seed(2))
    with torch.no_grad():
        found, expected = ours(image), theirs.eval()(image)
    assert float(expected.std()) > 0.1, "there is something to compare"
    torch.testing.assert_close(found, expected, rtol=1e-5, atol=1e-6)


@pytest.mark.slow
def test_attention_can_be_differentiated_forwards_then_backwards():
    """As the loss on solver steps does."""
    block = TransformerBlock(8, 2).double()
    x = torch.randn(1, 5, 8, dtype=torch.float64, generator=torch.Generator().manual_seed(1))
    direction = torch.randn(x.shape, dtype=torch.float64, generator=torch.Generator().manual_seed(2))

    def slope(at):
        return torch.func.jvp(block, (at,), (direction,))[1].square().sum()

    assert torch.autograd.gradcheck(slope, x.requires_grad_())
