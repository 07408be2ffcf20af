"""Responses beside prompts that they do not answer, for KTO's reference point.

In training the pairs are a batch's own (:func:`with_mismatched_prompts`), in an
evaluation those of the whole split (:class:`MismatchedPairs`).
"""

import hashlib
from collections.abc import Iterator, Sequence

import numpy as np

from dro_jax import batch_fields
from dro_jax.batch_fields import MISMATCHED
from dro_jax.data.interface import HostBatch
from dro_jax.data.packing import WINDOW, Packing, plan_rows
from dro_jax.data.record_ids import join_ids

_OF_PAIRS = batch_fields.names(source="pairs", axes="BL")
_PROMPT = "encoder_input_tokens"
_RESPONSE = batch_fields.names(source="split", axes="BT")
_WEIGHTS = f"{MISMATCHED}weights"
_SIDES = ("encoder", "decoder", "trajectory_weights")
# What pairs are formed of and made into.
PAIRED = (*(n for n in batch_fields.FIELDS if n.startswith(_SIDES)), "record_ids")


def with_mismatched_prompts(batch: HostBatch) -> HostBatch:
    """The batch with another row's prompts beside each row.

    The rows, in an order that their records' ids decide, are cycled by one: response s
    of a row meets prompt s of the row before it. Which pairs are formed depends neither
    on the order of rows in the batch nor on how they are spread over devices or
    microbatches. A pair counts where both rows have such a trajectory, and where the
    two prompts differ.

    Args:
      batch: B rows, with `record_ids`.

    Returns:
      The batch with `mismatched_weights` ``[B, S]`` and, for each encoder field, the
      field `mismatched_…` of the same shape.
    """
    present = batch["trajectory_weights"] > 0
    rows = partners(batch["record_ids"], present)
    fields = {
        name: batch[own][rows]
        for name in _OF_PAIRS
        if (own := name.removeprefix(MISMATCHED)) in batch
    }
    weights = present[rows].astype(np.float32)
    return with_pairs_that_count({**batch, **fields, _WEIGHTS: weights})


def with_pairs_that_count(batch: HostBatch) -> HostBatch:
    """The batch with `mismatched_weights` of 0 where there is no pair.

    Args:
      batch: with the fields of mismatched pairs, `mismatched_weights` saying where there
        is another row's prompt.
    """
    present = (batch["trajectory_weights"] > 0) & (batch[_WEIGHTS] > 0)
    counts = np.zeros(present.shape, np.float32)
    for row, slot in np.argwhere(present):
        own, other = (_prompt(batch, prefix, row, slot) for prefix in ("", MISMATCHED))
        counts[row, slot] = not np.array_equal(own, other)
    return {**batch, _WEIGHTS: counts}


