"""Learning-rate schedules."""

from collections.abc import Callable
from typing import Literal

import optax

from dro_jax.errors import ConfigError

Schedule = Callable[[int], float]


def learning_rate_schedule(
    *,
    learning_rate: float,
    warmup_steps: int = 0,
    decay: Literal["constant", "linear", "cosine", "rsqrt"] = "constant",
    total_steps: int | None = None,
    final_fraction: float = 0.0,
) -> Schedule:
    """A linear warm-up followed by a decay.

    Args:
      learning_rate: the rate after the warm-up.
      warmup_steps: steps from 0 to `learning_rate`; the first step's rate is
        ``learning_rate / warmup_steps``, never 0.
      decay: `constant`; `linear` or `cosine` to ``final_fraction · learning_rate`` at
        `total_steps`; `rsqrt`, ``learning_rate · sqrt(warmup / step)`` as T5's.
      total_steps: where `linear` and `cosine` end.
      final_fraction: the share of the rate left at the end.

    Returns:
      A function from the step (0 for the first update) to the rate.

    Raises:
      ConfigError: a negative rate or warm-up, an unknown decay, or `total_steps` missing, unused
        or not beyond the warm-up.
    """
    if not learning_rate >= 0:
        raise ConfigError(f"learning_rate must not be negative, got {learning_rate}")
    if warmup_steps < 0 or final_fraction < 0:
        raise ConfigError(
            "warmup_steps (WARMUP_STEPS) and final_fraction must not be negative, got "
            f"{warmup_steps} and {final_fraction}"
        )
    if decay not in ("constant", "linear", "cosine", "rsqrt"):
        raise ConfigError(
            f"decay = {decay!r} is unknown: use constant, linear, cosine or rsqrt"
        )
    ends = decay in ("linear", "cosine")
    if ends and (total_steps is None or total_steps <= warmup_steps):
        raise ConfigError(
            f"decay = {decay!r} ends at total_steps, which must be larger than "
            f"warmup_steps ({warmup_steps}); got {total_steps}"
        )
    if not ends and final_fraction:
        raise ConfigError(f"final_fraction has no effect with decay = {decay!r}")
    after = _decay(learning_rate, warmup_steps, decay, total_steps, final_fraction)
    if not warmup_steps:
        return after
    first = learning_rate / warmup_steps
    warmup = optax.linear_schedule(first, learning_rate, max(warmup_steps - 1, 1))
    return optax.join_schedules([warmup, after], [warmup_steps])


def _decay(learning_rate, warmup_steps, decay, total_steps, final_fraction):
    if decay == "constant":
        return optax.constant_schedule(learning_rate)
    if decay == "rsqrt":
        start = max(warmup_steps, 1)
        return lambda step: learning_rate * (start / (step + start)) ** 0.5
    steps = total_steps - warmup_steps
    if decay == "linear":
        return optax.linear_schedule(
            learning_rate, learning_rate * final_fraction, steps
        )
    return optax.cosine_decay_schedule(learning_rate, steps, final_fraction)
