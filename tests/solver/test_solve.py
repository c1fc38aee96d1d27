import dataclasses
import math

import numpy as np
import pytest
import torch
import tyro
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.optimize import least_squares

from isoclinic.errors import UsageError
from isoclinic.geometry import perturb, perturbation
from isoclinic.solver.problem import LeastSquares, Linearization
from isoclinic.solver.robust import L2, GemanMcClure
from isoclinic.solver.solve import LMConfig, Solution, Trace, levenberg_marquardt
from isoclinic.solver.termination import Reason, Status
from raising import raises

# Every rule that could stop early is off: only the budget and the failures are left.
ENDLESS = LMConfig(
    step_deviation_tolerance=0, step_tolerance=0, decrease_tolerance=0, gradient_tolerance=0, max_damping=1e12
)
PRECISE = dataclasses.replace(
    ENDLESS, max_steps=100, min_damping=1e-15, gradient_tolerance=1e-10, step_tolerance=1e-10
)
each_update = pytest.mark.parametrize("update", ["nielsen", "marquardt"])
each_matrix = pytest.mark.parametrize("matrix", ["diagonal", "identity"])


def _tensor(*values) -> torch.Tensor:
    return torch.tensor(values, dtype=torch.float64)


def _random(*shape: int, seed: int = 0) -> torch.Tensor:
    return torch.randn(*shape, dtype=torch.float64, generator=torch.Generator().manual_seed(seed))


def _euclidean(residual, dim: int, **more) -> LeastSquares:
    return LeastSquares(residual=residual, retract=torch.add, tangent_dim=dim, **more)


def rosenbrock(x, items):
    return torch.stack((10 * (x[:, 1] - x[:, 0] ** 2), 1 - x[:, 0]), -1)


def powell_singular(x, items):
    a, b, c, d = x.unbind(-1)
    return torch.stack(
        (a + 10 * b, math.sqrt(5) * (c - d), (b - 2 * c) ** 2, math.sqrt(10) * (a - d) ** 2), -1
    )


class Counting:
    """Counts how often each item is evaluated."""

    def __init__(self, problem: LeastSquares, batch: int):
        self.problem, self.evaluations = problem, torch.zeros(batch, dtype=torch.int64)
        self.retract = problem.retract

    def linearize(self, x: torch.Tensor, items: torch.Tensor) -> Linearization:
        assert len(x) == len(items)
        assert len(items.unique()) == len(items)
        self.evaluations[items] += 1
        return self.problem.linearize(x, items)


def _assert_accepted_costs_fall(solution: Solution):
    costs, accepted = solution.trace.cost, solution.trace.accepted
    before, after, taken = costs[:-1], costs[1:], accepted[1:]
    running = ~after.isnan()
    assert (after[taken] < before[taken]).all()
    assert (after[running & ~taken] == before[running & ~taken]).all()


# --- It finds minima ---------------------------------------------------------------------------------------


@each_matrix
def test_linear_least_squares_takes_one_step(matrix: str):
    design, target = _random(3, 8, 4), _random(3, 8, seed=1)
    weight = _random(3, 8, seed=2).abs()
    problem = _euclidean(
        lambda x, items: (design[items] @ x[..., None]).squeeze(-1) - target[items], 4, weight=weight
    )
    config = LMConfig(initial_damping=1e-12, min_damping=1e-12, damping_matrix=matrix)
    solution = levenberg_marquardt(problem, torch.zeros(3, 4).double(), config)
    root = weight.sqrt()
    expected = torch.linalg.lstsq(design * root[..., None], (target * root)[..., None]).solution.squeeze(-1)
    # Damping of 1e-12 leaves a relative error of that times the condition of JᵀWJ, below 1e3.
    torch.testing.assert_close(solution.x, expected, rtol=0, atol=1e-9)
    assert solution.steps.tolist() == [1, 1, 1]
    assert solution.reason == (Reason.GRADIENT,) * 3
    assert solution.status == (Status.CONVERGED,) * 3


