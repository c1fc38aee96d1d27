"""What `import isoclinic` offers."""

import isoclinic


def test_every_public_name_is_listed_and_can_be_used():
    names = set(isoclinic.__all__)
    assert {"register", "Volume", "XRay", "write_result", "results"} <= names <= set(dir(isoclinic))
    for name in names:
        assert getattr(isoclinic, name) is not None


def test_a_name_that_there_is_not():
    assert not hasattr(isoclinic, "no_such_name")
