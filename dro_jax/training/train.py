"""Training, composed: from a model, a data set and an optimiser to a checkpoint."""

import contextlib
import functools
from collections.abc import Callable
from typing import Any

import jax

from dro_jax.data.interface import Dataset
from dro_jax.evaluation.sampled_evaluation import SampledEvaluation
from dro_jax.messages import say
from dro_jax.models.model import FeedbackModel
from dro_jax.models.networks import VALUE
from dro_jax.training import hosts
from dro_jax.training.before.checks import local_folder
from dro_jax.training.before.prepared_data import Sampling
from dro_jax.training.before.prepared_run import prepare_run
from dro_jax.training.before.reference import Mode
from dro_jax.training.before.reference_samples import ReferenceSamples
from dro_jax.training.before.reference_share import Share
from dro_jax.training.before.value_fit import ValueFitConfig
from dro_jax.training.checkpoints import CheckpointConfig, Checkpointer
from dro_jax.training.compiler_options import OptionsByPlatform
from dro_jax.training.dry_run import description
from dro_jax.training.evaluations import Evaluations
from dro_jax.training.kept_reward_model import keep_reward_model
from dro_jax.training.loop import Loop
from dro_jax.training.metric_writers import read_metrics
from dro_jax.training.non_finite import NonFiniteGuard
from dro_jax.training.online.asked_prompts import asked_of
from dro_jax.training.online.fresh_samples import FreshSamples
from dro_jax.training.online.online_feed import feed_of
from dro_jax.training.optimizers import OptimizerConfig
from dro_jax.training.preemption import listening
from dro_jax.training.reference_share_run import compute_share
from dro_jax.training.run_owner import owned
from dro_jax.training.run_progress import RunProgress
from dro_jax.training.run_settings import (
    Periods,
    ProcessSettings,
    ReferenceSettings,
    RunData,
    RunSettings,
    Updates,
)
from dro_jax.training.run_steps import (
    plan_of,
    steps_of,
    throughput_of,
    train_step_of,
    writer_of,
)
from dro_jax.training.sharding import MeshConfig
from dro_jax.training.state import TrainState
from dro_jax.training.step import NonFinite
from dro_jax.training.watchdog import Watchdog
from dro_jax.training.watched_metrics import MetricWatch, OnMetrics


