import numpy as np
import pytest

from dro_jax.errors import DataError
from dro_jax.evaluation.evaluated_run import Estimate, EvaluatedRun, SampledResponse
from dro_jax.evaluation.reward_difference import reward_difference, reward_differences


def run(rewards_by_prompt, label="x"):
    responses = [
        SampledResponse(prompt, n, "?", "", 1, False, -1.0, rewards={"r": reward})
        for prompt, rewards in rewards_by_prompt.items()
        for n, reward in enumerate(rewards)
    ]
    return EvaluatedRun(label, {}, tuple(responses), {})


def test_a_difference_by_hand_and_by_a_slow_loop():
    # a: 2 - 1, b: (0 + 4)/2 - 0, c: 1 - 2; d was answered by one run only.
    first = run({"a": [2.0], "b": [0.0, 4.0], "c": [1.0], "d": [9.0]})
    second = run({"c": [2.0], "b": [0.0], "a": [1.0]})
    found = reward_difference(first, second, "r")
    assert found.prompts == 3
    assert found.difference.value == pytest.approx(2 / 3)
    rng = np.random.default_rng(0)
    means = np.array(
        [
            np.mean(np.array([1.0, 2.0, -1.0])[rng.integers(3, size=3)])
            for _ in range(2000)
        ]
    )
    low, high = np.quantile(means, [0.025, 0.975])
    assert (found.difference.low, found.difference.high) == pytest.approx((low, high))
    reached = np.sum(np.abs(means - 2 / 3) >= 2 / 3 - 1e-9)
    assert found.p_value == (1 + reached) / 2001


def test_the_p_value_is_near_the_t_tests():
    # The normal law: |difference| / standard error = 2 gives 0.0455.
    differences = np.random.default_rng(0).normal(size=400)
    differences += 2 * differences.std(ddof=1) / 20 - differences.mean()
    first = run({str(n): [x] for n, x in enumerate(differences)})
    second = run({str(n): [0.0] for n in range(400)})
    found = reward_difference(first, second, "r", num_resamples=4000)
    assert found.p_value == pytest.approx(0.0455, abs=0.015)


def test_like_runs_do_not_differ():
    same = run({"a": [1.0], "b": [2.0]})
    found = reward_difference(same, same, "r")
    assert (found.difference.value, found.p_value) == (0.0, 1.0)


def test_one_prompt_tells_nothing_of_chance():
    found = reward_difference(run({"a": [3.0]}), run({"a": [1.0]}), "r")
    assert (found.difference, found.p_value) == (Estimate(2.0), None)


def test_unusable_runs_are_refused():
    with pytest.raises(DataError, match="no prompt in common"):
        reward_difference(run({"a": [1.0]}), run({"b": [1.0]}), "r")
    with pytest.raises(DataError, match="of 'x' to prompt a has no reward 'other'"):
        reward_difference(run({"a": [1.0]}), run({"a": [1.0]}), "other")


def test_all_pairs_of_runs_that_have_the_first_reward():
    runs = [run({"a": [float(n)], "b": [0.0]}, label) for n, label in enumerate("xyz")]
    bare = EvaluatedRun(
        "bare", {}, (SampledResponse("a", 0, "?", "", 1, False, -1.0),), {}
    )
    found = reward_differences([*runs, bare])
    told = [(one.first, one.second, one.reward, one.difference.value) for one in found]
    assert told == [("y", "x", "r", 0.5), ("z", "x", "r", 1.0), ("z", "y", "r", 0.5)]
    assert reward_differences([bare]) == reward_differences([]) == []
