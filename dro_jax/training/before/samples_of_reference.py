"""The reference's own samples of a split: drawn and scored once, kept on disk."""

import base64
import dataclasses
import functools
import pathlib
from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import Any

import numpy as np

from dro_jax.data.different_prompts import DifferentPrompts, different_prompts
from dro_jax.data.interface import Dataset
from dro_jax.data.prompt_batches import (
    PlannedBatch,
    batches_to_do,
    bucket_edges,
    plan_batches,
)
from dro_jax.data.record_ids import PromptRecords
from dro_jax.errors import ConfigError
from dro_jax.evaluation.generation import response_text
from dro_jax.evaluation.sample_rewards import SampleRewards, reward_facts
from dro_jax.messages import is_first, note, say
from dro_jax.models.decoding import DecodingConfig
from dro_jax.models.model import FeedbackModel
from dro_jax.models.networks import Params
from dro_jax.plurals import counted
from dro_jax.training import hosts
from dro_jax.training.before.reference import network_key
from dro_jax.training.before.reference_samples import ReferenceSamples
from dro_jax.training.before.sample_store import REWARDS, SampleStore
from dro_jax.training.before.sampled_rewards import SampledRewards
from dro_jax.training.before.units_of_samples import mean_rewards
from dro_jax.training.before.value_fit_data import is_judged
from dro_jax.training.host_files import share_files
from dro_jax.training.mesh_steps import MeshSteps
from dro_jax.training.preemption import StopSignal
from dro_jax.training.scored_samples import ScoredSamples, scored_samples
from dro_jax.training.turns import one_computes
from dro_jax.training.watchdog import Watchdog

_WHAT = "the samples of the reference"


class SamplesOfReference:
    """Samples the reference for the prompts of splits, or reads what is there.

    Args:
      model: whose policy network the reference shares.
      load: gives the reference's parameters on the devices. Called only where something
        is to be sampled; nothing of them is kept.
      steps: where parameters and batches live.
      settings: what is sampled.
      fingerprint: of the reference's parameters.
      folder: where samples are kept, a folder for each task and split.
      beside_log: whether the log's rewards are compared with the samples', so that a
        person should know where the two may be in other units.
      stop: asks a long computation to stop.
      watchdog: is told that a long computation moves.

    Attributes:
      num_sampled: responses that were drawn, and not read.
    """

    def __init__(
        self,
        model: FeedbackModel,
        load: Callable[[], Params],
        steps: MeshSteps,
        settings: ReferenceSamples,
        *,
        fingerprint: str,
        folder: str | pathlib.Path,
        beside_log: bool = True,
        stop: StopSignal | None = None,
        watchdog: Watchdog | None = None,
    ):
        self._model, self._load, self._steps = model, load, steps
        self._settings, self._beside_log = settings, beside_log
        self._folder = pathlib.Path(folder)
        self._stop = stop or StopSignal()
        self._watchdog = watchdog or Watchdog(None)
        self._reference = {
            "reference parameters": fingerprint,
            **network_key(model.network_config),
        }
        self.num_sampled = 0

    def facts(self, dataset: Dataset) -> dict[str, str]:
        """What samples depend on beside the reference and the prompts."""
        return sample_facts(self._settings, dataset)

    def of(self, dataset: Dataset, judged_fraction: float = 0.0) -> SampledRewards:
        """Rewards of samples for a split's prompts.

        Args:
          dataset: the split; a `DatasetConfig`, whose tasks have texts.
          judged_fraction: share of the prompts that need none, for they judge a run.

        Raises:
          CheckpointError: the folder's samples are of something else, or damaged.
          ConfigError: there is nothing that scores them.
          DataError: a reward is not finite.
          Preempted: the run was told to stop; what was sampled is kept.
        """
        prompts = different_prompts(dataset)
        wanted = ~is_judged(prompts.hashes, judged_fraction)
        name = f"{dataset.name}-{dataset.split}"
        key = {
            **self._reference,
            **dataset.fingerprint(),
            **self.facts(dataset),
            "prompts told apart by": "their text",
        }
        shape = len(prompts), self._settings.decoding.num_samples
        # A folder of another host's own may hold something else than the first one's.
        store = hosts.agree(lambda: SampleStore(self._folder / name, key, shape))

        def is_there() -> bool:
            return store.has(wanted)

        if not hosts.first_says(is_there):
            with one_computes(store.folder, _WHAT, self._stop, self._watchdog):
                # Again where another run of several hosts cleared up meanwhile.
                while not hosts.first_says(is_there):
                    self._sample(dataset, prompts, store, wanted)
        share_files(store.folder, (REWARDS,))
        rewards = hosts.agree(store.rewards)
        found = SampledRewards(prompts.hashes, prompts.positions, rewards)
        if is_first():
            own = mean_rewards(found, dataset.prompt_records(), judged_fraction)
            far = own.are_far and self._beside_log
            told = own.text(advice=far)
            (note if far else say)(f"samples of the reference ({name}): {told}")
        return found

    def _sample(
        self,
        dataset: Dataset,
        prompts: DifferentPrompts,
        store: SampleStore,
        wanted: np.ndarray,
    ) -> None:
        """Samples the prompts that have no samples, and keeps a batch at a time."""
        found = hosts.first_says(lambda: _as_text(store.sampled()))
        missing = wanted & ~_as_mask(found, len(wanted))
        todo = np.flatnonzero(missing)
        settings, vocabulary = self._settings, dataset.vocabulary
        config = decoding_of(settings, dataset)
        done = (int(wanted.sum()) - len(todo)) * config.num_samples
        name = f"{dataset.name}-{dataset.split}"
        say(
            f"sampling what the reference answers to {name}: "
            f"{counted(len(todo) * config.num_samples, 'response')}"
            + (f" beside {done:,} that are there …" if done else " …")
        )
        if len(todo):
            placement = self._steps.partitioner
            size = placement.num_rows(settings.batch_size or dataset.batch_size)
            longest = dataset.task_feature_lengths["inputs"]
            whole = _plan(prompts.lengths, np.flatnonzero(wanted), size, longest)
            for samples in scored_samples(
                self._model,
                self._load(),
                prompts,
                batches_to_do(whole, config.joined_batches, missing),
                config,
                SampleRewards(
                    prompts,
                    settings.reward,
                    scale=settings.scale,
                    shift=settings.shift,
                ),
                placement,
                vocabulary,
                batch_size=size,
                missing=missing,
                label=f"samples of the reference ({name})",
            ):
                hosts.first_says(functools.partial(store.write, samples))
                self.num_sampled += samples.rewards.size
                self._tick()
        lines = functools.partial(_lines, prompts, vocabulary)
        hosts.first_says(lambda: store.finish(lines))
        say(f"  kept in {store.folder}")

    def _tick(self) -> None:
        self._watchdog.reset()
        if self._stop.now():
            raise self._stop.stopped(
                "while sampling the reference: the same command goes on from what is kept"
            )


