"""What a policy answers, with log-probabilities under it and under its reference."""

import dataclasses
import functools
from collections.abc import Iterator, Sequence
from typing import Any

import jax
import numpy as np

from dro_jax.data.interface import HostBatch, Shard
from dro_jax.data.prompt_batches import Prompts
from dro_jax.evaluation.evaluated_run import SampledResponse
from dro_jax.evaluation.generation import as_trajectories, check_numbers
from dro_jax.evaluation.placement import Placement
from dro_jax.evaluation.prompts import Prompt
from dro_jax.evaluation.sampled_prompts import (
    DEFAULT_BATCH_SIZE,
    Sample,
    sampled_batches,
    samples_of,
)
from dro_jax.models.decoding import Decoded, DecodingConfig
from dro_jax.models.model import FeedbackModel
from dro_jax.models.networks import Params


@dataclasses.dataclass(frozen=True)
class Policy:
    """A model with parameters.

    Attributes:
      model: the networks.
      params: theirs, where the placement has them; those of the value estimate too,
        where V is wanted.
    """

    model: FeedbackModel
    params: Params


def sampled_responses(
    policy: Policy,
    reference: Policy | None,
    prompts: Sequence[Prompt],
    tokens: Prompts,
    vocabulary: Any,
    config: DecodingConfig,
    placement: Placement,
    *,
    longest: int,
    batch_size: int = DEFAULT_BATCH_SIZE,
    value: bool = False,
    label: str = "",
) -> Iterator[list[SampledResponse]]:
    """Samples responses batch by batch; on all processes the same.

    Args:
      policy: answers.
      reference: gives log π_ref; None, nobody does. The policy itself is its own.
      prompts: what is asked.
      tokens: the same, in the same order.
      vocabulary: to read tokens as text.
      config: how responses are chosen; with `max_decode_length`.
      placement: the devices of both policies.
      longest: the most tokens of a prompt.
      batch_size: rows at a time, over all devices.
      value: whether V is computed too, where the policy's model has a value estimate.
      label: of the progress bar; without one there is none.

    Yields:
      Responses to some of the prompts, all samples of one side by side; prompts of
      like lengths come together.

    Raises:
      CheckpointError: parameters that are not finite.
    """
    size = placement.num_rows(batch_size)
    shard = placement.shard(size)
    score = _Scorer(
        policy,
        None if reference is policy else reference,
        placement,
        shard,
        value=value,
    )
    for planned, decoded in sampled_batches(
        policy.model,
        policy.model.policy_params(policy.params),
        tokens,
        tokens.plan(size, longest),
        config,
        placement,
        batch_size=batch_size,
        eos_id=vocabulary.eos_id,
        label=label,
    ):
        batch = tokens.at(planned.places).batch(planned.width, size, shard)
        known = score(batch, decoded)
        if reference is policy:
            known["reference_logprob"] = decoded.logprobs
        found = samples_of(decoded, vocabulary.eos_id, len(planned.places))
        yield [
            _response(
                prompts[place],
                number,
                sample,
                vocabulary,
                {name: float(own[row, number]) for name, own in known.items()},
            )
            for row, (place, samples) in enumerate(
                zip(planned.places, found, strict=True)
            )
            for number, sample in enumerate(samples)
        ]


class _Scorer:
    """What the networks say of samples beside the policy's own log-probabilities."""

    def __init__(
        self,
        policy: Policy,
        reference: Policy | None,
        placement: Placement,
        shard: Shard,
        *,
        value: bool,
    ):
        self._placement, self._shard = placement, shard
        # Of each field: a program, and the parameters that it is given.
        self._of: dict[str, tuple[Any, Params]] = {}
        if reference is not None:
            program = _logprobs_of(reference.model, placement.replicated)
            self._of["reference_logprob"] = program, reference.params
        if value and policy.model.value_config is not None:
            program = _values_of(policy.model, placement.replicated)
            self._of["value"] = program, policy.params

    def __call__(self, batch: HostBatch, decoded: Decoded) -> dict[str, np.ndarray]:
        """Of a whole batch, by field, ``[B, K]``."""
        if not self._of:
            return {}
        own = as_trajectories(batch, decoded, self._shard)
        with self._placement.context():
            placed = self._placement.put_batch(own, self._shard)
            computed = {n: program(x, placed) for n, (program, x) in self._of.items()}
        shape = decoded.logprobs.shape
        found = {n: np.asarray(x).reshape(shape) for n, x in computed.items()}
        check_numbers(*found.values())
        return found


# Kept, so that who samples again and again, as a training run, compiles once.
@functools.lru_cache(maxsize=8)
def _logprobs_of(model: FeedbackModel, replicated: jax.sharding.Sharding) -> Any:
    return jax.jit(model.logprobs, out_shardings=replicated)


@functools.lru_cache(maxsize=8)
def _values_of(model: FeedbackModel, replicated: jax.sharding.Sharding) -> Any:
    return jax.jit(
        lambda *given: model.score(*given)["values"], out_shardings=replicated
    )


def _response(
    prompt: Prompt,
    number: int,
    sample: Sample,
    vocabulary: Any,
    known: dict[str, float],
) -> SampledResponse:
    return SampledResponse(
        prompt_id=prompt.id,
        sample=number,
        prompt=prompt.text,
        response=sample.text(vocabulary),
        tokens=len(sample.tokens),
        cut=sample.cut,
        logprob=sample.logprob,
        references=prompt.references,
        **known,
    )
