import numpy as np
import pytest

from rareseg.pipeline.randomness import generator

ARGUMENTS = [(0, "order"), (1, "order"), (0, "patches"), (0, "order", 1), (0, "order", 0, 1), (0, "order", 2, 7)]


def numbers(*arguments):
    return generator(*arguments).integers(2**63, size=100).tolist()


def test_no_two_places_share_numbers_not_even_shifted_ones():
    drawn = [number for arguments in ARGUMENTS for number in numbers(*arguments)]
    assert len(set(drawn)) == len(drawn)


def test_equal_arguments_give_equal_numbers():
    assert numbers(3, "order", 5) == numbers(3, "order", 5, 0)


def test_numbers_stay_what_they_are():
    """Written down with NumPy 2.4: a change would move every result."""
    np.testing.assert_array_equal(generator(0, "order", 1).permutation(8), [1, 6, 5, 2, 7, 0, 3, 4])


def test_impossible_seeds_are_refused():
    with pytest.raises(ValueError, match=r"seed must be a whole number from 0 to 2\^64 - 1, got -1"):
        generator(-1, "order")
