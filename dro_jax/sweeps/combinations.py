"""The combinations of a stage's axes: each is a trial, or would be."""

import dataclasses
import itertools
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from dro_jax.sweeps.axes import Axis, Files, Grid, Integers, Seeds, Uniform, Zip
from dro_jax.sweeps.sweep import Stage


@dataclasses.dataclass(frozen=True)
class Combination:
    """A value of each axis.

    Attributes:
      values: by axis; of `Files` a label.
      words: of each `Files` axis the files and bindings behind its label.
      settings: of each other axis the value of the binding of its name.
      seed_axis: the axis of seeds, if there is one.
    """

    values: Mapping[str, Any] = dataclasses.field(default_factory=dict)
    words: Mapping[str, Sequence[str]] = dataclasses.field(default_factory=dict)
    settings: Mapping[str, Any] = dataclasses.field(default_factory=dict)
    seed_axis: str | None = None

    def joined(self, other: "Combination") -> "Combination":
        """The two together, their axes being different ones."""
        return Combination(
            {**self.values, **other.values},
            {**self.words, **other.words},
            {**self.settings, **other.settings},
            self.seed_axis or other.seed_axis,
        )

    def drawn(self, values: Mapping[str, Any]) -> "Combination":
        """With values that a search drew, by the names of its ranges."""
        return self.joined(Combination(values, settings=values))


def combinations(stage: Stage) -> list[Combination]:
    """All combinations of a stage's axes, the last axis varying fastest.

    Ranges are left out: a search draws from them, for each combination of the rest.
    """
    parts = [list(_choices(axis)) for axis in stage.axes if not is_range(axis)]
    found = []
    for choice in itertools.product(*parts):
        whole = Combination()
        for part in choice:
            whole = whole.joined(part)
        found.append(whole)
    return found


def plain_axes(axes: Sequence[Axis]) -> Iterator[Grid | Seeds | Files | Uniform]:
    """All axes, those of each `Zip` one by one."""
    for axis in axes:
        if isinstance(axis, Zip):
            yield from axis.axes
        else:
            yield axis


def is_range(axis: Axis) -> bool:
    """Whether a search draws its values."""
    return isinstance(axis, Uniform | Integers)


def words_of(value: str | Sequence[str]) -> list[str]:
    """What a label of `Files` stands for."""
    return [value] if isinstance(value, str) else list(value)


def _choices(axis: Axis) -> Iterator[Combination]:
    if isinstance(axis, Zip):
        for together in zip(*map(_choices, axis.axes), strict=True):
            whole = Combination()
            for part in together:
                whole = whole.joined(part)
            yield whole
    elif isinstance(axis, Files):
        for label, value in axis.values.items():
            yield Combination({axis.name: label}, {axis.name: words_of(value)})
    else:
        seed = axis.name if isinstance(axis, Seeds) else None
        for value in axis.values:
            own = {axis.name: value}
            yield Combination(own, settings=own, seed_axis=seed)
