"""Batches of a run that samples: rounds of fresh responses, beside the log's rows."""

import dataclasses
import pathlib
import time
from collections.abc import Callable, Iterator, Mapping
from typing import Any

import jax
import numpy as np

from dro_jax.data.interface import NEXT_POSITION, START, HostBatch, Position
from dro_jax.errors import DataError, TrainingError
from dro_jax.messages import say
from dro_jax.models.networks import Params
from dro_jax.plurals import counted
from dro_jax.training import hosts
from dro_jax.training.before.prepared_data import PreparedData
from dro_jax.training.before.prepared_run import PreparedRun
from dro_jax.training.before.record_fields import RecordField
from dro_jax.training.before.run_plan import RunPlan
from dro_jax.training.mesh_steps import MeshSteps
from dro_jax.training.online.asked_prompts import AskedPrompts
from dro_jax.training.online.moved_reference import MovedReference
from dro_jax.training.online.needed_rounds import needed
from dro_jax.training.online.round_files import RoundFiles
from dro_jax.training.online.round_pass import RoundPass, rollout_fields
from dro_jax.training.online.round_samples import RoundSamples
from dro_jax.training.online.sampled_records import SAMPLE, RoundRows
from dro_jax.training.run_files import FRESH_SAMPLES, MOVED_REFERENCE
from dro_jax.training.run_progress import RunProgress, position_after
from dro_jax.training.state import TrainState

Tick = Callable[[], bool]
# Rounds that may come one after another of which nothing can be trained on.
_MOST_EMPTY = 8


@dataclasses.dataclass(frozen=True)
class Place:
    """Where a run that samples is, as `RunProgress.samples` keeps it.

    Attributes:
      round: whose batch comes next.
      position: where in the round's rows it begins; START, the round has not begun.
      drawn: rounds whose samples are drawn: those before it.
      total: responses of all rounds begun.
      tokens: theirs.
      reward: the mean of the round that began last.
      moved: the reference, where it has moved: its step and digest.
    """

    round: int = 0
    position: Position = START
    drawn: int = 0
    total: int = 0
    tokens: int = 0
    reward: float = 0.0
    moved: dict[str, Any] | None = None

    @classmethod
    def of(cls, progress: RunProgress) -> "Place":
        """That of a checkpoint."""
        found = progress.samples or {}
        return cls(**found | {"position": tuple(found.get("position", START))})


