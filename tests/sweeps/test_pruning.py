"""Who is ended early: those below the median of their like, and sure losers over seeds."""

import math

import pytest

from dro_jax.errors import ConfigError
from dro_jax.sweeps.axes import Files, Grid, Seeds
from dro_jax.sweeps.pruning import Curve, reason_to_end
from dro_jax.sweeps.search_checks import check_logged, check_stage
from dro_jax.sweeps.sweep import Pruning, Search, Stage

MEDIAN = Pruning("eval/loss", startup_trials=3)


def curve(tau, points, objective="DRO-V", seed=0, state="complete"):
    values = {"objective": objective, "TAU": tau, "RANDOM_SEED": seed}
    return Curve(values, "RANDOM_SEED", state, points)


def own(points, **changes):
    return curve(9.0, points, state="running", **changes)


THREE = [curve(n, {10: float(n), 20: float(n) / 2}) for n in (1, 2, 3)]


def test_a_trial_above_the_median_at_its_step_is_ended_with_the_numbers():
    reason = reason_to_end(MEDIAN, own({10: 2.5}), THREE, 10)
    assert reason == (
        "at step 10 its best eval/loss, 2.5, is above the median of 3 trials, 2"
    )
    assert reason_to_end(MEDIAN, own({10: 1.9}), THREE, 10) is None
    # Its best so far counts, as of Optuna's pruner, and the rivals at this very step.
    assert reason_to_end(MEDIAN, own({10: 0.9, 20: 5.0}), THREE, 20) is None
    assert reason_to_end(MEDIAN, own({10: 1.1, 20: 5.0}), THREE, 20) is not None
    # Nobody was measured at this one.
    assert reason_to_end(MEDIAN, own({15: 9.0}), THREE, 15) is None


def test_the_metric_has_its_own_direction():
    up = Pruning("eval/sampled/reward", "maximize", startup_trials=3)
    assert reason_to_end(up, own({10: 2.5}), THREE, 10) is None
    reason = reason_to_end(up, own({10: 1.5}), THREE, 10)
    assert reason == (
        "at step 10 its best eval/sampled/reward, 1.5, is below the median of 3 trials, 2"
    )


def test_losses_of_another_objective_say_nothing():
    kto = [curve(n, {10: 0.1}, objective="KTO") for n in range(5)]
    assert reason_to_end(MEDIAN, own({10: 0.5}), [*kto, *THREE], 10) is None
    # Where they shall: Optuna's pruner over the whole study.
    everybody = Pruning("eval/loss", startup_trials=3, within=())
    assert reason_to_end(everybody, own({10: 0.5}), [*kto, *THREE], 10) is not None


def test_other_seeds_of_the_same_setting_are_no_rivals():
    same = [curve(9.0, {10: 0.1}, seed=n) for n in range(1, 6)]
    assert reason_to_end(MEDIAN, own({10: 2.5}), same, 10) is None


def test_a_few_are_let_run_first_and_so_are_the_first_steps():
    bad = own({10: 9.0})
    assert reason_to_end(MEDIAN, bad, THREE[:2], 10) is None
    running = [curve(4, {10: 0.0}, state=s) for s in ("running", "pruned", "failed")]
    assert reason_to_end(MEDIAN, bad, [*THREE[:2], *running], 10) is None
    late = Pruning("eval/loss", startup_trials=3, warmup_steps=20)
    assert reason_to_end(late, bad, THREE, 10) is None
    assert reason_to_end(late, own({10: 9.0, 20: 9.0}), THREE, 20) is not None


def test_what_is_no_number():
    reason = reason_to_end(MEDIAN, own({10: math.nan}), THREE, 10)
    assert reason == "eval/loss was never a number up to step 10"
    # Once one: the last is passed over.
    assert reason_to_end(MEDIAN, own({10: 0.4, 20: math.nan}), THREE, 20) is None
    # A rival's is left out of the median.
    others = [*THREE, curve(4, {10: math.nan})]
    assert reason_to_end(MEDIAN, own({10: 1.9}), others, 10) is None


WILCOXON = Pruning("eval/loss", method="wilcoxon", startup_trials=5)
# Seeds differ more than settings do: pairs tell what means do not.
BEST = [curve(1.0, {10: float(seed)}, seed=seed) for seed in range(5)]


def worse(by, seeds=4):
    return [
        curve(9.0, {10: seed + by * (1 + seed / 9)}, seed=seed) for seed in range(seeds)
    ]


