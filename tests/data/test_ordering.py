"""Orders are whole permutations, new in each epoch, and can be entered anywhere."""

import itertools

import numpy as np
import pytest

from dro_jax.data.ordering import Component, record_order

ONE = (Component("one", 7),)
TWO = (Component("one", 7, rate=3.0), Component("two", 5, rate=1.0))


def _take(components, count, **kwargs):
    order = record_order(components, **{"shuffle": True, "seed": 0, **kwargs})
    return [int(place) for place in itertools.islice(order.as_numpy_iterator(), count)]


def test_every_epoch_is_a_permutation_of_its_own():
    places = np.array(_take(ONE, 70, num_epochs=None)).reshape(10, 7)
    assert (np.sort(places) == np.arange(7)).all()
    assert len({tuple(epoch) for epoch in places}) == 10


def test_permutations_are_even():
    # Each of 7 places is equally likely for each record: 600 epochs, mean 600 / 7 = 86,
    # standard deviation 8.6; the largest of 49 counts stays within 5 of these.
    places = np.array(_take(ONE, 4200, num_epochs=None)).reshape(600, 7)
    counts = np.stack([(places == record).sum(0) for record in range(7)])
    assert np.abs(counts - 600 / 7).max() < 43


def test_without_shuffling_the_sources_order():
    assert _take(ONE, 99, shuffle=False, num_epochs=2) == [*range(7), *range(7)]


def test_finite_epochs_cover_all_components_whatever_their_rates():
    places = _take(TWO, 99, num_epochs=2)
    assert sorted(places[:12]) == sorted(places[12:]) == list(range(12))
    assert places[:12] != places[12:]
    assert _take(TWO, 99, shuffle=False, num_epochs=1) == list(range(12))


def test_seed_and_name_decide():
    first = _take(ONE, 14, num_epochs=2)
    assert first == _take(ONE, 14, num_epochs=2)
    assert first != _take(ONE, 14, num_epochs=2, seed=1)
    assert first != _take((Component("other", 7),), 14, num_epochs=2)


@pytest.mark.parametrize("components", [ONE, TWO], ids=["one", "two"])
@pytest.mark.parametrize("num_epochs", [None, 3])
@pytest.mark.parametrize("start", [1, 7, 20, 36, 40])
def test_entering_anywhere_gives_the_rest(components, num_epochs, start):
    whole = _take(components, 60, num_epochs=num_epochs)
    rest = _take(components, max(60 - start, 0), num_epochs=num_epochs, start=start)
    assert rest == whole[start:]


@pytest.mark.parametrize("start", [4095, 4096, 10_000])
def test_entering_a_mixture_late_skips_what_came_before(start):
    whole = _take(TWO, start + 20, num_epochs=None)
    assert _take(TWO, 20, num_epochs=None, start=start) == whole[start:]


def test_mixtures_draw_by_their_rates_and_keep_whole_epochs():
    places = np.array(_take(TWO, 5_000, num_epochs=None))
    share = (places < 7).mean()
    # Binomial with p = 3/4: standard deviation 0.006.
    assert abs(share - 0.75) < 0.03
    first = places[places < 7]
    assert (np.sort(first[:700].reshape(100, 7)) == np.arange(7)).all()
    second = places[places >= 7]
    assert (np.sort(second[:500].reshape(100, 5)) == np.arange(7, 12)).all()
