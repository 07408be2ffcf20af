"""Shares of a split whose log-probabilities are computed by machines apart."""

import dataclasses
import re
from typing import Any

from dro_jax.data.packing import WINDOW
from dro_jax.errors import ConfigError
from dro_jax.training.before.reference_cache import Stretch


@dataclasses.dataclass(frozen=True)
class Share:
    """One of several shares of a split, of nearly as many records each.

    Attributes:
      number: from 1.
      count: of all shares.

    Raises:
      ConfigError: there is no such share.
    """

    number: int
    count: int

    def __post_init__(self):
        if not 1 <= self.number <= self.count:
            raise ConfigError(
                f"the share {self} of the reference's log-probs does not exist: shares "
                f"are 1/{self.count} to {self.count}/{self.count}"
            )

    @classmethod
    def parse(cls, text: str) -> "Share":
        """From `3/8`, the third of eight.

        Raises:
          ConfigError: it is something else.
        """
        match = re.fullmatch(r"\s*(\d+)\s*/\s*([1-9]\d*)\s*", text)
        if match is None:
            raise ConfigError(
                f"{text!r} is no share of the reference's log-probs: give '3/8' for the "
                "third of eight"
            )
        return cls(*map(int, match.groups()))

    def __str__(self) -> str:
        return f"{self.number}/{self.count}"

    def stretch(self, dataset: Any) -> Stretch | None:
        """Where the share begins and ends; None where it is empty.

        At windows of packed records, where any machine can begin to read. That all end
        where the next begin does not depend on what the others do.

        Args:
          dataset: a split.
        """
        packing = getattr(dataset.one_pass(pack=True), "packing", None)
        window = WINDOW if packing is None else packing.window
        num_windows = -(-len(dataset.prompt_records()) // window)
        first, last = (
            num_windows * number // self.count
            for number in (self.number - 1, self.number)
        )
        if first == last:
            return None
        end = None if self.number == self.count else (last * window, 0)
        return (first * window, 0), end
