"""The jitted train and evaluation steps: one pair for all objectives."""

import dataclasses
from collections.abc import Callable

import jax
import optax

from dro_jax import metrics as metrics_lib
from dro_jax.models.model import VALUE, Batch, FeedbackModel, Params
from dro_jax.training.state import TrainState

TrainStep = Callable[..., tuple[TrainState, metrics_lib.Metrics]]
EvalStep = Callable[..., metrics_lib.Metrics]


def make_train_step(
    model: FeedbackModel, optimizer: optax.GradientTransformation
) -> TrainStep:
    """A jitted `(state, batch, reference_params, key) -> (state, metrics)`.

    The state's buffers are donated. Dropout follows the network's `dropout_rate`.
    """
    uses_dropout = model.uses_dropout

    def step(state, batch, reference_params, key):
        dropout_rng = jax.random.fold_in(key, state.step) if uses_dropout else None
        gradient = jax.value_and_grad(model.loss, has_aux=True)
        (_, metrics), grads = gradient(
            state.params,
            batch,
            reference_params=reference_params,
            dropout_rng=dropout_rng,
        )
        updates, opt_state = optimizer.update(grads, state.opt_state, state.params)
        params = optax.apply_updates(state.params, updates)
        metrics = {**metrics, **_norms(grads)}
        new_state = dataclasses.replace(
            state, step=state.step + 1, params=params, opt_state=opt_state
        )
        return new_state, metrics

    return jax.jit(step, donate_argnums=0)


def make_eval_step(model: FeedbackModel) -> EvalStep:
    """A jitted `(params, batch, reference_params) -> metrics`, without dropout."""

    def step(params, batch, reference_params):
        return model.loss(params, batch, reference_params=reference_params)[1]

    return jax.jit(step)


def log_ratios_at_start(
    model: FeedbackModel,
    params: Params,
    batch: Batch,
    reference_params: Params | None,
    key: jax.Array,
) -> jax.Array:
    """``[N]`` ℓ of a batch exactly as the first train step will see it."""

    def log_ratios(params, batch, reference_params):
        dropout_rng = jax.random.fold_in(key, 0) if model.uses_dropout else None
        trajectories = model.trajectories(
            params, batch, reference_params=reference_params, dropout_rng=dropout_rng
        )
        return trajectories.log_ratios * trajectories.weights

    return jax.jit(log_ratios)(params, batch, reference_params)


def _norms(grads: Params) -> metrics_lib.Metrics:
    norms = {"grad_norm": optax.tree.norm(grads)}
    if VALUE in grads:
        policy = FeedbackModel.policy_params(grads)
        norms["grad_norm/policy"] = optax.tree.norm(policy)
        norms["grad_norm/value"] = optax.tree.norm(grads[VALUE])
    return {name: metrics_lib.Mean(norm, 1.0) for name, norm in norms.items()}
