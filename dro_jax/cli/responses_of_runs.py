"""Responses of several runs to the same prompts, as folders or files give them."""

import collections
import hashlib
import itertools
import json
import pathlib
from collections.abc import Mapping, Sequence
from typing import Any

from dro_jax.data.containers import read_records
from dro_jax.errors import ConfigError, DataError
from dro_jax.evaluation.evaluated_run import EVALUATION, EvaluatedRun, SampledResponse
from dro_jax.evaluation.shared_evaluation import shared_folders
from dro_jax.paths import expanded

Responses = Sequence[SampledResponse]


def responses_of(
    given: Sequence[str], evaluation: str | None, prompt_field: str
) -> dict[str, Responses]:
    """The first sample of each run to each prompt, by the run's label.

    Args:
      given: folders of runs that were evaluated, or of evaluations; or files of
        `dro-jax generate`.
      evaluation: the name of the evaluation; None, the newest that all have.
      prompt_field: of files, the field of the prompt.

    Raises:
      ConfigError: fewer than two are given, or folders and files.
      DataError: one cannot be read.
    """
    if len(given) < 2:
        raise ConfigError("give two runs or more: a sheet compares their responses")
    paths = [pathlib.Path(expanded(path)) for path in given]
    if missing := [str(path) for path in paths if not path.exists()]:
        raise ConfigError(f"there is no file or folder {', '.join(missing)}")
    folders = [path.is_dir() for path in paths]
    if all(folders):
        runs = [EvaluatedRun.read(at) for at in _evaluations(paths, evaluation)]
        labels = [run.label for run in runs]
        responses = [[x for x in run.responses if x.sample == 0] for run in runs]
    elif not any(folders):
        if evaluation is not None:
            raise ConfigError("--evaluation is of folders of runs: remove it")
        labels = [path.name for path in paths]
        responses = [_of_file(path, prompt_field) for path in paths]
    else:
        raise ConfigError("give either folders of runs or files, not both")
    if len(set(labels)) < len(labels):
        labels = [str(path) for path in paths]
    if len(set(labels)) < len(labels):
        raise ConfigError("one run is given twice: give different ones")
    return dict(zip(labels, responses, strict=True))


def _evaluations(
    folders: Sequence[pathlib.Path], name: str | None
) -> list[pathlib.Path]:
    """Where each is: a reference's may lie within a run's, and is given itself."""
    runs = [folder for folder in folders if not (folder / EVALUATION).is_file()]
    found = iter(shared_folders(runs, name) if runs else ())
    return [next(found) if folder in runs else folder for folder in folders]


def _of_file(path: pathlib.Path, prompt_field: str) -> list[SampledResponse]:
    """Records are matched by their prompts and, of equal ones, by their number."""
    found, seen = [], collections.Counter()
    for record in read_records(str(path)):
        if record.problem is not None:
            raise DataError(f"{record.identity}: {record.problem.message}")
        prompt, response = _texts(record.identity, record.fields, prompt_field)
        seen[prompt] += 1
        text = f"{seen[prompt]} {prompt}".encode("utf-8", "surrogatepass")
        prompt_id = hashlib.sha256(text).hexdigest()[:16]
        found.append(response_alone(prompt_id, prompt, response))
    if not found:
        raise DataError(f"{path} holds no records")
    return found


def response_alone(prompt_id: str, prompt: str, response: str) -> SampledResponse:
    """A response of which the text is all that is known."""
    return SampledResponse(
        prompt_id, 0, prompt, response, tokens=0, cut=False, logprob=None
    )


def _texts(where: str, record: Mapping[str, Any], prompt_field: str) -> tuple[str, str]:
    if prompt_field not in record:
        names = ", ".join(itertools.islice(record, 8))
        raise DataError(
            f"{where} has no field '{prompt_field}' (it has {names}): say by "
            "--prompt_field which is the prompt"
        )
    prompt = record[prompt_field]
    if not isinstance(prompt, str):
        prompt = json.dumps(prompt, ensure_ascii=False)  # a conversation
    return prompt, _response(where, record)


def _response(where: str, record: Mapping[str, Any]) -> str:
    """The first of `responses`, as `generate` writes them, or else `response`."""
    found = record.get("responses", record.get("response"))
    if isinstance(found, list):
        found = found[0] if found else None
    if isinstance(found, dict):
        found = found.get("response")
    if not isinstance(found, str):
        raise DataError(
            f"{where} holds no response: `dro-jax generate` writes them as `responses`"
        )
    return found