@each_update
@each_matrix
@pytest.mark.parametrize(
    ("residual", "starts", "tolerance"),
    [
        (rosenbrock, [(-1.2, 1.0), (2.0, -3.0), (0.0, 0.0), (-5.0, 8.0)], 1e-7),
        # The Jacobian is singular at the minimum, x converges linearly and is known only to the fourth root
        # of the cost.
        (powell_singular, [(3.0, -1.0, 0.0, 1.0), (1.0, 2.0, -3.0, 4.0)], 1e-3),
    ],
)
def test_agrees_with_minpack(residual, starts, tolerance: float, update: str, matrix: str):
    config = dataclasses.replace(PRECISE, damping_update=update, damping_matrix=matrix, step_tolerance=1e-8)
    solution = levenberg_marquardt(_euclidean(residual, len(starts[0])), _tensor(*starts), config)
    for x, start, status in zip(solution.x, starts, solution.status, strict=True):
        oracle = least_squares(
            lambda x: residual(torch.from_numpy(x)[None], None)[0].numpy(),
            np.array(start),
            method="lm",
            xtol=1e-15,
            ftol=1e-15,
            gtol=1e-15,
        )
        np.testing.assert_allclose(x, oracle.x, rtol=0, atol=tolerance)
        assert status is Status.CONVERGED
    assert solution.cost.max() < 1e-14
    _assert_accepted_costs_fall(solution)


def test_minimum_with_nonzero_residual_agrees_with_minpack():
    times = torch.linspace(0, 4, 12, dtype=torch.float64)
    samples = 2 * torch.exp(-0.7 * times) + 0.1 * _random(12)

    def decay(x, items):
        return x[:, :1] * torch.exp(-x[:, 1:] * times) - samples

    solution = levenberg_marquardt(_euclidean(decay, 2), _tensor((1.0, 0.1)), PRECISE)
    oracle = least_squares(
        lambda x: decay(torch.from_numpy(x)[None], None)[0].numpy(),
        [1.0, 0.1],
        method="lm",
        ftol=1e-15,
        xtol=1e-15,
    )
    # The position of a minimum is known to the root of the cost's precision: 1e-8.
    np.testing.assert_allclose(solution.x[0], oracle.x, rtol=0, atol=1e-7)
    assert solution.cost.item() == pytest.approx(oracle.cost, rel=1e-12)


def test_finds_poses():
    generator = torch.Generator().manual_seed(3)
    points = 200 * (torch.rand(20, 3, dtype=torch.float64, generator=generator) - 0.5)
    centre = points.mean(0)
    truth = torch.eye(4, dtype=torch.float64).repeat(5, 1, 1)
    truth[:, 2, 3] = 800
    spread = _tensor(0.3, 0.3, 0.3, 30, 30, 60)
    truth = perturb(truth, spread * torch.randn(5, 6, dtype=torch.float64, generator=generator), centre)
    start = perturb(truth, spread * torch.randn(5, 6, dtype=torch.float64, generator=generator), centre)

    def project(pose):
        camera = points @ pose[:, :3, :3].mT + pose[:, None, :3, 3]
        return (1000 * camera[..., :2] / camera[..., 2:]).flatten(1)

    pixels = project(truth)
    problem = LeastSquares(
        residual=lambda pose, items: project(pose) - pixels[items],
        retract=lambda pose, delta: perturb(pose, delta, centre),
        tangent_dim=6,
    )
    config = dataclasses.replace(PRECISE, step_scale=(1 / 100,) * 3 + (1.0,) * 3, max_step=40.0)
    solution = levenberg_marquardt(problem, start, config)
    error = perturbation(solution.x, truth, centre)
    # Exact data: only the rounding of pixels (1e-13 of 1000) is left, seen through a condition of about 1e3.
    assert error.abs().max() < 1e-8
    assert solution.trace.step_length.nan_to_num().max() <= 40.0


def test_robust_loss_ignores_outliers():
    abscissa = torch.linspace(0, 1, 20, dtype=torch.float64)
    ordinate = 2 * abscissa - 1 + 0.01 * _random(20)
    ordinate[[3, 9, 15, 19]] += 8.0

    def line(x, items):
        return x[:, :1] * abscissa + x[:, 1:] - ordinate

    start = torch.zeros(1, 2).double()
    fits = {
        robust: levenberg_marquardt(_euclidean(line, 2, robust=robust), start, PRECISE).x[0]
        for robust in (L2(), GemanMcClure(scale=0.5))
    }
    truth = _tensor(2.0, -1.0)
    errors = {type(robust): (x - truth).abs().max().item() for robust, x in fits.items()}
    # Noise of 0.01 over 16 points moves slope and offset by about 0.01; four outliers of 8 by more than 1.
    assert errors[GemanMcClure] < 0.03
    assert errors[L2] > 1.0


