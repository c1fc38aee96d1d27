"""`isoclinic evaluate` on two phantom X-rays: what it writes, and how it goes on after an interruption."""

from __future__ import annotations

import csv
import json
import shutil

import pytest

from isoclinic import RegistrationConfig, Volume, XRay, register
from isoclinic.cli import evaluate as command
from isoclinic.evaluation.methods import pipeline
from isoclinic.evaluation.report import REPORT_FILES
from isoclinic.registration import PoseFile, Stage

# Pairs are only there where two methods are compared.
TABLES = REPORT_FILES - {"comparisons.csv", "paired.png"}


@pytest.fixture
def evaluate(run, files, cases, tmp_path):
    def evaluate_cases(*arguments, folder=cases, volume=(files.ct,), output=tmp_path / "out"):
        fast = ("--config", files.config)
        return run("evaluate", folder, "--volume", *volume, "--output", output, *fast, *arguments)

    return evaluate_cases


class Registrations:
    """Stands in for `register` and `write_report`, which other tests run.

    Attributes:
        starts: those that were asked for.
        configs: those that were used.
        stop_after: number of registrations after which the user presses Ctrl-C.
    """

    def __init__(self, result) -> None:
        self.starts: list = []
        self.configs: list = []
        self.stop_after: int | None = None
        self.result = result

    def register(self, volume, xray, init, config, *, model):
        if self.stop_after is not None and len(self.starts) >= self.stop_after:
            raise KeyboardInterrupt
        self.starts.append(init)
        self.configs.append(config)
        return self.result

    def write_report(self, folder, measurements, config):
        (folder / "summary.csv").write_text("")


@pytest.fixture
def registrations(monkeypatch, result) -> Registrations:
    stand_in = Registrations(result)
    monkeypatch.setattr(pipeline, "register", stand_in.register)
    monkeypatch.setattr(command, "write_report", stand_in.write_report)
    return stand_in


@pytest.fixture(scope="module")
def result(files):
    stages = (Stage(pixels=32, max_steps=1),)
    volume, xray = Volume.read(files.ct), XRay.read(files.xray)
    return register(volume, xray, files.init, RegistrationConfig(stages=stages))


def test_pose_files_say_why_they_are_doubtful(evaluate, registrations, tmp_path):
    """As those of `isoclinic register` do; an evaluation with doubtful results is nevertheless done."""
    registrations.result = registrations.result.doubted("the CT covers only 3% of what the X-ray shows")
    ran = evaluate("--starts", "4")
    assert ran.code == 0, ran.err
    files = list((tmp_path / "out").rglob("pose.json"))
    assert len(files) == 2
    for file in files:
        pose = PoseFile.read(file)
        assert pose.status == "doubtful" and pose.doubts == registrations.result.confidence.doubts
        assert pose.doubts[-1] == "the CT covers only 3% of what the X-ray shows"
        assert pose.expected_error_mm is None and pose.covariance is not None


@pytest.mark.slow
def test_every_pose_and_the_table(evaluate, tmp_path):
    ran = evaluate("--starts", "4", "8", "ap")
    assert (ran.code, ran.err.count("error")) == (0, 0)
    out = tmp_path / "out"
    assert {path.name for path in out.iterdir()} == TABLES | {"cases", "evaluation.json"}
    poses = sorted(path.relative_to(out).as_posix() for path in out.rglob("pose.json"))
    assert poses == [
        f"cases/phantom/{case}/{init}/isoclinic/pose.json"
        for case in ("00", "01")
        for init in ("4", "8", "ap")
    ]
    assert PoseFile.read(out / poses[0]).status is not None
    assert "results worse than 5 mm are doubtful" in ran.out
    document = json.loads((out / "summary.json").read_text())
    by_start = {row["start"]: row for row in document["summaries"]}
    assert list(by_start) == ["4", "8", "ap"]
    assert 3 < by_start["4"]["initial_mtre_mm"]["p50"] < 0.7 * by_start["8"]["initial_mtre_mm"]["p50"]
    for row in by_start.values():
        assert row["cases"] == 2 and row["group"] == "phantom"
        assert row["mtre_mm"]["p95"] < 1 and row["success_below_mm"]["1"] == 1
    with (out / "measurements.csv").open() as file:
        rows = list(csv.DictReader(file))
    assert [(row["case"], row["start"]) for row in rows] == [
        (f"phantom/{case}", init) for init in ("4", "8", "ap") for case in ("00", "01")
    ]
    assert "< 1 mm" in ran.out and "phantom" in ran.out


