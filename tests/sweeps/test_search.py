"""A search on a real storage; its runs are a formula."""

import dataclasses
import itertools
import math
import statistics

import pytest

from dro_jax.errors import ConfigError, Pruned
from dro_jax.sweeps.axes import Integers, Uniform
from dro_jax.sweeps.interface import PlannedTrial
from dro_jax.sweeps.search import Searches
from dro_jax.sweeps.sweep import Pruning, Search, Stage, Sweep
from dro_jax.sweeps.trial_store import open_store

TAU = Uniform("TAU", 0.01, 10, log=True)
SEARCH = Search(4, "eval/loss", "minimize", startup_trials=2)
STAGE = Stage("policies", ["run.gin"], axes=(TAU,), search=SEARCH)


@dataclasses.dataclass(frozen=True)
class Chosen:
    """A value of each axis, as `combinations.Combination`."""

    values: dict

    def drawn(self, values):
        return Chosen({**self.values, **values})


OBJECTIVES, SEEDS = ("DRO-V", "NLL"), (0, 1)
CHOSEN = [
    Chosen({"objective": objective, "RANDOM_SEED": seed})
    for objective, seed in itertools.product(OBJECTIVES, SEEDS)
]


def compose(stage, chosen):
    """A trial; a τ has no effect on NLL, which has none."""
    values = dict(chosen.values)
    if values["objective"] == "NLL":
        values.pop("TAU", None)
    text = " · ".join(f"{name} {x:.3g}" if isinstance(x, float) else f"{name} {x}"
                      for name, x in values.items())  # fmt: skip
    bindings = [f"{name} = {x!r}" for name, x in values.items()]
    return PlannedTrial(
        stage, text, text, values, ["run.gin"], bindings, seed_axis="RANDOM_SEED"
    )


def loss(values):
    """Least at τ = 0.3, the same for both seeds but for some noise."""
    noise = 0.01 * values["RANDOM_SEED"]
    return math.log(values.get("TAU", 1.0) / 0.3) ** 2 + noise


def opened(folder, stage=STAGE, chosen=CHOSEN):
    folder.mkdir(exist_ok=True)
    hooks = Searches(Sweep([stage]), {stage.name: chosen}, compose)
    store = open_store(None, folder, "sweep", hooks=hooks)
    store.add(hooks.planned(stage.name))
    return store, hooks


def run_all(store, most=1000):
    for _ in range(most):
        claimed = store.claim(STAGE.name)
        if claimed is None:
            return
        claimed.complete(loss(claimed.planned.values), steps=20, tokens=None)


def drawn(store, objective="DRO-V"):
    found = {}
    for trial in store.trials():
        if trial.values["objective"] == objective and "TAU" in trial.values:
            found.setdefault(trial.values["TAU"], []).append(trial)
    return found


def test_each_setting_is_drawn_once_and_run_with_all_seeds(tmp_path):
    store, hooks = opened(tmp_path)
    waiting = store.trials()
    assert [one.label for one in waiting[:3]] == [
        "DRO-V · draw 0 · seed 0",
        "DRO-V · draw 0 · seed 1",
        "objective NLL · RANDOM_SEED 0",
    ]
    # Nothing is drawn for NLL, so it is run once a seed, and not four times.
    assert store.unfinished(STAGE.name) == len(waiting) == 4 * 2 + 2
    run_all(store)
    settings = drawn(store)
    assert len(settings) == 4
    for tau, trials in settings.items():
        assert 0.01 <= tau <= 10
        assert [one.values["RANDOM_SEED"] for one in trials] == [0, 1]
        assert {one.state for one in trials} == {"complete"}
        assert trials[0].label == f"objective DRO-V · RANDOM_SEED 0 · TAU {tau:.3g}"
        assert trials[0].value == loss(trials[0].values)
    (tried,) = hooks.tried(store.study, STAGE.name).values()
    assert [one.values["TAU"] for one in tried] == [*settings]
    for one in tried:
        values = [loss({"TAU": one.values["TAU"], "RANDOM_SEED": n}) for n in SEEDS]
        assert one.value == statistics.fmean(values)
    # Optuna's own tools find the parameters.
    rows = [row for row in store.study.trials if "TAU" in row.params]
    assert [row.params["TAU"] for row in rows[::2]] == [*settings]


def test_a_search_taken_up_again_and_given_more_trials_goes_on(tmp_path):
    whole = opened(tmp_path / "whole", chosen=CHOSEN[:2])[0]
    run_all(whole)
    two = dataclasses.replace(SEARCH, num_trials=2)
    stage = dataclasses.replace(STAGE, search=two)
    store, _ = opened(tmp_path / "parts", stage, CHOSEN[:2])
    run_all(store, most=3)
    held = store.claim(STAGE.name)
    held.give_back()
    store, _ = opened(tmp_path / "parts", chosen=CHOSEN[:2])
    run_all(store)
    assert [*drawn(store)] == [*drawn(whole)]
    assert sum(one.state == "complete" for one in store.trials()) == 8
    assert opened(tmp_path / "parts", chosen=CHOSEN[:2])[0].unfinished(STAGE.name) == 0


