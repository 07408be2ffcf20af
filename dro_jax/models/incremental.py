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
from flax.traverse_util import flatten_dict, unflatten_dict
from jax.typing import DTypeLike

from dro_jax.errors import ConfigError
from dro_jax.models.attention_choice import mesh_in_force, platform
from dro_jax.models.t5 import T5

PAD_ID = 0
# T5 starts its responses from the padding id.
START_ID = 0
# Logits divided by less may be infinite in float32.
_LEAST_TEMPERATURE = 1e-30
# How a CPU encodes: so many prompts at a time, as wide as the longest of them needs, of
# these eighths of all columns where there are so many.
_ROWS_AT_ONCE, _LEAST_TO_CUT = 4, 48
_EIGHTHS = (4, 5, 6, 7, 8)
# A CPU finds the largest logit first by parts of so many tokens.
_PART = 128

# In the paths of what the cache has of the prompts; and what it has of tokens, with their
# axis.
_CROSS = "encoder_decoder_attention"
_TOKENS_AXIS = {"cached_key": -1, "cached_value": -2}

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
    """The first of the largest logits of each row but padding's, int32 ``[N]``.

    As `jnp.argmax` of :func:`ban_padding`, which on a CPU takes longer than a layer. Here
    a CPU passes over all logits once, for the largest of each part of the vocabulary; the
    rest is done with these, and within one part. Elsewhere vocabularies may be sharded.
    """
    if not _on_one_cpu() or logits.shape[1] <= _PART:
        return _first_largest(ban_padding(logits))
    parts = jnp.pad(
        logits, ((0, 0), (0, -logits.shape[1] % _PART)), constant_values=-jnp.inf
    ).reshape(len(logits), -1, _PART)
    first = jnp.max(ban_padding(parts[:, 0]), axis=1)
    part = _first_largest(jnp.max(parts, axis=2).at[:, 0].set(first))
    within = jnp.take_along_axis(parts, part[:, None, None], axis=1)[:, 0]
    within = jnp.where(part[:, None] == 0, ban_padding(within), within)
    return part * _PART + _first_largest(within)


def _first_largest(rows: jax.Array) -> jax.Array:
    """`jnp.argmax` by two reductions, a tenth of its time on a CPU."""
    places = jax.lax.broadcasted_iota(jnp.int32, rows.shape, 1)
    largest = jnp.max(rows, axis=1, keepdims=True)
    return jnp.min(jnp.where(rows == largest, places, rows.shape[1] - 1), axis=1)


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


def _on_one_cpu() -> bool:
    mesh = mesh_in_force()
    return platform() == "cpu" and (mesh is None or mesh.size == 1)


def _widened(name: str, cached: jax.Array, length: int) -> jax.Array:
    """Cached keys or values with room for so many tokens, the new ones zeros."""
    axis = _TOKENS_AXIS[name]
    padding = [(0, 0)] * cached.ndim
    padding[axis] = (0, length - cached.shape[axis])
    return jnp.pad(cached, padding)


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
        """Encodes prompts, int32 ``[B, L]``: the cache before their first step.

        A CPU takes a few rows at a time, each few as wide as the longest of them: they
        stay in its caches, and less padding is computed where rows are sorted by length.
        """
        rows, length = prompts.shape
        if rows % _ROWS_AT_ONCE or length < _LEAST_TO_CUT or not _on_one_cpu():
            return self._start(prompts)
        widths = [length * eighths // 8 for eighths in _EIGHTHS]

        def start_part(part):
            places = jnp.where(part != PAD_ID, jnp.arange(1, length + 1), 0)
            index = jnp.sum(jnp.max(places) > jnp.asarray(widths[:-1]))

            def cut_to(width):
                started = flatten_dict(self._start(part[:, :width]))
                return {
                    path: _widened(path[-1], started[path], length)
                    for path in started
                    if _CROSS in path
                }

            return jax.lax.switch(index, [lambda w=w: cut_to(w) for w in widths])

        parts = prompts.reshape(-1, _ROWS_AT_ONCE, length)
        crossed = jax.lax.map(start_part, parts)
        cache = {}
        for path, like in flatten_dict(jax.eval_shape(self._start, prompts)).items():
            # All but what is projected of the prompts is empty.
            if path in crossed:
                found = jnp.moveaxis(crossed[path], 0, len(like.shape) - 4)
                cache[path] = found.reshape(like.shape)
            else:
                cache[path] = jnp.zeros(like.shape, like.dtype)
        return unflatten_dict(cache)

    def _start(self, prompts):
        encoded = self._network.apply(
            {"params": self._params}, prompts, method=self._network.encode
        )
        rows = prompts.shape[0] * self._rows_per_prompt
        start = jnp.full((rows, 1), START_ID, jnp.int32)
        _, mutated = self._decode({}, encoded, prompts, start)

        def narrow(path, leaf):
            own = getattr(path[-1], "key", "") in _TOKENS_AXIS
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
