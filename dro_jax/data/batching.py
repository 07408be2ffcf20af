"""From an order of records to batches of rows, each with the position after it."""

import dataclasses
from collections.abc import Iterator

import numpy as np

from dro_jax.batch_fields import MISMATCHED
from dro_jax.data.interface import (
    NEXT_POSITION,
    WHOLE,
    Beside,
    HostBatch,
    Position,
    Shard,
)
from dro_jax.data.joined_records import JoinedRecords
from dro_jax.data.ordering import Order
from dro_jax.data.packing import EMPTY, Packing
from dro_jax.data.row_merging import merged_rows, prompt_rows
from dro_jax.data.row_plans import RowPlan, planned
from dro_jax.data.settings import shard_rows
from dro_jax.errors import ConfigError

# Records that are read at once where each has a row of its own: many a call, since a
# call costs as much as some dozens of them.
_READ_AT_ONCE = 1024


@dataclasses.dataclass(frozen=True)
class RowReader:
    """Makes rows of an order's records, or groups.

    Attributes:
      records: all that the order is of.
      order: positions of records, or numbers of groups.
      members: ``[G, K]`` positions of each group's records, best first, then EMPTY;
        None where records are not grouped.
      widths: tokens of prompts and of responses that a row holds.
      packing: how records share rows; None, each record or group has its own.
    """

    records: JoinedRecords
    order: Order
    members: np.ndarray | None
    widths: tuple[int, int]
    packing: Packing | None

    def batches(
        self,
        batch_size: int,
        start: Position,
        shard: Shard = WHOLE,
        beside: Beside | None = None,
    ) -> Iterator[list[HostBatch]]:
        """Batches from a position on, some at a time.

        Plans are those of whole batches, whatever the part of their rows that is read.

        Args:
          batch_size: rows of a batch, over all parts.
          start: where to begin, checked by :func:`check_start`.
          shard: which part of each batch's rows to read, of how many.
          beside: says whose prompts come beside each row, as in `Dataset.batches`.
        """
        rows = shard_rows(shard, batch_size)
        waiting: list[RowPlan] = []
        for plan in self._plans(batch_size, start):
            waiting.append(plan)
            if sum(map(len, waiting)) < batch_size:
                continue
            plan = RowPlan.joined(waiting)
            whole = len(plan) // batch_size * batch_size
            yield self._read(plan[:whole], batch_size, rows, beside)
            waiting = [plan[whole:]]
        if sum(map(len, waiting)):
            yield self._read(RowPlan.joined(waiting), batch_size, rows, beside)

    def _plans(self, batch_size: int, start: Position) -> Iterator[RowPlan]:
        """Rows from a position on, some at a time."""
        record, skipped = start
        if self.packing is None:
            record, skipped = record + skipped, 0
            at_once = -(-_READ_AT_ONCE // batch_size) * batch_size
        else:
            at_once = self.packing.window
        while len(numbers := self.order.places(record, at_once)):
            rows = planned(self.records, numbers, self.members, self.packing)
            following = self._following(record, len(rows[0]))
            yield RowPlan(*rows, following)[skipped:]
            record, skipped = record + at_once, 0

    def _following(self, record: int, num_rows: int) -> np.ndarray:
        """``[R, 2]`` where to go on behind each of the rows made from a record on."""
        used = np.arange(1, num_rows + 1)
        if self.packing is None:
            return np.stack([record + used, np.zeros_like(used)], axis=1)
        following = np.stack([np.full_like(used, record), used], axis=1)
        following[-1] = record + self.packing.window, 0
        return following

    def _read(
        self, plan: RowPlan, batch_size: int, rows: slice, beside: Beside | None
    ) -> list[HostBatch]:
        """The batches of a plan, the last filled up; of each these rows alone."""
        starts = range(0, len(plan), batch_size)
        own = np.concatenate(
            [np.arange(len(plan))[start:][:batch_size][rows] for start in starts]
        )
        # All at once, since most of a call's cost does not grow with its rows.
        made = self._rows(plan[own])
        if beside is not None:
            others = [
                start + self._others(plan[start:][:batch_size], beside)[rows]
                for start in starts
            ]
            made |= self._prompts_beside(plan[np.concatenate(others)])
        size = rows.stop - rows.start
        return [
            {
                **fill_up({n: x[i * size :][:size] for n, x in made.items()}, size),
                NEXT_POSITION: plan.following[start:][:batch_size][-1],
            }
            for i, start in enumerate(starts)
        ]

    def _others(self, plan: RowPlan, beside: Beside) -> np.ndarray:
        """Whose prompts come beside each row of a whole batch: nothing else is read."""
        present = plan.responses != EMPTY
        owners = self.records.record_ids(plan.responses[present])
        ids = np.zeros((*present.shape, 2), np.int32)
        ids[present] = owners
        return beside(ids, present)

    def _prompts_beside(self, plan: RowPlan) -> HostBatch:
        """Rows' prompts, and where there are any, as fields of mismatched pairs."""
        present = plan.prompts != EMPTY
        tokens = self.records.tokens(plan.prompts[present], "inputs")
        segments = self.packing is not None
        made = prompt_rows(tokens, present, self.widths[0], segments=segments)
        made = {f"{MISMATCHED}{name}": rows for name, rows in made.items()}
        return made | {f"{MISMATCHED}weights": present.astype(np.float32)}

    def _rows(self, plan: RowPlan) -> HostBatch:
        prompts, responses = plan.prompts != EMPTY, plan.responses != EMPTY
        answers = plan.responses[responses]
        made = merged_rows(
            self.records.tokens(plan.prompts[prompts], "inputs"),
            self.records.tokens(answers, "targets"),
            self.records.fields(answers),
            prompts,
            responses,
            self.widths,
            segments=self.packing is not None or self.members is not None,
        )
        if self.members is not None:
            made["group_weights"] = prompts.astype(np.float32)
        return made


def check_start(start: Position, packing: Packing | None) -> None:
    """Refuses a position at which no window begins.

    Raises:
      ConfigError: it is one.
    """
    if packing is not None and start[0] % packing.window:
        raise ConfigError(
            f"the data position {tuple(start)} is not the start of a window of "
            f"{packing.window} records: it was saved with another packing_window, or "
            "without packing. Restore that setting"
        )


def fill_up(batch: HostBatch, batch_size: int) -> HostBatch:
    """The batch with rows of zeros, `trajectory_weights` too, up to `batch_size`."""
    missing = batch_size - len(batch["rewards"])
    if not missing:
        return batch
    return {
        name: rows
        if name == NEXT_POSITION
        else np.pad(rows, [(0, missing)] + [(0, 0)] * (rows.ndim - 1))
        for name, rows in batch.items()
    }
