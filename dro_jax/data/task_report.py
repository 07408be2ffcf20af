"""What is found out about a task: the report's parts, plain values without texts to read.

`inspection` fills it in; `inspection_text` and `inspection_plot` show it.
"""

import dataclasses
from typing import Any

import numpy as np

from dro_jax.data.records import RecordReport
from dro_jax.data.reward_statistics import Histogram, RewardStatistics

PERCENTILES = (50, 90, 95, 99)
# What texts lose beside white space.
OTHER = "other"


@dataclasses.dataclass(frozen=True)
class Example:
    """One record as the model is given it: texts as their tokens give them back.

    Where lengths were given, what these cut is missing.
    """

    identity: str
    prompt: str
    response: str
    recorded_reward: float
    reward: float
    prompt_tokens: int
    response_tokens: int


@dataclasses.dataclass(frozen=True)
class Lengths:
    """Lengths in tokens, end-of-text included, of one side of a split.

    Attributes:
      limit: the task feature length that they are held against.
      percentiles: pairs of (percent, tokens).
      max: the longest.
      truncated_share: the share of records that the limit cuts.
      padding_share: the share of padding in rows of `limit` tokens, without packing.
    """

    limit: int
    percentiles: tuple[tuple[int, float], ...]
    max: int
    truncated_share: float
    padding_share: float

    @classmethod
    def of(cls, lengths: np.ndarray, limit: int) -> "Lengths":
        """From token counts ``[N]``."""
        return cls(
            limit=limit,
            percentiles=tuple(
                (p, float(np.percentile(lengths, p))) for p in PERCENTILES
            ),
            max=int(lengths.max()),
            truncated_share=float(np.mean(lengths > limit)),
            padding_share=float(1.0 - np.mean(np.minimum(lengths, limit)) / limit),
        )


@dataclasses.dataclass(frozen=True)
class Change:
    """A text that its tokens do not give back, about the first difference.

    Attributes:
      identity: the record's.
      text: a part of the text.
      read: what the model gets for it.
    """

    identity: str
    text: str
    read: str


@dataclasses.dataclass(frozen=True)
class Fidelity:
    """How truly the tokens of one side of a split, N texts, hold its texts.

    Attributes:
      num_texts: N.
      num_changed: how many do not come back equal.
      lost: for `line breaks`, `tabs`, `runs of spaces` and `other`, in how many texts.
      num_unknown: how many tokens stand for pieces that the vocabulary does not have.
      num_with_unknown: in how many texts.
      example: the first that changes; None where none does.
    """

    num_texts: int
    num_changed: int
    lost: dict[str, int]
    num_unknown: int
    num_with_unknown: int
    example: Change | None


@dataclasses.dataclass(frozen=True)
class TaskReport:
    """Everything that `inspect_task` found out about a task's split.

    Attributes:
      name: the task's name.
      split: the split's name.
      vocabulary: which one, in words.
      examples: a few records, spread over the split.
      prompt: token lengths of prompts.
      response: token lengths of responses.
      prompt_fidelity: how many prompts their tokens do not give back.
      response_fidelity: likewise of responses.
      padding_share: the share of padding in prompts and responses together.
      packed_padding_share: the same with `pack = True`, records in a random order; None
        where no lengths were given.
      rewards: figures before and after the transform.
      histogram: counts of the transformed rewards.
      records: how many were read and which were dropped.
    """

    name: str
    split: str
    vocabulary: str
    examples: tuple[Example, ...]
    prompt: Lengths
    response: Lengths
    prompt_fidelity: Fidelity
    response_fidelity: Fidelity
    padding_share: float
    packed_padding_share: float | None
    rewards: RewardStatistics
    histogram: Histogram
    records: RecordReport

    def to_json(self) -> dict[str, Any]:
        """As values that JSON holds."""
        values = dataclasses.asdict(self)
        for side in ("prompt", "response"):
            values[side]["percentiles"] = {
                f"p{percent}": tokens for percent, tokens in values[side]["percentiles"]
            }
        values["rewards"] = self.rewards.to_json()
        values["records"] = self.records.to_json()
        return values
