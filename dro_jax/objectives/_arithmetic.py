"""What several objectives compute alike: log-ratios, residuals, masked sums."""

import jax
import jax.numpy as jnp

# exp overflows float32 above 88; this leaves room for factors of the size of a loss.
_LARGEST_EXPONENT = 60.0


def log_ratios(policy_logprobs: jax.Array, reference_logprobs: jax.Array) -> jax.Array:
    """``ℓ = log π_θ − sg log π_ref``, in the shape of its arguments."""
    return policy_logprobs - jax.lax.stop_gradient(reference_logprobs)


def residuals(
    rewards: jax.Array,
    values: jax.Array | float,
    tau: float,
    log_ratios: jax.Array,
) -> jax.Array:
    """``r − V − τ ℓ``: zero everywhere at the optimum of reward less τ KL."""
    return rewards - values - tau * log_ratios


def safe_exp(exponents: jax.Array) -> jax.Array:
    """``exp``, held at e^60 (about 1e26) above 60: never infinite."""
    return jnp.exp(jnp.minimum(exponents, _LARGEST_EXPONENT))


def importance_weights(log_ratios: jax.Array, clip: float) -> jax.Array:
    """``sg clamp(exp ℓ, 1 − clip, 1 + clip)``: a plain clamp, no PPO minimum."""
    weights = jnp.clip(safe_exp(log_ratios), 1 - clip, 1 + clip)
    return jax.lax.stop_gradient(weights)


def keep_present(values: jax.Array, weights: jax.Array) -> jax.Array:
    """Values where the weight is positive, 0 elsewhere, whatever stood there.

    A product with a weight of 0 would turn −inf or NaN at padding into NaN.
    """
    return jnp.where(weights > 0, values, 0.0)


def sum_over_tokens(values: jax.Array, token_weights: jax.Array) -> jax.Array:
    """``[N, T] -> [N]``: the weighted sum; padding adds 0 to value and gradient."""
    token_weights = jax.lax.stop_gradient(token_weights)
    return jnp.sum(keep_present(values, token_weights) * token_weights, axis=-1)
