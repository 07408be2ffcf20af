"""Settings of a run that cannot be used, refused before anything is computed."""

import os
from collections.abc import Callable

from dro_jax.data.interface import Dataset
from dro_jax.errors import ConfigError, DataError
from dro_jax.messages import note
from dro_jax.models.model import FeedbackModel
from dro_jax.models.t5_config import check_vocabulary
from dro_jax.objectives.interface import Objective
from dro_jax.paths import expanded, is_url, reason
from dro_jax.training.before.prompt_statistics import check_several_responses
from dro_jax.training.run_settings import ReferenceSettings, RunData


def local_folder(folder: str | os.PathLike, setting: str = "MODEL_DIR") -> str:
    """A folder that a run writes to, with `~` and environment variables put in.

    Raises:
      ConfigError: it is a URL, names a variable that is not set, or can be no folder's
        name.
    """
    if not folder:
        raise ConfigError(f"{setting} = {folder!r} names no folder: give one's path")
    if is_url(path := expanded(folder)):
        raise ConfigError(
            f"{setting} = {path!r} is a URL, but runs write to folders: give one that "
            "all hosts see (a mounted bucket will do), and copy it when the run is done"
        )
    try:
        os.lstat(path)
    except (FileNotFoundError, NotADirectoryError):
        pass  # it is made, or refused where that is tried
    except (OSError, ValueError) as error:
        raise ConfigError(
            f"{setting} = {path!r} can be no folder ({reason(error)}): give another path"
        ) from error
    return path


