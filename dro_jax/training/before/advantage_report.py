"""What is left over of a log: how far its responses beat the reference, and which do."""

import dataclasses
from collections.abc import Sequence
from typing import Any

import numpy as np

from dro_jax.data import scratch
from dro_jax.data.interface import Dataset
from dro_jax.data.records_in_words import Labels, in_words, labels_of
from dro_jax.data.reward_statistics import Histogram, Summary
from dro_jax.plurals import counted

_SHOWN = 10  # records at either end


@dataclasses.dataclass(frozen=True)
class Share:
    """Some records of a split.

    Attributes:
      kind: what they are told apart by: `task`, or a field.
      name: which they are.
      records: their number.
      leftover: how many of them have an advantage above 0.
      mean: of their advantages.
    """

    kind: str
    name: str
    records: int
    leftover: int
    mean: float


@dataclasses.dataclass(frozen=True)
class AdvantageReport:
    """A = r − V_ref(x) over the records of a split.

    Attributes:
      name, split: of the data.
      leftover: how many records have A > 0; A-LoL trains on these alone.
      advantages: figures of A, in units of reward.
      histogram: of A.
      shares: the same by where records come from.
      most, least: the records of the greatest and of the least A: `identity`, `task`,
        `advantage`, `reward`, `value`, `prompt`, `response`.
    """

    name: str
    split: str
    leftover: int
    advantages: Summary
    histogram: Histogram
    shares: tuple[Share, ...]
    most: tuple[dict[str, Any], ...]
    least: tuple[dict[str, Any], ...]

    @classmethod
    def of(
        cls, dataset: Dataset, advantages: np.ndarray, rewards: np.ndarray
    ) -> "AdvantageReport":
        """Of a data set.

        Args:
          dataset: a split.
          advantages, rewards: ``[R]`` float32, in the order of its `prompt_records`.
        """
        most, least = _ends(advantages)
        shares = [
            share
            for labels in labels_of(dataset)
            for share in _shares(labels, advantages)
        ]
        return cls(
            name=dataset.name,
            split=dataset.split,
            leftover=_leftover(advantages),
            advantages=Summary.of(advantages),
            histogram=Histogram.of(advantages),
            shares=tuple(shares),
            most=_shown(dataset, most, advantages, rewards),
            least=_shown(dataset, least, advantages, rewards),
        )

    def to_json(self) -> dict[str, Any]:
        """Plain values."""
        return dataclasses.asdict(self)

    def text(self) -> str:
        """Some lines for people."""
        figures = self.advantages
        lines = [
            (
                f"advantages r − V_ref of {self.name}, split '{self.split}': "
                f"{self.leftover / figures.count:.1%} of {counted(figures.count, 'record')} "
                f"left over (above 0); mean {figures.mean:+.3f}, from {figures.min:+.3f} to "
                f"{figures.max:+.3f}"
            )
        ]
        width = max((len(share.name) for share in self.shares), default=0)
        lines += [
            f"  {share.kind} {share.name:<{width}}  "
            f"{share.leftover / share.records:6.1%} of {share.records:,}, "
            f"mean {share.mean:+.3f}"
            for share in self.shares
        ]
        return "\n".join(lines)


def _leftover(advantages: np.ndarray) -> int:
    parts = scratch.chunks(len(advantages))
    return sum(int(np.count_nonzero(advantages[part] > 0)) for part in parts)


def _shares(labels: Labels, advantages: np.ndarray) -> list[Share]:
    size = len(labels.names)
    records, leftover = np.zeros(size, int), np.zeros(size, int)
    sums = np.zeros(size)
    for part in scratch.chunks(len(advantages)):
        known = labels.codes[part] >= 0
        codes, own = labels.codes[part][known], advantages[part][known]
        records += np.bincount(codes, minlength=size)
        leftover += np.bincount(codes[own > 0], minlength=size)
        sums += np.bincount(codes, own.astype(np.float64), minlength=size)
    figures = zip(labels.names, records, leftover, sums, strict=True)
    return [
        Share(labels.kind, name, int(count), int(left), float(total / count))
        for name, count, left, total in figures
    ]


def _ends(advantages: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Places of the greatest and of the least; of equal ones the first."""
    most = least = np.zeros(0, np.int64)
    for part in scratch.chunks(len(advantages)):
        own = np.arange(*part.indices(len(advantages)))
        most, least = np.r_[most, own], np.r_[least, own]
        most = most[np.argsort(-advantages[most], kind="stable")][:_SHOWN]
        least = least[np.argsort(advantages[least], kind="stable")][:_SHOWN]
    return most, least


def _shown(
    dataset: Dataset,
    entries: Sequence[int],
    advantages: np.ndarray,
    rewards: np.ndarray,
) -> tuple[dict[str, Any], ...]:
    texts = in_words(dataset, entries)
    return tuple(
        {
            **dataclasses.asdict(record),
            "advantage": float(advantages[entry]),
            "reward": float(rewards[entry]),
            "value": float(rewards[entry]) - float(advantages[entry]),
        }
        for entry, record in zip(entries, texts, strict=False)
    )
