"""Settings of a run that cannot be used, refused before anything is computed."""

from typing import Any

from dro_jax.errors import ConfigError, DataError
from dro_jax.interop.locations import is_url
from dro_jax.models.model import FeedbackModel
from dro_jax.objectives import Labelled
from dro_jax.training.prepared_data import check_sampling
from dro_jax.training.reference import Mode, check_path, mode_for
from dro_jax.training.value_fit import ValueFitConfig


def check_settings(
    on_non_finite: str, sampling: str, at_least_1: dict[str, int]
) -> None:
    """Refuses numbers below 1 and words that mean nothing.

    Args:
      on_non_finite, sampling: as for `train`.
      at_least_1: numbers by their names.

    Raises:
      ConfigError: one cannot be used.
    """
    for name, value in at_least_1.items():
        if value < 1:
            raise ConfigError(f"train.{name} = {value}: give at least 1")
    if on_non_finite not in ("stop", "skip"):
        raise ConfigError(
            f"on_non_finite = {on_non_finite!r} is unknown: use 'stop' or 'skip'"
        )
    check_sampling(sampling)


def check_model_dir(model_dir: str) -> None:
    """Refuses a model folder behind a URL.

    Raises:
      ConfigError: it is one.
    """
    if is_url(model_dir):
        raise ConfigError(
            f"MODEL_DIR = {model_dir!r} is a URL, but runs write to folders: give one "
            "that all hosts see (a mounted bucket will do), and copy it when the run is "
            "done"
        )


def check_groups(model: FeedbackModel, dataset: Any, sampling: str) -> None:
    """Refuses groups where they cannot be used, and their absence where they must be.

    Args:
      model: whose objective reads groups, or cannot.
      dataset: its `group_size` and `batch_size` are read.
      sampling: as for `train`.

    Raises:
      ConfigError: so it is.
    """
    needs, name = model.objective.needs, type(model.objective).__name__
    grouped = getattr(dataset, "group_size", None) is not None
    if needs.groups and not grouped:
        raise ConfigError(
            f"{name} compares responses to one prompt: set DatasetConfig.group_size "
            "(GROUP_SIZE in its gin file) to the most of a group"
        )
    if grouped and (needs.value or needs.mismatched):
        raise ConfigError(
            f"{name} reads each trajectory's own prompt, but those of a group share "
            "one: leave DatasetConfig.group_size (GROUP_SIZE) out"
        )
    if grouped and (needs.leftover or sampling == "priority"):
        raise ConfigError(
            f"records that are drawn by what they earn ({name}, SAMPLING = "
            f"{sampling!r}) cannot be grouped: leave DatasetConfig.group_size out"
        )
    if needs.mismatched and dataset.batch_size < 2:
        raise ConfigError(
            f"{name} puts each row's responses under another row's prompts, so a batch "
            "needs two rows or more: raise BATCH_SIZE"
        )


def check_reference_settings(
    model: FeedbackModel, reference: Mode | None, cache_dir: str | None, path: str | None
) -> None:
    """Refuses a reference that is missing, or set without effect.

    Raises:
      ConfigError: so it is.
    """
    objective = type(model.objective).__name__
    check_path(model, path)
    if not model.objective.needs.reference and reference is not None:
        raise ConfigError(
            f"{objective} uses no reference, so train.reference = {reference!r} has no "
            "effect: remove it"
        )
    cached = model.objective.needs.reference and mode_for(model, reference) == "cached"
    if cache_dir is not None and not cached:
        raise ConfigError(
            f"train.reference_cache_dir = {cache_dir!r} (REFERENCE_CACHE_DIR) has no "
            "effect without a cached reference: remove it"
        )


def check_value_settings(
    model: FeedbackModel,
    value_fit: ValueFitConfig | None,
    own_dataset: Any,
    dataset: Any,
    path: str | None,
) -> None:
    """Refuses advantages without what they come from, or settings without effect.

    Args:
      model: whose objective reads advantages or not.
      value_fit: how the value of the reference is fitted.
      own_dataset: a split that is for this alone, or None.
      dataset: what it is fitted on, or None.
      path: the reference's checkpoint.

    Raises:
      ConfigError: one is missing, or set without effect.
    """
    objective = type(model.objective).__name__
    if not model.objective.needs.advantages:
        for name, setting in (
            ("value_fit", value_fit),
            ("value_fit_dataset_cfg", own_dataset),
        ):
            if setting is not None:
                raise ConfigError(
                    f"{objective} reads no advantages, so train.{name} has no effect: "
                    "remove it"
                )
        return
    if path is None:
        raise ConfigError(
            f"{objective} reads advantages over the value of a frozen reference, and "
            "INITIAL_CHECKPOINT_PATH (train.initial_checkpoint_path) is not set: name "
            "the checkpoint of the reference"
        )
    if dataset is None:
        raise ConfigError(
            f"{objective} fits the value of the reference on prompts that are not "
            "trained on: set EVAL_DATASET, or train.value_fit_dataset_cfg"
        )


def fitted_to_labels(model: FeedbackModel, dataset: Any) -> FeedbackModel:
    """The model with an objective that knows how large the data's two classes are.

    Raises:
      DataError: one class is empty.
    """
    if not isinstance(model.objective, Labelled):
        return model
    try:
        fitted = model.objective.fitted_to(dataset.prompt_records().rewards)
    except ValueError as error:
        raise DataError(
            f"{type(model.objective).__name__} and the split '{dataset.split}' of "
            f"{dataset.name}: {error}"
        ) from error
    return model.with_objective(fitted)
