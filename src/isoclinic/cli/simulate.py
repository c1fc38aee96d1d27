"""`isoclinic simulate`: a picture of the X-rays that networks are trained on."""

from __future__ import annotations

import textwrap
from collections.abc import Sequence

import numpy as np
import torch
from matplotlib import colormaps
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from torch import Tensor

from .._files import atomic
from ..anatomy import Cohort, CohortConfig
from ..errors import UsageError
from ..training import Batch, RandomizationConfig, SimulationStream, StreamConfig
from ..volumes import Volume
from ._console import progress, results
from ._simulate_options import SimulateOptions

# Everybody comes once.
_EACH_OTHER = CohortConfig(present=1, batches=1)

_DPI = 100
_PANEL_INCH = 2.1
_CAPTION_INCH = 0.62
_TITLE_INCH = 0.3
_CAPTION_CHARACTERS = 68
# A sheet of more is too large to look at.
_MOST_PAIRS = 200
_ROW_PAIRS = 3
_WINDOW_PERCENT = (0.5, 99.5)
_HIDDEN_COLOUR = (0.25, 0.05, 0.05)


def main(options: SimulateOptions, arguments: Sequence[str]) -> None:
    """Run the command."""
    if options.grid.suffix.lower() != ".png":
        raise UsageError(f"--grid {options.grid} must end in .png", code="options.invalid-value")
    if options.grid.exists() and not options.overwrite:
        raise UsageError(
            f"{options.grid} exists already; choose another --grid or add --overwrite", code="output.exists"
        )
    if not 1 <= options.pairs <= _MOST_PAIRS:
        raise UsageError(
            f"--pairs must lie between 1 and {_MOST_PAIRS}, the most that a sheet can show, not "
            f"{options.pairs}",
            code="options.invalid-value",
        )
    presets = {
        "hospital": RandomizationConfig.hospital,
        "isoclinic": RandomizationConfig.isoclinic,
        "paper": RandomizationConfig.paper,
    }
    stream_config = StreamConfig(
        batch=1 if options.vary else options.pairs,
        poses=options.poses,
        randomization=presets[options.preset](),
    )
    with progress().status("reading"):
        volume = Volume.read(options.volume)
    with progress().status("rendering"):
        anatomies = [volume] if not options.vary else Cohort([volume], _EACH_OTHER, seed=options.seed)
        stream = SimulationStream(anatomies, options.detector.camera, stream_config, seed=options.seed)
        if options.vary:
            pairs = [(stream.batch(index), 0) for index in range(options.pairs)]
        else:
            batch = stream.batch(0)
            pairs = [(batch, pair) for pair in range(options.pairs)]
    figure = _contact_sheet(pairs, f"{options.volume.name}, preset {options.preset}, seed {options.seed}")
    with atomic(options.grid) as temporary:
        figure.savefig(temporary, format="png")
    results().print(
        f"{options.grid}: {options.pairs} pairs, preset {options.preset}, seed {options.seed}",
        markup=False,
        soft_wrap=True,
    )


def _contact_sheet(pairs: Sequence[tuple[Batch, int]], title: str) -> Figure:
    """Pairs, each given by its batch and its number in it."""
    height, width = pairs[0][0].fixed.shape[1:]
    columns = min(_ROW_PAIRS, len(pairs))
    rows = -(-len(pairs) // columns)
    panel_height = _PANEL_INCH * height / width
    size = (2 * columns * _PANEL_INCH, rows * (panel_height + _CAPTION_INCH) + _TITLE_INCH)
    figure = Figure(figsize=size, dpi=_DPI)
    figure.suptitle(title, fontsize=10, y=1 - 0.2 * _TITLE_INCH / size[1])
    for number, (batch, pair) in enumerate(pairs):
        assert batch.moving is not None
        row, column = divmod(number, columns)
        bottom = (rows - 1 - row) * (panel_height + _CAPTION_INCH) / size[1]
        shown = ((batch.fixed, batch.weight), (batch.moving, torch.ones_like(batch.moving)))
        for side, (images, weights) in enumerate(shown):
            left = (2 * column + side) / (2 * columns)
            place = (left + 0.002, bottom, 1 / (2 * columns) - 0.004, panel_height / size[1])
            _show(figure.add_axes(place), images[pair], weights[pair])
        figure.text(
            (2 * column + 1) / (2 * columns),
            bottom + (panel_height + 0.05) / size[1],
            _caption(batch, pair, number),
            ha="center",
            va="bottom",
            fontsize=6.5,
        )
    return figure


def _show(axes: Axes, image: Tensor, weight: Tensor) -> None:
    """Grey between two percentiles of the pixels of some weight; the others in one colour."""
    seen = weight.cpu().numpy() > 0
    pixels = np.ma.masked_array(image.cpu().numpy(), ~seen)
    low, high = np.percentile(pixels.compressed() if seen.any() else pixels.data, _WINDOW_PERCENT)
    greys = colormaps["gray"].with_extremes(bad=_HIDDEN_COLOUR)
    axes.imshow(pixels, cmap=greys, vmin=low, vmax=high, interpolation="nearest", aspect="auto")
    axes.set_axis_off()


def _caption(batch: Batch, pair: int, number: int) -> str:
    offset_mm = float(batch.perturbation[pair, 3:].norm())
    said = [f"no. {number}, offset {offset_mm:.2g} mm", *batch.parameters.applied(pair)]
    return "\n".join(textwrap.wrap(", ".join(said), _CAPTION_CHARACTERS))