def decoding_of(settings: ReferenceSamples, dataset: Dataset) -> DecodingConfig:
    """How responses to a split's prompts are drawn, their greatest length included."""
    return settings.decoding.limited_to(dataset.task_feature_lengths["targets"])


def tasks_of(dataset: Dataset) -> Sequence[Any]:
    """The feedback tasks of a split, whose prompts are sampled.

    Raises:
      ConfigError: the data set has no tasks with texts.
    """
    if not hasattr(dataset, "tasks"):
        raise ConfigError(
            f"train.reference_samples asks prompts of {dataset.name}, and "
            f"{type(dataset).__name__} has no tasks with texts: give a DatasetConfig, or "
            "leave REFERENCE_SAMPLES out"
        )
    return [task for task in dataset.tasks() if dataset.split in task.splits]


def sample_facts(settings: ReferenceSamples, dataset: Dataset) -> dict[str, str]:
    """What samples of the reference depend on beside its parameters and the prompts.

    Raises:
      ConfigError: nothing scores them.
    """
    tasks = tasks_of(dataset)
    decoding = decoding_of(settings, dataset).facts()
    return {
        "samples": ", ".join(f"{name} {value}" for name, value in decoding.items()),
        **reward_facts(tasks, settings.reward),
        **settings.units(),
    }


def num_prompts(records: PromptRecords, judged_fraction: float) -> int:
    """Different prompts of a split, without those that judge."""
    return sum(
        int(np.sum(~is_judged(np.unique(records.prompts[part]), judged_fraction)))
        for part in records.by_prompt()
    )


def _plan(
    lengths: np.ndarray, asked: np.ndarray, batch_size: int, longest: int
) -> list[PlannedBatch]:
    """Full batches of some prompts, by their places among all."""
    plan = plan_batches(lengths[asked], batch_size, bucket_edges(longest))
    return [
        dataclasses.replace(batch, places=asked[batch.places], window=batch.window)
        for batch in plan
    ]


def _lines(
    prompts: DifferentPrompts, vocabulary: Any, samples: ScoredSamples
) -> Iterator[Mapping[str, Any]]:
    """A line a response, for people."""
    texts = prompts.texts(samples.places)
    for text, place, *own in zip(texts, *samples, strict=True):
        for number, (tokens, length, logprob, reward) in enumerate(
            zip(*own, strict=True)
        ):
            yield {
                "prompt_number": int(place),
                "sample": number,
                "prompt": text,
                "response": response_text(vocabulary, tokens),
                "reward": float(reward),
                "logprob": float(logprob),
                "tokens": int(length),
            }


def _as_text(mask: np.ndarray) -> str:
    """A mask as a text, an eighth of its size and a little more."""
    return base64.b64encode(np.packbits(mask).tobytes()).decode()


def _as_mask(text: str, count: int) -> np.ndarray:
    return np.unpackbits(
        np.frombuffer(base64.b64decode(text), np.uint8), count=count
    ).astype(bool)
