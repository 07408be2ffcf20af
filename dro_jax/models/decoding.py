"""Decoding responses from a policy: sampling and beam search."""

import dataclasses
from collections.abc import Mapping
from typing import Any, Self

import jax

from dro_jax.errors import ConfigError
from dro_jax.models.beam_search import beam_search, brevity_penalty
from dro_jax.models.incremental import (
    PAD_ID,
    Decoded,
    require_at_least,
    require_temperature,
)
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

_MOST_TOKENS = 2**20  # the cache of so many would fit nowhere
_CACHE_DTYPES = (None, "float32", "bfloat16")


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
      batches_in_turn: of so many batches of prompts of like lengths the next prompts take
        the rows of responses that ended (continuous batching); 1, a batch ends with its
        longest response. A beam search takes one.
      cache_dtype: type of the cached keys and values, as 'bfloat16'; None, that of the
        activations. Half of float32's memory and traffic; accelerators read it at no
        cost, CPUs convert it at each step. Log-probabilities then differ from those of
        scoring by the rounding of keys and values.

    Raises:
      ConfigError: an option is out of its range, sampling settings come together with
        beams, or there are fewer beams than samples.
    """

    max_decode_length: int | None = None
    num_samples: int = 1
    temperature: float = 1.0
    top_k: int = 0
    top_p: float = 0.0
    beams: int = 0
    alpha: float = 0.6
    seed: int = 0
    batches_in_turn: int = 8
    cache_dtype: str | None = None

    def __post_init__(self):
        length = 1 if self.max_decode_length is None else self.max_decode_length
        require_at_least(1, max_decode_length=length, num_samples=self.num_samples)
        require_at_least(1, batches_in_turn=self.batches_in_turn)
        require_at_least(0, top_k=self.top_k, top_p=self.top_p)
        require_at_least(0, beams=self.beams, alpha=self.alpha)
        require_temperature(self.temperature)
        self._check_most(length)
        if self.cache_dtype not in _CACHE_DTYPES:
            raise ConfigError(
                f"Decoding: cache_dtype is {self.cache_dtype!r}; give 'bfloat16', "
                "'float32' or None."
            )
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

    def limited_to(self, length: int) -> Self:
        """The same, with that `max_decode_length` where it has none of its own."""
        if self.max_decode_length is not None:
            return self
        return dataclasses.replace(self, max_decode_length=length)

    def facts(self) -> dict[str, Any]:
        """By name, what samples depend on by more than the rounding of sums."""
        found = dataclasses.asdict(self)
        del found["batches_in_turn"]
        if self.cache_dtype is None:
            del found["cache_dtype"]
        return found

    @property
    def joined_batches(self) -> int:
        """How many batches may be decoded as one."""
        return 1 if self.beams else self.batches_in_turn

    def _check_most(self, length: int) -> None:
        if length > _MOST_TOKENS:
            raise ConfigError(
                f"Decoding: max_decode_length is {length:,}; give at most "
                f"{_MOST_TOKENS:,}."
            )
        if self.top_p > 1:
            raise ConfigError(
                f"Decoding: top_p is {self.top_p}; it is a probability, give at most 1."
            )
        # JAX would take the lowest 32 bits: two seeds would be one, in silence.
        if not -(2**31) <= self.seed < 2**32:
            raise ConfigError(
                f"Decoding: seed is {self.seed}; give a number of 32 bits, from 0 to "
                f"{2**32 - 1:,}."
            )


def decode(
    network: T5,
    params: Mapping[str, Any],
    encoder_input_tokens: jax.Array,
    key: jax.Array,
    config: DecodingConfig,
    *,
    eos_id: int = 1,
    prompts_at_once: int | None = None,
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
      prompts_at_once: as for :func:`temperature_sample`; a beam search takes all.

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
            cache_dtype=config.cache_dtype,
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
        cache_dtype=config.cache_dtype,
        prompts_at_once=prompts_at_once,
    )
