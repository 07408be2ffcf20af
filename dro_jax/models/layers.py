"""The building blocks of T5 other than attention, with T5X's parameter names and axes.

Parameters are float32 and carry logical axis names (the ``params_axes`` collection);
activations are computed in ``dtype``. Sharding constraints on activations do nothing
unless logical axis rules and a mesh are in force.
"""

import functools
import math
from collections.abc import Sequence

import jax
import jax.numpy as jnp
import numpy as np
from flax import linen as nn
from flax.linen import partitioning
from jax.typing import DTypeLike

from dro_jax.models.elementwise import activated, normalized

param_with_axes = partitioning.param_with_axes
constrain = partitioning.with_sharding_constraint


class Dense(nn.Module):
    """A linear map without bias from the last axes of its input to ``features``.

    The kernel is one matrix when ``kernel_axes`` names two axes (T5X's t5 networks
    join heads and head dimension), else it has one axis a name (scalable_t5).

    Attributes:
      features: output axes.
      kernel_axes: logical axis names of the kernel.
      num_input_axes: how many trailing input axes are contracted.
      init_scale: variance of the initial kernel times its fan-in.
      init_distribution: ``truncated_normal`` or ``normal``.
      dtype: dtype of the computation.
    """

    features: tuple[int, ...]
    kernel_axes: tuple[str, ...]
    num_input_axes: int = 1
    init_scale: float = 1.0
    init_distribution: str = "truncated_normal"
    dtype: DTypeLike = jnp.float32

    @nn.compact
    def __call__(self, inputs: jax.Array) -> jax.Array:
        """Maps ``[..., *inputs]`` to ``[..., *features]``."""
        input_shape = inputs.shape[-self.num_input_axes :]
        if len(self.kernel_axes) == 2:
            shape = (math.prod(input_shape), math.prod(self.features))
            in_axis, out_axis = (0,), (1,)
        else:
            shape = input_shape + self.features
            in_axis = tuple(range(self.num_input_axes))
            out_axis = tuple(range(self.num_input_axes, len(shape)))
        init = nn.initializers.variance_scaling(
            self.init_scale, "fan_in", self.init_distribution, in_axis, out_axis
        )
        kernel = param_with_axes(
            "kernel", init, shape, jnp.float32, axes=self.kernel_axes
        )
        # As one matrix product: XLA's CPU backend is several times slower at the
        # gradients of a product with more axes.
        width = math.prod(input_shape)
        rows = inputs.astype(self.dtype).reshape(-1, width)
        outputs = rows @ kernel.astype(self.dtype).reshape(width, -1)
        batch_shape = inputs.shape[: -self.num_input_axes]
        return outputs.reshape(batch_shape + self.features)


class LayerNorm(nn.Module):
    """Divides by the root mean square and scales: ``x / sqrt(mean(x²) + ε) · scale``.

    No mean is subtracted and no bias added (https://arxiv.org/abs/1910.07467). The
    statistics are computed in float32.
    """

    dtype: DTypeLike = jnp.float32

    @nn.compact
    def __call__(self, inputs: jax.Array) -> jax.Array:
        """Normalises ``[..., D]`` over its last axis."""
        dim = inputs.shape[-1]
        scale = param_with_axes(
            "scale", nn.initializers.ones, (dim,), jnp.float32, axes=("embed",)
        )
        return normalized(inputs, scale, self.dtype)


class Embed(nn.Module):
    """The token embedding table, also used as the output layer when logits are tied.

    Attributes:
      num_embeddings: vocabulary size V.
      features: embedding dimension D.
      dtype: dtype of the embedded tokens.
    """

    num_embeddings: int
    features: int
    dtype: DTypeLike = jnp.float32

    def setup(self) -> None:
        self.embedding = param_with_axes(
            "embedding",
            nn.initializers.normal(stddev=1.0),
            (self.num_embeddings, self.features),
            jnp.float32,
            axes=("vocab", "embed"),
        )

    def __call__(self, tokens: jax.Array) -> jax.Array:
        """Embeds token ids ``[B, L]`` as ``[B, L, D]``."""
        # A gather, where T5X contracts with a one-hot matrix: the values are the same
        # (one term a row) at a V-th of the work. The SPMD partitioner keeps a table
        # that is sharded over 'vocab' in place: each shard looks up the ids it holds
        # and the results are summed; 'clip' leaves out the bounds fill that would
        # need another pass. Rows are cast after the gather, so that their gradients
        # add up in float32.
        embedded = jnp.take(self.embedding, tokens, axis=0, mode="clip")
        return constrain(embedded.astype(self.dtype), ("batch", "length", "embed"))

    def attend(self, hidden: jax.Array) -> jax.Array:
        """Float32 inner products of ``[..., D]`` with every embedding, ``[..., V]``."""
        rows = hidden.astype(jnp.float32).reshape(-1, self.features)
        logits = jnp.einsum("nd,vd->nv", rows, self.embedding)
        return logits.reshape(*hidden.shape[:-1], self.num_embeddings)


