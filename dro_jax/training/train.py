"""Training, composed: from a model, a data set and an optimiser to a checkpoint."""

import contextlib
import functools
import pathlib
from collections.abc import Callable
from typing import Any

import jax

from dro_jax.messages import note, say
from dro_jax.models.flops import train_step_flops
from dro_jax.models.model import FeedbackModel
from dro_jax.models.networks import VALUE
from dro_jax.models.t5_config import note_spare_rows
from dro_jax.plurals import counted
from dro_jax.training import checkpoints, initialization, run_files
from dro_jax.training.before.checks import (
    check_data,
    check_settings,
    check_value_settings,
    held_out_data,
    local_folder,
    unused_settings,
)
from dro_jax.training.before.judged_prompts import judged_part
from dro_jax.training.before.prepared_data import Preparation, Sampling, like_prepared
from dro_jax.training.before.reference import Mode, Reference, check_path
from dro_jax.training.before.value_fit import ValueFitConfig
from dro_jax.training.before.value_of_reference import ValueOfReference
from dro_jax.training.dry_run import coming, description, evaluation
from dro_jax.training.held_out import HeldOut
from dro_jax.training.loop import Loop, Periods
from dro_jax.training.mesh_steps import MeshSteps
from dro_jax.training.metric_writers import MetricWriter
from dro_jax.training.non_finite import NonFiniteGuard
from dro_jax.training.optimizers import OptimizerConfig
from dro_jax.training.preemption import listening
from dro_jax.training.run_owner import owned
from dro_jax.training.run_progress import RunProgress, check_identity, identity_of
from dro_jax.training.sharding import MeshConfig
from dro_jax.training.state import TrainState
from dro_jax.training.step import NonFinite
from dro_jax.training.step_zero import StepZeroCheck, checked
from dro_jax.training.throughput import Throughput, peak_flops
from dro_jax.training.watchdog import Watchdog


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
    reference: Mode | None = None,
    reference_cache_dir: str | None = None,
    value_fit: ValueFitConfig | None = None,
    value_fit_dataset_cfg: Any = None,
    sampling: Sampling = "none",
    mesh: MeshConfig | None = None,
    num_microbatches: int = 1,
    on_non_finite: NonFinite = "stop",
    watchdog_seconds: float | None = 3600.0,
    random_seed: int = 0,
    log_period: int = 100,
    step_zero_tolerance: float | None = None,
    tensorboard: bool = True,
    dry_run: Callable[[str], None] | None = None,
) -> TrainState | None:
    """Train a model, or go on where an interrupted run of `model_dir` stopped.

    Args:
      model: network, value estimate and objective.
      model_dir: where checkpoints, `metrics.jsonl` and TensorBoard files go.
      train_dataset_cfg: a `dro_jax.data.dataset.DatasetConfig`, or what offers its
        `batches`, `one_pass`, `facts`, `fingerprint`, `identities`, `vocabulary`,
        `name`, `batch_size` and `split`; for objectives that need more of a record,
        `prompt_records` and `drawn`.
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
        Runs with the same reference and data can share one folder.
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
      on_non_finite: `stop` at a loss or gradient that is not finite, or `skip` the
        update and count it.
      watchdog_seconds: end the run where no step takes place for so long (the first
        step's compilation counts); None never does.
      random_seed: seeds parameters and dropout; data has a seed of its own.
      log_period: steps between lines of metrics.
      step_zero_tolerance: the largest |ℓ| of a response allowed before the first update,
        in nats; default what rounding makes of it, by its tokens and the network's type
        (`step_zero.allowed_per_root_token`).
      tensorboard: also write TensorBoard files.
      dry_run: is told what would be done, which is not done then.

    Returns:
      The final state; None of a dry run.

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
    """
    check_path(model, initial_checkpoint_path)
    check_settings(
        on_non_finite,
        sampling,
        at_least_1={
            "num_microbatches (NUM_MICROBATCHES)": num_microbatches,
            "log_period (LOG_PERIOD)": log_period,
            "eval_period (EVAL_PERIOD)": eval_period,
            "total_steps (TRAIN_STEPS)": total_steps,
        },
    )
    train_eval_dataset_cfg = held_out_data(
        model, train_eval_dataset_cfg, value_fit_dataset_cfg
    )
    fit_dataset = value_fit_dataset_cfg or train_eval_dataset_cfg
    check_value_settings(model, fit_dataset, initial_checkpoint_path)
    for sentence in unused_settings(
        model,
        reference=reference,
        reference_cache_dir=reference_cache_dir,
        value_fit=value_fit,
        value_fit_dataset_cfg=value_fit_dataset_cfg,
    ):
        note(sentence)
    model_dir = local_folder(model_dir)
    if reference_cache_dir is not None:
        reference_cache_dir = local_folder(reference_cache_dir, "REFERENCE_CACHE_DIR")
    note_spare_rows(train_dataset_cfg.vocabulary, model.network_config.vocab_size)
    say(f"reading {train_dataset_cfg.name}, split '{train_dataset_cfg.split}' …")
    model = check_data(model, train_dataset_cfg, sampling, training=True)
    if train_eval_dataset_cfg is not None:
        check_data(model, train_eval_dataset_cfg, training=False)
    partitioner = (mesh or MeshConfig()).build()
    partitioner.check_batch_size(train_dataset_cfg.batch_size, num_microbatches)
    for dataset in (train_eval_dataset_cfg, value_fit_dataset_cfg):
        if dataset is not None:
            partitioner.check_batch_size(dataset.batch_size)
    checkpoint_cfg = checkpoint_cfg or checkpoints.CheckpointConfig()
    if train_eval_dataset_cfg is None:
        checkpoint_cfg.check_metric(None)
    init_key, dropout_key = jax.random.split(jax.random.key(random_seed))
    with contextlib.ExitStack() as stack:
        if dry_run is None:
            stack.enter_context(owned(model_dir))
        stop = stack.enter_context(listening())
        watchdog = stack.enter_context(Watchdog(watchdog_seconds))
        first = next(train_dataset_cfg.batches())
        facts = train_dataset_cfg.facts()
        say(f"  {counted(_num_kept(facts), 'record')}")
        steps = MeshSteps(
            model,
            optimizer.build(),
            partitioner,
            first,
            key=dropout_key,
            num_microbatches=num_microbatches,
            on_non_finite=on_non_finite,
        )
        if train_eval_dataset_cfg is not None:
            example = like_prepared(model.objective, first)
            checkpoint_cfg.check_metric(
                lambda: [f"eval/{name}" for name in steps.metric_names(example)]
            )
        if dry_run is not None:
            plan = coming(
                model, model_dir, total_steps, initial_checkpoint_path, reference
            )
            how = evaluation(train_eval_dataset_cfg, eval_period)
            dry_run(description(steps, first, [*plan, how]))
            return None
        frozen = Reference(
            model,
            initial_checkpoint_path,
            steps,
            mode=reference,
            cache_dir=reference_cache_dir
            or pathlib.Path(model_dir) / run_files.REFERENCE_CACHE,
            stop=stop,
            watchdog=watchdog,
        )
        needs, judged = model.objective.needs, None
        if needs.advantages and value_fit_dataset_cfg is None:
            judged = (value_fit or ValueFitConfig()).judged_fraction
        identity = identity_of(
            train_dataset_cfg,
            sampling,
            frozen.fingerprint() if needs.reference or needs.advantages else None,
            judged,
        )
        checkpointer = checkpoints.Checkpointer(
            model_dir, checkpoint_cfg, ranked=train_eval_dataset_cfg is not None
        )
        stack.callback(checkpointer.close)
        if checkpointer.latest_step is not None:
            say(f"going on from checkpoint_{checkpointer.latest_step}")
            state, progress = checkpointer.restore(steps.state_layout)
            check_identity(progress.identity, identity)
        else:
            if initial_checkpoint_path is not None:
                initialization.check_tokenizer(
                    initial_checkpoint_path, train_dataset_cfg.vocabulary
                )
            say(f"starting from {initial_checkpoint_path or 'random parameters'} …")
            state = steps.start(initial_checkpoint_path, init_key)
            progress = RunProgress(identity=identity)
        watchdog.reset()
        # A line that is still due may be there: the run that wrote it was killed.
        logged = int(state.step) - progress.line_due
        writer = MetricWriter(model_dir, start_step=logged, tensorboard=tensorboard)
        stack.callback(writer.close)
        writer.write_facts(run_files.REWARD_STATISTICS, facts)
        value = None
        if model.objective.needs.advantages:
            value = ValueOfReference(
                model,
                frozen.load,
                steps,
                value_fit,
                fingerprint=frozen.fingerprint(),
                folder=pathlib.Path(model_dir) / run_files.VALUE_OF_REFERENCE,
                stop=stop,
                watchdog=watchdog,
            )
            if judged:
                train_eval_dataset_cfg = judged_part(train_eval_dataset_cfg, judged)
            say("fitting the value of the reference …")
            fit = value.fit(fit_dataset, judged_fraction=judged or 0.0)
            writer.write_facts(run_files.VALUE_OF_REFERENCE_REPORT, fit.to_json())
        preparation = Preparation(model.objective, frozen, value, sampling)
        train_data = preparation.prepare(train_dataset_cfg, training=True)
        evaluate = None
        if train_eval_dataset_cfg is not None:
            evaluate = HeldOut(
                model,
                steps,
                preparation.prepare(train_eval_dataset_cfg),
                frozen.step_params,
            )
        if frozen.facts():
            writer.write_facts(run_files.REFERENCE_CACHE_REPORT, frozen.facts())

        def train_step(state, batch):
            return steps.train(state, batch, frozen.step_params)

        if int(state.step) == 0 and model.objective.needs.reference:
            table = train_data.reference
            check = StepZeroCheck(
                model,
                step_zero_tolerance,
                in_training_rows=lambda batch: steps.log_ratios(
                    # Those that training began with are gone.
                    steps.start(initial_checkpoint_path, init_key).params,
                    batch,
                    frozen.step_params or frozen.load(),
                ),
                cache_error=table
                and functools.partial(frozen.error_of, train_dataset_cfg, table),
            )
            train_step = checked(train_step, check)
        loop = Loop(
            train_step=train_step,
            evaluate=evaluate,
            rates=functools.partial(optimizer.rates, value=VALUE in state.params),
            checkpointer=checkpointer,
            writer=writer,
            periods=Periods(log_period, eval_period, checkpoint_cfg.period),
            throughput=Throughput(
                train_step_flops(
                    model, first, frozen_copy=frozen.step_params is not None
                ),
                peak_flops(partitioner.mesh.devices.flat, model.network_config.dtype),
            ),
            guard=NonFiniteGuard(model_dir, train_dataset_cfg.identities),
            stop=stop,
            watchdog=watchdog,
        )
        batches = train_data.batches(start=progress.position)
        return loop.run(state, batches, total_steps, progress)


def _num_kept(facts: dict[str, dict]) -> int:
    return sum(task["records"]["num_kept"] for task in facts.values())
