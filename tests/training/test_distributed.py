"""Two processes under torchrun train as one with batches twice as large would, and one of them writes."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path
from typing import Any

import nibabel as nib
import pytest
import torch

from isoclinic.training import distributed
from isoclinic.training.file_names import MODEL_FILE, STATE_FILE
from made_once import made_once
from tiny_training import subject, trainer

SCRIPT = Path(__file__).with_name("in_processes.py")
OPTIONS = """
networks = ["pose_regressor"]
pixels = 16
validations = 1
validation-images = 1
device = "cpu"
[pose-regressor]
batch = 4
copies = 2
network.width = 8
"""


@pytest.fixture(scope="module")
def folder(tmp_path_factory) -> Path:
    """What two processes left, and what they printed."""
    return made_once(tmp_path_factory, "processes", train_in_processes)


def train_in_processes(folder: Path) -> None:
    volume = subject().volume
    nib.save(nib.Nifti1Image(volume.hu, volume.world_from_voxel), folder / "ct.nii.gz")
    (folder / "options.toml").write_text(OPTIONS)
    launch = ["-m", "torch.distributed.run", "--standalone", "--nproc-per-node", "2"]
    train = ["train", "ct.nii.gz", "--output", "model", "--config", "options.toml", "--images", "16"]
    command = [sys.executable, *launch, str(SCRIPT), str(folder), *train]
    done = subprocess.run(command, cwd=folder, capture_output=True, text=True, timeout=300)
    assert done.returncode == 0, done.stderr
    (folder / "out").write_text(done.stdout)
    (folder / "err").write_text(done.stderr)


@pytest.fixture(scope="module")
def found(folder: Path) -> list[dict[str, Any]]:
    return [torch.load(folder / f"{rank}.pt") for rank in range(2)]


KINDS = ("pose_regressor", "fine_encoder")


@pytest.mark.slow
@pytest.mark.parametrize("kind", KINDS)
def test_processes_have_batches_of_their_own(found, kind):
    assert [each[kind]["seen"] for each in found] == [[0, 2], [1, 3]]
    assert [each[kind]["images"] for each in found] == [16, 16]
    assert found[0][kind]["progress"] == found[1][kind]["progress"] == 0.5


@pytest.mark.slow
@pytest.mark.parametrize("kind", KINDS)
def test_gradients_and_weights_are_those_of_both_batches(found, kind):
    """Computed here in one process, gradients averaged by hand."""
    made = trainer(networks=(kind,), seed=3)
    (phase,) = made.phases
    gradients = []
    for index in range(2):
        phase.optimizer.zero_grad()
        torch.stack(list(phase._objective(phase._stream.batch(index)).values())).sum().backward()
        gradients.append([parameter.grad for parameter in phase.network.parameters()])
    for parameter, first, second in zip(phase.network.parameters(), *gradients, strict=True):
        parameter.grad = None if first is None else (first + second) / 2
    torch.nn.utils.clip_grad_norm_(phase.network.parameters(), phase.config.optimizer.clip_norm)
    expected = {name: each.grad for name, each in phase.network.named_parameters() if each.grad is not None}
    largest = max(gradient.abs().max().item() for gradient in expected.values())
    assert largest > 0
    for each in found:
        for name, gradient in expected.items():
            # float32 sums in another order
            torch.testing.assert_close(
                each[kind]["gradients"][name], gradient, rtol=1e-3, atol=1e-5 * largest
            )
    assert expected.keys() <= found[0][kind]["gradients"].keys()


@pytest.mark.slow
@pytest.mark.parametrize("kind", KINDS)
def test_processes_keep_the_same_weights(found, kind):
    one, other = (each[kind]["weights"] for each in found)
    before = trainer(networks=(kind,), seed=3).phases[0].network
    moved = 0
    for name, parameter in before.named_parameters():
        assert torch.equal(one[f"{kind}.{name}"], other[f"{kind}.{name}"]), name
        moved += not torch.equal(one[f"{kind}.{name}"], parameter)
    assert moved > 5


@pytest.mark.slow
def test_what_processes_tell_each_other(found):
    assert [each["first"] for each in found] == [5.0, 5.0]
    assert [each["any"] for each in found] == [[True, False]] * 2


@pytest.mark.slow
def test_one_process_shows_and_writes(folder):
    """The other one's output would double each line; its files would be replaced under way."""
    assert [(folder / f"{rank}.code").read_text() for rank in range(2)] == ["0", "0"]
    assert {path.name for path in (folder / "model").iterdir()} == {
        MODEL_FILE,
        STATE_FILE,
        "training.csv",
        "training.png",
    }
    assert (folder / "out").read_text().count("pose regressor") == 1
    lines = [line for line in (folder / "err").read_text().splitlines() if "X-rays" in line]
    assert [line.split(",")[1] for line in lines] == [" 1 of 1: 8 X-rays", " 1 of 1: 16 X-rays"]
    rows = (folder / "model" / "training.csv").read_text().splitlines()
    assert [row.split(",")[1] for row in rows[1:]] == ["8.0", "16.0"]


def test_alone_there_is_one_process():
    with distributed.process_group(torch.device("cpu")):
        assert (distributed.rank(), distributed.processes()) == (0, 1)
        assert distributed.of_first(3.0) == 3.0
        assert distributed.any_of(True) and not distributed.any_of(False)


def test_each_process_has_a_gpu_of_its_own(monkeypatch):
    cpu, gpu = torch.device("cpu"), torch.device("cuda")
    assert distributed.local_device(gpu) == gpu
    monkeypatch.setenv("LOCAL_RANK", "3")
    assert distributed.local_device(gpu) == torch.device("cuda", 3)
    assert distributed.local_device(cpu) == cpu
