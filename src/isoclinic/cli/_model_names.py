"""Values of --model besides files."""

from __future__ import annotations

DEFAULT = "default"
"""The networks that come with the program."""
NONE = "none"
"""No networks at all."""
