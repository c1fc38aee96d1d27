"""What networks see does not depend on what a collimator hides."""

import torch

from isoclinic.networks import masked


def test_hidden_pixels_have_no_influence():
    generator = torch.Generator().manual_seed(0)
    image = torch.rand(3, 8, 8, generator=generator)
    weight = (torch.rand(3, 8, 8, generator=generator) > 0.3).float()
    other = torch.where(weight > 0, image, 100 * torch.rand(3, 8, 8, generator=generator))
    torch.testing.assert_close(masked(other, weight), masked(image, weight), rtol=0, atol=1e-6)
    assert (masked(image, weight)[weight == 0] == 0).all()


def test_what_is_seen_is_about_its_mean_and_nothing_else_changes():
    image = torch.rand(2, 8, 8, generator=torch.Generator().manual_seed(1)).double()
    weight = torch.ones_like(image)
    weight[:, :3] = 0
    seen = masked(image, weight)[:, 3:]
    torch.testing.assert_close(seen, image[:, 3:] - image[:, 3:].mean((1, 2), keepdim=True))


def test_an_image_that_is_hidden_altogether_is_zero():
    assert (masked(torch.rand(1, 4, 4), torch.zeros(1, 4, 4)) == 0).all()
