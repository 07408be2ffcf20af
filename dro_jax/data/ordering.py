"""The order of records, a pure function of the seed: any place in it is found at once."""

import dataclasses
import math
from collections.abc import Sequence
from fractions import Fraction
from typing import Protocol

import numpy as np

from dro_jax.data.permutation import Permutations
from dro_jax.errors import ConfigError

# The name of the orders that this module and `draws` make. Whoever changes them changes
# the name, so that a run that is not through its epochs does not go on in other ones.
ORDER = "keyed permutations 1"
# Records of a mixture among which each task has its share, rounded.
_BLOCK = 1 << 12


@dataclasses.dataclass(frozen=True)
class Component:
    """One task's share of a data set.

    Attributes:
      name: the task's name, which its order depends on.
      size: its number of records.
      rate: its mixing rate, used when records repeat for ever.
    """

    name: str
    size: int
    rate: float = 1.0


class Order(Protocol):
    """Which record comes when."""

    def places(self, first: int, count: int) -> np.ndarray:
        """The records at places `first` to `first + count` of the order.

        Returns:
          int64: positions in the components laid end to end; fewer than `count` where
          the order ends.
        """
        ...


def record_order(
    components: Sequence[Component],
    *,
    shuffle: bool,
    seed: int,
    num_epochs: int | None,
) -> Order:
    """The order of a data set.

    Every epoch is a whole permutation, a new one each time. A finite number of epochs
    goes through the records of all components alike; mixing rates count only for
    `num_epochs = None`, where each component goes through its own epochs.

    Args:
      components: at least one, none empty.
      shuffle: False, the order of the sources.
      seed: with the components' names, decides everything.
      num_epochs: None, without end.

    Raises:
      ConfigError: rates are needed and say nothing.
    """
    if num_epochs is not None or len(components) == 1:
        name = "/".join(component.name for component in components)
        size = sum(component.size for component in components)
        permutations = Permutations(size, seed, name) if shuffle else None
        return Epochs(size, permutations, num_epochs)
    return Mixed(components, shuffle=shuffle, seed=seed)


@dataclasses.dataclass(frozen=True)
class Epochs:
    """Epochs one after another, each through all records once.

    Attributes:
      size: how many records there are.
      permutations: their order in each epoch; None, that of their source.
      num_epochs: None, without end.
    """

    size: int
    permutations: Permutations | None
    num_epochs: int | None = None

    def places(self, first: int, count: int) -> np.ndarray:
        end = first + count
        if self.num_epochs is not None:
            end = min(end, self.size * self.num_epochs)
        epochs, places = np.divmod(np.arange(first, end, dtype=np.int64), self.size)
        if self.permutations is None:
            return places
        # In most calls all are of one epoch, whose key is then made once.
        one_epoch = len(epochs) and epochs[0] == epochs[-1]
        return self.permutations(places, epochs[:1] if one_epoch else epochs)


class Mixed:
    """Components mixed by their rates, without end.

    Of the first n records of the mixture, each component has the share that its rate
    asks for, rounded, at every n that is a multiple of a block; within a block
    components come by chance. So counts far ahead need no counting up to there.

    Args:
      components: at least two, none empty.
      shuffle: False, each component in its source's order.
      seed: decides everything.

    Raises:
      ConfigError: rates say nothing.
    """

    def __init__(self, components: Sequence[Component], *, shuffle: bool, seed: int):
        _check_rates(components)
        # Exact, whatever the rates: rounding would lose a record at some place far ahead.
        rates = [Fraction(component.rate) for component in components]
        left = [sum(rates[number:]) for number in range(len(rates))]
        self._shares = [
            rate / rest if rest else rest
            for rate, rest in zip(rates, left, strict=True)
        ]
        self._begins = np.cumsum(
            [0, *(component.size for component in components[:-1])]
        )
        self._epochs = [
            record_order([component], shuffle=shuffle, seed=seed, num_epochs=None)
            for component in components
        ]
        self._mixing = Permutations(_BLOCK, seed, "mixing")

    def places(self, first: int, count: int) -> np.ndarray:
        block, skipped = divmod(first, _BLOCK)
        blocks = -(-(skipped + count) // _BLOCK)
        parts = [self._block(block + number) for number in range(blocks)]
        every = np.concatenate(parts) if parts else np.zeros(0, np.int64)
        return every[skipped : skipped + count]

    def _block(self, block: int) -> np.ndarray:
        """``[_BLOCK]`` the records of a block."""
        used = self._counts(block * _BLOCK)
        counts = np.array(self._counts((block + 1) * _BLOCK)) - used
        chosen = np.repeat(np.arange(len(counts)), counts)
        chosen = chosen[self._mixing(np.arange(_BLOCK), np.array([block]))]
        records = np.concatenate(
            [
                begin + epochs.places(first, int(count))
                for begin, epochs, first, count in zip(
                    self._begins, self._epochs, used, counts, strict=True
                )
            ]
        )
        places = np.empty(_BLOCK, np.int64)
        # Places of one component ascend, so that its records keep their order.
        places[np.argsort(chosen, kind="stable")] = records
        return places

    def _counts(self, number: int) -> list[int]:
        """How many of the first so many records are of each component.

        One after another, each has its share of what is left, rounded. That many grow
        with the number, by no more than it, and so do what is left for the others: no
        count ever falls.
        """
        counts = []
        for share in self._shares:
            counts.append((2 * number * share.numerator // share.denominator + 1) // 2)
            number -= counts[-1]
        return counts


def _check_rates(components: Sequence[Component]) -> None:
    rates = {component.name: component.rate for component in components}
    usable = all(math.isfinite(rate) and rate >= 0 for rate in rates.values())
    if not usable or not any(rates.values()):
        listed = ", ".join(f"{name} {rate:g}" for name, rate in rates.items())
        raise ConfigError(
            f"the mixing rates are {listed}: give each task a number of 0 or more, and "
            "one of those that have the split more than 0"
        )
