"""Choosing on one half and reporting on the other: what is best by chance stays level."""

import hashlib
import math
import pathlib

import numpy as np
import pytest
from swept_runs import Made, evaluated

from dro_jax.evaluation.halves import halves
from dro_jax.reporting.sweep_results import SweptTrial
from dro_jax.reporting.swept.choice import (
    BEST,
    LEVEL,
    best,
    budgets,
    chosen,
    marks,
    seeds_apart,
)
from dro_jax.reporting.swept.settings import Cell, Setting, SweptRun

IDS = [hashlib.sha256(f"{n}".encode()).hexdigest()[:16] for n in range(60)]


def setting(random, made, compared="KTO", seeds=(0, 1, 2), ids=IDS, **values):
    worth = np.zeros(len(ids))
    runs = [
        SweptRun(
            SweptTrial(
                0,
                "p",
                "x",
                {"SEED": seed, **values},
                seed_axis="SEED",
                state="complete",
            ),
            evaluated(ids, worth, made, random, "x", {}, None, words=2),
            pathlib.Path(),
        )
        for seed in seeds
    ]
    return Setting(compared, values, runs, len(runs))


def test_halves_share_nothing_and_are_the_same_for_all():
    one, two = halves(IDS)
    assert sorted(one + two) == sorted(IDS) and len(one) == len(two) == 30
    assert halves(reversed(IDS + IDS)) == (one, two)


def test_what_is_best_by_chance_does_not_look_better_than_it_is():
    """Eight settings that are all worth 0: the best on a half is worth 0 on the other."""
    random = np.random.default_rng(0)
    same, apart, covered = [], [], 0
    for _ in range(120):
        own = [
            setting(random, Made(0.0, noise=1.0), seeds=(0,), TAU=n) for n in range(8)
        ]
        cell = Cell({}, own)
        found = best(own, "reward", cell.choosing)
        same.append(found.mean("reward", cell.choosing))
        estimate = found.estimate("reward", cell.reporting)
        apart.append(estimate.value)
        covered += estimate.low <= 0 <= estimate.high
    # E[max of 8 means of 30] = 1.42/√30 = 0.26; the other half's error is 0.18/√120.
    assert np.mean(same) == pytest.approx(0.26, abs=0.04)
    assert np.mean(apart) == pytest.approx(0, abs=4 * 0.18 / 120**0.5)
    assert 0.88 <= covered / 120 <= 1


def test_lucky_seeds_are_on_both_halves_and_apart_they_are_not():
    random = np.random.default_rng(1)
    shared, apart = [], []
    for _ in range(60):
        made = Made(0.0, noise=0.3, luck=0.5)
        own = [setting(random, made, TAU=n) for n in range(6)]
        cell = Cell({}, own)
        shared.append(chosen(cell, "reward")["KTO"].mean("reward", cell.reporting))
        apart.append(seeds_apart(cell, "KTO", "reward").value)
    # E[max of 6] = 1.27 of 0.5/√3.
    assert np.mean(shared) == pytest.approx(0.36, abs=0.08)
    assert np.mean(apart) == pytest.approx(0, abs=4 * 0.3 / 60**0.5)


def test_seeds_apart_needs_seeds_and_a_choice():
    random = np.random.default_rng(0)
    single = Cell({}, [setting(random, Made(0.0), seeds=(0,), TAU=n) for n in (1, 2)])
    assert seeds_apart(single, "KTO", "reward") is None
    alone = Cell({}, [setting(random, Made(0.0))])
    assert seeds_apart(alone, "KTO", "reward") is None


def test_seeds_apart_is_not_of_another_setting():
    """The best has one seed yet: others' figures would pass for the luck of its seeds."""
    random = np.random.default_rng(0)
    others = [setting(random, Made(0.0), TAU=n) for n in (1, 2)]
    for seeds, is_told in (((0,), False), ((0, 1), True)):
        ahead = setting(random, Made(1.0), seeds=seeds, TAU=3)
        cell = Cell({}, [*others, ahead])
        assert (seeds_apart(cell, "KTO", "reward") is not None) == is_told


def test_within_a_budget_the_best_that_stays_in_it():
    random = np.random.default_rng(0)
    own = [
        setting(random, Made(reward, kl, noise=0.1), TAU=tau)
        for tau, reward, kl in ((1, 0.2, 0.5), (2, 0.5, 1.6), (3, 0.9, 6.0))
    ]
    cell = Cell({}, own)
    for most, tau in ((1, 1), (2, 2), (10, 3), (math.inf, 3)):
        assert chosen(cell, "reward", most_kl=most)["KTO"].values == {"TAU": tau}
    assert chosen(cell, "reward", most_kl=0.1) == {"KTO": None}
    # Of 2 and 5 the first that lets the second setting in; 10 would leave nothing out.
    assert budgets([cell], "reward")[-1] == 2
    assert len(budgets([cell], "reward")) == 2
    assert budgets([Cell({}, own[:1])], "reward") == []


def test_a_setting_without_the_figure_is_no_choice():
    random = np.random.default_rng(0)
    own = [setting(random, Made(0.0), TAU=1)]
    assert best(own, "win_rate/nobody", IDS) is None
    assert own[0].estimate("win_rate/nobody", IDS) is None


def test_the_best_is_marked_where_differences_tell():
    random = np.random.default_rng(0)
    names = {
        name: setting(random, Made(reward, noise=0.2), name)
        for name, reward in (("a", 0.5), ("b", 0.52), ("c", 0.0))
    }
    reporting = halves(IDS)[1]
    assert marks(names, "reward", reporting) == {"a": LEVEL, "b": LEVEL}
    names["b"] = setting(random, Made(0.9, noise=0.2), "b")
    assert marks(names, "reward", reporting) == {"b": BEST}
    assert marks({"a": names["a"]}, "reward", reporting) == {}
