"""A warm session: the results of single registrations, and following that never lets go unnoticed."""

from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace

import numpy as np
import pytest
import torch
from torch import Tensor

from isoclinic.errors import InputError, UsageError
from isoclinic.geometry import se3
from isoclinic.registration import (
    AnyViewConfig,
    FollowConfig,
    LearnedConfig,
    RegistrationConfig,
    RegistrationResult,
    SearchConfig,
    Session,
    _follow,
    register,
)
from isoclinic.registration._follow import FOLLOWED, from_pose
from isoclinic.registration._progress import Progress
from isoclinic.rendering import _cpu
from isoclinic.solver import Status
from isoclinic.volumes import POLARITY_GUESSED, Finding
from phantoms import CAMERA, displaced, error_mm, phantom, true_pose, xray_of
from raising import raises

VOLUME, OTHER = phantom(0), phantom(1)
TRUTH = true_pose(VOLUME)
XRAY = xray_of(VOLUME, TRUTH, seed=0)
ISOCENTRE = torch.from_numpy(VOLUME.isocentre_world)

SMALL = RegistrationConfig(searches=(SearchConfig(candidates=32, keep=6),))
# The searches that find nothing in another patient's X-ray take long.
ONLY = replace(SMALL, any_view=AnyViewConfig(enabled=False), learned=LearnedConfig(rescue=False))
EXACT_MM = 1.0


def moved(*tangent: float) -> Tensor:
    return se3.perturb(TRUTH, torch.tensor(tangent, dtype=torch.float64), ISOCENTRE)


NEAR = moved(0.01, -0.015, 0.01, 1.5, -2.0, 1.0)
FAR = moved(0.02, 0.05, -0.35, 25.0, 12.0, 0.0)


def assert_same(one: RegistrationResult, other: RegistrationResult) -> None:
    """Bit for bit, but for the part of the covariance that sums in an order that torch leaves open."""
    assert torch.equal(one.camera_from_world, other.camera_from_world)
    assert torch.equal(one.confidence.image_covariance, other.confidence.image_covariance)
    torch.testing.assert_close(one.confidence.covariance, other.confidence.covariance, rtol=1e-3, atol=1e-6)
    for name in ("status", "reason", "similarity", "attempt", "attempts"):
        assert getattr(one, name) == getattr(other, name)
    for name in ("edges", "rival", "overlap", "image_error_mm", "doubts"):
        assert getattr(one.confidence, name) == getattr(other.confidence, name)
    for stage, same in zip(one.trace, other.trace, strict=True):
        assert torch.equal(stage.solution.x, same.solution.x)


@pytest.fixture(scope="module")
def cases() -> list[tuple[object, object, RegistrationResult]]:
    """X-rays with starts of several kinds, and what single registrations make of them."""
    given = [
        (XRAY, None),
        (xray_of(VOLUME, displaced(VOLUME, TRUTH, 10, seed=2), seed=1), displaced(VOLUME, TRUTH, 25, seed=3)),
        (xray_of(VOLUME, NEAR, 2, CAMERA.crop(top=9, left=3, height=110, width=120)), "ap"),
    ]
    return [(xray, init, register(VOLUME, xray, init, SMALL)) for xray, init in given]


@pytest.mark.slow
def test_results_are_those_of_single_registrations_in_any_order(cases):
    session = Session(VOLUME, SMALL)
    for index in (0, 1, 2, 1, 0, 0, 2):
        xray, init, alone = cases[index]
        assert_same(session.register(xray, init), alone)
        # What was followed in between changes nothing, either.
        session.follow(XRAY)


@pytest.mark.slow
def test_results_are_those_of_single_registrations_from_threads(cases):
    session, another = Session(VOLUME, SMALL), Session(OTHER, SMALL)
    foreign = xray_of(OTHER, true_pose(OTHER), seed=3)
    expected = register(OTHER, foreign, config=SMALL)
    order = [0, 1, 2, None, 2, None, 1, 0]

    def one(index: int | None) -> RegistrationResult:
        if index is None:
            return another.register(foreign)
        return session.register(*cases[index][:2])

    with ThreadPoolExecutor(4) as threads:
        results = list(threads.map(one, order))
    for index, result in zip(order, results, strict=True):
        assert_same(result, expected if index is None else cases[index][2])


