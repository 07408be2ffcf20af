"""Sampling from the policy: greedy, temperature, top-k and nucleus."""

import functools
from collections.abc import Mapping
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp

from dro_jax.errors import ConfigError
from dro_jax.models.incremental import (
    PAD_ID,
    START_ID,
    Cache,
    Decoded,
    ban_padding,
    has_prompt,
    likeliest,
    policy_params,
    require_at_least,
    require_temperature,
    start_decoding,
)
from dro_jax.models.incremental import top_k as largest
from dro_jax.models.logprobs import token_logprobs
from dro_jax.models.t5 import T5

# Tokens in a part of the vocabulary, as a token is drawn.
_PART = 128


class _State(NamedTuple):
    step: jax.Array
    cache: Cache
    last_token: jax.Array
    tokens: jax.Array
    logprobs: jax.Array
    finished: jax.Array


def sample_token(
    keys: jax.Array,
    logits: jax.Array,
    temperature: float | jax.Array = 1.0,
    *,
    top_k: int = 0,
    top_p: float | jax.Array | None = None,
) -> jax.Array:
    """Draws one token a row from ``softmax(logits / temperature)``, filtered.

    Top-k keeps the k likeliest tokens. Nucleus sampling
    (https://arxiv.org/abs/1904.09751) then keeps the likeliest of them whose
    probabilities sum to at least ``top_p``.

    Args:
      keys: one random key a row, ``[N]``.
      logits: float32 ``[N, V]``.
      temperature: positive.
      top_k: 0 for no such filter.
      top_p: None for no such filter.

    Returns:
      int32 ``[N]``.
    """
    logits = logits / temperature
    weights = jnp.exp(logits - jnp.max(logits, axis=-1, keepdims=True))
    uniform = jax.vmap(lambda key: jax.random.uniform(key, (4,)))(keys)
    # In the vocabulary's order, not by rank: two tokens that rounding makes change
    # places are drawn as before.
    token = jax.vmap(_draw)(weights, uniform[:, :2])
    if not top_k and top_p is None:
        return token
    # What no filter draws, where it is kept; else another of those kept. Both have
    # their probabilities' proportions, so that the outcome has.
    kept = _kept(logits, top_k, top_p)
    again = jax.vmap(_draw)(jnp.where(kept, weights, 0.0), uniform[:, 2:])
    is_kept = jnp.take_along_axis(kept, token[:, None], axis=1)[:, 0]
    return jnp.where(is_kept, token, again)


def _draw(weights: jax.Array, uniform: jax.Array) -> jax.Array:
    """A place of ``[V]`` weights, in proportion to them, of two numbers from [0, 1).

    First one of equal parts of the vocabulary, then a place in it: the running sums are
    short, and a small weight is not lost beside the sum of all.
    """
    parts = jnp.pad(weights, (0, -len(weights) % _PART)).reshape(-1, _PART)
    part = _draw_place(jnp.sum(parts, axis=1), uniform[0])
    return part * _PART + _draw_place(parts[part], uniform[1])


def _draw_place(weights: jax.Array, uniform: jax.Array) -> jax.Array:
    positive = weights > 0
    sums = jnp.cumsum(weights)
    total = jnp.max(jnp.where(positive, sums, 0.0))
    return jnp.argmax(positive & (sums > uniform * total)).astype(jnp.int32)


def _kept(logits, top_k, top_p):
    """Which tokens the filters keep, bool ``[N, V]``."""
    vocab_size = logits.shape[-1]
    sorted_logits, ids = largest(logits, min(top_k or vocab_size, vocab_size))
    keep = jnp.ones(ids.shape, bool)
    if top_p is not None:
        probs = jax.nn.softmax(sorted_logits, axis=-1)
        mass_before = jnp.cumsum(probs, axis=-1) - probs
        # The likeliest token stays however small top_p is.
        keep = (mass_before < top_p).at[:, 0].set(True)
    nothing = jnp.zeros((vocab_size,), bool)
    return jax.vmap(lambda ids, keep: nothing.at[ids].set(keep))(ids, keep)


