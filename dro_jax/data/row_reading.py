"""What makes a data set's rows: its records and their order."""

from collections.abc import Mapping, Sequence

import numpy as np

from dro_jax.data.batching import RowReader
from dro_jax.data.draws import Draws, Selected, WeightedOrder
from dro_jax.data.grouping import end_to_end
from dro_jax.data.joined_records import JoinedRecords
from dro_jax.data.ordering import Component, Order, record_order
from dro_jax.data.packing import Packing
from dro_jax.data.tasks import FeedbackTask

Shares = Sequence[tuple[FeedbackTask, float]]


def row_reader(
    shares: Shares,
    split: str,
    lengths: Mapping[str, int],
    *,
    members: Sequence[np.ndarray] | None,
    draws: Draws | None,
    packing: Packing | None,
    **settings,
) -> RowReader:
    """Reads rows of records, or of groups, in their order.

    Args:
      shares: tasks that have the split, with their mixing rates.
      split: its name.
      lengths: the most tokens of `inputs` and `targets`.
      members: the groups of each task, where records are grouped.
      draws: which records are drawn, where not all are alike.
      packing: how records share rows; None, each has its own.
      **settings: `shuffle`, `seed`, `num_epochs`, as in `record_order`.

    Raises:
      DataError: a record, the split or the vocabulary cannot be used.
    """
    records = JoinedRecords([task for task, _ in shares], split, lengths)
    widths = lengths["inputs"], lengths["targets"]
    if members is not None:
        widths = lengths["inputs"], lengths["targets"] * members[0].shape[1]
    return RowReader(
        records,
        _order(shares, records.sizes, members, draws, **settings),
        None if members is None else end_to_end(members, records.sizes),
        widths,
        packing,
    )


def _order(
    shares: Shares,
    sizes: Sequence[int],
    members: Sequence[np.ndarray] | None,
    draws: Draws | None,
    *,
    seed: int,
    **settings,
) -> Order:
    """Positions of records, or numbers of groups, of all tasks end to end."""
    if draws is not None and draws.with_replacement:
        return WeightedOrder(draws, seed)
    if members is not None:
        sizes = list(map(len, members))
    elif draws is not None:
        sizes = draws.counts(sizes)
    components = [
        Component(task.name, size, rate)
        for (task, rate), size in zip(shares, sizes, strict=True)
        if size  # none of a task's records may be drawn
    ]
    order = record_order(components, seed=seed, **settings)
    return order if draws is None else Selected(order, draws.positions)
