"""Installs isoclinic in every documented way, each in an environment of its own, and does what it is for.

The tests run in one environment that has everything, so a package that only they bring could hide that an
installation lacks it. This script finds that out: `make extras`. It takes a minute or two, and space for one
installation of torch, which all environments share, as they share the plain installation of isoclinic; each
adds only what its extra brings.

    python tests/installations.py [--folder FOLDER] [--torch REQUIREMENT] [--only NAME ...]
"""

from __future__ import annotations

import argparse
import json
import os
import subprocess
import sys
import time
import tomllib
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

ROOT = Path(__file__).resolve().parents[1]
EXTRAS = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]["optional-dependencies"]
PLAIN = "plain"
# What would show up in the plain installation if another one's packages leaked into it.
ONLY_IN_EXTRAS = (
    *("cmaes", "einops", "h5py", "monai", "nanodrr", "pyigtl", "pynetdicom", "pytest", "ray", "tensorboard"),
    *("starlette", "uvicorn"),
)
SKIPPED = {
    "cuda": "the CUDA libraries take gigabytes, and the kernels need a GPU; `make test` simulates one",
    "diffdrr": "it requires torchvision, which must match torch; benchmarks/README.md installs it",
    "dev": "`make test` installs and uses it",
    "docs": "`make docs` installs and uses it",
}
DOUBTFUL = 3
FAST = """
[[searches]]
candidates = 16
[[stages]]
pixels = 32
[[stages]]
pixels = 64
"""
TINY = """
networks = ["pose_regressor", "canonical"]
images = 16
pixels = 16
validations = 1
validation-images = 1
device = "cpu"
[pose-regressor]
batch = 4
copies = 2
network.width = 8
"""


