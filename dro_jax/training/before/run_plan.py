"""A run as it will be, every check on its settings and data made and nothing computed.

Whoever prepares a run plans it first (:func:`plan_run`), so that no check can be left
out: `dro-jax train`, its dry run, T5X's runtime and the benchmarks.
"""

import dataclasses
import inspect
from collections.abc import Callable

import numpy as np

from dro_jax.data.interface import Dataset, HostBatch
from dro_jax.errors import ConfigError
from dro_jax.messages import note, say
from dro_jax.models.model import FeedbackModel
from dro_jax.models.t5_config import note_spare_rows
from dro_jax.paths import expanded, is_url
from dro_jax.plurals import counted
from dro_jax.training import initialization, run_files
from dro_jax.training.before.checks import (
    check_data,
    check_dropout,
    check_value_settings,
    held_out_data,
    local_folder,
)
from dro_jax.training.before.prepared_data import like_prepared
from dro_jax.training.before.reference import Mode, check_path, mode_for
from dro_jax.training.before.reference_samples import ReferenceSamples, reads_samples
from dro_jax.training.before.samples_of_reference import num_prompts
from dro_jax.training.before.settings_in_use import check_samples, unused_settings
from dro_jax.training.before.value_fit import ValueFitConfig
from dro_jax.training.online.checks import check_fresh
from dro_jax.training.run_settings import ReferenceSettings, RunData
from dro_jax.training.sharding import MeshConfig, Partitioner

# Where each split of `RunData` is set, in the words of `train`.
_NAMES = {
    "train": "train_dataset_cfg",
    "held_out": "train_eval_dataset_cfg (EVAL_DATASET)",
    "value_fit": "value_fit_dataset_cfg",
}
# What says where each folder of what is computed of the reference lies.
_SETTINGS = {
    run_files.REFERENCE_CACHE: "REFERENCE_CACHE_DIR",
    run_files.REFERENCE_SAMPLES: "REFERENCE_SAMPLES_DIR",
    run_files.VALUE_OF_REFERENCE: "VALUE_OF_REFERENCE_DIR",
}


@dataclasses.dataclass(frozen=True)
class RunPlan:
    """A run whose settings and data have been looked at; made by :func:`plan_run`.

    Attributes:
      model: with an objective that knows the rewards of the data.
      data: its splits; no `held_out` where the task has none.
      reference: what the run starts from.
      partitioner: its devices.
      folders: where log-probabilities of the reference, its samples and its value are
        kept, by their names in a run's folder; those that the objective needs.
      starts: whether it starts; else it goes on from a checkpoint of its folder.
    """

    model: FeedbackModel
    data: RunData
    reference: ReferenceSettings
    partitioner: Partitioner
    folders: dict[str, str]
    starts: bool

    @property
    def mode(self) -> Mode | None:
        """Where the reference's log-probabilities come from; None without a reference."""
        if not self.model.objective.needs.reference:
            return None
        return mode_for(self.model, self.reference.mode)

    @property
    def runs_networks(self) -> bool:
        """Whether networks must run before the first step."""
        return bool(self.folders)

    @property
    def samples(self) -> ReferenceSamples | None:
        """What is sampled of the reference; None where nothing is read of samples."""
        return self.reference.samples if _samples(self.model, self.reference) else None

    def num_samples(self) -> dict[str, int]:
        """Responses of the reference that the run needs, by data set and split."""
        if self.samples is None:
            return {}
        needs, data = self.model.objective.needs, self.data
        datasets, judged = [data.train, data.held_out], 0.0
        if needs.advantages:
            datasets, judged = [data.fitted], self.judged_fraction or 0.0
        return {
            f"{own.name}, split '{own.split}'": self.samples.decoding.num_samples
            * num_prompts(own.prompt_records(), judged)
            for own in datasets
            if own is not None
        }

    @property
    def value_fit(self) -> ValueFitConfig:
        """How the value of the reference is fitted."""
        return self.reference.value_fit or ValueFitConfig()

    @property
    def judged_fraction(self) -> float | None:
        """The share of prompts that judge, where V is fitted to the others."""
        own_split = self.data.value_fit is not None and not self.data.value_fit_judges
        if own_split or not self.model.objective.needs.advantages:
            return None
        return self.value_fit.judged_fraction

    def example(self, batch: HostBatch) -> HostBatch:
        """A batch with all fields that a step reads; those still to come mean nothing.

        They have their shapes and types: to learn what a step would do, and to time it.
        """
        batch = like_prepared(self.model.objective, batch)
        if self.mode == "cached":
            batch["reference_logprobs"] = np.full_like(batch["rewards"], -100.0)
            if self.model.objective.needs.token_logprobs:
                tokens = batch["decoder_loss_weights"].shape
                batch["reference_token_logprobs"] = np.full(tokens, -1.0, np.float32)
        return batch


