"""The deliberate faults of `make mutations` still fit the source; that command says who notices them."""

from dataclasses import replace
from pathlib import Path

import pytest

from mutations.faults import FAULTS
from mutations.run import faulty

ROOT = Path(__file__).resolve().parents[1]


@pytest.mark.parametrize("fault", FAULTS, ids=lambda fault: f"{fault.file}-{fault.name}")
def test_a_fault_can_be_made(fault):
    text = (ROOT / "src" / fault.file).read_text(encoding="utf-8")
    changed = faulty(text, fault)
    assert changed != text
    compile(changed, fault.file, "exec")  # a fault is a mistake in meaning, not one of syntax
    for test in fault.tests:
        path, *names = test.split("::")
        source = (ROOT / path).read_text(encoding="utf-8")
        assert all(f" {name.split('[')[0]}(" in source for name in names), test


def test_every_fault_is_one_of_its_own():
    assert len({fault.name for fault in FAULTS}) == len({(f.file, f.before, f.after) for f in FAULTS})
    assert len({fault.name for fault in FAULTS}) == len(FAULTS)


@pytest.mark.parametrize("text", ["a = 1\n", "a = 2\nb = 2\n"])
def test_what_is_not_there_once_is_an_error(text):
    fault = replace(FAULTS[0], before=" = 2", after=" = 3")
    with pytest.raises(ValueError, match=r"mend faults\.py"):
        faulty(text, fault)
