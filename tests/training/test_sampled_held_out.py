"""Responses sampled at each evaluation: the same figures however a run was interrupted."""

import dataclasses
import json
import os
import signal

import numpy as np
import pytest
import small
import training_runs as array_runs
from training_runs import optimizer, run

from dro_jax.data.dataset import DatasetConfig
from dro_jax.errors import ConfigError, ServerError
from dro_jax.evaluation.evaluated_run import EvaluatedRun
from dro_jax.evaluation.sampled_evaluation import SampledEvaluation
from dro_jax.models.decoding import DecodingConfig
from dro_jax.rewards.interface import Scores
from dro_jax.training.checkpoints import CheckpointConfig, load_params
from dro_jax.training.metric_writers import read_metrics
from dro_jax.training.preemption import Preempted
from dro_jax.training.sharding import MeshConfig

NETWORK = dataclasses.replace(small.NETWORK, vocab_size=256)
TRAIN = DatasetConfig(
    mixture_or_task_name="support_desk",
    module="dro_jax.tasks.support_desk.task",
    task_feature_lengths={"inputs": 12, "targets": 8},
)
HELD_OUT = dataclasses.replace(
    TRAIN, split="validation", shuffle=False, num_epochs=1, batch_size=128
)
STEPS, NUM_PROMPTS, SAMPLES = 6, 11, 2


class Vowels:
    """A reward that looks at the text, with one part; at one call it acts."""

    name = "vowels"
    fingerprint = "vowels of the text"

    def __init__(self, at=None, act=None):
        self._at, self._act, self.calls = at, act, 0

    def __call__(self, prompts, responses):
        self.calls += 1
        if self.calls == self._at:
            self._act()
        counts = np.array([sum(c in "aeiou" for c in text) for text in responses])
        return Scores(counts.astype(np.float64), {"odd": counts % 2.0})


def sampled(reward=None, **changes):
    settings = {"num_prompts": NUM_PROMPTS, "rewards": reward or Vowels()}
    decoding = DecodingConfig(num_samples=SAMPLES)
    return SampledEvaluation(
        **(settings | {"decoding": decoding, "num_texts": 3, "batch_size": 8} | changes)
    )


def run_sampled(folder, settings=None, **changes):
    return run(
        folder,
        **{
            "network": NETWORK,
            "steps": STEPS,
            "train_dataset_cfg": TRAIN,
            "train_eval_dataset_cfg": HELD_OUT,
            "log_period": 3,
            "eval_period": 3,
            "checkpoint_cfg": CheckpointConfig(period=100),
            "sampled_evaluation": settings or sampled(),
        }
        | changes,
    )


@pytest.fixture(scope="module")
def reference(tmp_path_factory):
    """A run from random parameters, and what it sampled."""
    folder = tmp_path_factory.mktemp("reference")
    run_sampled(folder)
    return folder


@pytest.fixture(scope="module")
def whole(tmp_path_factory, reference):
    """A run from that, which nobody disturbed."""
    folder = tmp_path_factory.mktemp("whole")
    run_sampled(folder, initial_checkpoint_path=str(reference))
    return folder


def texts(folder):
    lines = (folder / "samples.jsonl").read_text().splitlines()
    return [json.loads(line) for line in lines]


def timeless(folder):
    """The log without what depends on the clock."""
    return [
        {name: x for name, x in record.items() if not name.endswith("per_second")}
        for record in read_metrics(folder)
    ]


def test_every_evaluation_reports_what_was_sampled(reference):
    for record in read_metrics(reference):
        found = {n[13:]: x for n, x in record.items() if n.startswith("eval/sampled/")}
        assert found["reward"] == found["reward/vowels"] > 0
        assert 0 < found["reward/vowels/odd"] < 1
        assert found["length"] > 0 and found["empty"] < 1
        # Nothing was there to be compared with.
        assert "kl" not in found and not any("win_rate" in name for name in found)
    assert not (reference / "sampled_reference").exists()


def test_a_few_texts_are_kept_of_each(reference):
    found = texts(reference)
    assert [text["step"] for text in found] == [3] * 3 + [6] * 3
    assert [text["sample"] for text in found] == [0, 1, 0] * 2
    first = found[0]
    assert first["rewards"]["vowels"] == sum(c in "aeiou" for c in first["response"])
    # The same prompts and keys at every evaluation.
    assert [t["prompt_id"] for t in found[:3]] == [t["prompt_id"] for t in found[3:]]


def test_a_policy_that_does_not_move_is_its_reference(tmp_path, reference):
    run_sampled(
        tmp_path,
        initial_checkpoint_path=str(reference),
        optimizer=optimizer(rate=0.0),
        steps=3,
    )
    (record,) = read_metrics(tmp_path)
    kept = EvaluatedRun.read(tmp_path / "sampled_reference")
    assert len(kept.responses) == NUM_PROMPTS * SAMPLES
    assert record["eval/sampled/win_rate/vowels"] == 0.5
    assert record["eval/sampled/kl"] == pytest.approx(0, abs=1e-4)
    for name in ("reward", "distinct_2", "length", "cut"):
        assert record[f"eval/sampled/{name}"] == kept.figures[name].value


