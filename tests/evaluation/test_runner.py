"""Evaluations of methods that take no time: what is done, what is not done again, and what is never mixed."""

from __future__ import annotations

import json
import math
from dataclasses import replace
from pathlib import Path

import pytest
import torch

from isoclinic._spread_config import SpreadConfig
from isoclinic.errors import InputError, UsageError
from isoclinic.evaluation import EvaluationConfig, Plan, _ledger, chosen_samples, evaluate
from isoclinic.evaluation.runner import failures_text
from isoclinic.evaluation.starts import start_of
from isoclinic.provenance import InputFile
from isoclinic.registration import PoseFile
from raising import raises
from tiny_samples import Nudge, Reading, off_by, sample, write_samples

STARTS = ("ap", "mtre:10")


@pytest.fixture
def plan(tmp_path: Path) -> Plan:
    """Two subjects with three samples, two starts, one method."""
    dataset = write_samples(tmp_path / "data", a=2, b=1)
    method = Nudge(log=tmp_path / "log")
    return Plan(
        dataset=dataset,
        name="phantoms",
        samples=chosen_samples(dataset),
        methods={"a": (method,), "b": (method,)},
        output=tmp_path / "out",
        config=EvaluationConfig(starts=STARTS),
    )


def calls(plan: Plan) -> list[str]:
    """Samples in the order in which methods saw them, since the last time this was asked."""
    log = plan.output.parent / "log"
    seen = log.read_text().split() if log.exists() else []
    log.unlink(missing_ok=True)
    return seen


def with_method(plan: Plan, *methods: Nudge) -> Plan:
    return replace(plan, methods=dict.fromkeys(plan.methods, methods))


def configured(plan: Plan, **changes) -> Plan:
    return replace(plan, config=replace(plan.config, **changes))


def test_every_start_of_every_sample_is_measured(plan):
    told = []
    found = evaluate(plan, lambda *now: told.append(now))
    assert [(each.start, each.case, each.group, each.method) for each in found.measurements] == [
        (start, name, name[0], "nudge") for start in STARTS for name in ("a/00", "a/01", "b/00")
    ]
    assert found.failures == ()
    assert {each.dataset for each in found.measurements} == {"phantoms"}
    for each in found.measurements[3:]:
        assert each.initial_mtre_mm == pytest.approx(10, abs=1e-9)
        assert 9 <= each.mtre_mm <= 11, "one millimetre to the right of a start 10 mm off"
    assert told == [(0, 6, ""), (2, 6, "a/00"), (4, 6, "a/01"), (6, 6, "b/00")]
    # Each subject's first registration is done once more before it.
    assert calls(plan) == ["a/00"] * 3 + ["a/01"] * 2 + ["b/00"] * 3


def test_every_pose_is_kept(plan):
    evaluate(plan)
    folder = plan.output / "cases" / "a" / "01" / "mtre-10" / "nudge"
    assert {path.name for path in folder.iterdir()} == {"pose.json", "measurement.json"}
    case = sample("a/01")
    pose = PoseFile.read(folder / "pose.json")
    start = start_of(case, "mtre:10")
    torch.testing.assert_close(pose.camera_from_world, off_by(start, 0, 0, 0, 1, 0, 0), rtol=0, atol=1e-9)
    assert pose.camera == case.xray.camera
    source = InputFile.of(plan.dataset.files("a/01")[0])
    assert pose.volume == pose.xray == source
    assert (pose.status, pose.similarity, pose.expected_error_mm) == (None, math.pi, None)


def test_what_is_done_is_not_done_again(plan):
    first = evaluate(plan)
    calls(plan)
    again = evaluate(plan)
    assert calls(plan) == []
    assert str(again.measurements) == str(first.measurements), "NaN equals NaN as text"
    more = evaluate(configured(plan, starts=(*STARTS, "pa")))
    assert calls(plan) == ["a/00"] * 2 + ["a/01"] + ["b/00"] * 2
    assert str(more.measurements[:6]) == str(first.measurements)


def test_methods_lie_beside_each_other(plan):
    evaluate(plan)
    calls(plan)
    two = with_method(plan, Nudge(log=plan.output.parent / "log"), Nudge(name="far", shift_mm=50.0))
    found = evaluate(two)
    assert calls(plan) == []
    assert [each.method for each in found.measurements[:2]] == ["nudge", "far"]
    by_method = [each.mtre_mm for each in found.measurements if each.start == "mtre:10"]
    assert all(near < 12 < 39 < far for near, far in zip(by_method[::2], by_method[1::2], strict=True))


def test_samples_can_be_chosen(plan):
    dataset = plan.dataset
    assert chosen_samples(dataset, ("b", "a"), 1) == {"b/00": "b", "a/00": "a"}
    assert chosen_samples(dataset, at_most=2) == {"a/00": "a", "a/01": "a", "b/00": "b"}
    with raises(UsageError, "options.invalid-value", "'c'"):
        chosen_samples(dataset, ("c",))
    with raises(UsageError, "evaluation.invalid-value", "sample", "0"):
        chosen_samples(dataset, at_most=0)
    with raises(InputError, "dataset.empty"):
        chosen_samples(dataset, ())


