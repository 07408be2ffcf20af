"""The trajectories of a whole split, put together from those of its batches."""

import dataclasses

import numpy as np

from dro_jax.data.record_ids import join_ids
from dro_jax.objectives.interface import Trajectories

_OF_VALUES = ("values", "value_owners", "value_weights")


class SplitTrajectories:
    """Collects parts of a split on the host: a few numbers a trajectory.

    What comes out is in the order of record ids, without padding, so that it depends on
    neither batches nor rows.
    """

    def __init__(self):
        self._parts: list[Trajectories] = []
        self._ids: list[np.ndarray] = []

    def add(self, record_ids: np.ndarray, part: Trajectories) -> None:
        """Adds a batch.

        Args:
          record_ids: int32 ``[B, S, 2]``.
          part: its B·S trajectories, as NumPy arrays.
        """
        self._ids.append(join_ids(record_ids).reshape(-1))
        self._parts.append(part)

    def joined(self) -> Trajectories:
        """All that were added, groups that are not all padding, by their first id."""
        size = self._parts[0].group_size
        members = self._members()
        fields: dict[str, np.ndarray | None] = {"policy_logprobs": None}
        for field in dataclasses.fields(Trajectories):
            of_first = getattr(self._parts[0], field.name)
            if isinstance(of_first, np.ndarray) and field.name not in _OF_VALUES:
                every = [getattr(part, field.name) for part in self._parts]
                fields[field.name] = np.concatenate(every)[members]
        return Trajectories(**fields, **self._values(members), group_size=size)

    def ids(self) -> np.ndarray:
        """The records of :meth:`joined`, ``[N]`` int64; of empty places, any number."""
        return np.concatenate(self._ids)[self._members()]

    def _members(self) -> np.ndarray:
        """Places of the trajectories that are joined, in their order."""
        size = self._parts[0].group_size
        ids = np.concatenate(self._ids)
        present = np.concatenate([part.weights for part in self._parts]) > 0
        last = np.iinfo(np.int64).max
        # Groups move as wholes, by the least id of their members: objectives read the
        # members of a group side by side.
        first_ids = np.where(present, ids, last).reshape(-1, size).min(1)
        groups = np.argsort(first_ids, kind="stable")
        groups = groups[first_ids[groups] < last]
        return (groups[:, None] * size + np.arange(size)).reshape(-1)

    def _values(self, members: np.ndarray) -> dict[str, np.ndarray]:
        """The values of some trajectories; with several each, by their owners."""
        if self._parts[0].values is None:
            return {}
        values = np.concatenate([part.values for part in self._parts])
        if self._parts[0].value_owners is None:
            return {"values": values[members]}
        sizes = [len(part.weights) for part in self._parts]
        starts = np.cumsum([0, *sizes[:-1]])
        owners = np.concatenate(
            [
                p.value_owners + start
                for p, start in zip(self._parts, starts, strict=True)
            ]
        )
        weights = np.concatenate([part.value_weights for part in self._parts])
        places = np.full(sum(sizes), -1)
        places[members] = np.arange(len(members))
        owners = places[owners]
        kept = np.flatnonzero((owners >= 0) & (weights > 0))
        kept = kept[np.argsort(owners[kept], kind="stable")]
        return {
            "values": values[kept],
            "value_owners": owners[kept].astype(np.int32),
            "value_weights": weights[kept],
        }
