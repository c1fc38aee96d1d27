"""Damaged numbers and bytes in files of poses are errors about the file."""

from __future__ import annotations

import pytest
import torch

from isoclinic.datasets.cases import _points
from isoclinic.errors import InputError
from isoclinic.exchange._itk_transform import read_transform, write_transform
from isoclinic.geometry import se3


def test_a_text_transform_that_is_not_utf_8(tmp_path):
    path = tmp_path / "a.tfm"
    write_transform(path, torch.eye(4, dtype=torch.float64))
    path.write_bytes(path.read_bytes().replace(b"AffineTransform", b"Affine\xffTransform"))
    with pytest.raises(InputError, match=r"a\.tfm is not an ITK transform"):
        read_transform(path)


def test_whole_numbers_too_large_for_a_float():
    huge = [[10**400, 0, 0, 0], [0, 1, 0, 0], [0, 0, 1, 0], [0, 0, 0, 1]]
    with pytest.raises(InputError, match="view must be a 4x4 matrix of numbers"):
        se3.as_poses(huge, "view")
    with pytest.raises(InputError, match="landmarks must be a list of points"):
        _points([[10**400, 0, 0]], "landmarks")
