import pytest

from dro_jax.errors import ConfigError
from dro_jax.rewards import FunctionReward, TaskReward
from dro_jax.tasks.support_desk.reward import best_possible, satisfaction

MODULE = "dro_jax.tasks.support_desk.task"


def share_of_prompt(prompt, response):
    return len(response) / len(prompt)


def test_a_function_is_a_reward():
    reward = FunctionReward(share_of_prompt)
    found = reward(["abcd", "ab"], ["abc", ""])
    assert found.total.tolist() == [0.75, 0.0] and not found.parts
    assert reward.name == "true_reward"
    assert reward.fingerprint == FunctionReward(share_of_prompt).fingerprint
    assert reward.fingerprint != FunctionReward(max).fingerprint


def test_the_support_desks_own_reward():
    reward = TaskReward("support_desk", MODULE)
    prompt = "Hi, Emil here. Order M2 is not mine. Please help."
    best, score = best_possible(prompt)
    found = reward([prompt, prompt], [best, "no"])
    assert found.total.tolist() == [score, 0.0] and score == pytest.approx(1.0)
    assert reward.name == "true_reward"
    assert reward.fingerprint == FunctionReward(satisfaction).fingerprint


def test_a_task_without_one_is_refused():
    with pytest.raises(ConfigError, match="no program knows the true reward of 'hha'"):
        TaskReward("hha", "dro_jax.tasks.hha")(["p"], ["r"])
    with pytest.raises(ConfigError, match="support_desc"):
        TaskReward("support_desc", MODULE)(["p"], ["r"])