def train(
    *,
    model: FeedbackModel,
    model_dir: str,
    train_dataset_cfg: Dataset,
    total_steps: int,
    optimizer: OptimizerConfig,
    train_eval_dataset_cfg: Dataset | None = None,
    eval_period: int = 1000,
    checkpoint_cfg: CheckpointConfig | None = None,
    initial_checkpoint_path: str | None = None,
    reference: Mode | None = None,
    reference_cache_dir: str | None = None,
    reference_samples: ReferenceSamples | None = None,
    reference_samples_dir: str | None = None,
    value_of_reference_dir: str | None = None,
    value_fit: ValueFitConfig | None = None,
    value_fit_dataset_cfg: Dataset | None = None,
    sampling: Sampling = "none",
    mesh: MeshConfig | None = None,
    num_microbatches: int = 1,
    gradient_sum_dtype: str = "float32",
    on_non_finite: NonFinite = "stop",
    compiler_options: OptionsByPlatform | None = None,
    watchdog_seconds: float | None = 3600.0,
    random_seed: int = 0,
    log_period: int = 100,
    step_zero_tolerance: float | None = None,
    sampled_evaluation: SampledEvaluation | None = None,
    fresh_samples: FreshSamples | None = None,
    tensorboard: bool = True,
    dry_run: Callable[[str], None] | None = None,
    reference_share: str | None = None,
    instead: Callable[[RunSettings], Any] | None = None,
    on_metrics: OnMetrics | None = None,
) -> TrainState | Any | None:
    """Train a model, or go on where an interrupted run of `model_dir` stopped.

    The names are those that gin files bind; they are grouped, and the run is told in
    :func:`train_run`.

    Args:
      model: network, value estimate and objective.
      model_dir: where checkpoints, `metrics.jsonl` and TensorBoard files go.
      train_dataset_cfg: a `dro_jax.data.dataset.DatasetConfig`, or another
        `dro_jax.data.interface.Dataset`.
      total_steps: the step to stop at, counted from this run's own start.
      optimizer: optimiser and learning rates.
      train_eval_dataset_cfg: held-out data, read whole at each evaluation.
      eval_period: steps between evaluations.
      checkpoint_cfg: when to save and what to keep.
      initial_checkpoint_path: the pretrained policy, which is the reference too and
        the start of a separate value network. None: random parameters.
      reference: `cached` (default), log-probabilities of the whole split computed once
        and kept on disk; `frozen_copy`, a second forward pass in every step.
      reference_cache_dir: where they are kept; default `MODEL_DIR/reference_cache`.
        Runs with the same reference and data can share one folder; and likewise
      reference_samples: responses of the reference that are sampled and scored before
        the first step, from whose rewards A-LoL's V_ref is fitted, and RPO's, A*-PO's
        and QRPO's statistics of prompts come; None, from what was logged.
      reference_samples_dir: where they are kept; default `MODEL_DIR/reference_samples`.
      value_of_reference_dir: of its value; default `MODEL_DIR/value_of_reference`.
      value_fit: how the value of the frozen reference is fitted, for objectives of
        advantages; default `ValueFitConfig()`.
      value_fit_dataset_cfg: the split that it is fitted on, on which the policy is not
        trained; default that of `train_eval_dataset_cfg`, whose prompts are then shared
        out: some are fitted to, the others evaluated.
      sampling: `none`, records alike (of the leftover, for A-LoL), or `priority`, drawn
        in proportion to what they earn: see `Preparation`.
      mesh: how the run is spread over devices; default all, data-parallel.
      num_microbatches: parts of a batch that go through the networks one after another,
        to save memory; gradients are those of the whole batch.
      gradient_sum_dtype: in which theirs are added up, `float32` or `bfloat16`.
      on_non_finite: `stop` at a loss or gradient that is not finite, or `skip` the
        update and count it.
      compiler_options: XLA's for the train step, ``{'tpu': {'xla_…': True}}``.
      watchdog_seconds: end the run where no step takes place for so long (the first
        step's compilation counts); None never does.
      random_seed: seeds parameters and dropout; data has a seed of its own.
      log_period: steps between lines of metrics.
      step_zero_tolerance: the largest |ℓ| of a response allowed before the first update,
        in nats; default what rounding makes of it, by its tokens and the network's type
        (`step_zero.allowed_per_root_token`).
      sampled_evaluation: what each evaluation samples and measures; None, nothing.
      fresh_samples: what the policy samples to be trained on; None, nothing.
      tensorboard: also write TensorBoard files.
      dry_run: is told what would be done, which is not done.
      reference_share: `3/8`, to compute the third of eight shares of the reference's
        log-probabilities (:func:`compute_share`) and not to train.
      instead: is given the grouped settings, and nothing is trained.
      on_metrics: is told each line of `metrics.jsonl` as it is written, `(step, metrics)`,
        after those that an earlier part of the run wrote; it may raise
        `dro_jax.errors.Pruned` to end the run, which changes nothing else of it. Of
        several processes that of the first is called, and all must give one.

    Returns:
      The final state; what `instead` returns; None where nothing is trained.

    Raises:
      ConfigError: a setting is missing, unknown or without effect, or another process
        trains in `model_dir`.
      CheckpointError: a checkpoint or cache is missing or does not fit, or the run in
        `model_dir` began with other data or another reference.
      DataError: a record cannot be used.
      TrainingError: the policy differs from the reference before the first update, or
        a loss or gradient is not finite.
      Preempted: SIGTERM or Ctrl-C came; the state is saved. As a SystemExit its
        code is 143 or 130.
      Pruned: `on_metrics` did before the last step; the state is saved, and
        `pruned.json` says why.
    """
    checkpoints = checkpoint_cfg or CheckpointConfig()
    settings = RunSettings(
        model=model,
        model_dir=local_folder(model_dir),
        total_steps=total_steps,
        data=RunData(
            train_dataset_cfg,
            train_eval_dataset_cfg,
            value_fit_dataset_cfg,
            sampling=sampling,
            fresh=fresh_samples,
        ),
        reference=ReferenceSettings(
            initial_checkpoint_path,
            reference,
            reference_cache_dir,
            value_fit,
            value_of_reference_dir,
            reference_samples,
            reference_samples_dir,
            tolerance=step_zero_tolerance,
        ),
        updates=Updates(
            *(optimizer, mesh, num_microbatches, on_non_finite, random_seed),
            *(gradient_sum_dtype, compiler_options),
        ),
        periods=Periods(log_period, eval_period, checkpoints.period),
        checkpoints=checkpoints,
        process=ProcessSettings(watchdog_seconds, tensorboard),
        sampled=sampled_evaluation,
    )
    if instead is not None:
        return instead(settings)
    if reference_share is not None:
        return compute_share(settings, Share.parse(reference_share))
    return train_run(settings, dry_run, on_metrics)


