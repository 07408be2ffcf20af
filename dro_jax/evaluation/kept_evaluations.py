"""Evaluations in a run's folder: which of them is meant, and one that goes on."""

import collections
import dataclasses
import hashlib
import json
import pathlib
from collections.abc import Iterable, Mapping, Sequence
from typing import Any, Self

from dro_jax.errors import DataError
from dro_jax.evaluation.evaluated_run import (
    FOLDER,
    EvaluatedRun,
    SampledResponse,
    as_line,
    of_line,
)
from dro_jax.whole_files import write_whole

# What is sampled depends on these settings; the rest says what was made of the samples.
_OF_SAMPLES = ("prompts", "decoding", "lengths", "checkpoint")
_UNFINISHED = "unfinished.jsonl"


def folder_of(run: pathlib.Path, asked: Mapping[str, Any]) -> pathlib.Path:
    """Where an evaluation of a run lies.

    Args:
      run: its folder.
      asked: what was asked for, the same for all runs that are to be compared: `task`,
        `split` and further values that JSON holds.
    """
    text = json.dumps(asked, sort_keys=True)
    digest = hashlib.sha256(text.encode()).hexdigest()[:8]
    return run / FOLDER / f"{asked['task']}_{asked['split']}_{digest}"


def same_samples(one: Mapping[str, Any], other: Mapping[str, Any]) -> bool:
    """Whether two settings give the same samples, whatever they are compared with."""
    # As JSON gives it back: a tuple has become a list.
    one, other = (json.loads(json.dumps(settings)) for settings in (one, other))
    return all(one.get(name) == other.get(name) for name in _OF_SAMPLES)


def kept(folder: pathlib.Path, settings: Mapping[str, Any]) -> EvaluatedRun | None:
    """The evaluation in a folder, if its samples are those that settings give."""
    try:
        found = EvaluatedRun.read(folder)
    except DataError:
        return None
    return found if same_samples(found.settings, settings) else None


@dataclasses.dataclass
class Unfinished:
    """Responses of a run that is being sampled; what a kill leaves is gone on with.

    Attributes:
      path: of the file, whose first line is the settings.
      responses: of the prompts that are done.
    """

    path: pathlib.Path
    responses: list[SampledResponse]

    @classmethod
    def open(cls, folder: pathlib.Path, settings: Mapping[str, Any]) -> Self:
        """What there is of these settings, or a new file.

        Args:
          folder: of the evaluation.
          settings: its own, the reference's name and all.
        """
        path = folder / _UNFINISHED
        head = json.dumps(settings, sort_keys=True).encode() + b"\n"
        found = _whole_lines(path)
        lines = found[1:] if found[:1] == [head] else ()
        whole = _of_whole_prompts(lines, settings["decoding"]["num_samples"])
        content = head + b"".join(map(as_line, whole))
        # A kill here must not lose what an earlier one left.
        write_whole(path, lambda file: file.write(content))
        return cls(path, whole)

    def add(self, responses: Sequence[SampledResponse]) -> None:
        """Keeps the responses to further prompts, all of each."""
        self.responses += responses
        with self.path.open("ab") as file:
            # One write: a kill in it tears the last line at most.
            file.write(b"".join(map(as_line, responses)))

    def remove(self) -> None:
        """Deletes the file, once the evaluation is written."""
        self.path.unlink(missing_ok=True)


def _of_whole_prompts(
    lines: Iterable[bytes], num_samples: int
) -> list[SampledResponse]:
    """Responses to prompts that are done; none where a line is damaged."""
    try:
        responses = list(map(of_line, lines))
    except (ValueError, KeyError, TypeError, AttributeError):
        return []
    counts = collections.Counter(one.prompt_id for one in responses)
    return [one for one in responses if counts[one.prompt_id] == num_samples]


def _whole_lines(path: pathlib.Path) -> list[bytes]:
    try:
        lines = path.read_bytes().splitlines(keepends=True)
    except OSError:
        return []
    return lines if not lines or lines[-1].endswith(b"\n") else lines[:-1]