def plan_run(
    model: FeedbackModel,
    data: RunData,
    reference: ReferenceSettings,
    *,
    model_dir: str | None,
    mesh: MeshConfig | None = None,
    num_microbatches: int = 1,
    frozen_copy: bool = True,
    starts: bool | None = None,
    tell: Callable[[str], None] = note,
) -> RunPlan:
    """Looks at all that is known of a run before anything is computed.

    Args:
      model: what is trained.
      data: its splits; they are read where an objective asks for certain rewards.
      reference: what the run starts from.
      model_dir: the run's folder; one with a checkpoint goes on, and then what only
        concerns a start is not looked at. None: there is no folder.
      mesh: the devices; default all, data-parallel.
      num_microbatches: parts of a batch.
      frozen_copy: as for `prepare_run`; one that the trainer's own state holds needs no
        path here.
      starts: whether the run starts, where several processes must hold the same of it;
        default, whether `model_dir` has no checkpoint.
      tell: is given a sentence about each setting that is not used, and the like.

    Raises:
      ConfigError: a setting is missing, unknown, or does not fit the others.
      CheckpointError: there is no checkpoint to start from.
      DataError: the objective can learn nothing from the records, or the vocabulary is
        not that of the checkpoint.
    """
    for setting, name in _NAMES.items():
        _check_is_dataset(getattr(data, setting), name)
    reference = check_fresh(model, data, reference, tell)
    if frozen_copy or mode_for(model, reference.mode) == "cached":
        check_path(model, reference.path)
    held_out = held_out_data(model, data.held_out, data.value_fit, tell)
    data = dataclasses.replace(data, held_out=held_out)
    check_value_settings(model, data, reference)
    check_samples(model, data, reference, tell)
    if data.train is not None:
        for sentence in unused_settings(model, data, reference):
            tell(sentence)
    folders = _folders(model, reference, model_dir)
    if starts is None:
        starts = not run_files.has_checkpoint(model_dir)
    if starts:
        check_dropout(model, reference.tolerance)
    partitioner = (mesh or MeshConfig()).build()
    for dataset in _used(model, data):
        training = dataset is data.train
        partitioner.check_batch_size(
            dataset.batch_size, num_microbatches if training else 1
        )
        if starts and reference.path is not None:
            initialization.check_tokenizer(reference.path, dataset.vocabulary)
    sampled = _samples(model, reference)
    model = _check_records(model, data, tell, sampled=sampled)
    return RunPlan(model, data, reference, partitioner, folders, starts)


def _used(model: FeedbackModel, data: RunData) -> list[Dataset]:
    fitted = data.value_fit if model.objective.needs.advantages else None
    return [x for x in (data.train, data.held_out, fitted) if x is not None]


def _check_records(
    model: FeedbackModel,
    data: RunData,
    tell: Callable[[str], None],
    *,
    sampled: bool,
) -> FeedbackModel:
    for dataset in _used(model, data):
        if dataset is data.train:
            note_spare_rows(dataset.vocabulary, model.network_config.vocab_size, tell)
            say(f"reading {dataset.name}, split '{dataset.split}' …")
            model = check_data(
                model,
                dataset,
                data.sampling,
                training=True,
                sampled=sampled,
                tell=tell,
            )
            facts = dataset.facts().values()
            kept = sum(task["records"]["num_kept"] for task in facts)
            say(f"  {counted(kept, 'record')}")
        else:
            check_data(model, dataset, training=False, sampled=sampled)
    return model


def _check_is_dataset(dataset: Dataset | None, setting: str) -> None:
    """Refuses what is no data set, before it fails in the middle of a run."""
    if dataset is None:
        return
    wanted = [*Dataset.__annotations__, *vars(Dataset)]
    lacking = [
        name
        for name in dict.fromkeys(wanted)
        if not name.startswith("_") and not _has(dataset, name)
    ]
    if lacking:
        raise ConfigError(
            f"train.{setting} is a {type(dataset).__name__}, which lacks "
            f"{', '.join(lacking)}: give a DatasetConfig, or what has all that "
            "dro_jax.data.interface.Dataset names"
        )


def _has(dataset: Dataset, name: str) -> bool:
    missing = object()
    # Statically first: properties are not computed for it. One that hands on what it is
    # asked for has nothing of its own.
    if inspect.getattr_static(dataset, name, missing) is not missing:
        return True
    return hasattr(type(dataset), "__getattr__") and hasattr(dataset, name)


def _folders(
    model: FeedbackModel, reference: ReferenceSettings, model_dir: str | None
) -> dict[str, str]:
    needs, named = model.objective.needs, {}
    if needs.reference and mode_for(model, reference.mode) == "cached":
        named[run_files.REFERENCE_CACHE] = reference.cache_dir
    if _samples(model, reference):
        named[run_files.REFERENCE_SAMPLES] = reference.samples_dir
    if needs.advantages:
        named[run_files.VALUE_OF_REFERENCE] = reference.value_dir
    return {
        name: _local(folder or (model_dir and f"{model_dir}/{name}"), _SETTINGS[name])
        for name, folder in named.items()
    }


def _samples(model: FeedbackModel, reference: ReferenceSettings) -> bool:
    """Whether the reference is sampled before the first step."""
    return reference.samples is not None and reads_samples(model.objective.needs)


def _local(folder: str | None, setting: str) -> str:
    if folder is None:
        raise ConfigError(
            "there is no place to keep what is computed of the reference: set "
            f"MODEL_DIR or {setting}"
        )
    folder = expanded(folder)
    if is_url(folder):
        raise ConfigError(
            f"what is computed of the reference cannot be kept at {folder}, which is a "
            f"URL: set {setting} to a folder (each host may have its own), or "
            "REFERENCE = 'frozen_copy'"
        )
    return local_folder(folder, setting)