def train_run(
    run: RunSettings,
    dry_run: Callable[[str], None] | None = None,
    on_metrics: OnMetrics | None = None,
) -> TrainState | None:
    """A run from its settings to its last state; as :func:`train`."""
    # What can be known to fail is refused before anything is computed or written, and
    # what the settings alone tell before the splits are read.
    if run.data.held_out is None:
        run.checkpoints.check_metric(None)
    plan = plan_of(run)
    init_key, dropout_key = jax.random.split(jax.random.key(run.updates.random_seed))
    with contextlib.ExitStack() as stack:
        if dry_run is None:
            stack.enter_context(owned(run.model_dir))
        stop = stack.enter_context(listening())
        watchdog = stack.enter_context(Watchdog(run.process.watchdog_seconds))

        # Build: shapes and shardings, by tracing alone.
        first = next(plan.data.train.batches())
        steps = steps_of(plan, run.updates, first, dropout_key)
        evaluations = Evaluations(plan, steps, run.sampled)
        evaluations.check_metric(run.checkpoints, first)
        if dry_run is not None:
            dry_run(description(run, plan, steps, first))
            return None

        # Prepare: what is computed once of the reference and the records. A run that
        # goes on must fit its checkpoint, and find the data that it began with, before
        # hours are spent here; its arrays are not read yet.
        ranked = evaluations.ranks(run.checkpoints)
        checkpointer = Checkpointer(run.model_dir, run.checkpoints, ranked=ranked)
        stack.callback(checkpointer.close)
        saved = checkpointer.progress(steps.state_layout)
        asked = asked_of(plan.data)
        prepared = prepare_run(
            plan,
            steps,
            began=saved and saved.identity,
            sampled=asked and hosts.agree(asked.identity),
            stop=stop,
            watchdog=watchdog,
        )
        evaluations.prepare(prepared, run.model_dir, stop=stop, watchdog=watchdog)

        # Restore or start: after the reference's passes, with which the optimiser's
        # arrays would else share the devices' memory.
        progress = saved or RunProgress(identity=prepared.identity)
        if saved is not None:
            say(f"going on from checkpoint_{checkpointer.latest_step}")
            state = checkpointer.restore(steps.state_layout)
        else:
            say(f"starting from {run.reference.path or 'random parameters'} …")
            state = steps.start(run.reference.path, init_key)
        step = int(state.step)
        writer = stack.enter_context(writer_of(run, step, progress))
        for name, facts in prepared.reports().items():
            writer.write_facts(name, facts)
        watch = MetricWatch(on_metrics)
        watch.tell_earlier(lambda: read_metrics(run.model_dir))
        if plan.model.reward_config is not None:
            hosts.first_says(lambda: keep_reward_model(run.model_dir, plan, first))
        watchdog.reset()

        # Loop.
        start = functools.partial(steps.start_params, run.reference.path, init_key)
        feed = feed_of(
            *(plan, prepared, steps, asked, run.model_dir, progress),
            saving=lambda: checkpointer.saving,
        )
        train_step = train_step_of(
            plan, prepared, steps, feed, start if step == 0 else None
        )
        rates, has_value = run.updates.optimizer.rates, VALUE in state.params
        loop = Loop(
            train_step=train_step,
            evaluate=evaluations.with_writer(writer),
            rates=functools.partial(rates, value=has_value),
            checkpointer=checkpointer,
            writer=writer,
            periods=run.periods,
            throughput=throughput_of(plan, first),
            guard=NonFiniteGuard(
                run.model_dir, plan.data.train.identities, steps.shard
            ),
            stop=stop,
            watchdog=watchdog,
            watch=watch,
        )
        return loop.run(state, feed, run.total_steps, progress)