@pytest.mark.slow
@given(seed=st.integers(0, 10_000), matrix=st.sampled_from(["diagonal", "identity"]), robust=st.booleans())
@settings(max_examples=10, deadline=None)
def test_cost_never_rises(seed: int, matrix: str, robust: bool):
    design = _random(6, 3, seed=seed)
    problem = _euclidean(
        lambda x, items: torch.sin(3 * x @ design.T) + x @ design.T,
        3,
        robust=GemanMcClure(scale=1.0) if robust else L2(),
    )
    config = LMConfig(damping_matrix=matrix)
    solution = levenberg_marquardt(problem, 3 * _random(4, 3, seed=seed + 1), config)
    _assert_accepted_costs_fall(solution)
    assert (solution.cost <= solution.trace.cost[0]).all()


# --- Batches -----------------------------------------------------------------------------------------------


def _mixed_batch() -> tuple[LeastSquares, torch.Tensor]:
    """Rosenbrock valleys of different steepness, from different starts: items stop at different times."""
    steepness = _tensor(1.0, 3.0, 10.0, 30.0, 2.0)

    def residual(x, items):
        return torch.stack((steepness[items] * (x[:, 1] - x[:, 0] ** 2), 1 - x[:, 0]), -1)

    return _euclidean(residual, 2), _tensor((-1.2, 1.0), (1.0, 1.0), (2.0, -3.0), (-3.0, 4.0), (0.5, 0.5))


@each_update
def test_every_item_is_solved_as_if_it_were_alone(update: str):
    problem, starts = _mixed_batch()
    config = dataclasses.replace(PRECISE, damping_update=update)
    together = levenberg_marquardt(problem, starts, config)
    assert len(set(together.steps.tolist())) > 2
    for index in range(len(starts)):

        class Alone:
            retract = staticmethod(problem.retract)

            @staticmethod
            def linearize(x, items, index=index):
                return problem.linearize(x, items + index)

        alone = levenberg_marquardt(Alone(), starts[index : index + 1], config)
        # Batched kernels may sum in another order: a few roundings, contracted by the convergence.
        torch.testing.assert_close(alone.x[0], together.x[index], rtol=1e-12, atol=1e-12)
        assert alone.reason[0] is together.reason[index]
        assert alone.steps[0] == together.steps[index]
        rows = int(alone.steps[0]) + 1
        torch.testing.assert_close(
            alone.trace.damping[:, 0], together.trace.damping[:rows, index], rtol=1e-6, atol=0
        )


def test_stopped_items_are_not_evaluated_any_more():
    problem, starts = _mixed_batch()
    counting = Counting(problem, len(starts))
    solution = levenberg_marquardt(counting, starts, PRECISE)
    assert counting.evaluations.tolist() == (solution.steps + 1).tolist()
    assert solution.steps[1] == 1, "the item that starts at its minimum sees no step to take, and stops"


def test_trace_has_one_row_per_evaluation_and_ends_at_the_solution():
    problem, starts = _mixed_batch()
    solution = levenberg_marquardt(problem, starts, PRECISE)
    trace = solution.trace
    assert trace.cost.shape == (int(solution.steps.max()) + 1, len(starts))
    assert ((~trace.cost.isnan()).sum(0) == solution.steps + 1).all()
    assert trace.accepted[0].all()
    assert trace.step_length[0].isnan().all()
    assert (trace.damping[0] == PRECISE.initial_damping).all()
    for index, steps in enumerate(solution.steps.tolist()):
        assert trace.cost[steps, index] == solution.cost[index]
        assert not trace.accepted[steps + 1 :, index].any()
    at = problem.linearize(solution.x, torch.arange(len(starts)))
    torch.testing.assert_close(at.gradient, solution.gradient)
    torch.testing.assert_close(at.hessian, solution.hessian)


def test_empty_batch():
    solution = levenberg_marquardt(_euclidean(rosenbrock, 2), torch.zeros(0, 2).double(), LMConfig())
    assert solution.x.shape == (0, 2)
    assert solution.status == ()


