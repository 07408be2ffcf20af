"""Permutations that are functions of a key: whole, even, and unlike one another."""

import itertools
import math

import numpy as np
import pytest

from dro_jax.data.permutation import Permutations, keys_of, random_bits


def orders(size, epochs, seed=0, purpose="made"):
    """``[epochs, size]``."""
    permutations = Permutations(size, seed, purpose)
    places = np.tile(np.arange(size), epochs)
    numbers = np.repeat(np.arange(epochs), size)
    return permutations(places, numbers).reshape(epochs, size)


def excess(counts, outcomes):
    """How far counts are from even ones: χ², in its standard deviations from its mean."""
    counts = np.r_[counts, np.zeros(outcomes - len(counts))]
    mean = counts.sum() / outcomes
    chi2, free = ((counts - mean) ** 2 / mean).sum(), outcomes - 1
    return float((chi2 - free) / math.sqrt(2 * free))


@pytest.mark.parametrize("size", [*range(1, 18), 97, 100, 1024, 4096, 9973, 65_536])
def test_every_number_comes_once(size):
    found = orders(size, epochs=3)
    assert (np.sort(found, axis=1) == np.arange(size)).all()


def test_every_number_of_ten_million_comes_once():
    permutations, seen = Permutations(10**7, 5, "made"), np.zeros(10**7, bool)
    for first in range(0, 10**7, 10**6):
        seen[permutations(np.arange(first, first + 10**6), np.array([2]))] = True
    assert seen.all()


def test_sizes_beyond_int32_are_whole_where_one_looks():
    size = 10**12 + 39
    places = np.random.default_rng(0).integers(0, size, 100_000)
    found = Permutations(size, 0, "made")(places, np.array([3]))
    assert len(np.unique(found)) == len(np.unique(places))
    assert (0 <= found.min()) & (found.max() < size)
    assert excess(np.bincount(found * 50 // size), 50) < 5


@pytest.mark.parametrize("size", [2, 3, 4, 5])
def test_all_permutations_of_a_few_come_alike(size):
    found = orders(size, epochs=30_000)
    _, counts = np.unique(found, axis=0, return_counts=True)
    assert abs(excess(counts, math.factorial(size))) < 5


@pytest.mark.parametrize("size", [7, 9, 25, 100])
def test_places_are_even_and_neighbours_and_epochs_unlike(size):
    found = orders(size, epochs=10_000)
    cells = np.arange(size) * size + found  # which number at which place
    assert abs(excess(np.bincount(cells.ravel()), size * size)) < 5
    steps = (found[:, 1] - found[:, 0]) % size
    assert abs(excess(np.bincount(steps)[1:], size - 1)) < 5
    successive = found[:-1, 0] * size + found[1:, 0]
    assert abs(excess(np.bincount(successive), size * size)) < 5


@pytest.mark.parametrize("size", [1000, 65_521, 10**7])
def test_orders_do_not_resemble_one_another_or_the_source(size):
    places = np.arange(size)[:50_000]
    every = [places]
    for seed, purpose in itertools.product((0, 1), ("made", "other")):
        permutations = Permutations(size, seed, purpose)
        every += [permutations(places, np.array([epoch])) for epoch in (0, 1, 2**20)]
    correlations = np.corrcoef(every)[np.triu_indices(len(every), 1)]
    # Of independent orders they have a standard deviation of 1/√n.
    assert np.abs(correlations).max() < 5 / math.sqrt(len(places))
    for order in every[1:]:
        assert abs(np.corrcoef(order[1:], order[:-1])[0, 1]) < 5 / math.sqrt(
            len(places)
        )


def test_numbers_do_not_depend_on_what_is_asked_beside_them():
    permutations = Permutations(1000, 0, "made")
    places, epochs = np.arange(1000), np.arange(1000) % 7
    whole = permutations(places, epochs)
    for some in (slice(3, 4), slice(500, None, 3)):
        assert (permutations(places[some], epochs[some]) == whole[some]).all()


def test_the_generator_is_splitmix64():
    # The first outputs from 1234567 in the published test vectors of the generator.
    key = np.array([1234567], np.uint64)
    assert random_bits(key, np.arange(1, 6, dtype=np.uint64)).tolist() == [
        6457827717110365317,
        3203168211198807973,
        9817491932198370423,
        4593380528125082431,
        16408922859458223821,
    ]


def test_orders_are_pinned():
    # A run that is not through its epochs goes on in the same ones after an upgrade.
    assert keys_of(0, "made", 2).tolist() == [15749385591050208760, 5180173955080810048]
    assert orders(10, epochs=2).tolist() == [
        [8, 9, 3, 5, 6, 1, 0, 2, 7, 4],
        [2, 9, 3, 7, 8, 5, 1, 6, 4, 0],
    ]
