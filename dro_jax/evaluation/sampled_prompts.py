"""Samples of a policy for prompts, in the prompts' order: what others compute with."""

import contextlib
import dataclasses
import functools
import math
from collections.abc import Iterable, Iterator, Sequence
from typing import Any

import jax
import numpy as np

from dro_jax.data.interface import HostBatch
from dro_jax.data.prompt_batches import (
    PlannedBatch,
    Prompts,
    as_one,
    rows_for,
    taking_turns,
)
from dro_jax.evaluation.generation import check_numbers, generate, response_text
from dro_jax.evaluation.placement import Placement
from dro_jax.models.decoding import Decoded, DecodingConfig
from dro_jax.models.model import FeedbackModel
from dro_jax.models.networks import Params
from dro_jax.progress_bar import ProgressBar

DEFAULT_BATCH_SIZE = 32


@dataclasses.dataclass(frozen=True)
class Sample:
    """One response to a prompt.

    Attributes:
      tokens: int32 ``[T]``, up to and with EOS where it ended, no padding.
      logprob: log π(y|x) of the policy itself, summed over the tokens, nats.
      cut: whether it met the length limit, without EOS.
    """

    tokens: np.ndarray
    logprob: float
    cut: bool

    def text(self, vocabulary: Any) -> str:
        """It as text, without EOS."""
        return response_text(vocabulary, self.tokens)


Samples = tuple[Sample, ...]
# A planned batch with the responses of all its rows.
SampledBatch = tuple[PlannedBatch, Decoded]


def sample_prompts(
    model: FeedbackModel,
    params: Params,
    prompts: Prompts,
    config: DecodingConfig,
    placement: Placement,
    *,
    longest: int,
    batch_size: int = DEFAULT_BATCH_SIZE,
    eos_id: int = 1,
    label: str = "",
) -> Iterator[Samples]:
    """For each prompt, in order, its responses.

    Prompts are decoded in batches of like lengths (`Prompts.plan`). A sample is drawn by
    the configuration's seed, the record's id and the sample's number, whatever the batch,
    its width or the devices; numbers of other batches differ by rounding alone, which
    changes a token where two were equally good up to it.

    Over several processes all must call this with the same arguments, and all get the
    same. `dro_jax.data.inputs.as_prompts` makes prompts of texts.

    Args:
      model: whose policy network decodes.
      params: the policy's parameters, where the placement has them.
      prompts: what is asked.
      config: how responses are chosen; with `max_decode_length`.
      placement: the devices.
      longest: the most tokens of a prompt, `TASK_FEATURE_LENGTHS['inputs']`.
      batch_size: rows of a batch, over all devices; rounded up to what they share out.
      eos_id: the token that ends a response.
      label: of the progress bar; without one there is none.

    Raises:
      CheckpointError: the model computes NaN.
    """
    plan = prompts.plan(placement.num_rows(batch_size), longest)
    batches = sampled_batches(
        model,
        params,
        prompts,
        plan,
        config,
        placement,
        batch_size=batch_size,
        eos_id=eos_id,
        label=label,
    )
    waiting: dict[int, Samples] = {}
    window = 0
    for planned, decoded in batches:
        if planned.window != window:
            yield from _taken(waiting)
            window = planned.window
        found = samples_of(decoded, eos_id, len(planned.places))
        waiting |= zip(planned.places.tolist(), found, strict=True)
    yield from _taken(waiting)


def _taken(waiting: dict[int, Samples]) -> Iterator[Samples]:
    for place in sorted(waiting):
        yield waiting.pop(place)


def sampled_batches(
    model: FeedbackModel,
    params: Params,
    prompts: Prompts,
    plan: Sequence[PlannedBatch],
    config: DecodingConfig,
    placement: Placement,
    *,
    batch_size: int = DEFAULT_BATCH_SIZE,
    eos_id: int = 1,
    label: str = "",
    sampled_round: int | None = None,
) -> Iterator[SampledBatch]:
    """The same by batches, as they come, for who computes more of each.

    `dro_jax.evaluation.generation.as_trajectories` makes of one, and of its prompts as a
    batch, what models score.

    Args:
      plan: of the prompts, or what is left of it.
      sampled_round: as for `dro_jax.evaluation.generation.generate`.

    The other arguments are those of :func:`sample_prompts`.
    """
    size = placement.num_rows(batch_size)
    shard = placement.shard(size)
    most = config.joined_batches
    groups = taking_turns(plan, most)
    batches = (
        prompts.at(batch.places).batch(
            batch.width, rows_for(len(batch.places), size, most), shard
        )
        for batch in map(as_one, groups)
    )
    results = generate(
        model,
        params,
        batches,
        config,
        placement,
        shard=shard,
        eos_id=eos_id,
        sampled_round=sampled_round,
        prompts_at_once=size,
    )
    counts = [len(as_one(group).places) for group in groups]
    total = sum(counts) * config.num_samples
    shown = with_progress(results, counts, label, total) if label else results
    for group, (_, decoded) in zip(groups, shown, strict=True):
        check_numbers(decoded.logprobs)
        done = 0
        for batch in group:
            own = functools.partial(_rows, start=done, size=size)
            yield batch, jax.tree.map(own, decoded)
            done += len(batch.places)


def _rows(array: np.ndarray, start: int, size: int) -> np.ndarray:
    """So many of the rows; behind the last ones, zeros."""
    own = array[start : start + size]
    return np.pad(own, ((0, size - len(own)), *((0, 0),) * (own.ndim - 1)))


def with_progress(
    results: Iterable[tuple[HostBatch, Decoded]],
    counts: Iterable[int],
    label: str,
    total: int,
    done: int = 0,
) -> Iterator[tuple[HostBatch, Decoded]]:
    """Results as they come, with a bar that tells responses and tokens a second.

    Args:
      results: of :func:`generate`.
      counts: prompts of each batch, without the rows that only fill it up.
      label: what is done.
      total: responses, of all.
      done: responses that an earlier run has made.
    """
    with contextlib.ExitStack() as stack:
        bar = stack.enter_context(
            ProgressBar(label, total, start=done, unit="responses")
        )
        for count, (batch, decoded) in zip(counts, results, strict=True):
            lengths = decoded.lengths[:count]
            bar.advance(lengths.size, tokens=int(lengths.sum()))
            yield batch, decoded
        bar.say()


def samples_of(decoded: Decoded, eos_id: int, count: int) -> Iterator[Samples]:
    """Each prompt's responses, of the first `count` rows of a batch.

    A place that a beam search could not fill is left out.
    """
    for tokens, logprobs, lengths in zip(
        decoded.tokens[:count],
        decoded.logprobs[:count],
        decoded.lengths[:count],
        strict=True,
    ):
        yield tuple(
            _sample(row[:length], float(logprob), eos_id)
            for row, logprob, length in zip(tokens, logprobs, lengths, strict=True)
            if math.isfinite(logprob)
        )


def _sample(tokens: np.ndarray, logprob: float, eos_id: int) -> Sample:
    return Sample(tokens, logprob, cut=not (len(tokens) and tokens[-1] == eos_id))