@pytest.mark.slow
def test_eight_devices_answer_as_one(tmp_path, reference, whole):
    """With layers and parameters spread over them."""
    run_sampled(
        tmp_path,
        initial_checkpoint_path=str(reference),
        mesh=MeshConfig(data=4, model=2, fsdp=True),
        steps=3,
    )
    one, eight = (
        EvaluatedRun.read(folder / "sampled_reference") for folder in (whole, tmp_path)
    )
    for a, b in zip(one.responses, eight.responses, strict=True):
        assert a.response == b.response and a.rewards == b.rewards
    (record,) = read_metrics(tmp_path)
    assert record["eval/sampled/win_rate/vowels"] is not None


def test_what_is_learnt_does_not_depend_on_it(tmp_path, reference, whole):
    run_sampled(
        tmp_path, initial_checkpoint_path=str(reference), sampled_evaluation=None
    )
    for a, b in zip(leaves(tmp_path), leaves(whole), strict=True):
        np.testing.assert_array_equal(a, b)
    names = {name for record in read_metrics(tmp_path) for name in record}
    assert names == {n for n in read_metrics(whole)[0] if "sampled" not in n}
    assert not (tmp_path / "samples.jsonl").exists()


def leaves(folder):
    return small.leaves(load_params(folder))


def terminate():
    os.kill(os.getpid(), signal.SIGTERM)


def kill():
    raise RuntimeError("killed")


def go_away():
    raise ServerError("the server of rewards is away")


# Calls of the reward in a run: one for the names, two batches of the reference, and two
# of each evaluation; a run that goes on has the reference's kept.
@pytest.mark.slow
@pytest.mark.parametrize(
    ("act", "error", "at", "saved"),
    [
        (terminate, Preempted, 4, 3),  # within the first evaluation
        (terminate, Preempted, 2, None),  # within the reference's
        (kill, RuntimeError, 7, None),  # within the second, which nothing preceded
        (go_away, ServerError, 6, 6),  # likewise, but it was no kill
    ],
)
def test_a_run_that_was_disturbed_is_the_whole_one(
    tmp_path, reference, whole, act, error, at, saved
):
    settings = {"initial_checkpoint_path": str(reference)}
    with pytest.raises(error):
        run_sampled(tmp_path, sampled(Vowels(at, act)), **settings)
    found = [path.name for path in tmp_path.glob("checkpoint_*")]
    assert found == ([f"checkpoint_{saved}"] if saved else [])
    run_sampled(tmp_path, **settings)
    for a, b in zip(leaves(tmp_path), leaves(whole), strict=True):
        np.testing.assert_array_equal(a, b)
    assert timeless(tmp_path) == timeless(whole)
    assert texts(tmp_path) == texts(whole)


def test_checkpoints_are_ranked_by_what_was_sampled(tmp_path, reference):
    rates = {"optimizer": optimizer(rate=0.3)}
    # The fewest vowels come first, as the policy becomes more of a policy.
    config = CheckpointConfig(
        period=3, keep=1, best_metric="eval/sampled/reward", best_mode="min"
    )
    settings = {"initial_checkpoint_path": str(reference), "steps": 9} | rates
    run_sampled(tmp_path, checkpoint_cfg=config, **settings)
    rewards = {r["step"]: r["eval/sampled/reward"] for r in read_metrics(tmp_path)}
    best = min(rewards, key=rewards.get)
    assert best == 3, "the newest is kept anyway"
    kept = {path.name for path in tmp_path.glob("checkpoint_*")}
    assert kept == {"checkpoint_3", "checkpoint_9"}


def test_a_part_of_a_reward_may_rank_and_a_misspelt_one_is_refused_at_once(tmp_path):
    with pytest.raises(ConfigError, match="Near names: eval/sampled/reward/vowels/odd"):
        run_sampled(
            tmp_path,
            checkpoint_cfg=CheckpointConfig(
                best_metric="eval/sampled/reward/vowel/odd"
            ),
        )
    assert not list(tmp_path.glob("checkpoint_*"))


def test_it_needs_held_out_texts(tmp_path):
    with pytest.raises(ConfigError, match="nothing is evaluated: set EVAL_DATASET"):
        run_sampled(tmp_path, train_eval_dataset_cfg=None)
    with pytest.raises(ConfigError, match="and ArrayDataset has no tasks with texts"):
        run(
            tmp_path,
            train_eval_dataset_cfg=array_runs.HELD_OUT,
            sampled_evaluation=sampled(),
        )


def test_settings_that_cannot_be_used_are_refused():
    for changes in ({"num_prompts": 0}, {"batch_size": 0}, {"num_texts": -1}):
        with pytest.raises(ConfigError, match=next(iter(changes))):
            SampledEvaluation(**changes)
    with pytest.raises(ConfigError, match="a name of its own"):
        SampledEvaluation(rewards=[Vowels(), Vowels()])


def test_the_tasks_own_reward_counts_where_none_is_given(tmp_path):
    run_sampled(tmp_path, SampledEvaluation(num_prompts=NUM_PROMPTS), steps=3)
    (record,) = read_metrics(tmp_path)
    assert record["eval/sampled/reward"] == record["eval/sampled/reward/true_reward"]