class Mlp(nn.Module):
    """The feed-forward block: the product of activated projections, projected back.

    Attributes:
      hidden_dim: width of the hidden layer.
      activations: one name for T5 1.0 (``relu``), two for a gated unit
        (``gelu``, ``linear``; https://arxiv.org/abs/2002.05202).
      dropout_rate: dropout on the hidden layer, shared along the length.
      deterministic: disables dropout.
      dtype: dtype of the computation.
    """

    hidden_dim: int
    activations: Sequence[str] = ("relu",)
    dropout_rate: float = 0.0
    deterministic: bool = True
    dtype: DTypeLike = jnp.float32

    @nn.compact
    def __call__(self, inputs: jax.Array) -> jax.Array:
        """Maps ``[B, L, D]`` to ``[B, L, D]``."""
        gated = len(self.activations) > 1
        branches = [
            Dense(
                (self.hidden_dim,),
                ("embed", "mlp"),
                dtype=self.dtype,
                name=f"wi_{i}" if gated else "wi",
            )(inputs)
            for i in range(len(self.activations))
        ]
        hidden = activated(tuple(self.activations), branches)
        hidden = nn.Dropout(self.dropout_rate, broadcast_dims=(-2,))(
            hidden, deterministic=self.deterministic
        )
        hidden = constrain(hidden, ("batch", "length", "mlp"))
        return Dense(
            (inputs.shape[-1],), ("mlp", "embed"), dtype=self.dtype, name="wo"
        )(hidden)


@functools.cache
def relative_position_buckets(
    num_buckets: int, max_distance: int, bidirectional: bool
) -> np.ndarray:
    """The bucket of each signed distance key − query from −max to +max_distance.

    Half of the buckets hold exact distances, the others grow logarithmically up to
    ``max_distance``; farther ones share the last (https://arxiv.org/abs/1910.10683).
    Bidirectional attention splits the buckets between the two sides; else every
    later key falls in bucket 0.

    Returns:
      int32 ``[2 · max_distance + 1]``.
    """
    distance = np.arange(-max_distance, max_distance + 1)
    if bidirectional:
        num_buckets //= 2
        first = np.where(distance > 0, num_buckets, 0)
        magnitude = np.abs(distance)
    else:
        first = np.zeros_like(distance)
        magnitude = np.maximum(-distance, 0)
    num_exact = num_buckets // 2
    # T5X's float32 arithmetic: the rounding decides which bucket an edge falls in.
    ratio = magnitude.astype(np.float32) / num_exact + np.finfo(np.float32).eps
    growth = np.log(ratio) / np.log(max_distance / num_exact)
    logarithmic = num_exact + (growth * (num_buckets - num_exact)).astype(np.int32)
    logarithmic = np.minimum(logarithmic, num_buckets - 1)
    within = np.where(magnitude < num_exact, magnitude, logarithmic)
    return (first + within).astype(np.int32)


def skew(diagonals: jax.Array, query_length: int, key_length: int) -> jax.Array:
    """Spreads one value a diagonal over a matrix: ``out[h, i, j] = d[h, j − i + Q − 1]``.

    Padding and reshaping shift each row by one, so neither pass needs a gather or a
    scatter of Q · K elements.

    Args:
      diagonals: ``[H, Q + K − 1]``.
      query_length: Q.
      key_length: K.

    Returns:
      ``[H, Q, K]``.
    """
    num_heads, width = diagonals.shape
    padded = jnp.pad(diagonals, ((0, 0), (0, 1)))
    flat = jnp.tile(padded, (1, query_length))
    start = query_length - 1
    rows = flat[:, start : start + query_length * width]
    return rows.reshape(num_heads, query_length, width)[:, :, :key_length]


class RelativePositionBias(nn.Module):
    """T5's attention bias, a learnt scalar for each head and bucket of distances.

    Attributes:
      num_heads: number of heads H.
      bidirectional: whether keys after the query have buckets of their own.
    """

    num_heads: int
    bidirectional: bool
    num_buckets: int = 32
    max_distance: int = 128

    @nn.compact
    def __call__(
        self, query_length: int, key_length: int, position: jax.Array | None = None
    ) -> jax.Array:
        """The float32 bias that is added to the attention logits, by diagonals.

        Args:
          query_length: Q.
          key_length: K.
          position: where the single query stands, in step-by-step decoding.

        Returns:
          ``[H, Q + K − 1]`` for :func:`skew`, the bias of query i and key j in column
          j − i + Q − 1; of the single query, for whom that is column j, ``[1, H, 1, K]``.
        """
        embedding = param_with_axes(
            "rel_embedding",
            nn.initializers.variance_scaling(1.0, "fan_avg", "uniform"),
            (self.num_heads, self.num_buckets),
            jnp.float32,
            axes=("heads", "relpos_buckets"),
        )
        if position is None:
            distance = jnp.arange(1 - query_length, key_length)
        else:
            # Step k stands at place k modulo K, so that the places are a ring.
            distance = -((position - jnp.arange(key_length)) % key_length)
        buckets = relative_position_buckets(
            self.num_buckets, self.max_distance, self.bidirectional
        )
        index = jnp.clip(distance + self.max_distance, 0, 2 * self.max_distance)
        bucket = jnp.take(jnp.asarray(buckets), index, mode="clip")
        by_distance = jnp.take(embedding, bucket, axis=1, mode="clip")
        if position is None:
            return by_distance
        return by_distance[None, :, None, :]
