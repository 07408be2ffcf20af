"""Settings of a run that samples which cannot be used, refused before work is done."""

import dataclasses
from collections.abc import Callable

from dro_jax.errors import ConfigError
from dro_jax.models.model import FeedbackModel
from dro_jax.training.before.reference import mode_for
from dro_jax.training.before.reference_samples import reads_samples
from dro_jax.training.run_settings import ReferenceSettings, RunData


def check_fresh(
    model: FeedbackModel,
    data: RunData,
    reference: ReferenceSettings,
    tell: Callable[[str], None],
) -> ReferenceSettings:
    """Refuses what a run that samples cannot do, and sampling where nobody can.

    Args:
      model: whose objective must be able to learn from samples.
      data: the run's, with what it samples.
      reference: what it starts from.
      tell: is given a sentence about what is chosen for the user.

    Returns:
      The reference, its mode chosen where samples leave one alone.

    Raises:
      ConfigError: a setting does not fit the others.
    """
    needs, name = model.objective.needs, type(model.objective).__name__
    if data.fresh is None:
        if needs.rollouts and data.train is not None:
            raise ConfigError(
                f"{name} is trained on what the policy samples, and nothing is sampled: "
                "set train.fresh_samples (FRESH_SAMPLES; gin_configs/samples/fresh.gin)"
            )
        return reference
    if data.train is None:
        raise ConfigError(
            "train.fresh_samples (FRESH_SAMPLES) is for `dro-jax train` alone: this "
            "trainer reads its batches from a log"
        )
    _check_objective(model, data, reference)
    _check_scales(model, data, reference)
    _check_rows(model, data)
    return _reference(model, data, reference, tell)


def _check_objective(
    model: FeedbackModel, data: RunData, reference: ReferenceSettings
) -> None:
    needs, name, fresh = (
        model.objective.needs,
        type(model.objective).__name__,
        data.fresh,
    )
    if needs.scores:
        raise ConfigError(
            f"{name} trains a reward model, which answers no prompts: leave "
            "train.fresh_samples (FRESH_SAMPLES) out"
        )
    if needs.quantiles and reference.samples is None:
        raise ConfigError(
            f"{name} reads where a reward lies among those of the reference's responses "
            "to its prompt, of which a log has few: sample them, too "
            "(gin_configs/samples/reference.gin; train.reference_samples), or leave "
            "train.fresh_samples (FRESH_SAMPLES) out"
        )
    if needs.rollouts and fresh.log_share:
        raise ConfigError(
            f"{name} reads what is known of responses since the policy sampled them, "
            "which no log says: set FreshSamples.log_share (FRESH_LOG_SHARE) to 0"
        )
    if needs.rollouts and not fresh.is_of_policy:
        raise ConfigError(
            f"{name} takes responses for samples of the policy itself: leave temperature, "
            "top_k and top_p of FreshSamples.decoding out"
        )
    if data.sampling == "priority" and not fresh.log_share:
        raise ConfigError(
            "SAMPLING = 'priority' draws records of the log, of which none is trained "
            "on: leave it out, or set FreshSamples.log_share (FRESH_LOG_SHARE)"
        )


def _check_scales(
    model: FeedbackModel, data: RunData, reference: ReferenceSettings
) -> None:
    """Refuses rewards of samples in other units than those of the reference's own."""
    fresh, own = data.fresh, reference.samples
    if own is None or not reads_samples(model.objective.needs):
        return
    if (fresh.scale, fresh.shift) != (own.scale, own.shift):
        raise ConfigError(
            f"{type(model.objective).__name__} compares rewards of fresh samples with "
            "those of the reference's samples, and they are in other units: scale "
            f"{fresh.scale:g} and shift {fresh.shift:g} (FRESH_REWARD_SCALE, "
            f"FRESH_REWARD_SHIFT), and {own.scale:g} and {own.shift:g} "
            "(REFERENCE_REWARD_SCALE, REFERENCE_REWARD_SHIFT). Give both the same"
        )


def _check_rows(model: FeedbackModel, data: RunData) -> None:
    needs, fresh, dataset = model.objective.needs, data.fresh, data.train
    if not all(hasattr(dataset, name) for name in ("tasks", "packing")):
        raise ConfigError(
            f"train.fresh_samples asks prompts of {dataset.name}, and "
            f"{type(dataset).__name__} has no tasks with texts: give a DatasetConfig as "
            "train.train_dataset_cfg"
        )
    longest, most = dataset.task_feature_lengths["targets"], fresh.decoding
    if most.max_decode_length is not None and most.max_decode_length > longest:
        raise ConfigError(
            f"FreshSamples.decoding.max_decode_length = {most.max_decode_length} is more "
            f"than a row's {longest} tokens of a response (TASK_FEATURE_LENGTHS)"
        )
    if dataset.group_size is not None and most.num_samples < 2:
        raise ConfigError(
            f"GROUP_SIZE = {dataset.group_size} puts responses to one prompt side by "
            "side, and each is sampled one: set FreshSamples.decoding.num_samples "
            "(FRESH_SAMPLES_PER_PROMPT), as a rule to GROUP_SIZE"
        )
    logged = fresh.log_rows(dataset.batch_size)
    sampled, least = dataset.batch_size - logged, 2 if needs.mismatched else 1
    if fresh.log_share and min(logged, sampled) < least:
        raise ConfigError(
            f"FreshSamples.log_share = {fresh.log_share:g} (FRESH_LOG_SHARE) leaves "
            f"{logged} rows of the log and {sampled} of samples in a batch of "
            f"{dataset.batch_size} (BATCH_SIZE), and each needs {least} or more"
        )


def _reference(
    model: FeedbackModel,
    data: RunData,
    reference: ReferenceSettings,
    tell: Callable[[str], None],
) -> ReferenceSettings:
    needs, name, fresh = (
        model.objective.needs,
        type(model.objective).__name__,
        data.fresh,
    )
    if fresh.move_reference_every is None:
        return reference
    setting = "FreshSamples.move_reference_every (MOVE_REFERENCE_EVERY)"
    if not needs.reference:
        raise ConfigError(f"{setting} has no effect: {name} has no reference")
    if needs.quantiles:
        raise ConfigError(
            f"{name} reads where rewards lie among those of samples of the reference that "
            "the run starts from, which are drawn once, and its normaliser is of these: "
            f"leave {setting} out"
        )
    # A value of prompts that is off moves the policy of a log, and not that of its own
    # samples (docs/online_dro.md).
    if needs.advantages or (needs.prompt_values and fresh.log_share):
        raise ConfigError(
            f"{name} reads values of prompts under the reference that the run starts "
            f"from, which are computed once: leave {setting} out"
        )
    if not fresh.log_share or mode_for(model, reference.mode) == "frozen_copy":
        return reference
    if reference.mode is not None:
        raise ConfigError(
            "REFERENCE = 'cached' keeps the log's log-probabilities under the reference "
            f"that the run starts from, and {setting} moves it: leave REFERENCE out"
        )
    tell(
        "the reference moves, so its log-probabilities of the log are computed in each "
        "step (REFERENCE = 'frozen_copy')"
    )
    return dataclasses.replace(reference, mode="frozen_copy")
