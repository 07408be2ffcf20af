"""Orders are whole permutations, new in each epoch, and can be entered anywhere."""

import time

import numpy as np
import pytest

from dro_jax.data.ordering import Component, record_order
from dro_jax.errors import ConfigError

ONE = (Component("one", 7),)
TWO = (Component("one", 7, rate=3.0), Component("two", 5, rate=1.0))


def _order(components, **settings):
    return record_order(
        components, **{"shuffle": True, "seed": 0, "num_epochs": None, **settings}
    )


def _take(components, count, start=0, **settings):
    return _order(components, **settings).places(start, count).tolist()


def test_every_epoch_is_a_permutation_of_its_own():
    places = np.array(_take(ONE, 70)).reshape(10, 7)
    assert (np.sort(places) == np.arange(7)).all()
    assert len({tuple(epoch) for epoch in places}) == 10


def test_permutations_are_even():
    # Each of 7 places is equally likely for each record: 600 epochs, mean 600 / 7 = 86,
    # standard deviation 8.6; the largest of 49 counts stays within 5 of these.
    places = np.array(_take(ONE, 4200)).reshape(600, 7)
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
    rest = _take(components, max(60 - start, 0), start, num_epochs=num_epochs)
    assert rest == whole[start:]


@pytest.mark.parametrize("start", [4095, 4096, 10_000])
def test_entering_a_mixture_late_skips_what_came_before(start):
    whole = _take(TWO, start + 20)
    assert _take(TWO, 20, start) == whole[start:]
    assert _take(TWO, 9000, start - 3) == _take(TWO, start + 8997)[start - 3 :]


def test_mixtures_keep_their_rates_to_a_record_and_whole_epochs():
    places = np.array(_take(TWO, 5 * 4096))
    assert ((places < 7).reshape(5, 4096).sum(1) == 3 * 1024).all()
    first, second = places[places < 7], places[places >= 7]
    assert (np.sort(first[:7000].reshape(1000, 7)) == np.arange(7)).all()
    assert (np.sort(second[:5000].reshape(1000, 5)) == np.arange(7, 12)).all()


def test_components_of_a_mixture_come_by_chance():
    # Of 20,480 neighbours, 3/4 · 1/4 begin with the first component and go on with the
    # second; their count has a standard deviation of less than 62.
    first = np.array(_take(TWO, 5 * 4096)) < 7
    changes = int((first[:-1] & ~first[1:]).sum())
    assert abs(changes - 20_480 * 3 / 16) < 5 * 62
    assert (first[:4096] != first[4096:8192]).any()


def test_unshuffled_components_of_a_mixture_keep_their_sources_order():
    places = np.array(_take(TWO, 5000, shuffle=False))
    for begin, size in ((0, 7), (7, 5)):
        own = places[(begin <= places) & (places < begin + size)]
        assert (own == begin + np.arange(len(own)) % size).all()


@pytest.mark.parametrize(
    "rates", [(1 / 3, 1 / 7, 1e-9, 0.1), (1e6, 1.0, 0.0, 2.5), (0.1,) * 4]
)
def test_mixtures_are_found_at_once_anywhere(rates):
    components = [Component(f"{n}", 10**8, rate) for n, rate in enumerate(rates)]
    order, begun = _order(components), time.monotonic()
    far = 10**9 - 10**9 % 4096
    places = order.places(far, 4096)
    assert time.monotonic() - begun < 0.5  # 1 ms; counting up to there takes minutes
    counts = np.bincount(places // 10**8, minlength=4)
    shares = np.array(rates) / sum(rates)
    np.testing.assert_allclose(counts, 4096 * shares, atol=2)
    assert len(np.unique(places)) == 4096


@pytest.mark.parametrize("rates", [(0, 0), (1, -1), (1, float("nan"))])
def test_rates_that_say_nothing_are_refused_where_they_count(rates):
    components = [Component(f"{n}", 5, rate) for n, rate in enumerate(rates)]
    with pytest.raises(ConfigError, match=r"mixing rates are 0 [01], 1 "):
        _order(components)
    assert len(_take(components, 10, num_epochs=1)) == 10


def test_orders_are_pinned():
    # A run that is not through its epochs goes on in the same ones after an upgrade;
    # who changes them changes ORDER, which refuses it.
    assert _take(ONE, 14) == [2, 4, 1, 0, 3, 5, 6, 0, 2, 5, 4, 3, 1, 6]
    mixed = [4, 11, 1, 7, 5, 3, 2, 3, 2, 1, 5, 6, 10, 11]
    assert _take(TWO, 14, 4090) == mixed
    both = [9, 3, 2, 10, 1, 11, 0, 7, 6, 5, 8, 4, 11, 10]
    assert _take(TWO, 14, num_epochs=2) == both
