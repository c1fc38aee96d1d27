"""Every reason to leave a case out, each shown by a case that is fit for use but for that."""

from dataclasses import asdict, replace

import nibabel as nib
import numpy as np
import pytest

from isoclinic.datasets.preparation import Exclusion, QualityConfig
from isoclinic.datasets.preparation.originals import find_originals
from isoclinic.datasets.preparation.quality import examine, without_duplicates
from isoclinic.errors import InputError, UsageError
from raising import raises
from spine import spine, write_original

CT = spine((3.0, 3.0, 3.0))
CONFIG = QualityConfig()


def finding(folder, config=CONFIG):
    (original,) = find_originals(folder)
    return examine(original, config)


def relabelled(changes):
    labels = CT.labels.copy()
    for old, new in changes.items():
        labels[CT.labels == old] = new
    return labels


def test_a_case_that_is_fit_for_use(tmp_path):
    write_original(tmp_path, "a", CT)
    found = finding(tmp_path)
    assert found.reason is None and found.detail == ""
    assert found.ct_digest and found.mask_digest and found.ct_digest != found.mask_digest


FLIPPED = CT.labels[:, :, ::-1]
MOVED = CT.world_from_voxel + np.eye(4, k=3) * 2
DEFECTS = {
    Exclusion.OTHER_GRID: {"mask_affine": MOVED},
    Exclusion.EMPTY_MASK: {"labels": np.zeros_like(CT.labels)},
    Exclusion.NO_LUMBAR: {"labels": relabelled({20: 15, 21: 16, 22: 17, 23: 18, 24: 19})},
    Exclusion.FEW_LUMBAR: {"labels": relabelled({24: 0})},
    Exclusion.DISORDER: {"labels": FLIPPED},
    Exclusion.NOT_HU: {"hu": (CT.hu + 1024).astype(np.int16)},
    Exclusion.NOT_FINITE: {"hu": np.where(CT.labels == 22, np.nan, CT.hu).astype(np.float32)},
}


@pytest.mark.parametrize("reason", DEFECTS, ids=lambda reason: reason.name)
def test_defects(reason, tmp_path):
    write_original(tmp_path, "a", CT, **DEFECTS[reason])
    assert finding(tmp_path).reason is reason


@pytest.mark.parametrize(
    ("changes", "detail"), [({24: 0}, "only L1, L2, L3, L4"), ({21: 0, 24: 25}, "only L1, L3, L4")]
)
def test_which_vertebrae_there_are(changes, detail, tmp_path):
    write_original(tmp_path, "a", CT, labels=relabelled(changes))
    assert finding(tmp_path).detail == detail
    assert finding(tmp_path, replace(CONFIG, least_lumbar=3)).reason is None


def test_a_fragment_of_a_vertebra_does_not_count(tmp_path):
    labels = relabelled({24: 0})
    labels[CT.labels == 24] = np.where(np.arange((CT.labels == 24).sum()) < 100, 24, 0)  # 2.7 cm3
    write_original(tmp_path, "a", CT, labels=labels)
    assert finding(tmp_path).reason is Exclusion.FEW_LUMBAR


def test_a_mask_of_another_shape(tmp_path):
    write_original(tmp_path, "a", CT, labels=CT.labels[:, :, 1:])
    assert finding(tmp_path).reason is Exclusion.OTHER_GRID


@pytest.mark.parametrize(("largest_mm", "reason"), [(2.9, Exclusion.THICK_SLICES), (3.0, None)])
def test_thick_slices(largest_mm, reason, tmp_path):
    write_original(tmp_path, "a", CT)
    assert finding(tmp_path, replace(CONFIG, largest_spacing_mm=largest_mm)).reason is reason


@pytest.mark.parametrize("voxels", [0, 1])
def test_a_spine_at_the_edge(voxels, tmp_path):
    lowest = int(np.argwhere(CT.labels > 0)[:, 2].min()) - voxels
    cropped = CT.crop((0, 0, lowest), CT.shape)
    write_original(tmp_path, "a", cropped)
    found = finding(tmp_path)
    assert found.reason is (Exclusion.CUT if voxels == 0 else None)
    assert found.detail == ("0 mm from the edge" if voxels == 0 else "")


