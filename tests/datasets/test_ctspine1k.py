"""CTSpine1K from original files to samples: interrupted, repeated, spread over workers, damaged."""

import errno
import json
import os
import pickle
import shutil
import sys
from dataclasses import replace
from pathlib import Path

import h5py
import numpy as np
import pytest

from isoclinic._spread_config import SpreadConfig
from isoclinic.datasets import CTSpine1k, CTSpine1kConfig
from isoclinic.datasets.preparation import (
    DrrConfig,
    Exclusion,
    LumbarConfig,
    PreparationConfig,
    QualityConfig,
    drrs,
    prepare,
    prepare_ctspine1k,
)
from isoclinic.datasets.preparation.quality import Unfit
from isoclinic.errors import InputError, UsageError
from isoclinic.rendering import RenderConfig, render
from raising import raises
from spine import HEIGHTS_MM, NUMBERS, TIPS, spine, write_original

HERE = SpreadConfig()
CONFIG = PreparationConfig(
    lumbar=LumbarConfig(margin_mm=10.0),
    drrs=DrrConfig(images=5, images_per_file=2, binning=24),
)
FILES = ["check.png", "case.json", "ct.nii.gz", "labels.json", "labels.nii.gz", "surface.surf.gii"]
SHARDS = ["drrs-000.h5", "drrs-001.h5", "drrs-002.h5"]
GET = ("150 GB", "https://huggingface.co/datasets/alexanderdann/CTSpine1K")


@pytest.fixture(scope="module")
def source(tmp_path_factory) -> Path:
    """Two cases that are fit for use, and one without a mask."""
    folder = tmp_path_factory.mktemp("CTSpine1K")
    write_original(folder, "liver_1", spine((4.0, 4.0, 3.0), axes=(-1, 1, 1)))
    write_original(folder, "1.3.6.1.4.1.9328.50.4.0001", spine((4.0, 4.0, 3.0), seed=1))
    write_original(folder, "liver_2", spine((4.0, 4.0, 3.0), seed=2))
    (folder / "raw_data/labels/COLONOG/liver_2_seg.nii.gz").unlink()
    return folder


def config_of(**changes) -> PreparationConfig:
    return replace(CONFIG, quality=QualityConfig(largest_spacing_mm=4.0), **changes)


@pytest.fixture(scope="module")
def prepared(source, tmp_path_factory) -> Path:
    output = tmp_path_factory.mktemp("prepared") / "out"
    prepare_ctspine1k(source, output, config_of(), HERE)
    return output


@pytest.fixture
def copy(prepared, tmp_path) -> Path:
    return shutil.copytree(prepared, tmp_path / "copy")


def contents(folder: Path) -> dict[str, object]:
    """What is in each file, but for the dates that NIfTI's compression notes."""
    read = {}
    for path in sorted(folder.rglob("*")):
        if path.suffix == ".h5":
            with h5py.File(path) as file:
                read[str(path.relative_to(folder))] = (file["images"][()].tobytes(), file["key"][()])
        elif path.is_file() and path.suffix != ".gz":
            read[str(path.relative_to(folder))] = path.read_bytes()
    return read


@pytest.mark.slow
def test_what_is_written(prepared):
    cases = ["1.3.6.1.4.1.9328.50.4.0001", "liver_1"]
    expected = {f"{case}/{file}" for case in cases for file in [*FILES, *SHARDS]}
    found = {str(path.relative_to(prepared)) for path in prepared.rglob("*") if path.is_file()}
    assert found == expected | {"dataset.json", "quality.json"}
    quality = json.loads((prepared / "quality.json").read_text())
    assert (quality["fit"], quality["left_out"]) == (2, {"no mask": 1})


def test_names(prepared):
    dataset = CTSpine1k(prepared)
    assert dataset.subjects == ("1.3.6.1.4.1.9328.50.4.0001", "liver_1")
    assert len(dataset) == 10
    assert dataset.names[5:] == tuple(f"liver_1/{number:04d}" for number in range(5))
    with raises(UsageError, "dataset.unknown-name", "'5'", "liver_1", "0000", "0001"):
        dataset["liver_1/5"]
    with raises(UsageError, "dataset.unknown-name", "liver_2", "liver_1"):
        dataset.volume("liver_2")


def test_a_drr_is_what_the_ct_gives_at_its_pose(prepared):
    exact = RenderConfig(method="siddon", voxel_mm="full", backend="cpu")
    for sample in CTSpine1k(prepared).samples("liver_1"):
        image = render(sample.volume, sample.xray.camera, sample.camera_from_world, exact)[0].numpy()
        assert np.array_equal(image, sample.xray.pixels)
        assert (sample.xray.polarity, sample.xray.pixel_scale) == ("dark_air", "log")


