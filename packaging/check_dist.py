"""Checks of a built wheel and sdist: what is in them, what an index page shows, and that the wheel runs.

    python packaging/check_dist.py dist

The wheel is installed into an environment of its own. It borrows this interpreter's packages, so that only
the wheel itself is new; `make extras` tries complete installations.
"""

from __future__ import annotations

import os
import re
import subprocess
import sys
import sysconfig
import tarfile
import tempfile
import zipfile
from pathlib import Path, PurePosixPath

ROOT = Path(__file__).resolve().parents[1]
PACKAGE = ROOT / "src" / "isoclinic"
# The networks that come along are the largest file; nothing else comes near.
LARGEST_MB = 6.0
NOT_SHIPPED = {".gitattributes", ".pre-commit-config.yaml", ".ci", ".github"}
RELATIVE_LINK = re.compile(r"\]\((?!https?:|#)[^)]*\)")
# What the command line does without data; the last one imports the renderer, the solver and the networks.
RUNS = (
    ("isoclinic", "--version"),
    ("isoclinic", "register", "--help"),
    ("python", "-c", "import isoclinic; isoclinic.default_model(); print(isoclinic.__file__)"),
)


def main(folder: Path) -> int:
    """Check the one wheel and the one sdist of a folder; 0 if all is well."""
    (wheel,), (sdist,) = folder.glob("*.whl"), folder.glob("*.tar.gz")
    problems = [*_of_wheel(wheel), *_of_sdist(sdist)]
    if not problems:
        problems = list(_of_installation(wheel))
    for problem in problems:
        print(problem, file=sys.stderr)
    if not problems:
        sizes = ", ".join(f"{file.name} {file.stat().st_size / 1e6:.1f} MB" for file in (wheel, sdist))
        print(f"{sizes}: complete, and the wheel runs")
    return 1 if problems else 0


def _of_wheel(wheel: Path) -> list[str]:
    """Every file of the package and nothing else, and a description whose links work anywhere."""
    with zipfile.ZipFile(wheel) as archive:
        names = {name: archive.getinfo(name).file_size for name in archive.namelist()}
        (metadata,) = (name for name in names if name.endswith(".dist-info/METADATA"))
        text = archive.read(metadata).decode()
    package = {name for name in names if ".dist-info/" not in name}
    tracked = {f"isoclinic/{path.relative_to(PACKAGE).as_posix()}" for path in _tracked(PACKAGE)}
    problems = [f"{wheel.name} lacks {name}" for name in sorted(tracked - package)]
    problems += [
        f"{wheel.name} contains {name}, which is not in the repository" for name in sorted(package - tracked)
    ]
    problems += [f"{wheel.name}: {name} is large" for name, size in names.items() if size > LARGEST_MB * 1e6]
    problems += [
        f"{wheel.name}: its description has the relative link {link}" for link in RELATIVE_LINK.findall(text)
    ]
    problems += [
        f"{wheel.name}: no {field}" for field in ("Project-URL: Issues", "License-File") if field not in text
    ]
    return problems


def _of_sdist(sdist: Path) -> list[str]:
    """What is tracked, but for the files of the repository's own housekeeping."""
    with tarfile.open(sdist) as archive:
        names = {PurePosixPath(*PurePosixPath(entry.name).parts[1:]) for entry in archive if entry.isfile()}
    generated = {PurePosixPath("PKG-INFO")}
    tracked = {PurePosixPath(path.relative_to(ROOT).as_posix()) for path in _tracked(ROOT)}
    shipped = {path for path in tracked if path.parts[0] not in NOT_SHIPPED}
    problems = [f"{sdist.name} lacks {path}" for path in sorted(shipped - names)]
    stray = names - tracked - generated
    return problems + [
        f"{sdist.name} contains {path}, which is not in the repository" for path in sorted(stray)
    ]


def _tracked(folder: Path) -> list[Path]:
    """Files of the repository below a folder, those not yet added included."""
    listing = ["git", "ls-files", "-z", "--cached", "--others", "--exclude-standard", "."]
    listed = subprocess.run(listing, cwd=folder, check=True, capture_output=True, text=True).stdout
    return [path for name in listed.split("\0") if name and (path := folder / name).is_file()]


def _of_installation(wheel: Path) -> list[str]:
    """Install the wheel and run it away from the source."""
    clean = {name: value for name, value in os.environ.items() if name not in ("PYTHONPATH", "VIRTUAL_ENV")}
    with tempfile.TemporaryDirectory() as folder:
        subprocess.run([sys.executable, "-m", "venv", folder], check=True)
        python = Path(folder, "Scripts" if os.name == "nt" else "bin", "python")
        site = Path(
            subprocess.run(
                [python, "-c", "import sysconfig; print(sysconfig.get_path('purelib'))"],
                check=True,
                capture_output=True,
                text=True,
            ).stdout.strip()
        )
        (site / "borrowed.pth").write_text(sysconfig.get_path("purelib") + "\n")
        pip: list[str | Path] = [
            python,
            "-m",
            "pip",
            "--disable-pip-version-check",
            "install",
            "--quiet",
            "--no-deps",
            "--force-reinstall",
        ]
        subprocess.run([*pip, wheel.resolve()], check=True, env=clean, cwd=folder)
        problems = []
        for program, *arguments in RUNS:
            ran = subprocess.run(
                [python.with_name(program), *arguments], env=clean, cwd=folder, capture_output=True, text=True
            )
            if ran.returncode:
                problems.append(
                    f"{wheel.name}: {program} {' '.join(arguments)} ended with {ran.returncode}: {ran.stderr}"
                )
        if not problems and not Path(ran.stdout.strip()).is_relative_to(Path(folder).resolve()):
            problems.append(f"another isoclinic than that of {wheel.name} ran: {ran.stdout.strip()}")
    return problems


if __name__ == "__main__":
    sys.exit(main(Path(sys.argv[1])))