def test_a_setting_that_is_worse_over_all_seeds_is_ended_at_the_fourth():
    *earlier, last = worse(0.05)
    reason = reason_to_end(WILCOXON, last, [*earlier, *BEST], 10)
    assert reason == (
        "at step 10 eval/loss of its setting, 1.558 over 4 seeds, is worse than the best "
        "setting's, 1.5 (signed-rank test, p < 0.1)"
    )
    # By hand: 4 of 4 pairs worse, p = 1/16. Of 3 it is 1/8, and 0.1 is not reached.
    *earlier, last = worse(0.05, seeds=3)
    assert reason_to_end(WILCOXON, last, [*earlier, *BEST], 10) is None
    better = [curve(9.0, {10: seed - 0.05}, seed=seed) for seed in range(4)]
    assert reason_to_end(WILCOXON, better[3], [*better[:3], *BEST], 10) is None


def test_a_setting_is_compared_with_those_that_have_its_seeds():
    *earlier, last = worse(0.05)
    assert reason_to_end(WILCOXON, last, [*earlier, *BEST[:3]], 10) is None
    other = [curve(1.0, {10: float(s)}, seed=s, objective="KTO") for s in range(5)]
    assert reason_to_end(WILCOXON, last, [*earlier, *other], 10) is None
    infinite = [curve(9.0, {10: math.inf}, seed=s) for s in range(4)]
    assert reason_to_end(WILCOXON, infinite[3], [*infinite[:3], *BEST], 10) is None


AXES = (
    Files("objective", {"DRO-V": "dro_v.gin"}),
    Grid("TAU", (1, 2)),
    Seeds(range(4)),
)


def stage(**changes):
    return Stage("policies", ["run.gin"], axes=AXES, **changes)


@pytest.mark.parametrize(
    ("settings", "words"),
    [
        ({"pruning": Pruning("x", method="mean")}, "use median or wilcoxon"),
        ({"pruning": Pruning("x", direction="up")}, "use maximize or minimize"),
        ({"pruning": Pruning("x", warmup_steps=-1)}, "warmup_steps = -1"),
        ({"pruning": Pruning("x", startup_trials=0)}, "startup_trials = 0"),
        ({"pruning": Pruning("x", within=("objektive",))}, "axes are objective, TAU"),
        (
            {"pruning": Pruning("x", method="wilcoxon", p_threshold=0.05)},
            (
                "cannot come below p = 0.0625, which is not under p_threshold = 0.05: give "
                "sweeps.Seeds 5 values"
            ),
        ),
        (
            {"pruning": Pruning("x", method="wilcoxon", p_threshold=2)},
            "between 0 and 1",
        ),
        ({"pruning": Pruning("x", within="TAU")}, r"give \['TAU'\]"),
        ({"pruning": "median"}, "set @sweeps.Pruning()"),
        ({"search": "tpe"}, "set @sweeps.Search()"),
        ({"search": Search(0)}, "num_trials = 0"),
        ({"search": Search(3, sampler="grid")}, "use random or tpe or qmc"),
        ({"search": Search(3, "win_rate/people")}, "known only when all runs are done"),
        ({"search": Search(3, direction="min")}, "Search.direction = 'min'"),
        ({"search": Search(3, startup_trials=True)}, "startup_trials = True"),
    ],
)
def test_settings_that_cannot_be_used(settings, words):
    with pytest.raises(ConfigError, match=words):
        check_stage(stage(**settings))


def test_settings_that_can():
    check_stage(stage(pruning=WILCOXON, search=Search(3)))
    check_stage(Stage("one", [], pruning=MEDIAN))


def test_a_metric_that_never_comes_is_refused_at_the_first_evaluation():
    evaluated = {"loss": 1.0, "eval/loss": 1.0, "eval/kl": 0.1}
    asked = stage(pruning=Pruning("eval/los"))
    check_logged(asked, {"loss": 1.0})
    with pytest.raises(
        ConfigError,
        match=r"Pruning.metric = 'eval/los' is no name in the run's metrics.jsonl \(did "
        r"you mean eval/loss\?\); those there are eval/kl, eval/loss, loss",
    ):
        check_logged(asked, evaluated)
    with pytest.raises(ConfigError, match=r"Pruning.metric = 'lss'"):
        check_logged(stage(pruning=Pruning("lss")), {"loss": 1.0})
    with pytest.raises(ConfigError, match="Search.metric = 'eval/x'"):
        check_logged(stage(search=Search(3, "eval/x")), evaluated)
    # Of an evaluation of the run, which comes later.
    rewarded = stage(search=Search(3, "reward"), pruning=MEDIAN)
    check_logged(rewarded, evaluated)
    with pytest.raises(ConfigError, match="Search.metric = 'reward'"):
        check_logged(rewarded, evaluated, is_evaluated=False)
    with pytest.raises(ConfigError, match="Search.metric = 'rewrd'"):
        check_logged(stage(search=Search(3, "rewrd")), evaluated)
