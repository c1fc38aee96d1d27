import math
from dataclasses import replace

import pytest
import torch

from isoclinic.errors import UsageError
from isoclinic.geometry import so4
from isoclinic.networks import (
    BackboneConfig,
    CanonicalConfig,
    Embedding,
    SphericalEncoder,
    SphericalEncoderConfig,
)
from isoclinic.networks import embedding as embeddings
from isoclinic.networks._blocks import local_contrast
from raising import raises
from tiny_networks import VARIANTS, encoder


def images(height: int, width: int, batch: int = 2, seed: int = 0) -> torch.Tensor:
    return torch.rand(batch, height, width, generator=torch.Generator().manual_seed(seed))


def random_embedding(seed: int, batch=2, locations=5, elements=3, read=0) -> Embedding:
    """With so many readings on the sphere, or none."""
    generator = torch.Generator().manual_seed(seed)
    raw = torch.randn(batch, locations, 8 * elements, generator=generator).double()
    confidence = torch.randn(batch, locations, generator=generator).double()
    reading = torch.randn(batch, locations, read, 6 * elements, generator=generator).double()
    return Embedding(embeddings.elements_from_raw(raw, "spherical"), confidence, reading if read else None)


@pytest.mark.parametrize("size", [(64, 64), (72, 96), (128, 40)])
@pytest.mark.parametrize("head", ["global", "dense"])
def test_any_multiple_of_the_stride_is_embedded(size, head):
    torch.manual_seed(0)
    network = SphericalEncoder(SphericalEncoderConfig(head=head))
    elements, log_confidence, reading = network(images(*size))
    assert reading is None
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


def test_a_reading_adds_up_before_it_squares():
    moving, fixed = random_embedding(1, read=7), random_embedding(2, read=7)
    residual = torch.zeros(2, 7, dtype=torch.float64)
    for image in range(2):
        for location in range(5):
            differences = [
                so4.log(so4.compose(so4.inverse(a), b))
                for a, b in zip(
                    moving.elements[image, location], fixed.elements[image, location], strict=True
                )
            ]
            residual[image] += moving.reading[image, location] @ torch.cat(differences)
    # A tenth over the root of the number of locations.
    residual *= 0.1 / math.sqrt(5)
    torch.testing.assert_close(embeddings.residual(moving, fixed, "spherical"), residual)
    distance = embeddings.squared_distance(moving, fixed, "spherical")
    torch.testing.assert_close(distance, residual.square().sum(1) / 2)
    assert embeddings.squared_distance(moving, moving, "spherical").max() < 1e-20
    # What the fixed image would read does not count.
    other = fixed._replace(reading=-3 * fixed.reading)
    torch.testing.assert_close(embeddings.squared_distance(moving, other, "spherical"), distance)


@pytest.mark.parametrize("metric", ["spherical", "euclidean"])
@pytest.mark.parametrize("moving_rows", [[0, 0, 0, 1, 3, 3], [2], [1, 1]])
def test_residuals_of_pairs_are_those_of_pair_by_pair_and_so_are_their_derivatives(metric, moving_rows):
    """Rows with many pairs, with one and with none, as a moving image has others near it or not."""
    embedded = random_embedding(1, batch=4, read=7)
    if metric == "euclidean":
        reading = torch.randn(4, 5, 7, 24, generator=torch.Generator().manual_seed(5)).double()
        embedded = embedded._replace(reading=reading)
    moving = torch.tensor(moving_rows)
    fixed = torch.tensor([1, 3, 0, 1, 2, 0])[: len(moving)]
    leaves = embedded.elements.requires_grad_(), embedded.reading.requires_grad_()

    def with_slopes(residual):
        weight = torch.linspace(-1, 2, residual.numel()).double().reshape(residual.shape)
        return residual, *torch.autograd.grad((weight * residual).sum(), leaves)

    expected = with_slopes(embeddings.residual(embedded.select(moving), embedded.select(fixed), metric))
    got = with_slopes(embeddings.pair_residuals(embedded, moving, fixed, metric))
    for one, other in zip(got, expected, strict=True):
        # float64: only the order of sums differs.
        torch.testing.assert_close(one, other, rtol=1e-10, atol=1e-12)


