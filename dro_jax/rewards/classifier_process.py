"""The other end of `classifier_worker`: starts it, asks it, ends it."""

import contextlib
import importlib.util
import json
import os
import pathlib
import subprocess
import sys
import tempfile
import weakref
from collections.abc import Sequence
from typing import Any

import numpy as np

import dro_jax
from dro_jax.errors import CheckpointError, ConfigError

_WORKER = "dro_jax.rewards.classifier_worker"
_NEEDED = ("torch", "transformers")
_QUIET = {
    "HF_HUB_DISABLE_PROGRESS_BARS": "1",
    "TOKENIZERS_PARALLELISM": "false",
    "TRANSFORMERS_VERBOSITY": "error",
}
_SHOWN = 5  # lines of what it said at its end


class ClassifierProcess:
    """A classifier that is loaded, and ends with this process.

    Args:
      folder, template, max_length, device, dtype: of the model, as the worker has them.

    Attributes:
      labels: their names, in the order of logits.
      each_by_itself: whether a text may have several of them.
      max_length: in tokens.
      chat: whether the tokenizer has a chat template.

    Raises:
      ConfigError: torch or transformers is not installed.
      CheckpointError: the folder's model cannot be loaded, or is no classifier.
    """

    def __init__(
        self,
        folder: str,
        template: str,
        max_length: int | None,
        device: str | None,
        dtype: str,
    ):
        missing = [name for name in _NEEDED if importlib.util.find_spec(name) is None]
        if missing:
            raise ConfigError(
                f"a Hugging Face classifier needs {' and '.join(missing)}: pip install "
                "'dro-jax[classifier]'"
            )
        self._folder = folder
        self._said = tempfile.TemporaryFile()  # noqa: SIM115, closed with this
        package = str(pathlib.Path(dro_jax.__file__).parents[1])
        path = os.pathsep.join(filter(None, (package, os.environ.get("PYTHONPATH"))))
        self._process = subprocess.Popen(
            [sys.executable, "-m", _WORKER],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=self._said,
            env=os.environ | _QUIET | {"PYTHONPATH": path},
            encoding="utf-8",
        )
        # A pipe that ends ends the worker, however this process ends.
        self._end = weakref.finalize(self, _end, self._process, self._said)
        settings = {
            "folder": folder,
            "template": template,
            "max_length": max_length,
            "device": device,
            "dtype": dtype,
        }
        found = self._ask(settings)
        if found["missing"]:
            raise CheckpointError(
                f"{folder} is no trained classifier: its files lack "
                f"{', '.join(found['missing'][:_SHOWN])}, which would be random numbers"
            )
        self.labels: list[str] = found["labels"]
        self.each_by_itself: bool = found["each_by_itself"]
        self.max_length: int = found["max_length"]
        self.chat: bool = found["chat"]

    def logits(self, pairs: Sequence[Sequence[str]]) -> tuple[np.ndarray, list[bool]]:
        """Float64 ``[N, labels]`` of (prompt, response), and which were cut."""
        found = self._ask(list(map(list, pairs)))
        return np.array(found["logits"], np.float64), found["cut"]

    def _ask(self, question: Any) -> dict[str, Any]:
        if not self._end.alive:
            raise CheckpointError(f"the classifier {self._folder} has ended")
        try:
            self._process.stdin.write(json.dumps(question) + "\n")
            self._process.stdin.flush()
            answer = self._process.stdout.readline()
        except BrokenPipeError:
            answer = ""
        found = json.loads(answer) if answer else {"error": self._last_words()}
        if "error" in found:
            self._end()
            raise CheckpointError(
                f"the classifier {self._folder} cannot be used: {found['error']}"
            )
        return found

    def _last_words(self) -> str:
        status = self._process.wait()
        self._said.seek(0)
        lines = self._said.read().decode("utf-8", "replace").splitlines()[-_SHOWN:]
        return f"its process ended with {status}. {' '.join(' '.join(lines).split())}"


def _end(process: subprocess.Popen, said: Any) -> None:
    with contextlib.suppress(OSError):  # what it had not read, it will not
        process.stdin.close()
    process.stdout.close()
    process.terminate()
    process.wait()
    said.close()
