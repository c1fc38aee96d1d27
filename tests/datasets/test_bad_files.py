"""Files that are missing, cut short, damaged or others: what is wrong, and where to get the data."""

import sys

import h5py
import numpy as np
import pytest

from isoclinic.datasets import DeepFluoro, Ljubljana
from isoclinic.errors import InputError, UsageError
from raising import raises

GET = {
    DeepFluoro: ("2.5 GB", "https://doi.org/10.7281/T1/IFSXNV"),
    Ljubljana: ("1.0 GB", "DiffDRR-Datasets"),
}
LACKED = {DeepFluoro: "proj-params", Ljubljana: "subject"}
DATASETS = pytest.mark.parametrize("dataset", GET)


@DATASETS
def test_missing(dataset, tmp_path):
    with raises(InputError, "dataset.wrong-kind", "nothing.h5", *GET[dataset]):
        dataset(tmp_path / "nothing.h5")


@DATASETS
@pytest.mark.parametrize("content", [b"", b"PK\x03\x04" + bytes(500), b"<html>not found</html>"])
def test_not_hdf5(dataset, content, tmp_path):
    (tmp_path / "file.h5").write_bytes(content)
    with raises(InputError, "dataset.wrong-kind", "file.h5", "zip", *GET[dataset]):
        dataset(tmp_path / "file.h5")


def write(path, **entries):
    with h5py.File(path, "w") as file:
        for key, value in entries.items():
            file[key] = value
    return path


@DATASETS
def test_another_hdf5_file(dataset, tmp_path):
    path = write(tmp_path / "file.h5", images=np.zeros(3))
    with raises(InputError, "dataset.wrong-kind", LACKED[dataset], "images", *GET[dataset]):
        dataset(path)


@DATASETS
def test_empty_hdf5_file(dataset, tmp_path):
    with raises(InputError, "dataset.wrong-kind", "nothing", *GET[dataset]):
        dataset(write(tmp_path / "file.h5"))


def test_the_downsampled_file_of_deepfluoro(tmp_path):
    path = write(tmp_path / "ipcai_2020_ds_8x.h5", **{"land-names/num-lands": 14, "01/projs": np.zeros(3)})
    with raises(InputError, "dataset.wrong-kind", "downsampled"):
        DeepFluoro(path)


@pytest.mark.parametrize("specimens", [0, 1])
def test_no_projections(specimens, tmp_path):
    path = write(tmp_path / "file.h5", **{"proj-params/num-rows": 1536})
    with h5py.File(path, "r+") as file:
        for number in range(specimens):
            file.create_group(f"17-188{number}/projections")
    with raises(InputError, "dataset.empty", "DeepFluoro", *GET[DeepFluoro]):
        DeepFluoro(path)


def test_specimen_that_is_no_group(tmp_path):
    path = write(tmp_path / "file.h5", **{"proj-params/num-rows": 1536, "17-1882": np.zeros(3)})
    with raises(InputError, "dataset.invalid-value", "/17-1882", "group"):
        DeepFluoro(path)


@DATASETS
@pytest.mark.parametrize("share", [0.02, 0.5, 0.999])
def test_cut_short(dataset, share, tmp_path):
    path = write(
        tmp_path / "file.h5", **{"proj-params/noise": np.zeros(10000), "subject01/noise": np.ones(10000)}
    )
    content = path.read_bytes()
    path.write_bytes(content[: int(share * len(content))])
    with raises(InputError, "dataset.unreadable", *GET[dataset]):
        dataset(path)


@DATASETS
def test_damaged_inside(dataset, tmp_path):
    path = write(
        tmp_path / "file.h5", **{"proj-params/noise": np.zeros(10000), "subject01/noise": np.ones(10000)}
    )
    content = path.read_bytes()
    path.write_bytes(content[:900] + bytes(len(content) - 900))
    with raises(InputError, "dataset.unreadable", *GET[dataset]):
        dataset(path)


@DATASETS
def test_h5py_not_installed(dataset, tmp_path, monkeypatch):
    monkeypatch.setitem(sys.modules, "h5py", None)
    with raises(UsageError, "installation.package-missing", "h5py", "isoclinic[datasets]"):
        dataset(tmp_path / "file.h5")
