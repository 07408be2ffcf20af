"""The reference's log-probabilities of some records, in memory."""

import dataclasses

import numpy as np

from dro_jax.data.interface import HostBatch
from dro_jax.data.record_ids import join_ids


@dataclasses.dataclass(frozen=True)
class ReferenceLogprobs:
    """log π_ref(y|x) of records, by record id.

    Attributes:
      ids: ``[R]`` int64: (task fingerprint, record index) in one number.
      logprobs: ``[R]`` float32, summed over response tokens, nats.
      lengths: ``[R]`` int32 response tokens, where tokens are kept; else ``[0]``.
      tokens: ``[Σ lengths]`` float32 log π_ref(y_t|x, y_<t), record after record.
    """

    ids: np.ndarray
    logprobs: np.ndarray
    lengths: np.ndarray
    tokens: np.ndarray

    @classmethod
    def of_batch(
        cls, batch: HostBatch, token_logprobs: np.ndarray, *, keep_tokens: bool
    ) -> "ReferenceLogprobs":
        """From a batch and its ``[B, T]`` log-probabilities, 0 at padding."""
        mask = token_mask(batch)
        present = batch["trajectory_weights"] > 0
        logprobs = np.einsum("bt,bts->bs", token_logprobs.astype(np.float64), mask)
        lengths, tokens = np.zeros(0, np.int32), np.zeros(0, np.float32)
        if keep_tokens:
            lengths = mask.sum(1)[present].astype(np.int32)
            tokens = np.swapaxes(
                np.broadcast_to(token_logprobs[..., None], mask.shape), 1, 2
            )[np.swapaxes(mask, 1, 2)]
        return cls(
            ids=join_ids(batch["record_ids"])[present],
            logprobs=logprobs[present].astype(np.float32),
            lengths=lengths,
            tokens=tokens.astype(np.float32),
        )

    @classmethod
    def joined(cls, parts: list["ReferenceLogprobs"]) -> "ReferenceLogprobs":
        """Several, one after another."""
        return cls(
            **{
                field.name: np.concatenate(
                    [getattr(part, field.name) for part in parts]
                )
                for field in dataclasses.fields(cls)
            }
        )


def token_mask(batch: HostBatch) -> np.ndarray:
    """Which target tokens belong to which trajectory: bool ``[B, T, S]``."""
    real = batch["decoder_loss_weights"] > 0
    segments = batch.get("decoder_segment_ids")
    if segments is None:
        return real[..., None]
    slots = np.arange(1, batch["trajectory_weights"].shape[1] + 1)
    return real[..., None] & (segments[..., None] == slots)
