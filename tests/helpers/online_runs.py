"""Small runs that sample while they train, and an objective of rollouts."""

import dataclasses
from typing import ClassVar

import jax.numpy as jnp
import numpy as np
import small
from training_runs import run

from dro_jax.data.dataset import DatasetConfig
from dro_jax.errors import ServerError
from dro_jax.models.decoding import DecodingConfig
from dro_jax.objectives import DROV
from dro_jax.objectives.interface import Losses, Needs, Objective
from dro_jax.rewards.interface import Scores
from dro_jax.training.checkpoints import CheckpointConfig
from dro_jax.training.online.fresh_samples import FreshSamples

NETWORK = dataclasses.replace(small.NETWORK, vocab_size=256)
TRAIN = DatasetConfig(
    mixture_or_task_name="support_desk",
    module="dro_jax.tasks.support_desk.task",
    task_feature_lengths={"inputs": 12, "targets": 8},
    batch_size=8,
)
STEPS = 8  # four rounds of two batches


class Vowels:
    """A reward that looks at the text; at one call it fails."""

    name = "vowels"
    fingerprint = "vowels of the text"

    def __init__(self, at=None):
        self._at, self.calls = at, 0

    def __call__(self, prompts, responses):
        self.calls += 1
        if self.calls == self._at:
            raise ServerError("away")
        counts = [sum(c in "aeiou" for c in text) for text in responses]
        return Scores(np.array(counts, np.float64))


def fresh(reward=None, **changes):
    settings = {"num_prompts": 8, "rewards": reward or Vowels()}
    return FreshSamples(
        **(settings | {"decoding": DecodingConfig(num_samples=2)} | changes)
    )


def run_online(folder, settings=None, objective=None, **changes):
    return run(
        folder,
        objective or DROV(tau=0.5),
        **{
            "network": NETWORK,
            "steps": STEPS,
            "train_dataset_cfg": TRAIN,
            "log_period": 1,
            "checkpoint_cfg": CheckpointConfig(period=3),
            "fresh_samples": settings or fresh(),
        }
        | changes,
    )


@dataclasses.dataclass(frozen=True)
class OnRollouts(Objective):
    """Reads all that is known of rollouts; its losses tell whether that fits."""

    needs: ClassVar[Needs] = Needs(
        reference=True,
        value=True,
        token_logprobs=True,
        token_values=True,
        rollouts=True,
    )

    def of_rollouts(self, rollouts):
        kl = rollouts.token_logprobs - rollouts.reference_token_logprobs
        advantages = rollouts.rewards[:, None] - kl - rollouts.token_values
        return advantages * rollouts.token_weights, kl * rollouts.token_weights

    def __call__(self, trajectories):
        weights = trajectories.token_weights
        ratios = trajectories.token_logprobs - trajectories.old_token_logprobs
        values = trajectories.token_values - trajectories.old_token_values
        told = trajectories.rewards[:, None] - trajectories.token_returns
        told -= trajectories.old_token_values + trajectories.token_advantages
        terms = {
            "ratios": jnp.sum(jnp.abs(ratios) * weights, axis=1),
            "values": jnp.sum(jnp.abs(values) * weights, axis=1),
            "told": jnp.sum(jnp.abs(told) * weights, axis=1),
        }
        policy = -jnp.sum(
            trajectories.token_logprobs * trajectories.token_advantages, axis=1
        )
        error = trajectories.token_values - trajectories.rewards[:, None]
        return Losses(policy, jnp.sum(error**2 * weights, axis=1), terms)
