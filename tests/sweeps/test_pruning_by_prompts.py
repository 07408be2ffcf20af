"""A setting's later seeds are spared where its first is worse prompt by prompt."""

import pytest

from dro_jax.errors import ConfigError, Pruned
from dro_jax.evaluation.evaluated_run import Estimate, EvaluatedRun, SampledResponse
from dro_jax.sweeps.axes import Grid, Seeds
from dro_jax.sweeps.checks import check_sweep
from dro_jax.sweeps.interface import PlannedTrial
from dro_jax.sweeps.prompt_rewards import rewards_by_prompt
from dro_jax.sweeps.search import Searches
from dro_jax.sweeps.search_checks import check_stage
from dro_jax.sweeps.sweep import Evaluation, Pruning, Stage, Sweep
from dro_jax.sweeps.trial_store import open_store

PRUNING = Pruning(
    "reward", "maximize", "wilcoxon", "prompts", startup_trials=1, p_threshold=0.05
)
STAGE = Stage("policies", [], axes=[Grid("TAU", (1, 2, 3)), Seeds((0, 1))])


def evaluated(run, rewards):
    """Writes an evaluation, two responses to each prompt, of the same mean as given."""
    responses = [
        SampledResponse(
            f"{prompt:016x}", sample, "p", "r", 1, False, -1.0,
            rewards={"help": value + (0.1, -0.1)[sample], "length": 7.0},
        )
        for prompt, value in enumerate(rewards)
        for sample in (0, 1)
    ]  # fmt: skip
    figures = {"reward": Estimate(sum(rewards) / len(rewards))}
    EvaluatedRun("run", {}, tuple(responses), figures).write(run / "evaluations/e")


# Prompts differ far more than settings do: unpaired, nothing could be told.
BEST = [float(prompt) for prompt in range(12)]
WORSE = [x - 0.01 * (1 + prompt / 12) for prompt, x in enumerate(BEST)]
ALIKE = [x + (0.01, -0.01)[prompt % 2] for prompt, x in enumerate(BEST)]


def test_later_seeds_of_a_worse_setting_end_at_their_first_line(tmp_path):
    stage = Stage("policies", [], axes=STAGE.axes, pruning=PRUNING)
    hooks = Searches(Sweep([stage], evaluation=Evaluation()), {}, None)
    hooks.folder = tmp_path
    store = open_store(None, tmp_path, "sweep", hooks=hooks)
    store.add(
        [
            PlannedTrial(
                "policies", f"{tau} {seed}", f"TAU {tau} seed {seed}",
                {"TAU": tau, "RANDOM_SEED": seed}, [], [], seed_axis="RANDOM_SEED",
            )
            for seed in (0, 1)
            for tau in (1, 2, 3)
        ]
    )  # fmt: skip
    for rewards in (BEST, WORSE, ALIKE):
        claimed = store.claim("policies")
        # No seed of its setting is done, and none of another's says a word of it.
        claimed.report(5, {"loss": 1.0})
        number = len([one for one in store.trials() if one.state == "complete"])
        evaluated(tmp_path / store.trials()[number].folder, rewards)
        claimed.complete(None, steps=5, tokens=None)
    best, worse, alike = (store.claim("policies") for _ in range(3))
    best.report(5, {"loss": 1.0})
    with pytest.raises(
        Pruned,
        match=r"^reward of its setting, 5.485 over 12 prompts, is worse than the best "
        r"setting's, 5.5 \(signed-rank test, p < 0.05\)$",
    ):
        worse.report(5, {"loss": 1.0})
    alike.report(5, {"loss": 1.0})


def test_rewards_by_prompt(tmp_path):
    assert rewards_by_prompt(tmp_path / "none", "reward") == {}
    evaluated(tmp_path, [1.0, float("nan")])
    first = f"{0:016x}"
    assert rewards_by_prompt(tmp_path, "reward") == {first: 1.0}
    assert rewards_by_prompt(tmp_path, "reward/help") == {first: 1.0}
    assert rewards_by_prompt(tmp_path, "reward/length")[first] == 7.0
    with pytest.raises(
        ConfigError, match="there are reward, reward/help, reward/length"
    ):
        rewards_by_prompt(tmp_path, "reward/x")


@pytest.mark.parametrize(
    ("changes", "axes", "words"),
    [
        ({"over": "tokens"}, STAGE.axes, "use seeds or prompts"),
        ({"method": "median"}, STAGE.axes, "goes with method = 'wilcoxon'"),
        ({"metric": "eval/loss"}, STAGE.axes, "over prompts give 'reward'"),
        ({"direction": "minimize"}, STAGE.axes, "would end what earns most"),
        ({}, STAGE.axes[:1], "give sweeps.Seeds two values"),
    ],
)
def test_settings_that_cannot_be_used(changes, axes, words):
    pruning = Pruning(**(vars(PRUNING) | {"within": ()} | changes))
    with pytest.raises(ConfigError, match=words):
        check_stage(Stage("policies", [], axes=axes, pruning=pruning))


def test_runs_must_be_evaluated():
    stage = Stage("policies", [], axes=STAGE.axes, pruning=PRUNING)
    check_stage(stage)
    with pytest.raises(ConfigError, match="these are not evaluated"):
        check_sweep(Sweep([stage]))
