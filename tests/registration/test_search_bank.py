"""What searches keep: the same tensor for the same key, and no more memory than allowed."""

import torch

from isoclinic.registration._search_bank import SearchBank
from isoclinic.rendering import pack
from phantoms import phantom

PACKED, OTHER = pack(phantom(0), (4, 4, 4)), pack(phantom(1), (4, 4, 4))


class Maker:
    def __init__(self, count=1000):
        self.count, self.made = count, 0

    def __call__(self):
        self.made += 1
        return torch.full((self.count,), float(self.made))


def test_makes_once_for_each_key_and_volume():
    bank, make = SearchBank(), Maker()
    first = bank.get(PACKED, ("a", 1), make)
    assert bank.get(PACKED, ("a", 1), make) is first and make.made == 1
    assert bank.get(PACKED, ("a", 2), make) is not first
    assert bank.get(OTHER, ("a", 1), make) is not first
    assert make.made == 3


def test_drops_what_was_not_asked_for_the_longest():
    bank, make = SearchBank(most_bytes=8000), Maker()
    for key in ("a", "b", "a", "c"):
        bank.get(PACKED, key, make)
    assert make.made == 3
    bank.get(PACKED, "a", make)
    assert make.made == 3, "it was asked for later than b"
    bank.get(PACKED, "b", make)
    assert make.made == 4


def test_what_is_larger_than_all_is_not_kept_and_drops_nothing():
    bank, small, large = SearchBank(most_bytes=8000), Maker(), Maker(3000)
    bank.get(PACKED, "a", small)
    for _ in range(2):
        bank.get(PACKED, "large", large)
    bank.get(PACKED, "a", small)
    assert (small.made, large.made) == (1, 2)
