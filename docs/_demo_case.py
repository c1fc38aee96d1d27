"""The case that pictures of results and pages are made of."""

from __future__ import annotations

import os
import shutil
import tempfile
from collections.abc import Iterator
from contextlib import chdir, contextmanager
from pathlib import Path

from isoclinic import cli
from isoclinic.cli import demo


@contextmanager
def demo_case() -> Iterator[None]:
    """A temporary folder, made current, with `xray.png` of the demo and its CT, `ct.nii.gz`."""
    chest_ct = demo._chest_ct()
    with tempfile.TemporaryDirectory() as folder, chdir(folder):
        cli.main(["demo", "--output", "demo"])
        for name in ("xray.png", "xray.json"):
            shutil.copy(Path("demo", "cranial", name), name)
        os.symlink(chest_ct, "ct.nii.gz")
        yield
