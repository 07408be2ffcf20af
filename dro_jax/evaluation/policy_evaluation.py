"""How good a policy's own responses are, where a program knows the true reward."""

import dataclasses
from collections.abc import Callable, Iterable, Sequence

import jax
import numpy as np

from dro_jax.data.inputs import Input
from dro_jax.data.interface import WHOLE, HostBatch, Shard
from dro_jax.evaluation.generation import as_trajectories, generate, response_text
from dro_jax.evaluation.placement import Placement
from dro_jax.evaluation.text_metrics import (
    bootstrap_mean_interval,
    distinct_n,
    mean_length,
)
from dro_jax.models.decoding import DecodingConfig
from dro_jax.models.model import FeedbackModel
from dro_jax.models.networks import Params

RewardFn = Callable[[str, str], float]


@dataclasses.dataclass(frozen=True)
class Evaluation:
    """A set of responses, measured.

    Attributes:
      name: whose responses they are.
      responses: the texts, in the order of the prompts.
      rewards: ``[N]`` their true rewards.
      kl: the estimate of KL(π‖π_ref) in nats a response, or None where there is none.
    """

    name: str
    responses: tuple[str, ...]
    rewards: np.ndarray
    kl: float | None = None

    @property
    def reward(self) -> float:
        """The mean true reward."""
        return float(np.mean(self.rewards))

    def to_json(self) -> dict:
        """The figures, as values that JSON holds."""
        return {
            "reward": self.reward,
            "reward_interval": list(bootstrap_mean_interval(self.rewards)),
            "kl": self.kl,
            "distinct_2": distinct_n(self.responses, 2),
            "length": mean_length(self.responses),
            "responses": len(self.responses),
        }


def evaluate_responses(
    name: str, prompts: Sequence[str], responses: Sequence[str], reward_fn: RewardFn
) -> Evaluation:
    """Measure given responses, for example the logged ones."""
    rewards = [reward_fn(*pair) for pair in zip(prompts, responses, strict=True)]
    return Evaluation(name, tuple(responses), np.array(rewards, np.float64))


def evaluate_policy(
    name: str,
    model: FeedbackModel,
    params: Params,
    reference_params: Params,
    inputs: Sequence[Input],
    batches: Iterable[HostBatch],
    vocabulary,
    reward_fn: RewardFn,
    config: DecodingConfig,
    placement: Placement,
    *,
    shard: Shard = WHOLE,
) -> Evaluation:
    """Sample one response a prompt and measure it; on all processes the same.

    ``KL(π‖π_ref) = E_{y∼π}[log π(y|x) − log π_ref(y|x)]`` is estimated by its mean over
    the samples, which is unbiased when responses are sampled at temperature 1 from all
    tokens.

    Args:
      name: whose responses they are.
      model: whose network both policies share.
      params: the policy, where the placement has it.
      reference_params: the reference policy, likewise.
      inputs: the prompts.
      batches: the same prompts in batches, in the same order; or one part of their rows.
      vocabulary: to read tokens as text.
      reward_fn: (prompt, response) to the true reward.
      config: how responses are chosen.
      placement: the devices.
      shard: which part of a batch's rows this process gives, of how many.
    """
    score = jax.jit(model.logprobs, out_shardings=placement.replicated)
    responses: list[str] = []
    log_ratios: list[float] = []
    policy = model.policy_params(params)
    for batch, decoded in generate(
        model, policy, batches, config, placement, shard=shard, eos_id=vocabulary.eos_id
    ):
        own = as_trajectories(batch, decoded, shard)
        with placement.context():
            placed = placement.put_batch(own, shard)
            reference = np.asarray(score(reference_params, placed))[:, 0]
        log_ratios += list(decoded.logprobs[:, 0] - reference)
        responses += [response_text(vocabulary, row[0]) for row in decoded.tokens]
    # The last batch is filled up with rows that count nowhere.
    del responses[len(inputs) :], log_ratios[len(inputs) :]
    prompts = [item.prompt for item in inputs]
    evaluation = evaluate_responses(name, prompts, responses, reward_fn)
    return dataclasses.replace(evaluation, kl=float(np.mean(log_ratios)))
