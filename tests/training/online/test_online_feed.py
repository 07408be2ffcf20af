"""Runs that sample: what they are trained on, and that kills change nothing of it."""

import dataclasses
import json

import numpy as np
import pytest
import small
from online_runs import NETWORK, TRAIN, OnRollouts, Vowels, fresh, run_online
from training_runs import run

from dro_jax.errors import CheckpointError, ConfigError, ServerError, TrainingError
from dro_jax.models.decoding import DecodingConfig
from dro_jax.models.value import ValueConfig
from dro_jax.objectives import DPO, NLL, QRPO
from dro_jax.rewards.interface import Scores
from dro_jax.training.before.reference_samples import ReferenceSamples
from dro_jax.training.checkpoints import CheckpointConfig, load_params
from dro_jax.training.metric_writers import read_metrics
from dro_jax.training.online.asked_prompts import AskedPrompts
from dro_jax.training.sharding import MeshConfig


def log_of(folder):
    """Without what depends on the clock."""
    return [
        {name: x for name, x in record.items() if not name.endswith("per_second")}
        for record in read_metrics(folder)
    ]


def assert_same(one, other):
    assert log_of(one) == log_of(other)
    leaves = [small.leaves(load_params(folder)) for folder in (one, other)]
    for a, b in zip(*leaves, strict=True):
        np.testing.assert_array_equal(a, b)


def rounds_in(folder):
    return sorted(path.name for path in (folder / "fresh_samples").iterdir())


@pytest.fixture(scope="module")
def reference(tmp_path_factory):
    """The policy that runs start from."""
    folder = tmp_path_factory.mktemp("reference")
    run(folder, NLL(), network=NETWORK, steps=1, train_dataset_cfg=TRAIN)
    return str(folder)


@pytest.fixture(scope="module")
def whole(tmp_path_factory, reference):
    """A run by DRO-V, which nobody disturbed."""
    folder = tmp_path_factory.mktemp("whole")
    run_online(folder, initial_checkpoint_path=reference)
    return folder


def test_rounds_of_fresh_samples_are_trained_on(whole):
    log = log_of(whole)
    assert [line["samples/total"] for line in log] == [16, 16, 32, 32, 48, 48, 64, 64]
    assert log[0]["samples/reward"] == log[1]["samples/reward"]
    # Two batches of eight rows are a round: what they earn is what was sampled.
    for first, second in zip(log[::2], log[1::2], strict=True):
        of_batches = (first["rewards/mean"] + second["rewards/mean"]) / 2
        assert of_batches == pytest.approx(first["samples/reward"], abs=1e-5)
    # The reference's log-probabilities of samples are those that the step starts from.
    assert log[0]["logratio/largest"] < 1e-4 < log[-1]["logratio/largest"]


def test_a_run_killed_within_a_round_is_the_whole_one(tmp_path, reference, whole):
    settings = {"initial_checkpoint_path": reference}
    run_online(tmp_path, steps=3, **settings)
    assert rounds_in(tmp_path) == ["round_000001.npz"]
    away = fresh(Vowels(at=2))  # in a later round, at whose start the state is kept
    with pytest.raises(ServerError):
        run_online(tmp_path, away, **settings)
    run_online(tmp_path, **settings)
    assert_same(tmp_path, whole)


def test_where_a_server_is_away_the_state_is_kept(tmp_path, reference, whole):
    settings = {"initial_checkpoint_path": reference}
    seldom = CheckpointConfig(period=100)
    with pytest.raises(ServerError):
        run_online(tmp_path, fresh(Vowels(at=4)), checkpoint_cfg=seldom, **settings)
    assert list(tmp_path.glob("checkpoint_*"))
    run_online(tmp_path, **settings)
    assert_same(tmp_path, whole)


class Huge(Vowels):
    """Whose square is infinite."""

    def __call__(self, prompts, responses):
        return Scores(np.full(len(responses), 1e30))


def test_a_rounds_last_step_is_refused_before_its_policy_answers(tmp_path, reference):
    """As any step; what its policy answers would only say that the model is broken."""
    rounds = fresh(Huge(), num_prompts=4)  # a batch each
    with pytest.raises(TrainingError, match="in the step from 0 to 1"):
        run_online(tmp_path, rounds, initial_checkpoint_path=reference, log_period=100)
    assert (tmp_path / "non_finite_step_0.json").exists()


def test_what_a_round_needs_is_asked_for(tmp_path, reference):
    settings = {"initial_checkpoint_path": reference}
    run_online(tmp_path, steps=3, **settings)
    with pytest.raises(CheckpointError, match="samples: 8 prompts.* → 9"):
        run_online(tmp_path, fresh(num_prompts=9), **settings)
    (tmp_path / "fresh_samples" / "round_000001.npz").unlink()
    with pytest.raises(CheckpointError, match=r"round_000001\.npz is missing"):
        run_online(tmp_path, **settings)