def check_data(
    model: FeedbackModel,
    dataset: Dataset,
    sampling: str = "none",
    *,
    training: bool,
    sampled: bool = False,
    tell: Callable[[str], None] = note,
) -> FeedbackModel:
    """Refuses a split that the objective can learn nothing from, before work is done.

    All that is asked of a run's data, whichever trainer runs it.

    Args:
      model: whose objective, and vocabulary, the data must fit.
      dataset: a split that is trained on, or evaluated.
      sampling: as for `train`.
      training: whether the objective is fitted to its rewards too.
      sampled: whether statistics of prompts come from the reference's own samples, so
        that one logged response to each is enough.
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
    if (needs.prompt_values or needs.quantiles) and not sampled:
        check_several_responses(
            dataset.prompt_records(), type(model.objective).__name__, dataset.split
        )
    return fitted_to_rewards(model, dataset, tell) if training else model


def check_groups(model: FeedbackModel, dataset: Dataset, sampling: str) -> None:
    """Refuses groups where they cannot be used, and their absence where they must be.

    Args:
      model: whose objective reads groups, or cannot.
      dataset: its `group_size` and `batch_size` are read.
      sampling: as for `train`.

    Raises:
      ConfigError: so it is.
    """
    needs, name = model.objective.needs, type(model.objective).__name__
    grouped = dataset.group_size is not None
    if needs.groups and not grouped:
        raise ConfigError(
            f"{name} compares responses to one prompt: set DatasetConfig.group_size "
            "(GROUP_SIZE in its gin file) to the most of a group"
        )
    if grouped and needs.mismatched:
        raise ConfigError(
            f"{name} puts each response under another's prompt, and those of a group "
            "share one: leave DatasetConfig.group_size (GROUP_SIZE) out"
        )
    if grouped and (needs.leftover or sampling == "priority"):
        drawn = name if needs.leftover else f"SAMPLING = {sampling!r}"
        raise ConfigError(
            f"records that are drawn by what they earn ({drawn}) cannot be grouped: leave "
            "DatasetConfig.group_size (GROUP_SIZE) out"
        )
    if needs.mismatched and dataset.batch_size < 2:
        raise ConfigError(
            f"{name} puts each row's responses under another row's prompts, so a batch "
            "needs two rows or more: raise BATCH_SIZE"
        )


def held_out_data(
    model: FeedbackModel,
    dataset: Dataset | None,
    fit_dataset: Dataset | None,
    tell: Callable[[str], None] = note,
) -> Dataset | None:
    """The data to evaluate on; None, with a word, where there are none.

    Args:
      model: whose objective may need held-out data.
      dataset: what is named for evaluation, or None.
      fit_dataset: what is named for the value of the reference, or None.
      tell: is given that word.

    Raises:
      ConfigError: the objective needs held-out data, and the task has none.
    """
    if dataset is None or dataset.has_split():
        return dataset
    where = f"{dataset.name} has no split '{dataset.split}'"
    if model.objective.needs.advantages and fit_dataset is None:
        raise ConfigError(_no_split_to_fit(model, where))
    tell(f"{where}: nothing is evaluated")
    return None


def _no_split_to_fit(model: FeedbackModel, where: str) -> str:
    return (
        f"{where}, and {type(model.objective).__name__} fits the value of the "
        "reference on prompts that are not trained on: give the task such a split "
        "(VALIDATION_PATH of gin_configs/tasks/jsonl.gin), or name one in "
        "train.value_fit_dataset_cfg"
    )


def check_value_settings(
    model: FeedbackModel, data: RunData, reference: ReferenceSettings
) -> None:
    """Refuses advantages without what they come from, or judged by what made them.

    Args:
      model: whose objective reads advantages or not.
      data, reference: the run's.

    Raises:
      ConfigError: there is no reference, or no split to fit its value on, or that split
        is the very one that is evaluated.
    """
    objective = type(model.objective).__name__
    if not model.objective.needs.advantages:
        return
    if reference.path is None:
        raise ConfigError(
            f"{objective} reads advantages over the value of a frozen reference, and "
            "INITIAL_CHECKPOINT_PATH (train.initial_checkpoint_path) is not set: name "
            "the checkpoint of the reference"
        )
    if data.fitted is None:
        raise ConfigError(
            f"{objective} fits the value of the reference on prompts that are not "
            "trained on: set EVAL_DATASET, or train.value_fit_dataset_cfg"
        )
    fit, held_out = data.value_fit, data.held_out
    if fit is None:
        return
    where = f"{fit.name} has no split '{fit.split}'"
    if not fit.has_split():
        raise ConfigError(_no_split_to_fit(model, where))
    if same_split(fit, held_out):
        # Fitted to their own rewards, V would leave the judges' advantages too small.
        raise ConfigError(
            f"train.value_fit_dataset_cfg is '{fit.split}' of {fit.name}, on which the "
            "run is evaluated too: its prompts would judge what was fitted to them. "
            "Leave train.value_fit_dataset_cfg out, and they are shared out between "
            "the fit and the evaluation (ValueFitConfig.judged_fraction), or name "
            "another split"
        )


def same_split(one: Dataset | None, other: Dataset | None) -> bool:
    """Whether two data sets are of one split, however they are batched."""
    if one is None or other is None:
        return False
    return (one.name, one.split) == (other.name, other.split)


def check_dropout(model: FeedbackModel, tolerance: float | None) -> None:
    """Refuses dropout in a policy whose reference has none, before work is done for it.

    Raises:
      ConfigError: so it is, and no `tolerance` of the difference is given.
    """
    drops = model.network_config.dropout_rate > 0
    if model.objective.needs.reference and drops and tolerance is None:
        raise ConfigError(
            "dropout is on in the policy and off in the reference, so that they differ "
            "before the first update: set DROPOUT_RATE = 0, or allow it by "
            "step_zero_tolerance (train.train's; data.ReferenceData's under T5X)"
        )


def fitted_to_rewards(
    model: FeedbackModel, dataset: Dataset, tell: Callable[[str], None] = note
) -> FeedbackModel:
    """The model with an objective that knows the data's rewards.

    Labels need the sizes of the two classes, and rewards that weigh log π a shift.

    Args:
      model: whose objective may need that.
      dataset: the training split.
      tell: is given a sentence about rewards that are shifted.

    Raises:
      ConfigError: the objective says what it takes from them and does not ask for them.
      DataError: the objective can learn nothing from these rewards.
    """
    objective = model.objective
    if not objective.needs.split_rewards:
        # One that derives from ours with needs of its own would silently go unfitted.
        if type(objective).fitted_to is not Objective.fitted_to:
            raise ConfigError(
                f"{type(objective).__name__} has a fitted_to, which is given the rewards "
                "of the training split, and does not ask for them: add split_rewards = "
                "True to its needs (dro_jax.objectives.Needs)"
            )
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
    if sentence:
        tell(sentence)
    return model.with_objective(fitted)
