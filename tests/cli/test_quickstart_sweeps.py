"""The sweeps over logs of known true reward: what they plan."""

import collections
import functools

import pytest

from dro_jax.cli import gin_setup
from dro_jax.cli.configuration_diff import Configuration
from dro_jax.cli.sweep_file import read_sweep
from dro_jax.cli.sweep_plan import Planner

STRENGTHS = {"DRO-V": ("TAU", (0.1, 0.3, 1.0)), "DRO-P": ("TAU", (0.1, 0.3, 1.0))}
# Per file: objectives with the name and the values of their strength; other axes.
SWEEPS = {
    "values": (
        STRENGTHS | {"KTO": ("BETA", (0.1, 1.0))},
        {"RANDOM_SEED": (0, 1)},
        ("prompts alike", "generous and stern customers", "hard requests, poor agents"),
    ),
    "sensitivity": (
        {"DRO-V": ("TAU", (0.1, 1.0)), "KTO": ("BETA", (0.1, 1.0))},
        {"LEARNING_RATE": (1.5e-4, 6e-4), "RANDOM_SEED": (0,)},
        ("ordinary", "noisy", "poorer", "better", "short"),
    ),
}


@functools.cache
def plan(name, *, fast=False):
    file = f"gin_configs/sweeps/quickstart_{name}.gin"
    return Planner(read_sweep([file], fast=fast)).plan()


@pytest.mark.parametrize("name", SWEEPS)
def test_each_log_has_the_same_settings(name):
    objectives, axes, logs = SWEEPS[name]
    planned = plan(name)
    assert planned.sweep.conditions == ["log"]
    assert len(planned.trials["reference"]) == 1
    trials = planned.trials["policies"]
    expected = collections.Counter({("log", log): 0 for log in logs})
    for objective, (strength, values) in objectives.items():
        own = [one.values for one in trials if one.values["objective"] == objective]
        assert {strength, "log", "objective", *axes} == set(own[0]) == set(own[-1])
        found = collections.Counter(tuple(sorted(map(repr, x.items()))) for x in own)
        repeats = 1
        for axis, of_axis in (axes | {strength: values}).items():
            assert {x[axis] for x in own} == set(of_axis)
            repeats *= len(of_axis)
        assert set(found.values()) == {1} and len(own) == repeats * len(logs)
        expected.update(("log", log) for log in logs for _ in range(repeats))
    assert expected == collections.Counter(("log", x.values["log"]) for x in trials)
    assert list(dict.fromkeys(one.values["log"] for one in trials)) == list(logs)
    # A sweep that is stopped early has done all with the first seed.
    seeds = [one.values["RANDOM_SEED"] for one in trials]
    assert seeds == sorted(seeds)
    # All are asked the held-out prompts of one task, whatever they learn from.
    assert planned.sweep.evaluation.task == "support_desk"


@pytest.mark.parametrize("name", SWEEPS)
def test_the_fast_variants_run_each_objective_on_each_log_once(name):
    objectives, _, logs = SWEEPS[name]
    trials = plan(name, fast=True).trials["policies"]
    pairs = [(one.values["objective"], one.values["log"]) for one in trials]
    assert sorted(pairs) == sorted((x, log) for x in objectives for log in logs)
    assert not {one.key for one in trials} & {
        one.key for one in plan(name).trials["policies"]
    }


def test_runs_that_sample_are_compared_with_one_of_the_log():
    planned = plan("online")
    trials = planned.trials["policies"]
    names = list(dict.fromkeys(one.values["method"] for one in trials))
    assert names[0] == "DRO-V, log" and names[-1] == "PPO" and len(names) == 7
    assert [one.values["RANDOM_SEED"] for one in trials] == [0] * 7 + [1] * 7 + [2] * 7
    assert planned.sweep.compared == "method"
    quick = plan("online", fast=True).trials["policies"]
    assert [one.values["method"] for one in quick] == [names[0], names[1], names[-1]]


def test_the_recipe_scores_samples_by_the_task_s_own_program():
    """In the units of its thumbs; so a task without a program says that it has none."""

    def macros(*bindings):
        sweep = read_sweep(["gin_configs/recipes/a_lol.gin"], bindings)
        (own,) = Planner(sweep).plan().trials["policy"]
        read, typed = gin_setup.check(
            own.gin_files, [*own.bindings, "MODEL_DIR = 'run'"], "", (), tell=None
        )
        found = Configuration.of([*read.statements, *typed]).macros
        names = ("REWARD", "REFERENCE_REWARD_SCALE", "REFERENCE_REWARD_SHIFT")
        return [found[name] for name in names]

    assert macros() == [None, 2.0, -1.2537]
    # Who names what scores samples leaves the units of thumbs behind.
    reward, *units = macros("SCORER = 'dro_jax/gin_configs/rewards/length.gin'")
    assert reward is not None and units == [1.0, 0.0]