@pytest.mark.slow
def test_json_is_the_summary(evaluate, tmp_path):
    ran = evaluate("--starts", "none", "--json")
    assert json.loads(ran.out) == json.loads((tmp_path / "out" / "summary.json").read_text())
    assert json.loads(ran.out)["summaries"][0]["start"] == "none"


def test_what_is_done_is_not_done_again(evaluate, registrations):
    assert evaluate("--starts", "4").code == 0
    assert len(registrations.starts) == 2 + 1  # and one to prepare the volume
    registrations.starts.clear()
    assert evaluate("--starts", "4").code == 0
    assert registrations.starts == []
    assert evaluate().code == 0  # by default all starts that the cases name
    assert len(registrations.starts) == 2 + 1


def test_an_interruption_leaves_what_is_done(evaluate, registrations, tmp_path):
    registrations.stop_after = 1 + 3
    ran = evaluate()
    ran.refused(130, None, "interrupted")
    out = tmp_path / "out"
    assert len(list(out.rglob("pose.json"))) == len(list(out.rglob("measurement.json"))) == 3
    assert not TABLES & {path.name for path in out.iterdir()}
    registrations.stop_after = None
    registrations.starts.clear()
    assert evaluate().code == 0
    assert len(registrations.starts) == 1 + 1
    assert len(list(out.rglob("pose.json"))) == 4


@pytest.mark.slow
def test_other_settings_do_not_mix(evaluate, registrations, tmp_path):
    assert evaluate("--starts", "4").code == 0
    before = {path: path.read_bytes() for path in (tmp_path / "out").rglob("*") if path.is_file()}
    registrations.starts.clear()
    ran = evaluate("--starts", "4", "--length-mm", "61")
    ran.refused(2, "output.of-other-settings", "settings of the method", "--overwrite")
    assert registrations.starts == []
    assert {path: path.read_bytes() for path in before} == before
    assert evaluate("--starts", "4", "--length-mm", "61", "--overwrite").code == 0
    assert len(registrations.starts) == 2 + 1
    assert evaluate("--starts", "4", "--length-mm", "61").code == 0


def test_a_changed_case_is_noticed(evaluate, registrations, cases, tmp_path):
    folder = tmp_path / "copy"
    shutil.copytree(cases, folder)
    assert evaluate("--starts", "4", folder=folder).code == 0
    truth = folder / "phantom" / "01" / "truth.json"
    document = json.loads(truth.read_text())
    document["landmarks"][0][0] += 1
    truth.write_text(json.dumps(document))
    ran = evaluate("--starts", "4", folder=folder)
    ran.refused(2, "output.of-other-settings", "files", "phantom/01")


@pytest.mark.slow
def test_a_ct_for_every_group(evaluate, files, cases, tmp_path):
    folder = tmp_path / "two"
    shutil.copytree(cases / "phantom" / "00", folder / "a" / "00")
    shutil.copytree(cases / "phantom" / "00", folder / "b" / "00")
    assert evaluate("--starts", "4", folder=folder, volume=(f"a={files.ct}", f"b={files.ct}")).code == 0
    document = json.loads((tmp_path / "out" / "summary.json").read_text())
    assert [(row["group"], row["cases"]) for row in document["summaries"]] == [("a", 1), ("b", 1), ("all", 2)]
    for volume, fault in (
        ((f"a={files.ct}",), ("dataset.ct-missing", "'b'")),
        ((f"c={files.ct}", files.ct), ("options.unknown-name", f"c={files.ct}", "a, b")),
    ):
        ran = evaluate(folder=folder, volume=volume, output=tmp_path / "other")
        ran.refused(2, *fault)


