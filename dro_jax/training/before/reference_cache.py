"""The reference's log-probabilities of a split, on disk.

A folder holds `key.json`, what the numbers were computed from, and parts in the order of
the data: `part-RECORD-ROW.npz` begins at that position and names the position where the
next one begins. A part is written whole or not at all, so a run that was killed goes on
after the last part, and several runs may fill one folder.
"""

import dataclasses
import pathlib

import numpy as np

from dro_jax.data.interface import START, HostBatch, Position
from dro_jax.data.record_ids import join_ids
from dro_jax.errors import DataError
from dro_jax.training.atomic_files import claim_folder, read_arrays, write_arrays
from dro_jax.training.before.record_fields import RecordIndex


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


class ReferenceTable:
    """Looks a batch's records up in a split's reference log-probabilities."""

    def __init__(self, found: ReferenceLogprobs):
        self.found = found
        self._index = RecordIndex(found.ids, "the reference's log-probability")
        self._starts = np.cumsum(found.lengths) - found.lengths

    def __len__(self) -> int:
        return len(self._index)

    def attach(self, batch: HostBatch) -> HostBatch:
        """The batch with `reference_logprobs` ``[B, S]``; 0 at padding.

        Where tokens were kept, `reference_token_logprobs` ``[B, T]`` too.

        Raises:
          DataError: a record has no entry, or another length than it had.
        """
        entries, present = self._index.find(batch)
        values = np.where(present, self.found.logprobs[entries], np.float32(0))
        batch = {**batch, "reference_logprobs": values.astype(np.float32)}
        if self.found.lengths.size:
            batch["reference_token_logprobs"] = self._tokens(batch, entries, present)
        return batch

    def _tokens(self, batch, entries, present) -> np.ndarray:
        mask = token_mask(batch)
        tokens = np.zeros(mask.shape[:2], np.float32)
        for row, slot in np.argwhere(present):
            entry = entries[row, slot]
            start, length = self._starts[entry], self.found.lengths[entry]
            places = np.flatnonzero(mask[row, :, slot])
            if len(places) != length:
                raise DataError(
                    f"record id {batch['record_ids'][row, slot].tolist()} has "
                    f"{len(places)} response tokens, and {length} in the reference cache"
                )
            tokens[row, places] = self.found.tokens[start : start + length]
        return tokens


class ReferenceCache:
    """One folder of cached log-probabilities.

    Args:
      folder: where it lies; made if need be.
      key: what the numbers depend on, in words and fingerprints, by name.

    Raises:
      CheckpointError: the folder was computed from something else; the message says
        from what.
    """

    def __init__(self, folder: str | pathlib.Path, key: dict[str, str]):
        self.folder = pathlib.Path(folder)
        claim_folder(
            self.folder,
            key,
            "the reference log-probabilities were computed",
            "Use another REFERENCE_CACHE_DIR, or delete that folder to compute them anew",
        )

    def read(self) -> tuple[list[ReferenceLogprobs], Position | None]:
        """The parts that are there, and where to go on; None where all is there.

        Raises:
          CheckpointError: a part cannot be read.
        """
        parts, position = [], START
        while (path := self._path(position)).exists():
            arrays = read_arrays(path, "the reference cache's")
            parts.append(
                ReferenceLogprobs(
                    **{
                        field.name: arrays[field.name]
                        for field in dataclasses.fields(ReferenceLogprobs)
                    }
                )
            )
            if arrays["last"]:
                return parts, None
            record, row = arrays["next_position"].tolist()
            position = record, row
        return parts, position

    def write(
        self, start: Position, part: ReferenceLogprobs, end: Position, *, last: bool
    ) -> None:
        """Keep the part of the data between two positions."""
        arrays = dict(vars(part), next_position=np.array(end), last=np.array(last))
        write_arrays(self._path(start), arrays)

    def _path(self, position: Position) -> pathlib.Path:
        return self.folder / f"part-{position[0]:012d}-{position[1]:06d}.npz"


def token_mask(batch: HostBatch) -> np.ndarray:
    """Which target tokens belong to which trajectory: bool ``[B, T, S]``."""
    real = batch["decoder_loss_weights"] > 0
    segments = batch.get("decoder_segment_ids")
    if segments is None:
        return real[..., None]
    slots = np.arange(1, batch["trajectory_weights"].shape[1] + 1)
    return real[..., None] & (segments[..., None] == slots)