def test_orientation_unknown(tmp_path):
    write_original(tmp_path, "a", CT)
    path = next(tmp_path.rglob("a.nii.gz"))
    image = nib.load(path)
    image.set_sform(None, code=0)
    image.set_qform(None, code=0)
    nib.save(nib.Nifti1Image(np.asanyarray(image.dataobj), None, image.header), path)
    assert finding(tmp_path).reason is Exclusion.NO_ORIENTATION


@pytest.mark.parametrize("file", ["a.nii.gz", "a_seg.nii.gz"])
def test_a_damaged_file(file, tmp_path):
    write_original(tmp_path, "a", CT)
    path = next(tmp_path.rglob(file))
    path.write_bytes(path.read_bytes()[:2000])
    found = finding(tmp_path)
    assert found.reason is Exclusion.UNREADABLE
    assert file in found.detail and "cut short or damaged" in found.detail


@pytest.mark.parametrize(
    ("file", "reason"), [("a.nii.gz", Exclusion.NO_CT), ("a_seg.nii.gz", Exclusion.NO_MASK)]
)
def test_files_without_a_partner(file, reason, tmp_path):
    for name in "ab":
        write_original(tmp_path, name, CT)
    next(tmp_path.rglob(file)).unlink()
    assert [examine(each, CONFIG).reason for each in find_originals(tmp_path)] == [reason, None]


def test_two_files_of_a_name(tmp_path):
    write_original(tmp_path / "one", "a", CT)
    write_original(tmp_path / "two", "a", CT)
    found = finding(tmp_path)
    assert found.reason is Exclusion.SAME_NAME
    assert "one" in found.detail and "two" in found.detail


def test_the_first_of_two_equal_cts_is_used(tmp_path):
    for name, ct in (("a", CT), ("b", spine((3.0, 3.0, 3.0), seed=1)), ("c", CT)):
        write_original(tmp_path, name, ct)
    findings = {each.name: examine(each, CONFIG) for each in find_originals(tmp_path)}
    final = without_duplicates(findings)
    assert [final[name].reason for name in "abc"] == [None, None, Exclusion.DUPLICATE]
    assert final["c"].detail == "as a"
    assert asdict(final["c"]) | {"reason": None, "detail": ""} == asdict(findings["c"])


@pytest.mark.parametrize(
    ("ct", "mask"),
    [
        ("raw_data/volumes/COLONOG/x.nii.gz", "raw_data/labels/COLONOG/x_seg.nii.gz"),
        ("rawdata/ct/x.nii.gz", "rawdata/label/x_seg.nii.gz"),
        ("x.nii.gz", "x_seg.nii.gz"),
        ("imagesTr/x.nii", "Labels/MSD-T10/x.nii.gz"),
    ],
)
def test_layouts(ct, mask, tmp_path):
    for file in (ct, mask, "metadata/data_split.txt", ".x.nii.gz"):
        path = tmp_path / file
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(b"")
    (original,) = find_originals(tmp_path)
    assert (original.name, original.cts, original.masks) == ("x", (tmp_path / ct,), (tmp_path / mask,))


@pytest.mark.parametrize(
    ("files", "fault"),
    [
        ([], ("preparation.originals-missing", "CT")),
        (["a.dcm"], ("preparation.originals-missing", "CT")),
        (["a.nii.gz"], ("preparation.originals-missing", "mask")),
        (["a_seg.nii.gz"], ("preparation.originals-missing", "CT")),
    ],
)
def test_folders_without_the_data(files, fault, tmp_path):
    for file in files:
        (tmp_path / file).write_bytes(b"")
    with raises(InputError, *fault, "_seg.nii.gz", "150 GB"):
        find_originals(tmp_path)


def test_no_folder(tmp_path):
    with raises(InputError, "preparation.originals-missing", "nothing", "150 GB"):
        find_originals(tmp_path / "nothing")


@pytest.mark.parametrize(
    "values",
    [
        {"least_lumbar": 0},
        {"least_lumbar": 6},
        {"vertebra_hu": (100.0, 100.0)},
        {"vertebra_distance_mm": (60.0, 15.0)},
        {"largest_spacing_mm": 0.0},
        {"least_border_mm": -1.0},
    ],
)
def test_rules_that_admit_nothing(values):
    with raises(UsageError, "preparation.invalid-value", next(iter(values))):
        QualityConfig(**values)
