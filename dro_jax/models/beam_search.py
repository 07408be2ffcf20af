"""Beam search with a brevity penalty."""

import functools
from collections.abc import Mapping
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp

from dro_jax.models.decoding_programs import decoding_program
from dro_jax.models.incremental import (
    PAD_ID,
    START_ID,
    Cache,
    Decoded,
    Steps,
    ban_padding,
    has_prompt,
    policy_params,
    require_at_least,
    top_k,
)
from dro_jax.models.t5 import T5


class _Beams(NamedTuple):
    """K responses a prompt, best first; an empty place has a score of −∞."""

    tokens: jax.Array
    logprobs: jax.Array
    scores: jax.Array


class _State(NamedTuple):
    step: jax.Array
    cache: Cache
    last_token: jax.Array
    live: _Beams
    finished: _Beams


def brevity_penalty(length: jax.Array | int, alpha: float | jax.Array) -> jax.Array:
    """What log-probabilities are divided by to rank lengths: ``((5 + n) / 6) ** α``.

    Source: https://arxiv.org/abs/1609.08144, equation 14.
    """
    return ((5.0 + jnp.asarray(length, jnp.float32)) / 6.0) ** alpha


_take_beams = jax.vmap(functools.partial(jnp.take, axis=0, mode="clip"))


def _best(beams: _Beams, num_beams: int) -> tuple[_Beams, jax.Array]:
    """The best beams in order, and where they stood."""
    scores, index = top_k(beams.scores, num_beams)
    tokens, logprobs = (_take_beams(x, index) for x in (beams.tokens, beams.logprobs))
    return _Beams(tokens, logprobs, scores), index


def _reorder_cache(cache: Cache, parents: jax.Array) -> Cache:
    """Gives each beam its parent's self-attention keys and values.

    Those of cross-attention are one copy a prompt, the same for all its beams.
    """
    num_prompts, num_beams = parents.shape

    def reorder(path, leaf):
        if not any(getattr(entry, "key", None) == "self_attention" for entry in path):
            return leaf
        by_prompt = leaf.reshape(-1, num_prompts, num_beams, *leaf.shape[-3:])
        # The leading axis holds the layers when they are scanned, else it is 1.
        taken = jax.vmap(_take_beams, (0, None))(by_prompt, parents)
        return taken.reshape(leaf.shape)

    # One beam is its own parent: the copy of its cache is spared.
    if num_beams == 1:
        return cache
    return jax.tree_util.tree_map_with_path(reorder, cache)


def _extend(live: _Beams, logits: jax.Array, step: jax.Array):
    """The 2K best one-token continuations of K beams, by log-probability.

    Twice as many as beams: if K of them end, K are left to go on with.
    """
    num_prompts, num_beams, _ = live.tokens.shape
    logprobs = ban_padding(jax.nn.log_softmax(logits, axis=-1))
    logprobs = logprobs.reshape(num_prompts, num_beams, -1)
    vocab_size = logprobs.shape[-1]
    totals = (live.logprobs[:, :, None] + logprobs).reshape(num_prompts, -1)
    # Each beam can end in one way only, so at most K of 2K candidates do.
    totals, index = top_k(totals, 2 * num_beams)
    parents, tokens = index // vocab_size, (index % vocab_size).astype(jnp.int32)
    sequences = _take_beams(live.tokens, parents).at[:, :, step].set(tokens)
    return _Beams(sequences, totals, totals), parents, tokens


def _finished_then_live(finished: _Beams, live: _Beams) -> _Beams:
    """Fills the places that no finished response took with the best live ones."""
    num_beams = finished.scores.shape[1]
    num_finished = jnp.sum(finished.scores > -jnp.inf, axis=1, keepdims=True)
    place = jnp.arange(num_beams)[None, :]
    index = jnp.where(place < num_finished, place, num_beams + place - num_finished)
    return jax.tree.map(
        lambda a, b: _take_beams(jnp.concatenate([a, b], axis=1), index),
        finished,
        live,
    )


