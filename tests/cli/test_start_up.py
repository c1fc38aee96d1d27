"""Help, the version and mistakes in options need nothing that takes long to import."""

from __future__ import annotations

import os
import subprocess
import sys

import numpy as np
import pytest
from PIL import Image

from isoclinic import XRay
from isoclinic.cli import _COMMANDS

# None of them is part of an answer about options; torch alone takes more than a second.
HEAVY = ("torch", "numba", "numpy", "scipy", "matplotlib", "skimage", "SimpleITK", "pydicom", "nibabel")
# A registration of a NIfTI file and a PNG has no use for these.
UNUSED = (
    *("matplotlib", "monai", "safetensors", "tifffile", "h5py", "ray", "pandas"),
    *("scipy.stats", "scipy.optimize", "scipy.fft", "scipy.signal", "scipy.interpolate", "scipy.spatial"),
    *("skimage.transform", "skimage.measure", "skimage.morphology", "isoclinic.training.trainer"),
    *("isoclinic.evaluation.runner", "isoclinic.simulation.xray", "isoclinic.inspection.volume"),
)
PROGRAM = f"""
import sys
from isoclinic.cli import main
try:
    code = main(sys.argv[1:])
except SystemExit as error:
    code = error.code
print("code", code, "loaded", *(name for name in {HEAVY + UNUSED} if name in sys.modules))
"""


def loaded(*arguments: object) -> tuple[int, list[str]]:
    """Exit status of a command line, and which of the packages above it imported."""
    ran = subprocess.run(
        [sys.executable, "-c", PROGRAM, *map(str, arguments)], capture_output=True, text=True
    )
    assert ran.returncode == 0, ran.stderr
    _, code, _, *names = ran.stdout.splitlines()[-1].split()
    return int(code), names


@pytest.mark.slow
@pytest.mark.parametrize("command", _COMMANDS)
def test_help_of_a_command_imports_nothing_heavy(command):
    assert loaded(command, "--help") == (0, [])


@pytest.mark.slow
def test_all_help_imports_nothing_heavy():
    assert loaded("register", "--help-all") == (0, [])


def test_help_and_version_import_nothing_heavy():
    assert loaded("--help") == loaded("--version") == (0, [])


@pytest.mark.slow
@pytest.mark.parametrize(
    "arguments",
    [
        ("register", "x.dcm", "--no-such-option"),
        ("register", "x.dcm", "--volume", "ct.nii", "--output", "r", "--bin", "many"),
        ("regster",),
        ("train", "ct.nii", "--output", "r", "--minuts", "3"),
        # A value that a configuration refuses.
        ("register", "x.dcm", "--volume", "ct.nii", "--output", "r", "--bin", "0"),
    ],
)
def test_a_mistake_is_told_without_importing_anything_heavy(arguments):
    assert loaded(*arguments) == (2, [])


@pytest.mark.slow
def test_a_registration_of_nifti_and_png_imports_only_what_it_needs(files, tmp_path):
    """The X-ray has no shadow of a collimator, whose hull would need scipy.spatial."""
    pixels = XRay.read(files.xray).pixels
    Image.fromarray(np.rint(pixels).astype(np.uint16)).save(tmp_path / "xray.png")
    camera = ("--sdd-mm", 1000, "--pixel-spacing-mm", 3, 3, "--polarity", "bright_air")
    inputs = (tmp_path / "xray.png", "--volume", files.ct, "--init", files.init, "--config", files.config)
    code, names = loaded("register", *inputs, *camera, "--output", tmp_path / "result")
    assert code in (0, 3) and (tmp_path / "result" / "report.html").is_file()
    assert {"torch", "numba", "nibabel"} <= set(names)
    assert [name for name in names if name in UNUSED] == []


def test_the_package_runs_as_a_module():
    ran = subprocess.run([sys.executable, "-m", "isoclinic", "--version"], capture_output=True, text=True)
    assert ran.returncode == 0 and ran.stdout.startswith("isoclinic ")


@pytest.mark.slow
def test_importing_leaves_the_environment_alone():
    program = (
        "import os; before = dict(os.environ); import isoclinic; dir(isoclinic); isoclinic.Camera; "
        "assert dict(os.environ) == before"
    )
    environment = {name: value for name, value in os.environ.items() if name != "GOMP_SPINCOUNT"}
    ran = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, env=environment)
    assert ran.returncode == 0, ran.stderr


@pytest.mark.slow
def test_the_program_lets_idle_threads_sleep():
    program = (
        "import os; from isoclinic.cli import main; main(['compare', 'a', '--output', 'b']); "
        "print(os.environ['GOMP_SPINCOUNT'])"
    )
    environment = {name: value for name, value in os.environ.items() if name != "GOMP_SPINCOUNT"}
    ran = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, env=environment)
    assert ran.stdout.splitlines()[-1] == "10000"