def test_float32_points_keep_their_dtype():
    start = torch.tensor([[-1.2, 1.0]])
    solution = levenberg_marquardt(_euclidean(rosenbrock, 2), start, LMConfig(max_steps=200))
    assert solution.x.dtype == torch.float32
    # Residuals are 10 times a difference of float32 numbers near 1.
    torch.testing.assert_close(solution.x, torch.ones(1, 2), rtol=0, atol=1e-4)


# --- Reasons to stop ---------------------------------------------------------------------------------------


def _reasons(residual, start: torch.Tensor, **changes) -> Solution:
    config = dataclasses.replace(ENDLESS, max_steps=60) if "max_steps" not in changes else ENDLESS
    return levenberg_marquardt(
        _euclidean(residual, start.shape[1]), start, dataclasses.replace(config, **changes)
    )


def test_gradient_stops_at_the_angle_and_not_before():
    # Residual (x, 1): the cosine between residual and column (1, 0) is x / √(x² + 1).
    def residual(x, items):
        return torch.cat((x, torch.ones_like(x)), -1)

    stopped = _reasons(residual, _tensor((0.1,), (0.11,)), gradient_tolerance=0.1)
    assert stopped.steps.tolist()[0] == 0
    assert stopped.steps.tolist()[1] > 0
    assert stopped.reason == (Reason.GRADIENT, Reason.GRADIENT)


def test_small_step_stops_and_a_smaller_tolerance_does_not():
    # λ stays at 1 (the gain ratio of a quadratic is 1, but the floor holds): every step halves x.
    def residual(x, items):
        return x

    settings = {"initial_damping": 1.0, "min_damping": 1.0, "max_steps": 8}
    lengths = 0.5 ** np.arange(1, 9)
    for tolerance, reason, steps in ((lengths[3] * 1.01, Reason.SMALL_STEP, 4), (1e-9, Reason.MAX_STEPS, 8)):
        solution = _reasons(residual, _tensor((1.0,)), step_tolerance=tolerance, **settings)
        assert solution.reason == (reason,)
        assert solution.steps.tolist() == [steps]
        np.testing.assert_allclose(solution.trace.step_length[1:, 0], lengths[:steps], rtol=1e-12)


def test_step_lengths_are_in_scaled_units():
    settings = {"initial_damping": 1.0, "min_damping": 1.0, "max_steps": 3, "step_scale": (0.01, 2.0)}
    solution = _reasons(lambda x, items: x, _tensor((0.03, 8.0)), **settings)
    # Half of (0.03, 8) is (1.5, 2) scaled: 2.5.
    np.testing.assert_allclose(solution.trace.step_length[1:, 0], [2.5, 1.25, 0.625], rtol=1e-12)


def test_small_decrease_stops_and_a_smaller_tolerance_does_not():
    # Residual (x, 1) with x halved: the cost 1/2 (1 + x²) falls by 3/8 x².
    def residual(x, items):
        return torch.cat((x, torch.ones_like(x)), -1)

    settings = {"initial_damping": 1.0, "min_damping": 1.0, "max_steps": 8}
    third = 0.375 * 0.25**2 / (0.5 * (1 + 0.25**2))
    for tolerance, reason, steps in (
        (third * 1.01, Reason.SMALL_DECREASE, 3),
        (third * 0.99, Reason.SMALL_DECREASE, 4),
        (1e-9, Reason.MAX_STEPS, 8),
    ):
        solution = _reasons(residual, _tensor((1.0,)), decrease_tolerance=tolerance, **settings)
        assert (solution.reason, solution.steps.tolist()) == ((reason,), [steps])


def test_step_deviation_stops_once_the_window_is_calm():
    # Steps of 1/2, 1/4, 1/8, ...: the deviation over the last four is that of (8, 4, 2, 1) / 2^k.
    settings = {"initial_damping": 1.0, "min_damping": 1.0, "max_steps": 20, "step_deviation_window": 4}
    deviation = np.std([8, 4, 2, 1])
    for steps in (4, 7):
        tolerance = deviation * 0.5**steps * 1.01
        solution = _reasons(
            lambda x, items: x, _tensor((1.0,)), step_deviation_tolerance=tolerance, **settings
        )
        assert (solution.reason, solution.steps.tolist()) == ((Reason.STEP_DEVIATION,), [steps])
        assert solution.status == (Status.CONVERGED,)


