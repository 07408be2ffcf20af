"""Rows that the next prompts take as responses end (continuous batching).

A row whose response ended would idle until the longest of its batch has. Where more prompts
wait than there are rows, it is given the next of them instead. The cache is a ring of T
places, into which all rows write at one place: a row knows when its own response began,
and no row has more than T steps.
"""

import functools
from collections.abc import Callable
from typing import NamedTuple

import jax
import jax.numpy as jnp

from dro_jax.errors import ConfigError
from dro_jax.models.incremental import PAD_ID, START_ID, Steps, has_prompt
from dro_jax.models.output_layer import data_parallelism
from dro_jax.models.row_state import RowState, all_at_once, position_of, responses_of

# Rows are refilled once so large a part of them is free: encoding a few prompts together
# costs less than one by one, and more than a few rows should not idle.
_REFILLED_PART = 8


class _Waiting(NamedTuple):
    """Prompts that wait, by device: D lists of W prompts each.

    Attributes:
      prompts: int32 ``[D, W, L]``, all padding where there is none.
      next: int32 ``[D]``, the first that has no rows yet.
      tokens: int32 ``[D, W, K, T]``, responses that are done.
      logprobs: float32 ``[D, W, K]`` theirs.
    """

    prompts: jax.Array
    next: jax.Array
    tokens: jax.Array
    logprobs: jax.Array


