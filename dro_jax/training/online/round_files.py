"""Rounds on disk: what a run that goes on is trained on again."""

import pathlib
import re
from collections.abc import Collection

import numpy as np

from dro_jax.errors import CheckpointError
from dro_jax.paths import make_folder
from dro_jax.training import hosts
from dro_jax.training.atomic_files import read_arrays, write_arrays
from dro_jax.training.host_files import share_files
from dro_jax.training.online.round_samples import RoundSamples

_NAME = re.compile(r"round_(\d{6,})\.npz")
_ARRAYS = ("places", "tokens", "lengths", "cut", "rewards", "logprobs")
_FIELD = "field/"
_WHAT = "the round of fresh samples"


class RoundFiles:
    """`round_NNNNNN.npz`, NumPy arrays, written whole by the first process.

    Args:
      folder: where they lie.
      settings: what the samples depend on beside parameters; another's are refused.
    """

    def __init__(self, folder: pathlib.Path, settings: str):
        self._folder, self._settings = folder, settings

    def _path(self, number: int) -> pathlib.Path:
        return self._folder / f"round_{number:06d}.npz"

    def write(self, number: int, samples: RoundSamples) -> None:
        """Keeps a round; whatever was kept of it before is replaced."""

        def write() -> None:
            make_folder(self._folder)
            arrays = {name: getattr(samples, name) for name in _ARRAYS}
            arrays |= {f"{_FIELD}{n}": values for n, values in samples.fields.items()}
            arrays |= {"step": np.int64(samples.step), "settings": self._settings}
            write_arrays(self._path(number), arrays)

        hosts.first_says(write)

    def read(self, number: int) -> RoundSamples:
        """What was kept of a round, on all processes.

        Raises:
          CheckpointError: nothing was, or by other settings, or the file is damaged.
        """
        path = self._path(number)

        def check() -> None:
            if not path.exists():
                raise CheckpointError(
                    f"{path} is missing: the run goes on with that round, whose samples "
                    "were drawn by parameters that are gone. Put the file back, or "
                    "delete the checkpoints from which it goes on (those before the "
                    "round was drawn need it not), or start anew in another MODEL_DIR, "
                    "from its parameters if you like (INITIAL_CHECKPOINT_PATH)"
                )

        hosts.first_says(check)
        share_files(self._folder, [path.name])

        def read() -> RoundSamples:
            arrays = read_arrays(path, _WHAT)
            if (kept := str(arrays.get("settings"))) != self._settings:
                raise CheckpointError(
                    f"{path} holds samples of other settings than the run's ({kept} → "
                    f"{self._settings}): put them back, or start anew in another MODEL_DIR"
                )
            return RoundSamples(
                **{name: arrays[name] for name in _ARRAYS},
                fields={
                    name.removeprefix(_FIELD): values
                    for name, values in arrays.items()
                    if name.startswith(_FIELD)
                },
                step=int(arrays["step"]),
            )

        return hosts.agree(read)

    def keep_only(self, numbers: Collection[int]) -> None:
        """Deletes the files of all other rounds."""

        def delete() -> None:
            for path in self._folder.glob("round_*.npz"):
                found = _NAME.fullmatch(path.name)
                if found and int(found[1]) not in numbers:
                    path.unlink(missing_ok=True)

        hosts.first_says(delete)
