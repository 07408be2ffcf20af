"""The loop that samples, compiled as one program."""

import functools
from collections.abc import Mapping
from typing import Any

import jax
import jax.numpy as jnp

from dro_jax.errors import ConfigError
from dro_jax.models.decoding_programs import decoding_program
from dro_jax.models.incremental import PAD_ID, Decoded, Steps, ban_padding, likeliest
from dro_jax.models.logprobs import token_logprobs
from dro_jax.models.refilled_rows import decode_in_turn
from dro_jax.models.row_state import all_at_once, position_of, responses_of
from dro_jax.models.t5 import T5
from dro_jax.models.token_draws import sample_token


@decoding_program(
    static_argnames=(
        "network",
        "max_decode_length",
        "num_samples",
        "greedy",
        "top_k",
        "eos_id",
        "cache_dtype",
        "prompts_at_once",
    )
)
def sample(
    network: T5,
    params: Mapping[str, Any],
    encoder_input_tokens: jax.Array,
    rng: jax.Array,
    temperature: jax.Array,
    top_p: jax.Array | None,
    *,
    max_decode_length: int,
    num_samples: int,
    greedy: bool,
    top_k: int,
    eos_id: int,
    cache_dtype: str | None,
    prompts_at_once: int | None,
) -> Decoded:
    """As `dro_jax.models.sampling.temperature_sample`, its arguments checked."""
    steps = Steps(
        network,
        params,
        rows_per_prompt=num_samples,
        max_decode_length=max_decode_length,
        cache_dtype=cache_dtype,
    )
    num_prompts = encoder_input_tokens.shape[0]
    prompt_keys = _prompt_keys(rng, num_prompts)

    def choose(logits, keys, step):
        if greedy:
            return likeliest(logits)
        logits = ban_padding(logits)
        keys = jax.vmap(jax.random.fold_in)(_row_keys(keys, num_samples), step)
        return sample_token(keys, logits, temperature, top_k=top_k, top_p=top_p)

    def advance(keys_of, state):
        position, step = position_of(state.cache)
        cache, logits = steps.step(state.cache, state.prompts, state.last_token)
        token = choose(logits, keys_of(state.places), step)
        # Of the policy itself, before temperature, filters and the ban on padding: what
        # scoring the same response computes.
        logprob = token_logprobs(logits, token)
        # What a row that ended holds is kept until another prompt takes it.
        column = position % max_decode_length
        kept = jax.lax.dynamic_index_in_dim(state.tokens, column, 1, keepdims=False)
        token = jnp.where(state.finished, kept, token)
        ended = (token == eos_id) | (step + 1 >= max_decode_length)
        return state._replace(
            cache=cache,
            last_token=token,
            tokens=state.tokens.at[:, column].set(token),
            logprobs=state.logprobs + jnp.where(state.finished, 0.0, logprob),
            finished=state.finished | ended,
        )

    if prompts_at_once is None or prompts_at_once >= num_prompts:
        state = all_at_once(steps, encoder_input_tokens, num_samples, max_decode_length)
        advance = functools.partial(advance, lambda places: prompt_keys)
        state = jax.lax.while_loop(
            lambda state: ~jnp.all(state.finished), advance, state
        )
        tokens, logprobs = responses_of(state, num_prompts)
    else:
        tokens, logprobs = decode_in_turn(
            steps,
            advance,
            encoder_input_tokens,
            prompt_keys,
            prompts_at_once,
            (num_samples, max_decode_length),
        )
    return Decoded(
        tokens=tokens,
        logprobs=logprobs,
        scores=logprobs,
        lengths=jnp.sum(tokens != PAD_ID, axis=-1, dtype=jnp.int32),
    )


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
