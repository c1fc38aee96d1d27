"""When frames were taken: every attribute that says so, and those that say nonsense."""

from datetime import datetime, timedelta

import pytest
from pydicom.dataset import Dataset
from pydicom.tag import Tag

from isoclinic.sequences._times import clock_of, growing, run_times


def header(**attributes) -> Dataset:
    dataset = Dataset()
    for keyword, value in attributes.items():
        setattr(dataset, keyword, value)
    return dataset


STEP, VECTOR = Tag(0x0018, 0x1063), Tag(0x0018, 0x1065)


def test_equal_steps():
    times = run_times(header(FrameTime="66.5"), 4)
    assert times.seconds == pytest.approx((0, 0.0665, 0.133, 0.1995)) and times.clock is None
    assert not times.problem


def test_steps_of_their_own():
    """PS3.3 C.7.6.5.1.2: from the frame before; the first one's is 0."""
    times = run_times(header(FrameTimeVector=[0, 100, 50, 200]), 4)
    assert times.seconds == pytest.approx((0, 0.1, 0.15, 0.35))
    assert run_times(header(FrameTimeVector=[100, 50, 200]), 4).seconds == times.seconds
    # Some devices give the first frame a step, too; it is before the first frame.
    assert run_times(header(FrameTimeVector=[33, 100, 50, 200]), 4).seconds == times.seconds


def test_the_pointer_decides_between_both():
    both = {"FrameTime": "40", "FrameTimeVector": [0, 100, 100]}
    assert run_times(header(**both, FrameIncrementPointer=STEP), 3).seconds == pytest.approx((0, 0.04, 0.08))
    assert run_times(header(**both, FrameIncrementPointer=VECTOR), 3).seconds == pytest.approx((0, 0.1, 0.2))
    assert run_times(header(**both), 3).seconds == pytest.approx((0, 0.1, 0.2))


@pytest.mark.parametrize(
    ("attributes", "words"),
    [
        ({"FrameTimeVector": [0, 100]}, "2 entries for 4 frames"),
        ({"FrameTimeVector": [0, 100, -5, 100]}, "not positive"),
        ({"FrameTimeVector": [0, 100, 0, 100]}, "not positive"),
        ({"FrameTime": "0"}, "FrameTime is 0 ms"),
        ({"FrameTime": "-40"}, "FrameTime is -40 ms"),
    ],
)
def test_steps_that_cannot_be(attributes, words):
    times = run_times(header(**attributes), 4)
    assert times.seconds is None and words in times.problem


def test_nothing_said_is_no_problem():
    times = run_times(header(), 4)
    assert (times.seconds, times.clock, times.problem) == (None, None, "")


def test_the_clock_of_the_first_frame():
    begun = {"AcquisitionDate": "20240229", "AcquisitionTime": "235959.5", "FrameDelay": "250"}
    times = run_times(header(**begun, FrameTime="500"), 3)
    assert times.clock == tuple(
        datetime(2024, 2, 29, 23, 59, 59, 750_000) + timedelta(seconds=0.5 * i) for i in range(3)
    )
    assert times.seconds == (0, 0.5, 1.0)


def enhanced(*moments: str) -> Dataset:
    groups = []
    for moment in moments:
        content, group = Dataset(), Dataset()
        content.FrameReferenceDateTime = moment
        group.FrameContentSequence = [content]
        groups.append(group)
    return header(PerFrameFunctionalGroupsSequence=groups)


def test_enhanced_objects_date_every_frame():
    times = run_times(enhanced("20240101120000.000", "20240101120000.125", "20240101120001.5"), 3)
    assert times.seconds == (0, 0.125, 1.5)
    assert times.clock is not None and times.clock[1] == datetime(2024, 1, 1, 12, 0, 0, 125_000)
    assert "does not grow" in run_times(enhanced("20240101120001", "20240101120000"), 2).problem


@pytest.mark.filterwarnings("ignore:Invalid value for VR")
def test_a_date_that_is_none_leaves_all_without():
    assert run_times(enhanced("20240101120001", "yesterday"), 2).seconds is None


def test_clocks():
    names = ("AcquisitionDate", "AcquisitionTime")
    assert clock_of(header(AcquisitionDate="20240102", AcquisitionTime="0304"), names) == datetime(
        2024, 1, 2, 3, 4
    )
    assert clock_of(header(AcquisitionTime="030405.25"), names) == datetime(1900, 1, 1, 3, 4, 5, 250_000)
    assert clock_of(header(AcquisitionDate="20240102"), names) is None
    assert clock_of(header(AcquisitionDateTime="20240102030405+0100"), ("AcquisitionDateTime",)) == datetime(
        2024, 1, 2, 3, 4, 5
    )


def test_times_of_day_pass_midnight():
    late, early = datetime(1900, 1, 1, 23, 59, 59), datetime(1900, 1, 1, 0, 0, 1)
    assert growing([late, early]) == [late, early + timedelta(days=1)]
    assert growing([early, late]) == [early, late]
    assert growing([early, early]) is None
    assert growing([early, None]) is None
    dated = [each.replace(year=2024) for each in (late, early)]
    assert growing(dated) is None
