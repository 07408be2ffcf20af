"""Prompts under way: a row of the batch for each response."""

from typing import NamedTuple

import jax
import jax.numpy as jnp

from dro_jax.models.incremental import PAD_ID, START_ID, Cache, has_prompt


class RowState(NamedTuple):
    """S prompts under way, K rows each: N = S · K.

    Attributes:
      cache: of the rows.
      prompts: int32 ``[S, L]``.
      places: int32 ``[S]``, which of the prompts given these are.
      last_token: int32 ``[N]``.
      tokens: int32 ``[N, T]``, a ring as the cache.
      logprobs: float32 ``[N]``.
      finished: bool ``[N]``.
    """

    cache: Cache
    prompts: jax.Array
    places: jax.Array
    last_token: jax.Array
    tokens: jax.Array
    logprobs: jax.Array
    finished: jax.Array


def all_at_once(steps, prompts, samples, length) -> RowState:
    rows = len(prompts) * samples
    return RowState(
        cache=steps.start(prompts),
        prompts=prompts,
        places=jnp.arange(len(prompts)),
        last_token=jnp.full(rows, START_ID, jnp.int32),
        tokens=jnp.full((rows, length), PAD_ID, jnp.int32),
        logprobs=jnp.zeros(rows, jnp.float32),
        finished=jnp.repeat(~has_prompt(prompts), samples),
    )


def position_of(cache: Cache) -> tuple[jax.Array, jax.Array]:
    """How many steps there were, and of each row, ``[N]``, since it began."""
    own = cache["decoder"]
    return own["position"], own["position"] - own["began"]


def responses_of(state: RowState, num_prompts: int) -> tuple[jax.Array, jax.Array]:
    """Each row's tokens from its first on, ``[S, K, T]``, and log-probs ``[S, K]``."""
    length = state.tokens.shape[1]
    began = state.cache["decoder"]["began"]
    order = (began[:, None] + jnp.arange(length)[None]) % length
    tokens = jnp.take_along_axis(state.tokens, order, axis=1)
    return (
        tokens.reshape(num_prompts, -1, length),
        state.logprobs.reshape(num_prompts, -1),
    )
