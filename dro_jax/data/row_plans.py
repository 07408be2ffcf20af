"""Which records' prompts and responses come where in rows, from lengths alone."""

import dataclasses

import numpy as np

from dro_jax.data.joined_records import JoinedRecords
from dro_jax.data.packing import EMPTY, Packing, plan_rows


@dataclasses.dataclass(frozen=True, eq=False)
class RowPlan:
    """R rows, not yet read; records are named by their positions, EMPTY is none.

    Attributes:
      prompts: ``[R, P]`` whose prompt is segment p + 1 of a row's encoder.
      responses: ``[R, S]`` whose response is segment s + 1 of its decoder.
      following: ``[R, 2]`` the data position behind each row.
    """

    prompts: np.ndarray
    responses: np.ndarray
    following: np.ndarray

    def __len__(self) -> int:
        return len(self.prompts)

    def __getitem__(self, rows: slice | np.ndarray) -> "RowPlan":
        return RowPlan(self.prompts[rows], self.responses[rows], self.following[rows])

    @classmethod
    def joined(cls, plans: list["RowPlan"]) -> "RowPlan":
        """The rows of several plans, one after another."""
        columns = zip(*(vars(plan).values() for plan in plans), strict=True)
        return cls(*map(np.concatenate, columns))


def planned(
    records: JoinedRecords,
    numbers: np.ndarray,
    members: np.ndarray | None,
    packing: Packing | None,
) -> tuple[np.ndarray, np.ndarray]:
    """The rows that consecutive records of an order share, or consecutive groups.

    Args:
      records: whose lengths are read.
      numbers: ``[n]`` positions of records, or numbers of groups.
      members: ``[G, K]`` positions of each group's records, best first, then EMPTY;
        None where records are not grouped.
      packing: None gives each record, or group, a row of its own, in their order.

    Returns:
      Prompts ``[R, P]`` and responses ``[R, S]``, as :class:`RowPlan` has them.
    """
    trajectories = numbers[:, None] if members is None else members[numbers]
    prompts = trajectories[:, 0]
    if packing is None:
        return prompts[:, None], trajectories
    present = trajectories != EMPTY
    # A place that is empty is counted as nothing, whatever record stands in for it.
    inputs = records.lengths(prompts)[:, 0]
    targets = np.zeros(trajectories.shape, np.int64)
    targets[present] = records.lengths(trajectories[present])[:, 1]
    plan = plan_rows(np.stack([inputs, targets.sum(axis=1)], axis=1), packing)
    responses = _placed(trajectories, plan)
    return _placed(prompts, plan), responses.reshape(len(plan), -1)


def _placed(values: np.ndarray, plan: np.ndarray) -> np.ndarray:
    """``[R, S, …]`` values by the places of a plan, EMPTY in empty ones."""
    placed = np.full((*plan.shape, *values.shape[1:]), EMPTY, np.int64)
    used = plan != EMPTY
    placed[used] = values[plan[used]]
    return placed
