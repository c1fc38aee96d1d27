"""The share of an X-ray's tissue that a CT shows: nearly all, or a part, as a bone or an implant does."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor
from torch.nn.functional import avg_pool2d, conv2d

from ..similarity import ImageSimilarity

# Line integral of half a centimetre of water: the CT covers a pixel.
_COVERED = 0.1
# Share of the way from an X-ray's thinnest to its densest parts, whatever its tone, from which it shows
# tissue and not the open beam.
_TISSUE = 0.1
# Side of the square over which an X-ray is averaged first, so that noise of the open beam is no tissue [px].
_SMOOTH_PX = 3
# A CT that can speak of less than this share of the tissue in an X-ray cannot be said to cover it badly.
_FEW_KNOWN = 0.02
# A shift may not hide more than half of what the CT can speak of where it is.
_LEAST_KNOWN = 0.5


def covered_tissue(views: Sequence[ImageSimilarity], images: Sequence[Tensor]) -> float:
    """Share of the tissue in the X-rays, where the CT can speak of it, that DRRs [1, H, W] show, too.

    It is 1 where the CT can speak of hardly any.
    """
    tissue = known = covered = 0.0
    for view, image in zip(views, images, strict=True):
        shows = _tissue(view)
        tissue += float(shows.sum())
        shows = shows if view.known is None else shows * view.known[0]
        known += float(shows.sum())
        covered += float((shows * (image[0] > _COVERED)).sum())
    return covered / known if known > _FEW_KNOWN * tissue else 1.0


def coverable_tissue(view: ImageSimilarity, camera_from_world: Tensor) -> float:
    """The largest `covered_tissue` over all moves of the CT along the detector from a pose [4, 4].

    How far the pose is off thus does not count, but for what turns and depth do to the size of the CT's
    shadow.
    """
    tissue, camera = _tissue(view), view.projector.camera
    height, width = tissue.shape
    around = camera.pad(top=height, bottom=height, left=width, right=width)
    pose = camera_from_world[None]
    image = view.projector.image(pose, around).cpu()
    known = torch.ones_like(image) if view.coverage is None else view.coverage.known(around, pose)
    # Entry (i, j) is what the CT moved by (height - i, width - j) pixels would cover.
    seen, covered = (
        conv2d(each[:, None], tissue[None, None])[0, 0] for each in (known, known * (image > _COVERED))
    )
    there = seen[height, width]
    if not float(there) > _FEW_KNOWN * float(tissue.sum()):
        return 1.0
    return float((covered / seen.clamp(min=1e-6))[seen >= _LEAST_KNOWN * there].max())


def _tissue(view: ImageSimilarity) -> Tensor:
    """Pixels [H, W] of an X-ray that show tissue and count: 1, or their weight; 0 elsewhere."""
    smooth = avg_pool2d(
        view.fixed[None], _SMOOTH_PX, stride=1, padding=_SMOOTH_PX // 2, count_include_pad=False
    )[0]
    seen = smooth[view.weight > 0]
    if not len(seen):
        return view.weight
    # Noise and scatter raise what the open beam shows above 0.
    low, high = seen.quantile(seen.new_tensor([0.02, 0.98])).tolist()
    return view.weight * (smooth > low + _TISSUE * (high - low))
