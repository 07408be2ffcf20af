"""Multi-head attention for T5: the softmax, and the key/value cache."""

import jax
import jax.numpy as jnp
from flax import linen as nn
from jax.typing import DTypeLike

from dro_jax.models import attention_choice
from dro_jax.models.attention_mask import AttentionMask
from dro_jax.models.layers import Dense, constrain

# Finite, so that a query with nothing to attend to gets uniform weights, not NaN.
MASKED_LOGIT = -1e10
# Which axis of cached keys and values the steps are on.
_STEPS_AXIS = {"key": 3, "value": 2}
_AXES = {"key": ("kv", "length"), "value": ("length", "kv")}


class Attention(nn.Module):
    """Multi-head attention as T5's: logits unscaled, no biases in the projections.

    With ``decode`` the keys and values live in the ``cache`` collection. The first
    call creates it; later calls take one query a row. Self-attention adds the row's
    key and value at ``position``. Cross-attention projects ``encoded`` once, in the
    first call, and may serve several rows of queries for each row of keys, in order.
    Step k of self-attention stands at place k modulo the number of places. Cached keys and
    values may be given of a narrower type, in which those to come are kept too.
    Cached keys are ``[B, H, D, K]`` and values ``[B, H, K, D]``: as the matrix products
    of one query read them. Of any other order XLA's CPU backend makes a copy at each
    step, or multiplies several times more slowly.

    Attributes:
      num_heads: number of heads H.
      head_dim: dimension of a head.
      cross: whether keys and values come from the encoder.
      split_heads: whether kernels keep heads and head dimension as separate axes.
      dropout_rate: dropout on the weights, shared by the queries of a row.
      deterministic: disables dropout.
      float32_logits: accumulates the logits in float32 whatever the dtype.
      dtype: dtype of the computation; the softmax is always float32.
      implementation: `T5Config.attention`, for masks that are no matrices.
    """

    num_heads: int
    head_dim: int
    cross: bool = False
    split_heads: bool = False
    dropout_rate: float = 0.0
    deterministic: bool = True
    float32_logits: bool = False
    dtype: DTypeLike = jnp.float32
    implementation: attention_choice.Setting = "auto"

    @nn.compact
    def __call__(
        self,
        inputs: jax.Array,
        encoded: jax.Array | None = None,
        mask: AttentionMask | jax.Array | None = None,
        bias: jax.Array | None = None,
        *,
        position: jax.Array | None = None,
        cache_length: int | None = None,
    ) -> jax.Array:
        """Attends from ``inputs`` to themselves, or to ``encoded`` when ``cross``.

        Args:
          inputs: ``[N, Q, D]``.
          encoded: ``[B, K, D]``; not read once the cache holds its projections.
          mask: bool, broadcast against ``[B, H, Q, K]``; or, where no matrix of all
            pairs is to be made, segments.
          bias: float32, broadcast against ``[B, H, Q, K]``; beside segments the
            diagonals, ``[H, Q + K − 1]``.
          position: scalar, the step of decoding.
          cache_length: number of steps the self-attention cache holds; None when
            not decoding.

        Returns:
          ``[N, Q, D]``.
        """
        # T5 folds the scaling of the logits into the initial query kernel.
        query = self._project("query", inputs, init_scale=1.0 / self.head_dim)
        source = encoded if self.cross else inputs
        if cache_length is None:
            key, value = self._project("key", source), self._project("value", source)
        elif self.cross:
            key, value = self._cross_cache(encoded)
        else:
            key, value = self._self_cache(inputs, position, cache_length)
        if isinstance(mask, AttentionMask):
            attended = self._attend_by_segments(query, key, value, mask, bias)
        else:
            cached = cache_length is not None
            attended = self._attend(query, key, value, mask, bias, cached=cached)
        return Dense(
            (inputs.shape[-1],),
            ("heads", "kv", "embed") if self.split_heads else ("joined_kv", "embed"),
            num_input_axes=2,
            init_distribution="normal",
            dtype=self.dtype,
            name="out",
        )(attended)

    def _project(self, name, inputs, init_scale=1.0):
        projected = Dense(
            (self.num_heads, self.head_dim),
            ("embed", "heads", "kv") if self.split_heads else ("embed", "joined_kv"),
            init_scale=init_scale,
            init_distribution="normal",
            dtype=self.dtype,
            name=name,
        )(inputs)
        return constrain(projected, ("batch", "length", "heads", "kv"))

    def _cross_cache(self, encoded):
        key = self.variable(
            "cache", "cached_key", lambda: self._to_cache("key", encoded)
        )
        value = self.variable(
            "cache", "cached_value", lambda: self._to_cache("value", encoded)
        )
        return key.value, value.value

    def _to_cache(self, name, inputs):
        order = (0, 2, 3, 1) if name == "key" else (0, 2, 1, 3)
        return self._project(name, inputs).transpose(order)

    def _self_cache(self, inputs, position, cache_length):
        filled = self.has_variable("cache", "cached_key")
        rows = (inputs.shape[0], self.num_heads)
        shapes = {
            "key": (*rows, self.head_dim, cache_length),
            "value": (*rows, cache_length, self.head_dim),
        }
        found = []
        for name, shape in shapes.items():
            cached = self.variable(
                "cache", f"cached_{name}", jnp.zeros, shape, self.dtype
            )
            if filled:
                cached.value = jax.lax.dynamic_update_slice_in_dim(
                    cached.value,
                    self._to_cache(name, inputs).astype(cached.value.dtype),
                    position % cache_length,
                    axis=_STEPS_AXIS[name],
                )
            # Zeros that no row has written to would lie on every device.
            cached.value = constrain(cached.value, ("batch", "heads", *_AXES[name]))
            found.append(cached.value)
        return found

    def _attend_by_segments(self, query, key, value, mask, bias):
        chosen = attention_choice.implementation(
            self.implementation, query.shape[1], key.shape[1]
        )
        if not self.deterministic and self.dropout_rate > 0:
            # What all queries of a row drop is a key's weight: as well its value.
            rows, length, heads, _ = value.shape
            kept = self._dropped(jnp.ones((rows, heads, 1, length), value.dtype))
            value *= kept[:, :, 0].swapaxes(1, 2)[..., None]
        return attention_choice.attend(chosen, query, key, value, bias, mask)

    def _dropped(self, weights):
        return nn.Dropout(self.dropout_rate, broadcast_dims=(-2,), name="Dropout_0")(
            weights, deterministic=self.deterministic
        )

    def _attend(self, query, key, value, mask, bias, *, cached):
        query_shape = query.shape
        key, value = key.astype(self.dtype), value.astype(self.dtype)
        keys, values = ("bhdk", "bhkd") if cached else ("bkhd", "bkhd")
        # Rows of queries that share a row of keys become its query positions, so
        # that the samples or beams of a prompt read one copy of its keys.
        query = query.reshape(key.shape[0], -1, self.num_heads, self.head_dim)
        logits_dtype = jnp.float32 if self.float32_logits else self.dtype
        logits = jnp.einsum(
            f"bqhd,{keys}->bhqk", query, key, preferred_element_type=logits_dtype
        ).astype(jnp.float32)
        if bias is not None:
            logits = _add_shared(logits, bias)
        if mask is not None:
            logits = jnp.where(mask, logits, MASKED_LOGIT)
        weights = jax.nn.softmax(logits, axis=-1).astype(self.dtype)
        weights = self._dropped(weights)
        attended = jnp.einsum(f"bhqk,{values}->bqhd", weights, value)
        return attended.reshape(query_shape)


@jax.custom_vjp
def _add_shared(logits, bias):
    """``[B, H, Q, K]`` plus a bias that all rows of the batch share, ``[1, H, …]``.

    The bias's gradient is a sum over the batch. As a matrix product it takes XLA's CPU
    backend a tenth of the time of a reduction.
    """
    return logits + bias


def _add_shared_forward(logits, bias):
    return logits + bias, bias.shape


def _add_shared_backward(bias_shape, cotangent):
    ones = jnp.ones(len(cotangent), cotangent.dtype)
    summed = jnp.einsum(
        "b,bhqk->hqk", ones, cotangent, precision=jax.lax.Precision.HIGHEST
    )[None]
    others = [axis for axis in (1, 2, 3) if bias_shape[axis] == 1]
    return cotangent, summed.sum(others, keepdims=True).reshape(bias_shape)


_add_shared.defvjp(_add_shared_forward, _add_shared_backward)
