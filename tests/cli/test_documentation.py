"""Every page of the documentation works as it stands, followed from top to bottom in a folder of its own.

Commands and Python examples run on a phantom with a short schedule, and read the files that the page shows.
"""

from __future__ import annotations

import re
import shlex
import shutil
import sys
import tomllib
from collections.abc import Callable, Mapping
from contextlib import redirect_stdout
from dataclasses import replace
from functools import cache
from importlib.util import module_from_spec, spec_from_file_location
from io import StringIO
from pathlib import Path
from typing import Any

import pytest
import torch
import tyro

import isoclinic
from isoclinic import Volume, XRay, registration
from isoclinic._spread_config import SpreadConfig
from isoclinic.batches import worker as batch_worker
from isoclinic.cli import _COMMANDS, adapt, dataset, main, pretrain, register, train
from isoclinic.datasets.preparation import Preparation, PreparationConfig, prepare_ctspine1k
from isoclinic.evaluation.methods import pipeline
from isoclinic.registration import PoseFile, RegistrationConfig, SearchConfig, Stage, views_from_file
from isoclinic.registration.landmarks import read_landmark_pairs
from isoclinic.sequences import tracking
from isoclinic.training import TrainConfig, Trainer, TrainingData
from tiny_training import CONFIG as TINY

from .page_files import write_page_files
from .pages import INLINE, OTHER_PAGES, PAGES, ROOT, SHELL, anchors, blocks, links, prose

# Of formats that a page explains without a command that reads them.
READERS: dict[str, Callable[[str], object]] = {
    "pose.json": PoseFile.read,
    "landmarks.json": read_landmark_pairs,
    "views.json": lambda path: views_from_file([XRay.read("ap.dcm"), XRay.read("lateral.dcm")], path),
}

SCHEDULE = {"searches": (SearchConfig(candidates=0),), "stages": (Stage(pixels=32), Stage(pixels=64))}
OF_STRUCTURES = {"stages": (Stage(pixels=32),), "candidates": 4, "starts": 1, "rounds": 1}
REGISTRATIONS = (
    ("register", SCHEDULE, (isoclinic, registration, pipeline)),
    ("register_views", SCHEDULE, (registration, register)),
    ("register_structures", OF_STRUCTURES, (registration, register, tracking, batch_worker)),
)

# Pages on which a result is doubtful by its nature: a bone is out of view, one view refines intrinsics, or
# a start that is wrong for the phantom is tried.
WITH_DOUBTS = {"per-bone.md", "no-calibration.md", "confidence.md"}
DOUBTFUL = register.DOUBTFUL_STATUS

# What a line of a page may be, besides an isoclinic command.
PROJECT = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["project"]
TARGETS = set(re.findall(r"^(\w+):", (ROOT / "Makefile").read_text(encoding="utf-8"), re.MULTILINE))
INSTALLED = re.compile(r"\.|isoclinic\[(?P<extra>\w+)\]")


def parametrized(*pages: Path) -> pytest.MarkDecorator:
    return pytest.mark.parametrize("page", pages, ids=lambda page: str(page.relative_to(ROOT)))


each_page = parametrized(*PAGES)


@pytest.fixture(scope="module")
def page_files(files, cases, tmp_path_factory) -> Path:
    folder = tmp_path_factory.mktemp("page-files")
    write_page_files(folder, files.ct, files.xray, cases)
    return folder


@pytest.fixture
def user_folder(page_files, tmp_path, monkeypatch) -> Path:
    """A fresh copy of the files, to work in; registrations there take a tenth of a second."""
    shutil.copytree(page_files, tmp_path, dirs_exist_ok=True)
    monkeypatch.chdir(tmp_path)
    for name, schedule, modules in REGISTRATIONS:
        quick = with_schedule(getattr(registration, name), schedule)
        for module in modules:
            monkeypatch.setattr(module, name, quick)
    monkeypatch.setattr(tracking, "Session", quick_session)
    monkeypatch.setattr(batch_worker, "Session", quick_session)
    for module in (train, pretrain):
        monkeypatch.setattr(module, "Trainer", quick_trainer)
    monkeypatch.setattr(adapt, "Trainer", quick_adaptation)
    monkeypatch.setattr(dataset, "prepare_ctspine1k", quick_preparation)
    return tmp_path


