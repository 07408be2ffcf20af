"""Settings of a run that cannot be used, refused before anything is computed."""

import os
from collections.abc import Callable
from typing import Any

from dro_jax.errors import ConfigError, DataError
from dro_jax.messages import note
from dro_jax.models.model import FeedbackModel
from dro_jax.models.t5_config import check_vocabulary
from dro_jax.paths import expanded, is_url
from dro_jax.training.before.prepared_data import check_sampling
from dro_jax.training.before.prompt_statistics import check_several_responses
from dro_jax.training.before.reference import Mode, mode_for, why_not
from dro_jax.training.before.value_fit import ValueFitConfig


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


def local_folder(folder: str | os.PathLike, setting: str = "MODEL_DIR") -> str:
    """A folder that a run writes to, with `~` and environment variables put in.

    Raises:
      ConfigError: it is a URL, or names a variable that is not set.
    """
    if is_url(path := expanded(folder)):
        raise ConfigError(
            f"{setting} = {path!r} is a URL, but runs write to folders: give one that "
            "all hosts see (a mounted bucket will do), and copy it when the run is done"
        )
    return path


def check_data(
    model: FeedbackModel,
    dataset: Any,
    sampling: str = "none",
    *,
    training: bool,
    tell: Callable[[str], None] | None = note,
) -> FeedbackModel:
    """Refuses a split that the objective can learn nothing from, before work is done.

    All that is asked of a run's data, whichever trainer runs it.

    Args:
      model: whose objective, and vocabulary, the data must fit.
      dataset: a split that is trained on, or evaluated.
      sampling: as for `train`.
      training: whether the objective is fitted to its rewards too.
      tell: as for :func:`fitted_to_rewards`.

    Returns:
      The model; trained, as :func:`fitted_to_rewards` gives it.

    Raises:
      ConfigError: groups, batches or the vocabulary do not fit.
      DataError: the records do not.
    """
    check_groups(model, dataset, sampling)
    check_vocabulary(dataset.vocabulary, model.network_config.vocab_size)
    needs = model.objective.needs
    if needs.prompt_values or needs.quantiles:
        check_several_responses(
            dataset.prompt_records(), type(model.objective).__name__, dataset.split
        )
    return fitted_to_rewards(model, dataset, tell) if training else model


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


def unused_settings(
    model: FeedbackModel,
    *,
    reference: Mode | None = None,
    reference_cache_dir: str | None = None,
    value_fit: ValueFitConfig | None = None,
    value_fit_dataset_cfg: Any = None,
) -> list[str]:
    """What is set for other objectives than the model's, a sentence each.

    Losses are compared by changing the objective's file alone, so that the rest of the
    command line holds what any of them reads.

    Args:
      model: whose objective reads these or not.
      reference, reference_cache_dir, value_fit, value_fit_dataset_cfg: as for `train`.
    """
    needs, name = model.objective.needs, type(model.objective).__name__
    found = []
    mode = mode_for(model, reference)
    if reference is not None and not needs.reference:
        found.append(f"REFERENCE is not used by {name}, which has no reference")
    elif reference is not None and mode != reference:
        found.append(f"REFERENCE is {mode!r} for {name}, which {why_not(needs)}")
    if reference_cache_dir is not None and not needs.reference:
        found.append(f"REFERENCE_CACHE_DIR is not used by {name}: it has no reference")
    elif reference_cache_dir is not None and mode != "cached":
        found.append(
            f"REFERENCE_CACHE_DIR is not used by {name}: its reference is a frozen copy"
        )
    for setting, value in (
        ("value_fit", value_fit),
        ("value_fit_dataset_cfg", value_fit_dataset_cfg),
    ):
        if value is not None and not needs.advantages:
            found.append(
                f"train.{setting} is not used by {name}, which reads no advantages"
            )
    return found


def held_out_data(model: FeedbackModel, dataset: Any, fit_dataset: Any) -> Any:
    """The data to evaluate on; None, with a word, where there are none.

    Args:
      model: whose objective may need held-out data.
      dataset: what is named for evaluation, or None.
      fit_dataset: what is named for the value of the reference, or None.

    Raises:
      ConfigError: the objective needs held-out data, and the task has none.
    """
    if dataset is None or dataset.has_split():
        return dataset
    where = f"{dataset.name} has no split '{dataset.split}'"
    if model.objective.needs.advantages and fit_dataset is None:
        raise ConfigError(
            f"{where}, and {type(model.objective).__name__} fits the value of the "
            "reference on prompts that are not trained on: give the task such a split "
            "(VALIDATION_PATH of gin_configs/tasks/jsonl.gin), or name one in "
            "train.value_fit_dataset_cfg"
        )
    note(f"{where}: nothing is evaluated")
    return None


def check_value_settings(model: FeedbackModel, dataset: Any, path: str | None) -> None:
    """Refuses advantages without what they come from.

    Args:
      model: whose objective reads advantages or not.
      dataset: the split that V_ref is fitted on, or None.
      path: the reference's checkpoint.

    Raises:
      ConfigError: one is missing.
    """
    objective = type(model.objective).__name__
    if not model.objective.needs.advantages:
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


def fitted_to_rewards(
    model: FeedbackModel, dataset: Any, tell: Callable[[str], None] | None = note
) -> FeedbackModel:
    """The model with an objective that knows the data's rewards.

    Labels need the sizes of the two classes, and rewards that weigh log π a shift.

    Args:
      model: whose objective may need that.
      dataset: the training split.
      tell: is given a sentence about rewards that are shifted.

    Raises:
      DataError: the objective can learn nothing from these rewards.
    """
    objective = model.objective
    if not objective.needs.split_rewards:
        return model
    rewards = dataset.prompt_records().rewards
    try:
        fitted = objective.fitted_to(rewards)
    except ValueError as error:
        raise DataError(
            f"{type(objective).__name__} and the split '{dataset.split}' of "
            f"{dataset.name}: {error}"
        ) from error
    if fitted == objective:
        return model
    sentence = fitted.told_of_fit(rewards)
    if sentence and tell is not None:
        tell(sentence)
    return model.with_objective(fitted)
