"""What objectives read of records beside their rewards, under T5X."""

import dataclasses
import functools
from typing import Any

import jax

from dro_jax.data.dataset import DatasetConfig
from dro_jax.data.grouping import Singles
from dro_jax.errors import ConfigError
from dro_jax.messages import note
from dro_jax.models.model import FeedbackModel
from dro_jax.objectives.interface import changed_settings
from dro_jax.t5x_runtime.forward_steps import forward_steps
from dro_jax.training.before.prepared_data import Sampling
from dro_jax.training.before.prepared_run import PreparedRun, prepare_run
from dro_jax.training.before.reference import Mode
from dro_jax.training.before.reference_samples import ReferenceSamples, reads_samples
from dro_jax.training.before.run_plan import RunPlan, plan_run
from dro_jax.training.before.value_of_reference import ValueFitConfig
from dro_jax.training.mesh_steps import MeshSteps
from dro_jax.training.run_files import REFERENCE_SAMPLES, VALUE_OF_REFERENCE
from dro_jax.training.run_settings import ReferenceSettings, RunData
from dro_jax.training.sharding import MeshConfig
from dro_jax.training.step_zero import StepZeroCheck


@dataclasses.dataclass(frozen=True)
class ReferenceData:
    """What batches hold of the reference, and which records are drawn.

    Attributes:
      model: what is trained.
      mode: `cached`, each batch holds its log-probabilities, computed once and kept on
        disk; `frozen_copy`, the model computes them from a copy of its first
        parameters. Default `cached` where the objective has a reference and allows it.
      path: the reference's checkpoint, in any format.
      model_dir: T5X's.
      cache_dir: where log-probabilities are kept, a local folder; default
        `MODEL_DIR/reference_cache`.
      mesh: the devices that compute them; default all, parameters replicated.
      group_size, single_responses: as `DatasetConfig`'s.
      value_fit: as for `dro_jax.training.train`.
      value_fit_split: the split that the value of the reference is fitted on, but for
        the prompts that judge (`ValueFitConfig.judged_fraction`), an evaluation's.
      samples: as `reference_samples` of `dro_jax.training.train`; they are kept beside
        the log-probabilities.
      sampling, step_zero_tolerance: as for `dro_jax.training.train`.

    Raises:
      ConfigError: an unknown mode.
    """

    model: FeedbackModel
    mode: Mode | None = None
    path: str | None = None
    model_dir: str | None = None
    cache_dir: str | None = None
    mesh: MeshConfig | None = None
    group_size: int | None = None
    single_responses: Singles = "keep"
    value_fit: ValueFitConfig | None = None
    value_fit_split: str = "validation"
    samples: ReferenceSamples | None = None
    sampling: Sampling = "none"
    step_zero_tolerance: float | None = None

    def __post_init__(self):
        # Those of a run, so that what they refuse is refused here.
        self._settings()
        RunData(sampling=self.sampling)

    def prepared(self, config: DatasetConfig) -> PreparedRun:
        """A data set's part of a run, completed where the objective asks for it.

        Args:
          config: a split; without `num_epochs` it is trained on, and drawn from, and
            else evaluated.

        Raises:
          ConfigError, CheckpointError, DataError: what `dro-jax train` refuses too.
          TrainingError: the policy differs from the reference before the first update.
        """
        training = config.num_epochs is None
        notes: list[str] = []
        plan = plan_run(
            self.model,
            self._data(config),
            self._settings(),
            model_dir=self.model_dir,
            mesh=self.mesh,
            frozen_copy=False,
            tell=notes.append,
        )
        _check_fitted(self.model, plan.model)
        for sentence in notes:
            note(sentence)
        steps = forward_steps(self.model, self.mesh) if plan.runs_networks else None
        # A frozen copy lies in T5X's train state, from wherever that was restored.
        prepared = prepare_run(plan, steps, frozen_copy=False)
        if training and plan.starts and plan.mode == "cached":
            _check_first_batch(plan, prepared, steps)
        return prepared

    def _data(self, config: DatasetConfig) -> RunData:
        fit = dataclasses.replace(
            config, split=self.value_fit_split, shuffle=False, num_epochs=1
        )
        config = dataclasses.replace(
            config, group_size=self.group_size, single_responses=self.single_responses
        )
        training = config.num_epochs is None
        shared = not training and config.split == fit.split
        fits = self.model.objective.needs.advantages and not shared
        # T5X asks for each split by itself. One fit serves them all, so it leaves out the
        # prompts that judge wherever their own evaluation is.
        return RunData(
            train=config if training else None,
            held_out=None if training else config,
            value_fit=fit if fits else None,
            value_fit_judges=fits,
            sampling=self.sampling,
        )

    def _settings(self) -> ReferenceSettings:
        value_dir = samples_dir = None
        needs = self.model.objective.needs
        if self.cache_dir and needs.advantages:
            value_dir = f"{self.cache_dir}/{VALUE_OF_REFERENCE}"
        if self.cache_dir and self.samples is not None and reads_samples(needs):
            samples_dir = f"{self.cache_dir}/{REFERENCE_SAMPLES}"
        return ReferenceSettings(
            self.path,
            self.mode,
            self.cache_dir,
            self.value_fit,
            value_dir,
            self.samples,
            samples_dir,
            self.step_zero_tolerance,
        )


def _check_first_batch(plan: RunPlan, prepared: PreparedRun, steps: MeshSteps) -> None:
    """Refuses a cache that is not of the policy that training starts from.

    The built-in trainer looks at its first step; T5X's is not ours, so the same figures
    come from an evaluation of the first batch.
    """
    start = functools.partial(
        steps.start_params, plan.reference.path, jax.random.key(0)
    )
    batch = next(prepared.train.batches())
    metrics = steps.evaluate(start(), batch, None)
    StepZeroCheck.of(plan, prepared, steps, start)(metrics, batch)


def _check_fitted(model: FeedbackModel, fitted_model: FeedbackModel) -> None:
    """Refuses what the built-in trainer would fit to the data: T5X's model is made."""
    fitted = fitted_model.objective
    if fitted == model.objective:
        return
    changed = changed_settings(model.objective, fitted)
    names = " and ".join(name.upper() for name in changed)
    settings = ", ".join(f"{name.upper()} = {_shown(x)}" for name, x in changed.items())
    raise ConfigError(
        f"{type(fitted).__name__}'s {names} is fitted to the data, for which T5X has no "
        f"place: set {settings}, which is what is fitted here"
    )


def _shown(setting: Any) -> str:
    if isinstance(setting, tuple):
        return f"({', '.join(map(_shown, setting))})"
    return f"{setting:.9g}" if isinstance(setting, float) else repr(setting)