class OnlineFeed:
    """Samples at the start of each round, and gives the round's batches.

    Args:
      plan, prepared, steps: the run.
      asked: the prompts.
      model_dir: where rounds and moved references are kept.
      progress: of the checkpoint that the run goes on from.
      saving: gives that of the checkpoint that may still be on its way to the disk.
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
        self._plan, self._prepared, self._steps = plan, prepared, steps
        self._asked, self._settings, self._saving = asked, asked.settings, saving
        self._model_dir = pathlib.Path(model_dir)
        self._files = RoundFiles(
            self._model_dir / FRESH_SAMPLES, "; ".join(asked.identity().values())
        )
        self._pass = RoundPass(plan.model, steps)
        self._kept_references = MovedReference(
            self._model_dir / MOVED_REFERENCE, plan.model, steps
        )
        self._at = Place.of(progress)
        self._position = progress.position
        self._waiting: dict[int, RoundSamples] = {}
        self._rows: Iterator[HostBatch] | None = None
        self._coming: HostBatch | None = None
        self._log = self._log_batches()
        self._reference = self._load_reference()
        self._seconds = 0.0
        self._sampled: tuple[int, int] = (0, 0)

    # ------------------------------------------------------------- what a loop asks for

    @property
    def reference_params(self) -> Params | None:
        """What a step is given: the frozen copy, of now, where batches lack its words."""
        return self._reference if self._plan.mode == "frozen_copy" else None

    def next(self, state: TrainState, tick: Tick) -> HostBatch | None:
        """See `Feed.next`; at a round's start, samples."""
        for _ in range(_MOST_EMPTY):
            if self._rows is None and not self._begin(state, tick):
                return None
            if self._coming is not None:
                return self._given()
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
        """Samples used up to now, the mean reward of the round, and the rate of sampling.

        `samples/responses_per_second` and `samples/tokens_per_second` are of the rounds
        drawn since the last line, where there are any.
        """
        found = {
            "samples/total": self._at.total,
            "samples/tokens": self._at.tokens,
            "samples/reward": self._at.reward,
        }
        if self._seconds:
            responses, tokens = self._sampled
            found["samples/responses_per_second"] = responses / self._seconds
            found["samples/tokens_per_second"] = tokens / self._seconds
        self._seconds, self._sampled = 0.0, (0, 0)
        return found

    # ------------------------------------------------------------------------ a batch

    def _given(self) -> HostBatch:
        batch = self._coming
        self._coming = next(self._rows, None)
        if self._coming is None:
            self._end()
        else:
            at = position_after(batch)
            self._at = dataclasses.replace(self._at, position=at)
        if self._log is None:
            return batch
        logged = next(self._log, None)
        if logged is None:
            raise TrainingError(
                "the training data ran out: set num_epochs = None to repeat it, or lower "
                "TRAIN_STEPS"
            )
        self._position = position_after(logged)
        return {
            name: rows if name == NEXT_POSITION else np.concatenate([rows, batch[name]])
            for name, rows in logged.items()
        }

    def _end(self) -> None:
        self._rows = None
        self._at = dataclasses.replace(
            self._at, round=self._at.round + 1, position=START
        )

    def _log_batches(self) -> Iterator[HostBatch] | None:
        """The log's rows of each batch, this host's part."""
        train = self._prepared.train
        rows = self._settings.log_rows(train.dataset.batch_size)
        if not rows:
            return None
        dataset = dataclasses.replace(train.dataset, batch_size=rows)
        own = dataclasses.replace(train, dataset=dataset)
        return own.batches(self._position, self._steps.shard)

    def _round_rows(self, samples: RoundSamples) -> RoundRows:
        """The rows of a round as they are trained on."""
        dataset = self._prepared.train.dataset
        size = dataset.batch_size - self._settings.log_rows(dataset.batch_size)
        seed = self._settings.seed * (1 << 20) + self._at.round
        return RoundRows(
            dataset, self._asked.prompts, samples, size, self._settings.epochs, seed
        )

    def _start_rows(self, samples: RoundSamples, position: Position) -> None:
        if len(samples):
            mismatched = self._plan.model.objective.needs.mismatched
            data = PreparedData(self._round_rows(samples), (), mismatched)
            batches = data.batches(position, self._steps.shard)
            self._rows = map(_without_numbers, batches)
        else:
            self._rows = iter(())
        self._coming = next(self._rows, None)

    # ------------------------------------------------------------------------ a round

    def _begin(self, state: TrainState, tick: Tick) -> bool:
        """Begins the round at hand, or finds it again; whether it came to its end."""
        at = self._at
        if at.position != START:
            self._start_rows(self._trained_on(self._files.read(at.round)), at.position)
            return True
        began, step = time.monotonic(), int(state.step)
        moved, reference = at.moved, self._reference
        if self._moves(step):
            reference, moved = self._kept_references.move(state.params, step)
        last = at.round + self._settings.lag
        drawn = dict(self._waiting)
        for number in range(at.round, last + 1):
            if number in drawn:
                continue
            if number < at.drawn:
                drawn[number] = self._files.read(number)
                continue
            samples = self._draw(number, state, step, tick)
            if samples is None:
                return False
            drawn[number] = samples
            if number != at.round:
                self._files.write(number, samples)
        samples = self._known(drawn.pop(at.round), reference, state)
        self._files.write(at.round, samples)
        self._waiting, self._reference = drawn, reference
        self._at = dataclasses.replace(
            at,
            drawn=last + 1,
            total=at.total + len(samples),
            tokens=at.tokens + int(np.sum(samples.lengths)),
            reward=float(np.mean(samples.rewards, dtype=np.float64)),
            moved=moved,
        )
        self._clean()
        self._seconds += time.monotonic() - began
        self._start_rows(self._trained_on(samples), START)
        return True

    def _draw(
        self, number: int, state: TrainState, step: int, tick: Tick
    ) -> RoundSamples | None:
        model = self._plan.model
        samples = self._asked.sample(
            number, model, state.params, self._steps, step, tick
        )
        if samples is None:
            return None
        responses, tokens = self._sampled
        self._sampled = responses + len(samples), tokens + int(sum(samples.lengths))
        if model.objective.needs.rollouts:
            rows = self._rows_once(samples)
            own = self._pass.of_policy(state.params, rows, samples)
            samples = samples.with_fields(own)
        if number == 0:
            say(f"a round is {counted(len(samples), 'response')}")
        return samples

    def _known(
        self, samples: RoundSamples, reference: Params | None, state: TrainState
    ) -> RoundSamples:
        """The round with all that an objective reads of it beside its rewards."""
        needs = self._plan.model.objective.needs
        ids = self._asked.prompts.record_ids[samples.places]
        if needs.prompt_values:
            values = self._of_records("prompt_values").values_of(ids)
            samples = samples.with_fields({"prompt_values": values})
        if needs.advantages:
            values = self._values_of_prompts(ids)
            samples = samples.with_fields({"advantages": samples.rewards - values})
        if reference is not None and (self._plan.mode == "cached" or needs.rollouts):
            rows = self._rows_once(samples)
            samples = samples.with_fields(
                self._pass.of_reference(reference, rows, samples)
            )
        if needs.rollouts:
            objective = self._plan.model.objective
            width = self._asked.dataset.task_feature_lengths["targets"]
            running = jax.device_get(state.running)
            samples = samples.with_fields(
                rollout_fields(objective, samples, running, width)
            )
        return samples

    def _rows_once(self, samples: RoundSamples) -> Iterator[HostBatch]:
        dataset = self._prepared.train.dataset
        rows = RoundRows(dataset, self._asked.prompts, samples, dataset.batch_size)
        return rows.batches()

    def _trained_on(self, samples: RoundSamples) -> RoundSamples:
        """The samples that are trained on: all, or those of positive advantage."""
        if not self._plan.model.objective.needs.leftover:
            return samples
        return samples.take(np.flatnonzero(samples.fields["advantages"] > 0))

    def _of_records(self, field: str) -> RecordField:
        tables = self._prepared.train.tables
        return next(t for t in tables if getattr(t, "field", None) == field)

    def _values_of_prompts(self, record_ids: np.ndarray) -> np.ndarray:
        """``[n]`` V_ref(x): what is left of a record's reward without its advantage."""
        records = self._prepared.train.dataset.prompt_records()
        rewards = RecordField("rewards", records.ids, records.rewards)
        advantages = self._of_records("advantages").values_of(record_ids)
        return rewards.values_of(record_ids) - advantages

    # ------------------------------------------------------------------ the reference

    def _load_reference(self) -> Params | None:
        if self._plan.mode is None:
            return None
        if self._at.moved is not None:
            return self._kept_references.load(self._at.moved)
        copy = self._prepared.step_params
        return self._prepared.reference.load() if copy is None else copy

    def _moves(self, step: int) -> bool:
        every, moved = self._settings.move_reference_every, self._at.moved
        before = 0 if moved is None else moved["step"]
        return every is not None and step - before >= every

    def _clean(self) -> None:
        """Deletes what no checkpoint of the run needs to go on."""
        at = self._at

        def wanted() -> list[list[int]]:
            saving = self._saving()
            rounds, moved = needed(self._model_dir, self._settings.lag, saving)
            rounds |= set(range(at.round, at.drawn))
            moved |= {at.moved["step"]} if at.moved else set()
            return [sorted(rounds), sorted(moved)]

        rounds, moved = hosts.first_says(wanted)
        if not self._settings.keep_all:
            self._files.keep_only(rounds)
        if self._settings.move_reference_every is not None:
            self._kept_references.keep_only(moved)


def _without_numbers(batch: HostBatch) -> HostBatch:
    return {name: rows for name, rows in batch.items() if name != SAMPLE}
