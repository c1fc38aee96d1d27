"""The decimal point in a process whose locale has a comma: in a process of its own, as locales are global."""

import os
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
import SimpleITK as sitk

# LC_NUMERIC of a locale of glibc whose decimal point is a comma, as this machine may have none.
_LC_NUMERIC = (
    bytes.fromhex(
        "1411032006000000200000002200000024000000280000002c000000300000002c002e00030300002c0000002e000000"
    )
    + b"UTF-8\0"
)
_PROGRAM = """
import locale, sys
try:
    locale.setlocale(locale.LC_NUMERIC, "de_DE.UTF-8")
except locale.Error:
    sys.exit(77)
assert locale.localeconv()["decimal_point"] == ","
from isoclinic import IsoclinicError, Volume
for path in sys.argv[1:]:
    try:
        print(*Volume.read(path).world_from_voxel.ravel().tolist())
    except IsoclinicError:
        print("refused")
    assert locale.localeconv()["decimal_point"] == ",", path
"""


@pytest.mark.slow
@pytest.mark.skipif(not sys.platform.startswith("linux"), reason="the locale is one of glibc")
def test_files_read_under_a_decimal_comma(tmp_path: Path) -> None:
    image = sitk.GetImageFromArray(np.arange(-1000, -1000 + 5 * 6 * 7, dtype=np.int16).reshape(5, 6, 7))
    image.SetSpacing((0.325, 3.5, 2.75))
    image.SetOrigin((-115.4, -97.7, -83.6))
    names = ["ct.nrrd", "ct.nhdr", "ct.mha", "ct.mhd", "ct.nii.gz"]
    for name in names:
        sitk.WriteImage(image, str(tmp_path / name))
    (tmp_path / "bad.nrrd").write_bytes((tmp_path / "ct.nrrd").read_bytes()[:300])
    folder = tmp_path / "locale" / "de_DE.UTF-8"
    folder.mkdir(parents=True)
    (folder / "LC_NUMERIC").write_bytes(_LC_NUMERIC)
    done = subprocess.run(
        [sys.executable, "-c", _PROGRAM, "bad.nrrd", *names],
        cwd=tmp_path,
        env={**os.environ, "LOCPATH": str(tmp_path / "locale")},
        capture_output=True,
        text=True,
        check=False,
    )
    if done.returncode == 77:
        pytest.skip("this C library takes no locale from LOCPATH")
    assert done.returncode == 0, done.stderr
    refused, *affines = done.stdout.splitlines()
    assert refused == "refused"  # and the comma is back all the same
    expected = np.diag([-0.325, -3.5, 2.75, 1.0])
    expected[:3, 3] = 115.4, 97.7, -83.6
    for name, text in zip(names, affines, strict=True):
        np.testing.assert_allclose(
            np.array(text.split(), float).reshape(4, 4), expected, atol=1e-4, err_msg=name
        )
