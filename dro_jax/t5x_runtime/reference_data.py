"""What objectives read of records beside their rewards, under T5X."""

import dataclasses
from typing import Any

from dro_jax.data.dataset import DatasetConfig
from dro_jax.data.grouping import Singles
from dro_jax.errors import ConfigError
from dro_jax.models.model import FeedbackModel
from dro_jax.objectives.interface import changed_settings
from dro_jax.paths import expanded, is_url
from dro_jax.t5x_runtime.forward_steps import forward_steps
from dro_jax.training.before.checks import (
    check_data,
    check_value_settings,
)
from dro_jax.training.before.judged_prompts import judged_part
from dro_jax.training.before.prepared_data import (
    Preparation,
    PreparedData,
    Sampling,
    check_sampling,
)
from dro_jax.training.before.reference import (
    Mode,
    Reference,
    check_mode,
    check_path,
    mode_for,
)
from dro_jax.training.before.value_of_reference import ValueFitConfig, ValueOfReference
from dro_jax.training.run_files import REFERENCE_CACHE, VALUE_OF_REFERENCE
from dro_jax.training.sharding import MeshConfig


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
      sampling: as for `dro_jax.training.train`.

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
    sampling: Sampling = "none"

    def __post_init__(self):
        if self.mode is not None:
            check_mode(self.mode, "REFERENCE")
        check_sampling(self.sampling)

    def attached_to(self, config: DatasetConfig) -> PreparedData:
        """A data set's batches, completed where the objective asks for it.

        Args:
          config: a split; without `num_epochs` it is trained on, and drawn from.

        Raises:
          ConfigError: the objective has a reference, and there is no path.
          CheckpointError: it cannot be read, or a cache was computed from another.
          DataError: the objective can learn nothing from the records.
        """
        model, needs = self.model, self.model.objective.needs
        fit_config = dataclasses.replace(
            config, split=self.value_fit_split, shuffle=False, num_epochs=1
        )
        check_value_settings(model, fit_config, self.path)
        config = dataclasses.replace(
            config, group_size=self.group_size, single_responses=self.single_responses
        )
        training = config.num_epochs is None
        fitted = check_data(model, config, self.sampling, training=training, tell=None)
        _check_fitted(model, fitted)
        cached = needs.reference and mode_for(model, self.mode) == "cached"
        reference = value = None
        if cached or needs.advantages:
            check_path(model, self.path)
            steps = forward_steps(model, self.mesh)
            steps.partitioner.check_batch_size(config.batch_size)
            reference = Reference(
                model, self.path, steps, cache_dir=self._folder(REFERENCE_CACHE)
            )
        if needs.advantages:
            value = ValueOfReference(
                model,
                reference.load,
                steps,
                self.value_fit,
                fingerprint=reference.fingerprint(),
                folder=self._folder(VALUE_OF_REFERENCE),
            )
            judged = (self.value_fit or ValueFitConfig()).judged_fraction
            value.fit(fit_config, judged_fraction=judged)
            if not training and config.split == fit_config.split:
                config = judged_part(config, judged)
        preparation = Preparation(
            model.objective, reference if cached else None, value, self.sampling
        )
        return preparation.prepare(config, training=training)

    def _folder(self, name: str) -> str:
        if self.cache_dir is not None:
            shared = name == REFERENCE_CACHE
            folder = self.cache_dir if shared else f"{self.cache_dir}/{name}"
        else:
            folder = f"{self.model_dir}/{name}" if self.model_dir else None
        if folder is None:
            raise ConfigError(
                "there is no place to keep what is computed of the reference: set "
                "MODEL_DIR or REFERENCE_CACHE_DIR"
            )
        folder = expanded(folder)
        if is_url(folder):
            raise ConfigError(
                f"what is computed of the reference cannot be kept at {folder}: set "
                "REFERENCE_CACHE_DIR to a folder that all hosts see, or REFERENCE = "
                "'frozen_copy'"
            )
        return folder


def _check_fitted(model: FeedbackModel, fitted_model: FeedbackModel) -> None:
    """Refuses what the built-in trainer would fit to the data: T5X's model is made."""
    fitted = fitted_model.objective
    changed = changed_settings(model.objective, fitted)
    if not changed:
        return
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
