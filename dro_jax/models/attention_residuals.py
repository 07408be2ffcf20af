"""What attention without matrices keeps for its backward pass, by the names it has there."""

import jax
from jax.ad_checkpoint import checkpoint_name

_OUT, _LOG_SUMS = NAMES = ("attention_out", "attention_log_sums")


def named(out: jax.Array, log_sums: jax.Array) -> tuple[jax.Array, jax.Array]:
    """The same, for policies of `jax.checkpoint` that keep `NAMES`.

    Args:
      out: what is attended to.
      log_sums: log Σ exp of the logits, one number a query and head.
    """
    return checkpoint_name(out, _OUT), checkpoint_name(log_sums, _LOG_SUMS)
