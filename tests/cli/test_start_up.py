"""Help, the version and mistakes in options need nothing that takes long to import."""

from __future__ import annotations

import os
import subprocess
import sys

import pytest

from isoclinic.cli import _COMMANDS

# None of them is part of an answer about options; torch alone takes more than a second.
HEAVY = ("torch", "numba", "numpy", "scipy", "matplotlib", "skimage", "SimpleITK", "pydicom", "nibabel")
PROGRAM = f"""
import sys
from isoclinic.cli import main
try:
    code = main(sys.argv[1:])
except SystemExit as error:
    code = error.code
print("code", code, "loaded", *(name for name in {HEAVY} if name in sys.modules))
"""


def loaded(*arguments: str) -> tuple[int, list[str]]:
    """Exit status of a command line, and which of the heavy packages it imported."""
    ran = subprocess.run([sys.executable, "-c", PROGRAM, *arguments], capture_output=True, text=True)
    assert ran.returncode == 0, ran.stderr
    _, code, _, *names = ran.stdout.splitlines()[-1].split()
    return int(code), names


@pytest.mark.parametrize("command", _COMMANDS)
def test_help_of_a_command_imports_nothing_heavy(command):
    assert loaded(command, "--help") == (0, [])


def test_all_help_imports_nothing_heavy():
    assert loaded("register", "--help-all") == (0, [])


def test_help_and_version_import_nothing_heavy():
    assert loaded("--help") == loaded("--version") == (0, [])


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


def test_the_package_runs_as_a_module():
    ran = subprocess.run([sys.executable, "-m", "isoclinic", "--version"], capture_output=True, text=True)
    assert ran.returncode == 0 and ran.stdout.startswith("isoclinic ")


def test_importing_leaves_the_environment_alone():
    program = (
        "import os; before = dict(os.environ); import isoclinic; dir(isoclinic); isoclinic.Camera; "
        "assert dict(os.environ) == before"
    )
    environment = {name: value for name, value in os.environ.items() if name != "GOMP_SPINCOUNT"}
    ran = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, env=environment)
    assert ran.returncode == 0, ran.stderr


def test_the_program_lets_idle_threads_sleep():
    program = (
        "import os; from isoclinic.cli import main; main(['compare', 'a', '--output', 'b']); "
        "print(os.environ['GOMP_SPINCOUNT'])"
    )
    environment = {name: value for name, value in os.environ.items() if name != "GOMP_SPINCOUNT"}
    ran = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, env=environment)
    assert ran.stdout.splitlines()[-1] == "10000"
