"""Images that are not rendered twice: the bits of a projector that forgets, and bounded memory."""

from dataclasses import replace

import pytest
import torch

from isoclinic.rendering import Projector, RenderConfig
from isoclinic.rendering._memory import Memory
from phantoms import CAMERA, displaced, phantom, true_pose

VOLUME = phantom(0)
TRUTH = true_pose(VOLUME)
SMALL = CAMERA.bin(4)
POSES = torch.stack([displaced(VOLUME, TRUTH, 5.0 * index, seed=index) for index in range(5)])


def projectors(backend="cpu"):
    config = RenderConfig(method="trilinear", voxel_mm=5.0, backend=backend)
    plain = Projector.of(VOLUME, SMALL, TRUTH[None], config)
    return plain, plain.remembering()


@pytest.fixture
def counted(monkeypatch):
    """The projectors, and how many batches the second one renders."""
    plain, remembering = projectors()
    calls = []
    kernel = remembering.kernel

    def render(rays):
        calls.append(rays.tangents.shape[:2])
        return kernel(rays)

    return plain, replace(remembering, kernel=render), calls


def assert_same(one, other):
    assert all(torch.equal(*pair) for pair in zip(one, other, strict=True))


def test_same_bits_whatever_was_rendered_before(counted):
    plain, remembering, calls = counted
    # Batches, parts of them in another order, with derivatives and without.
    for index in ([0, 1, 2], [2, 0], [1], [3, 1], [4, 3], [0, 1, 2, 3, 4]):
        assert torch.equal(remembering.image(POSES[index]), plain.image(POSES[index]))
        assert_same(remembering.image_and_jacobian(POSES[index]), plain.image_and_jacobian(POSES[index]))
    assert len(calls) < 12


def test_renders_only_what_is_not_there(counted):
    _, remembering, calls = counted
    remembering.image_and_jacobian(POSES[:3])
    remembering.image(POSES[1:3])
    remembering.image_and_jacobian(POSES[2:3])
    assert calls == [(3, 6)]
    # An image alone has no derivatives to give.
    remembering.image(POSES[3:4])
    remembering.image_and_jacobian(POSES[3:4])
    assert calls == [(3, 6), (1, 0), (1, 6)]
    # It does not take those away that were there.
    remembering.image(POSES[2:5])
    remembering.image_and_jacobian(POSES[2:3])
    assert calls == [(3, 6), (1, 0), (1, 6), (3, 0)]


def test_another_camera_is_another_image(counted):
    plain, remembering, _ = counted
    other = replace(SMALL, cx=SMALL.cx + 1)
    remembering.image_and_jacobian(POSES[:1])
    assert torch.equal(remembering.image(POSES[:1], other), plain.image(POSES[:1], other))
    assert not torch.equal(remembering.image(POSES[:1], other), remembering.image(POSES[:1]))


def test_the_border_has_a_memory_of_its_own():
    plain, remembering = projectors()
    config = RenderConfig(method="trilinear", backend="cpu")
    remembering.image(POSES[:1])
    border = remembering.of_border(config)
    assert torch.equal(border.image(POSES[:1]), plain.of_border(config).image(POSES[:1]))
    assert not torch.equal(border.image(POSES[:1]), remembering.image(POSES[:1]))


def test_other_backends_keep_nothing():
    _, remembering = projectors("reference")
    assert remembering.memory is None


def test_forgets_when_told(counted):
    _, remembering, calls = counted
    for _ in range(2):
        remembering.image(POSES[:1])
        remembering.forget()
    assert len(calls) == 2


def test_forgets_the_oldest():
    memory = Memory(most_pixels=2 * 6)
    image, jacobian = torch.zeros(1, 2, 3), torch.zeros(1, 6, 2, 3)
    for index in range(3):
        memory.keep(SMALL, POSES[index : index + 1], image + index, jacobian)
    assert memory.recall(SMALL, POSES[:1], 0) is None
    for index in (1, 2):
        found = memory.recall(SMALL, POSES[index : index + 1], 6)
        assert found is not None and bool((found[0] == index).all())


def test_another_projector_of_the_same_volume_need_not_render_again(counted):
    plain, remembering, calls = counted
    pose = POSES[:1]
    assert remembering.recalled(pose) is None and plain.recalled(pose) is None
    image, jacobian = remembering.image_and_jacobian(pose)
    rendering = remembering.recalled(pose)
    other = replace(remembering, memory=Memory())
    other.remember(rendering)
    count = len(calls)
    again = other.image_and_jacobian(pose)
    assert len(calls) == count and again[0].equal(image) and again[1].equal(jacobian)


def test_what_another_volume_camera_or_method_has_rendered_is_of_no_use(counted):
    _, remembering, calls = counted
    pose = POSES[:1]
    remembering.image_and_jacobian(pose)
    rendering = remembering.recalled(pose)
    for changed in (
        {"packed": replace(rendering.packed)},
        {"exact": not rendering.exact},
        {"camera": rendering.camera.bin(2)},
    ):
        other = replace(remembering, memory=Memory())
        other.remember(replace(rendering, **changed))
        count = len(calls)
        other.image_and_jacobian(pose)
        assert len(calls) == count + 1, changed
