"""Names of the formats that poses are exchanged in, importable without any array library."""

from __future__ import annotations

from typing import Literal

FormatName = Literal["slicer", "itk", "opencv", "diffdrr", "nanodrr", "xreg", "rtk"]