@pytest.mark.slow
def test_threads_that_follow_get_the_poses_of_their_own_xrays():
    session = Session(VOLUME, SMALL)
    session.register(XRAY)
    poses = [moved(0.004 * index, 0, -0.003 * index, index, -0.5 * index, 0) for index in range(8)]
    xrays = [xray_of(VOLUME, pose, seed=20 + index) for index, pose in enumerate(poses)]
    with ThreadPoolExecutor(4) as threads:
        results = list(threads.map(session.follow, xrays))
    for pose, xray, result in zip(poses, xrays, results, strict=True):
        assert result.xrays[0] is xray
        assert error_mm(VOLUME, result.camera_from_world, pose) < EXACT_MM


@pytest.mark.slow
def test_follows_without_a_search_and_as_well_as_with_one():
    session = Session(VOLUME, SMALL)
    first = session.register(XRAY)
    xray = xray_of(VOLUME, NEAR, seed=4)
    result = session.follow(xray)
    assert result.attempt.start == result.initial.source == FOLLOWED
    assert result.attempt.candidates == 0 and len(result.attempts) == 1
    assert torch.equal(result.initial.camera_from_world, first.camera_from_world)
    assert error_mm(VOLUME, first.camera_from_world, NEAR) > 2
    assert error_mm(VOLUME, result.camera_from_world, NEAR) < EXACT_MM
    assert result.status is Status.CONVERGED and not result.confidence.doubts
    assert session.last is result and torch.equal(session.last_pose, result.camera_from_world)
    # The error to expect is that of a whole registration of the same X-ray, but for what was said about the
    # intrinsics by another X-ray: that has some scatter of its own.
    alone = register(VOLUME, xray, first.camera_from_world, SMALL)
    assert result.confidence.image_error_mm == pytest.approx(alone.confidence.image_error_mm, rel=0.05)
    assert result.confidence.expected_error_mm == pytest.approx(alone.confidence.expected_error_mm, rel=0.3)
    assert result.confidence.geometry is first.confidence.geometry


@pytest.mark.slow
def test_a_long_way_in_small_steps_is_followed_to_its_end():
    session = Session(VOLUME, SMALL)
    first = session.register(XRAY)
    for step in range(1, 11):
        pose = moved(0, 0, 0.015 * step, 3.0 * step, -1.0 * step, 0)
        result = session.follow(xray_of(VOLUME, pose, seed=step))
        assert result.attempt.start == FOLLOWED
        assert error_mm(VOLUME, result.camera_from_world, pose) < EXACT_MM
    # Too far from the first X-ray to take over what its image said about the geometry.
    assert result.confidence.geometry is not first.confidence.geometry
    assert result.confidence.geometry is not None


@pytest.mark.slow
def test_searches_where_the_match_is_lost():
    session = Session(VOLUME, RegistrationConfig())
    session.register(XRAY)
    result = session.follow(xray_of(VOLUME, FAR, seed=5))
    assert result.attempt.start != FOLLOWED and result.attempt.candidates > 0
    assert error_mm(VOLUME, result.camera_from_world, FAR) < EXACT_MM
    assert session.follow(xray_of(VOLUME, FAR, seed=6)).attempt.start == FOLLOWED


@pytest.mark.slow
def test_begins_where_it_is_told():
    session = Session(VOLUME, SMALL)
    session.register(XRAY)
    start = displaced(VOLUME, FAR, 3, seed=1)
    follow = FollowConfig(moved_deg=30)
    eager = Session(VOLUME, SMALL, follow=follow)
    eager.register(XRAY)
    xray = xray_of(VOLUME, FAR, seed=5)
    result = eager.follow(xray, start)
    assert torch.equal(result.initial.camera_from_world, start)
    assert result.attempt.start == FOLLOWED
    assert error_mm(VOLUME, result.camera_from_world, FAR) < EXACT_MM
    # As it is, twenty degrees between two X-rays are too many to be taken without a search.
    assert session.follow(xray, start).attempt.start != FOLLOWED


@pytest.mark.slow
def test_what_is_doubtful_is_never_followed():
    session = Session(VOLUME, ONLY)
    session.register(XRAY)
    known = session.last_pose
    foreign = session.follow(xray_of(OTHER, true_pose(OTHER), seed=7))
    assert foreign.status is Status.DOUBTFUL and foreign.attempt.start != FOLLOWED
    assert session.last is foreign and torch.equal(session.last_pose, known)
    again = session.follow(xray_of(VOLUME, NEAR, seed=8))
    assert again.attempt.start == FOLLOWED
    assert error_mm(VOLUME, again.camera_from_world, NEAR) < EXACT_MM


