"""Sampling from the policy: greedy, temperature, top-k and nucleus."""

from collections.abc import Mapping
from typing import Any

import jax

from dro_jax.errors import ConfigError
from dro_jax.models.incremental import (
    Decoded,
    policy_params,
    require_at_least,
    require_temperature,
)
from dro_jax.models.sampling_loop import sample
from dro_jax.models.t5 import T5
from dro_jax.models.token_draws import sample_token

__all__ = ["sample_token", "temperature_sample"]


def temperature_sample(
    network: T5,
    params: Mapping[str, Any],
    encoder_input_tokens: jax.Array,
    rng: jax.Array,
    *,
    max_decode_length: int,
    num_samples: int = 1,
    temperature: float = 1.0,
    top_k: int = 0,
    top_p: float = 0.0,
    eos_id: int = 1,
    cache_dtype: str | None = None,
    prompts_at_once: int | None = None,
) -> Decoded:
    """Samples responses, in one compiled loop that ends with the last response.

    Responses never hold the padding id 0. A response depends on its key, its prompt and
    its sample number only: not on the rows and samples beside it. With a key for each
    prompt it does not depend on the row either; but in batches of other sizes matrix
    products round otherwise, which changes a token where two were equally good up to
    rounding. Rows without a prompt (all padding) stay empty.

    Args:
      network: the policy.
      params: its parameters; subtrees that are not its own are ignored.
      encoder_input_tokens: int32 ``[B, L]``, one prompt a row.
      rng: a random key, from which each row takes its own, or ``[B]`` keys, one for
        each prompt; unused when greedy.
      max_decode_length: T, at most so many tokens, EOS included.
      num_samples: K, independent responses for each prompt.
      temperature: divides the logits, at least 1e-30; 0 takes the likeliest token
        (greedy).
      top_k: samples among the k likeliest tokens; 0 for all.
      top_p: samples among the likeliest tokens that reach this probability;
        0 or 1 for all.
      eos_id: the token that ends a response.
      cache_dtype: of cached keys and values; None, that of the activations.
      prompts_at_once: how many of the prompts have rows at a time; the others wait, and
        each takes the rows of one that ended, in order. None, all. Over several devices
        a multiple of them.

    Returns:
      The responses, in the order of their sample number.

    Raises:
      ConfigError: an option is out of its range.
    """
    require_at_least(1, max_decode_length=max_decode_length, num_samples=num_samples)
    require_temperature(temperature)
    require_at_least(0, top_k=top_k, top_p=top_p)
    if prompts_at_once is not None:
        require_at_least(1, prompts_at_once=prompts_at_once)
    if top_p > 1:
        raise ConfigError(
            f"Decoding: top_p is {top_p}; it is a probability, give at most 1."
        )
    return sample(
        network,
        policy_params(params),
        encoder_input_tokens,
        rng,
        float(temperature),
        float(top_p) if 0 < top_p < 1 else None,
        max_decode_length=max_decode_length,
        num_samples=num_samples,
        greedy=temperature == 0,
        top_k=top_k,
        eos_id=eos_id,
        cache_dtype=cache_dtype,
        prompts_at_once=prompts_at_once,
    )
