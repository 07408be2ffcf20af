"""The settings of a run, grouped by what they are about.

`train` takes each of them by its own name, as gin files bind them, and groups them.
"""

import dataclasses

from dro_jax.data.interface import Dataset
from dro_jax.errors import ConfigError
from dro_jax.evaluation.sampled_evaluation import SampledEvaluation
from dro_jax.models.model import FeedbackModel
from dro_jax.training.before.prepared_data import Sampling, check_sampling
from dro_jax.training.before.reference import Mode, check_mode
from dro_jax.training.before.reference_samples import ReferenceSamples
from dro_jax.training.before.value_fit import ValueFitConfig
from dro_jax.training.checkpoints import CheckpointConfig
from dro_jax.training.compiler_options import (
    OptionsByPlatform,
    check_compiler_options,
)
from dro_jax.training.online.fresh_samples import FreshSamples
from dro_jax.training.optimizers import OptimizerConfig
from dro_jax.training.sharding import MeshConfig
from dro_jax.training.step import NonFinite


@dataclasses.dataclass(frozen=True)
class RunData:
    """The splits of a run.

    Attributes:
      train: what is trained on; None where another part of the program trains.
      held_out: what is evaluated, read whole; None, nothing.
      value_fit: the split that the value of the reference is fitted on; None, that of
        `held_out`, whose prompts are then shared out between fit and evaluation.
      value_fit_judges: whether prompts of `value_fit` judge too, in an evaluation that
        is not this one's, so that their share is left out of the fit.
      sampling: `none`, records alike (of the leftover, for A-LoL), or `priority`, drawn
        in proportion to what they earn: see `Preparation`.
      fresh: what the policy samples while it trains; None, nothing.

    Raises:
      ConfigError: an unknown way of sampling.
    """

    train: Dataset | None = None
    held_out: Dataset | None = None
    value_fit: Dataset | None = None
    value_fit_judges: bool = False
    sampling: Sampling = "none"
    fresh: FreshSamples | None = None

    def __post_init__(self):
        check_sampling(self.sampling)

    @property
    def trains_on_log(self) -> bool:
        """Whether records themselves are trained on, or their prompts alone."""
        return self.fresh is None or self.fresh.log_share > 0

    @property
    def fitted(self) -> Dataset | None:
        """The split that the value of the reference is fitted on."""
        return self.held_out if self.value_fit is None else self.value_fit


@dataclasses.dataclass(frozen=True)
class ReferenceSettings:
    """What a run starts from, and is anchored to.

    Attributes:
      path: the pretrained policy, in any format; None, random parameters.
      mode: `cached`, log-probabilities of a split computed once and kept on disk;
        `frozen_copy`, a second forward pass in every step. None: `cached` where the
        objective allows it.
      cache_dir: where they are kept; None, in the run's folder.
      value_fit: how the value of the reference is fitted; None, by default settings.
      value_dir: where the fit is kept; None, in the run's folder.
      samples: what is sampled of it, for objectives that take its rewards from there;
        None, they take what was logged.
      samples_dir: where samples are kept; None, in the run's folder.
      tolerance: the largest |ℓ| of a response before the first update, in nats; None,
        what rounding makes of it.

    Raises:
      ConfigError: an unknown mode.
    """

    path: str | None = None
    mode: Mode | None = None
    cache_dir: str | None = None
    value_fit: ValueFitConfig | None = None
    value_dir: str | None = None
    samples: ReferenceSamples | None = None
    samples_dir: str | None = None
    tolerance: float | None = None

    def __post_init__(self):
        if self.mode is not None:
            check_mode(self.mode, "REFERENCE")


@dataclasses.dataclass(frozen=True)
class Updates:
    """How a batch becomes an update.

    Attributes:
      optimizer: optimiser and learning rates.
      mesh: how the run is spread over devices; None, all of them, data-parallel.
      num_microbatches: parts of a batch that go through the networks one by one.
      on_non_finite: `stop` at a loss or gradient that is not finite, or `skip` it.
      random_seed: seeds parameters and dropout.
      gradient_sum_dtype: in which microbatches' gradients are added up, `float32` or
        `bfloat16`.
      compiler_options: of the step, by platform: ``{'tpu': {'xla_…': True}}``.

    Raises:
      ConfigError: a setting cannot be used.
    """

    optimizer: OptimizerConfig
    mesh: MeshConfig | None = None
    num_microbatches: int = 1
    on_non_finite: NonFinite = "stop"
    random_seed: int = 0
    gradient_sum_dtype: str = "float32"
    compiler_options: OptionsByPlatform | None = None

    def __post_init__(self):
        check_compiler_options(self.compiler_options)
        _check_at_least_1("num_microbatches (NUM_MICROBATCHES)", self.num_microbatches)
        if self.on_non_finite not in ("stop", "skip"):
            raise ConfigError(
                f"on_non_finite = {self.on_non_finite!r} is unknown: use 'stop' or 'skip'"
            )
        if self.gradient_sum_dtype not in ("float32", "bfloat16"):
            raise ConfigError(
                f"gradient_sum_dtype (GRADIENT_SUM_DTYPE) = {self.gradient_sum_dtype!r} "
                "is unknown: use 'float32' or 'bfloat16'"
            )
        if self.num_microbatches == 1 and self.gradient_sum_dtype != "float32":
            raise ConfigError(
                f"GRADIENT_SUM_DTYPE = {self.gradient_sum_dtype!r} is the type in which "
                "microbatches' gradients are added up, and has no effect with "
                "NUM_MICROBATCHES = 1"
            )


@dataclasses.dataclass(frozen=True)
class Periods:
    """Steps between lines of metrics, evaluations and saves.

    Raises:
      ConfigError: one is below 1.
    """

    log: int
    evaluate: int
    save: int

    def __post_init__(self):
        _check_at_least_1("log_period (LOG_PERIOD)", self.log)
        _check_at_least_1("eval_period (EVAL_PERIOD)", self.evaluate)


@dataclasses.dataclass(frozen=True)
class ProcessSettings:
    """What the process does beside training.

    Attributes:
      watchdog_seconds: end the run where no step takes place for so long; None, never.
      tensorboard: also write TensorBoard files.
    """

    watchdog_seconds: float | None = 3600.0
    tensorboard: bool = True


@dataclasses.dataclass(frozen=True)
class RunSettings:
    """All that a run is told.

    Attributes:
      model: network, value estimate and objective.
      model_dir: the run's folder.
      total_steps: the step to stop at, counted from this run's own start.
      data, reference, updates, periods, checkpoints, process: the rest, by what it is
        about.
      sampled: what is sampled at each evaluation; None, nothing.

    Raises:
      ConfigError: fewer steps than one.
    """

    model: FeedbackModel
    model_dir: str
    total_steps: int
    data: RunData
    reference: ReferenceSettings
    updates: Updates
    periods: Periods
    checkpoints: CheckpointConfig
    process: ProcessSettings = ProcessSettings()
    sampled: SampledEvaluation | None = None

    def __post_init__(self):
        _check_at_least_1("total_steps (TRAIN_STEPS)", self.total_steps)


def _check_at_least_1(name: str, value: int) -> None:
    if value < 1:
        raise ConfigError(f"train.{name} = {value}: give at least 1")