def test_a_march_of_shortened_steps_is_no_rest():
    # 50 units away, one unit a step: all steps are equally long, yet nothing has settled.
    solution = _reasons(
        lambda x, items: x, _tensor((50.0,)), step_deviation_tolerance=1e-2, max_step=1.0, max_steps=200
    )
    assert solution.x.abs().max() < 1e-6
    assert solution.steps.item() > 50


def test_stalled_where_no_step_lowers_the_cost():
    class Uphill:
        """Its gradient points the wrong way, so every step is rejected."""

        retract = staticmethod(torch.add)

        @staticmethod
        def linearize(x, items):
            return Linearization(0.5 * x.square().sum(-1), -x, torch.eye(1).double().expand(len(x), 1, 1))

    config = dataclasses.replace(ENDLESS, max_damping=1e6, max_steps=60)
    solution = levenberg_marquardt(Uphill(), _tensor((1.0,)), config)
    assert solution.reason == (Reason.STALLED,)
    assert solution.x.item() == 1.0
    assert not solution.trace.accepted[1:].any()
    # Nielsen raises 1e-2 by 2, 4, 8, ..., in all by 2^(k(k+1)/2): 2e4 after six trials, 2.7e6 after seven.
    assert solution.steps.item() == 7
    schedule = [1e-2 * 2 ** (k * (k + 1) / 2) for k in range(1, 8)]
    assert solution.trace.damping[1:, 0].tolist() == pytest.approx(schedule)
    fewer = dataclasses.replace(config, max_steps=6)
    assert levenberg_marquardt(Uphill(), _tensor((1.0,)), fewer).reason == (Reason.MAX_STEPS,)


def test_max_steps_counts_trials():
    solution = _reasons(rosenbrock, _tensor((-1.2, 1.0)), max_steps=3)
    assert (solution.reason, solution.status) == ((Reason.MAX_STEPS,), (Status.MAX_STEPS,))
    assert solution.steps.tolist() == [3]
    start = _tensor((-1.2, 1.0))
    untouched = _reasons(rosenbrock, start, max_steps=0)
    assert untouched.reason == (Reason.MAX_STEPS,)
    assert (untouched.x == start).all()


def test_what_happened_is_named_before_a_budget_that_ends_with_it():
    """Out of the domain, at an angle of 0.05 from the optimum, and of 0.4: with no step at all to take."""

    def residual(x, items):
        return torch.cat((x.sqrt() - 1, torch.ones_like(x)), -1)

    start = _tensor((-1.0,), (1.1,), (2.0,))
    solution = _reasons(residual, start, max_steps=0, gradient_tolerance=0.1)
    assert solution.reason == (Reason.NON_FINITE, Reason.GRADIENT, Reason.MAX_STEPS)
    assert solution.status == (Status.DIVERGED, Status.CONVERGED, Status.MAX_STEPS)


# --- Failures ----------------------------------------------------------------------------------------------


def test_a_start_that_is_not_finite_diverges_alone():
    solution = _reasons(lambda x, items: x.sqrt() - 1, _tensor((-1.0,), (4.0,)), step_tolerance=1e-9)
    assert solution.reason == (Reason.NON_FINITE, Reason.SMALL_STEP)
    assert solution.status == (Status.DIVERGED, Status.CONVERGED)
    assert solution.steps[0] == 0
    assert solution.x[0].item() == -1.0
    assert solution.x[1].item() == pytest.approx(1.0, abs=1e-9)


def test_a_trial_outside_the_domain_is_rejected_and_shortened():
    # From 9 the Gauss-Newton step of √x − 0.1 goes to 9 − 6 · 2.9 < 0.
    solution = _reasons(lambda x, items: x.sqrt() - 0.1, _tensor((9.0,)), step_tolerance=1e-12)
    assert not solution.trace.accepted[1, 0]
    assert solution.status == (Status.CONVERGED,)
    assert solution.x.item() == pytest.approx(0.01, abs=1e-9)


