"""Training, composed: from a model, a data set and an optimiser to a checkpoint."""

from typing import Any, Literal

import jax
import jax.numpy as jnp
import numpy as np

from dro_jax import metrics as metrics_lib
from dro_jax.errors import ConfigError, TrainingError
from dro_jax.models.model import VALUE, FeedbackModel, Params, check_vocabulary
from dro_jax.training import checkpoints, initialization, step
from dro_jax.training import state as state_lib
from dro_jax.training.loop import HostBatch, Loop, Periods
from dro_jax.training.metric_writers import MetricWriter
from dro_jax.training.optimizers import OptimizerConfig
from dro_jax.training.reference import Reference


def train(
    *,
    model: FeedbackModel,
    model_dir: str,
    train_dataset_cfg: Any,
    total_steps: int,
    optimizer: OptimizerConfig,
    train_eval_dataset_cfg: Any = None,
    eval_period: int = 1000,
    checkpoint_cfg: checkpoints.CheckpointConfig | None = None,
    initial_checkpoint_path: str | None = None,
    reference: Literal["cached", "frozen_copy"] | None = None,
    random_seed: int = 0,
    log_period: int = 100,
    step_zero_tolerance: float = 1e-3,
    tensorboard: bool = True,
) -> state_lib.TrainState:
    """Train a model, or go on where an interrupted run of `model_dir` stopped.

    Args:
      model: network, value estimate and objective.
      model_dir: where checkpoints, `metrics.jsonl` and TensorBoard files go.
      train_dataset_cfg: a `dro_jax.data.dataset.DatasetConfig`, or what offers its
        `batches`, `one_pass`, `facts`, `vocabulary` and `split`.
      total_steps: the step to stop at, counted from this run's own start.
      optimizer: optimiser and learning rates.
      train_eval_dataset_cfg: held-out data, read whole at each evaluation.
      eval_period: steps between evaluations.
      checkpoint_cfg: when to save and what to keep.
      initial_checkpoint_path: the pretrained policy, which is the reference too and
        the start of a separate value network. None: random parameters.
      reference: `cached` (default), log-probabilities of the whole split computed once
        at start; `frozen_copy`, a second forward pass in every step.
      random_seed: seeds parameters and dropout; data has a seed of its own.
      log_period: steps between lines of metrics.
      step_zero_tolerance: the largest |ℓ| allowed before the first update, in nats.
      tensorboard: also write TensorBoard files.

    Returns:
      The final state.

    Raises:
      ConfigError: a setting is missing, unknown or without effect.
      CheckpointError: a checkpoint is missing or does not fit.
      DataError: a record cannot be used.
      TrainingError: the policy differs from the reference before the first update, or
        a loss or gradient is not finite.
    """
    _check_reference_settings(model, reference, initial_checkpoint_path)
    check_vocabulary(train_dataset_cfg.vocabulary, model.network_config.vocab_size)
    checkpoint_cfg = checkpoint_cfg or checkpoints.CheckpointConfig()
    init_key, dropout_key = jax.random.split(jax.random.key(random_seed))
    example = on_device(next(iter(train_dataset_cfg.batches())))
    tx = optimizer.build()
    params = starting_params(model, initial_checkpoint_path, init_key, example)
    frozen = Reference(model, model.policy_params(params), reference or "cached")
    checkpointer = checkpoints.Checkpointer(model_dir, checkpoint_cfg)
    current = state_lib.create(params, tx)
    if checkpointer.latest_step is not None:
        current = checkpointer.restore(current)
    start = int(current.step)
    writer = MetricWriter(model_dir, start_step=start, tensorboard=tensorboard)
    writer.write_facts("reward_statistics.json", train_dataset_cfg.facts())
    try:
        train_data = frozen.prepare(train_dataset_cfg)
        if start == 0 and model.objective.needs.reference:
            first = next(train_data.batches())
            _check_step_zero(
                model, current.params, first, frozen, dropout_key, step_zero_tolerance
            )
        train_step = step.make_train_step(model, tx)
        loop = Loop(
            train_step=lambda state, batch: train_step(
                state, on_device(batch), frozen.step_params, dropout_key
            ),
            evaluate=_evaluator(model, train_eval_dataset_cfg, frozen),
            rates=lambda at: optimizer.rates(at, value=VALUE in params),
            checkpointer=checkpointer,
            writer=writer,
            periods=Periods(log_period, eval_period, checkpoint_cfg.period),
        )
        return loop.run(current, train_data.batches(start_batch=start), total_steps)
    finally:
        checkpointer.close()
        writer.close()


def starting_params(
    model: FeedbackModel, path: str | None, key: jax.Array, example: dict
) -> Params:
    """Random parameters, or those of the checkpoint at `path`."""
    if path is None:
        return initialization.random_params(model, key, example)
    return initialization.pretrained_params(
        model, checkpoints.load_params(path), key, example, str(path)
    )


def on_device(batch: HostBatch) -> dict[str, jax.Array]:
    """The fields that a step reads; record ids stay on the host."""
    return {
        name: jnp.asarray(values)
        for name, values in batch.items()
        if name != "record_ids"
    }


def _check_reference_settings(model, reference, path) -> None:
    objective = type(model.objective).__name__
    if model.objective.needs.reference and path is None:
        raise ConfigError(
            f"{objective} is anchored to a reference policy, and INITIAL_CHECKPOINT_PATH "
            "(train.initial_checkpoint_path) is not set: name the checkpoint of the "
            "reference, for example one trained with the nll objective"
        )
    if not model.objective.needs.reference and reference is not None:
        raise ConfigError(
            f"{objective} uses no reference, so train.reference = {reference!r} has no "
            "effect: remove it"
        )


def _check_step_zero(model, params, batch, frozen, dropout_key, tolerance) -> None:
    log_ratios = step.log_ratios_at_start(
        model, params, on_device(batch), frozen.step_params, dropout_key
    )
    largest = float(np.max(np.abs(log_ratios)))
    if not largest <= tolerance:
        advice = (
            "Dropout is on in the policy and off in the reference: set DROPOUT_RATE = 0"
            if model.uses_dropout
            else "The reference is not the policy that training starts from"
        )
        raise TrainingError(
            "before the first update the policy must equal the reference, but "
            f"|log π − log π_ref| reaches {largest:.4g} nats on the first batch "
            f"(step_zero_tolerance is {tolerance:g}). {advice}"
        )


def _evaluator(model, dataset, frozen):
    if dataset is None:
        return None
    eval_step = step.make_eval_step(model)
    data = frozen.prepare(dataset)

    def evaluate(params) -> dict[str, float]:
        total = None
        for batch in data.batches():
            metrics = eval_step(params, on_device(batch), frozen.step_params)
            total = metrics if total is None else metrics_lib.merge(total, metrics)
        values = metrics_lib.compute(total)
        return {f"eval/{name}": value for name, value in values.items()}

    return evaluate
