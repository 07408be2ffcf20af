"""The sweep on HHA and its fast variant: what they plan; no data is needed for it."""

import collections

import pytest

from dro_jax.cli.sweep_file import read_sweep
from dro_jax.cli.sweep_plan import Planner

FILE = "gin_configs/sweeps/hha.gin"
OBJECTIVES = (
    "NLL",
    "weighted BC",
    "R-LoL",
    "A-LoL",
    "A-LoL ref-free",
    "A-LoL seq",
    "A-LoL KL",
    "KTO",
    "DPO",
    "DRO-V",
    "DRO-P",
)


@pytest.fixture(scope="module")
def plans():
    return {
        fast: Planner(read_sweep([FILE], fast=fast)).plan() for fast in (False, True)
    }


@pytest.mark.parametrize("fast", [False, True])
def test_each_objective_has_the_same_seeds(plans, fast):
    plan = plans[fast]
    assert plan.stages == ["reference", "reward_model", "judge_model", "policies"]
    assert [len(plan.trials[name]) for name in plan.stages[:3]] == [1, 1, 1]
    seeds = (0,) if fast else (0, 1, 2)
    found = collections.Counter(
        (
            one.values["RANDOM_SEED"],
            one.values["objective"],
            one.values["LEARNING_RATE"],
        )
        for one in plan.trials["policies"]
    )
    assert found == {(seed, name, 3e-4): 1 for seed in seeds for name in OBJECTIVES}
    # A sweep that is stopped early has done the first seed of all.
    order = [one.values["RANDOM_SEED"] for one in plan.trials["policies"]]
    assert order == sorted(order)


def test_all_start_from_the_reference_and_say_what_they_do_not_read(plans):
    (reference,) = plans[False].trials["reference"]
    for one in plans[False].trials["policies"]:
        assert one.builds_on == {"reference": reference.key}
        has_value = one.values["objective"] == "DRO-V"
        assert list(one.unused) == ([] if has_value else ["VALUE_LEARNING_RATE"])
        fits = any("value_fit_dataset_cfg" in own for own in one.bindings)
        assert fits == one.values["objective"].startswith("A-LoL")


@pytest.mark.parametrize(("fast", "steps", "paired"), [(False, 160, 121), (True, 8, 6)])
def test_pairs_take_fewer_steps_for_as_many_tokens(plans, fast, steps, paired):
    for one in plans[fast].trials["policies"]:
        wanted = paired if one.values["objective"] == "DPO" else steps
        assert f"TRAIN_STEPS = {wanted}" in one.bindings


def test_reward_and_judge_share_neither_records_nor_network(plans):
    (reward,) = plans[False].trials["reward_model"]
    (judge,) = plans[False].trials["judge_model"]
    assert "MIXTURE_OR_TASK_NAME = 'hha_half_1'" in reward.bindings
    assert "MIXTURE_OR_TASK_NAME = 'hha_half_2'" in judge.bindings
    assert {"RANDOM_SEED = 1", "POOL = 'attention'"} <= {*judge.bindings}
    assert "t5_config.T5Config.num_encoder_layers = 1" in judge.bindings
    evaluation = plans[False].sweep.evaluation
    assert evaluation.bindings == {
        "REWARD_MODEL_DIR": "$reward_model",
        "JUDGE_MODEL_DIR": "$judge_model",
    }


def test_the_fast_variant_is_another_sweep_of_the_same_trials(plans):
    whole, fast = (
        {one.key for own in plan.trials.values() for one in own}
        for plan in (plans[False], plans[True])
    )
    assert len(whole) == 3 + 11 * 3
    assert len(fast) == 3 + 11
    assert not whole & fast  # in one folder neither takes the other's