def quick_session(ct: Volume, config: RegistrationConfig, **named: Any) -> registration.Session:
    """A session with a short schedule."""
    return registration.Session(ct, replace(config, **SCHEDULE), **named)


def quick_preparation(
    source: Path, output: Path, config: PreparationConfig, where: SpreadConfig, **named: Any
) -> Preparation:
    """Few and small DRRs, in this process."""
    few = replace(config, drrs=replace(config.drrs, images=2, binning=24))
    return prepare_ctspine1k(source, output, few, replace(where, processes=1), **named)


def quick_trainer(data: TrainingData, config: TrainConfig, device: torch.device) -> Trainer:
    """A trainer of tiny networks, on a few X-rays."""
    tiny = replace(TINY, images=16, networks=config.networks)
    if config.part is not None:
        wanted = config.canonical.network
        network = replace(tiny.canonical.network, hint=wanted.hint, saturation=wanted.saturation)
        tiny = replace(tiny, part=config.part, canonical=replace(tiny.canonical, network=network))
    return Trainer(data, tiny, device)


def quick_adaptation(data: TrainingData, config: TrainConfig, device: torch.device) -> Trainer:
    """A trainer of networks that are tiny already, on a few X-rays."""
    return Trainer(data, replace(config, images=16, validations=1, validation_images=1), device)


def with_schedule(real: Callable, schedule: Mapping[str, Any]) -> Callable:
    """The function with these settings in its configuration, its last argument, or the default one."""

    def quick(*arguments, config=None, **named):
        if config is None and not hasattr(arguments[-1], "stages"):
            config = RegistrationConfig()
        *others, config = arguments if config is None else (*arguments, config)
        return real(*others, config=replace(config, **schedule), **named)

    return quick


@pytest.mark.filterwarnings("always::isoclinic.volumes.GeometryWarning")
@each_page
@pytest.mark.slow
def test_a_page_works_from_top_to_bottom(page, run, user_folder, capsys):
    printed = ""
    for block in blocks(page):
        if block.name:
            Path(block.name).write_text(block.text)
            READERS.get(block.name, Path)(block.name)
        elif block.language == "python":
            exec(compile(block.text, page.name, "exec"), {})
            printed += capsys.readouterr().out
        for command in block.commands:
            ran = run(*command)
            expected = (0, DOUBTFUL) if page.name in WITH_DOUBTS and command[0] == "register" else (0,)
            assert ran.code in expected, f"isoclinic {shlex.join(command)}\n{ran.err}"
            printed += ran.out + ran.err
        for name in block.row_names:
            assert name in printed, f"nothing has printed the row {name!r} that {page.name} shows"


@each_page
def test_no_block_escapes_the_tests(page):
    """Neither by a fence that they do not see, nor by a language that they skip, nor by having none."""
    assert {block.language for block in blocks(page)} <= {SHELL, INLINE, "python", "json", "toml", "text"}
    left = prose(page)
    assert not re.search(r"```|~~~", left)
    assert not re.search(rf"^[ >$]*isoclinic ({'|'.join(_COMMANDS)})\b", left, re.MULTILINE)


@each_page
def test_every_line_to_type_is_run_or_checked(page):
    for block in blocks(page):
        for program, *arguments in block.lines:
            line = shlex.join([program, *arguments])
            if program == "isoclinic":
                assert arguments[0] in _COMMANDS, line  # those with options run above
            elif program == "make":
                assert set(arguments) <= TARGETS, line
            elif program == "pip":
                found = INSTALLED.fullmatch(arguments[1])
                assert arguments[0] == "install" and len(arguments) == 2 and found, line
                assert found["extra"] in {None, *PROJECT["optional-dependencies"]}, line
            else:
                assert program == "python" and (ROOT / arguments[0]).exists(), line


@pytest.fixture(scope="module")
def benchmark_options() -> Callable[[Path], type]:
    """Dataclass of a benchmark's options."""
    with pytest.MonkeyPatch.context() as patch:
        patch.syspath_prepend(ROOT / "benchmarks")

        @cache
        def options_of(script: Path) -> type:
            name = f"benchmark_{script.stem}"
            spec = spec_from_file_location(name, script)
            assert spec is not None and spec.loader is not None
            module = module_from_spec(spec)
            patch.setitem(sys.modules, name, module)
            spec.loader.exec_module(module)
            return module.Config

        yield options_of