@decoding_program(
    static_argnames=(
        "network",
        "max_decode_length",
        "num_beams",
        "eos_id",
        "cache_dtype",
    )
)
def _search(
    network,
    params,
    encoder_input_tokens,
    alpha,
    *,
    max_decode_length,
    num_beams,
    eos_id,
    cache_dtype,
):
    num_prompts = encoder_input_tokens.shape[0]
    present = has_prompt(encoder_input_tokens)
    steps = Steps(
        network,
        params,
        rows_per_prompt=num_beams,
        max_decode_length=max_decode_length,
        cache_dtype=cache_dtype,
    )

    def can_improve(state):
        # Log-probabilities only fall, and the longest response is penalised least.
        bound = state.live.scores[:, 0] / brevity_penalty(max_decode_length, alpha)
        improvable = state.finished.scores[:, -1] <= bound
        return (state.step < max_decode_length) & jnp.any(present & improvable)

    def advance(state):
        last_tokens = state.last_token.reshape(-1)
        cache, logits = steps.step(state.cache, encoder_input_tokens, last_tokens)
        candidates, parents, tokens = _extend(state.live, logits, state.step)
        ended = tokens == eos_id
        # Live beams, all of one length, are ranked by log-probability; ended ones, of
        # several lengths, by what the penalty makes of it.
        alive = jnp.where(ended, -jnp.inf, candidates.logprobs)
        live, index = _best(
            candidates._replace(logprobs=alive, scores=alive), num_beams
        )
        ranked = candidates.logprobs / brevity_penalty(state.step + 1, alpha)
        newly = candidates._replace(scores=jnp.where(ended, ranked, -jnp.inf))
        pool = jax.tree.map(
            lambda a, b: jnp.concatenate([a, b], axis=1), state.finished, newly
        )
        return _State(
            state.step + 1,
            _reorder_cache(cache, _take_beams(parents, index)),
            _take_beams(tokens, index),
            live,
            _best(pool, num_beams)[0],
        )

    shape = (num_prompts, num_beams)
    no_tokens = jnp.full((*shape, max_decode_length), PAD_ID, jnp.int32)
    nothing = jnp.full(shape, -jnp.inf, jnp.float32)
    # All beams start alike, so only the first may be extended.
    first = nothing.at[:, 0].set(0.0)
    initial = _State(
        step=jnp.int32(0),
        cache=steps.start(encoder_input_tokens),
        last_token=jnp.full(shape, START_ID, jnp.int32),
        live=_Beams(no_tokens, first, first),
        finished=_Beams(no_tokens, nothing, nothing),
    )
    final = jax.lax.while_loop(can_improve, advance, initial)
    best = _finished_then_live(final.finished, final.live)
    # A place that neither kind filled holds what some live beam began with.
    filled = present[:, None] & (best.scores > -jnp.inf)
    tokens = jnp.where(filled[:, :, None], best.tokens, PAD_ID)
    return Decoded(
        tokens=tokens,
        logprobs=jnp.where(present[:, None], best.logprobs, 0.0),
        scores=jnp.where(present[:, None], best.scores, 0.0),
        lengths=jnp.sum(tokens != PAD_ID, axis=-1, dtype=jnp.int32),
    )


def beam_search(
    network: T5,
    params: Mapping[str, Any],
    encoder_input_tokens: jax.Array,
    *,
    max_decode_length: int,
    num_beams: int = 4,
    alpha: float = 0.6,
    eos_id: int = 1,
    cache_dtype: str | None = None,
) -> Decoded:
    """Searches for the likeliest responses, ranked by ``logprob / brevity penalty``.

    Responses never hold the padding id 0. The search ends when no live beam can still
    beat the finished ones. Rows without a prompt (all padding) stay empty.

    Args:
      network: the policy.
      params: its parameters; subtrees that are not its own are ignored.
      encoder_input_tokens: int32 ``[B, L]``, one prompt a row.
      max_decode_length: T, at most so many tokens, EOS included.
      num_beams: K.
      alpha: exponent of the penalty; 0 ranks by log-probability, more favours
        longer responses.
      eos_id: the token that ends a response.
      cache_dtype: of cached keys and values; None, that of the activations.

    Returns:
      The responses, best first: those that ended, by score, then those cut off at T,
      whose score is their log-probability without penalty, as T5X's. Should there be
      fewer responses than beams, the last ones are empty, with a score of −∞.

    Raises:
      ConfigError: an option is out of its range.
    """
    require_at_least(1, max_decode_length=max_decode_length, num_beams=num_beams)
    require_at_least(0, alpha=alpha)
    return _search(
        network,
        policy_params(params),
        encoder_input_tokens,
        float(alpha),
        max_decode_length=max_decode_length,
        num_beams=num_beams,
        eos_id=eos_id,
        cache_dtype=cache_dtype,
    )