def test_a_round_does_not_ask_for_more_than_keys_tell_apart():
    with pytest.raises(ConfigError, match="255 times a round or more"):
        AskedPrompts(fresh(num_prompts=4_000_000), TRAIN).identity()


ALL = {  # packed rows, the log's and samples of a policy a round ago, reference moved
    "settings": fresh(
        num_prompts=5, epochs=2, lag=1, log_share=0.5, move_reference_every=2
    ),
    "train_dataset_cfg": dataclasses.replace(
        TRAIN,
        batch_size=4,
        pack=True,
        max_trajectories_per_row=4,
        task_feature_lengths={"inputs": 24, "targets": 16},
    ),
}


@pytest.mark.slow
def test_mixed_and_packed_with_a_lag_and_a_moved_reference_it_is_the_same_too(
    tmp_path, reference
):
    settings = ALL | {"initial_checkpoint_path": reference, "steps": 12}
    run_online(tmp_path / "whole", **settings)
    run_online(tmp_path / "killed", **settings | {"steps": 5})
    run_online(tmp_path / "killed", **settings)
    assert_same(tmp_path / "whole", tmp_path / "killed")
    log = log_of(tmp_path / "whole")
    assert log[-1]["samples/total"] > log[0]["samples/total"] == 10
    # What is kept of moved references is what checkpoints name.
    kept = [path.name for path in (tmp_path / "whole" / "moved_reference").iterdir()]
    assert kept and all(name.startswith("checkpoint_") for name in kept)


@pytest.mark.slow
def test_eight_devices_are_trained_as_one(tmp_path, reference, whole):
    """With layers and parameters spread over them."""
    mesh = MeshConfig(data=4, model=2, fsdp=True)
    run_online(tmp_path, initial_checkpoint_path=reference, mesh=mesh)
    for ours, its in zip(log_of(tmp_path), log_of(whole), strict=True):
        assert ours["samples/tokens"] == its["samples/tokens"]
        for name in ("loss", "kl", "samples/reward", "rewards/mean"):
            assert ours[name] == pytest.approx(its[name], rel=1e-4, abs=1e-4)


def test_groups_of_samples_come_best_first(tmp_path, reference):
    grouped = dataclasses.replace(TRAIN, group_size=3)
    settings = fresh(num_prompts=16, decoding=DecodingConfig(num_samples=3))
    run_online(
        tmp_path,
        settings,
        DPO(),
        train_dataset_cfg=grouped,
        initial_checkpoint_path=reference,
        steps=4,
    )
    log = log_of(tmp_path)
    assert log[-1]["samples/total"] == 96


def test_quantiles_of_samples_are_among_those_of_the_reference(tmp_path, reference):
    replies = dataclasses.replace(
        TRAIN, mixture_or_task_name="support_desk_replies", split="validation"
    )
    run_online(
        tmp_path,
        objective=QRPO(beta=0.5),
        train_dataset_cfg=replies,
        initial_checkpoint_path=reference,
        reference_samples=ReferenceSamples(
            DecodingConfig(num_samples=3), rewards=Vowels(), batch_size=50
        ),
        steps=2,
    )
    (path,) = tmp_path.glob("reference_samples/*/samples.jsonl")
    lines = map(json.loads, path.read_text().splitlines())
    own = {(line["prompt_number"], line["sample"]): line["reward"] for line in lines}
    drawn = np.load(tmp_path / "fresh_samples" / "round_000000.npz")
    wanted = [
        np.mean([own[place, number] <= reward for number in range(3)])
        for place, reward in zip(
            drawn["places"].tolist(), drawn["rewards"], strict=True
        )
    ]
    np.testing.assert_allclose(drawn["field/quantiles"], wanted, rtol=1e-6)
    assert len(set(wanted)) > 2
    assert all(np.isfinite(line["loss"]) for line in log_of(tmp_path))


def test_rollouts_say_what_the_policy_was_when_it_sampled(tmp_path, reference):
    run_online(
        tmp_path,
        fresh(num_prompts=4),
        OnRollouts(),
        value=ValueConfig(network="shared_head", granularity="token"),
        train_dataset_cfg=ALL["train_dataset_cfg"],
        initial_checkpoint_path=reference,
        steps=4,
    )
    log = log_of(tmp_path)
    assert log[0]["ratios"] == pytest.approx(0, abs=1e-4)
    assert log[0]["values"] == pytest.approx(0, abs=1e-4)
    assert all(line["told"] == pytest.approx(0, abs=1e-3) for line in log)
    # The second batch of a round is trained on by a policy that has moved.
    assert log[1]["ratios"] > 1e-3
