"""What sampling and beam search share: one decoding step at a time, with a cache."""

import dataclasses
import functools
import math
from collections.abc import Mapping
from typing import Any

import flax.struct
import jax
import jax.numpy as jnp
from flax.linen import partitioning
from jax.typing import DTypeLike

from dro_jax.errors import ConfigError
from dro_jax.models.attention_choice import mesh_in_force, platform
from dro_jax.models.t5 import T5

PAD_ID = 0
# T5 starts its responses from the padding id.
START_ID = 0
# Logits divided by less may be infinite in float32.
_LEAST_TEMPERATURE = 1e-30
# How a CPU encodes: so many prompts at a time, cut where they have so many tokens.
_ROWS_AT_ONCE, _LEAST_TO_CUT = 4, 64

Cache = Any


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


def likeliest(logits: jax.Array) -> jax.Array:
    """The first of the largest logits of each row, int32 ``[N]``, as `jnp.argmax`.

    Two reductions that XLA's CPU backend vectorises take it a tenth of argmax's time.
    """
    vocab = jax.lax.broadcasted_iota(jnp.int32, logits.shape, 1)
    last = logits.shape[1] - 1
    largest = jnp.max(logits, axis=1, keepdims=True)
    return jnp.min(jnp.where(logits == largest, vocab, last), axis=1)


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


def _encode(network: T5, params: Mapping[str, Any], tokens: jax.Array) -> jax.Array:
    """Encodes prompts ``[B, L]``; what it gives of padding means nothing.

    A CPU takes a few rows at a time, each few as wide as the longest of them: they stay
    in its caches, and less padding is computed where rows are sorted by length.
    """

    def encode(tokens):
        return network.apply({"params": params}, tokens, method=network.encode)

    rows, length = tokens.shape
    mesh = mesh_in_force()
    on_one_cpu = platform() == "cpu" and (mesh is None or mesh.size == 1)
    if not on_one_cpu or rows % _ROWS_AT_ONCE or length < _LEAST_TO_CUT:
        return encode(tokens)
    widths = [length // 4, length // 2, length * 3 // 4, length]

    def encode_to(width, part):
        padding = ((0, 0), (0, length - width), (0, 0))
        return jnp.pad(encode(part[:, :width]), padding)

    def encode_part(part):
        places = jnp.where(part != PAD_ID, jnp.arange(1, length + 1), 0)
        index = jnp.sum(jnp.max(places) > jnp.asarray(widths[:-1]))
        branches = [functools.partial(encode_to, width) for width in widths]
        return jax.lax.switch(index, branches, part)

    parts = tokens.reshape(-1, _ROWS_AT_ONCE, length)
    return jax.lax.map(encode_part, parts).reshape(rows, length, -1)


class Steps:
    """Decodes step by step: the network, its parameters, and how its cache looks.

    Args:
      network: the network.
      params: its parameters.
      rows_per_prompt: K, responses decoded for each prompt.
      max_decode_length: T, steps that the cache holds.
      cache_dtype: of cached keys and values; None, that of the activations.
    """

    def __init__(
        self,
        network: T5,
        params: Mapping[str, Any],
        *,
        rows_per_prompt: int,
        max_decode_length: int,
        cache_dtype: DTypeLike | None = None,
    ):
        # Nothing is differentiated, so nothing need be recomputed.
        config = dataclasses.replace(network.config, remat_policy="none")
        self._network, self._params = T5(config), params
        self._rows_per_prompt, self._length = rows_per_prompt, max_decode_length
        self._cache_dtype = cache_dtype

    def start(self, prompts: jax.Array) -> Cache:
        """Encodes prompts, int32 ``[B, L]``: the cache before their first step."""
        encoded = _encode(self._network, self._params, prompts)
        rows = prompts.shape[0] * self._rows_per_prompt
        start = jnp.full((rows, 1), START_ID, jnp.int32)
        _, mutated = self._decode({}, encoded, prompts, start)

        def narrow(path, leaf):
            own = getattr(path[-1], "key", "") in ("cached_key", "cached_value")
            return leaf.astype(self._cache_dtype) if own else leaf

        if self._cache_dtype is None:
            return mutated["cache"]
        return jax.tree_util.tree_map_with_path(narrow, mutated["cache"])

    def step(
        self, cache: Cache, prompts: jax.Array, last_tokens: jax.Array
    ) -> tuple[Cache, jax.Array]:
        """The next cache, and float32 logits ``[B · K, V]``.

        Args:
          cache: before the step.
          prompts: int32 ``[B, L]``, those encoded.
          last_tokens: int32 ``[B · K]`` of each response, a prompt's rows together.
        """
        variables = {"cache": cache}
        hidden, mutated = self._decode(variables, None, prompts, last_tokens[:, None])
        logits = self._network.apply(
            {"params": self._params}, hidden[:, 0], method=self._network.logits
        )
        return mutated["cache"], logits

    def _decode(self, variables, encoded, prompts, tokens):
        return self._network.apply(
            {"params": self._params, **variables},
            encoded,
            prompts,
            tokens,
            None,
            decode=True,
            max_decode_length=self._length,
            mutable=["cache"],
            method=self._network.decode_hidden,
        )
