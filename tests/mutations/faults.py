"""Deliberate faults in solver, geometry and confidence: mistakes that are easily made and dearly paid for."""

from __future__ import annotations

from dataclasses import dataclass

_SE3, _SO4 = "tests/geometry/test_se3.py", "tests/geometry/test_so4.py"
_CAMERA, _ERRORS = "tests/geometry/test_camera.py", "tests/geometry/test_pose_errors.py"
_ACCEPTANCE, _DESCENT = "tests/solver/test_acceptance.py", "tests/solver/test_descent.py"
_SOLVE, _TERMINATION = "tests/solver/test_solve.py", "tests/solver/test_termination.py"
_CONFIDENCE = "tests/registration/test_confidence.py"
_CHECK = "tests/registration/test_geometry_check.py"


@dataclass(frozen=True, kw_only=True)
class Fault:
    """A change of the source that makes it wrong.

    Attributes:
        name: what is wrong then.
        file: the source file, below src/.
        before: text that is there once.
        after: what takes its place.
        tests: arguments for pytest, files or single tests, of which at least one must fail.
    """

    name: str
    file: str
    before: str
    after: str
    tests: tuple[str, ...]


def _in(file: str, *faults: tuple[str, str, str, tuple[str, ...]]) -> tuple[Fault, ...]:
    return tuple(
        Fault(name=name, file=f"isoclinic/{file}", before=before, after=after, tests=tests)
        for name, before, after, tests in faults
    )


