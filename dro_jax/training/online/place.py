"""Where a run that samples is: its round, and how much it has sampled."""

import dataclasses
from typing import Any

from dro_jax.data.interface import START, Position
from dro_jax.training.run_progress import RunProgress


@dataclasses.dataclass(frozen=True)
class Place:
    """As `RunProgress.samples` keeps it.

    Attributes:
      round: whose batch comes next.
      position: where in the round's rows it begins; START, the round has not begun.
      drawn: rounds whose samples are drawn: those before this number.
      total: responses of all rounds begun.
      tokens: theirs.
      reward: the mean of the round that began last.
      kl: likewise the mean log-ratio to the reference, where it is known.
      moved: the reference, where it has moved: its step and digest.
    """

    round: int = 0
    position: Position = START
    drawn: int = 0
    total: int = 0
    tokens: int = 0
    reward: float = 0.0
    kl: float | None = None
    moved: dict[str, Any] | None = None

    @classmethod
    def of(cls, progress: RunProgress) -> "Place":
        """That of a checkpoint."""
        found = progress.samples or {}
        return cls(**found | {"position": tuple(found.get("position", START))})

    def at(self, position: Position) -> "Place":
        """The same round, further on."""
        return dataclasses.replace(self, position=position)

    def after(self) -> "Place":
        """Where the round after this one begins."""
        return dataclasses.replace(self, round=self.round + 1, position=START)
