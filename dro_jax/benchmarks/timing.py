"""Honest ratios: two ways in turn, one ratio a round, so that drift cancels."""

import dataclasses
import statistics
import time
from collections.abc import Callable, Sequence


@dataclasses.dataclass(frozen=True)
class Figure:
    """A measured number.

    Attributes:
      median: over the rounds.
      low: the smallest round.
      high: the largest round.
    """

    median: float
    low: float
    high: float

    @classmethod
    def of(cls, values: Sequence[float]) -> "Figure":
        """From one value a round."""
        return cls(statistics.median(values), min(values), max(values))

    @classmethod
    def exact(cls, value: float) -> "Figure":
        """A number that does not vary."""
        return cls(value, value, value)


Figures = dict[str, Figure]


def in_turn(*calls: Callable[[], None], rounds: int) -> list[list[float]]:
    """Seconds of each call, each once a round, after one call that is not counted.

    The order changes from round to round, so that none always runs on warm caches.
    """
    for call in calls:
        call()
    seconds: list[list[float]] = [[] for _ in calls]
    for number in range(rounds):
        order = list(enumerate(calls))
        for index, call in order if number % 2 == 0 else reversed(order):
            begin = time.perf_counter()
            call()
            seconds[index].append(time.perf_counter() - begin)
    return seconds


def ratio(numerators: Sequence[float], denominators: Sequence[float]) -> Figure:
    """One ratio a round."""
    return Figure.of([a / b for a, b in zip(numerators, denominators, strict=True)])