@pytest.mark.parametrize(
    ("change", "fault"),
    [
        (
            lambda plan: with_method(plan, Nudge(shift_mm=2.0)),
            ("output.of-other-settings", "settings of the method"),
        ),
        (lambda plan: configured(plan, seed=1), ("output.of-other-settings", "random starts")),
        (
            lambda plan: replace(plan, dataset=replace(plan.dataset, config=Reading(value=1))),
            ("output.of-other-settings", "settings of how the data set is read"),
        ),
    ],
)
def test_other_settings_do_not_mix(plan, change, fault):
    evaluate(plan)
    before = {path: path.read_bytes() for path in plan.output.rglob("*") if path.is_file()}
    changed = change(plan)
    with raises(UsageError, *fault, "a/00", "`overwrite`"):
        evaluate(changed)
    assert {path: path.read_bytes() for path in before} == before
    overwriting = configured(changed, overwrite=True)
    assert len(evaluate(overwriting).measurements) == 6
    assert len(evaluate(changed).measurements) == 6, "now it holds those"


def test_a_changed_file_is_noticed(plan):
    evaluate(plan)
    plan.dataset.files("a/01")[0].write_text("other pixels")
    with raises(UsageError, "output.of-other-settings", "files", "a/01", "nudge"):
        evaluate(plan)


def test_a_seed_matters_to_random_starts_only(plan):
    fixed = configured(plan, starts=("ap",))
    first = evaluate(fixed)
    assert str(evaluate(configured(fixed, seed=5))) == str(first)


def test_another_data_set_or_other_metrics_are_refused(plan, monkeypatch):
    evaluate(plan)
    with raises(UsageError, "output.of-other-settings", "dataset", "phantoms", "people"):
        evaluate(configured(replace(plan, name="people"), overwrite=True))
    monkeypatch.setattr(_ledger, "METRICS", "mTRE on the detector")
    with raises(UsageError, "output.of-other-settings", "metrics", "mTRE on the detector"):
        evaluate(configured(plan, overwrite=True))


def test_landmarks_do_not_mix(plan):
    evaluate(plan)
    file = plan.output / "cases" / "a" / "00" / "ap" / "nudge" / "measurement.json"
    document = json.loads(file.read_text())
    document["measurement"]["landmarks"] = "0" * 12
    file.write_text(json.dumps(document))
    with raises(InputError, "evaluation.not-comparable", "a/00", "landmarks"):
        evaluate(plan)


@pytest.mark.parametrize("text", ["", "[]", '{"key": 3}', "{}"])
def test_a_damaged_measurement_is_named(plan, text):
    evaluate(plan)
    file = plan.output / "cases" / "a" / "00" / "ap" / "nudge" / "measurement.json"
    file.write_text(text)
    with raises(InputError, "evaluation.malformed-record", "ap/nudge/measurement.json"):
        evaluate(plan)


def test_a_sample_that_cannot_be_read_stops_no_other(plan):
    plan.dataset.files("a/00")[0].write_text("broken")
    plan.dataset.files("b/00")[0].unlink()
    found = evaluate(plan)
    assert [each.case for each in found.measurements] == ["a/01", "a/01"]
    assert {each.case for each in found.failures} == {"a/00", "b/00"}
    text = failures_text(found.failures)
    assert "a/00 (a/00 is broken)" in text and "b-00 cannot be read: No such file" in text
    plan.dataset.files("a/00")[0].write_text("a/00")
    calls(plan)
    assert len(evaluate(plan).measurements) == 4
    assert set(calls(plan)) == {"a/00"}


def test_a_registration_that_cannot_be_done_stops_no_other(plan):
    found = evaluate(with_method(plan, Nudge(fails_on="a/01"), Nudge(name="other")))
    assert [(each.case, each.reason) for each in found.failures] == [("a/01", "nudge cannot")] * 2
    assert len(found.measurements) == 10
    assert failures_text(found.failures) == "a/01 (nudge cannot)"


def test_nothing_that_works_leaves_nothing(plan):
    for name in plan.dataset.names:
        plan.dataset.files(name)[0].write_text("broken")
    with raises(InputError, "evaluation.nothing-registered", "a/00", "a/01"):
        evaluate(plan)
    assert not plan.output.exists()


def test_a_start_that_a_sample_does_not_have_ends_it(plan):
    with raises(UsageError, "evaluation.unknown-name", "a/00", "'16'"):
        evaluate(configured(plan, starts=("16",)))


@pytest.mark.slow
def test_processes_give_the_same(plan, tmp_path):
    here = evaluate(plan)
    calls(plan)
    spread = replace(plan, output=tmp_path / "spread")
    there = evaluate(configured(spread, spread=SpreadConfig(processes=2)))
    assert str(there) == str(here)
    assert set(calls(plan)) == {"a/00", "a/01", "b/00"}
    name = Path("cases", "a", "01", "mtre-10", "nudge", "pose.json")
    assert (tmp_path / "spread" / name).read_bytes() == (plan.output / name).read_bytes()


@pytest.mark.parametrize(
    ("settings", "fault"),
    [
        ({"starts": ()}, ("evaluation.invalid-value", "start")),
        ({"seed": -1}, ("evaluation.invalid-value", "seed")),
    ],
)
def test_settings_that_make_no_sense(settings, fault):
    with raises(UsageError, *fault):
        EvaluationConfig(**{"starts": STARTS} | settings)
