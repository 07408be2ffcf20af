"""What sampling and beam search share: one decoding step at a time, with a cache."""

import dataclasses
import functools
import math
from collections.abc import Callable, Mapping
from typing import Any

import flax.struct
import jax
import jax.numpy as jnp
from flax.linen import partitioning

from dro_jax.errors import ConfigError
from dro_jax.models.t5 import T5

PAD_ID = 0
# T5 starts its responses from the padding id.
START_ID = 0
# Logits divided by less may be infinite in float32.
_LEAST_TEMPERATURE = 1e-30

Cache = Any
Step = Callable[[Cache, jax.Array], tuple[Cache, jax.Array]]


@flax.struct.dataclass
class Decoded:
    """Responses to B prompts, K for each.

    Attributes:
      tokens: int32 ``[B, K, T]``: up to and with EOS, then padding (0).
      logprobs: float32 ``[B, K]``: ``log π(response | prompt)``, summed over the
        returned tokens, EOS too. π is the policy itself, its softmax over the whole
        vocabulary, whatever temperature, filter or ban on padding chose the tokens:
        what scoring the same response computes.
      scores: float32 ``[B, K]``: what the search ranked by; sampling: ``logprobs``.
      lengths: int32 ``[B, K]``: number of returned tokens, EOS too.
    """

    tokens: jax.Array
    logprobs: jax.Array
    scores: jax.Array
    lengths: jax.Array


def policy_params(params: Mapping[str, Any]) -> dict[str, Any]:
    """The policy's own subtrees, without siblings such as ``value``."""
    return {name: params[name] for name in ("token_embedder", "encoder", "decoder")}


def require_at_least(least: float, **values: float) -> None:
    """Raises ConfigError, naming it, for a decoding option below ``least``, or infinite."""
    for name, value in values.items():
        if not least <= value < math.inf:
            finite = "" if value < math.inf else "a finite number, "
            raise ConfigError(
                f"Decoding: {name} is {value}; give {finite}at least {least}."
            )


def require_temperature(temperature: float) -> None:
    """Raises ConfigError for one by which float32 logits cannot be divided."""
    require_at_least(0, temperature=temperature)
    if 0 < temperature < _LEAST_TEMPERATURE:
        raise ConfigError(
            f"Decoding: temperature is {temperature}; 0 takes the likeliest token."
        )


def has_prompt(encoder_input_tokens: jax.Array) -> jax.Array:
    """bool ``[B]``: False for rows that only fill up a batch; nothing is decoded."""
    return jnp.any(encoder_input_tokens != PAD_ID, axis=1)


def ban_padding(logits: jax.Array) -> jax.Array:
    """Makes the padding id impossible to choose: it would hide what follows it."""
    vocab = jax.lax.broadcasted_iota(jnp.int32, logits.shape, logits.ndim - 1)
    return jnp.where(vocab == PAD_ID, -jnp.inf, logits)


def top_k(rows: jax.Array, k: int) -> tuple[jax.Array, jax.Array]:
    """`jax.lax.top_k` of each row of ``[N, M]``, computed where the row lies.

    XLA would gather the rows of all devices on each of them, at every step.
    """
    largest = functools.partial(jax.lax.top_k, k=k)
    axis = partitioning.logical_to_mesh_axes(("batch",))
    mesh = jax.sharding.get_abstract_mesh()
    if mesh.empty or not axis or axis[0] not in mesh.shape:
        return largest(rows)
    num_parts = mesh.shape[axis[0]]
    if num_parts == 1 or rows.shape[0] % num_parts:
        return largest(rows)
    by_row = jax.shard_map(largest, in_specs=axis, out_specs=axis, axis_names={axis[0]})
    return by_row(rows)


def start_decoding(
    network: T5,
    params: Mapping[str, Any],
    encoder_input_tokens: jax.Array,
    *,
    rows_per_prompt: int,
    max_decode_length: int,
) -> tuple[Cache, Step]:
    """Encodes every prompt once and prepares the cache.

    Args:
      network: the network.
      params: its parameters.
      encoder_input_tokens: int32 ``[B, L]``.
      rows_per_prompt: K, responses decoded for each prompt.
      max_decode_length: number of steps T.

    Returns:
      The cache before the first step, and a function from a cache and the last token
      of each response, int32 ``[B · K]`` (a prompt's rows together), to the next
      cache and float32 logits ``[B · K, V]``.
    """
    # Nothing is differentiated, so nothing need be recomputed.
    config = dataclasses.replace(network.config, remat_policy="none")
    network = T5(config)
    encoded = network.apply(
        {"params": params}, encoder_input_tokens, method=network.encode
    )

    def decode(variables, encoded, tokens):
        return network.apply(
            variables,
            encoded,
            encoder_input_tokens,
            tokens,
            None,
            decode=True,
            max_decode_length=max_decode_length,
            mutable=["cache"],
            method=network.decode_hidden,
        )

    def step(cache, last_tokens):
        variables = {"params": params, "cache": cache}
        hidden, mutated = decode(variables, None, last_tokens[:, None])
        logits = network.apply({"params": params}, hidden[:, 0], method=network.logits)
        return mutated["cache"], logits

    rows = encoder_input_tokens.shape[0] * rows_per_prompt
    start = jnp.full((rows, 1), START_ID, jnp.int32)
    _, mutated = decode({"params": params}, encoded, start)
    return mutated["cache"], step
