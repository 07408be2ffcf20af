"""Responses of a policy to prompts, as tokens and as text."""

import dataclasses
from collections.abc import Iterable, Iterator

import jax
import jax.numpy as jnp
import numpy as np

from dro_jax.errors import ConfigError
from dro_jax.models import decoding
from dro_jax.models.model import FeedbackModel
from dro_jax.models.networks import Params

HostBatch = dict[str, np.ndarray]


@dataclasses.dataclass(frozen=True)
class DecodingConfig:
    """How responses are chosen.

    Attributes:
      max_decode_length: the most tokens of a response, EOS included.
      num_samples: responses a prompt.
      temperature: 0 decodes greedily.
      top_k: sample among the k likeliest tokens; 0, all.
      top_p: sample among the likeliest tokens of this total probability; 0, all.
      beams: width of a beam search, which replaces sampling; 0, none.
      alpha: the beam search's brevity penalty.
      seed: of the sampling.

    Raises:
      ConfigError: sampling settings together with beams, or fewer beams than samples.
    """

    max_decode_length: int
    num_samples: int = 1
    temperature: float = 1.0
    top_k: int = 0
    top_p: float = 0.0
    beams: int = 0
    alpha: float = 0.6
    seed: int = 0

    def __post_init__(self):
        if self.beams and (self.top_k or self.top_p or self.temperature != 1.0):
            raise ConfigError(
                "beam search does not sample: temperature, top_k and top_p have no "
                "effect with beams, so leave them out"
            )
        if self.beams and self.num_samples > self.beams:
            raise ConfigError(
                f"num_samples = {self.num_samples} responses cannot come from "
                f"{self.beams} beams: raise beams"
            )


def generate(
    model: FeedbackModel,
    params: Params,
    batches: Iterable[HostBatch],
    config: DecodingConfig,
    eos_id: int = 1,
) -> Iterator[tuple[HostBatch, decoding.Decoded]]:
    """Decode each batch of prompts.

    Args:
      model: whose policy network decodes.
      params: the policy's parameters.
      batches: with `encoder_input_tokens` ``[B, L]``.
      config: how responses are chosen.
      eos_id: the token that ends a response.

    Returns:
      Pairs of the batch and its `Decoded` of ``[B, K]`` responses, on the host.
    """
    key = jax.random.key(config.seed)
    for index, batch in enumerate(batches):
        tokens = jnp.asarray(batch["encoder_input_tokens"])
        if config.beams:
            decoded = decoding.beam_search(
                model.network,
                params,
                tokens,
                max_decode_length=config.max_decode_length,
                num_beams=config.beams,
                alpha=config.alpha,
                eos_id=eos_id,
            )
            kept = config.num_samples
            decoded = jax.tree.map(lambda x, kept=kept: x[:, :kept], decoded)
        else:
            decoded = decoding.temperature_sample(
                model.network,
                params,
                tokens,
                jax.random.fold_in(key, index),
                max_decode_length=config.max_decode_length,
                num_samples=config.num_samples,
                temperature=config.temperature,
                top_k=config.top_k,
                top_p=config.top_p,
                eos_id=eos_id,
            )
        yield batch, jax.device_get(decoded)


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
        "decoder_input_tokens": np.pad(targets, ((0, 0), (1, 0)))[:, :-1],
        "decoder_target_tokens": targets,
        "decoder_loss_weights": (targets != decoding.PAD_ID).astype(np.int32),
        "rewards": np.zeros_like(present),
        "trajectory_weights": present,
    }
