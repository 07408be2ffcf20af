"""Optimisers: Adafactor (T5's) and AdamW, with separate rates for policy and value."""

import dataclasses
from collections.abc import Callable

import jax
import optax

from dro_jax.errors import ConfigError
from dro_jax.models.networks import VALUE
from dro_jax.training.per_layer import per_layer
from dro_jax.training.schedules import Schedule

OptimizerFactory = Callable[[Schedule], optax.GradientTransformation]


def adafactor(
    *,
    decay_rate: float = 0.8,
    multiply_by_parameter_scale: bool = True,
    clipping_threshold: float = 1.0,
    weight_decay: float | None = None,
) -> OptimizerFactory:
    """Adafactor (Shazeer and Stern 2018, arXiv 1804.04235) with T5's settings.

    The rate is relative: each update is scaled by its parameter's root mean square
    where `multiply_by_parameter_scale` is on. Layers that a scan keeps in one array are
    parameters each by itself, as without the scan.
    """

    def optimizer(schedule):
        return per_layer(
            optax.adafactor(
                schedule,
                decay_rate=decay_rate,
                multiply_by_parameter_scale=multiply_by_parameter_scale,
                clipping_threshold=clipping_threshold,
                weight_decay_rate=weight_decay,
            )
        )

    return optimizer


def adamw(
    *, b1: float = 0.9, b2: float = 0.999, eps: float = 1e-8, weight_decay: float = 0.0
) -> OptimizerFactory:
    """AdamW (Loshchilov and Hutter 2019, arXiv 1711.05101).

    Elementwise: whether layers are stacked makes no difference.
    """
    return lambda schedule: optax.adamw(
        schedule, b1=b1, b2=b2, eps=eps, weight_decay=weight_decay
    )


@dataclasses.dataclass(frozen=True)
class OptimizerConfig:
    """One optimiser for the policy and one, of the same kind, for the value.

    Attributes:
      optimizer: from :func:`adafactor` or :func:`adamw`.
      learning_rate: the policy's schedule.
      value_learning_rate: the value's schedule; default the policy's.
      max_grad_norm: clips the policy's and the value's gradient, each by its own global
        norm; default no clipping.

    Raises:
      ConfigError: the norm is not positive: gradients would be 0, or turned round.
    """

    optimizer: OptimizerFactory
    learning_rate: Schedule
    value_learning_rate: Schedule | None = None
    max_grad_norm: float | None = None

    def __post_init__(self):
        if self.max_grad_norm is not None and not self.max_grad_norm > 0:
            raise ConfigError(
                f"OptimizerConfig.max_grad_norm = {self.max_grad_norm} (MAX_GRAD_NORM) "
                "must be above 0, or None for no clipping"
            )

    def build(self) -> optax.GradientTransformation:
        """The optax transformation for a whole parameter tree."""
        value_schedule = self.value_learning_rate or self.learning_rate
        # Two optimisers, also of one kind and rate: each clips by the norm of its own
        # gradient, so that a value's large errors do not hold the policy back.
        return with_standard_promotion(
            optax.partition(
                {
                    "policy": self._chain(self.learning_rate),
                    VALUE: self._chain(value_schedule),
                },
                parameter_groups,
            )
        )

    def rates(self, step: int, *, value: bool) -> dict[str, float]:
        """The learning rates of the update that turns `step` into `step + 1`.

        Args:
          step: updates done.
          value: whether there is a value to report a rate for.
        """
        rates = {"learning_rate": float(self.learning_rate(step))}
        if value:
            schedule = self.value_learning_rate or self.learning_rate
            rates["learning_rate/value"] = float(schedule(step))
        return rates

    def _chain(self, schedule):
        update = self.optimizer(schedule)
        if self.max_grad_norm is None:
            return update
        return optax.chain(optax.clip_by_global_norm(self.max_grad_norm), update)


def with_standard_promotion(
    tx: optax.GradientTransformation,
) -> optax.GradientTransformation:
    """The same updates where implicit promotion raises, as in tests: optax relies on it."""

    def standard(function):
        def wrapped(*arguments):
            with (
                jax.numpy_dtype_promotion("standard"),
                jax.numpy_rank_promotion("allow"),
            ):
                return function(*arguments)

        return wrapped

    return optax.GradientTransformation(standard(tx.init), standard(tx.update))


def parameter_groups(params):
    """'value' for every leaf of the value subtree, 'policy' for all others."""
    return {
        name: jax.tree.map(lambda _, n=name: VALUE if n == VALUE else "policy", tree)
        for name, tree in params.items()
    }