def test_trials_that_stay_nan_diverge_and_the_best_point_is_kept():
    start = _tensor((2.0,), (2.0,))

    def residual(x, items):
        # Item 0 takes one good step, to 1.25, around which nothing is finite.
        broken = (items[:, None] == 0) & (x != 2.0) & ((x - 1.25).abs() > 1e-12)
        return torch.where(broken, math.nan, x)

    solution = _reasons(residual, start, step_tolerance=1e-9, max_step=0.75, max_damping=1e6)
    assert solution.reason[0] is Reason.NON_FINITE
    assert solution.status[0] is Status.DIVERGED
    assert solution.x[0].item() == pytest.approx(1.25, abs=1e-12)
    assert solution.cost[0].item() == pytest.approx(0.5 * 1.25**2)
    assert solution.trace.accepted[:, 0].nonzero().flatten().tolist() == [0, 1]
    assert solution.status[1] is Status.CONVERGED
    assert solution.x[1].abs() < 1e-6


@each_matrix
def test_singular_problems(matrix: str):
    def residual(x, items):
        total = x.sum(-1, keepdim=True) - 1
        return torch.where(items[:, None] == 0, 0 * total + 3, torch.cat((total, total), -1))

    start = _tensor((2.0, 3.0), (2.0, 3.0))
    solution = _reasons(residual, start, damping_matrix=matrix, step_tolerance=1e-9)
    # Nothing moves item 0; item 1 has a line of minima and reaches one.
    assert solution.reason[0] is Reason.SINGULAR
    assert solution.status == (Status.DIVERGED, Status.CONVERGED)
    assert solution.steps[0] == 0
    assert solution.x[1].sum().item() == pytest.approx(1.0, abs=1e-8)


def test_normal_equations_that_no_damping_solves_are_singular():
    class Indefinite:
        retract = staticmethod(torch.add)

        @staticmethod
        def linearize(x, items):
            hessian = torch.diag(_tensor(1.0, -5.0)).expand(len(x), 2, 2)
            return Linearization(x.square().sum(-1), 2 * x, hessian)

    solution = levenberg_marquardt(
        Indefinite(), _tensor((1.0, 1.0)), dataclasses.replace(ENDLESS, max_damping=1e6, max_steps=60)
    )
    assert solution.reason == (Reason.SINGULAR,)
    assert (solution.x == 1).all()


# --- Settings ----------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "changes",
    [
        {"max_steps": -1},
        {"step_scale": (1.0, 0.0)},
        {"max_step": 0.0},
        {"min_damping": 0.0},
        {"initial_damping": 1e-9},
        {"initial_damping": 1e9},
        {"initial_damping": math.nan},
        {"damping_increase": 1.0},
        {"damping_decrease": 1.0},
        {"min_gain": -0.1},
        {"min_gain": 1.0},
        {"step_deviation_window": 1},
    ],
)
def test_impossible_settings_are_refused(changes: dict):
    with raises(UsageError, "solver.invalid-value", next(iter(changes))):
        LMConfig(**changes)


def test_scale_of_another_length_is_refused():
    with raises(UsageError, "solver.invalid-value", "step_scale", "3", "2"):
        levenberg_marquardt(
            _euclidean(rosenbrock, 2), torch.zeros(1, 2).double(), LMConfig(step_scale=(1.0,) * 3)
        )


def test_settings_are_command_line_options():
    arguments = ["--max-steps", "7", "--step-scale", "0.01", "1", "--damping-update", "marquardt"]
    assert tyro.cli(LMConfig, args=arguments) == LMConfig(
        max_steps=7, step_scale=(0.01, 1.0), damping_update="marquardt"
    )


# --- Unrolled derivatives ----------------------------------------------------------------------------------


