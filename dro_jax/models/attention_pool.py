"""V(x) from the states of an encoder that is not trained: an attention pool, a head."""

import jax
import jax.numpy as jnp
import numpy as np
from flax import linen as nn

from dro_jax.errors import ConfigError
from dro_jax.models.attention import MASKED_LOGIT

# The pool is small beside the encoder, and its values are subtracted from rewards: TPUs
# would round its products to bfloat16.
_HIGHEST = jax.lax.Precision.HIGHEST
# A sigmoid that began nearer to 0 or 1 would hardly learn.
_LEAST_SHARE = 1e-3


def check_heads(num_heads: int, width: int) -> None:
    """Refuses a number of heads that does not divide the width of the states.

    Raises:
      ConfigError: it does not.
    """
    if num_heads < 1 or width % num_heads:
        raise ConfigError(
            f"an attention pool of {num_heads} heads does not divide the encoder's "
            f"{width} dimensions (T5Config.emb_dim): set ValueFitConfig.num_heads to a "
            f"divisor of {width}"
        )


class AttentionPool(nn.Module):
    """Multi-head attention with one learned query, in float32.

    Head h pools ``Σ_l softmax_l(q_h · K_h s_l / √d) V_h s_l``; the heads are joined and
    projected back to the width of the states.

    Attributes:
      num_heads: heads H, a divisor of the width D; d = D / H.
      dropout_rate: dropout on the weights.
    """

    num_heads: int = 8
    dropout_rate: float = 0.1

    @nn.compact
    def __call__(
        self, states: jax.Array, mask: jax.Array, *, enable_dropout: bool = False
    ) -> jax.Array:
        """Pools the states of each trajectory's prompt.

        Args:
          states: ``[B, L, D]``.
          mask: bool ``[B, S, L]``, which positions belong to which prompt. A prompt
            without any gets the mean of its row, which is finite and means nothing.
          enable_dropout: uses the ``dropout`` random stream.

        Returns:
          ``[B, S, D]`` float32.

        Raises:
          ConfigError: the heads do not divide the width.
        """
        width = states.shape[-1]
        check_heads(self.num_heads, width)
        heads = (self.num_heads, width // self.num_heads)
        query = self.param("query", nn.initializers.normal(1.0), heads, jnp.float32)
        key, value = (self._kernel(name, (width, *heads)) for name in ("key", "value"))
        states = states.astype(jnp.float32)
        # There is one query, so the keys' map is applied to it instead of to every
        # state, and the values' map to what was pooled: the same sums, less work.
        query = jnp.einsum("dhk,hk->dh", key, query, precision=_HIGHEST)
        logits = jnp.einsum(
            "bld,dh->bhl", states, query * heads[1] ** -0.5, precision=_HIGHEST
        )
        logits = jnp.where(mask[:, None], logits[:, :, None], MASKED_LOGIT)
        weights = nn.Dropout(self.dropout_rate)(
            jax.nn.softmax(logits, axis=-1), deterministic=not enable_dropout
        )
        pooled = jnp.einsum("bhsl,bld->bshd", weights, states, precision=_HIGHEST)
        joined = jnp.einsum("bshd,dhk->bshk", pooled, value, precision=_HIGHEST)
        out = self._kernel("out", (*heads, width), num_input_axes=2)
        return jnp.einsum("bshk,hkd->bsd", joined, out, precision=_HIGHEST)

    def _kernel(self, name, shape, num_input_axes=1):
        axes = tuple(range(len(shape)))
        init = nn.initializers.variance_scaling(
            1.0, "fan_in", "normal", axes[:num_input_axes], axes[num_input_axes:]
        )
        return self.param(name, init, shape, jnp.float32)


class PromptValue(nn.Module):
    """A value for each prompt that stays between two bounds.

    ``V(x) = min + (max − min) · sigmoid(w · pool(states of x) + b)``

    Source: arXiv 2305.14718, with min = 0. w begins at 0, so that V begins at
    ``initial_value`` for every prompt.

    Attributes:
      min_value, max_value: the bounds, in units of reward.
      initial_value: where V begins; default the middle.
      num_heads, dropout_rate: as in :class:`AttentionPool`.
    """

    min_value: float
    max_value: float
    initial_value: float | None = None
    num_heads: int = 8
    dropout_rate: float = 0.1

    @nn.compact
    def __call__(
        self, states: jax.Array, mask: jax.Array, *, enable_dropout: bool = False
    ) -> jax.Array:
        """``[B, S]`` float32 values; arguments as in :class:`AttentionPool`."""
        pooled = AttentionPool(self.num_heads, self.dropout_rate, name="pool")(
            states, mask, enable_dropout=enable_dropout
        )
        kernel = self.param(
            "kernel", nn.initializers.zeros, pooled.shape[-1:], jnp.float32
        )
        bias = self.param(
            "bias", nn.initializers.constant(self._initial_logit()), (), jnp.float32
        )
        logits = jnp.einsum("bsd,d->bs", pooled, kernel, precision=_HIGHEST) + bias
        span = self.max_value - self.min_value
        return self.min_value + span * jax.nn.sigmoid(logits)

    def _initial_logit(self) -> float:
        if self.initial_value is None:
            return 0.0
        share = (self.initial_value - self.min_value) / (
            self.max_value - self.min_value
        )
        share = np.clip(share, _LEAST_SHARE, 1 - _LEAST_SHARE)
        return float(np.log(share / (1 - share)))
