"""Prompts of many lengths in batches that are padded to about their own lengths.

A batch of rows takes as long as its longest row, so prompts are put together by length.
Only few widths are used, since for each a program is compiled. The plan follows from
lengths, batch size and edges alone: a run that begins again makes the same batches.
"""

import dataclasses
import hashlib
from collections.abc import Sequence

import numpy as np

from dro_jax.data.interface import WHOLE, HostBatch, Shard

_LEAST_EDGE = 32
# Prompts are sorted within windows of so many batches: responses come out in the order of
# prompts a window behind, while all but a few rows have neighbours of their length.
_WINDOW_BATCHES = 32


def bucket_edges(longest: int) -> tuple[int, ...]:
    """Widths to pad to: 32, 48, 64, 96, 128, 192, … and the longest, ascending.

    Powers of two and the middles between them.

    Args:
      longest: tokens that a prompt may have, EOS included:
        `TASK_FEATURE_LENGTHS['inputs']`.
    """
    edges = []
    edge = _LEAST_EDGE
    while edge < longest:
        edges += [edge, edge * 3 // 2]
        edge *= 2
    return (*(edge for edge in edges if edge < longest), longest)


@dataclasses.dataclass(frozen=True)
class PlannedBatch:
    """Which prompts are decoded together.

    Attributes:
      places: ``[≤ B]`` positions of prompts.
      width: what they are padded to.
      window: number of the window that they are of.
    """

    places: np.ndarray
    width: int
    window: int


def plan_batches(
    lengths: Sequence[int],
    batch_size: int,
    edges: Sequence[int],
    window_batches: int = _WINDOW_BATCHES,
) -> list[PlannedBatch]:
    """Batches of prompts of like lengths, the longest of each window first.

    So memory that does not suffice is known at once, and the time left is not told too
    short. All batches but the last are full.

    Args:
      lengths: ``[N]`` tokens of each prompt, at most the last edge.
      batch_size: B, rows of a batch.
      edges: widths to pad to, ascending.
      window_batches: batches within which prompts change places.
    """
    lengths, edges = np.asarray(lengths), np.asarray(edges)
    batches = []
    size = batch_size * window_batches
    for window, start in enumerate(range(0, len(lengths), size)):
        # Stable: prompts of one length keep their order.
        order = start + np.argsort(-lengths[start : start + size], kind="stable")
        for first in range(0, len(order), batch_size):
            places = order[first : first + batch_size]
            width = edges[np.searchsorted(edges, lengths[places[0]])]
            batches.append(PlannedBatch(places, int(width), window))
    return batches


def taking_turns(plan: Sequence[PlannedBatch], most: int) -> list[list[PlannedBatch]]:
    """Batches that follow one another, in groups whose prompts take turns.

    The widest of a group is at most twice as wide as any, and they are of one window. All
    are padded to its width: that costs less than rows that wait for the longest response
    of each batch, unless all responses are as long.

    Args:
      plan: of :func:`plan_batches`.
      most: how many of them make a group.
    """
    found: list[list[PlannedBatch]] = []
    for batch in plan:
        first = found[-1][0] if found and len(found[-1]) < most else None
        fits = first and 2 * batch.width >= first.width
        if not fits or batch.window != first.window:
            found.append([])
        found[-1].append(batch)
    return found


def as_one(group: Sequence[PlannedBatch]) -> PlannedBatch:
    """A group of :func:`taking_turns` as one batch."""
    places = np.concatenate([batch.places for batch in group])
    return dataclasses.replace(group[0], places=places)


def batches_to_do(
    plan: Sequence[PlannedBatch], most: int, missing: np.ndarray
) -> list[PlannedBatch]:
    """Those that take turns with one of which something is missing.

    So prompts that are asked again stand beside those that they stood beside before, and
    the answers are the same to the last digit.

    Args:
      plan: of all prompts.
      most: as for :func:`taking_turns`.
      missing: bool, by the prompts' places.
    """
    groups = taking_turns(plan, most)
    return [
        batch
        for group in groups
        if missing[as_one(group).places].any()
        for batch in group
    ]


def rows_for(count: int, batch_size: int, most: int) -> int:
    """Rows that hold so many prompts of joined batches: of few sizes, as programs are."""
    return batch_size if count <= batch_size else batch_size * most


def in_turn(count: int, batch_size: int, width: int) -> list[PlannedBatch]:
    """Batches of prompts as they come, all of one width."""
    return [
        PlannedBatch(np.arange(start, min(start + batch_size, count)), width, window)
        for window, start in enumerate(range(0, count, batch_size))
    ]


@dataclasses.dataclass(frozen=True)
class Prompts:
    """What a policy is asked.

    Attributes:
      tokens: of each prompt, as the model reads it: cut, EOS included, no padding.
      record_ids: ``[N, 2]`` int32, whose samples are drawn by them.
    """

    tokens: Sequence[Sequence[int] | np.ndarray]
    record_ids: np.ndarray

    def __len__(self) -> int:
        return len(self.tokens)

    @property
    def lengths(self) -> np.ndarray:
        """``[N]`` tokens of each."""
        return np.array([len(tokens) for tokens in self.tokens], np.int64)

    def at(self, places: np.ndarray) -> "Prompts":
        """Some of them."""
        return Prompts([self.tokens[i] for i in places], self.record_ids[places])

    def digest(self) -> str:
        """16 digits that tell these tokens and ids, in this order, from all others."""
        digest = hashlib.sha256(np.ascontiguousarray(self.record_ids).tobytes())
        for tokens in self.tokens:
            digest.update(f"{len(tokens)} ".encode())
            digest.update(np.asarray(tokens, np.int32).tobytes())
        return digest.hexdigest()[:16]

    def plan(self, batch_size: int, longest: int) -> list[PlannedBatch]:
        """Their batches.

        Args:
          batch_size: rows of each.
          longest: the most tokens of a prompt, as for :func:`bucket_edges`.
        """
        return plan_batches(self.lengths, batch_size, bucket_edges(longest))

    def batch(self, width: int, batch_size: int, shard: Shard = WHOLE) -> HostBatch:
        """All of them as one batch for `dro_jax.evaluation.generation.generate`.

        Args:
          width: tokens of a row.
          batch_size: rows; those behind the last prompt are padding, of
            `trajectory_weights` 0.
          shard: which part of the rows to make, of how many.
        """
        size = batch_size // shard[1]
        own = range(shard[0] * size, min((shard[0] + 1) * size, len(self)))
        tokens = np.zeros((size, width), np.int32)
        ids = np.zeros((size, 1, 2), np.int32)
        present = np.zeros((size, 1), np.float32)
        for row, place in enumerate(own):
            tokens[row, : len(self.tokens[place])] = self.tokens[place]
            ids[row, 0] = self.record_ids[place]
            present[row] = 1
        return {
            "encoder_input_tokens": tokens,
            "record_ids": ids,
            "trajectory_weights": present,
        }