def test_workers_that_come_at_once_draw_different_settings(tmp_path):
    store, _ = opened(tmp_path, chosen=CHOSEN[:1])
    other, _ = opened(tmp_path, chosen=CHOSEN[:1])
    held = [(store, other)[n % 2].claim(STAGE.name) for n in range(4)]
    assert store.claim(STAGE.name) is None
    assert len({one.planned.values["TAU"] for one in held}) == 4
    for one in held:
        one.complete(loss(one.planned.values), steps=20, tokens=None)
    assert len(drawn(store)) == 4


def test_what_failed_or_was_pruned_is_no_result_of_a_setting(tmp_path):
    store, hooks = opened(tmp_path, chosen=CHOSEN[:2])
    ends = [
        lambda one: one.fail("no memory"),
        lambda one: one.complete(2.0, steps=20, tokens=None),
        lambda one: one.prune("others do better"),
        lambda one: one.complete(1.0, steps=20, tokens=None),
        lambda one: one.fail("no memory"),
        lambda one: one.complete(None, steps=20, tokens=None),
        lambda one: one.complete(3.0, steps=20, tokens=None),
    ]
    for end in ends:
        end(store.claim(STAGE.name))
    (tried,) = hooks.tried(store.study, STAGE.name).values()
    assert [(one.state, one.value) for one in tried] == [
        ("complete", 2.0),
        ("pruned", None),
        ("failed", None),
        ("running", None),
    ]
    run_all(store)
    assert store.unfinished(STAGE.name) == 0


def test_a_space_of_few_settings_is_searched_once(tmp_path, capsys):
    few = dataclasses.replace(STAGE, axes=(Integers("TAU", 1, 3),))
    store, _ = opened(tmp_path, few, CHOSEN[:1])
    assert capsys.readouterr().err.count("TAU has only 3 settings") == 1
    run_all(store)
    assert sorted(drawn(store)) == [1, 2, 3]


def test_a_trial_is_ended_by_others_of_its_condition(tmp_path):
    pruning = Pruning("eval/loss", startup_trials=2, within=())
    stage = dataclasses.replace(STAGE, axes=(), search=None, pruning=pruning)
    hooks = Searches(Sweep([stage], conditions=("objective",)), {}, compose)
    store = open_store(None, tmp_path, "sweep", hooks=hooks)
    chosen = [
        Chosen({"objective": objective, "TAU": float(tau), "RANDOM_SEED": 0})
        for objective in ("KTO", "DRO-V")
        for tau in (1, 2, 3)
    ]
    store.add([compose(stage.name, one) for one in chosen])

    def measured(claimed, losses):
        for number, value in enumerate(losses, start=1):
            claimed.report(5 * number - 3, {"loss": 1.0})
            claimed.report(5 * number, {"loss": 1.0, "eval/loss": value})
        claimed.complete(None, steps=5 * number, tokens=None)

    for _ in range(2):
        measured(store.claim(stage.name), [0.1, 0.1])
    with pytest.raises(Pruned, match="at step 5 its best eval/loss, 0.2, is above the"):
        measured(store.claim(stage.name), [0.2, 0.2])
    for _ in range(2):
        measured(store.claim(stage.name), [5.0, 4.0])
    last = store.claim(stage.name)
    last.report(5, {"eval/loss": 4.5})
    with pytest.raises(ConfigError, match="those there are eval/los$"):
        last.report(7, {"eval/los": 4.5})
    last.give_back()
    # Whoever goes on tells it again, and its step 5 is known already.
    again = store.claim(stage.name)
    again.report(5, {"eval/loss": 6.0})
    row = store.study.trials[-1]
    assert row.intermediate_values == {5: 4.5}
    again.report(10, {"eval/loss": 4.0})
    again.complete(None, steps=10, tokens=None)


def test_what_an_earlier_version_of_a_sweep_ran_is_no_rival(tmp_path):
    pruning = Pruning("loss", startup_trials=1, within=())
    stage = dataclasses.replace(STAGE, axes=(), search=None, pruning=pruning)
    hooks = Searches(Sweep([stage]), {}, compose)
    store = open_store(None, tmp_path, "sweep", hooks=hooks)
    chosen = [
        Chosen({"objective": "KTO", "TAU": float(tau), "RANDOM_SEED": 0})
        for tau in (1, 2)
    ]
    before, now = (compose(stage.name, one) for one in chosen)
    store.add([before, now])
    first = store.claim(stage.name)
    first.report(5, {"loss": 0.1})
    first.complete(None, steps=5, tokens=None)
    second = store.claim(stage.name)
    hooks.keys = frozenset([now.key])
    second.report(5, {"loss": 0.2})
    hooks.keys = frozenset([before.key, now.key])
    with pytest.raises(Pruned, match="above the median of 1 trial"):
        second.report(5, {"loss": 0.2})
