"""Damaged numbers and bytes in files of poses are errors about the file."""

from __future__ import annotations

import torch

from isoclinic.datasets.cases import _points
from isoclinic.errors import InputError
from isoclinic.exchange._itk_transform import read_transform, write_transform
from isoclinic.geometry import se3
from raising import raises


def test_a_text_transform_that_is_not_utf_8(tmp_path):
    path = tmp_path / "a.tfm"
    write_transform(path, torch.eye(4, dtype=torch.float64))
    path.write_bytes(path.read_bytes().replace(b"AffineTransform", b"Affine\xffTransform"))
    with raises(InputError, "exchange.wrong-kind", "a.tfm"):
        read_transform(path)


def test_whole_numbers_too_large_for_a_float():
    huge = [[10**400, 0, 0, 0], [0, 1, 0, 0], [0, 0, 1, 0], [0, 0, 0, 1]]
    with raises(InputError, "geometry.invalid-value", "view", "4x4"):
        se3.as_poses(huge, "view")
    with raises(InputError, "dataset.invalid-value", "landmarks"):
        _points([[10**400, 0, 0]], "landmarks")
