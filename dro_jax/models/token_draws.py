"""Draws of one token a row: temperature, top-k and nucleus."""

import jax
import jax.numpy as jnp

from dro_jax.models.incremental import top_k as largest

# Tokens in a part of the vocabulary, as a token is drawn.
_PART = 128


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
