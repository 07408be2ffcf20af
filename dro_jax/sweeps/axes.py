"""The axes of a sweep: what trials differ in.

An axis has a name and gives each trial a value. That of `Grid`, `Seeds`, `Uniform` and
`Integers` is a gin binding's name, as `TAU` or `train.train.log_period`; that of `Files`
is a name of one's own, as `objective`.
"""

import dataclasses
from collections.abc import Mapping, Sequence
from typing import Any


@dataclasses.dataclass(frozen=True)
class Grid:
    """Every one of some values of a gin binding.

    Attributes:
      name: the binding's.
      values: Python values, written to gin as they are.
    """

    name: str
    values: Sequence[Any]


@dataclasses.dataclass(frozen=True)
class Seeds:
    """Repetitions of one setting: what differs between them is chance.

    Attributes:
      values: of `name`.
      name: the binding's.
    """

    values: Sequence[int] = (0, 1, 2)
    name: str = "RANDOM_SEED"


@dataclasses.dataclass(frozen=True)
class Files:
    """One of several sets of gin files and bindings, as an objective is.

    Attributes:
      name: of the axis. `'$name'` among a stage's gin files says where the files stand;
        else they stand behind the stage's.
      values: by the label that tables use, a file, or several words of which those that
        end in `.gin` are files and the others bindings, `TAU = 1.0`.
    """

    name: str
    values: Mapping[str, str | Sequence[str]]


@dataclasses.dataclass(frozen=True)
class Zip:
    """Several axes that go together: their first values, their second ones, …

    Attributes:
      axes: `Grid` and `Files` of one length.
    """

    axes: Sequence[Grid | Files]


@dataclasses.dataclass(frozen=True)
class Uniform:
    """A range of a gin binding's values, from which a search draws.

    Attributes:
      name: the binding's.
      low, high: both included.
      log: whether to draw uniformly in the logarithm.
      step: a grid of the range; not with `log`.
    """

    name: str
    low: float
    high: float
    log: bool = False
    step: float | None = None


@dataclasses.dataclass(frozen=True)
class Integers:
    """A range of a gin binding's whole values, from which a search draws.

    Attributes:
      name: the binding's.
      low, high: both included.
      log: whether to draw uniformly in the logarithm.
      step: between values; 1 with `log`.
    """

    name: str
    low: int
    high: int
    log: bool = False
    step: int = 1


Axis = Grid | Seeds | Files | Zip | Uniform | Integers
