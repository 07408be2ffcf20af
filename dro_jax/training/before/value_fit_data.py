"""What a value is fitted to: a split's prompts and rewards, and the encoder's states."""

import dataclasses
from collections.abc import Callable, Iterable, Iterator

import jax
import numpy as np

from dro_jax import batch_fields
from dro_jax.data import scratch
from dro_jax.data.interface import HostBatch, Shard
from dro_jax.data.record_ids import PromptRecords
from dro_jax.data.settings import shard_rows
from dro_jax.errors import DataError
from dro_jax.progress_bar import ProgressBar
from dro_jax.training.before.record_fields import RecordIndex
from dro_jax.training.before.sampled_rewards import SampledRewards
from dro_jax.training.host_rows import whole_batch
from dro_jax.training.sharding import Partitioner

# Part of a batch of prompts to the whole's encoder states ``[B, L, D]``, on the devices,
# the same on all.
Encode = Callable[[HostBatch, Shard], jax.Array]
_PROMPTS = "prompts"
_PROMPT_FIELDS = (*batch_fields.names(reader="encoder"), "trajectory_weights")
_KEPT = (*_PROMPT_FIELDS, "rewards")


@dataclasses.dataclass(frozen=True)
class FitData:
    """A split's rows without their responses, in temporary files.

    Rewards are those of the responses that were logged; or, of samples of the
    reference, the mean of a prompt's, at the place of its first record alone. To V that
    is one: the square errors of n rewards are those of their mean and a constant.

    Attributes:
      fields: what the encoder and its pool read, of all N rows.
      rewards: ``[N, S]`` float32.
      prompts: ``[N, S]`` hashes, uint64, equal for equal prompts.
      held_out: bool ``[N, S]``, trajectories that choose the epoch.
      samples: what rewards are of, where it is not what was logged.
    """

    fields: HostBatch
    rewards: np.ndarray
    prompts: np.ndarray
    held_out: np.ndarray
    samples: SampledRewards | None = None

    @classmethod
    def of(
        cls,
        batches: Iterable[HostBatch],
        records: PromptRecords,
        held_out_fraction: float,
        judged_fraction: float = 0.0,
        samples: SampledRewards | None = None,
    ) -> "FitData":
        """Reads a split once.

        Prompts whose hashes are least are held out, so that all responses to one prompt
        are on the same side, whatever the order of the data.

        Args:
          batches: one pass over the split.
          records: the split's.
          held_out_fraction: share of the distinct prompts; at least one is held out,
            and one is not.
          judged_fraction: share of the prompts that are left out, for they judge.
          samples: the reference's, whose rewards take the place of the logged ones.

        Raises:
          DataError: the split has fewer than two prompts.
        """
        index = RecordIndex(records.ids, "a record's prompt")
        rows: dict[str, scratch.Rows] = {}
        for batch in batches:
            entries, present = index.find(batch)
            prompts = np.where(present, records.prompts[entries], 0).astype(np.uint64)
            present &= ~is_judged(prompts, judged_fraction)
            if samples is not None:
                present &= samples.is_first(entries)
                batch = {**batch, "rewards": _means(samples, prompts, present)}
            weights = np.where(present, batch["trajectory_weights"], np.float32(0))
            batch = {**batch, "trajectory_weights": weights, _PROMPTS: prompts}
            for name in (*_KEPT, _PROMPTS):
                if name in batch:
                    kept = batch[name][present.any(1)]
                    rows.setdefault(name, scratch.Rows()).append(kept)
        if not rows:
            raise DataError(
                "the split is empty: there are no rewards to fit a value to"
            )
        fields = {name: made.array() for name, made in rows.items()}
        present, prompts = fields["trajectory_weights"] > 0, fields.pop(_PROMPTS)
        distinct = np.unique(prompts[present])
        if len(distinct) < 2:
            raise DataError(
                f"the split has {len(distinct)} distinct prompt to fit a value to: it "
                "takes two to fit it and hold prompts out"
            )
        count = round(held_out_fraction * len(distinct))
        last = distinct[min(max(count, 1), len(distinct) - 1) - 1]
        return cls(
            rewards=fields.pop("rewards"),
            fields=fields,
            prompts=prompts,
            held_out=present & (prompts <= last),
            samples=samples,
        )

    def __len__(self) -> int:
        return len(self.rewards)

    @property
    def train(self) -> np.ndarray:
        """Bool ``[N, S]``, trajectories that are fitted."""
        return (self.fields["trajectory_weights"] > 0) & ~self.held_out

    @property
    def limits(self) -> tuple[float, float]:
        """The least and the greatest reward, of one response."""
        if self.samples is not None:
            fitted = self.prompts[self.train | self.held_out]
            rewards = self.samples.of(np.unique(fitted))
        else:
            rewards = self.rewards[self.train | self.held_out]
        return float(rewards.min()), float(rewards.max())

    def num_responses(self, which: np.ndarray) -> int:
        """Responses whose rewards some trajectories stand for, bool ``[N, S]``."""
        samples = 1 if self.samples is None else self.samples.num_samples
        return samples * int(which.sum())

    def num_prompts(self, which: np.ndarray) -> int:
        """Distinct prompts of some trajectories, bool ``[N, S]``."""
        return len(np.unique(self.prompts[which]))


def _means(
    samples: SampledRewards, prompts: np.ndarray, present: np.ndarray
) -> np.ndarray:
    """``[B, S]`` float32 mean rewards of samples; 0 where none is asked for."""
    found = np.zeros(prompts.shape, np.float32)
    found[present] = samples.of(prompts[present]).mean(-1, dtype=np.float64)
    return found


def prompts_of_all(batch: HostBatch, shard: Shard) -> HostBatch:
    """What :meth:`FitData.of` reads of a batch: all rows, from each host's own.

    Args:
      batch: a part of its rows.
      shard: which, of how many.
    """
    needed = (*_KEPT, "record_ids")
    return whole_batch({n: batch[n] for n in needed if n in batch}, shard)


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
        self._data, self._partitioner = data, partitioner
        self._encode: Encode | None = encode
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

    def close(self) -> None:
        """Lets go of the encoder's parameters."""
        self._encode = None

    def of_rows(self, rows: np.ndarray) -> jax.Array:
        """``[B, L, D]`` states of rows by number; each host reads its own."""
        shard = self._partitioner.shard(len(rows))
        own = rows[shard_rows(shard, len(rows))]
        if self._held is None:
            fields = {n: x[own] for n, x in self._data.fields.items()}
            return self._encode(fields, shard)
        held = {"states": self._held[own]}
        return self._partitioner.put_batch(held, shard)["states"]