def _prompt_keys(rng: jax.Array, num_prompts: int) -> jax.Array:
    """A key for each prompt: those given, or one for each row of one key given."""
    # A key of the old kind is itself a vector.
    old = not jnp.issubdtype(rng.dtype, jax.dtypes.prng_key)
    if rng.ndim == old:
        return jax.vmap(jax.random.fold_in, (None, 0))(rng, jnp.arange(num_prompts))
    if rng.shape[0] != num_prompts:
        raise ConfigError(
            f"Decoding: {rng.shape[0]} random keys for {num_prompts} prompts; give one "
            "key, or one for each."
        )
    return rng


def _row_keys(prompt_keys: jax.Array, num_samples: int) -> jax.Array:
    """A key for each response, whatever the number of prompts and samples."""
    fold = jax.vmap(jax.random.fold_in, (None, 0))
    keys = jax.vmap(fold, (0, None))(prompt_keys, jnp.arange(num_samples))
    return keys.reshape(keys.shape[0] * num_samples, *keys.shape[2:])


@functools.partial(
    jax.jit,
    static_argnames=(
        "network",
        "max_decode_length",
        "num_samples",
        "greedy",
        "top_k",
        "eos_id",
    ),
)
def _sample(
    network,
    params,
    encoder_input_tokens,
    rng,
    temperature,
    top_p,
    *,
    max_decode_length,
    num_samples,
    greedy,
    top_k,
    eos_id,
):
    cache, decode_step = start_decoding(
        network,
        params,
        encoder_input_tokens,
        rows_per_prompt=num_samples,
        max_decode_length=max_decode_length,
    )
    num_prompts = encoder_input_tokens.shape[0]
    num_rows = num_prompts * num_samples
    row_keys = _row_keys(_prompt_keys(rng, num_prompts), num_samples)

    def choose(logits, step):
        logits = ban_padding(logits)
        if greedy:
            return likeliest(logits)
        keys = jax.vmap(jax.random.fold_in, (0, None))(row_keys, step)
        return sample_token(keys, logits, temperature, top_k=top_k, top_p=top_p)

    def unfinished(state):
        return (state.step < max_decode_length) & ~jnp.all(state.finished)

    def advance(state):
        cache, logits = decode_step(state.cache, state.last_token)
        token = choose(logits, state.step)
        # Of the policy itself, before temperature, filters and the ban on padding: what
        # scoring the same response computes.
        logprob = token_logprobs(logits, token)
        token = jnp.where(state.finished, PAD_ID, token)
        return _State(
            state.step + 1,
            cache,
            token,
            state.tokens.at[:, state.step].set(token),
            state.logprobs + jnp.where(state.finished, 0.0, logprob),
            state.finished | (token == eos_id),
        )

    initial = _State(
        step=jnp.int32(0),
        cache=cache,
        last_token=jnp.full((num_rows,), START_ID, jnp.int32),
        tokens=jnp.full((num_rows, max_decode_length), PAD_ID, jnp.int32),
        logprobs=jnp.zeros((num_rows,), jnp.float32),
        finished=jnp.repeat(~has_prompt(encoder_input_tokens), num_samples),
    )
    final = jax.lax.while_loop(unfinished, advance, initial)
    tokens = final.tokens.reshape(num_prompts, num_samples, max_decode_length)
    logprobs = final.logprobs.reshape(num_prompts, num_samples)
    return Decoded(
        tokens=tokens,
        logprobs=logprobs,
        scores=logprobs,
        lengths=jnp.sum(tokens != PAD_ID, axis=-1, dtype=jnp.int32),
    )


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

    Returns:
      The responses, in the order of their sample number.

    Raises:
      ConfigError: an option is out of its range.
    """
    require_at_least(1, max_decode_length=max_decode_length, num_samples=num_samples)
    require_temperature(temperature)
    require_at_least(0, top_k=top_k, top_p=top_p)
    if top_p > 1:
        raise ConfigError(
            f"Decoding: top_p is {top_p}; it is a probability, give at most 1."
        )
    return _sample(
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
    )
