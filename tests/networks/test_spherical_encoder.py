import math

import pytest
import torch

from isoclinic.errors import UsageError
from isoclinic.geometry import so4
from isoclinic.networks import BackboneConfig, Embedding, SphericalEncoder, SphericalEncoderConfig
from isoclinic.networks import embedding as embeddings
from raising import raises
from tiny_networks import VARIANTS, encoder


def images(height: int, width: int, batch: int = 2, seed: int = 0) -> torch.Tensor:
    return torch.rand(batch, height, width, generator=torch.Generator().manual_seed(seed))


def random_embedding(seed: int, batch=2, locations=5, elements=3) -> Embedding:
    generator = torch.Generator().manual_seed(seed)
    raw = torch.randn(batch, locations, 8 * elements, generator=generator).double()
    confidence = torch.randn(batch, locations, generator=generator).double()
    return Embedding(embeddings.elements_from_raw(raw, "spherical"), confidence)


@pytest.mark.parametrize("size", [(64, 64), (72, 96), (128, 40)])
@pytest.mark.parametrize("head", ["global", "dense"])
def test_any_multiple_of_the_stride_is_embedded(size, head):
    torch.manual_seed(0)
    network = SphericalEncoder(SphericalEncoderConfig(head=head))
    elements, log_confidence = network(images(*size))
    locations = 1 if head == "global" else size[0] * size[1] // 16
    assert elements.shape == (2, locations, 8, 2, 4)
    assert log_confidence.shape == (2, locations)
    # Unit quaternions to float32's rounding.
    torch.testing.assert_close(elements.norm(dim=-1), torch.ones(2, locations, 8, 2), atol=1e-6, rtol=0)


def test_other_sizes_are_refused():
    with raises(UsageError, "model.wrong-shape", "8"):
        SphericalEncoder(SphericalEncoderConfig())(images(64, 60))


def test_presets_have_the_parameters_they_claim():
    def millions(config):
        return sum(p.numel() for p in SphericalEncoder(config).parameters()) / 1e6

    assert 0.4 < millions(SphericalEncoderConfig()) < 0.7
    assert 5 < millions(SphericalEncoderConfig.paper()) < 9


@pytest.mark.parametrize(("head", "metric"), VARIANTS)
def test_offset_and_gain_of_an_image_do_not_matter(head, metric):
    network = encoder(head, metric)
    image = images(32, 32)
    distance = network.squared_distance(network(image), network(3 * image + 1))
    # Float32 rounding, and the floor 1e-6 against a variance of 1/12.
    assert distance.max() < 1e-6
    assert network.squared_distance(network(image), network(images(32, 32, seed=1))).min() > 1e-4


def test_where_something_is_matters():
    """Position codes: a pattern that repeats over the image is embedded differently when moved."""
    network = encoder()
    blob = torch.zeros(1, 64, 64)
    blob[:, 16:24, 16:24] = 1
    moved = blob.roll((24, 24), (1, 2))
    assert network.squared_distance(network(blob), network(moved)) > 1e-3


def test_the_distance_is_the_weighted_mean_of_geodesic_ones():
    moving, fixed = random_embedding(1), random_embedding(2)
    weight = moving.log_confidence.exp() * fixed.log_confidence.exp()
    weight = weight / weight.sum(-1, keepdim=True)
    square = so4.squared_distance(moving.elements, fixed.elements)
    expected = (weight[..., None] * square / 3).sum((1, 2))
    torch.testing.assert_close(embeddings.squared_distance(moving, fixed, "spherical"), expected)


def test_both_signs_of_an_element_are_one_rotation_but_a_single_one_is_not():
    moving, fixed = random_embedding(1), random_embedding(2)
    distance = embeddings.squared_distance(moving, fixed, "spherical")
    flipped = moving._replace(elements=-moving.elements)
    torch.testing.assert_close(embeddings.squared_distance(flipped, fixed, "spherical"), distance)
    half = moving._replace(elements=moving.elements * torch.tensor([1.0, -1.0])[:, None])
    assert (embeddings.squared_distance(half, fixed, "spherical") - distance).abs().min() > 0.1


def test_the_euclidean_distance_is_the_same_for_neighbours():
    fixed = random_embedding(1)
    small = 1e-3 * torch.randn(2, 5, 3, 6, generator=torch.Generator().manual_seed(3)).double()
    moving = fixed._replace(elements=so4.compose(fixed.elements, so4.exp(small)))
    # Chord and arc differ by the square of the angle over 24.
    torch.testing.assert_close(
        embeddings.squared_distance(moving, fixed, "euclidean"),
        embeddings.squared_distance(moving, fixed, "spherical"),
        rtol=1e-5,
        atol=0,
    )


@pytest.mark.parametrize("metric", ["spherical", "euclidean"])
def test_first_and_second_derivatives_are_those_of_finite_differences(metric):
    generator = torch.Generator().manual_seed(4)
    raw = 0.5 * torch.randn(1, 2, 8, generator=generator).double()
    confidence = torch.randn(1, 2, generator=generator).double()
    fixed = random_embedding(5, batch=1, locations=2, elements=1)

    def residual(raw, confidence):
        moving = Embedding(embeddings.elements_from_raw(raw, metric), confidence)
        return embeddings.residual(moving, fixed, metric)

    inputs = (raw.requires_grad_(), confidence.requires_grad_())
    assert torch.autograd.gradcheck(residual, inputs, check_forward_ad=True)
    assert torch.autograd.gradgradcheck(residual, inputs)


def test_settings_that_cannot_work_are_refused():
    for settings in [{"channels": (16,)}, {"channels": (16, 30)}, {"heads": 5}]:
        with raises(UsageError, "model.invalid-value", *settings):
            BackboneConfig(**settings)
    with raises(UsageError, "model.invalid-value", "dense_level"):
        SphericalEncoderConfig(dense_level=4)
    assert math.isclose(BackboneConfig().stride, 8)