class MismatchedPairs:
    """Pairs of a whole split: which are formed depends on its records' ids alone.

    The records, in an order that their ids decide, are cycled by one: each response
    meets the prompt of the record before it. Pairs of equal prompts are left out.
    The pairs are read in rows like those of the batches that they come from, packed
    anew where these are packed.
    """

    def __init__(self):
        self._ids: list[int] = []
        self._texts: list[HostBatch] = []  # tokens of each record's prompt and response
        self._like: HostBatch | None = None
        self._log_ratios = np.zeros(0, np.float32)
        self._paired = np.zeros(0, bool)

    def add(self, batch: HostBatch) -> None:
        """Adds the records of a batch, all its rows; the fields of `PAIRED` will do."""
        self._like = batch
        ids = join_ids(batch["record_ids"])
        sides = [((_PROMPT,), "encoder"), (_RESPONSE, "decoder")]
        for row, slot in np.argwhere(batch["trajectory_weights"] > 0):
            self._ids.append(int(ids[row, slot]))
            texts = {}
            for names, side in sides:
                segments = batch.get(f"{side}_segment_ids")
                if segments is None:
                    own = batch[names[-1]][row] > 0
                else:
                    own = segments[row] == slot + 1
                texts |= {name: batch[name][row][own] for name in names}
            self._texts.append(texts)

    def batches(self) -> Iterator[tuple[HostBatch, np.ndarray]]:
        """The pairs that were formed, in batches.

        Yields:
          The fields that log-probabilities are computed of, and ``[B, S]`` whose
          response is where, for :meth:`keep`.
        """
        rows, slots = self._like["trajectory_weights"].shape
        pairs = self._pairs()
        self._log_ratios = np.zeros(len(self._ids), np.float32)
        self._paired = np.zeros(len(self._ids), bool)
        self._paired[[own for own, _ in pairs]] = True
        planned: list[np.ndarray] = []
        for first in range(0, len(pairs), WINDOW):
            planned += self._rows(pairs[first : first + WINDOW], slots)
            while len(planned) >= rows:
                yield self._batch(planned[:rows])
                planned = planned[rows:]
        if planned:
            yield self._batch(planned)

    def keep(self, owners: np.ndarray, log_ratios: np.ndarray) -> None:
        """Keeps ℓ ``[B, S]`` of a batch."""
        present = owners >= 0
        self._log_ratios[owners[present]] = log_ratios[present]

    def of_records(self) -> tuple[np.ndarray, np.ndarray]:
        """``[N]`` ℓ of each record's pair and 1 where it has one, by ascending ids."""
        order = np.argsort(np.array(self._ids), kind="stable")
        return self._log_ratios[order], self._paired[order].astype(np.float32)

    def _pairs(self) -> list[tuple[int, int]]:
        """(whose response, whose prompt), by their numbers."""
        cycle = np.argsort(_scrambled(np.array(self._ids)[:, None]), kind="stable")
        prompts = [texts[_PROMPT].tobytes() for texts in self._texts]
        return [
            (int(record), int(other))
            for record, other in zip(cycle, np.roll(cycle, 1), strict=True)
            if prompts[record] != prompts[other]
        ]

    def _rows(self, pairs: Sequence[tuple[int, int]], slots: int) -> list[np.ndarray]:
        """Which pairs share a row: ``[S, 2]`` each, -1 in empty places."""
        made = np.array(pairs, np.int64).reshape(-1, 2)
        if "encoder_segment_ids" not in self._like:
            return list(made[:, None])
        packing = Packing(
            self._like[_PROMPT].shape[1], self._like[_RESPONSE[0]].shape[1], slots
        )
        lengths = [
            (len(self._texts[other][_PROMPT]), len(self._texts[own][_RESPONSE[0]]))
            for own, other in pairs
        ]
        with_empty = np.concatenate([made, [[-1, -1]]])
        return list(with_empty[plan_rows(np.array(lengths), packing)])

    def _batch(self, planned: Sequence[np.ndarray]) -> tuple[HostBatch, np.ndarray]:
        batch = {
            name: np.zeros_like(rows)
            for name, rows in self._like.items()
            if name.startswith(_SIDES)
        }
        owners = np.full(batch["trajectory_weights"].shape, -1)
        for row, places in enumerate(planned):
            ends = {"encoder": 0, "decoder": 0}
            for slot, (own, other) in enumerate(places):
                if own >= 0:
                    owners[row, slot] = own
                    texts = self._texts[own] | {_PROMPT: self._texts[other][_PROMPT]}
                    _write(batch, row, slot, texts, ends)
        return batch, owners


def _write(batch, row, slot, texts, ends) -> None:
    """Puts a trajectory behind those of its row, and moves the row's ends on."""
    batch["trajectory_weights"][row, slot] = 1
    for side, names in (("encoder", (_PROMPT,)), ("decoder", _RESPONSE)):
        start, length = ends[side], len(texts[names[0]])
        here = row, slice(start, start + length)
        for name in names:
            batch[name][here] = texts[name]
        if f"{side}_segment_ids" in batch:
            batch[f"{side}_segment_ids"][here] = slot + 1
        if f"{side}_positions" in batch:
            batch[f"{side}_positions"][here] = np.arange(length)
        ends[side] += length


def partners(record_ids: np.ndarray, present: np.ndarray) -> np.ndarray:
    """``[B]``: the row whose prompts each row meets; itself where it is empty.

    Neighbours in a file often share a prompt, so ids are scrambled for the order.

    Args:
      record_ids: ``[B, S, 2]``.
      present: ``[B, S]`` which trajectories are.
    """
    rows = np.flatnonzero(present.any(1))
    cycle = rows[np.argsort(_scrambled(join_ids(record_ids[rows])), kind="stable")]
    # A cycle and not independent draws: each row's prompts are met once, and no row
    # meets itself unless it is alone.
    found = np.arange(len(present))
    found[cycle] = np.roll(cycle, 1)
    return found


def _scrambled(ids: np.ndarray) -> np.ndarray:
    """``[N]`` keys in another order than ``[N, …]`` joined ids, which decide them."""
    keys = [hashlib.blake2b(own.tobytes(), digest_size=8).digest() for own in ids]
    return np.array(keys, "S8")


def _prompt(batch: HostBatch, prefix: str, row: int, slot: int) -> np.ndarray:
    tokens = batch[f"{prefix}{_PROMPT}"][row]
    segments = batch.get(f"{prefix}encoder_segment_ids")
    return tokens if segments is None else tokens[segments[row] == slot + 1]
