"""What a source yields, what can be wrong with it, and the account of what was left out."""

import collections
import dataclasses
from collections.abc import Mapping
from typing import Any, NamedTuple

from dro_jax.errors import ConfigError, DataError
from dro_jax.plurals import counted

ERROR = "error"
DROP = "drop"
_NAMED_IN_SUMMARY = 5
# A report names so many dropped records, and counts all: there may be a million.
MOST_LISTED = 10_000
_MOST_SHOWN = 80
# What may ail all records of a file, so that correcting or dropping one is no remedy.
_OF_ALL_RECORDS = {
    "missing_field": (
        "If all records are so, name the fields as the file does (prompt_field, "
        "response_field, reward_field) or the layout that it has. "
    ),
}


class RecordProblem(Exception):
    """Why one record cannot be used.

    Args:
      reason: a short key that records of the same kind share, as `empty_response`.
      message: the sentence a person reads, without the record's identity.
    """

    def __init__(self, reason: str, message: str):
        super().__init__(message)
        self.reason = reason
        self.message = message


class Cell(str):
    """A cell of a table without types: a text, and a number where one is asked for."""

    __slots__ = ()

    def value(self) -> float | str | None:
        """The number that the cell holds; None where it is empty; else its text."""
        if not self.strip():
            return None
        try:
            return float(self)
        except ValueError:
            return str(self)


class RawRecord(NamedTuple):
    """One record as its source holds it.

    Attributes:
      identity: where it is, in a person's words: `train.jsonl.gz line 17`.
      fields: field name to value; None where it could not be read.
      problem: why it could not be read; None otherwise.
    """

    identity: str
    fields: Mapping[str, Any] | None = None
    problem: RecordProblem | None = None


class DerivedFields(dict[str, Any]):
    """Fields of one trajectory out of a stored object that holds several.

    Attributes:
      names: where a field comes from in the object, `{"response": "chosen"}`, for
        messages about it.
      stored: the names of the object's own fields.
    """

    def __init__(
        self,
        fields: Mapping[str, Any],
        names: Mapping[str, str],
        stored: Mapping[str, Any],
    ):
        super().__init__(fields)
        self.names = dict(names)
        self.stored = tuple(stored)


def name_in_file(fields: Mapping[str, Any], name: str) -> str:
    """What a field is called in the file that a record is from."""
    return fields.names.get(name, name) if isinstance(fields, DerivedFields) else name


def names_in_file(fields: Mapping[str, Any]) -> tuple[str, ...]:
    """The names of the fields that the file has for a record, in alphabetical order."""
    stored = fields.stored if isinstance(fields, DerivedFields) else fields
    return tuple(sorted(stored))


def missing_field(fields: Mapping[str, Any], name: str) -> RecordProblem:
    """The problem of a record without a field, in the names of the file."""
    stored = ", ".join(f"'{shown(field)}'" for field in names_in_file(fields)[:12])
    return RecordProblem(
        "missing_field",
        f"field '{name_in_file(fields, name)}' is missing; the record has "
        f"{stored or 'none'}",
    )


@dataclasses.dataclass(frozen=True)
class DroppedRecord:
    """A record that was left out, and why."""

    identity: str
    reason: str
    message: str


@dataclasses.dataclass(frozen=True)
class RecordReport:
    """The account of one pass over a split.

    Attributes:
      split: its name.
      num_read: records read, bad ones included.
      dropped: the first `MOST_LISTED` records left out, in their order.
      counts: how many were left out for each reason; None, those of `dropped`.
    """

    split: str
    num_read: int
    dropped: tuple[DroppedRecord, ...] = ()
    counts: Mapping[str, int] | None = None

    @property
    def num_kept(self) -> int:
        """Records that can be trained on."""
        return self.num_read - self.num_dropped

    @property
    def num_dropped(self) -> int:
        """Records left out."""
        return sum(self.reasons().values())

    def reasons(self) -> dict[str, int]:
        """How many records were left out for each reason, most frequent first."""
        counts = self.counts
        if counts is None:
            counts = collections.Counter(record.reason for record in self.dropped)
        return dict(collections.Counter(counts).most_common())

    def summary(self) -> str:
        """One sentence, naming the first few records that were left out."""
        total = f"split '{self.split}': {counted(self.num_read, 'record')} read"
        if not self.dropped:
            return f"{total}, none dropped"
        named = "; ".join(
            f"{record.identity}: {record.message}"
            for record in self.dropped[:_NAMED_IN_SUMMARY]
        )
        more = self.num_dropped - _NAMED_IN_SUMMARY
        rest = f"; and {more:,} more" if more > 0 else ""
        return f"{total}, {self.num_dropped:,} dropped ({named}{rest})"

    def to_json(self) -> dict[str, Any]:
        """The same as values that JSON holds."""
        return {
            "split": self.split,
            "num_read": self.num_read,
            "num_kept": self.num_kept,
            "dropped_by_reason": self.reasons(),
            "dropped": [dataclasses.asdict(record) for record in self.dropped],
        }


class BadRecords:
    """The policy for bad records, `error` or `drop`, and what it has left out.

    Args:
      policy: `error` stops at the first bad record, `drop` leaves it out and counts it.
      task: the task's name, for messages.

    Attributes:
      dropped: the first `MOST_LISTED` records left out.
      reasons: how many were left out for each reason.

    Raises:
      ConfigError: an unknown policy.
    """

    def __init__(self, policy: str, task: str):
        self._drop = check_policy(policy) == DROP
        self._task = task
        self.dropped: list[DroppedRecord] = []
        self.reasons: collections.Counter[str] = collections.Counter()

    def handle(self, identity: str, problem: RecordProblem) -> None:
        """Notes the record, or raises.

        Raises:
          DataError: the policy is `error`.
        """
        if not self._drop:
            raise DataError(
                f"{identity}: {problem.message}. {_OF_ALL_RECORDS.get(problem.reason, '')}"
                f"Correct the record, or register task '{self._task}' with "
                "on_bad_record='drop' (in gin_configs/tasks/jsonl.gin: ON_BAD_RECORD) to "
                "leave such records out and have them counted and listed"
            ) from problem
        self.reasons[problem.reason] += 1
        if len(self.dropped) < MOST_LISTED:
            dropped = DroppedRecord(identity, problem.reason, problem.message)
            self.dropped.append(dropped)


def shown(value: Any) -> str:
    """A value as messages and files can hold it: valid Unicode, and not too long."""
    text = str(value)
    cut = text if len(text) <= _MOST_SHOWN else f"{text[:_MOST_SHOWN]}…"
    return cut.encode("utf-8", "backslashreplace").decode("utf-8")


def check_policy(policy: str) -> str:
    """The policy itself, if there is one of that name.

    Raises:
      ConfigError: otherwise.
    """
    if policy not in (ERROR, DROP):
        raise ConfigError(
            f"on_bad_record = {policy!r} is unknown: use 'error', which stops at the "
            "first bad record, or 'drop', which leaves bad records out and lists them"
        )
    return policy