@pytest.mark.slow
@pytest.mark.parametrize(
    ("update", "matrix", "max_step"),
    [
        ("nielsen", "diagonal", math.inf),
        ("marquardt", "diagonal", 0.4),
        ("nielsen", "identity", 0.4),
        ("marquardt", "identity", math.inf),
    ],
)
def test_unrolled_derivatives_match_finite_differences(update: str, matrix: str, max_step: float):
    config = dataclasses.replace(
        ENDLESS, max_steps=4, damping_update=update, damping_matrix=matrix, max_step=max_step
    )
    design = _random(3, 2)

    def solve(target, start, damping):
        problem = _euclidean(lambda x, items: torch.sin(2 * x @ design.T) - target[items], 2)
        solution = levenberg_marquardt(problem, start, config, initial_damping=damping)
        assert (solution.steps == 4).all()
        traces.append(solution.trace)
        return solution.x, solution.cost, solution.hessian

    traces: list[Trace] = []
    inputs = (_random(2, 3, seed=3), _random(2, 2, seed=2), _tensor(0.02, 2.0))
    assert torch.autograd.gradcheck(solve, [tensor.requires_grad_() for tensor in inputs])
    if update == "nielsen":
        factors = traces[0].damping[1:] / traces[0].damping[:-1]
        assert ((factors > 0.34) & (factors < 1)).any(), "the gain ratio is part of the path"


def test_unrolled_derivatives_pass_rejected_steps_and_items_that_stop_early():
    config = dataclasses.replace(ENDLESS, max_steps=6, step_tolerance=1e-3)

    def solve(target, damping):
        problem = _euclidean(
            lambda x, items: torch.stack((10 * (x[:, 1] - x[:, 0] ** 2), target[items] - x[:, 0]), -1), 2
        )
        solution = levenberg_marquardt(
            problem, _tensor((-1.2, 1.0), (0.99, 0.98)), config, initial_damping=damping
        )
        solves.append(solution)
        return solution.x

    solves: list[Solution] = []
    inputs = (_tensor(1.0, 1.0).requires_grad_(), torch.tensor(1e-3, dtype=torch.float64).requires_grad_())
    assert torch.autograd.gradcheck(solve, inputs)
    trace = solves[0].trace
    assert not trace.accepted[1:, 0].all(), "a rejected step is part of the path"
    assert solves[0].steps[1] < solves[0].steps[0], "one item stops before the other"


def test_nothing_is_recorded_without_need():
    problem = _euclidean(rosenbrock, 2)
    solution = levenberg_marquardt(problem, _tensor((-1.2, 1.0)), LMConfig())
    assert not any(getattr(solution, name).requires_grad for name in ("x", "cost", "gradient", "hessian"))
    with_gradient = levenberg_marquardt(problem, _tensor((-1.2, 1.0)).requires_grad_(), LMConfig())
    assert with_gradient.x.requires_grad
    assert not with_gradient.trace.cost.requires_grad


def test_trace_holds_the_points_whose_costs_it_holds():
    target = torch.tensor([[1.0, -2.0], [30.0, 4.0]], dtype=torch.float64)
    problem = LeastSquares(
        residual=lambda x, items: (x - target[items]) ** 3, retract=lambda x, delta: x + delta, tangent_dim=2
    )
    solution = levenberg_marquardt(problem, torch.zeros_like(target), LMConfig(max_steps=6))
    for item, steps in enumerate(solution.steps.tolist()):
        points = solution.trace.x[: steps + 1, item]
        cost = 0.5 * ((points - target[item]) ** 6).sum(-1)
        torch.testing.assert_close(cost, solution.trace.cost[: steps + 1, item])
        assert torch.equal(points[-1], solution.x[item])
        assert solution.trace.x[steps + 1 :, item].isnan().all()


def test_what_watches_is_told_every_iteration_and_can_end_it():
    """The points and costs that the trace keeps, of the items that still run."""
    problem = _euclidean(lambda x, _: x - _tensor(1.0, -2.0), 2)
    told: list[tuple[torch.Tensor, torch.Tensor]] = []
    start = _tensor([5.0, 5.0], [1.0, -2.0])
    solution = levenberg_marquardt(problem, start, PRECISE, watch=lambda *now: told.append(now))
    assert len(told) == len(solution.trace.cost)
    for (x, cost), kept_x, kept_cost in zip(told, solution.trace.x, solution.trace.cost, strict=True):
        running = ~kept_cost.isnan()
        assert torch.equal(x, kept_x[running]) and torch.equal(cost, kept_cost[running])
    assert len(told[0][1]) == 2 and len(told[-1][1]) == 1

    def stop(*_: torch.Tensor) -> None:
        raise InterruptedError

    with pytest.raises(InterruptedError):
        levenberg_marquardt(problem, start, PRECISE, watch=stop)