def test_landmarks_lie_on_what_they_are_named_after(prepared):
    """In the image of a vertebra alone; its mask is of 4 mm voxels, a tip may be half a pixel beside it."""
    dataset = CTSpine1k(prepared)
    assert {name for name in dataset.volume("liver_1").label_names.values()} == set(NUMBERS)
    inside = 0
    for sample in dataset.samples("liver_1"):
        camera = sample.xray.camera
        focal = np.array([camera.fx, camera.fy])
        for name, point in zip(sample.landmark_names, sample.landmarks_world.numpy(), strict=True):
            x, y, z = (sample.camera_from_world.numpy() @ [*point, 1.0])[:3]
            column, row = np.rint(np.array([x, y]) / z * focal + (camera.cx, camera.cy)).astype(int)
            if not (1 <= column < camera.width - 1 and 1 <= row < camera.height - 1):
                continue
            config = RenderConfig(structures=(name.partition("/")[0],), voxel_mm="full", backend="cpu")
            alone = render(sample.volume, camera, sample.camera_from_world, config)[0].numpy()
            assert alone[row - 1 : row + 2, column - 1 : column + 2].max() > 0, (sample.name, name)
            inside += 1
    assert inside > 100


def test_landmarks_are_where_the_solids_end(prepared):
    sample = CTSpine1k(prepared)["liver_1/0000"]
    points = dict(zip(sample.landmark_names, sample.landmarks_world.numpy(), strict=True))
    assert len(points) == 35
    for name, height in HEIGHTS_MM.items():
        for side, tip in TIPS.items():
            assert np.linalg.norm(points[f"{name}/{side}"] - tip - (0, 0, height)) < 4.0  # a voxel


def test_samples_are_read_when_asked_for(prepared):
    dataset = CTSpine1k(prepared)
    first, second = dataset["liver_1/0000"], dataset["liver_1/0004"]
    assert first.volume is second.volume
    assert second.xray.path == prepared / "liver_1" / "drrs-002.h5"
    again = pickle.loads(pickle.dumps(dataset))
    assert again["liver_1/0004"].camera_from_world.equal(second.camera_from_world)
    folder = prepared / "liver_1"
    assert dataset.files("liver_1/0003") == (
        *(folder / name for name in ("ct.nii.gz", "drrs-001.h5", "labels.nii.gz")),
    )


def test_nothing_is_made_twice(source, copy, monkeypatch):
    before = {path: path.stat().st_mtime_ns for path in copy.rglob("*") if path.parent != copy}
    monkeypatch.setattr(prepare, "examine", None)
    result = prepare_ctspine1k(source, copy, config_of(), HERE)
    assert result.cases == ("1.3.6.1.4.1.9328.50.4.0001", "liver_1")
    assert result.left_out == {Exclusion.NO_MASK: 1}
    assert {path: path.stat().st_mtime_ns for path in copy.rglob("*") if path.parent != copy} == before


