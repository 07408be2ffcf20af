"""Decoding responses from a policy: sampling and beam search."""

import dataclasses
from collections.abc import Mapping
from typing import Any

import jax

from dro_jax.errors import ConfigError
from dro_jax.models.beam_search import beam_search, brevity_penalty
from dro_jax.models.incremental import PAD_ID, Decoded
from dro_jax.models.sampling import sample_token, temperature_sample
from dro_jax.models.t5 import T5

__all__ = [
    "PAD_ID",
    "Decoded",
    "DecodingConfig",
    "beam_search",
    "brevity_penalty",
    "decode",
    "sample_token",
    "temperature_sample",
]


@dataclasses.dataclass(frozen=True)
class DecodingConfig:
    """How responses are chosen.

    Attributes:
      max_decode_length: the most tokens of a response, EOS included; None, where the
        caller knows them (T5X: the length of the batch's targets).
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

    max_decode_length: int | None = None
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


def decode(
    network: T5,
    params: Mapping[str, Any],
    encoder_input_tokens: jax.Array,
    key: jax.Array,
    config: DecodingConfig,
    *,
    eos_id: int = 1,
) -> Decoded:
    """Responses to prompts, chosen as a configuration says.

    Args:
      network: the network.
      params: the policy's parameters.
      encoder_input_tokens: int32 ``[B, L]``.
      key: of the sampling: one, or ``[B]``, one for each prompt; without effect on beam
        search and greedy decoding.
      config: how responses are chosen; its `seed` is not read.
      eos_id: the token that ends a response.

    Returns:
      `num_samples` responses for each prompt, of a beam search the best.
    """
    if config.beams:
        decoded = beam_search(
            network,
            params,
            encoder_input_tokens,
            max_decode_length=config.max_decode_length,
            num_beams=config.beams,
            alpha=config.alpha,
            eos_id=eos_id,
        )
        return jax.tree.map(lambda x: x[:, : config.num_samples], decoded)
    return temperature_sample(
        network,
        params,
        encoder_input_tokens,
        key,
        max_decode_length=config.max_decode_length,
        num_samples=config.num_samples,
        temperature=config.temperature,
        top_k=config.top_k,
        top_p=config.top_p,
        eos_id=eos_id,
    )
