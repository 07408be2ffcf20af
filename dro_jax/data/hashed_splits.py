"""Splits by a hash of prompts, for files that are published as one."""

import hashlib
from collections.abc import Callable, Iterator
from typing import Any

from dro_jax.data.record_source import RecordSource
from dro_jax.data.records import RecordProblem
from dro_jax.data.sources import ExpandedSource
from dro_jax.data.templates import describe_type

Fields = Any
_STORED = "all"


def split_by_text(
    source: RecordSource, text_of: Callable[[Fields], Any], one_in: int
) -> RecordSource:
    """The splits `train` and `validation` of a source's split `all`.

    All records of one text are in one split, the same always and everywhere.

    Args:
      source: of trajectories.
      text_of: the text of a record's fields by which it is told, as its first prompt.
      one_in: of so many texts one is for validation, on the mean.
    """

    def held_out(fields: Fields) -> bool:
        return _is_held_out(text_of(fields), one_in)

    def kept(fields: Fields) -> bool:
        return not held_out(fields)

    return ExpandedSource(
        source, _as_it_is, {"train": (_STORED, kept), "validation": (_STORED, held_out)}
    )


def _is_held_out(text: Any, one_in: int) -> bool:
    if not isinstance(text, str):
        raise RecordProblem(
            "wrong_type", f"the prompt is {describe_type(text)}, not text"
        )
    digest = hashlib.sha256(text.encode("utf-8", "replace")).digest()
    return int.from_bytes(digest[:8]) % one_in == 0


def _as_it_is(fields: Fields) -> Iterator[tuple[str, Fields]]:
    yield "", fields
