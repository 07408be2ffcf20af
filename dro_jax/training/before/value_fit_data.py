"""What a value is fitted to: a split's prompts and rewards, and the encoder's states."""

import dataclasses
import hashlib
from collections.abc import Callable, Iterable, Iterator

import jax
import numpy as np

from dro_jax.data.interface import HostBatch
from dro_jax.errors import DataError
from dro_jax.training.progress_bar import ProgressBar
from dro_jax.training.sharding import Partitioner

# Prompts to their encoder states ``[B, L, D]``, on the devices, the same on all.
Encode = Callable[[HostBatch], jax.Array]
_PROMPT_FIELDS = ("encoder_input_tokens", "encoder_segment_ids", "trajectory_weights")


@dataclasses.dataclass(frozen=True)
class FitData:
    """A split's rows without their responses, in memory.

    Attributes:
      fields: what the encoder and its pool read, of all N rows.
      rewards: ``[N, S]`` float32.
      prompts: ``[N, S]`` uint64, equal for equal prompts.
      held_out: bool ``[N, S]``, trajectories that choose the epoch.
    """

    fields: HostBatch
    rewards: np.ndarray
    prompts: np.ndarray
    held_out: np.ndarray

    @classmethod
    def of(
        cls,
        batches: Iterable[HostBatch],
        held_out_fraction: float,
        judged_fraction: float = 0.0,
    ) -> "FitData":
        """Reads a split once.

        A prompt is what the encoder sees of it, its tokens. Those whose hashes are
        least are held out, so that all responses to one prompt are on the same side,
        whatever the order of the data.

        Args:
          batches: one pass over the split.
          held_out_fraction: share of the distinct prompts; at least one is held out,
            and one is not.
          judged_fraction: share of the prompts that are left out, for they judge.

        Raises:
          DataError: the split has fewer than two prompts.
        """
        read = [
            {
                name: batch[name]
                for name in (*_PROMPT_FIELDS, "rewards")
                if name in batch
            }
            for batch in batches
        ]
        if not read:
            raise DataError(
                "the split is empty: there are no rewards to fit a value to"
            )
        fields = {name: np.concatenate([b[name] for b in read]) for name in read[0]}
        judges = is_judged(prompt_hashes(fields), judged_fraction)
        fields["trajectory_weights"] = np.where(
            judges, np.float32(0), fields["trajectory_weights"]
        )
        filled = (fields["trajectory_weights"] > 0).any(1)
        fields = {name: rows[filled] for name, rows in fields.items()}
        present = fields["trajectory_weights"] > 0
        prompts = prompt_hashes(fields)
        distinct = np.unique(prompts[present])
        if len(distinct) < 2:
            raise DataError(
                f"the split has {len(distinct)} distinct prompt to fit a value to: it "
                "takes two to fit it and hold prompts out"
            )
        count = round(held_out_fraction * len(distinct))
        chosen = distinct[: min(max(count, 1), len(distinct) - 1)]
        return cls(
            rewards=fields.pop("rewards"),
            fields=fields,
            prompts=prompts,
            held_out=present & np.isin(prompts, chosen),
        )

    def __len__(self) -> int:
        return len(self.rewards)

    @property
    def train(self) -> np.ndarray:
        """Bool ``[N, S]``, trajectories that are fitted."""
        return (self.fields["trajectory_weights"] > 0) & ~self.held_out

    def num_prompts(self, which: np.ndarray) -> int:
        """Distinct prompts of some trajectories, bool ``[N, S]``."""
        return len(np.unique(self.prompts[which]))


def prompt_hashes(batch: HostBatch) -> np.ndarray:
    """A hash of each trajectory's prompt, ``[B, S]`` uint64; 0 at padding.

    The first 8 bytes of the SHA-256 of the encoder's tokens, padding left out.
    """
    tokens, weights = batch["encoder_input_tokens"], batch["trajectory_weights"]
    segments = batch.get("encoder_segment_ids")
    hashes = np.zeros(weights.shape, np.uint64)
    for row, slot in np.argwhere(weights > 0):
        own = tokens[row] > 0
        if segments is not None:
            own &= segments[row] == slot + 1
        digest = hashlib.sha256(tokens[row][own].astype("<i4").tobytes()).digest()
        hashes[row, slot] = int.from_bytes(digest[:8], "big")
    return hashes


def is_judged(hashes: np.ndarray, fraction: float) -> np.ndarray:
    """Which prompts judge a run: a share of them that their hashes alone decide.

    By the lower half of a hash; the upper decides which are held out of the fit.
    """
    lower = (hashes & np.uint64(0xFFFFFFFF)).astype(np.float64)
    return lower < fraction * 2.0**32


def row_batches(
    rows: np.ndarray, size: int, multiple: int
) -> Iterator[tuple[np.ndarray, int]]:
    """Row numbers, `size` at a time, and how many of them count.

    Repeated rows, which do not count, fill a batch up to a multiple of `multiple`.
    """
    filled = -(-size // multiple) * multiple
    for start in range(0, len(rows), size):
        part = rows[start : start + size]
        yield np.resize(part, filled), len(part)


class FrozenStates:
    """Encoder states of rows: held in the host's memory, or computed when asked for.

    Args:
      data: the rows.
      encode: computes states.
      partitioner: places what is held.
    """

    def __init__(self, data: FitData, encode: Encode, partitioner: Partitioner):
        self._data, self._encode, self._partitioner = data, encode, partitioner
        self._held: np.ndarray | None = None

    def hold(self, batches: Iterable[tuple[np.ndarray, int]], max_bytes: int) -> None:
        """Compute the states of all rows now, if they take no more than `max_bytes`.

        Args:
          batches: of all rows, as :func:`row_batches` gives them.
          max_bytes: of the host's memory.
        """
        num_rows, held = len(self._data), None
        with ProgressBar("encoder states", num_rows, unit="rows") as bar:
            for rows, count in batches:
                states = self.of_rows(rows)
                num_bytes = states.nbytes // len(rows) * num_rows
                if num_bytes > max_bytes:
                    bar.say(
                        f"{num_bytes / 2**30:.1f} GiB are more than may be "
                        f"held (ValueFitConfig.max_state_bytes, {max_bytes}): the "
                        "encoder runs again in every epoch"
                    )
                    return
                if held is None:
                    held = np.empty((num_rows, *states.shape[1:]), states.dtype)
                held[rows[:count]] = np.asarray(states)[:count]
                bar.advance(count)
        self._held = held

    def of_rows(self, rows: np.ndarray) -> jax.Array:
        """``[B, L, D]`` states of rows by number."""
        if self._held is None:
            return self._encode({n: x[rows] for n, x in self._data.fields.items()})
        return self._partitioner.put_batch({"states": self._held[rows]})["states"]
