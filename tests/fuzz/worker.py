"""The process that reads damaged files: one line of JSON in for each, one out; what ends it ends nobody else.

    python tests/fuzz/worker.py

A line in is {"seed": NAME, "folder": PATH}; the line out has "outcome": "read", "refused" or "finding", and
what there is to say. Memory beyond what the imports take is limited, so that a file that claims gigabytes is
found.
"""

from __future__ import annotations

import json
import os
import re
import sys
import traceback
import warnings
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path

from isoclinic.errors import IsoclinicError

LARGEST_MEMORY = 2 << 30
# Said by decoders that were refused memory, instead of a MemoryError.
_NO_MEMORY = re.compile(r"(?i)bad_alloc|unable to allocate|failed to allocate|out of memory|cannot allocate")


def main(readers: Mapping[str, Callable[[Path], object]]) -> None:
    """Read what is asked for until the input ends."""
    answers = os.fdopen(os.dup(1), "w", buffering=1)
    os.dup2(2, 1)  # what libraries print must not look like an answer
    _limit_memory()
    warnings.simplefilter("ignore")
    answers.write(json.dumps({"outcome": "ready"}) + "\n")
    for line in sys.stdin:
        job = json.loads(line)
        try:
            readers[job["seed"]](Path(job["folder"]))
            answer = {"outcome": "read", "detail": ""}
        except IsoclinicError as error:
            wanted = [str(each) for each in _causes(error) if _is_memory(each)]
            outcome = "finding" if wanted else "refused"
            answer = {"outcome": outcome, "detail": f"memory: {error}" if wanted else str(error)}
        except BaseException as error:
            where = traceback.extract_tb(error.__traceback__)
            ours = [f for f in where if "/isoclinic/" in f.filename.replace(os.sep, "/")] or where
            place = f"{Path(ours[-1].filename).name}:{ours[-1].name}"
            detail = f"{type(error).__name__} in {place}: {str(error)[:300]}"
            answer = {"outcome": "finding", "detail": detail, "traceback": traceback.format_exc()}
        answers.write(json.dumps(answer) + "\n")


def _limit_memory() -> None:
    try:
        import resource
    except ImportError:  # Windows
        return
    with open("/proc/self/statm") as file:
        now = int(file.read().split()[0]) * resource.getpagesize()
    resource.setrlimit(resource.RLIMIT_AS, (now + LARGEST_MEMORY,) * 2)


def _causes(error: BaseException | None) -> Iterator[BaseException]:
    while error is not None:
        yield error
        error = error.__cause__ or error.__context__


def _is_memory(error: BaseException) -> bool:
    return isinstance(error, MemoryError) or bool(_NO_MEMORY.search(str(error)))


if __name__ == "__main__":
    sys.path.insert(0, str(Path(__file__).resolve().parents[1]))
    from fuzz.corpus import SEEDS

    main({seed.name: seed.read for seed in SEEDS})
