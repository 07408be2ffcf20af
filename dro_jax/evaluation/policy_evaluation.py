"""How good a policy's own responses are, where a program knows the true reward."""

import dataclasses
from collections.abc import Callable, Iterable, Sequence

import jax
import numpy as np

from dro_jax.data.inputs import Input
from dro_jax.evaluation.generation import (
    HostBatch,
    as_trajectories,
    generate,
    response_text,
)
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
) -> Evaluation:
    """Sample one response a prompt and measure it.

    ``KL(π‖π_ref) = E_{y∼π}[log π(y|x) − log π_ref(y|x)]`` is estimated by its mean over
    the samples, which is unbiased when responses are sampled at temperature 1 from all
    tokens.

    Args:
      name: whose responses they are.
      model: whose network both policies share.
      params: the policy.
      reference_params: the reference policy.
      inputs: the prompts.
      batches: the same prompts in batches, in the same order.
      vocabulary: to read tokens as text.
      reward_fn: (prompt, response) to the true reward.
      config: how responses are chosen.
    """
    score = jax.jit(model.logprobs)
    responses: list[str] = []
    log_ratios: list[float] = []
    policy = model.policy_params(params)
    # The last batch is filled up with rows without a trajectory, which count nowhere.
    for batch, decoded in generate(
        model, policy, batches, config, vocabulary.eos_id
    ):
        scored = as_trajectories(batch, decoded)
        present = scored["trajectory_weights"][:, 0] > 0
        reference = np.asarray(score(reference_params, scored))[:, 0]
        log_ratios += list((decoded.logprobs[:, 0] - reference)[present])
        texts = [response_text(vocabulary, row[0]) for row in decoded.tokens]
        responses += [t for t, here in zip(texts, present, strict=True) if here]
    prompts = [item.prompt for item in inputs]
    evaluation = evaluate_responses(name, prompts, responses, reward_fn)
    return dataclasses.replace(evaluation, kl=float(np.mean(log_ratios)))