FAULTS: tuple[Fault, ...] = (
    *_in(
        "geometry/se3.py",
        (
            "perturb turns the patient the other way about the isocentre",
            "shift = motion[..., :3, 3] + centre - (rotation",
            "shift = motion[..., :3, 3] - centre + (rotation",
            (_SE3,),
        ),
        (
            "perturb moves in world axes",
            "return rigid(rotation, shift) @ camera_from_world",
            "return camera_from_world @ rigid(rotation, shift)",
            (_SE3,),
        ),
        (
            "transposed rotation of points",
            "return points_b @ a_from_b[..., :3, :3].mT",
            "return points_b @ a_from_b[..., :3, :3]",
            (_SE3,),
        ),
        (
            "inverse with the translation's sign alone changed",
            "-(rotation @ transform[..., :3, 3:]).squeeze(-1))",
            "-transform[..., :3, 3])",
            (_SE3,),
        ),
        (
            "exponential takes the velocity for the end point",
            "+ _series.sine_remainder(angle_squared) * torch.linalg.cross(rotation_vector, curl)",
            "",
            (_SE3,),
        ),
        (
            "jacobian of points with the wrong sense of rotation",
            "turning = -hat(arms)",
            "turning = hat(arms)",
            (_SE3,),
        ),
        (
            "rotations of determinant -1 are poses",
            "& (torch.linalg.det(rotation) > 0)\n",
            "",
            (_SE3,),
        ),
        (
            "translations that are not finite are poses",
            "& poses[:, :3, 3].isfinite().all(dim=-1)\n",
            "",
            (_SE3,),
        ),
        (
            "any matrix is rounded to a rotation",
            "off > _NEARLY_A_ROTATION or",
            "off > 100 * _NEARLY_A_ROTATION or",
            (_SE3,),
        ),
    ),
    *_in(
        "geometry/so3.py",
        (
            "left-handed cross product",
            "[zero, -z, y, z, zero, -x, -y, x, zero]",
            "[zero, z, -y, -z, zero, x, y, -x, zero]",
            ("tests/geometry/test_so3.py", _SE3),
        ),
        (
            "quaternions of turns by more than 90 degrees from a small diagonal entry",
            "largest = diagonal.argmax(-1)",
            "largest = torch.zeros_like(diagonal[..., 0], dtype=torch.long)",
            ("tests/geometry/test_so3.py", _SE3),
        ),
    ),
    *_in(
        "geometry/so4.py",
        (
            "characteristic length counts half",
            "tangent = transform[..., :3, 3] / (2 * length_mm)",
            "tangent = transform[..., :3, 3] / length_mm",
            (_SO4,),
        ),
        (
            "the longer way round",
            "torch.where(element[..., 0].sum(-1)[..., None, None] < 0, -element, element)",
            "torch.where(element[..., 0].sum(-1)[..., None, None] > 0, -element, element)",
            (_SO4,),
        ),
    ),
    *_in(
        "geometry/camera.py",
        (
            "resizing keeps pixel centres instead of edges",
            "cx=(self.cx + 0.5) * along_u - 0.5",
            "cx=self.cx * along_u",
            (_CAMERA,),
        ),
        (
            "the image centre is at half of the width",
            "((width - 1) / 2, (height - 1) / 2)",
            "(width / 2, height / 2)",
            (_CAMERA,),
        ),
        (
            "row and column spacing exchanged",
            "row_mm, column_mm = pixel_spacing_mm",
            "column_mm, row_mm = pixel_spacing_mm",
            (_CAMERA,),
        ),
        (
            "cropping moves the principal point the wrong way",
            "cx=self.cx - left, cy=self.cy - top",
            "cx=self.cx + left, cy=self.cy + top",
            (_CAMERA,),
        ),
        (
            "points behind the source are projected",
            "return torch.where(depth > 0, pixels, torch.full_like(pixels, torch.nan))",
            "return pixels",
            (_CAMERA,),
        ),
        (
            "a mirrored image's principal point is off by one",
            "cx=camera.width - 1 - camera.cx",
            "cx=camera.width - camera.cx",
            (_CAMERA,),
        ),
        (
            "images are turned anticlockwise",
            "cx=camera.height - 1 - camera.cy,\n                cy=camera.cx,",
            "cx=camera.cy,\n                cy=camera.width - 1 - camera.cx,",
            (_CAMERA,),
        ),
    ),
    *_in(
        "geometry/pose_errors.py",
        (
            "the error in space is that of the squares",
            "return torch.linalg.vector_norm(estimate - truth, dim=-1).mean(-1)",
            "return (estimate - truth).square().sum(-1).mean(-1).sqrt()",
            (_ERRORS,),
        ),
        (
            "reprojection along the estimate's rays",
            "ray = torch.nn.functional.normalize(_in_camera(true_camera_from_world",
            "ray = torch.nn.functional.normalize(_in_camera(estimate_camera_from_world",
            (_ERRORS,),
        ),
        (
            "what is not projected has no error",
            "torch.nan_to_num(distance, nan=math.inf)",
            "torch.nan_to_num(distance, nan=0.0)",
            (_ERRORS,),
        ),
        (
            "depth with the wrong sign",
            "return (estimate - _in_camera(true_camera_from_world, centroid)).squeeze(-2)",
            "return (_in_camera(true_camera_from_world, centroid) - estimate).squeeze(-2)",
            (_ERRORS,),
        ),
    ),
    *_in(
        "geometry/gantry.py",
        (
            "a primary angle of 90 degrees is at the patient's right",
            "[-np.sin(primary) * np.cos(secondary), np.cos(primary)",
            "[np.sin(primary) * np.cos(secondary), np.cos(primary)",
            ("tests/geometry/test_gantry.py",),
        ),
    ),
    *_in(
        "geometry/patient_sides.py",
        (
            "sides of a mirrored image are those of the image",
            "rightwards = rotation[0] * math.copysign(1.0, camera.fx)",
            "rightwards = rotation[0]",
            ("tests/geometry/test_patient_sides.py",),
        ),
    ),
    *_in(
        "geometry/distortion.py",
        (
            "the spiral turns the other way",
            "torch.stack([squared * y, -squared * x], dim=-1)]",
            "torch.stack([-squared * y, squared * x], dim=-1)]",
            ("tests/geometry/test_distortion.py",),
        ),
    ),
    *_in(
        "solver/acceptance.py",
        (
            "gain ratio with the wrong sign",
            "return (at.cost - trial_cost) /",
            "return (trial_cost - at.cost) /",
            (_ACCEPTANCE,),
        ),
        (
            "trials that are not finite are usable",
            "usable = trial.finite & (predicted > 0)",
            "usable = predicted > 0",
            (_ACCEPTANCE,),
        ),
        (
            "Marquardt damps more after a success",
            "torch.where(accepted, damping / self.decrease, damping * growth), growth",
            "torch.where(accepted, damping * growth, damping / self.decrease), growth",
            (_ACCEPTANCE,),
        ),
        (
            "Nielsen damps more the better a step was",
            "factor = (1 - (2 * gain - 1) ** 3)",
            "factor = (1 + (2 * gain - 1) ** 3)",
            (_ACCEPTANCE,),
        ),
        (
            "failures in a row raise the damping evenly",
            "torch.where(accepted, self.increase, 2 * growth)",
            "torch.where(accepted, self.increase, growth)",
            (_ACCEPTANCE,),
        ),
    ),
    *_in(
        "solver/descent.py",
        (
            "steps uphill",
            "solve_positive_definite(damped, -gradient)",
            "solve_positive_definite(damped, gradient)",
            (_DESCENT,),
        ),
        (
            "predicted decrease without the curvature's half",
            "gradient + 0.5 * (hessian",
            "gradient + (hessian",
            (_DESCENT, _SOLVE),
        ),
        (
            "damping is not scaled",
            "torch.diag_embed(damping[:, None] * diagonal)",
            "torch.diag_embed(damping[:, None] * torch.ones_like(diagonal))",
            (_DESCENT,),
        ),
        (
            "steps are never shortened",
            "if math.isfinite(self.max_length):",
            "if False:",
            (_DESCENT,),
        ),
        (
            "failed factorisations go unnoticed",
            "length.masked_fill(failed, math.nan)",
            "length",
            (_DESCENT, _SOLVE),
        ),
    ),
    *_in(
        "solver/problem.py",
        (
            "confidences do not reach the derivatives",
            "loss, weights = weight * loss, weight * weights",
            "loss, weights = weight * loss, weights",
            ("tests/solver/test_problem.py",),
        ),
        (
            "NaN counts as finite",
            "return total.abs() < math.inf",
            "return ~total.isinf()",
            ("tests/solver/test_problem.py",),
        ),
    ),
    *_in(
        "solver/robust.py",
        (
            "Huber's weight is that of the square root",
            "return loss, self.scale / size.clamp(min=self.scale)",
            "return loss, (self.scale / size.clamp(min=self.scale)).sqrt()",
            ("tests/solver/test_robust.py",),
        ),
    ),
    *_in(
        "solver/implicit.py",
        (
            "implicit derivative with the wrong sign",
            "torch.diag_embed(margin), -gradient)",
            "torch.diag_embed(margin), gradient)",
            ("tests/solver/test_implicit.py",),
        ),
    ),
    *_in(
        "solver/solve.py",
        (
            "steps that raise the cost are accepted",
            "accepted = gain > config.min_gain",
            "accepted = gain > -config.min_gain",
            (_SOLVE,),
        ),
        (
            "every step is accepted",
            "accepted = gain > config.min_gain",
            "accepted = torch.ones_like(gain, dtype=torch.bool)",
            (_SOLVE,),
        ),
        (
            "items that stopped come back in the order in which they stopped",
            "order = torch.cat([group.active.items for group in stopped]).argsort()",
            "order = torch.arange(sum(len(group.active.items) for group in stopped))",
            (_SOLVE,),
        ),
        (
            "the budget of steps is named before what went wrong",
            "        NonFinite(max_damping=config.max_damping),\n",
            "        MaxSteps(max_steps=config.max_steps),\n"
            "        NonFinite(max_damping=config.max_damping),\n",
            (_SOLVE,),
        ),
        (
            "the damping has no floor",
            "damping=damping.clamp(min=config.min_damping)",
            "damping=damping",
            (_SOLVE,),
        ),
    ),
    *_in(
        "solver/termination.py",
        (
            "the budget of steps never ends",
            "progress.iteration >= self.max_steps)",
            "False)",
            (_TERMINATION,),
        ),
        (
            "one step more than the budget",
            "progress.iteration >= self.max_steps)",
            "progress.iteration > self.max_steps)",
            (_TERMINATION, _SOLVE),
        ),
        (
            "one flat parameter stops all",
            "self.tolerance * reach).all(-1)",
            "self.tolerance * reach).any(-1)",
            (_TERMINATION, _SOLVE),
        ),
        (
            "rejected steps stop for a small decrease",
            "return progress.accepted & (progress.decrease < self.tolerance * before)",
            "return progress.decrease < self.tolerance * before",
            (_TERMINATION, _SOLVE),
        ),
        (
            "shortened steps count as rest",
            "moved.masked_fill(capped | step_length.isnan(), math.nan)",
            "moved.masked_fill(step_length.isnan(), math.nan)",
            (_TERMINATION,),
        ),
        (
            "what diverged has converged",
            "return Status.DIVERGED",
            "return Status.CONVERGED",
            (_TERMINATION,),
        ),
    ),
    *_in(
        "registration/confidence.py",
        (
            "the covariance is that of independent pixels",
            "return (inverse @ gradients.mT @ gradients @ inverse)[:6, :6]",
            "return inverse[:6, :6]",
            (f"{_CONFIDENCE}::test_covariance_predicts_the_scatter_over_noise[0.0-0.05]",),
        ),
        (
            "the factor of errors is one of variances",
            "covariance = config.error_factor**2 *",
            "covariance = config.error_factor *",
            (f"{_CONFIDENCE}::test_the_factor_scales_every_expected_error",),
        ),
        (
            "curvature that is not finite makes no error",
            "return curvature.new_full((6, 6), math.inf)",
            "return curvature.new_zeros(6, 6)",
            (f"{_CONFIDENCE}::test_a_curvature_that_is_not_finite_says_nothing",),
        ),
        (
            "the least of all expected errors is said",
            "each_mm.square().mean(0).sqrt()",
            "each_mm.amin(0)",
            (f"{_CONFIDENCE}::test_expected_errors_are_those_of_poses_drawn_from_the_covariance",),
        ),
        (
            "few edges are no reason for doubt, many are",
            "if not edges >= config.edges_below:",
            "if not edges <= config.edges_below:",
            (f"{_CONFIDENCE}::test_reasons",),
        ),
        (
            "edges that are not a number are no reason for doubt",
            "if not edges >= config.edges_below:",
            "if edges < config.edges_below:",
            (f"{_CONFIDENCE}::test_reasons",),
        ),
        (
            "a match that chance explains is no reason for doubt",
            "if not significance >= config.significance_below:",
            "if not significance <= config.significance_below:",
            (f"{_CONFIDENCE}::test_reasons",),
        ),
        (
            "a significance that is not a number is no reason for doubt",
            "if not significance >= config.significance_below:",
            "if significance < config.significance_below:",
            (f"{_CONFIDENCE}::test_reasons",),
        ),
        (
            "an error that is not a number is no reason for doubt",
            "if not error_mm <= config.expected_error_above_mm:",
            "if error_mm > config.expected_error_above_mm:",
            (f"{_CONFIDENCE}::test_reasons",),
        ),
        (
            "a rival is no reason for doubt unless it is better",
            "rival > config.rival_above * edges",
            "rival > edges",
            (f"{_CONFIDENCE}::test_reasons",),
        ),
        (
            "an overlap that is not a number is no reason for doubt",
            "if not overlap >= config.overlap_below:",
            "if overlap < config.overlap_below:",
            (f"{_CONFIDENCE}::test_reasons",),
        ),
        (
            "a last stage that hardly matches is no reason for doubt",
            "if not similarity >= config.similarity_below:",
            "if False:",
            (f"{_CONFIDENCE}::test_further_reasons",),
        ),
        (
            "errors across the beam are no reason for doubt",
            "if not across_mm <= config.expected_across_above_mm:",
            "if False:",
            (f"{_CONFIDENCE}::test_further_reasons",),
        ),
        (
            "an uncertain rotation is no reason for doubt",
            "if not turn_deg <= config.expected_rotation_above_deg:",
            "if False:",
            (f"{_CONFIDENCE}::test_further_reasons",),
        ),
        (
            "a value at its bound is no reason for doubt",
            "    if reached:\n",
            "    if False:\n",
            ("tests/registration/test_register_views.py::test_intrinsics_that_end_at_their_bound_are_told",),
        ),
        (
            "the worst rival counts",
            "check.problem.start(found[elsewhere])).max())",
            "check.problem.start(found[elsewhere])).min())",
            (f"{_CONFIDENCE}::test_the_best_rival_counts",),
        ),
        (
            "rivals are told by their depth, too",
            "off = points - others\n    return (off - (off * ray).sum(-1, keepdim=True) * ray)",
            "off = points - others\n    return off",
            (f"{_CONFIDENCE}::test_rivals_are_told_from_the_pose_that_became_the_result",),
        ),
        (
            "two mirrored answers are no reason for doubt",
            "if stage.twins is not None and not stage.twins.agree:",
            "if False:",
            (f"{_CONFIDENCE}::test_two_mirrored_answers_are_a_reason",),
        ),
        (
            "reliability of two halves is that of one",
            "2 * half / (1 + half)",
            "half",
            (f"{_CONFIDENCE}::test_the_ceiling_is_the_correlation_with_the_noise_free_image",),
        ),
        (
            "points out of sight count",
            "return points[seen] if",
            "return points if",
            (f"{_CONFIDENCE}::test_errors_are_those_of_points_that_an_xray_shows",),
        ),
    ),
    *_in(
        "registration/result.py",
        (
            "angles in radians",
            "return math.degrees(float(covariance.diagonal()[:3]",
            "return (float(covariance.diagonal()[:3]",
            (f"{_CONFIDENCE}::test_expected_errors_are_those_of_poses_drawn_from_the_covariance",),
        ),
        (
            "translation's covariance taken for rotation's",
            "covariance.diagonal()[:3].sum()",
            "covariance.diagonal()[3:].sum()",
            (f"{_CONFIDENCE}::test_expected_errors_are_those_of_poses_drawn_from_the_covariance",),
        ),
    ),
    *_in(
        "registration/_geometry_check.py",
        (
            "uncertain focal lengths move nothing",
            "covariance = covariance + effects.of_focal @ _left(given, said) @ effects.of_focal.mT",
            "pass",
            (f"{_CHECK}::test_uncertain_intrinsics_add_what_geometry_says",),
        ),
        (
            "uncertain principal points move nothing",
            "covariance = covariance + centre @ centre.mT",
            "pass",
            (f"{_CHECK}::test_uncertain_intrinsics_add_what_geometry_says",),
        ),
        (
            "what the image says of the focal length is added to what is given",
            "return prior - gain @ prior + _outer(mean)",
            "return prior + gain @ prior + _outer(mean)",
            (f"{_CHECK}::test_what_is_left_of_a_focal_lengths_uncertainty",),
        ),
        (
            "the given focal length counts as mended by what the image says",
            "return prior - gain @ prior + _outer(mean)",
            "return prior - gain @ prior",
            (f"{_CHECK}::test_what_is_left_of_a_focal_lengths_uncertainty",),
        ),
    ),
)
