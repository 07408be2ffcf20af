"""Responses beside prompts that they do not answer, for KTO's reference point."""

import hashlib

import numpy as np

from dro_jax.data.record_ids import join_ids
from dro_jax.models.reference_outputs import MISMATCHED

HostBatch = dict[str, np.ndarray]
_ENCODER = ("encoder_input_tokens", "encoder_segment_ids", "encoder_positions")


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
    partners = _partners(batch["record_ids"], present.any(1))
    digests = _prompt_digests(batch)
    counts = present & present[partners] & (digests != digests[partners])
    fields = {
        f"{MISMATCHED}{name}": batch[name][partners] for name in _ENCODER if name in batch
    }
    return {**batch, **fields, f"{MISMATCHED}weights": counts.astype(np.float32)}


def _partners(record_ids: np.ndarray, used: np.ndarray) -> np.ndarray:
    """``[B]``: the row whose prompts each row meets; itself where it is empty.

    Neighbours in a file often share a prompt, so ids are scrambled for the order.
    """
    rows = np.flatnonzero(used)
    keys = [
        hashlib.blake2b(join_ids(record_ids[row]).tobytes(), digest_size=8).digest()
        for row in rows
    ]
    cycle = rows[np.argsort(np.array(keys, "S8"), kind="stable")]
    partners = np.arange(len(used))
    partners[cycle] = np.roll(cycle, 1)
    return partners


def _prompt_digests(batch: HostBatch) -> np.ndarray:
    """``[B, S]``: equal where prompts are."""
    tokens, segments = batch["encoder_input_tokens"], batch.get("encoder_segment_ids")
    digests = np.zeros(batch["trajectory_weights"].shape, np.int64)
    for row, slot in np.ndindex(*digests.shape):
        own = tokens[row] if segments is None else tokens[row][segments[row] == slot + 1]
        digest = hashlib.blake2b(own.tobytes(), digest_size=8).digest()
        digests[row, slot] = int.from_bytes(digest, "little", signed=True)
    return digests
