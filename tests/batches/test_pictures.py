"""The small pictures of the summary."""

from __future__ import annotations

from pathlib import Path
from types import SimpleNamespace

import numpy as np
from PIL import Image

from isoclinic.batches.pictures import write_thumbnail


def orange(path: Path) -> np.ndarray:
    """Where a picture has the colour of the edges, as well as JPEG keeps it."""
    red, green, blue = np.asarray(Image.open(path), dtype=int).transpose(2, 0, 1)
    return (red - blue > 120) & (abs(green - 140) < 60)


def test_edges_are_drawn_only_where_the_x_ray_counts(tmp_path):
    """A disc of bone in the middle; the left half of the X-ray lies behind a collimator."""
    rows, columns = np.mgrid[:320, :320].astype(np.float32)
    disc = (np.hypot(rows - 160, columns - 160) < 80).astype(np.float32)
    for weight in (np.ones_like(disc), (columns >= 160).astype(np.float32)):
        view = SimpleNamespace(image=disc + columns / 640, weight=weight, result_bone=disc)
        write_thumbnail(tmp_path / "picture.jpg", SimpleNamespace(pictures=[view]))  # type: ignore[arg-type]
        left, right = np.hsplit(orange(tmp_path / "picture.jpg"), [156])
        assert right.sum() > 200
        assert (left.sum() > 200) == bool(weight.all()) and (weight.all() or not left.any())
