"""What an objective reads of samples beside their rewards, computed once a round."""

import dataclasses
from collections.abc import Callable, Iterator

import jax
import numpy as np

from dro_jax.data.interface import HostBatch
from dro_jax.models.networks import Params
from dro_jax.training.before.prepared_data import PreparedData
from dro_jax.training.before.prompt_statistics import quantiles_among
from dro_jax.training.before.record_fields import RecordField
from dro_jax.training.before.run_plan import RunPlan
from dro_jax.training.mesh_steps import MeshSteps
from dro_jax.training.online.asked_prompts import AskedPrompts
from dro_jax.training.online.round_pass import RoundPass
from dro_jax.training.online.round_samples import RoundSamples
from dro_jax.training.online.sampled_records import RoundRows
from dro_jax.training.state import TrainState


@dataclasses.dataclass(frozen=True, eq=False)
class SampleFields:
    """Computes the fields of samples, by the names of a batch's.

    Attributes:
      plan: the run.
      train: what is known of the prompts' records.
      asked: the prompts.
      passes: runs the networks.
    """

    plan: RunPlan
    train: PreparedData
    asked: AskedPrompts
    passes: RoundPass

    @classmethod
    def of(
        cls, plan: RunPlan, train: PreparedData, asked: AskedPrompts, steps: MeshSteps
    ) -> "SampleFields":
        """Those of a run."""
        return cls(plan, train, asked, RoundPass(plan.model, steps))

    def when_drawn(
        self, samples: RoundSamples, state: TrainState, tick: Callable[[], bool]
    ) -> RoundSamples:
        """With what only the policy that has just sampled can say.

        Args:
          samples: fresh ones.
          state: that policy's.
          tick: called once a batch; the work comes to its end all the same.
        """
        if not self.plan.model.objective.needs.rollouts:
            return samples
        rows = self._rows(samples)
        found = self.passes.of_policy(state.params, rows, samples, tick)
        return samples.with_fields(found)

    def when_used(
        self,
        samples: RoundSamples,
        reference: Params | None,
        state: TrainState,
        tick: Callable[[], bool],
    ) -> RoundSamples:
        """With all else, as the round begins in which they are trained on.

        Args:
          samples: as :meth:`when_drawn` gave them.
          reference: the policy that the run is anchored to now; None without one.
          state: the run's.
          tick: as for :meth:`when_drawn`.
        """
        needs = self.plan.model.objective.needs
        ids = self.asked.prompts.record_ids[samples.places]
        if needs.prompt_values:
            values = self._of_records("prompt_values").values_of(ids)
            samples = samples.with_fields({"prompt_values": values})
        if needs.quantiles:
            prompts = self.asked.prompts.hashes[samples.places]
            found = quantiles_among(samples.rewards, prompts, self.train.samples)
            samples = samples.with_fields({"quantiles": found})
        if needs.advantages:
            values = self._values_of_prompts(ids)
            samples = samples.with_fields({"advantages": samples.rewards - values})
        # In the other mode each step runs the reference itself.
        if reference is not None and (self.plan.mode == "cached" or needs.rollouts):
            rows = self._rows(samples)
            found = self.passes.of_reference(reference, rows, samples, tick)
            samples = samples.with_fields(found)
        if needs.rollouts:
            width = self.asked.dataset.task_feature_lengths["targets"]
            running = jax.device_get(state.running)
            found = self.passes.of_rollouts(samples, running, width)
            samples = samples.with_fields(found)
        return samples

    def trained_on(self, samples: RoundSamples) -> RoundSamples:
        """All samples, or those of positive advantage where an objective wants these."""
        if not self.plan.model.objective.needs.leftover:
            return samples
        return samples.take(np.flatnonzero(samples.fields["advantages"] > 0))

    def _rows(self, samples: RoundSamples) -> Iterator[HostBatch]:
        """Each sample once, in whole batches."""
        dataset = self.train.dataset
        rows = RoundRows(dataset, self.asked.prompts, samples, dataset.batch_size)
        return rows.batches()

    def _of_records(self, field: str) -> RecordField:
        tables = self.train.tables
        return next(t for t in tables if getattr(t, "field", None) == field)

    def _values_of_prompts(self, record_ids: np.ndarray) -> np.ndarray:
        """``[n]`` V_ref(x): what is left of a record's reward without its advantage."""
        records = self.train.dataset.prompt_records()
        rewards = RecordField("rewards", records.ids, records.rewards)
        advantages = self._of_records("advantages").values_of(record_ids)
        return rewards.values_of(record_ids) - advantages