def main() -> int:
    """Check every installation; 0 if all work."""
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--folder", type=Path, default=ROOT / ".venv-extras", help="for the environments")
    parser.add_argument("--torch", default="torch==2.13.0", help="what to install torch from")
    parser.add_argument("--only", nargs="*", choices=(PLAIN, *CHECKS), help="installations to check")
    parser.add_argument("--inside", nargs=2, metavar=("NAME", "FOLDER"), help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.inside:
        CHECKS[options.inside[0]](Path(options.inside[1]))
        return 0
    return _check_all(options.folder.resolve(), options.torch, options.only or tuple(CHECKS))


def _check_all(folder: Path, torch: str, names: tuple[str, ...]) -> int:
    for name, reason in SKIPPED.items():
        print(f"{name}: skipped: {reason}", flush=True)
    base = Environment(folder / "torch")
    base.install(*torch.split())
    plain = Environment(folder / PLAIN, base)
    plain.install("--force-reinstall", "--no-deps", str(ROOT))
    plain.install(str(ROOT))
    work = folder / "work"
    work.mkdir(exist_ok=True)
    failed = []
    for name in names:
        began = time.monotonic()
        environment = plain
        if name != PLAIN:
            environment = Environment(folder / name, base, plain)
            environment.install(f"isoclinic[{name}]")
        done = environment.check(name, work)
        if not done:
            failed.append(name)
        added_mb = environment.size_mb + (base.size_mb if name == PLAIN else 0)
        took = f"{time.monotonic() - began:.0f} s"
        print(f"{name}: {'works' if done else 'FAILED'}, {took}, adds {added_mb:.0f} MB", flush=True)
    if failed:
        print(f"installations that do not work: {', '.join(failed)}", file=sys.stderr)
    return 1 if failed else 0


@dataclass(frozen=True)
class Environment:
    """A virtual environment that sees the packages of others, too.

    Attributes:
        folder: of it.
        below: the others.
    """

    folder: Path
    below: tuple[Environment, ...]

    def __init__(self, folder: Path, *below: Environment) -> None:
        object.__setattr__(self, "folder", folder)
        object.__setattr__(self, "below", below)
        if not (folder / "pyvenv.cfg").exists():
            subprocess.run([sys.executable, "-m", "venv", str(folder)], check=True)
        paths = "".join(f"{each.packages}\n" for each in reversed(below))
        (self.packages / "below.pth").write_text(paths)

    @property
    def python(self) -> Path:
        """Its interpreter."""
        return self.folder / ("Scripts" if os.name == "nt" else "bin") / "python"

    @property
    def packages(self) -> Path:
        """Where its packages are."""
        (found,) = self.folder.glob("Lib/site-packages" if os.name == "nt" else "lib/*/site-packages")
        return found

    @property
    def size_mb(self) -> float:
        """Size of the packages of its own, without compiled bytecode and the installer."""
        left_out = ("__pycache__", "pip", "setuptools")
        files = (
            file
            for file in self.packages.rglob("*")
            if file.is_file() and not file.is_symlink() and file.suffix != ".pyc"
            if not any(file.relative_to(self.packages).parts[0].startswith(name) for name in left_out)
        )
        return sum(file.stat().st_size for file in files) / 1e6

    def install(self, *what: str) -> None:
        """Install with pip, which leaves alone what the others have."""
        pip = [self.python, "-m", "pip", "--disable-pip-version-check", "install", "--quiet", *what]
        subprocess.run(pip, check=True, env=_clean())

    def check(self, name: str, work: Path) -> bool:
        """Whether the check of that name passes in it, in a process of its own."""
        command = [self.python, Path(__file__), "--inside", name, work]
        return subprocess.run(command, check=False, cwd=work, env=_clean()).returncode == 0


def _clean() -> dict[str, str]:
    """The environment without what would let other installations of isoclinic be found."""
    return {name: value for name, value in os.environ.items() if name not in ("PYTHONPATH", "VIRTUAL_ENV")}


# Run inside of the environments --------------------------------------------------------------------------


def check_plain(work: Path) -> None:
    """A registration, and one of a stranger, which only the last resort is left for."""
    from importlib.util import find_spec

    import isoclinic

    assert ROOT not in Path(isoclinic.__file__).parents or ".venv" in isoclinic.__file__, isoclinic.__file__
    leaked = [name for name in ONLY_IN_EXTRAS if find_spec(name) is not None]
    assert not leaked, f"the plain installation has {', '.join(leaked)}"
    _write_data(work)
    own = _json("register", "xray.dcm", "--volume", "ct.nii.gz", "--output", "own", *_start(work))
    assert own["status"] == "converged", own["confidence"]
    stranger = ("register", "xray.dcm", "--volume", "stranger.nii.gz", "--output", "stranger", *_start(work))
    found = _json(*stranger, status=DOUBTFUL)
    assert found["attempts"][-1]["learned"] == ["canonical search"], found["attempts"]
    assert not any("last resort" in doubt for doubt in found["confidence"]["doubts"]), found["confidence"]
    assert (work / "stranger" / "report.html").exists()
    # A second run finds the model of the first one, of the installation with the extra.
    again = ("--config", "tiny.toml", "--overwrite")
    missing = _run("train", "ct.nii.gz", "--output", "model", *again, status=2)
    assert "isoclinic[train]" in missing.stderr, missing.stderr


def check_train(work: Path) -> None:
    """A training of seconds, and a registration with its model, also of a stranger."""
    _run("train", "ct.nii.gz", "--output", "model", "--config", "tiny.toml", "--overwrite")
    options = ("--output", "with-model", "--model", "model", "--config", "fast.toml", "--overwrite")
    found = _json("register", "xray.dcm", "--volume", "ct.nii.gz", *options, status=None)
    assert "start" in found["model"]["contributed"], found["model"]
    options = ("--output", "stranger", *_start(work))
    _json("register", "xray.dcm", "--volume", "stranger.nii.gz", *options, status=DOUBTFUL)


def check_tensorboard(work: Path) -> None:
    """The curves of a training; that of the canonical network needs no other extra."""
    options = ("--networks", "canonical", "--tensorboard", "--overwrite")
    _run("train", "ct.nii.gz", "--output", "curves", "--config", "tiny.toml", *options)
    events = list((work / "curves" / "tensorboard").rglob("events.*"))
    assert events and events[0].stat().st_size > 0, events


def check_datasets(work: Path) -> None:
    """A miniature of DeepFluoro, written as its authors wrote theirs."""
    sys.path.insert(0, str(ROOT / "tests"))
    from datasets.files import landmarks, scene, write_deepfluoro
    from isoclinic.datasets import DeepFluoro
    from phantoms import phantom

    pelvis = phantom(3, (40, 36, 44))
    view = scene(pelvis, 1, size=(200, 220), spacing_mm=(1.5, 1.5), principal_px=(109.5, 99.5))
    file = work / "deepfluoro.h5"
    file.unlink(missing_ok=True)
    write_deepfluoro(file, pelvis, [view], landmarks(pelvis, 14, seed=1))
    dataset = DeepFluoro(file)
    (name,) = dataset.names
    assert dataset[name].volume.shape == pelvis.shape


def check_ray(work: Path) -> None:
    """An evaluation of one case on a cluster of this machine."""
    _evaluate("on-ray", "--ray", "local")


def check_listen(work: Path) -> None:
    """An X-ray that is sent over the network, from its arrival to its pose."""
    import signal
    import socket

    import pydicom
    from pynetdicom import AE

    with socket.create_server(("127.0.0.1", 0)) as server:
        port = server.getsockname()[1]
    output = work / f"listen-{time.time_ns()}"
    program = "import sys; from isoclinic.cli import main; sys.exit(main())"
    start = ("--init", "start.json", "--config", "fast.toml")
    options = ("--volume", "ct.nii.gz", "--output", str(output), "--port", str(port), *start)
    listening = subprocess.Popen([sys.executable, "-c", program, "listen", *options])
    try:
        dataset, entity = pydicom.dcmread(work / "xray.dcm"), AE(ae_title="ARM")
        entity.add_requested_context(dataset.SOPClassUID, dataset.file_meta.TransferSyntaxUID)
        for _ in range(240):
            association = entity.associate("127.0.0.1", port, ae_title="ISOCLINIC")
            if association.is_established:
                break
            assert listening.poll() is None, "it has ended by itself"
            time.sleep(0.5)
        assert association.send_c_store(dataset).Status == 0
        association.release()
        lines = output / "results.jsonl"
        for _ in range(240):
            if lines.exists() and lines.read_text().endswith("\n"):
                break
            time.sleep(0.5)
        assert json.loads(lines.read_text())["status"] == "converged", lines.read_text()
        if os.name != "nt":
            listening.send_signal(signal.SIGTERM)
            assert listening.wait(60) == 0
    finally:
        listening.kill()
        listening.wait()


def check_view(work: Path) -> None:
    """A registration on the page, from the address that the command prints to the saved result."""
    from urllib.request import ProxyHandler, Request, build_opener

    output = work / f"view-{time.time_ns()}"
    program = "import sys; from isoclinic.cli import main; sys.exit(main())"
    start = ("--init", "start.json", "--config", "fast.toml", "--no-browser")
    words = ("view", "ct.nii.gz", "xray.dcm", "--output", str(output), *start)
    viewing = subprocess.Popen([sys.executable, "-c", program, *words], stdout=subprocess.PIPE, text=True)
    try:
        assert viewing.stdout is not None
        address, opener = viewing.stdout.readline().strip(), build_opener(ProxyHandler({}))

        def ask(path: str, body: dict | None = None) -> dict:
            content = None if body is None else json.dumps(body).encode()
            with opener.open(Request(address + path, content), timeout=60) as answer:
                return json.load(answer)

        ask("register", {"revision": ask("state")["revision"]})
        for _ in range(240):
            state = ask("state")
            if not state["running"]["active"]:
                break
            time.sleep(0.5)
        assert state["results"][0]["status"] == "converged", state["running"]
        assert (output / "results" / "0001" / "report.html").exists()
    finally:
        viewing.kill()
        viewing.wait()


def check_peers(work: Path) -> None:
    """A few steps of each method of others."""
    from isoclinic.datasets import CaseFolder
    from isoclinic.evaluation.methods.cmaes import CmaEs, CmaEsConfig, CmaEsScale
    from isoclinic.evaluation.methods.xvr import Xvr, XvrConfig

    sample = CaseFolder(work / "cases", {"phantom": work / "ct.nii.gz"})["phantom/00"]
    few = CmaEsScale(
        pixels=16, rotation_deg=(5, 5, 5), translation_mm=(5, 5, 20), population=4, generations=2
    )
    methods = CmaEs(config=CmaEsConfig(scales=(few,))), Xvr(config=XvrConfig(pixels=(16,), iterations=(2,)))
    for method in methods:
        assert method.settings, "which name the versions of its packages"
        found = method.register(sample, "ap")
        assert found.camera_from_world.isfinite().all()


def _write_data(work: Path) -> None:
    """Two CTs, an X-ray of the first, the same as a case whose pose is known, and options."""
    sys.path.insert(0, str(ROOT / "tests"))
    import nibabel as nib
    import numpy as np
    from pydicom.dataset import Dataset, FileMetaDataset
    from pydicom.uid import ExplicitVRLittleEndian, XRayAngiographicImageStorage, generate_uid

    from phantoms import phantom, true_pose, xray_of

    for name, seed in (("ct", 0), ("stranger", 7)):
        volume = phantom(seed)
        nib.save(nib.Nifti1Image(volume.hu, volume.world_from_voxel), work / f"{name}.nii.gz")
    volume = phantom(0)
    pose = true_pose(volume)
    xray = xray_of(volume, pose, seed=0)
    dataset = Dataset()
    dataset.file_meta = FileMetaDataset()
    dataset.file_meta.TransferSyntaxUID = ExplicitVRLittleEndian
    dataset.file_meta.MediaStorageSOPClassUID = dataset.SOPClassUID = XRayAngiographicImageStorage
    dataset.file_meta.MediaStorageSOPInstanceUID = dataset.SOPInstanceUID = generate_uid()
    dataset.Modality, dataset.PhotometricInterpretation = "XA", "MONOCHROME2"
    dataset.SamplesPerPixel, dataset.PixelRepresentation = 1, 0
    dataset.Rows, dataset.Columns = xray.pixels.shape
    dataset.BitsAllocated, dataset.BitsStored, dataset.HighBit = 16, 16, 15
    dataset.PixelData = np.clip(np.rint(xray.pixels), 0, 65535).astype(np.uint16).tobytes()
    dataset.DistanceSourceToDetector, dataset.DistanceSourceToPatient = "1000", "670"
    dataset.ImagerPixelSpacing = ["2.5", "2.5"]
    case = work / "cases" / "phantom" / "00"
    case.mkdir(parents=True, exist_ok=True)
    points = volume.isocentre_world + np.random.default_rng(5).uniform(-40, 40, (12, 3))
    for file in (work / "xray.dcm", case / "xray.dcm"):
        dataset.save_as(file, enforce_file_format=True)
    (case / "truth.json").write_text(json.dumps({"extrinsic": pose.tolist(), "landmarks": points.tolist()}))
    (work / "start.json").write_text(json.dumps(pose.tolist()))
    (work / "fast.toml").write_text(FAST)
    (work / "tiny.toml").write_text(TINY)


def _start(work: Path) -> tuple[str, ...]:
    return ("--init", "start.json", "--config", "fast.toml", "--overwrite")


def _evaluate(output: str, *options: str) -> None:
    """An evaluation of the case with the options."""
    folder = f"{output}-{time.time_ns()}"
    settings = ("--output", folder, "--starts", "none", "--config", "fast.toml")
    _run("evaluate", "cases", "--volume", "ct.nii.gz", *settings, *options)
    measured = json.loads(Path(folder, "summary.json").read_text())["measurements"]
    assert measured, "nothing was measured"


def _run(*arguments: str, status: int | None = 0) -> subprocess.CompletedProcess[str]:
    """Run `isoclinic` in this environment; it must end with that status, None for 0 or that of doubt."""
    program = "import sys; from isoclinic.cli import main; sys.exit(main())"
    ran = subprocess.run([sys.executable, "-c", program, *arguments], capture_output=True, text=True)
    expected = (0, DOUBTFUL) if status is None else (status,)
    assert ran.returncode in expected, f"isoclinic {' '.join(arguments)}: {ran.returncode}\n{ran.stderr}"
    return ran


def _json(*arguments: str, status: int | None = 0) -> dict:
    return json.loads(_run(*arguments, "--json", status=status).stdout)


CHECKS: dict[str, Callable[[Path], None]] = {
    PLAIN: check_plain,
    "train": check_train,
    "tensorboard": check_tensorboard,
    "datasets": check_datasets,
    "ray": check_ray,
    "listen": check_listen,
    "view": check_view,
    "peers": check_peers,
}
_UNKNOWN = set(EXTRAS) - set(CHECKS) - set(SKIPPED)
assert not _UNKNOWN, f"extras that nobody checks: {', '.join(sorted(_UNKNOWN))}"

if __name__ == "__main__":
    sys.exit(main())
