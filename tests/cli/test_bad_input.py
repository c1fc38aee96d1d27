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
    "no.nii.gz": "no.nii.gz ",
    "empty.nii.gz": "empty.nii.gz cannot be read as NIfTI",
    "empty.nrrd": "empty.nrrd cannot be read, it may be cut short or damaged",
    "empty.dcm": "empty.dcm is empty",
    "cut.nii.gz": "cut.nii.gz cannot be read as NIfTI, it may be cut short or damaged",
    "text.nii.gz": "text.nii.gz cannot be read as NIfTI",
    "pose.json": "pose.json has no known volume format; use NIfTI",
    "folder": "folder holds no CT images",
    "xray.dcm": "xray.dcm is not a CT slice: it is of modality XA, without ImagePositionPatient",
    "bad.png": "bad.png has no known volume format: an X-ray is given as the X-ray",
    "flat.nii.gz": "flat.nii.gz is a single image of 64 x 48 x 1 pixels",
    "four.nii.gz": "four.nii.gz has 4 dimensions",
    "nan.nii.gz": "nan.nii.gz has 1 voxels that are NaN or infinite",
    "inf.nii.gz": "inf.nii.gz has 1 voxels that are NaN or infinite",
    "singular.nii.gz": "the affine of singular.nii.gz is singular",
    "spacing.mha": "the voxel spacing of spacing.mha (ElementSpacing) is 1 0 1, not positive",
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
    desk.refuses(line.format(name), 1, VOLUMES[name])


def make_labels(folder: Path) -> None:
    image = nib.load(folder / "labels.nii.gz")
    labels = np.asarray(image.dataobj)
    far = image.affine.copy()
    far[0, 3] += 900
    nib.save(nib.Nifti1Image(labels, far), folder / "far.nii.gz")
    nib.save(nib.Nifti1Image(labels, image.affine), folder / "named.nii.gz")
    (folder / "named.json").write_text('{"one": "hip"}')


LABELS = {
    "no.nii.gz": "no.nii.gz does not exist",
    "ct.nii.gz": "ct.nii.gz is no label map: labels are whole numbers from 0 to 65535",
    "cut.nii.gz": "cut.nii.gz cannot be read as NIfTI",
    "xray.dcm": "xray.dcm is not a CT slice",
    "far.nii.gz": "far.nii.gz does not overlap the CT",
    "named.nii.gz": "named.json must map labels to names",
}


@pytest.mark.parametrize("name", LABELS)
@pytest.mark.parametrize("line", ["REGISTER INIT OUT --labels {}", "RENDER --labels {}"])
def test_label_maps(desk, line, name):
    desk.refuses(line.format(name), 1, LABELS[name])


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
    "no.dcm": "X-ray file no.dcm does not exist",
    "empty.dcm": "X-ray file empty.dcm is empty; copy or export it again",
    "cut.dcm": "the pixels of cut.dcm cannot be decoded",
    "text.dcm": "text.dcm is not an X-ray this program reads: DICOM, or PNG, TIFF, NIfTI,",
    "folder": "folder is a folder, not an X-ray",
    "ct.nii.gz": "ct.nii.gz holds 64 planes",
    "slice.dcm": "CT Image Storage, not an X-ray projection; a CT is given as the volume (--volume)",
    "other.dcm": "other.dcm has modality SEG, not an X-ray projection",
    "black.dcm": "black.dcm shows nothing: all its pixels are 0",
    "nan_xray.nii": "nan_xray.nii has 81 pixels that are NaN or infinite",
    "no_sdd.dcm": "no_sdd.dcm lacks the source-detector distance: the file does not give it; supply it with "
    "--sdd-mm MM",
    "zero_sdd.dcm": "DistanceSourceToDetector (0018,1110) is 0.0; supply it with --sdd-mm MM",
    "no_spacing.dcm": "lacks the detector's pixel spacing: neither ImagerPixelSpacing nor "
    "PixelSpacing is in its header; supply it with --pixel-spacing-mm ROW COLUMN",
    "negative.dcm": "ImagerPixelSpacing (0018,1164) is (-3.0, 3.0); supply it with --pixel-spacing-mm",
    "bare.png": "there is no sidecar bare.json beside the image; supply it with --sdd-mm MM",
    "bad.png": "bad.json: sdd_mm must be a number, not 'far'",
    "pose.json": "pose.json is not an X-ray this program reads",
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
    desk.refuses(line.format(name), 1, XRAYS[name])


@pytest.mark.parametrize("name", ["no.dcm", "black.dcm", "ct.nii.gz"])
def test_second_xrays(desk, name):
    line = f"register xray.dcm {name} --volume ct.nii.gz INIT OUT --views pose.json pose.json"
    desk.refuses(line, 1, XRAYS[name])


