"""What a layout is: how stored objects become trajectories, and which fields they have."""

import dataclasses
from collections.abc import Callable, Iterable, Mapping
from typing import Any

from dro_jax.data.sources import ExpandedSource, RecordSource

Fields = Mapping[str, Any]
Expand = Callable[[Fields], Iterable[tuple[str, Fields]]]


@dataclasses.dataclass(frozen=True)
class Layout:
    """A shape that files of feedback come in.

    Attributes:
      name: what settings call it.
      about: what an object holds, in a few words.
      settings: those of `register_feedback_task` that it brings.
      expand: the trajectories of an object; None where it is one itself.
      regroup: a source of trajectories from the source of objects, where these belong
        together; None otherwise.
      holds_rewards: whether an object says what its responses are worth; else a reward
        must score them.
    """

    name: str
    about: str
    settings: Mapping[str, Any] = dataclasses.field(default_factory=dict)
    expand: Expand | None = None
    regroup: Callable[[RecordSource], RecordSource] | None = None
    holds_rewards: bool = True

    def source(self, stored: RecordSource) -> RecordSource:
        """The trajectories of a source's objects."""
        if self.regroup is not None:
            return self.regroup(stored)
        if self.expand is None:
            return stored
        return ExpandedSource(
            stored,
            self.expand,
            {split: (split, lambda fields: True) for split in stored.splits},
        )
