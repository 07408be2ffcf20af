"""Batches of a run that samples: rounds of fresh responses, beside the log's rows."""

import dataclasses
from collections.abc import Callable, Iterator, Mapping
from typing import Any

import numpy as np

from dro_jax.data.interface import NEXT_POSITION, START, HostBatch, Position
from dro_jax.errors import ConfigError, DataError, TrainingError
from dro_jax.models.networks import Params
from dro_jax.training.before.prepared_data import PreparedData
from dro_jax.training.before.prepared_run import PreparedRun
from dro_jax.training.before.run_plan import RunPlan
from dro_jax.training.feed import Feed, LogFeed, ran_out
from dro_jax.training.mesh_steps import MeshSteps
from dro_jax.training.online.asked_prompts import AskedPrompts
from dro_jax.training.online.place import Place
from dro_jax.training.online.round_samples import RoundSamples
from dro_jax.training.online.rounds import Rounds
from dro_jax.training.online.sampled_records import SAMPLE, RoundRows
from dro_jax.training.run_progress import RunProgress, position_after
from dro_jax.training.state import TrainState

# Rounds that may come one after another of which nothing can be trained on.
_MOST_EMPTY = 8


class OnlineFeed:
    """Begins rounds, and gives their batches.

    Args:
      plan, prepared, steps: the run.
      asked: the prompts.
      model_dir: where rounds and moved references are kept.
      progress: of the checkpoint that the run goes on from.
      saving: gives that of the checkpoint that may still be on its way to the disk.

    Raises:
      ConfigError: hosts cannot share out the rows of the log, or of samples.
    """

    def __init__(
        self,
        plan: RunPlan,
        prepared: PreparedRun,
        steps: MeshSteps,
        asked: AskedPrompts,
        model_dir: str,
        progress: RunProgress,
        saving: Callable[[], RunProgress | None],
    ):
        self._plan, self._train, self._shard = plan, prepared.train, steps.shard
        self._asked, self._settings = asked, asked.settings
        self._logged = self._settings.log_rows(prepared.train.dataset.batch_size)
        self._check_shares()
        self._at, self._position = Place.of(progress), progress.position
        self._rounds = Rounds(plan, prepared, steps, asked, model_dir, self._at, saving)
        self._rows: Iterator[HostBatch] | None = None
        self._coming: HostBatch | None = None
        self._log = self._log_batches()

    @property
    def reference_params(self) -> Params | None:
        """What a step is given: the reference of now, where batches lack its words."""
        return self._rounds.reference if self._plan.mode == "frozen_copy" else None

    def next(
        self, state: TrainState, tick: Callable[[], bool], check: Callable[[], None]
    ) -> HostBatch | None:
        """See `Feed.next`; at a round's start, samples.

        Raises:
          DataError: round after round, nothing can be trained on.
          TrainingError: the log ran out.
        """
        for _ in range(_MOST_EMPTY):
            if self._rows is None and not self._begin(state, tick, check):
                return None
            if self._coming is not None:
                return self._given(state)
            self._end()
        raise DataError(
            f"in {_MOST_EMPTY} rounds one after another no sample had an advantage above "
            "0 over the reference, so there is nothing to train on: ask more prompts or "
            "more samples a round"
        )

    def place(self) -> dict[str, Any]:
        """See `Feed.place`."""
        return {"position": self._position, "samples": dataclasses.asdict(self._at)}

    def metrics(self) -> Mapping[str, float]:
        """What was sampled up to now, the round's own means, and the rate of sampling.

        `samples/total` responses and `samples/tokens` of all rounds begun;
        `samples/reward`, on the scale that training reads, and `samples/kl`, the mean
        of log π(y|x) − log π_ref(y|x) with the policy that sampled and the reference of
        now, of the round's responses. The rate is of the rounds drawn since the last
        line, where there are any, with their scores and what is computed of them.
        """
        found = {
            "samples/total": self._at.total,
            "samples/tokens": self._at.tokens,
            "samples/reward": self._at.reward,
        }
        if self._at.kl is not None:
            found["samples/kl"] = self._at.kl
        return found | self._rounds.rates()

    def _begin(
        self, state: TrainState, tick: Callable[[], bool], check: Callable[[], None]
    ) -> bool:
        """Begins the round at hand, or goes on in it; whether that came to its end."""
        if self._at.position != START:
            self._start_rows(self._rounds.again(self._at), self._at.position)
            return True
        # Else a policy that is not finite would be found by its answers, or be the
        # reference first.
        check()
        begun = self._rounds.begin(self._at, state, tick)
        if begun is None:
            return False
        self._at, samples = begun
        self._start_rows(samples, START)
        return True

    def _start_rows(self, samples: RoundSamples, position: Position) -> None:
        self._rows = iter(())
        if len(samples):
            mismatched = self._plan.model.objective.needs.mismatched
            data = PreparedData(self._round_rows(samples), (), mismatched)
            self._rows = map(_of_step, data.batches(position, self._shard))
        self._coming = next(self._rows, None)

    def _round_rows(self, samples: RoundSamples) -> RoundRows:
        dataset = self._train.dataset
        size = dataset.batch_size - self._logged
        # Each round in an order of its own.
        seed = self._settings.seed * (1 << 20) + self._at.round
        return RoundRows(
            dataset, self._asked.prompts, samples, size, self._settings.epochs, seed
        )

    def _end(self) -> None:
        self._rows, self._at = None, self._at.after()

    def _given(self, state: TrainState) -> HostBatch:
        batch, self._coming = self._coming, next(self._rows, None)
        if self._coming is None:
            self._end()
        else:
            self._at = self._at.at(position_after(batch))
        if self._log is None:
            return batch
        logged = next(self._log, None)
        if logged is None:
            raise TrainingError(ran_out(state))
        self._position = position_after(logged)
        return {
            name: rows if name == NEXT_POSITION else np.concatenate([rows, batch[name]])
            for name, rows in logged.items()
        }

    def _log_batches(self) -> Iterator[HostBatch] | None:
        """The log's rows of each batch, this host's part."""
        if not self._logged:
            return None
        dataset = dataclasses.replace(self._train.dataset, batch_size=self._logged)
        own = dataclasses.replace(self._train, dataset=dataset)
        return own.batches(self._position, self._shard)

    def _check_shares(self) -> None:
        count = self._shard[1]
        if self._logged % count:
            size = self._train.dataset.batch_size
            raise ConfigError(
                f"of each batch's {size} rows {self._logged} come from the log "
                "(FRESH_LOG_SHARE), which cannot be shared out evenly among "
                f"{count} groups of hosts: make them a multiple of {count}"
            )


def _of_step(batch: HostBatch) -> HostBatch:
    return {name: rows for name, rows in batch.items() if name != SAMPLE}


def feed_of(
    plan: RunPlan,
    prepared: PreparedRun,
    steps: MeshSteps,
    asked: AskedPrompts | None,
    model_dir: str,
    progress: RunProgress,
    saving: Callable[[], RunProgress | None],
) -> Feed:
    """A run's batches: those of the log, or with samples; arguments as of `OnlineFeed`."""
    if asked is None:
        return LogFeed(prepared, steps, progress)
    return OnlineFeed(plan, prepared, steps, asked, model_dir, progress, saving)
