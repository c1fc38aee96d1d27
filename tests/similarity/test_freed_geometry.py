"""Intrinsics, distortion, borders and scatter that give way: derivatives against finite differences."""

from dataclasses import replace

import pytest
import torch

from isoclinic.errors import UsageError
from isoclinic.rendering import Projector, RenderConfig
from isoclinic.similarity import (
    FreedGeometry,
    Freedom,
    ImageSimilarity,
    IntrinsicsRefinement,
    JointSimilarity,
    SimilarityConfig,
    without_intrinsics,
)
from isoclinic.similarity.freed_geometry import NAMES, _image_and_jacobian
from phantoms import CAMERA, phantom, true_pose
from raising import raises

VOLUME = phantom(0)
TRUTH = true_pose(VOLUME)
RENDER = RenderConfig(method="trilinear", voxel_mm=2.0, backend="cpu")
FREE = Freedom(log_focal=0.1, right_mm=5.0, down_mm=5.0, radial=0.05, spiral=0.05, border=1.0, scatter=1.0)
SIZES = (0.01, 1.0, 1.0, 0.004, 0.004, 0.2, 0.2)


def _problem(freedom: Freedom = FREE) -> FreedGeometry:
    camera = CAMERA.bin(2)
    projector = Projector.of(VOLUME, camera, TRUTH[None], RENDER)
    image = projector.image(TRUTH[None])[0]
    noise = torch.randn(image.shape, generator=torch.Generator().manual_seed(0))
    view = ImageSimilarity(
        projector=projector,
        fixed=image + 0.1 * image.std() * noise,
        weight=torch.ones_like(image),
        config=SimilarityConfig(),
    )
    joint = JointSimilarity(views=(view,), view_from_first=torch.eye(4, dtype=torch.float64)[None])
    return FreedGeometry(joint=joint, borders=(projector.of_border(RENDER),), freedom=(freedom,))


def _moved(problem: FreedGeometry, x: torch.Tensor, index: int, by: float) -> torch.Tensor:
    delta = torch.zeros(1, 6 + 9, dtype=torch.float64)
    delta[0, index] = by
    return problem.retract(x, delta)


def _cost(problem: FreedGeometry, x: torch.Tensor) -> float:
    return float(problem.linearize(x, torch.arange(1)).cost)


@pytest.mark.parametrize("name", [name for name in NAMES if name not in ("radial", "spiral")])
def test_gradients_are_those_of_the_cost(name):
    """Away from the optimum, where the slope is far above the rounding of float32 images."""
    problem = _problem()
    index = problem.place(name, 0)
    x = _moved(problem, problem.start(TRUTH[None]), index, 2 * SIZES[NAMES.index(name)])
    step = 0.25 * SIZES[NAMES.index(name)]
    ahead, behind = (_cost(problem, _moved(problem, x, index, sign * step)) for sign in (1, -1))
    slope = float(problem.linearize(x, torch.arange(1)).gradient[0, index])
    # Trilinear images have kinks.
    assert slope == pytest.approx((ahead - behind) / (2 * step), rel=0.15), name


@pytest.mark.parametrize("name", ["radial", "spiral"])
def test_distorted_images_change_as_their_derivative_says(name):
    """Interpolating a distorted image blurs it, by turns more and less, which derivatives do not know.

    So the cost's slope does not tell, but the image's change does: in size, on average over pixels, and in
    shape.
    """
    problem = _problem()
    view, place = problem.joint.views[0], NAMES.index(name)

    def images(value: float) -> tuple[torch.Tensor, torch.Tensor]:
        values = torch.zeros(9, dtype=torch.float64)
        values[place] = value
        return _image_and_jacobian(view, problem.borders[0], TRUTH[None], values)

    change = (images(0.031)[0] - images(0.029)[0])[0] / 0.002
    derivative = images(0.03)[1][0, 6 + place]
    product = float((change * derivative).sum())
    assert product / float(derivative.square().sum()) == pytest.approx(1, abs=0.06)
    assert product / float(derivative.norm() * change.norm()) > 0.94


def test_what_is_held_is_no_parameter():
    problem = _problem(replace(FREE, border=0.0, spiral=0.0))
    at = problem.linearize(problem.start(TRUTH[None]), torch.arange(1))
    for name in ("border", "spiral"):
        index = problem.place(name, 0)
        expected = torch.zeros(15, dtype=torch.float64)
        expected[index] = 1
        assert at.gradient[0, index] == 0 and torch.equal(at.hessian[0, index], expected)


def test_values_return_to_where_they_were():
    """One step of Gauss and Newton finds a small change of the focal length that was made to the X-ray."""
    problem = _problem()
    start = problem.start(TRUTH[None])
    x = _moved(problem, start, problem.place("log_focal", 0), 0.004)
    for _ in range(3):
        at = problem.linearize(x, torch.arange(1))
        x = problem.retract(x, -torch.linalg.solve(at.hessian, at.gradient[..., None])[..., 0])
    assert _cost(problem, x) <= _cost(problem, start) + 1e-9


def test_scatter_adds_up_to_the_gradient():
    problem = _problem()
    x = _moved(problem, problem.start(TRUTH[None]), 5, 4.0)
    tiles = problem.scatter(x, 16)
    gradient = problem.linearize(x, torch.arange(1)).gradient[0]
    # The last rows stand for the priors, which have no slope where all values are 0.
    torch.testing.assert_close(tiles.gradients[0, :-7].sum(0), gradient, rtol=1e-3, atol=1e-7)


def test_the_border_is_what_a_smaller_ct_lacks():
    """The outermost layers, and nothing of what lies within."""
    projector = Projector.of(VOLUME, CAMERA.bin(2), TRUTH[None], replace(RENDER, voxel_mm="full"))
    words = projector.packed.dense()
    inner = words.clone()
    for axis in range(3):
        for layer in (1, inner.shape[axis] - 2):
            inner.select(axis, layer).zero_()
    border = projector.packed.border().dense()
    torch.testing.assert_close(border, words - inner)


def test_refined_intrinsics_become_given_ones():
    camera = CAMERA.bin(2)
    joint = replace(_problem().joint, refine_intrinsics=IntrinsicsRefinement(focal_percent=5.0))
    x = joint.start(TRUTH[None])
    x[0, 4, 0] = 0.02
    with raises(UsageError, "similarity.invalid-value", "intrinsics"):
        FreedGeometry(joint=joint, borders=(), freedom=())
    trusting, point = without_intrinsics(joint, x)
    assert torch.equal(point, TRUTH[None]) and not trusting.refine_intrinsics.on
    assert trusting.views[0].projector.camera.fx == pytest.approx(camera.fx * 1.0202, rel=1e-4)
    torch.testing.assert_close(trusting.images(point)[0], joint.images(x)[0])
