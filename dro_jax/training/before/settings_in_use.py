"""Settings of a run that its objective does not read, or can make nothing of."""

from collections.abc import Callable

from dro_jax.errors import ConfigError
from dro_jax.evaluation.sampled_figures import is_of_policy
from dro_jax.messages import note
from dro_jax.models.model import FeedbackModel
from dro_jax.objectives.interface import Objective
from dro_jax.training.before.checks import same_split
from dro_jax.training.before.reference import mode_for, why_not
from dro_jax.training.before.reference_samples import reads_samples
from dro_jax.training.before.samples_of_reference import sample_facts
from dro_jax.training.run_settings import ReferenceSettings, RunData


def unused_settings(
    model: FeedbackModel, data: RunData, reference: ReferenceSettings
) -> list[str]:
    """What is set for other objectives than the model's, or is unwise; a sentence each.

    Losses are compared by changing the objective's file alone, so that the rest of the
    command line holds what any of them reads.

    Args:
      model: whose objective reads these or not.
      data, reference: the run's.
    """
    needs, name = model.objective.needs, type(model.objective).__name__
    found = []
    mode = mode_for(model, reference.mode)
    if reference.mode is not None and not needs.reference:
        found.append(f"REFERENCE is not used by {name}, which has no reference")
    elif reference.mode is not None and mode != reference.mode:
        found.append(f"REFERENCE is {mode!r} for {name}, which {why_not(needs)}")
    if reference.cache_dir is not None and not needs.reference:
        found.append(f"REFERENCE_CACHE_DIR is not used by {name}: it has no reference")
    elif reference.cache_dir is not None and mode != "cached":
        found.append(
            f"REFERENCE_CACHE_DIR is not used by {name}: its reference is a frozen copy"
        )
    if reference.value_dir is not None and not needs.advantages:
        found.append(
            f"VALUE_OF_REFERENCE_DIR is not used by {name}, which reads no advantages"
        )
    samples, samples_dir = reference.samples, reference.samples_dir
    if samples is not None and not reads_samples(needs):
        found.append(
            f"REFERENCE_SAMPLES is not used by {name}, which reads no advantages, prompt "
            "values or quantiles"
        )
    if samples_dir is not None and (samples is None or not reads_samples(needs)):
        found.append(
            f"REFERENCE_SAMPLES_DIR is not used by {name}, for which nothing is sampled"
        )
    for setting, value in (
        ("value_fit", reference.value_fit),
        ("value_fit_dataset_cfg", data.value_fit),
    ):
        if value is not None and not needs.advantages:
            found.append(
                f"train.{setting} is not used by {name}, which reads no advantages"
            )
    if needs.advantages and same_split(data.fitted, data.train):
        found.append(
            f"the value of the reference is fitted to '{data.train.split}', on which the "
            "policy is trained: what it has seen of a record's own reward is missing from "
            "that record's advantage"
        )
    return found


def check_samples(
    model: FeedbackModel,
    data: RunData,
    reference: ReferenceSettings,
    tell: Callable[[str], None] = note,
) -> None:
    """Refuses samples of the reference that nothing can be made of.

    Args:
      model: whose objective reads what comes from them, or not.
      data, reference: the run's.
      tell: is given a sentence where they are not drawn from the reference as it is.

    Raises:
      ConfigError: nothing scores them, a data set has no texts, or the objective makes
        no values of samples.
    """
    needs, objective = model.objective.needs, model.objective
    samples = reference.samples
    if samples is None or not reads_samples(needs):
        return
    if reference.path is None:
        raise ConfigError(
            "REFERENCE_SAMPLES samples the reference, and INITIAL_CHECKPOINT_PATH "
            "(train.initial_checkpoint_path) is not set: name its checkpoint"
        )
    defined = type(objective).values_of_samples is not Objective.values_of_samples
    if needs.prompt_values and not defined:
        raise ConfigError(
            f"{type(objective).__name__} makes no prompt values of the reference's samples "
            "(it has no values_of_samples): leave REFERENCE_SAMPLES out"
        )
    read = [data.fitted] if needs.advantages else [data.train, data.held_out]
    for dataset in read:
        if dataset is not None:
            sample_facts(samples, dataset)
    if not is_of_policy(samples.decoding):
        tell(
            "REFERENCE_SAMPLES draws from another distribution than the reference's own "
            "(temperature 1 of all tokens), and so are the rewards that "
            f"{type(objective).__name__} takes for its"
        )
