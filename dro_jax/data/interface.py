"""What passes between records, batches and those who read them: names for it all.

Nothing here imports TensorFlow, and nothing is computed.
"""

from collections.abc import Callable, Iterator, Sequence
from typing import Any, Literal, Protocol

import numpy as np

from dro_jax.data.record_ids import PromptRecords
from dro_jax.data.records import RecordReport

# A batch in the host's memory: field name to array, as `dro_jax.batch_fields` lists them.
HostBatch = dict[str, np.ndarray]
# (records, rows): how many records of all epochs come before, and how many rows made
# from the following ones are left out.
Position = tuple[int, int]
START: Position = (0, 0)
# Which part of each batch's rows: (this one, of how many).
Shard = tuple[int, int]
WHOLE: Shard = (0, 1)
# From a whole batch's ``[B, S, 2]`` record ids and ``[B, S]`` which are present, for each
# row the row whose prompts come beside it, ``[B]``.
Beside = Callable[[np.ndarray, np.ndarray], np.ndarray]
# A batch's field with the position of the one that follows.
NEXT_POSITION = "next_position"
Side = Literal["inputs", "targets"]


class SplitRecords(Protocol):
    """The valid records of a task's split, in the source's order.

    Arrays are mapped from files: slices of them are read when they are used, and
    copies of whole ones should not be made where N may be large.

    Attributes:
      rewards: ``[N]`` float64, as recorded.
      indices: ``[N]`` int64, ascending: each record's index among all records of the
        split, bad ones included, from 0.
      lengths: ``[N, 2]`` int32, tokens of prompt and response, whole and without the
        end of sequence.
      prompt_hashes: ``[N]`` uint64, equal for prompts whose text the model reads is.
      report: how many records were read, and which were left out.
    """

    rewards: np.ndarray
    indices: np.ndarray
    lengths: np.ndarray
    prompt_hashes: np.ndarray
    report: RecordReport

    def __len__(self) -> int: ...

    def tokens(self, positions: np.ndarray, side: Side) -> np.ndarray:
        """Tokens of records by their positions in [0, N), end to end: int32.

        Each is `lengths[position]` tokens long.
        """
        ...

    def texts(self, positions: np.ndarray, side: Side) -> list[str]:
        """The texts that the model reads of records, by their positions."""
        ...

    def identity(self, position: int) -> str:
        """A record in a person's words, `logs.jsonl line 17`."""
        ...

    def position(self, index: int) -> int:
        """Where the record of that index stands among the valid ones.

        Raises:
          DataError: there is none.
        """
        ...


class Dataset(Protocol):
    """A split in batches, as training reads it; `DatasetConfig` is one.

    Attributes:
      name: the task's or mixture's.
      split: the split's name.
      batch_size: rows of a batch, over all hosts.
      group_size: responses to one prompt that come side by side, or None.
      single_responses: what is done with groups of one response.
    """

    name: str
    split: str
    batch_size: int
    group_size: int | None
    single_responses: Literal["keep", "drop"]

    @property
    def vocabulary(self) -> Any:
        """A `dro_jax.data.vocabularies.Vocabulary`."""
        ...

    def has_split(self) -> bool:
        """Whether there is such a split; nothing is read for it."""
        ...

    def batches(
        self,
        start: Position = START,
        shard: Shard = WHOLE,
        beside: Beside | None = None,
    ) -> Iterator[HostBatch]:
        """The batches from a position on, or one part of each one's rows.

        Args:
          start: where the first begins.
          shard: which part of the rows, of how many.
          beside: asked for of one part alone: gives rows, of all parts, whose prompts
            come beside the part's own rows, as the fields `mismatched_encoder_…`;
            `mismatched_weights` then says where those rows have prompts.
        """
        ...

    def one_pass(self, *, pack: bool | None = None) -> "Dataset":
        """The same records once each, in the order of their sources."""
        ...

    def drawn(self, weights: np.ndarray, *, with_replacement: bool) -> "Dataset":
        """The same records, drawn by weights."""
        ...

    def prompt_records(self) -> PromptRecords:
        """The split's records by prompt."""
        ...

    def facts(self) -> dict[str, dict]:
        """What a run should keep of its data, by task, as values that JSON holds."""
        ...

    def fingerprint(
        self, *, rewards: bool = False, order: bool = False
    ) -> dict[str, str]:
        """What log-probabilities depend on beside parameters.

        Asked for, rewards and the way in which the order was made too.
        """
        ...

    def identities(self, batch: HostBatch) -> Sequence[str]:
        """The trajectories present in a batch, in a person's words."""
        ...
