"""PPO from its samples: packed and sharded, in minibatch epochs, and bitwise again."""

import dataclasses
import re

import jax
import numpy as np
import pytest
import small
from training_runs import run

from dro_jax.data.dataset import DatasetConfig
from dro_jax.errors import ConfigError
from dro_jax.models.decoding import DecodingConfig
from dro_jax.objectives import NLL, PPO
from dro_jax.rewards.interface import Scores
from dro_jax.training.checkpoints import load_params
from dro_jax.training.metric_writers import read_metrics
from dro_jax.training.online.fresh_samples import FreshSamples
from dro_jax.training.sharding import MeshConfig

NETWORK = dataclasses.replace(small.NETWORK, vocab_size=256)
PACKED = DatasetConfig(
    mixture_or_task_name="support_desk",
    module="dro_jax.tasks.support_desk.task",
    task_feature_lengths={"inputs": 12, "targets": 8},
    batch_size=4,
    pack=True,
)
COMPILED = re.compile(r"Finished XLA compilation of jit\((\w+)\)")
HELD_OUT = dataclasses.replace(
    PACKED, split="validation", num_epochs=1, batch_size=64, shuffle=False
)


class Vowels:
    """A reward that looks at the text."""

    name = "vowels"
    fingerprint = "vowels of the text"

    def __call__(self, prompts, responses):
        counts = [sum(c in "aeiou" for c in text) for text in responses]
        return Scores(np.array(counts, np.float64))


def run_ppo(folder, reference, **changes):
    """Of one adaptive β: two epochs a round, on two devices with split parameters."""
    samples = FreshSamples(
        num_prompts=4,
        epochs=2,
        rewards=Vowels(),
        decoding=DecodingConfig(num_samples=2),
    )
    return run(
        folder,
        PPO(beta=0.1, kl_target=0.01, kl_horizon=100),
        network=NETWORK,
        **{
            "steps": 6,
            "initial_checkpoint_path": reference,
            "train_dataset_cfg": PACKED,
            "fresh_samples": samples,
            "mesh": MeshConfig(data=2, fsdp=True),
            "log_period": 1,
        }
        | changes,
    )


def log_of(folder):
    """Without what depends on the clock."""
    return [
        {name: x for name, x in record.items() if not name.endswith("per_second")}
        for record in read_metrics(folder)
    ]


@pytest.fixture(scope="module")
def reference(tmp_path_factory):
    """The policy that runs start from."""
    folder = tmp_path_factory.mktemp("reference")
    run(folder, NLL(), network=NETWORK, steps=1, train_dataset_cfg=PACKED)
    return str(folder)


def test_a_run_is_trained_and_goes_on_bitwise(tmp_path, reference, caplog):
    whole, parts = tmp_path / "whole", tmp_path / "parts"
    with jax.log_compiles():
        run_ppo(whole, reference)
    # Rounds share their programs: the objective's was compiled anew for each.
    programs = [own[1] for r in caplog.records if (own := COMPILED.search(r.message))]
    for name in ("sample", "of_policy", "of_rollouts", "token_logprobs", "given"):
        assert programs.count(name) == 1, name
    run_ppo(parts, reference, steps=3)
    run_ppo(parts, reference)
    log = log_of(whole)
    assert log_of(parts) == log
    leaves = [small.leaves(load_params(folder)) for folder in (parts, whole)]
    for a, b in zip(*leaves, strict=True):
        np.testing.assert_array_equal(a, b)
    first, last = log[0], log[-1]
    # Before the first update all that sampled is as it was.
    assert first["importance_weight"] == pytest.approx(1, abs=1e-4)
    assert first["kl/old"] < 1e-6 < last["kl/old"]
    assert first["importance_weight/clip_fraction"] == 0
    assert first["kl"] == pytest.approx(0, abs=1e-3) and first["kl_coefficient"] == (
        pytest.approx(0.1)
    )
    # β follows the KL of the round's samples from line to line.
    beta = 0.1
    for line in log:
        assert line["kl_coefficient"] == pytest.approx(beta, rel=1e-5)
        off = np.clip(line["kl"] / 0.01 - 1, -0.2, 0.2)
        beta *= 1 + off * line["num_trajectories"] / 100
    assert abs(last["kl"]) > 0.01
    for name in ("loss/policy", "loss/value", "entropy", "value/explained_variance"):
        assert np.isfinite(last[name]), name


def test_a_held_out_log_has_no_loss_and_ranks_nothing(tmp_path, reference):
    run_ppo(tmp_path, reference, steps=1, train_eval_dataset_cfg=HELD_OUT)
    (line,) = log_of(tmp_path)
    found = {name for name in line if name.startswith("eval/")}
    assert {"eval/kl", "eval/logps/policy", "eval/rewards/mean"} <= found
    assert not any("loss" in name for name in found)


def test_without_samples_it_is_refused(tmp_path, reference):
    with pytest.raises(ConfigError, match=r"PPO .*set train\.fresh_samples"):
        run_ppo(tmp_path, reference, fresh_samples=None)
