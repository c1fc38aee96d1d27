"""Every kind of file that cannot be used, at every command that takes it.

Each time: one line that names the file and the remedy, exit code 1, nothing on standard output, nothing
written, nothing older touched. The readers have tests of their own.
"""

from __future__ import annotations

import errno
import json
import shutil
from pathlib import Path
from typing import Any

import nibabel as nib
import numpy as np
import pydicom
import pytest
from skimage.io import imsave

from raising import named

from .conftest import Files
from .desk import Desk, command, lay_out, refusing_to_open, tree

IDENTITY = np.eye(4).tolist()


@pytest.fixture(scope="module")
def folder(files: Files, cases: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Made once: what is tested leaves no trace."""
    folder = tmp_path_factory.mktemp("desk")
    lay_out(folder, files, cases)
    for make in (make_volumes, make_labels, make_xrays, make_masks, make_poses, make_landmarks, make_views):
        make(folder)
    make_cases(folder)
    return folder


@pytest.fixture
def desk(run, folder: Path, monkeypatch) -> Desk:
    monkeypatch.chdir(folder)
    return Desk(folder, run)


# Volumes and label maps ---------------------------------------------------------------------------------


def make_volumes(folder: Path) -> None:
    image = nib.load(folder / "ct.nii.gz")
    hu, affine = np.asarray(image.dataobj), image.affine

    def save(name: str, values: np.ndarray, world_from_voxel: np.ndarray = affine) -> None:
        nib.save(nib.Nifti1Image(values, world_from_voxel), folder / name)

    def replaced(value: float) -> np.ndarray:
        values = hu.astype(np.float32)
        densest = np.unravel_index(hu.argmax(), hu.shape)  # within the body
        values[densest] = value
        return values

    save("nan.nii.gz", replaced(np.nan))
    save("inf.nii.gz", replaced(-np.inf))
    save("flat.nii.gz", hu[:, :, :1])
    save("four.nii.gz", np.stack([hu, hu], axis=-1))
    singular = nib.Nifti1Image(hu, affine)
    singular.set_sform(affine @ np.diag([1.0, 0, 1, 1]), code=1)
    nib.save(singular, folder / "singular.nii.gz")
    content = (folder / "ct.nii.gz").read_bytes()
    (folder / "cut.nii.gz").write_bytes(content[: len(content) // 2])
    (folder / "text.nii.gz").write_text("not a CT")
    for name in ("empty.nii.gz", "empty.nrrd", "empty.dcm"):
        (folder / name).write_bytes(b"")
    (folder / "spacing.mha").write_text(
        "ObjectType = Image\nNDims = 3\nDimSize = 2 2 2\nElementSpacing = 1 0 1\nElementType = MET_CHAR\n"
        "ElementDataFile = LOCAL\n12345678"
    )


VOLUMES = {
    "no.nii.gz": ("ct.missing", "no.nii.gz"),
    "empty.nii.gz": ("ct.unreadable", "empty.nii.gz"),
    "empty.nrrd": ("ct.unreadable", "empty.nrrd"),
    "empty.dcm": ("ct.unreadable", "empty.dcm"),
    "cut.nii.gz": ("ct.unreadable", "cut.nii.gz"),
    "text.nii.gz": ("ct.unreadable", "text.nii.gz"),
    "pose.json": ("ct.unknown-format", "pose.json"),
    "folder": ("ct.no-slices", "folder"),
    "xray.dcm": ("ct.no-slices", "xray.dcm", "XA", "ImagePositionPatient"),
    "bad.png": ("ct.unknown-format", "bad.png"),
    "flat.nii.gz": ("ct.not-a-volume", "flat.nii.gz", "64 x 48 x 1"),
    "four.nii.gz": ("ct.wrong-shape", "four.nii.gz", "4 dimensions"),
    "nan.nii.gz": ("ct.not-finite", "nan.nii.gz", "1", "NaN"),
    "inf.nii.gz": ("ct.not-finite", "inf.nii.gz", "1", "NaN"),
    "singular.nii.gz": ("ct.malformed-header", "singular.nii.gz"),
    "spacing.mha": ("ct.malformed-header", "spacing.mha", "ElementSpacing", "1 0 1"),
}


@pytest.mark.parametrize("name", VOLUMES)
@pytest.mark.parametrize(
    "line",
    [
        "register xray.dcm --volume {} INIT OUT",
        "render {} --pose ap --output new.png --width 9 --height 9 --pixel-spacing-mm 9 9 --sdd-mm 1000",
        "evaluate cases --volume {} OUT",
        "simulate {} --grid new.png",
        "train {} OUT",
    ],
)
def test_volumes(desk, line, name):
    code, *names = VOLUMES[name]
    if line.startswith("evaluate"):  # it says of each case why it could not be registered
        code = "evaluation.nothing-registered"
    desk.refuses(line.format(name), 1, code, *names)


def make_labels(folder: Path) -> None:
    image = nib.load(folder / "labels.nii.gz")
    labels = np.asarray(image.dataobj)
    far = image.affine.copy()
    far[0, 3] += 900
    nib.save(nib.Nifti1Image(labels, far), folder / "far.nii.gz")
    nib.save(nib.Nifti1Image(labels, image.affine), folder / "named.nii.gz")
    (folder / "named.json").write_text('{"one": "hip"}')


LABELS = {
    "no.nii.gz": ("labels.missing", "no.nii.gz"),
    "ct.nii.gz": ("labels.not-labels", "ct.nii.gz", "65535"),
    "cut.nii.gz": ("labels.unreadable", "cut.nii.gz"),
    "pose.json": ("labels.unknown-format", "pose.json"),
    "xray.dcm": ("ct.no-slices", "xray.dcm"),
    "far.nii.gz": ("labels.wrong-shape", "far.nii.gz"),
    "named.nii.gz": ("labels.malformed-names", "named.json"),
}


@pytest.mark.parametrize("name", LABELS)
@pytest.mark.parametrize("line", ["REGISTER INIT OUT --labels {}", "RENDER --labels {}"])
def test_label_maps(desk, line, name):
    desk.refuses(line.format(name), 1, *LABELS[name])


# X-rays and masks ---------------------------------------------------------------------------------------


def make_xrays(folder: Path) -> None:
    def save(name: str, **attributes: Any) -> None:
        dataset = pydicom.dcmread(folder / "xray.dcm")
        for keyword, value in attributes.items():
            setattr(dataset, keyword, value)
        dataset.save_as(folder / name)

    pixels = pydicom.dcmread(folder / "xray.dcm").pixel_array
    save("black.dcm", PixelData=bytes(pixels.nbytes))
    save("no_sdd.dcm", DistanceSourceToDetector=None)
    save("zero_sdd.dcm", DistanceSourceToDetector="0")
    save("no_spacing.dcm", ImagerPixelSpacing=None)
    save("negative.dcm", ImagerPixelSpacing=["-3", "3"])
    save("slice.dcm", Modality="CT", SOPClassUID="1.2.840.10008.5.1.4.1.1.2")
    save("other.dcm", Modality="SEG", SOPClassUID="1.2.840.10008.5.1.4.1.1.7")
    content = (folder / "xray.dcm").read_bytes()
    (folder / "cut.dcm").write_bytes(content[: len(content) // 2])
    (folder / "text.dcm").write_text("not an X-ray")
    imsave(folder / "bare.png", pixels, check_contrast=False)
    imsave(folder / "bad.png", pixels, check_contrast=False)
    (folder / "bad.json").write_text('{"sdd_mm": "far"}')
    nib.save(nib.Nifti1Image(np.full((9, 9), np.nan, np.float32), np.eye(4)), folder / "nan_xray.nii")


XRAYS = {
    "no.dcm": ("xray.missing", "no.dcm"),
    "empty.dcm": ("xray.no-pixels", "empty.dcm"),
    "cut.dcm": ("dicom.undecodable", "cut.dcm"),
    "text.dcm": ("xray.unknown-format", "text.dcm"),
    "folder": ("xray.several-files", "folder"),
    "ct.nii.gz": ("xray.several-images", "ct.nii.gz", "64 planes"),
    "slice.dcm": ("xray.not-a-projection", "slice.dcm", "CT Image Storage", "--volume"),
    "other.dcm": ("xray.not-a-projection", "other.dcm", "SEG"),
    "black.dcm": ("xray.blank", "black.dcm", "0"),
    "nan_xray.nii": ("xray.not-finite", "nan_xray.nii", "81", "NaN"),
    "no_sdd.dcm": ("xray.geometry-missing", "no_sdd.dcm", "--sdd-mm MM"),
    "zero_sdd.dcm": ("xray.geometry-missing", "DistanceSourceToDetector", "0018,1110", "0.0", "--sdd-mm MM"),
    "no_spacing.dcm": (
        "xray.geometry-missing",
        "no_spacing.dcm",
        "ImagerPixelSpacing",
        "PixelSpacing",
        "--pixel-spacing-mm ROW COLUMN",
    ),
    "negative.dcm": (
        "xray.geometry-missing",
        "ImagerPixelSpacing",
        "0018,1164",
        "(-3.0, 3.0)",
        "--pixel-spacing-mm",
    ),
    "bare.png": ("xray.geometry-missing", "bare.json", "--sdd-mm MM"),
    "bad.png": ("sidecar.invalid-value", "bad.json", "sdd_mm", "far"),
    "pose.json": ("xray.unknown-format", "pose.json"),
}


@pytest.mark.parametrize("name", XRAYS)
@pytest.mark.parametrize(
    "line",
    [
        "register {} --volume ct.nii.gz INIT OUT",
        "convert pose.tfm --from slicer --xray {} --output new.json",
    ],
)
def test_xrays(desk, line, name):
    desk.refuses(line.format(name), 1, *XRAYS[name])


@pytest.mark.parametrize("name", ["no.dcm", "black.dcm", "ct.nii.gz"])
def test_second_xrays(desk, name):
    line = f"register xray.dcm {name} --volume ct.nii.gz INIT OUT --views pose.json pose.json"
    desk.refuses(line, 1, *XRAYS[name])


def make_masks(folder: Path) -> None:
    mask = np.zeros((64, 64), np.uint8)
    imsave(folder / "nothing.png", mask, check_contrast=False)
    imsave(folder / "everything.png", mask + 1, check_contrast=False)
    imsave(folder / "small.png", mask[:32], check_contrast=False)


MASKS = {
    "no.png": ("xray.unusable-mask", "--exclude", "no.png"),
    "folder": ("xray.unusable-mask", "--exclude", "folder"),
    "small.png": ("xray.unusable-mask", "--exclude", "small.png", "32 x 64", "xray.dcm", "64 x 64"),
    "nothing.png": ("xray.unusable-mask", "--exclude", "nothing.png"),
    "everything.png": ("xray.unusable-mask", "--exclude", "everything.png"),
    "text.dcm": ("xray.unusable-mask", "--exclude", "text.dcm"),
}


@pytest.mark.parametrize("name", MASKS)
@pytest.mark.parametrize(
    "line",
    [
        "REGISTER INIT OUT --exclude {}",
        "convert pose.tfm --from slicer --xray xray.dcm --exclude {} --output new.json",
    ],
)
def test_masks(desk, line, name):
    desk.refuses(line.format(name), 1, *MASKS[name])


# Poses, landmarks and views -----------------------------------------------------------------------------


def make_poses(folder: Path) -> None:
    pose = json.loads((folder / "pose.json").read_text())

    def save(name: str, **entries: Any) -> None:
        (folder / name).write_text(json.dumps(pose | entries))

    behind, beside = (np.array(pose["camera_from_world"]) for _ in range(2))
    behind[2, 3] *= -1
    beside[0, 3] = 5000
    save("behind.json", camera_from_world=behind.tolist())
    save("beside.json", camera_from_world=beside.tolist())
    save("format.json", format="xvr")
    save("version.json", version=2)
    save("world.json", world="LAS")
    save("units.json", units="m")
    save("shape.json", camera_from_world=[[1, 0], [0, 1]])
    save("scaled.json", camera_from_world=(2 * np.eye(4)).tolist())
    save("nan.json", camera_from_world=[[None] * 4] * 4)
    save("camera.json", intrinsics=None)
    (folder / "empty.json").write_text("")
    (folder / "cut.json").write_text(json.dumps(pose)[:200])
    (folder / "number.json").write_text("7")
    (folder / "scaled.tfm").write_text((folder / "pose.tfm").read_text().replace("1 0 0 0 1", "2 0 0 0 1"))


POSES = {
    "empty.json": ("pose-file.unreadable", "empty.json"),
    "cut.json": ("pose-file.unreadable", "cut.json"),
    "number.json": ("pose-file.wrong-kind", "number.json"),
    "xray.dcm": ("pose-file.unreadable", "xray.dcm"),
    "folder": ("pose-file.unreadable", "folder", "Is a directory"),
    "format.json": ("pose-file.invalid-value", "format.json", "isoclinic.pose", "xvr"),
    "version.json": ("pose-file.invalid-value", "version.json", "1"),
    "world.json": ("pose-file.invalid-value", "world.json", "RAS", "LPS", "LAS"),
    "units.json": ("pose-file.invalid-value", "units.json", "'mm'", "'m'"),
    "shape.json": ("geometry.wrong-shape", "shape.json", "camera_from_world", "[4, 4]"),
    "scaled.json": ("pose.not-rigid", "scaled.json", "camera_from_world"),
    "nan.json": ("pose.not-rigid", "nan.json", "camera_from_world", "NaN"),
    "camera.json": ("pose-file.incomplete", "camera.json"),
}


@pytest.mark.parametrize("name", POSES)
@pytest.mark.parametrize(
    "line",
    [
        "REGISTER OUT --init {}",
        "render ct.nii.gz --pose {} --output new.png",
        "convert {} --to opencv --output new.json",
    ],
)
def test_pose_files(desk, line, name):
    code, *names = POSES[name]
    if line.startswith("convert") and name != "folder":  # the file may be another program's
        names.append("--from")
    desk.refuses(line.format(name), 1, code, *names)


@pytest.mark.parametrize("name", ["cut.json", "units.json", "folder"])
def test_other_options_that_take_pose_files(desk, name):
    views = f"register xray.dcm xray.dcm --volume ct.nii.gz INIT OUT --views pose.json {name}"
    camera = f"convert pose.tfm --from slicer --camera {name} --output new.json"
    for line in (views, camera):
        desk.refuses(line, 1, *POSES[name])


@pytest.mark.parametrize("name", ["behind.json", "beside.json"])
@pytest.mark.parametrize("line", ["REGISTER OUT --init {}", "render ct.nii.gz --pose {} --output new.png"])
def test_poses_that_do_not_see_the_ct(desk, line, name):
    desk.refuses(line.format(name), 1, "start.ct-not-seen", name)


@pytest.mark.parametrize(
    ("line", "words"),
    [
        ("xray.dcm --from slicer", ("exchange.wrong-kind", "xray.dcm", "ITK")),
        ("pose.json --from slicer", ("exchange.wrong-kind", "pose.json", "ITK")),
        ("folder --from itk", ("exchange.unreadable", "folder")),
        ("scaled.tfm --from itk", ("pose.not-rigid", "scaled.tfm")),
        ("empty.json --from opencv", ("exchange.wrong-kind", "empty.json", "OpenCV's")),
        ("pose.json --from diffdrr", ("exchange.wrong-kind", "pose.json", "--from")),
        ("pose.tfm --from nanodrr", ("exchange.wrong-kind", "ITK")),
        ("landmarks.json --from rtk", ("exchange.wrong-kind", "landmarks.json")),
    ],
)
def test_poses_of_other_programs(desk, line, words):
    desk.refuses(f"convert {line} --camera pose.json --output new.json", 1, *words)


def make_landmarks(folder: Path) -> None:
    good = json.loads((folder / "landmarks.json").read_text())
    marks = list(good["pixel_points"].values())

    def save(name: str, **entries: Any) -> None:
        (folder / name).write_text(json.dumps(good | entries))

    save("units.lm", units="cm")
    save("world.lm", world=None)
    save("version.lm", version=2)
    save("ct_only.lm", pixel_points=None)
    save("three.lm", pixel_points=dict(zip("abc", marks, strict=False)))
    save("names.lm", pixel_points=dict(zip("ABCDEF", marks, strict=True)))
    save("flat.lm", world_points=good["world_points"] | {"a": [1, 2]})
    save("text.lm", world_points=good["world_points"] | {"b": [1, 2, "3"]})
    save("outside.lm", pixel_points=good["pixel_points"] | {"c": [-9, 5]})
    save("line.lm", world_points={name: [9 * index, 0, 0] for index, name in enumerate("abcdef")})
    save("place.lm", world_points={name: [1, 2, 3] for name in "abcdef"})
    save("pixel.lm", pixel_points={name: [5, 5] for name in "abcdef"})
    (folder / "twice.lm").write_text(json.dumps(good).replace('"b":', '"a":'))
    schema = "https://raw.githubusercontent.com/Slicer/Slicer/main/markups-schema-v1.0.3.json#"
    slicer = {"@schema": schema, "markups": [{"type": "Fiducial", "coordinateSystem": "XYZ"}]}
    (folder / "system.mrk.json").write_text(json.dumps(slicer))
    (folder / "schema.mrk.json").write_text(json.dumps(slicer | {"@schema": "else"}))
    (folder / "none.mrk.json").write_text(json.dumps(slicer | {"markups": []}))
    (folder / "system.fcsv").write_text("# columns = id,x,y,z,label\n1,2,3,4,a\n")
    (folder / "columns.fcsv").write_text("# CoordinateSystem = LPS\n1,2,3,4,a\n")
    (folder / "text.fcsv").write_text("# CoordinateSystem = LPS\n# columns = x,y,z,label\n1,2,here,a\n")


LANDMARKS = {
    "no.lm": ("landmarks.unreadable", "no.lm"),
    "folder": ("landmarks.unreadable", "folder", "Is a directory"),
    "xray.dcm": ("landmarks.wrong-kind", "xray.dcm"),
    "empty.json": ("landmarks.unreadable", "empty.json"),
    "init.json": ("landmarks.empty", "init.json"),
    "pose.json": ("landmarks.wrong-kind", "pose.json", "isoclinic.pose"),
    "version.lm": ("landmarks.wrong-kind", "version.lm"),
    "units.lm": ("landmarks.invalid-value", "units.lm", "'cm'"),
    "world.lm": ("landmarks.invalid-value", "world.lm", '"RAS"', '"LPS"'),
    "ct_only.lm": ("landmarks.incomplete", "ct_only.lm", "pixel_points"),
    "three.lm": ("landmarks.invalid-value", "three.lm", "3", "4"),
    "names.lm": ("landmarks.invalid-value", "names.lm", "0"),
    "flat.lm": ("landmarks.invalid-value", "flat.lm", "world_points", "'a'", "3"),
    "text.lm": ("landmarks.invalid-value", "text.lm", "world_points", "'b'", "3"),
    "outside.lm": ("landmarks.outside", "outside.lm", "64", "'c'", "-9", "5"),
    "line.lm": ("landmarks.undetermined", "line.lm", "6"),
    "place.lm": ("landmarks.invalid-value", "place.lm", "4", "1"),
    "pixel.lm": ("landmarks.undetermined", "pixel.lm"),
    "twice.lm": ("landmarks.ambiguous", "twice.lm", "'a'"),
    "system.mrk.json": ("landmarks.invalid-value", "system.mrk.json", "RAS", "LPS"),
    "schema.mrk.json": ("landmarks.wrong-kind", "schema.mrk.json", "else"),
    "none.mrk.json": ("landmarks.empty", "none.mrk.json"),
    "system.fcsv": ("landmarks.invalid-value", "system.fcsv", "RAS", "LPS"),
    "columns.fcsv": ("landmarks.incomplete", "columns.fcsv", "# columns = ..."),
    "text.fcsv": ("landmarks.invalid-value", "text.fcsv", "'a'", "3"),
}


@pytest.mark.parametrize("name", LANDMARKS)
def test_landmarks(desk, name):
    desk.refuses(f"REGISTER OUT --landmarks {name}", 1, *LANDMARKS[name])
    if not name.endswith((".lm", ".fcsv", ".mrk.json")):
        desk.refuses(f"REGISTER OUT --landmarks landmarks.json {name}", 1, LANDMARKS[name][0], name)


def make_views(folder: Path) -> None:
    shifted = np.eye(4)
    shifted[0, 3] = 100
    contents: dict[str, Any] = {
        "key": {"views": [IDENTITY]},
        "count": [IDENTITY] * 3,
        "none": [],
        "matrix": [[[1, 0], [0, 1]]],
        "rigid": [(2 * np.eye(4)).tolist()],
        "words": ["left"],
        "first": {"view_from_first": [shifted.tolist(), IDENTITY]},
    }
    for name, content in contents.items():
        (folder / f"{name}.view").write_text(json.dumps(content))


VIEWS = {
    "no.view": (1, ("views.unreadable", "no.view")),
    "folder": (1, ("views.unreadable", "folder", "Is a directory")),
    "xray.dcm": (1, ("views.wrong-kind", "xray.dcm")),
    "empty.json": (1, ("views.wrong-kind", "empty.json")),
    "pose.json": (1, ("views.wrong-kind", "pose.json", '"view_from_first"')),
    "key.view": (1, ("views.wrong-kind", "key.view", '"view_from_first"')),
    "count.view": (1, ("views.invalid-value", "count.view", "view_from_first", "1", "4x4")),
    "none.view": (1, ("views.invalid-value", "none.view", "view_from_first", "1", "4x4")),
    "number.json": (1, ("views.invalid-value", "number.json", "view_from_first")),
    "matrix.view": (1, ("geometry.wrong-shape", "matrix.view", "view_from_first[0]", "[4", "4]")),
    "rigid.view": (1, ("pose.not-rigid", "rigid.view", "view_from_first[0]")),
    "words.view": (1, ("geometry.invalid-value", "words.view", "view_from_first[0]", "4x4")),
    "first.view": (2, ("views.invalid-value", "first.view", "view_from_first[0]")),
}


@pytest.mark.parametrize("name", VIEWS)
def test_views(desk, name):
    line = f"register xray.dcm xray.dcm --volume ct.nii.gz INIT OUT --views {name}"
    status, fault = VIEWS[name]
    desk.refuses(line, status, *fault)


# At any command ------------------------------------------------------------------------------------------


INSPECTED = (
    VOLUMES
    | {f"ct.nii.gz {name}": words for name, words in XRAYS.items()}
    | {f"ct.nii.gz --labels {name}": words for name, words in LABELS.items()}
    | {f"ct.nii.gz xray.dcm --exclude {name}": words for name, words in MASKS.items()}
    | {f"ct.nii.gz xray.dcm --init {name}": POSES[name] for name in ("cut.json", "units.json", "folder")}
)


@pytest.mark.parametrize("given", INSPECTED)
def test_inspect_shows_what_is_wrong(desk, given):
    """As a finding among the others, so on standard output; the error is that there is one."""
    before = tree(desk.folder)
    ran = desk.run("inspect", *given.split(), "--json")
    assert (ran.code, ran.err.count("\n")) == (1, 1)
    assert ran.err.startswith("isoclinic: error: 1 of ")
    found = [finding for part in json.loads(ran.out).values() for finding in part["findings"]]
    (error,) = (finding["message"] for finding in found if finding["level"] == "error")
    assert all(named(name, error) for name in INSPECTED[given][1:])
    assert tree(desk.folder) == before


@pytest.mark.parametrize(
    ("line", "name", "code"),
    [
        ("REGISTER INIT OUT", "ct.nii.gz", "ct.unreadable"),
        ("REGISTER INIT OUT", "xray.dcm", "xray.unreadable"),
        ("REGISTER INIT OUT", "init.json", "pose-file.unreadable"),
        ("REGISTER INIT OUT", "fast.toml", "config-file.unreadable"),
        ("REGISTER INIT OUT LABELS", "labels.nii.gz", "labels.unreadable"),
        ("REGISTER INIT OUT LABELS", "labels.json", "labels.unreadable"),
        ("REGISTER OUT --landmarks landmarks.json", "landmarks.json", "landmarks.unreadable"),
        (
            "register xray.dcm xray.dcm --volume ct.nii.gz INIT OUT --views pose.json pose.json",
            "pose.json",
            "pose-file.unreadable",
        ),
        ("REGISTER INIT OUT --exclude bare.png", "bare.png", "xray.unusable-mask"),
        ("register bad.png --volume ct.nii.gz INIT OUT", "bad.json", "sidecar.unreadable"),
        ("RENDER", "ct.nii.gz", "ct.unreadable"),
        ("render ct.nii.gz --pose pose.json --output new.png", "pose.json", "pose-file.unreadable"),
        ("convert pose.json --to itk --output new.tfm", "pose.json", "pose-file.unreadable"),
        (
            "convert pose.tfm --from itk --camera pose.json --output new.json",
            "pose.json",
            "pose-file.unreadable",
        ),
        ("EVALUATE OUT", "ct.nii.gz", "evaluation.nothing-registered"),
        ("EVALUATE OUT", "truth.json", "dataset.unreadable"),
        ("EVALUATE OUT", "xray.dcm", "evaluation.nothing-registered"),
    ],
)
def test_files_that_may_not_be_read(desk, line, name, code):
    refusing_to_open(desk, name, errno.EACCES).refuses(line, 1, code, name, "Permission denied")


CASES = {
    "no": (1, ("dataset.wrong-kind", "no")),
    "folder": (1, ("dataset.empty", "folder", "xray.dcm", "truth.json")),
    "without": (1, ("dataset.incomplete", "truth.json", "xray.dcm")),
    "cut": (1, ("dataset.unreadable", "truth.json")),
    "lacks": (1, ("dataset.incomplete", "truth.json", "landmarks")),
    "scaled": (1, ("pose.not-rigid", "truth.json")),
    "points": (1, ("dataset.wrong-shape", "truth.json")),
    "inits": (1, ("dataset.invalid-value", "truth.json", "4x4")),
    "start": (1, ("geometry.wrong-shape", "truth.json", "inits['4']", "[4", "4]")),
}


def make_cases(folder: Path) -> None:
    truth = json.loads((folder / "cases" / "phantom" / "00" / "truth.json").read_text())
    changes: dict[str, dict[str, Any]] = {
        "lacks": {},
        "scaled": {"extrinsic": np.diag([2.0, 2, 2, 1]).tolist()},
        "points": {"landmarks": [1, 2, 3]},
        "inits": {"inits": {"../4": IDENTITY}},
        "start": {"inits": {"4": [1, 2]}},
    }
    for name in ("without", "cut", *changes):
        case = folder / name / "case"
        case.mkdir(parents=True)
        content = json.dumps(truth | changes.get(name, {}))
        if name == "lacks":
            content = json.dumps({"extrinsic": truth["extrinsic"]})
        (case / "truth.json").write_text(content[:50] if name == "cut" else content)
        if name != "without":
            shutil.copy(folder / "xray.dcm", case)


@pytest.mark.parametrize("name", CASES)
def test_cases(desk, name):
    status, fault = CASES[name]
    desk.refuses(f"evaluate {name} --volume ct.nii.gz OUT", status, *fault)


@pytest.mark.slow
@pytest.mark.filterwarnings("always::isoclinic.volumes.GeometryWarning")
@pytest.mark.parametrize("line", ["register xray.dcm --volume {ct} INIT OUT", "RENDER"])
def test_a_ct_that_is_not_in_hounsfield_units_is_a_warning(desk, tmp_path, monkeypatch, line):
    image = nib.load("ct.nii.gz")
    shutil.copytree(desk.folder, tmp_path, dirs_exist_ok=True)
    monkeypatch.chdir(tmp_path)
    nib.save(nib.Nifti1Image(np.asarray(image.dataobj) + 1024, image.affine), "ct.nii.gz")
    ran = desk.run(*command(line.format(ct="ct.nii.gz")))
    assert ran.code == 0
    assert "warning: ct.nii.gz does not look like Hounsfield units: no value is below 0" in ran.err
    assert "often -1024, seems missing; isoclinic inspect adds it with --hu-offset -1024 --save-ct" in ran.err