def test_only_subjects_that_are_taken_need_a_ct(evaluate, files, cases, registrations, tmp_path):
    folder = tmp_path / "two"
    shutil.copytree(cases / "phantom" / "00", folder / "a" / "00")
    shutil.copytree(cases / "phantom" / "00", folder / "b" / "00")
    volume = (f"a={files.ct}",)
    assert evaluate("--starts", "4", "--subjects", "a", folder=folder, volume=volume).code == 0
    assert len(registrations.starts) == 2  # one to prepare
    ran = evaluate("--starts", "4", "--subjects", "a", "b", folder=folder, volume=volume)
    ran.refused(2, "dataset.ct-missing", "'b'", "--volume")


@pytest.mark.slow
def test_configurations_are_methods(evaluate, registrations, tmp_path):
    """A file changes what the command's own options say; "isoclinic-single" leaves the search out."""
    (tmp_path / "long.toml").write_text("length-mm = 70\n[[searches]]\ncandidates = 7\n")
    methods = ("isoclinic", f"long={tmp_path / 'long.toml'}", "isoclinic-single")
    assert evaluate("--starts", "4", "--max-step-mm", "9", "--methods", *methods).code == 0
    used = {(each.length_mm, each.searches[0].candidates, each.max_step_mm) for each in registrations.configs}
    assert used == {(60.0, 0, 9.0), (70.0, 7, 9.0)}
    folders = [path.name for path in sorted((tmp_path / "out" / "cases" / "phantom" / "00" / "4").iterdir())]
    assert folders == ["isoclinic", "isoclinic-single", "long"]
    for methods, fault in (
        (["abacus"], ("evaluation.unknown-name", "abacus", "isoclinic-single", "cmaes")),
        ([f"a/b={tmp_path / 'long.toml'}"], ("options.incomplete", "--methods", "a/b")),
        ([f"isoclinic={tmp_path / 'long.toml'}", "isoclinic"], ()),
    ):
        ran = evaluate("--methods", *methods, output=tmp_path / "other")
        if fault:
            ran.refused(2, *fault)
        else:
            assert ran.code == 0, ran.err
    (tmp_path / "wrong.toml").write_text("length = 1\n")
    ran = evaluate("--methods", f"a={tmp_path / 'wrong.toml'}")
    ran.refused(2, "config-file.unknown-key", f"--methods {tmp_path / 'wrong.toml'}", "length")


def test_an_xray_that_cannot_be_read_stops_no_other(evaluate, registrations, cases, tmp_path):
    folder = tmp_path / "copy"
    shutil.copytree(cases, folder)
    (folder / "phantom" / "00" / "xray.dcm").write_bytes(b"no image")
    ran = evaluate("--starts", "4", "8", folder=folder)
    ran.refused(1, "evaluation.incomplete", "1 of 2", "phantom/00")
    assert len(list((tmp_path / "out").rglob("measurement.json"))) == 2
    assert (tmp_path / "out" / "summary.csv").exists()


@pytest.mark.parametrize(
    ("changes", "arguments", "status", "fault"),
    [
        ({"folder": "nowhere"}, [], 1, ("dataset.wrong-kind", "nowhere")),
        ({"folder": "empty"}, [], 1, ("dataset.empty", "empty")),
        ({"volume": ("no.nii.gz",)}, [], 1, ("evaluation.nothing-registered", "no.nii.gz")),
        ({}, ["--starts", "16"], 2, ("evaluation.unknown-name", "'16'", "4, 8, none, ap")),
        ({"output": "file"}, [], 2, ("output.not-a-folder", "file")),
    ],
)
def test_what_is_wrong_is_said_and_nothing_is_written(
    evaluate, tmp_path, monkeypatch, changes, arguments, status, fault
):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "empty").mkdir()
    (tmp_path / "file").write_text("")
    before = set(tmp_path.rglob("*"))
    ran = evaluate(*arguments, **changes)
    ran.refused(status, *fault)
    assert set(tmp_path.rglob("*")) == before
