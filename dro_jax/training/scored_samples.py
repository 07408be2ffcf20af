"""Samples of a policy for the prompts of a split, scored: on all processes the same."""

import functools
from collections.abc import Iterator, Sequence
from typing import Any, NamedTuple

import numpy as np

from dro_jax.data.different_prompts import DifferentPrompts
from dro_jax.data.prompt_batches import PlannedBatch
from dro_jax.errors import ConfigError
from dro_jax.evaluation.generation import response_text
from dro_jax.evaluation.placement import Placement
from dro_jax.evaluation.sample_rewards import SampleRewards
from dro_jax.evaluation.sampled_prompts import sampled_batches
from dro_jax.models.decoding import DecodingConfig
from dro_jax.models.model import FeedbackModel
from dro_jax.models.networks import Params
from dro_jax.training import hosts


class ScoredSamples(NamedTuple):
    """Responses to P prompts of a batch, n to each, on the host.

    Attributes:
      places: ``[P]`` the prompts' places among all that were given.
      tokens: int32 ``[P, n, T]``, up to and with EOS where a response ended, then 0.
      lengths: int32 ``[P, n]`` tokens of each.
      logprobs: float32 ``[P, n]`` log π(y|x) of the policy, nats.
      rewards: float32 ``[P, n]``, as training reads rewards.
    """

    places: np.ndarray
    tokens: np.ndarray
    lengths: np.ndarray
    logprobs: np.ndarray
    rewards: np.ndarray


def scored_samples(
    model: FeedbackModel,
    params: Params,
    prompts: DifferentPrompts,
    plan: Sequence[PlannedBatch],
    config: DecodingConfig,
    rewards: SampleRewards,
    placement: Placement,
    vocabulary: Any,
    *,
    batch_size: int,
    sampled_round: int | None = None,
    missing: np.ndarray | None = None,
    label: str = "",
) -> Iterator[ScoredSamples]:
    """Samples prompts and scores the responses, batch by batch.

    A sample is drawn by the configuration's seed, the round, the id of its prompt's first
    record and its number among the prompt's: never by its batch. Over several processes
    all must call this, and go on, with the same arguments; the first one scores.

    Args:
      model: whose policy network decodes.
      params: the model's, where the placement has them.
      prompts: of a split.
      plan: batches of their places: `prompts.plan(placement.num_rows(batch_size),
        longest)`, some of these, or plans of one's own whose `width` is no less than
        their prompts' lengths.
      config: how responses are chosen; with `max_decode_length`, and sampling.
      rewards: scores them.
      placement: the devices.
      vocabulary: reads responses as text.
      batch_size: rows of a batch, over all devices; rounded up to what they share out.
      sampled_round: folded into the keys, for who samples a prompt again.
      missing: bool, by the prompts' places, whose samples are scored and given; the
        others stand beside them. None, all.
      label: of the progress bar; without one there is none.

    Yields:
      A planned batch's samples; let the caller stop between two.

    Raises:
      ConfigError: the configuration is that of a beam search.
      CheckpointError: the model computes NaN.
      DataError: a reward is not finite.
    """
    if config.beams:
        raise ConfigError(
            "beam search finds no samples of a policy: leave DecodingConfig.beams out"
        )
    batches = sampled_batches(
        model,
        model.policy_params(params),
        prompts,
        plan,
        config,
        placement,
        batch_size=batch_size,
        eos_id=vocabulary.eos_id,
        label=label,
        sampled_round=sampled_round,
    )
    for planned, decoded in batches:
        rows = np.arange(len(planned.places))
        if missing is not None:
            rows = np.flatnonzero(missing[planned.places])
        if not len(rows):
            continue
        places, tokens = planned.places[rows], np.asarray(decoded.tokens)[rows]

        def score(places: np.ndarray, tokens: np.ndarray) -> list[float]:
            texts = [response_text(vocabulary, own) for some in tokens for own in some]
            return rewards(np.repeat(places, tokens.shape[1]), texts).tolist()

        found = hosts.first_says(functools.partial(score, places, tokens))
        yield ScoredSamples(
            places,
            tokens,
            np.asarray(decoded.lengths)[rows],
            np.asarray(decoded.logprobs)[rows],
            np.array(found, np.float32).reshape(tokens.shape[:2]),
        )