def make_masks(folder: Path) -> None:
    mask = np.zeros((64, 64), np.uint8)
    imsave(folder / "nothing.png", mask, check_contrast=False)
    imsave(folder / "everything.png", mask + 1, check_contrast=False)
    imsave(folder / "small.png", mask[:32], check_contrast=False)


MASKS = {
    "no.png": "--exclude: X-ray file no.png does not exist",
    "folder": "--exclude: folder is a folder",
    "small.png": "--exclude small.png has 32 x 64 pixels (rows x columns), but xray.dcm has 64 x 64",
    "nothing.png": "--exclude nothing.png excludes nothing",
    "everything.png": "--exclude everything.png excludes every pixel",
    "text.dcm": "--exclude: text.dcm is not an X-ray this program reads",
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
    desk.refuses(line.format(name), 1, MASKS[name])


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
    "empty.json": "empty.json is not JSON, so not a pose file",
    "cut.json": "cut.json is not JSON, so not a pose file",
    "number.json": "number.json is not a pose file: it holds a JSON number",
    "xray.dcm": "xray.dcm is not JSON, so not a pose file",
    "folder": "pose file folder cannot be read: Is a directory",
    "format.json": "format.json: format must be 'isoclinic.pose', not 'xvr'",
    "version.json": "version.json: version must be 1",
    "world.json": "world.json: world must be 'RAS' or 'LPS', not 'LAS'; name the frame of the pose",
    "units.json": "units.json: units must be 'mm', not 'm'; convert the translation to millimetres",
    "shape.json": "shape.json: camera_from_world must have shape [4, 4]",
    "scaled.json": "scaled.json: camera_from_world is not a rigid transform",
    "nan.json": "nan.json: camera_from_world is not a rigid transform: it contains NaN",
    "camera.json": "camera.json: intrinsics is missing",
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
    desk.refuses(line.format(name), 1, POSES[name])


@pytest.mark.parametrize("name", ["cut.json", "units.json", "folder"])
def test_other_options_that_take_pose_files(desk, name):
    views = f"register xray.dcm xray.dcm --volume ct.nii.gz INIT OUT --views pose.json {name}"
    camera = f"convert pose.tfm --from slicer --camera {name} --output new.json"
    for line in (views, camera):
        desk.refuses(line, 1, POSES[name])


@pytest.mark.parametrize("name", ["behind.json", "beside.json"])
@pytest.mark.parametrize("line", ["REGISTER OUT --init {}", "render ct.nii.gz --pose {} --output new.png"])
def test_poses_that_do_not_see_the_ct(desk, line, name):
    words = f"the initial pose (file {name}) does not see the CT", "RAS millimetres"
    desk.refuses(line.format(name), 1, *words)


@pytest.mark.parametrize(
    ("line", "words"),
    [
        ("xray.dcm --from slicer", "xray.dcm is not an ITK transform; it looks like a binary file"),
        ("pose.json --from slicer", "pose.json is not an ITK transform; it looks like a pose file"),
        ("folder --from itk", "folder cannot be read: Is a directory"),
        ("scaled.tfm --from itk", "scaled.tfm is not a rigid transform"),
        ("empty.json --from opencv", "empty.json is not OpenCV's camera and pose in JSON"),
        ("pose.json --from diffdrr", "it looks like a pose file of isoclinic, which needs no --from"),
        ("pose.tfm --from nanodrr", "it looks like an ITK transform file"),
        ("landmarks.json --from rtk", "landmarks.json is not "),
    ],
)
def test_poses_of_other_programs(desk, line, words):
    desk.refuses(f"convert {line} --camera pose.json --output new.json", 1, words)


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
    "no.lm": "landmark file no.lm cannot be read: No such file",
    "folder": "landmark file folder cannot be read: Is a directory",
    "xray.dcm": "xray.dcm is not text, so not a landmark file",
    "empty.json": "empty.json is not JSON, so not a landmark file",
    "init.json": "init.json is not a landmark file: it holds no JSON object",
    "pose.json": "pose.json is not a landmark file: its format is 'isoclinic.pose'",
    "version.lm": "version.lm: version is",
    "units.lm": "units.lm: units must be \"mm\", not 'cm'; convert the points",
    "world.lm": 'world.lm: world must be "RAS" or "LPS"',
    "ct_only.lm": "ct_only.lm: pixel_points is missing",
    "three.lm": "three.lm: CT and X-ray have 3 landmarks in common, but at least 4 are needed",
    "names.lm": "names.lm: CT and X-ray have 0 landmarks in common",
    "flat.lm": "flat.lm: world_points 'a' must be 3 finite numbers",
    "text.lm": "text.lm: world_points 'b' must be 3 finite numbers",
    "outside.lm": "outside.lm: outside the X-ray of 64 x 64 pixels: 'c' at (-9, 5)",
    "line.lm": "line.lm: the 6 landmarks in the CT lie on a line",
    "place.lm": "place.lm: a pose takes at least 4 different landmarks, not 1",
    "pixel.lm": "pixel.lm: all landmarks are marked at the same pixel",
    "twice.lm": "twice.lm has 'a' twice",
    "system.mrk.json": "system.mrk.json: the coordinate system must be RAS or LPS",
    "schema.mrk.json": "schema.mrk.json: @schema is 'else'",
    "none.mrk.json": "none.mrk.json holds no placed points",
    "system.fcsv": "system.fcsv: the coordinate system must be RAS or LPS",
    "columns.fcsv": "columns.fcsv: its header '# columns = ...' lacks label, x, y, z",
    "text.fcsv": "text.fcsv: 'a' must be 3 finite numbers",
}