def test_a_reading_averages_noise_out_that_a_mean_of_squares_adds_up():
    """Noise of 0.05 rad at each of 400 locations hides a common turn of 0.01 rad from the mean of squares."""
    generator = torch.Generator().manual_seed(3)
    moving = random_embedding(1, batch=1, locations=400, elements=1)
    turn = torch.tensor([0.01, 0, 0, 0, 0, 0]).double()
    noise = 0.05 * torch.randn(1, 400, 1, 6, generator=generator).double()
    fixed = moving._replace(elements=so4.compose(moving.elements, so4.exp(turn + noise)))
    mean = embeddings.squared_distance(moving, fixed, "spherical").sqrt()
    # Six numbers of noise at each location.
    assert math.isclose(mean.item(), 0.05 * math.sqrt(6 / 2), rel_tol=0.05)
    # The plain mean of all locations.
    reading = torch.eye(6).double().expand(1, 400, 6, 6) / (0.1 * math.sqrt(400))
    read = embeddings.residual(moving._replace(reading=reading), fixed, "spherical")
    # Five deviations of a mean of 400.
    torch.testing.assert_close(read[0], turn, atol=5 * 0.05 / 20, rtol=0)


def test_embeddings_can_be_selected_from_and_put_together():
    first, second = random_embedding(1, read=6), random_embedding(2, batch=3, read=6)
    both = first.followed_by(second)
    for part, items in ((first, torch.arange(2)), (second, torch.arange(2, 5))):
        for got, expected in zip(both.select(items), part, strict=True):
            torch.testing.assert_close(got, expected, rtol=0, atol=0)
    assert random_embedding(1).followed_by(random_embedding(2)).reading is None


def test_the_motion_head_has_its_readings_and_stride():
    config = SphericalEncoderConfig(
        backbone=BackboneConfig(channels=(16, 32), heads=2, first_stride=2, contrast_px=9),
        head="motion",
        elements=3,
        dense_level=1,
        readings=8,
    )
    assert config.backbone.stride == 4
    made = SphericalEncoder(config)(images(32, 48))
    assert made.elements.shape == (2, 8 * 12, 3, 2, 4)
    assert made.reading.shape == (2, 8 * 12, 8, 18)
    twin = SphericalEncoder(replace(config, metric="euclidean"))(images(32, 48))
    assert twin.reading.shape == (2, 8 * 12, 8, 24)


def test_local_contrast_is_standardised_within_windows():
    image = images(20, 24).double()[:, None]
    got = local_contrast(image, 5)
    for y, x in [(0, 0), (10, 12), (19, 23), (1, 20)]:
        window = image[0, 0, max(y - 2, 0) : y + 3, max(x - 2, 0) : x + 3]
        expected = (image[0, 0, y, x] - window.mean()) / (window.var(correction=0) + 0.05**2).sqrt()
        torch.testing.assert_close(got[0, 0, y, x], expected)


@pytest.mark.parametrize("read", [0, 6])
@pytest.mark.parametrize("metric", ["spherical", "euclidean"])
def test_first_and_second_derivatives_are_those_of_finite_differences(metric, read):
    generator = torch.Generator().manual_seed(4)
    raw = 0.5 * torch.randn(1, 2, 8, generator=generator).double()
    confidence = torch.randn(1, 2, generator=generator).double()
    fixed = random_embedding(5, batch=1, locations=2, elements=1)
    size = 6 if metric == "spherical" else 8
    matrices = torch.randn(1, 2, read, size, generator=generator).double() if read else None

    def residual(raw, confidence):
        # A reading that depends on the image, as the elements do.
        reading = None if matrices is None else matrices * confidence.exp()[..., None, None]
        moving = Embedding(embeddings.elements_from_raw(raw, metric), confidence, reading)
        return embeddings.residual(moving, fixed, metric)

    inputs = (raw.requires_grad_(), confidence.requires_grad_())
    assert torch.autograd.gradcheck(residual, inputs, check_forward_ad=True)
    assert torch.autograd.gradgradcheck(residual, inputs)


def test_settings_that_cannot_work_are_refused():
    refused = [{"channels": (16,)}, {"channels": (16, 30)}, {"heads": 5}, {"first_stride": 3}]
    for settings in [*refused, {"contrast_px": 1}, {"contrast_px": 8}]:
        with raises(UsageError, "model.invalid-value", *settings):
            BackboneConfig(**settings)
    with raises(UsageError, "model.invalid-value", "dense_level"):
        SphericalEncoderConfig(dense_level=4)
    with raises(UsageError, "model.invalid-value", "readings"):
        SphericalEncoderConfig(readings=5)
    with raises(UsageError, "model.invalid-value", "first_stride"):
        CanonicalConfig(backbone=BackboneConfig(first_stride=2))
    assert math.isclose(BackboneConfig().stride, 8)
