"""Records of a file as they stand there, for commands that read one."""

import os

from dro_jax.data.jsonl_source import JsonlSource
from dro_jax.data.record_format import RecordFormat
from dro_jax.data.records import RawRecord, RecordProblem
from dro_jax.errors import DataError

_SPLIT = "input"
_STDIN = "-"


def read_raw(path: str | os.PathLike) -> list[RawRecord]:
    """The records of a file, as :class:`JsonlSource` reads it; `-` is standard input.

    Raises:
      DataError: it is missing or empty.
    """
    if os.fspath(path) == _STDIN:
        path = "/dev/stdin"
    records = list(JsonlSource({_SPLIT: path}).records(_SPLIT))
    if not records:
        raise DataError(f"{path} holds no records")
    return records


def read_texts(
    record_format: RecordFormat, raw: RawRecord, *, responses: bool
) -> tuple[str, str]:
    """The prompt and response of a record whose feedback is not needed.

    Args:
      record_format: whose field names and templates apply.
      raw: as a source gives it.
      responses: whether the record must hold a response; if not, it is "".

    Raises:
      DataError: the record cannot be used.
    """
    try:
        if raw.problem is not None:
            raise raw.problem
        prompt = record_format.prompt(raw.fields)
        return prompt, record_format.response(raw.fields) if responses else ""
    except RecordProblem as problem:
        raise DataError(
            f"{raw.identity}: {problem.message}. Correct the record or take it out "
            "of the file"
        ) from problem
