"""Draws: inside their ranges, the same whoever makes them, and none twice."""

import math

import pytest

from dro_jax.sweeps.axes import Integers, Uniform
from dro_jax.sweeps.drawing import Tried, best_of, draw
from dro_jax.sweeps.ranges import num_settings, settings
from dro_jax.sweeps.sweep import Search

TAU = Uniform("TAU", 0.01, 10, log=True)
RATE = Uniform("LEARNING_RATE", 1e-4, 1e-2, log=True)
SMALL = (Integers("LAYERS", 1, 3), Uniform("CLIP", 0.1, 0.3, step=0.1))


def distance(values):
    """Of a setting to τ = 0.3 and a rate of 2e-3, in the logarithm."""
    tau, rate = values["TAU"] / 0.3, values["LEARNING_RATE"] / 2e-3
    return math.log(tau) ** 2 + math.log(rate) ** 2


def searched(search, count, ranges=(TAU, RATE), before=()):
    tried = list(before)
    while len(tried) < count:
        values = draw(search, "DRO-V", ranges, tried)
        tried.append(Tried(values, "complete", distance(values)))
    return tried


@pytest.mark.parametrize("sampler", ["random", "tpe", "qmc"])
def test_a_search_that_goes_on_is_the_search_that_never_stopped(sampler):
    search = Search(8, sampler=sampler, direction="minimize", startup_trials=4)
    whole = searched(search, 8)
    assert searched(search, 8, before=whole[:5]) == whole
    for one in whole:
        assert 0.01 <= one.values["TAU"] <= 10
        assert 1e-4 <= one.values["LEARNING_RATE"] <= 1e-2
        assert len(f"{one.values['TAU']!r}".replace(".", "").lstrip("0")) <= 4
    # Half of a log range lies below its geometric mean.
    assert any(one.values["TAU"] < 0.3 for one in whole)
    assert any(one.values["TAU"] > 0.3 for one in whole)
    seed = Search(8, sampler=sampler, direction="minimize", seed=1)
    assert draw(seed, "DRO-V", (TAU, RATE), [])["TAU"] != whole[0].values["TAU"]
    assert draw(search, "KTO", (TAU, RATE), [])["TAU"] != whole[0].values["TAU"]


def test_tpe_comes_nearer_than_chance():
    means = {}
    for sampler in ("random", "tpe"):
        late = [
            one.value
            for seed in (1, 2, 3)
            for one in searched(
                Search(25, "x", "minimize", sampler, startup_trials=5, seed=seed), 25
            )[10:]
        ]
        means[sampler] = sum(late) / len(late)
    assert means["tpe"] < 0.8 * means["random"], means


def test_a_sequence_covers_the_range_evenly():
    tried = searched(Search(16, sampler="qmc"), 16, (TAU, RATE))
    # Of 16 points of a Sobol sequence each quarter of each axis holds four.
    quarter = [
        sum(
            math.floor(math.log10(one.values["TAU"] / 0.01) / 3 * 4) == n
            for one in tried
        )
        for n in range(4)
    ]
    assert quarter == [4, 4, 4, 4]


@pytest.mark.parametrize("sampler", ["random", "tpe", "qmc"])
def test_no_setting_is_drawn_twice_while_there_is_another(sampler):
    search, tried = Search(9, sampler=sampler, startup_trials=3), []
    for number in range(9):
        state = ["complete", "failed", "pruned", "running"][number % 4]
        value = 1.0 if state == "complete" else None
        tried.append(Tried(draw(search, "DRO-V", SMALL, tried), state, value))
    drawn = {tuple(round(x, 9) for x in one.values.values()) for one in tried}
    wanted = {tuple(round(x, 9) for x in one.values()) for one in settings(SMALL)}
    assert drawn == wanted
    assert len(wanted) == num_settings(SMALL) == 9


def test_how_many_settings_there_are():
    assert num_settings([TAU]) is None
    assert num_settings([SMALL[0], TAU]) is None
    assert num_settings([Integers("N", 1, 10, step=4)]) == 3
    assert num_settings([Uniform("X", 0.0, 0.3, step=0.1)]) == 4


def test_the_best_is_by_the_direction_and_complete():
    tried = [
        Tried({"TAU": 1.0}, "complete", 2.0),
        Tried({"TAU": 2.0}, "complete", 3.0),
        Tried({"TAU": 3.0}, "pruned"),
        Tried({"TAU": 4.0}),
    ]
    assert best_of(Search(4), tried).value == 3.0
    assert best_of(Search(4, direction="minimize"), tried).value == 2.0
    assert best_of(Search(4), tried[2:]) is None
