"""The page docs/reference/errors.md, from the table of codes: `python docs/error_codes.py` writes it."""

from __future__ import annotations

from itertools import groupby
from pathlib import Path

from isoclinic.error_codes import CODES

PAGE = Path(__file__).parent / "reference" / "errors.md"
_HEAD = """# Error codes

Every error that isoclinic raises on purpose is an `isoclinic.IsoclinicError`: an `InputError` where a file or
an array cannot be used (the command line then ends with exit status 1), or a `UsageError` where parameters
make no sense (exit status 2). Its message says what is wrong and what to do, and may be reworded at any time.
Its `code` stays the same, and `error.parameters` names the parameters that the message speaks of. The error
line of a command ends with the code in brackets, as in `X-ray file a.dcm does not exist [xray.missing]`.

```python
import isoclinic

try:
    isoclinic.XRayOptions(sdd_mm=-1)
except isoclinic.UsageError as error:
    assert (error.code, error.parameters) == ("xray.invalid-value", ("sdd_mm",))
```

This page is made from `isoclinic.error_codes.CODES` by `python docs/error_codes.py`.
"""


def page() -> str:
    """The page as Markdown: a table for each area."""
    parts = [_HEAD]
    for area, codes in groupby(CODES, key=lambda code: code.partition(".")[0]):
        rows = "\n".join(f"| `{code}` | {CODES[code]} |" for code in codes)
        parts.append(f"## {area}\n\n| Code | What is wrong |\n| --- | --- |\n{rows}\n")
    return "\n".join(parts)


def main() -> None:
    """Write the page."""
    PAGE.parent.mkdir(exist_ok=True)
    PAGE.write_text(page(), encoding="utf-8")


if __name__ == "__main__":
    main()