@pytest.mark.slow
def test_edges_that_fade_are_lost():
    """A pose that matches well enough by itself, but much worse than the one before it."""
    session = Session(VOLUME, SMALL)
    reference = session.register(XRAY).confidence.edges
    rng = np.random.default_rng(0)
    # A structure that the CT does not have, over a quarter of the picture.
    pixels = xray_of(VOLUME, NEAR, seed=9).pixels.copy()
    blocks = rng.uniform(0.5, 1, size=(16, 4)).repeat(8, 0).repeat(8, 1)
    pixels[:, :32] *= blocks.astype(np.float32)
    xray = replace(XRAY, pixels=pixels)
    alone = register(VOLUME, xray, TRUTH, SMALL)
    share = alone.confidence.edges / reference
    assert 0.7 < share < 0.95 and not alone.confidence.doubts
    for least, followed in ((share + 0.02, False), (share - 0.02, True)):
        each = Session(VOLUME, SMALL, follow=FollowConfig(least_edges_share=least))
        each.register(XRAY)
        assert (each.follow(xray).attempt.start == FOLLOWED) is followed


@pytest.mark.slow
def test_without_a_pose_to_rely_on_the_ladder_runs_from_where_it_began():
    session = Session(VOLUME, ONLY)
    start = displaced(VOLUME, TRUTH, 20, seed=5)
    assert session.register(xray_of(OTHER, true_pose(OTHER), seed=7), start).status is Status.DOUBTFUL
    assert session.last_pose is None
    result = session.follow(XRAY)
    assert torch.equal(result.initial.camera_from_world, start) and result.attempt.start == "matrix"
    assert error_mm(VOLUME, result.camera_from_world, TRUTH) < EXACT_MM


@pytest.mark.slow
@pytest.mark.parametrize(("part", "tolerance_mm"), [(False, 0.1), (True, 0.03)])
def test_only_whole_cts_end_by_a_longer_step(monkeypatch, part, tolerance_mm):
    """The steps of parts shrink slowly, so that a longer one would leave them short of the match."""
    session, ran = Session(VOLUME, SMALL), []

    def watched(run, *more):
        ran.append([stage.step_tolerance_mm for stage in run.config.stages])
        return from_pose(run, *more)

    monkeypatch.setattr(_follow, "from_pose", watched)
    session.register(XRAY)
    session._trusted = replace(session._trusted, part=part)
    session.follow(xray_of(VOLUME, NEAR, 4))
    assert ran and all(each == tolerance_mm for run in ran for each in run)


@pytest.mark.slow
def test_another_camera_has_its_geometry_looked_at_anew():
    session = Session(VOLUME, SMALL)
    first = session.register(XRAY)
    camera = replace(CAMERA, cx=CAMERA.cx + 4)
    result = session.follow(xray_of(VOLUME, NEAR, 4, camera))
    assert result.attempt.start == FOLLOWED
    assert result.confidence.geometry is not None
    assert result.confidence.geometry is not first.confidence.geometry
    assert error_mm(VOLUME, result.camera_from_world, NEAR) < EXACT_MM


@pytest.mark.slow
def test_headers_that_leave_something_open_are_doubted_when_followed():
    session = Session(VOLUME, SMALL)
    session.register(XRAY)
    unsettled = Finding(
        level="warning", subject="X-ray", message="the pixel spacing is guessed", unsettled=True
    )
    xray = replace(xray_of(VOLUME, NEAR, seed=4), findings=(unsettled,))
    result = session.follow(xray)
    assert result.attempt.start == FOLLOWED and result.status is Status.DOUBTFUL
    assert any("guessed" in doubt for doubt in result.confidence.doubts)


@pytest.mark.slow
def test_a_polarity_that_a_match_has_settled_is_followed():
    guessed = {"polarity": POLARITY_GUESSED}
    wrong = replace(XRAY, polarity="dark_air", provenance=guessed)
    session = Session(VOLUME, SMALL)
    with pytest.warns(UserWarning, match="the other polarity"):
        first = session.register(wrong)
    assert first.attempt.reading == "the other polarity" and not first.confidence.doubts
    xray = replace(xray_of(VOLUME, NEAR, seed=4), polarity="dark_air", provenance=guessed)
    result = session.follow(xray)
    assert result.attempt.start == FOLLOWED and result.xrays[0].polarity == "bright_air"
    assert error_mm(VOLUME, result.camera_from_world, NEAR) < EXACT_MM
    # One whose file says what is bright is not read against it.
    known = session.follow(xray_of(VOLUME, NEAR, seed=5))
    assert known.xrays[0].polarity == "bright_air" and known.attempt.reading == "as read"