def decode_in_turn(
    steps: Steps,
    advance: Callable[[Callable[[jax.Array], jax.Array], RowState], RowState],
    prompts: jax.Array,
    prompt_keys: jax.Array,
    at_once: int,
    shape: tuple[int, int],
) -> tuple[jax.Array, jax.Array]:
    """Decodes so many of the prompts at a time.

    Args:
      steps: encodes prompts.
      advance: a step of all rows, given what makes the keys ``[S]`` of the prompts at
        these places.
      prompts: int32 ``[B, L]``.
      prompt_keys: ``[B]``.
      at_once: S prompts that have rows.
      shape: K responses to each, of at most T tokens.

    Returns:
      Tokens ``[B, K, T]``, 0 behind each response, and log-probabilities ``[B, K]``.

    Raises:
      ConfigError: devices cannot share out the rows evenly.
    """
    devices = data_parallelism()
    if at_once % devices:
        raise ConfigError(
            f"Decoding: prompts_at_once is {at_once}; give a multiple of the {devices} "
            "devices that share out a batch."
        )
    each = at_once // devices
    few = max(1, each // _REFILLED_PART)
    waiting, keys = _waiting(prompts, prompt_keys, devices, few, shape)
    there = jnp.any(waiting.prompts != PAD_ID, axis=2)
    counts = jnp.max(
        jnp.where(there, jnp.arange(1, there.shape[1] + 1)[None], 0), axis=1
    )

    def keys_of(places):
        taken = jax.vmap(lambda keys, places: keys.at[places].get(mode="clip"))(
            keys, places.reshape(devices, each)
        )
        return taken.reshape(at_once, *taken.shape[2:])

    def is_free(state):
        return jnp.all(state.finished.reshape(devices, each, shape[0]), axis=2)

    def may_refill(state, waiting):
        free = jnp.sum(is_free(state), axis=1)
        return jnp.any((free >= few) & (waiting.next < counts))

    def go_on(both):
        state, waiting = both
        free = is_free(state)
        slots = jnp.argsort(~free, axis=1, stable=True)[:, :few].astype(jnp.int32)
        taken = waiting.next[:, None] + jnp.arange(few)[None]
        fits = jnp.take_along_axis(free, slots, axis=1) & (taken < counts[:, None])
        # What lies outside is not written.
        slots = jnp.where(fits, slots, each)
        waiting = _keep(state, waiting, slots)
        state = _refill(steps, state, waiting, slots, shape)
        waiting = waiting._replace(next=waiting.next + jnp.sum(fits, axis=1))
        state = jax.lax.while_loop(
            lambda state: ~jnp.all(state.finished) & ~may_refill(state, waiting),
            functools.partial(advance, keys_of),
            state,
        )
        return state, waiting

    state = _nothing_yet(steps, prompts, at_once, waiting.prompts.shape[1], shape)
    state, waiting = jax.lax.while_loop(
        lambda both: jnp.any(both[1].next < counts), go_on, (state, waiting)
    )
    everyone = jnp.broadcast_to(jnp.arange(each), (devices, each))
    waiting = _keep(state, waiting, everyone)

    def given(x):
        return x.swapaxes(0, 1).reshape(-1, *x.shape[2:])[: len(prompts)]

    return given(waiting.tokens), given(waiting.logprobs)


def _waiting(prompts, prompt_keys, devices, few, shape):
    """All prompts, shared out in turn, and their keys, ``[D, W, …]``."""
    each = -(-len(prompts) // devices)

    def shared(x, more=0):
        # Prompts come sorted by length: each device takes some of all lengths.
        x = jnp.pad(x, ((0, each * devices - len(x)), *((0, 0),) * (x.ndim - 1)))
        x = x.reshape(each, devices, *x.shape[1:]).swapaxes(0, 1)
        return jnp.pad(x, ((0, 0), (0, more), *((0, 0),) * (x.ndim - 2)))

    # A few behind the last, for the slice that begins there.
    rows = shared(prompts, few)
    if jnp.issubdtype(prompt_keys.dtype, jax.dtypes.prng_key):
        data = shared(jax.random.key_data(prompt_keys))
        keys = jax.random.wrap_key_data(data, impl=jax.random.key_impl(prompt_keys))
    else:
        keys = shared(prompt_keys)
    outer = rows.shape[:2]
    return _Waiting(
        prompts=rows,
        next=jnp.zeros(devices, jnp.int32),
        tokens=jnp.full((*outer, *shape), PAD_ID, jnp.int32),
        logprobs=jnp.zeros((*outer, shape[0]), jnp.float32),
    ), keys


def _keep(state: RowState, waiting: _Waiting, slots: jax.Array) -> _Waiting:
    """Puts the responses of rows ``[D, n]`` where their prompts stand."""
    devices, each = len(slots), len(state.places) // len(slots)
    tokens, logprobs = responses_of(state, len(state.places))

    def keep(kept, found):
        found = found.reshape(devices, each, *found.shape[1:])
        places = state.places.reshape(devices, each)

        def on_one(kept, found, places, slots):
            there = places.at[slots].get(mode="fill", fill_value=len(kept))
            found = found.at[slots].get(mode="clip")
            return kept.at[there].set(found, mode="drop")

        return jax.vmap(on_one)(kept, found, places, slots)

    return waiting._replace(
        tokens=keep(waiting.tokens, tokens), logprobs=keep(waiting.logprobs, logprobs)
    )


def _refill(steps, state: RowState, waiting: _Waiting, slots, shape) -> RowState:
    """Gives rows ``[D, n]`` to the next prompts."""
    devices, few = slots.shape
    samples, length = shape
    prompts = jax.vmap(
        lambda rows, start: jax.lax.dynamic_slice_in_dim(rows, start, few)
    )(waiting.prompts, waiting.next)
    prompts = prompts.reshape(devices * few, -1)
    places = waiting.next[:, None] + jnp.arange(few, dtype=jnp.int32)[None]
    position, _ = position_of(state.cache)

    def put(old, new, rows=1, axis=0):
        return _put(old, new, slots, rows, axis)

    def put_cached(path, old, new):
        names = [getattr(entry, "key", None) for entry in path]
        if names[-1] == "began":
            return put(old, jnp.full(len(new), position), samples)
        # Of what a row left in its own cache nothing is seen any more.
        if "self_attention" in names or old.ndim < 4:
            return old
        return put(old, new, axis=old.ndim - 4)

    rows = devices * few * samples
    return RowState(
        cache=jax.tree_util.tree_map_with_path(
            put_cached, state.cache, steps.start(prompts)
        ),
        prompts=put(state.prompts, prompts),
        places=put(state.places, places.reshape(-1)),
        last_token=put(state.last_token, jnp.full(rows, START_ID), samples),
        tokens=put(state.tokens, jnp.full((rows, length), PAD_ID), samples),
        logprobs=put(state.logprobs, jnp.zeros(rows), samples),
        finished=put(
            state.finished, jnp.repeat(~has_prompt(prompts), samples), samples
        ),
    )


def _put(old, new, slots, rows, axis):
    """Writes ``new`` at the slots ``[D, n]`` of an axis of D · S · `rows` entries."""
    devices = len(slots)
    before, after = old.shape[:axis], old.shape[axis + 1 :]
    inner = old.shape[axis] // devices // rows

    def split(x, count):
        return x.reshape(*before, devices, count, rows, *after)

    def on_one(old, new, slots):
        index = (slice(None),) * axis + (slots,)
        return old.at[index].set(new.astype(old.dtype), mode="drop")

    old_parts, new_parts = split(old, inner), split(new, slots.shape[1])
    if devices == 1:
        parts = on_one(old_parts.squeeze(axis), new_parts.squeeze(axis), slots[0])
    else:
        parts = jax.vmap(on_one, (axis, axis, 0), axis)(old_parts, new_parts, slots)
    return parts.reshape(old.shape)


def _nothing_yet(steps, prompts, at_once, nowhere, shape) -> RowState:
    """Rows that all are free, and are of no prompt."""
    empty = jnp.zeros((at_once, prompts.shape[1]), prompts.dtype)
    like = jax.eval_shape(lambda: all_at_once(steps, empty, *shape))
    state = jax.tree.map(lambda x: jnp.zeros(x.shape, x.dtype), like)
    return state._replace(
        places=jnp.full(at_once, nowhere, jnp.int32),
        finished=jnp.ones(state.finished.shape, bool),
    )
