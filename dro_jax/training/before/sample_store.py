"""Samples of the reference for a split's prompts, on disk.

A folder holds `key.json`, what they were drawn and scored by; `part-….npz`, a batch
each, while they are made; and, once those that were asked for are there, `rewards.npy`,
``[P, n]`` with NaN for prompts that were never asked for, and `samples.jsonl`, a line a
response, for people. A file is written whole or not at all, so that a run that was
killed loses a batch.
"""

import json
import pathlib
import uuid
from collections.abc import Callable, Iterator, Mapping
from typing import Any

import numpy as np

from dro_jax.errors import CheckpointError
from dro_jax.training.atomic_files import (
    claim_folder,
    map_array,
    read_arrays,
    write_array,
    write_arrays,
    write_whole,
)
from dro_jax.training.scored_samples import ScoredSamples

REWARDS, TEXTS = "rewards.npy", "samples.jsonl"
_PARTS = "part-*.npz"
_WHAT = "the samples of the reference"
_PLACE = "prompt_number"
# A batch's samples to lines for people, each with its prompt's place.
Lines = Callable[[ScoredSamples], Iterator[Mapping[str, Any]]]


class SampleStore:
    """One folder of samples.

    Args:
      folder: where it lies; made if need be.
      key: what the samples depend on, in words and fingerprints, by name.
      shape: P prompts of the split, n samples of each.

    Raises:
      CheckpointError: the folder was filled from something else; the message says from
        what.
    """

    def __init__(
        self, folder: pathlib.Path, key: Mapping[str, str], shape: tuple[int, int]
    ):
        self.folder, self._shape = folder, shape
        claim_folder(
            folder,
            key,
            f"{_WHAT} were drawn",
            "Use another REFERENCE_SAMPLES_DIR, or delete that folder to draw them anew",
        )

    def rewards(self) -> np.ndarray:
        """``[P, n]`` float32, mapped; NaN where a prompt was never asked.

        Raises:
          CheckpointError: the file is damaged, or of other prompts.
        """
        path = self.folder / REWARDS
        found = map_array(path, _WHAT)
        if found.shape != self._shape:
            raise CheckpointError(
                f"{_WHAT} {path} are {found.shape} numbers, where the split has "
                f"{self._shape}: delete that folder, and the run draws them anew"
            )
        return found

    def finished(self) -> np.ndarray:
        """bool ``[P]``: prompts whose rewards lie in the one file."""
        if not (self.folder / REWARDS).exists():
            return np.zeros(self._shape[0], bool)
        return ~np.isnan(self.rewards()[:, 0])

    def has(self, wanted: np.ndarray) -> bool:
        """Whether the one file is there, with rewards for prompts, bool ``[P]``."""
        return (self.folder / REWARDS).exists() and bool(self.finished()[wanted].all())

    def sampled(self) -> np.ndarray:
        """bool ``[P]``: prompts that have samples, in parts too.

        Raises:
          CheckpointError: a part cannot be read.
        """
        found = self.finished()
        for path in self.folder.glob(_PARTS):
            found[read_arrays(path, _WHAT, ["places"])["places"]] = True
        return found

    def write(self, samples: ScoredSamples) -> None:
        """Keeps a batch's samples."""
        path = self.folder / f"part-{samples.places[0]:09d}-{uuid.uuid4().hex}.npz"
        write_arrays(path, samples._asdict())

    def finish(self, lines: Lines) -> None:
        """Puts all parts into the two files that are left at the end.

        Args:
          lines: what people read of a part.

        Raises:
          CheckpointError: a part cannot be read.
        """
        paths = sorted(self.folder.glob(_PARTS))
        new = np.zeros(self._shape[0], bool)
        rewards = np.full(self._shape, np.nan, np.float32)
        if (self.folder / REWARDS).exists():
            rewards[:] = self.rewards()
        for path in paths:
            part = read_arrays(path, _WHAT, ["places", "rewards"])
            new[part["places"]] = True
            rewards[part["places"]] = part["rewards"]
        texts = self.folder / TEXTS
        write_whole(
            texts, lambda file: file.writelines(self._texts(texts, paths, new, lines))
        )
        # Last: it says that the samples are whole.
        write_array(self.folder / REWARDS, rewards)
        for path in paths:
            path.unlink(missing_ok=True)

    def _texts(
        self,
        before: pathlib.Path,
        parts: list[pathlib.Path],
        new: np.ndarray,
        lines: Lines,
    ) -> Iterator[bytes]:
        """What was there, but for prompts that a part has, and the parts."""
        if before.exists():
            with before.open("rb") as file:
                yield from (line for line in file if not new[json.loads(line)[_PLACE]])
        written = np.zeros_like(new)
        for path in parts:
            part = ScoredSamples(**read_arrays(path, _WHAT))
            for line in lines(part):
                if not written[line[_PLACE]]:  # two runs may have drawn the same
                    yield json.dumps(line, ensure_ascii=False).encode() + b"\n"
            written[part.places] = True
