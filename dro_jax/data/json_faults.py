"""Mistakes of a whole file of JSON, told apart from one bad line."""

import ast
import json
import re
from typing import Any

from dro_jax.errors import DataError

_LINES_LOOKED_AT = 50
_END_TO_END, _COMMA, _PYTHON, _LIST = "end to end", "comma", "python", "list"
_REMEDIES = {
    _END_TO_END: (
        "JSON objects end to end, without line ends between them: put one object on each "
        "line, as 'jq -c . OLD > NEW' does"
    ),
    _COMMA: (
        "lines of JSON objects with a comma after each: take the commas away, or make it "
        "a JSON array with '[' before and ']' after them"
    ),
    _PYTHON: (
        "Python dictionaries, not JSON: write each by json.dumps(record), one a line"
    ),
    _LIST: (
        "a JSON list on each line, not an object: give each value its name, as "
        '{"prompt": …, "response": …, "reward": …}'
    ),
}
# Names under which tools put the list of records inside one object.
_LIST_NAMES = frozenset(
    ("data", "rows", "records", "examples", "items", "instances", "entries", "results")
    + ("samples", "train", "validation", "test")
)
_LIST_INSIDE = re.compile(
    rb'\{[^\[{]*?"(' + "|".join(sorted(_LIST_NAMES)).encode() + rb')"\s*:\s*\[\s*\{'
)
_LONGEST_PYTHON = 100_000


def is_array(text: bytes, whole: bool) -> bool:
    """Whether a text is one JSON array, rather than lines of which the first is a list.

    Args:
      text: the beginning, from its first character.
      whole: whether that is all.
    """
    if not text.startswith(b"["):
        return False
    line, _, rest = text.partition(b"\n")
    if rest.strip() and _is_json(line):
        return False
    inside = text[1:].lstrip()
    if inside.startswith((b"{", b"]")) or not inside:
        return True
    return _is_json(text) if whole else not rest


def holds_objects(text: bytes, whole: bool) -> bool:
    """Whether one of the first lines is a JSON object."""
    return any(_fault(line) is None for line in _lines(text, whole))


def check_lines(path: str, text: bytes, whole: bool) -> None:
    """Refuses what is not lines of JSON as a whole.

    Args:
      path: for the error.
      text: the beginning, from its first character.
      whole: whether that is all.

    Raises:
      DataError: it is another arrangement of objects, which is named.
    """
    lines = _lines(text, whole)
    faults = [_fault(line) for line in lines]
    if faults and faults[0] is None:
        if whole and len(lines) == 1:
            _check_one_object(path, json.loads(lines[0]))
        return
    if not whole and (inside := _LIST_INSIDE.match(text)):
        raise _inside(path, inside[1].decode())
    if text.startswith(b"{") and _is_spread(text, whole, faults):
        one = _first_object(text)
        if one is not None and whole and not one[1].strip():
            _check_one_object(path, one[0])
        raise DataError(
            f"{path} holds JSON objects spread over several lines: put one object on "
            "each line, as 'jq -c . OLD > NEW' does, or make it a JSON array"
        )
    if faults and faults[0] in _REMEDIES and 2 * faults.count(faults[0]) >= len(faults):
        raise DataError(f"{path} holds {_REMEDIES[faults[0]]}")


def _check_one_object(path: str, one: dict[str, Any]) -> None:
    """Refuses a file that is one object with the records inside."""
    for name, value in one.items():
        if name in _LIST_NAMES and _are_objects(value):
            raise _inside(path, name)
    values = list(one.values())
    if len(values) > 1 and (
        all(isinstance(value, dict) and "0" in value for value in values)
        or _are_columns(values)
    ):
        raise DataError(
            f"{path} is one JSON object of columns, not of records: write one object a "
            "row, as pandas does by to_json(orient='records', lines=True)"
        )


def _inside(path: str, name: str) -> DataError:
    return DataError(
        f"{path} is one JSON object with its records in the field '{name}': take them "
        f"out, as 'jq -c .{name}[] OLD > NEW' does, or json.load(file)['{name}'] in Python"
    )


def _are_objects(value: Any) -> bool:
    return (
        isinstance(value, list)
        and bool(value)
        and all(isinstance(item, dict) for item in value)
    )


def _are_columns(values: list[Any]) -> bool:
    return (
        all(value and isinstance(value, list) for value in values)
        and len(set(map(len, values))) == 1
        and not any(isinstance(item, list) for value in values for item in value)
    )


def _is_spread(text: bytes, whole: bool, faults: list[str | None]) -> bool:
    """Whether the first object goes on beyond its line."""
    if first := _first_object(text):
        _, rest = first
        return b"\n" in text[: len(text) - len(rest)]
    return not whole and len(faults) > 1 and None not in faults and faults[0] == "cut"


def _first_object(text: bytes) -> tuple[Any, bytes] | None:
    """The JSON value that a text begins with, and what follows it."""
    decoded = text.decode("utf-8", "surrogateescape")
    try:
        value, end = json.JSONDecoder().raw_decode(decoded)
    except (ValueError, RecursionError):
        return None
    return value, decoded[end:].encode("utf-8", "surrogateescape")


def _lines(text: bytes, whole: bool) -> list[bytes]:
    """The first lines that are not blank, but for one that is cut off."""
    lines = text.split(b"\n")
    if not whole and len(lines) > 1:
        lines.pop()
    lines = [line.strip() for line in lines]
    return [line for line in lines if line][:_LINES_LOOKED_AT]


def _fault(line: bytes) -> str | None:
    """Why a line is no JSON object; None where it is one."""
    if line.startswith(b"[") and _is_json(line):
        return _LIST
    if not line.startswith(b"{"):
        return "no object"
    found = _first_object(line)
    if found is None:
        return _PYTHON if _is_python(line) else "cut"
    rest = found[1].strip()
    if not rest:
        return None
    if rest == b",":
        return _COMMA
    return _END_TO_END if rest.startswith((b"{", b",{", b", {")) else "more"


def _is_python(line: bytes) -> bool:
    if not line.startswith(b"{'") or len(line) > _LONGEST_PYTHON:
        return False
    try:
        return isinstance(ast.literal_eval(line.decode("utf-8").rstrip(",")), dict)
    except (ValueError, SyntaxError, MemoryError, RecursionError, TypeError):
        return False


def _is_json(text: bytes) -> bool:
    try:
        json.loads(text)
    except (ValueError, RecursionError):
        return False
    return True