@pytest.mark.slow
def test_an_xray_that_cannot_be_used_changes_nothing():
    session = Session(VOLUME, SMALL)
    first = session.register(XRAY)
    with raises(InputError, "xray.all-masked"):
        session.follow(replace(XRAY, excluded=np.ones(XRAY.pixels.shape, bool)))
    assert session.last is first and torch.equal(session.last_pose, first.camera_from_world)


@pytest.mark.slow
def test_where_the_last_one_ended_is_not_rendered_again(monkeypatch):
    """With the rendering and without: the same bits, and a rendering less."""
    renderings, real = [], _cpu.render_all

    def counted(*arguments) -> None:
        renderings.append(arguments[-1].shape)
        real(*arguments)

    monkeypatch.setattr(_cpu, "render_all", counted)
    results, counts = [], []
    for kept in (True, False):
        session = Session(VOLUME, SMALL)
        session.register(XRAY, TRUTH)
        session.follow(xray_of(VOLUME, NEAR, seed=1))
        assert len(session._trusted.rendered) == 1
        if not kept:
            session._trusted = replace(session._trusted, rendered=())
        renderings.clear()
        results.append(session.follow(XRAY))
        counts.append(len(renderings))
    assert results[0].attempt.start == FOLLOWED
    assert_same(*results)
    assert counts[0] == counts[1] - 1


@pytest.mark.slow
def test_results_keep_no_renderings():
    """They may be kept by the thousand."""
    session = Session(VOLUME, SMALL)
    for result in (session.register(XRAY), session.follow(xray_of(VOLUME, NEAR, seed=4))):
        for stage in result.trace:
            assert all(not view.projector.memory._kept for view in stage.problem.views)


@pytest.mark.slow
def test_nothing_to_follow():
    session = Session(VOLUME, SMALL)
    with raises(UsageError, "session.nothing-to-follow", "`register`"):
        session.follow(XRAY)
    session.register(XRAY)
    session.forget()
    assert session.last is None and session.last_pose is None
    with raises(UsageError, "session.nothing-to-follow"):
        session.follow(XRAY)


@pytest.mark.parametrize(
    "settings",
    [
        {"stages": ()},
        {"stages": (1, 0)},
        {"least_edges_share": 1.2},
        {"least_edges_share": float("nan")},
        {"moved_mm": 0},
        {"moved_deg": -1},
        {"geometry_mm": -1},
        {"geometry_deg": float("nan")},
    ],
)
def test_settings_that_cannot_be(settings):
    with raises(UsageError, "registration.invalid-value"):
        FollowConfig(**settings)


@pytest.mark.slow
def test_a_registration_that_is_watched_is_the_same_and_tells_where_it_is(cases):
    xray, init, alone = cases[1]
    seen: list[Progress] = []
    watched = Session(VOLUME, SMALL).register(xray, init, watch=seen.append)
    assert_same(watched, alone)
    assert seen[0].stage.startswith("searching") and seen[0].camera_from_world is None
    poses = [each.camera_from_world for each in seen if each.camera_from_world is not None]
    assert {each.stage for each in seen[1:]} >= {f"refining, {stage.name}" for stage in alone.trace[:1]}
    # From far off to the result: the last pose told is that of the last step.
    errors = [error_mm(VOLUME, pose, alone.camera_from_world) for pose in poses]
    assert errors[0] > 2 and errors[-1] < 0.2


@pytest.mark.slow
def test_what_watches_can_end_a_registration(cases):
    xray, init, alone = cases[0]
    session = Session(VOLUME, SMALL)
    session.register(xray, init)
    before = session.last_pose

    class Enough(Exception):
        pass

    def stop(progress: Progress) -> None:
        if progress.camera_from_world is not None:
            raise Enough

    with pytest.raises(Enough):
        session.register(cases[1][0], cases[1][1], watch=stop)
    assert torch.equal(session.last_pose, before) and torch.equal(session.last.camera_from_world, before)
    assert_same(session.register(xray, init), alone)