@pytest.mark.parametrize("name", LANDMARKS)
def test_landmarks(desk, name):
    desk.refuses(f"REGISTER OUT --landmarks {name}", 1, LANDMARKS[name])
    if not name.endswith((".lm", ".fcsv", ".mrk.json")):
        desk.refuses(f"REGISTER OUT --landmarks landmarks.json {name}", 1, name)


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
    "no.view": (1, "view file no.view cannot be read: No such file"),
    "folder": (1, "view file folder cannot be read: Is a directory"),
    "xray.dcm": (1, "xray.dcm is not JSON, so not a view file"),
    "empty.json": (1, "empty.json is not JSON, so not a view file"),
    "pose.json": (1, 'pose.json is not a view file: it lacks "view_from_first"'),
    "key.view": (1, 'key.view is not a view file: it lacks "view_from_first"'),
    "count.view": (1, "count.view: view_from_first must be a list of 1 4x4 matrices"),
    "none.view": (1, "none.view: view_from_first must be a list of 1 4x4 matrices"),
    "number.json": (1, "number.json: view_from_first must be a list"),
    "matrix.view": (1, "matrix.view: view_from_first[0] must have shape [4, 4]"),
    "rigid.view": (1, "rigid.view: view_from_first[0] is not a rigid transform"),
    "words.view": (1, "words.view: view_from_first[0] must be a 4x4 matrix of numbers"),
    "first.view": (2, "first.view: view_from_first[0] must be the identity"),
}


@pytest.mark.parametrize("name", VIEWS)
def test_views(desk, name):
    line = f"register xray.dcm xray.dcm --volume ct.nii.gz INIT OUT --views {name}"
    desk.refuses(line, *VIEWS[name])


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
    assert INSPECTED[given] in error
    assert tree(desk.folder) == before


@pytest.mark.parametrize(
    ("line", "name"),
    [
        ("REGISTER INIT OUT", "ct.nii.gz"),
        ("REGISTER INIT OUT", "xray.dcm"),
        ("REGISTER INIT OUT", "init.json"),
        ("REGISTER INIT OUT", "fast.toml"),
        ("REGISTER INIT OUT LABELS", "labels.nii.gz"),
        ("REGISTER INIT OUT LABELS", "labels.json"),
        ("REGISTER OUT --landmarks landmarks.json", "landmarks.json"),
        ("register xray.dcm xray.dcm --volume ct.nii.gz INIT OUT --views pose.json pose.json", "pose.json"),
        ("REGISTER INIT OUT --exclude bare.png", "bare.png"),
        ("register bad.png --volume ct.nii.gz INIT OUT", "bad.json"),
        ("RENDER", "ct.nii.gz"),
        ("render ct.nii.gz --pose pose.json --output new.png", "pose.json"),
        ("convert pose.json --to itk --output new.tfm", "pose.json"),
        ("convert pose.tfm --from itk --camera pose.json --output new.json", "pose.json"),
        ("EVALUATE OUT", "ct.nii.gz"),
        ("EVALUATE OUT", "truth.json"),
        ("EVALUATE OUT", "xray.dcm"),
    ],
)
def test_files_that_may_not_be_read(desk, line, name):
    refusing_to_open(desk, name, errno.EACCES).refuses(line, 1, name, "Permission denied")


CASES = {
    "no": (1, "no is not a folder of cases"),
    "folder": (1, "folder holds no case: a case is a folder with xray.dcm and truth.json"),
    "without": (1, "has truth.json but no xray.dcm"),
    "cut": (1, "truth.json cannot be read as JSON"),
    "lacks": (1, "truth.json lacks 'landmarks'"),
    "scaled": (1, "truth.json: extrinsic is not a rigid transform"),
    "points": (1, "truth.json: landmarks must be a list of points"),
    "inits": (1, "truth.json: inits must be an object of 4x4 matrices by plain names"),
    "start": (1, "truth.json: inits['4'] must have shape [4, 4]"),
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
    desk.refuses(f"evaluate {name} --volume ct.nii.gz OUT", *CASES[name])


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
