"""Which prompts each round asks, and what scores the answers."""

import dataclasses
import functools
from collections.abc import Callable, Iterator
from typing import TYPE_CHECKING, Any

import numpy as np

from dro_jax.data.interface import Dataset
from dro_jax.data.permutation import Permutations
from dro_jax.data.prompt_batches import PlannedBatch, bucket_edges, plan_batches
from dro_jax.errors import ConfigError
from dro_jax.models.decoding import DecodingConfig
from dro_jax.models.model import FeedbackModel
from dro_jax.models.networks import Params
from dro_jax.training.mesh_steps import MeshSteps
from dro_jax.training.online.fresh_samples import FreshSamples
from dro_jax.training.online.round_samples import RoundSamples
from dro_jax.training.run_settings import RunData

if TYPE_CHECKING:
    from dro_jax.data.different_prompts import DifferentPrompts
    from dro_jax.evaluation.sample_rewards import SampleRewards

# Where a round asks a prompt twice, at the end of a pass over all, its samples differ:
# a key is of 32 bits, the upper ones the pass.
_NEXT_PASS = 1 << 24
_MOST_PASSES = 255


@dataclasses.dataclass(frozen=True, eq=False)
class AskedPrompts:
    """The different prompts of the training split, round by round.

    Attributes:
      settings: of the samples.
      dataset: whose split it is.
    """

    settings: FreshSamples
    dataset: Dataset

    @functools.cached_property
    def prompts(self) -> "DifferentPrompts":
        """All of them.

        Raises:
          ConfigError: a round asks each again and again.
        """
        from dro_jax.data.different_prompts import different_prompts

        found, most = different_prompts(self.dataset), self.settings.num_prompts
        if most >= _MOST_PASSES * len(found):
            raise ConfigError(
                f"FreshSamples.num_prompts = {most} (FRESH_PROMPTS) asks each of the "
                f"{len(found)} different prompts of {self.dataset.name}, split "
                f"'{self.dataset.split}', {_MOST_PASSES} times a round or more: lower it, "
                "and draw more responses to each (FRESH_SAMPLES_PER_PROMPT)"
            )
        return found

    @functools.cached_property
    def rewards(self) -> "SampleRewards":
        """What scores the answers.

        Raises:
          ConfigError: nothing does.
        """
        from dro_jax.evaluation.sample_rewards import SampleRewards

        own = self.settings
        return SampleRewards(self.prompts, own.reward, scale=own.scale, shift=own.shift)

    @functools.cached_property
    def decoding(self) -> DecodingConfig:
        """How responses are chosen."""
        decoding = self.settings.decoding
        limited = decoding.limited_to(self.dataset.task_feature_lengths["targets"])
        return dataclasses.replace(limited, seed=self.settings.seed)

    def identity(self) -> dict[str, str]:
        """What a run that goes on must find the same, by name."""
        from dro_jax.evaluation.sample_rewards import reward_facts

        found = {"fresh samples": self.settings.identity()}
        facts = reward_facts(self.prompts.records.tasks, self.settings.reward)
        return found | {f"fresh samples: {name}": its for name, its in facts.items()}

    def of_round(self, number: int) -> Iterator[np.ndarray]:
        """Places of a round's prompts; each part has none twice.

        All prompts come once, in an order of the seed, before any comes again, in
        another order.
        """
        size, count = len(self.prompts), self.settings.num_prompts
        asked = np.arange(number * count, (number + 1) * count, dtype=np.int64)
        passes, places = np.divmod(asked, size)
        order = Permutations(size, self.settings.seed, "fresh prompts")
        for one in np.unique(passes):
            own = passes == one
            yield order(places[own], passes[own][:1])

    def sample(
        self,
        number: int,
        model: FeedbackModel,
        params: Params,
        steps: MeshSteps,
        step: int,
        tick: Callable[[], bool],
    ) -> RoundSamples | None:
        """A round's responses, scored, in the order of its prompts.

        Args:
          number: of the round.
          model: whose policy answers.
          params: its own.
          steps: where they live.
          step: updates that made them.
          tick: called once a batch; where it is true, sampling ends.

        Returns:
          None where it ended so.
        """
        from dro_jax.training.scored_samples import scored_samples

        vocabulary, placement = self.dataset.vocabulary, steps.partitioner
        size = self.settings.batch_size or self.dataset.batch_size
        longest = self.dataset.task_feature_lengths["inputs"]
        parts = []
        for later, places in enumerate(self.of_round(number)):
            plan = plan_batches(
                self.prompts.lengths[places],
                placement.num_rows(size),
                bucket_edges(longest),
            )
            plan = [PlannedBatch(places[b.places], b.width, b.window) for b in plan]
            found = []
            for some in scored_samples(
                model,
                params,
                self.prompts,
                plan,
                self.decoding,
                self.rewards,
                placement,
                vocabulary,
                batch_size=size,
                sampled_round=number + later * _NEXT_PASS,
            ):
                found.append(self._flat(some, vocabulary.eos_id, step))
                if tick():
                    return None
            # Batches hold prompts of like lengths, and are as wide as devices ask.
            parts.append(_in_order(RoundSamples.joined(found), places))
        return RoundSamples.joined(parts)

    def _flat(self, some: Any, eos_id: int, step: int) -> RoundSamples:
        """A batch's samples, one after another."""
        samples, width = some.tokens.shape[1:]
        tokens = some.tokens.reshape(-1, width)
        lengths = some.lengths.reshape(-1).astype(np.int32)
        present = np.arange(width) < lengths[:, None]
        last = tokens[np.arange(len(tokens)), np.maximum(lengths, 1) - 1]
        return RoundSamples(
            places=np.repeat(some.places, samples),
            tokens=tokens[present].astype(np.int32),
            lengths=lengths,
            cut=last != eos_id,
            rewards=some.rewards.reshape(-1).astype(np.float32),
            logprobs=some.logprobs.reshape(-1).astype(np.float32),
            step=step,
        )


def asked_of(data: RunData) -> AskedPrompts | None:
    """What a run's policy is asked; None where it samples nothing."""
    return None if data.fresh is None else AskedPrompts(data.fresh, data.train)


def _in_order(samples: RoundSamples, places: np.ndarray) -> RoundSamples:
    """Samples in the order of their prompts' places, each prompt's own as they were."""
    rank = np.argsort(places)
    found = rank[np.searchsorted(places[rank], samples.places)]
    return samples.take(np.argsort(found, kind="stable"))
