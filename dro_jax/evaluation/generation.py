"""Responses of a policy to prompts, as tokens and as text."""

import functools
from collections.abc import Iterable, Iterator
from typing import Any

import jax
import numpy as np

from dro_jax.batch_fields import device_fields
from dro_jax.data.interface import WHOLE, HostBatch, Shard
from dro_jax.errors import CheckpointError
from dro_jax.evaluation.placement import Placement, one_behind
from dro_jax.models import decoding
from dro_jax.models.decoding import DecodingConfig
from dro_jax.models.model import FeedbackModel
from dro_jax.models.networks import Params


def generate(
    model: FeedbackModel,
    params: Params,
    batches: Iterable[HostBatch],
    config: DecodingConfig,
    placement: Placement,
    *,
    shard: Shard = WHOLE,
    eos_id: int = 1,
    sampled_round: int | None = None,
    prompts_at_once: int | None = None,
) -> Iterator[tuple[HostBatch, decoding.Decoded]]:
    """Decode each batch of prompts, its rows shared out over a mesh.

    Samples are drawn by the configuration's seed, the record's id and the sample's
    number: a record's are the same in whatever batch and row it stands, and on however
    many devices. Over several processes all must call this with their parts of the same
    batches.

    Args:
      model: whose policy network decodes.
      params: the policy's parameters, where the placement has them.
      batches: with `encoder_input_tokens` ``[B, L]`` and `record_ids` ``[B, 1, 2]``, or
        one part of their rows.
      config: how responses are chosen.
      placement: the devices; as many rows as divide over them.
      shard: which part of a batch's rows this process gives, of how many.
      eos_id: the token that ends a response.
      sampled_round: whoever asks the same prompts again and again draws other samples
        in each; None, the samples of the seed alone.
      prompts_at_once: rows, over all devices, that the prompts of a batch take in turn;
        None, as many as it has.

    Returns:
      Pairs of the batch as it was given and the `Decoded` of the whole batch, ``[B, K]``
      responses, on the host; a batch behind the devices.
    """
    # Other generators draw otherwise where several keys are used at once.
    key = jax.random.key(config.seed, impl="threefry2x32")
    if sampled_round is not None:
        key = jax.random.fold_in(key, sampled_round)
    everywhere = _given_to_all(placement.replicated)

    def decode(batch: HostBatch) -> decoding.Decoded:
        read = {
            "encoder_input_tokens": batch["encoder_input_tokens"],
            "record_ids": batch["record_ids"][:, 0],
        }
        with placement.context():
            placed = placement.put_batch(read, shard)
            decoded = decoding.decode(
                model.network,
                params,
                placed["encoder_input_tokens"],
                _record_keys(key, placed["record_ids"]),
                config,
                eos_id=eos_id,
                prompts_at_once=prompts_at_once,
            )
            return everywhere(decoded)

    return one_behind(batches, decode)


def score(
    model: FeedbackModel,
    params: Params,
    batches: Iterable[HostBatch],
    placement: Placement,
    *,
    shard: Shard = WHOLE,
) -> Iterator[tuple[HostBatch, dict[str, np.ndarray]]]:
    """Log-probabilities of each batch's responses, and values where there are any.

    Args:
      model: whose networks score.
      params: theirs, where the placement has them.
      batches: of one response a row, or one part of their rows.
      placement, shard: as for :func:`generate`.

    Returns:
      Pairs of the batch as it was given and, of the whole batch, what
      `FeedbackModel.score` gives, with `truncated` of the batch beside; ``[B, 1]`` each,
      on the host.
    """
    compute = jax.jit(
        lambda params, batch: (
            model.score(params, batch) | {"truncated": batch["truncated"]}
        ),
        out_shardings=placement.replicated,
    )

    def scores(batch: HostBatch) -> dict[str, jax.Array]:
        with placement.context():
            return compute(params, placement.put_batch(device_fields(batch), shard))

    return one_behind(batches, scores)


def check_numbers(*computed: np.ndarray) -> None:
    """Refuses what a model that is not finite computes.

    Raises:
      CheckpointError: there is a NaN.
    """
    if any(np.isnan(numbers).any() for numbers in computed):
        raise CheckpointError(
            "the model computes NaN, so its parameters are not finite numbers: take an "
            "earlier checkpoint (--step), or train it anew"
        )


# Kept, so that who samples again and again, as a training run, compiles once.
@functools.lru_cache(maxsize=8)
def _given_to_all(replicated: jax.sharding.Sharding) -> Any:
    def given(decoded: decoding.Decoded) -> decoding.Decoded:
        return decoded

    return jax.jit(given, out_shardings=replicated)


@jax.jit
def _record_keys(key: jax.Array, record_ids: np.ndarray) -> jax.Array:
    """``[B]`` keys from ids ``[B, 2]``."""
    fold = jax.vmap(jax.random.fold_in)
    # fold_in takes 32 bits, and an id has 64: one half after the other.
    keys = jax.vmap(jax.random.fold_in, (None, 0))(key, record_ids[:, 0])
    return fold(keys, record_ids[:, 1])


def response_text(vocabulary, tokens: np.ndarray) -> str:
    """The text of one response ``[T]``; EOS and padding end it."""
    ids = [int(token) for token in tokens]
    for stop in (vocabulary.eos_id, decoding.PAD_ID):
        if stop in ids:
            ids = ids[: ids.index(stop)]
    return vocabulary.decode(ids)


def as_trajectories(
    batch: HostBatch, decoded: decoding.Decoded, shard: Shard = WHOLE
) -> HostBatch:
    """Decoded responses as a batch that models score: B·K rows, one trajectory each.

    Args:
      batch: the prompts, or one part of them.
      decoded: the whole batch's responses.
      shard: which part the prompts are, of how many; the result is the same part.
    """
    rows, (_, samples, length) = (
        len(batch["encoder_input_tokens"]),
        decoded.tokens.shape,
    )
    own = decoded.tokens[shard[0] * rows : (shard[0] + 1) * rows]
    targets = own.reshape(rows * samples, length)
    prompts = np.repeat(batch["encoder_input_tokens"], samples, axis=0)
    present = np.repeat(batch["trajectory_weights"], samples, axis=0)
    return {
        "encoder_input_tokens": prompts,
        # Shifted by one: T5 begins a response with the padding id.
        "decoder_input_tokens": np.pad(targets, ((0, 0), (1, 0)))[:, :-1],
        "decoder_target_tokens": targets,
        "decoder_loss_weights": (targets != decoding.PAD_ID).astype(np.int32),
        "rewards": np.zeros_like(present),
        "trajectory_weights": present,
    }
