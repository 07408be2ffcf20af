"""Evaluation on a held-out split: the same figures whatever its batches are."""

import dataclasses
from collections.abc import Callable

import jax

from dro_jax import metrics as metrics_lib
from dro_jax.data.interface import START, Shard
from dro_jax.data.settings import shard_rows
from dro_jax.models.model import FeedbackModel
from dro_jax.models.networks import Params
from dro_jax.training.before.mismatched_pairs import PAIRED, MismatchedPairs
from dro_jax.training.before.prepared_data import PreparedData
from dro_jax.training.before.split_trajectories import SplitTrajectories
from dro_jax.training.host_rows import whole_batch
from dro_jax.training.mesh_steps import MeshSteps
from dro_jax.training.score_metrics import score_metrics
from dro_jax.training.state import TrainState

Tick = Callable[[], bool]


class HeldOut:
    """Computes a split's metrics, each under `eval/`.

    Where each trajectory has its own loss, the batches' sums are merged. Where a
    statistic couples trajectories (DRO-P's mean, KTO's z, class sizes, a mean reward or
    value), a batch's own would say how large batches are. So a first pass collects what
    the networks make of each trajectory, a few numbers each, and the objective is then
    computed once, over all of the split: exact, by the very function that is trained,
    and without a rule for each statistic. KTO's pairs, formed over the whole split, take
    a second pass. A reward model's scores are collected likewise, and compared with the
    rewards in ranks and pairs, which no sums over batches would give.

    Args:
      model: gives metrics.
      steps: where parameters and batches live.
      data: the split, read whole.
      reference_params: the frozen copy, where there is one.
    """

    def __init__(
        self,
        model: FeedbackModel,
        steps: MeshSteps,
        data: PreparedData,
        reference_params: Params | None,
    ):
        self._model, self._steps = model, steps
        # Pairs are formed over the split here, not in its batches.
        self._data = dataclasses.replace(data, mismatched=False)
        self._reference = reference_params
        self._rollouts = model.objective.needs.rollouts
        self._metrics_of_whole = jax.jit(model.metrics_of_whole)

    def __call__(self, state: TrainState, tick: Tick) -> dict[str, float]:
        """The metrics of a state.

        Args:
          state: its parameters are judged; what its run carries is used as it stands.
          tick: called once a batch; where it is true the evaluation ends, with nothing.
        """
        is_reward = self._model.reward_config is not None
        # Without losses, which are of what the policy samples, nothing is coupled.
        coupled = self._model.couples_trajectories and not self._rollouts
        whole = coupled or is_reward
        compute = self._whole if whole else self._summed
        metrics = compute(state, tick)
        if metrics is None:
            return {}
        values = metrics_lib.compute(metrics)
        return {f"eval/{name}": value for name, value in values.items()}

    def _summed(self, state: TrainState, tick: Tick) -> metrics_lib.Metrics | None:
        sums, shard = _HostSums(), self._shard()
        for batch in self._data.batches(START, shard):
            sums.add(self._steps.evaluate(state.params, batch, self._reference, shard))
            if tick():
                return None
        return sums.total()

    def _whole(self, state: TrainState, tick: Tick) -> metrics_lib.Metrics | None:
        split, of_rows = SplitTrajectories(), _HostSums()
        pairs = MismatchedPairs() if self._model.objective.needs.mismatched else None
        shard = self._shard()
        # Pairs are formed of the split's tokens, which every process then needs.
        fields = ("record_ids",) if pairs is None else PAIRED
        for batch in self._data.batches(START, shard):
            part, metrics = self._steps.gather(
                state.params, batch, self._reference, shard
            )
            owners = {name: batch[name] for name in fields if name in batch}
            owners = whole_batch(owners, shard)
            split.add(owners["record_ids"], part)
            if pairs is not None:
                pairs.add(owners)
            of_rows.add(metrics)
            if tick():
                return None
        whole = dataclasses.replace(
            split.joined(), running=jax.device_get(state.running) or None, held_out=True
        )
        if pairs is not None:
            for batch, owners in pairs.batches():
                rows = shard_rows(shard, len(owners))
                own = {name: values[rows] for name, values in batch.items()}
                found = self._steps.log_ratios(
                    state.params, own, self._reference, shard
                )
                pairs.keep(owners, found)
                if tick():
                    return None
            log_ratios, weights = pairs.of_records()
            whole = dataclasses.replace(
                whole, mismatched_log_ratios=log_ratios, mismatched_weights=weights
            )
        metrics = jax.device_get(self._metrics_of_whole(whole)) | of_rows.total()
        if whole.scores is not None:
            metrics |= score_metrics(whole, split.ids(), self._data.dataset)
        return metrics

    def _shard(self) -> Shard:
        """Which part of each batch's rows this host reads, of how many."""
        return self._steps.partitioner.shard(self._data.dataset.batch_size)


class _HostSums:
    """Adds up the metrics of batches in float64, one batch behind the device.

    On the device a large split's sums would be float32, to which a batch adds less than
    their rounding in the end.
    """

    def __init__(self):
        self._sums: metrics_lib.Metrics | None = None
        self._pending: metrics_lib.Metrics | None = None

    def add(self, metrics: metrics_lib.Metrics) -> None:
        """Adds a batch's; waits for those of the one before."""
        before, self._pending = self._pending, metrics
        if before is None:
            return
        before = metrics_lib.to_host(before)
        first = self._sums is None
        self._sums = before if first else metrics_lib.merge(self._sums, before)

    def total(self) -> metrics_lib.Metrics | None:
        """Those of all batches; None of none."""
        self.add(None)
        return self._sums
