"""`isoclinic render`: a radiograph of a CT."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from ..errors import UsageError
from ..geometry import Camera
from ..registration import PRESETS, PoseFile
from ..registration.initialize import initial_pose
from ..rendering import render
from ..volumes import Volume, XRay, XRayOptions
from ._console import progress, results
from ._image_file import image_files, stand_in, write_image
from ._render_options import RenderOptions

_MOST_PIXELS = 32767  # along an axis of a NIfTI file


def main(options: RenderOptions, arguments: Sequence[str]) -> None:
    """Run the command."""
    if options.pose not in PRESETS and not Path(options.pose).exists():
        raise UsageError(
            f"--pose {options.pose!r} is neither a file nor one of {', '.join(PRESETS)}",
            code="options.unknown-name",
        )
    for file in image_files(options.output):
        if file.exists() and not options.overwrite:
            raise UsageError(
                f"{file} exists already; choose another --output or add --overwrite", code="output.exists"
            )
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
                "--pixel-spacing-mm and --sdd-mm",
                code="options.incomplete",
            )
        return PoseFile.read(options.pose).camera
    if width is None or height is None or spacing_mm is None or sdd_mm is None:
        raise UsageError(
            "--width, --height, --pixel-spacing-mm and --sdd-mm: give all four or none",
            code="options.incomplete",
        )
    for name, size in (("--width", width), ("--height", height)):
        if not 1 <= size <= _MOST_PIXELS:
            raise UsageError(
                f"{name} must lie between 1 and {_MOST_PIXELS}, not {size}", code="options.invalid-value"
            )
    return Camera.from_pixel_spacing(width=width, height=height, pixel_spacing_mm=spacing_mm, sdd_mm=sdd_mm)