@parametrized(*PAGES, *OTHER_PAGES)
def test_benchmarks_exist_and_take_these_options(page, benchmark_options):
    text = page.read_text(encoding="utf-8")
    for name in re.findall(r"(?<![\w.-])benchmarks/[\w./-]*\w", text):
        assert (ROOT / name).exists(), f"{page.name}: {name}"
    for block in blocks(page):
        for program, *arguments in block.lines:
            if program.endswith("python") and arguments[0].startswith("benchmarks/"):
                tyro.cli(benchmark_options(ROOT / arguments[0]), args=arguments[1:])


@parametrized(*OTHER_PAGES)
def test_commands_that_take_too_long_take_these_options(page, options):
    for block in blocks(page):
        for command, *arguments in block.commands:
            named = {word.partition("=")[0] for word in arguments if word.startswith("--")}
            assert named <= options[command], f"isoclinic {command}: {named - options[command]}"


@each_page
def test_every_file_that_a_page_shows_is_used(page):
    """So that none can be wrong: by its reader, by a command, or beside an image of its name."""
    shown = list(blocks(page))
    for index, block in enumerate(shown):
        if block.language in ("json", "toml"):
            assert block.name, f"{page.name} shows a file without a name:\n{block.text}"
            words = [word for later in shown[index:] for command in later.commands for word in command]
            used = {word.rpartition("=")[2].partition(".")[0] for word in words}
            assert block.name in READERS or block.name.partition(".")[0] in used, block.name


def test_every_command_is_documented():
    commands = [command[0] for page in PAGES for block in blocks(page) for command in block.commands]
    assert set(commands) == set(_COMMANDS) - {"demo"}  # make demo


@pytest.fixture(scope="module")
def options() -> dict[str, set[str]]:
    """Names of the options of every command."""
    found = {}
    for command in _COMMANDS:
        with redirect_stdout(StringIO()) as shown, pytest.raises(SystemExit):
            main([command, "--help-all"])
        found[command] = {"--help", "--help-all", *re.findall(r"--[a-z][\w.-]+", shown.getvalue())}
    return found


def test_options_that_pages_mention_exist(options):
    all_options = set().union(*options.values(), ["--version"])
    groups = {name.partition(".")[0] for name in all_options}
    for page in PAGES:
        text = page.read_text(encoding="utf-8")
        if page.parent.name == "coming-from":
            # The options of the other program stand in blocks of text and in the first column of tables.
            text = re.sub(r"^```text\n.*?^```$|^\|[^|]*\|", "", text, flags=re.MULTILINE | re.DOTALL)
        others = r"`(python|torchrun)\s[^`]*`|`benchmarks/\w+\.py` with `[^`]*`|^pip .*$"
        text = re.sub(others, "", text, flags=re.MULTILINE)
        mentioned = set(re.findall(r"(?<![\w-])--[a-z][\w.-]*\w", text))
        assert mentioned <= all_options | groups, f"{page.name}: {sorted(mentioned - all_options - groups)}"


@parametrized(*PAGES, *OTHER_PAGES)
def test_links_lead_somewhere(page):
    for target, heading in links(page):
        path = page.parent / target if target else page
        assert path.exists(), f"{page.name}: {target}"
        if heading:
            assert heading in anchors(path), f"{page.name}: {target}#{heading}"


# These pages explain the terms themselves, or refer to the glossary as a whole.
EXPLAINED = {"README.md", "conventions.md", "errors.md", "glossary.md", "index.md", "method.md", "results.md"}


@pytest.mark.parametrize("term", ["mTRE", "DRR", "SE(3)", "SO(4)", "mPD", "NCC"])
@pytest.mark.parametrize(
    "page", [page for page in PAGES if page.name not in EXPLAINED], ids=lambda page: page.name
)
def test_a_page_links_a_term_of_the_glossary_where_it_first_uses_it(page, term):
    text = re.sub(r"`[^`]*`|^#.*$|!\[[^\]]*\]", "", prose(page), flags=re.MULTILINE)
    first = re.search(rf"(?<!\w){re.escape(term)}s?(?!\w).{{0,60}}", text, re.DOTALL)
    assert first is None or "glossary.md#" in first[0], first[0]


def test_the_readme_lists_every_how_to():
    listed = {target for target, _ in links(ROOT / "README.md")}
    assert {str(page.relative_to(ROOT)) for page in PAGES if page.parent.name == "how-to"} <= listed
