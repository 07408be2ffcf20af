"""The jitted train and evaluation steps: one pair for all objectives."""

from collections.abc import Callable
from typing import Literal

import jax
import jax.numpy as jnp
import optax
from jax.typing import DTypeLike

from dro_jax import metrics as metrics_lib
from dro_jax.batch_fields import RUNNING
from dro_jax.models.assembly import with_running
from dro_jax.models.model import FeedbackModel
from dro_jax.models.networks import VALUE, Params
from dro_jax.models.training_metrics import batch_metrics, trajectory_metrics
from dro_jax.objectives.interface import Trajectories
from dro_jax.training.compiler_options import CompilerOptions
from dro_jax.training.microbatches import loss_and_gradient
from dro_jax.training.state import TrainState

TrainStep = Callable[..., tuple[TrainState, metrics_lib.Metrics]]
EvalStep = Callable[..., metrics_lib.Metrics]
NonFinite = Literal["stop", "skip"]


def make_train_step(
    model: FeedbackModel,
    optimizer: optax.GradientTransformation,
    *,
    num_microbatches: int = 1,
    gradient_sum_dtype: DTypeLike = "float32",
    on_non_finite: NonFinite = "stop",
    out_shardings: TrainState | None = None,
    compiler_options: CompilerOptions | None = None,
) -> TrainStep:
    """A jitted `(state, batch, reference_params, key) -> (state, metrics)`.

    The state's buffers are donated. Dropout follows the network's `dropout_rate`.

    Args:
      model: gives the loss.
      optimizer: gives the update.
      num_microbatches: parts of the batch that go through the networks one after
        another; the gradient is that of the whole batch.
      gradient_sum_dtype: in which their gradients are added up.
      on_non_finite: `skip` leaves parameters and optimiser as they were where the loss
        or the gradient is not finite, and counts it under `skipped_steps`.
      out_shardings: of the new state; default as XLA finds best.
      compiler_options: of the devices' compiler, by name.
    """
    uses_dropout = model.uses_dropout

    def step(state, batch, reference_params, key):
        # A function of the step alone: a resumed run draws the masks that it would have.
        dropout_rng = jax.random.fold_in(key, state.step) if uses_dropout else None
        (loss, metrics), grads = loss_and_gradient(
            model,
            state.params,
            with_running(batch, state.running),
            num_microbatches=num_microbatches,
            reference_params=reference_params,
            dropout_rng=dropout_rng,
            sum_dtype=gradient_sum_dtype,
        )
        updates, opt_state = optimizer.update(grads, state.opt_state, state.params)
        params = optax.apply_updates(state.params, updates)
        running = {
            name: metrics.pop(f"{RUNNING}{name}").total for name in state.running
        }
        metrics = {**metrics, **_norms(grads)}
        if on_non_finite == "skip":
            # Chosen on the device: the host learns of it a step later, when the old state
            # is gone. Metrics are 0 then, which merges into others as nothing.
            finite = jnp.isfinite(loss) & jnp.isfinite(metrics["grad_norm"].total)
            params = _where(finite, params, state.params)
            opt_state = _where(finite, opt_state, state.opt_state)
            running = _where(finite, running, state.running)
            metrics = _where(finite, metrics, jax.tree.map(jnp.zeros_like, metrics))
            metrics["skipped_steps"] = metrics_lib.Sum(1.0 - finite.astype(jnp.float32))
        new_state = TrainState(state.step + 1, params, opt_state, running)
        return new_state, metrics

    shardings = None if out_shardings is None else (out_shardings, None)
    # Donated, the old state's memory becomes the new one's: else both are held at once.
    return jax.jit(
        step,
        donate_argnums=0,
        out_shardings=shardings,
        compiler_options=compiler_options,
    )


def make_eval_step(model: FeedbackModel) -> EvalStep:
    """A jitted `(params, batch, reference_params) -> metrics`, without dropout.

    An objective of rollouts has a loss of what the policy sampled alone, so that a log's
    metrics are all but losses.
    """

    def of_log(params, batch, reference_params):
        trajectories = model.trajectories_of_part(
            params, batch, reference_params=reference_params
        )
        return trajectory_metrics(trajectories, None) | batch_metrics(batch)

    def step(params, batch, reference_params):
        if model.objective.needs.rollouts:
            return of_log(params, batch, reference_params)
        return model.loss(params, batch, reference_params=reference_params)[1]

    return jax.jit(step)


def make_gather_step(
    model: FeedbackModel, out_shardings: jax.sharding.Sharding
) -> Callable[..., tuple[Trajectories, metrics_lib.Metrics]]:
    """A jitted `(params, batch, reference_params) -> (trajectories, metrics)`.

    Args:
      model: gives trajectories of a part of a split, and metrics of its rows alone.
      out_shardings: of all of it; replicated, every host has it whole.
    """

    def step(params, batch, reference_params):
        trajectories = model.trajectories_of_part(
            params, batch, reference_params=reference_params
        )
        return trajectories, batch_metrics(batch)

    return jax.jit(step, out_shardings=out_shardings)


def _where(condition, new, old):
    return jax.tree.map(lambda a, b: jnp.where(condition, a, b), new, old)


def _norms(grads: Params) -> metrics_lib.Metrics:
    norms = {"grad_norm": optax.tree.norm(grads)}
    if VALUE in grads:
        policy = FeedbackModel.policy_params(grads)
        norms["grad_norm/policy"] = optax.tree.norm(policy)
        norms["grad_norm/value"] = optax.tree.norm(grads[VALUE])
    return {
        name: metrics_lib.Mean(norm, jnp.float32(1.0)) for name, norm in norms.items()
    }
