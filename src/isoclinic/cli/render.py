"""`isoclinic render`: a radiograph of a CT."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Annotated

from tyro.conf import Positional

from ..errors import UsageError
from ..geometry import Camera
from ..registration import PRESETS, PoseFile, initial_pose
from ..rendering import RenderConfig, render
from ..volumes import Volume, XRay, XRayOptions
from ._console import progress, results
from ._image_file import image_files, stand_in, write_image
from ._options import FLAT, parse_options

_MOST_PIXELS = 32767  # along an axis of a NIfTI file


@dataclass(frozen=True, kw_only=True)
class RenderOptions:
    """Draw the radiograph of a CT at a pose: line integrals of its attenuation, bright where dense.

    Attributes:
        volume: the CT: NIfTI, NRRD, MetaImage or a DICOM folder.
        output: image to write: .png (16 bits, scaled to the densest pixel), .nii or .nii.gz (the line
            integrals themselves). A JSON file of the same name beside it holds the geometry, so that
            `isoclinic register` can read the image.
        pose: a pose file, or a view of the CT's centre ("ap", "pa", "left", "right": the way of the beam, or
            the side the detector is on).
        labels: label map of the CT, which --structures chooses from: an image of labels, .seg.nrrd, DICOM
            SEG, or a folder with a mask for each structure.
        width: columns of the image [px]. It and the next three describe the detector; all or none of them.
            By default the detector is the pose file's.
        height: rows of the image [px].
        pixel_spacing_mm: (row, column) spacing of the detector's pixels [mm].
        sdd_mm: distance from the source to the detector [mm].
        source_isocentre_mm: distance from the source to the CT's centre in a view [mm].
        overwrite: replace the image if there is one.
        config: TOML file with any of these options; the command line wins.
        rendering: how to render.
    """

    volume: Positional[Path]
    output: Path
    pose: str
    labels: Path | None = None
    width: int | None = None
    height: int | None = None
    pixel_spacing_mm: tuple[float, float] | None = None
    sdd_mm: float | None = None
    source_isocentre_mm: float | None = None
    overwrite: bool = False
    config: Path | None = None
    rendering: Annotated[RenderConfig, FLAT] = field(default_factory=RenderConfig)


def main(arguments: Sequence[str]) -> None:
    """Run the command."""
    options = parse_options(RenderOptions, "render", arguments)
    if options.pose not in PRESETS and not Path(options.pose).exists():
        raise UsageError(f"--pose {options.pose!r} is neither a file nor one of {', '.join(PRESETS)}")
    for file in image_files(options.output):
        if file.exists() and not options.overwrite:
            raise UsageError(f"{file} exists already; choose another --output or add --overwrite")
    camera = _camera(options)
    with progress().status("reading"):
        volume = Volume.read(options.volume, labels=options.labels)
    start = initial_pose(volume, stand_in(camera, options.source_isocentre_mm), options.pose)
    with progress().status("rendering"):
        image = render(volume, camera, start.camera_from_world, options.rendering)[0].float().cpu().numpy()
    write_image(options.output, XRay(pixels=image, camera=camera, polarity="dark_air", pixel_scale="log"))
    results().print(
        f"{options.output}: {camera.width} x {camera.height} px, {start.source}, "
        f"line integrals {image.min():.3g} to {image.max():.3g}",
        markup=False,
        soft_wrap=True,
    )


def _camera(options: RenderOptions) -> Camera:
    """The detector described by the options, or by the pose file."""
    # The checks of an X-ray's options of these names.
    XRayOptions(
        sdd_mm=options.sdd_mm,
        source_isocentre_mm=options.source_isocentre_mm,
        pixel_spacing_mm=options.pixel_spacing_mm,
    )
    width, height, sdd_mm = options.width, options.height, options.sdd_mm
    spacing_mm = options.pixel_spacing_mm
    if width is None and height is None and spacing_mm is None and sdd_mm is None:
        if options.pose in PRESETS:
            raise UsageError(
                f"--pose {options.pose} is a view, so describe the detector with --width, --height, "
                "--pixel-spacing-mm and --sdd-mm"
            )
        return PoseFile.read(options.pose).camera
    if width is None or height is None or spacing_mm is None or sdd_mm is None:
        raise UsageError("--width, --height, --pixel-spacing-mm and --sdd-mm: give all four or none")
    for name, size in (("--width", width), ("--height", height)):
        if not 1 <= size <= _MOST_PIXELS:
            raise UsageError(f"{name} must lie between 1 and {_MOST_PIXELS}, not {size}")
    return Camera.from_pixel_spacing(width=width, height=height, pixel_spacing_mm=spacing_mm, sdd_mm=sdd_mm)