@pytest.mark.parametrize("renders", [4, 8])
@pytest.mark.slow
def test_interrupted(renders, source, prepared, tmp_path, monkeypatch):
    """Ctrl-C during a rendering; each case has one for its picture and five for its files."""
    output, count = tmp_path / "out", 0

    def interrupted(*arguments):
        nonlocal count
        count += 1
        if count > renders:
            raise KeyboardInterrupt
        return render(*arguments)

    monkeypatch.setattr(drrs, "render", interrupted)
    with pytest.raises(KeyboardInterrupt):
        prepare_ctspine1k(source, output, config_of(), HERE)
    assert not [path for path in output.rglob(".*")]
    with raises(InputError, "dataset.not-prepared", renders // 5, "2"):
        CTSpine1k(output)
    made = {path: path.stat().st_mtime_ns for path in output.rglob("*.h5")}
    assert len(made) == {4: 2, 8: 4}[renders]
    monkeypatch.setattr(drrs, "render", render)
    leftover = output / "liver_1" / ".123.drrs-000.h5"  # of a process that was killed
    leftover.parent.mkdir(exist_ok=True)
    leftover.write_bytes(b"half a file")
    prepare_ctspine1k(source, output, config_of(), HERE)
    assert contents(output) == contents(prepared) and not leftover.exists()
    assert made.items() <= {path: path.stat().st_mtime_ns for path in output.rglob("*.h5")}.items()


def test_the_cases_that_are_ready(source, copy):
    (copy / "liver_1" / "case.json").unlink()
    with raises(InputError, "dataset.not-prepared", "1 of 2"):
        CTSpine1k(copy)
    dataset = CTSpine1k(copy, CTSpine1kConfig(unfinished=True))
    assert dataset.subjects == ("1.3.6.1.4.1.9328.50.4.0001",)


@pytest.mark.parametrize("file", ["drrs-001.h5", "ct.nii.gz", "quality.json"])
@pytest.mark.slow
def test_disk_full(file, source, prepared, tmp_path, monkeypatch):
    """The first file of that name does not fit any more: half of it is written."""
    output = tmp_path / "out"
    replace_file = os.replace

    def full(temporary, path):
        if str(path).endswith(file):
            Path(temporary).write_bytes(b"half a file")
            raise OSError(errno.ENOSPC, "No space left on device")
        replace_file(temporary, path)

    with monkeypatch.context() as context:
        context.setattr("isoclinic._files.os.replace", full)
        with raises(InputError, "output.unwritable", file):
            prepare_ctspine1k(source, output, config_of(), HERE)
    assert not [path for path in output.rglob(".*")]
    assert not list(output.rglob(file))
    prepare_ctspine1k(source, output, config_of(), HERE)
    assert contents(output) == contents(prepared)


@pytest.mark.slow
def test_the_result_does_not_depend_on_where_and_in_which_order_cases_run(
    source, prepared, tmp_path, monkeypatch
):
    def spread(function, tasks, config):
        assert config == SpreadConfig(processes=2)
        for index in reversed(range(len(tasks))):
            function_there, task = pickle.loads(pickle.dumps((function, tasks[index])))
            yield index, pickle.loads(pickle.dumps(function_there(task)))

    monkeypatch.setattr(prepare, "spread", spread)
    prepare_ctspine1k(source, tmp_path / "out", config_of(), SpreadConfig(processes=2))
    assert contents(tmp_path / "out") == contents(prepared)


@pytest.mark.slow
def test_other_settings(source, copy):
    fewer = config_of(drrs=replace(CONFIG.drrs, images=2, seed=1))
    before = contents(copy)
    with raises(UsageError, "output.of-other-settings", "drrs.images", "drrs.seed"):
        prepare_ctspine1k(source, copy, fewer, HERE)
    assert contents(copy) == before
    prepare_ctspine1k(source, copy, fewer, HERE, overwrite=True)
    assert len(CTSpine1k(copy)) == 4
    assert sorted(path.name for path in (copy / "liver_1").glob("*.h5")) == ["drrs-000.h5"]


@pytest.mark.slow
def test_other_files_of_the_same_name(source, copy, tmp_path):
    other = shutil.copytree(source, tmp_path / "other")
    write_original(other, "liver_1", spine((4.0, 4.0, 3.0), axes=(-1, 1, 1), seed=9))
    before = contents(copy / "liver_1")
    with raises(UsageError, "output.of-other-settings", "liver_1"):
        prepare_ctspine1k(other, copy, config_of(), HERE)
    assert contents(copy / "liver_1") == before and len(CTSpine1k(copy)) == 10
    prepare_ctspine1k(other, copy, config_of(), HERE, overwrite=True)
    assert contents(copy / "liver_1") != before


@pytest.mark.slow
def test_files_that_vanish_after_the_quality_control(source, tmp_path):
    moving = shutil.copytree(source, tmp_path / "moving")
    mask = moving / "raw_data/labels/COLONOG/liver_1_seg.nii.gz"

    def progress(stage, done, total):
        if stage == "preparation":
            mask.unlink(missing_ok=True)

    with raises(Unfit, "preparation.case-left-out", "unreadable file", "liver_1_seg.nii.gz"):
        prepare_ctspine1k(moving, tmp_path / "out", config_of(), HERE, progress=progress)


def test_no_case_is_fit(source, tmp_path):
    strict = replace(CONFIG, quality=QualityConfig(largest_spacing_mm=1.0))
    with raises(InputError, "preparation.no-case", "2 slices too thick", "1 no mask"):
        prepare_ctspine1k(source, tmp_path / "out", strict, HERE)


@pytest.mark.parametrize(
    ("what", "code"), [("file", "output.not-a-folder"), ("folder", "output.foreign-files")]
)
def test_a_place_that_holds_something_else(what, code, source, tmp_path):
    output = tmp_path / "out"
    if what == "file":
        output.write_text("mine")
    else:
        output.mkdir()
        (output / "mine.txt").write_text("mine")
    with raises(UsageError, code, "out"):
        prepare_ctspine1k(source, output, config_of(), HERE)
    assert [path.name for path in tmp_path.rglob("*")] == (["out"] if what == "file" else ["out", "mine.txt"])


def test_missing(tmp_path):
    with raises(InputError, "dataset.not-prepared", "nothing", *GET, "isoclinic dataset prepare ctspine1k"):
        CTSpine1k(tmp_path / "nothing")


def test_the_original_files(source):
    with raises(InputError, "dataset.not-prepared", "dataset.json", *GET):
        CTSpine1k(source)


@pytest.mark.parametrize(
    ("text", "fault"),
    [
        ("", ("dataset.unreadable", "dataset.json")),
        ("[]", ("dataset.unreadable", "dataset.json")),
        ('{"format": "other"}', ("dataset.not-prepared", "other None", "isoclinic.ctspine1k 1")),
        (
            '{"format": "isoclinic.ctspine1k", "version": 2}',
            ("dataset.not-prepared", "isoclinic.ctspine1k 2", "isoclinic.ctspine1k 1"),
        ),
    ],
)
def test_another_dataset_json(text, fault, copy):
    (copy / "dataset.json").write_text(text)
    with raises(InputError, *fault):
        CTSpine1k(copy)


@pytest.mark.parametrize(
    ("text", "fault"),
    [
        ("", ("dataset.unreadable",)),
        ("{}", ("dataset.not-prepared", "key", "drrs")),
        ('{"key": "a", "drrs": 5}', ("dataset.not-prepared", "key", "drrs")),
    ],
)
def test_damaged_case_json(text, fault, copy):
    (copy / "liver_1" / "case.json").write_text(text)
    with raises(InputError, *fault, "liver_1/case.json"):
        CTSpine1k(copy)


REMEDY = "run isoclinic dataset prepare ctspine1k again"


@pytest.mark.parametrize(
    ("file", "share", "code"),
    [
        ("drrs-000.h5", None, "dataset.wrong-kind"),
        ("drrs-000.h5", 0.0, "dataset.not-prepared"),
        ("drrs-000.h5", 0.5, "dataset.unreadable"),
        ("ct.nii.gz", None, "dataset.not-prepared"),
        ("ct.nii.gz", 0.5, "dataset.not-prepared"),
        ("labels.nii.gz", 0.5, "dataset.not-prepared"),
    ],
)
def test_damaged_case(file, share, code, copy):
    path = copy / "liver_1" / file
    content = path.read_bytes()
    path.unlink()
    if share is not None:
        path.write_bytes(content[: int(share * len(content))])
    with raises(InputError, code, file, copy / "liver_1", REMEDY):
        CTSpine1k(copy)["liver_1/0000"]


@pytest.mark.parametrize(
    ("entry", "fault"),
    [
        ("key", ("dataset.not-prepared", "drrs-000.h5")),
        ("images", ("dataset.incomplete", "/images", "camera")),
        ("camera/fx", ("dataset.incomplete", "/camera/fx")),
        ("camera_from_world", ("dataset.incomplete", "/camera_from_world")),
        ("landmarks", ("dataset.incomplete", "/landmarks")),
    ],
)
def test_a_file_of_drrs_without_an_entry(entry, fault, copy):
    with h5py.File(copy / "liver_1" / "drrs-000.h5", "r+") as file:
        del file[entry]
    with raises(InputError, *fault):
        CTSpine1k(copy)["liver_1/0001"]


def test_files_of_drrs_that_do_not_belong_together(copy):
    with h5py.File(copy / "liver_1" / "drrs-000.h5", "r+") as file:
        del file["key"]
        file["key"] = "other"
    with raises(InputError, "dataset.mixed", "case.json", REMEDY):
        CTSpine1k(copy)["liver_1/0000"]


def test_fewer_images_than_expected(copy):
    document = json.loads((copy / "liver_1" / "case.json").read_text())
    document["drrs"]["drrs-002.h5"] = 2
    (copy / "liver_1" / "case.json").write_text(json.dumps(document))
    with raises(InputError, "dataset.wrong-shape", "/camera_from_world", "(1, 4, 4)"):
        CTSpine1k(copy)["liver_1/0005"]


def test_h5py_not_installed(source, tmp_path, monkeypatch):
    monkeypatch.setitem(sys.modules, "h5py", None)
    with raises(UsageError, "installation.package-missing", "h5py", "isoclinic[datasets]"):
        prepare_ctspine1k(source, tmp_path / "out", config_of(), HERE)
