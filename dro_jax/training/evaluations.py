"""All that is evaluated of a run: held-out metrics, and sampled responses beside them."""

import pathlib
from collections.abc import Callable

from dro_jax.data.interface import HostBatch
from dro_jax.errors import ConfigError
from dro_jax.evaluation.figures import figure
from dro_jax.evaluation.sampled_evaluation import SampledEvaluation
from dro_jax.interop.policy_digest import digest_of
from dro_jax.messages import note, say
from dro_jax.models.networks import Params
from dro_jax.training import hosts
from dro_jax.training.before.prepared_data import like_prepared
from dro_jax.training.before.prepared_run import PreparedRun
from dro_jax.training.before.reference import Reference
from dro_jax.training.before.run_plan import RunPlan
from dro_jax.training.checkpoints import CheckpointConfig
from dro_jax.training.held_out import HeldOut
from dro_jax.training.mesh_steps import MeshSteps
from dro_jax.training.metric_writers import MetricWriter
from dro_jax.training.preemption import StopSignal
from dro_jax.training.run_files import SAMPLED_REFERENCE
from dro_jax.training.sampled_held_out import PREFIX, SampledHeldOut
from dro_jax.training.state import TrainState
from dro_jax.training.watchdog import Watchdog

Tick = Callable[[], bool]


def check_sampled(settings: SampledEvaluation | None, plan: RunPlan) -> None:
    """Refuses to sample where nothing is held out, or nobody answers.

    Raises:
      ConfigError: so it is.
    """
    if settings is None:
        return
    if plan.model.reward_config is not None:
        raise ConfigError(
            f"{type(plan.model.objective).__name__} trains a reward model, which answers "
            "no prompts: leave train.sampled_evaluation (SAMPLED_EVALUATION) out"
        )
    if plan.data.held_out is None:
        raise ConfigError(
            "train.sampled_evaluation (SAMPLED_EVALUATION) asks held-out prompts, and "
            "nothing is evaluated: set EVAL_DATASET (train.train_eval_dataset_cfg) to a "
            "split that the task has, or remove it"
        )


class Evaluations:
    """What the loop calls at each evaluation.

    Args:
      plan: the run.
      steps: where its parameters live.
      settings: what is sampled, or None.
    """

    def __init__(
        self, plan: RunPlan, steps: MeshSteps, settings: SampledEvaluation | None
    ):
        check_sampled(settings, plan)
        self._plan, self._steps = plan, steps
        self._held_out: HeldOut | None = None
        self._prepared: PreparedRun | None = None
        self._sampled: SampledHeldOut | None = None
        if settings is not None:
            self._sampled = SampledHeldOut(
                settings,
                plan.model,
                plan.data.held_out,
                steps,
                self._load_reference if plan.reference.path is not None else None,
            )

    def metric_names(self, first: HostBatch) -> list[str]:
        """The names of all that an evaluation reports.

        Args:
          first: a batch for training.
        """
        example = like_prepared(self._plan.model.objective, first)
        names = [f"eval/{name}" for name in self._steps.metric_names(example)]
        return names + (self._sampled.metric_names() if self._sampled else [])

    def check_metric(self, checkpoints: CheckpointConfig, first: HostBatch) -> None:
        """Refuses to rank checkpoints by what no evaluation of this run reports.

        Raises:
          ConfigError: so it is.
        """
        if self._plan.data.held_out is None:
            checkpoints.check_metric(None)
            return
        checkpoints.check_metric(lambda: self.metric_names(first))
        metric, mode = checkpoints.best_metric, checkpoints.best_mode
        if metric.startswith(PREFIX):
            better = figure(metric.removeprefix(PREFIX)).higher_is_better
            if better is not None and better != (mode == "max"):
                note(
                    f"CheckpointConfig.best_mode = {mode!r} keeps the worst by {metric}, "
                    f"of which {'more' if better else 'less'} is better"
                )

    def ranks(self, checkpoints: CheckpointConfig) -> bool:
        """Whether evaluations rank checkpoints.

        A log gives an objective of rollouts no loss: its run ranks by what is named in
        `best_metric`, such as `eval/sampled/reward`, and else keeps the newest alone.
        """
        if self._plan.model.objective.needs.rollouts and checkpoints.ranks_by_loss():
            return False
        return self._plan.data.held_out is not None

    def prepare(
        self,
        prepared: PreparedRun,
        model_dir: str,
        *,
        stop: StopSignal,
        watchdog: Watchdog,
    ) -> None:
        """What is computed once: the metrics' programs, and the reference's samples.

        Args:
          prepared: the run's data and reference.
          model_dir: where samples are kept.
          stop: asks a long computation to stop.
          watchdog: is told that it moves.

        Raises:
          UserError: a reward cannot be used, or the judge.
          Preempted: the run was told to stop.
        """
        plan, self._prepared = self._plan, prepared
        if prepared.held_out is not None:
            self._held_out = HeldOut(
                plan.model, self._steps, prepared.held_out, prepared.step_params
            )
        if self._sampled is None:
            return
        # What cannot be scored is known now, and not after EVAL_PERIOD steps.
        self._sampled.metric_names()
        say(f"evaluations sample {self._sampled}")
        if plan.reference.path is None:
            return

        def tick() -> bool:
            watchdog.reset()
            return stop.now()

        fingerprint = hosts.first_says(lambda: digest_of(plan.reference.path))
        folder = pathlib.Path(model_dir) / SAMPLED_REFERENCE
        if not self._sampled.sample_reference(folder, fingerprint, tick):
            raise stop.stopped(
                "while sampling what the reference answers: the same command begins "
                "with that again"
            )

    def with_writer(
        self, writer: MetricWriter
    ) -> Callable[[TrainState, Tick], dict[str, float]] | None:
        """The loop's evaluation; None where nothing is held out.

        Args:
          writer: is given a few of the sampled texts.
        """
        if self._held_out is None:
            return None

        def evaluate(state: TrainState, tick: Tick) -> dict[str, float]:
            metrics = self._held_out(state, tick)
            if self._sampled is None or not metrics:
                return metrics
            sampled = self._sampled(state, writer, tick)
            # An evaluation that was told to stop is none.
            return metrics | sampled if sampled else {}

        return evaluate

    def _load_reference(self) -> Params:
        """The policy that the run started from, on the devices."""
        if self._prepared.step_params is not None:
            return self._prepared.step_params
        plan = self._plan
        reference = Reference(
            plan.model, plan.reference.path, self._steps, cache_dir=None
        )
        return reference.load()
