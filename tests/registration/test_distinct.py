"""Candidates on a line, where what must be kept can be seen."""

import torch

from isoclinic.registration._distinct import distinct

PLACES = torch.tensor([0.0, 0.4, 1.0, 1.3, 5.0])


def chosen(ranked, apart, keep=None):
    return distinct(ranked, lambda one, others: (PLACES[one] - PLACES[others]).abs(), apart, keep)


def test_the_better_one_of_two_near_ones_is_kept():
    assert chosen([0, 1, 2, 3, 4], 0.5) == [0, 2, 4]
    assert chosen([1, 0, 2, 3, 4], 0.5) == [1, 2, 4]


def test_what_is_as_far_as_the_limit_is_too_near():
    assert chosen([0, 2], 1.0) == [0]


def test_a_candidate_counts_only_against_those_kept():
    """1 is dropped for 0, and so does not stand in the way of 2."""
    assert chosen([0, 1, 2], 0.7) == [0, 2]


def test_no_more_than_asked_for():
    assert chosen([4, 0, 2], 0.5, keep=2) == [4, 0]
    assert chosen([4, 0], 0.5, keep=5) == [4, 0]
    assert chosen([], 0.5) == []
