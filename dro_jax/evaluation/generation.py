"""Responses of a policy to prompts, as tokens and as text."""

from collections.abc import Iterable, Iterator

import jax
import jax.numpy as jnp
import numpy as np

from dro_jax.data.interface import HostBatch
from dro_jax.errors import CheckpointError
from dro_jax.models import decoding
from dro_jax.models.decoding import DecodingConfig
from dro_jax.models.model import FeedbackModel
from dro_jax.models.networks import Params


def generate(
    model: FeedbackModel,
    params: Params,
    batches: Iterable[HostBatch],
    config: DecodingConfig,
    eos_id: int = 1,
) -> Iterator[tuple[HostBatch, decoding.Decoded]]:
    """Decode each batch of prompts.

    Samples are drawn by the configuration's seed, the record's id and the sample's
    number: a record's are the same in whatever batch and row it stands.

    Args:
      model: whose policy network decodes.
      params: the policy's parameters.
      batches: with `encoder_input_tokens` ``[B, L]`` and `record_ids` ``[B, 1, 2]``.
      config: how responses are chosen.
      eos_id: the token that ends a response.

    Returns:
      Pairs of the batch and its `Decoded` of ``[B, K]`` responses, on the host.
    """
    # Other generators draw otherwise where several keys are used at once.
    key = jax.random.key(config.seed, impl="threefry2x32")
    for batch in batches:
        decoded = decoding.decode(
            model.network,
            params,
            jnp.asarray(batch["encoder_input_tokens"]),
            _record_keys(key, batch["record_ids"][:, 0]),
            config,
            eos_id=eos_id,
        )
        yield batch, jax.device_get(decoded)


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


def as_trajectories(batch: HostBatch, decoded: decoding.Decoded) -> HostBatch:
    """Decoded responses as a batch that models score: B·K rows, one trajectory each."""
    rows, samples, length = decoded.tokens.shape
    targets = decoded.tokens.reshape(rows * samples, length)
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
