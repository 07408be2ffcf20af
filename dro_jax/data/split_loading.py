"""One pass over a split in plain Python: read, validate, account."""

import dataclasses

import numpy as np

from dro_jax.data.record_format import RecordFormat
from dro_jax.data.records import BadRecords, RecordProblem, RecordReport
from dro_jax.data.sources import RecordSource
from dro_jax.errors import DataError
from dro_jax.messages import note
from dro_jax.plurals import counted


@dataclasses.dataclass(frozen=True, eq=False)
class LoadedSplit:
    """The valid records of a split, in the source's order.

    Attributes:
      prompts: N texts, as the model sees them.
      responses: N texts.
      rewards: ``[N]`` float64, as recorded.
      indices: ``[N]`` int64, ascending: each record's index among all records of the
        split, bad ones included, from 0.
      identities: N names of records, for messages.
      report: how many were read and which were left out.
    """

    prompts: list[str]
    responses: list[str]
    rewards: np.ndarray
    indices: np.ndarray
    identities: list[str]
    report: RecordReport

    def __len__(self) -> int:
        return len(self.prompts)

    def position(self, index: int) -> int:
        """Where the record of that index stands among the valid ones.

        Raises:
          DataError: there is none.
        """
        position = int(np.searchsorted(self.indices, index))
        if position == len(self) or self.indices[position] != index:
            raise DataError(
                f"split '{self.report.split}' has no valid record of index {index}: "
                f"indices run from 0 to {self.report.num_read - 1}, and "
                f"dropped were {counted(self.report.num_dropped, 'record')}"
            )
        return position


def load_split(
    source: RecordSource,
    split: str,
    record_format: RecordFormat,
    *,
    on_bad_record: str,
    task: str,
) -> LoadedSplit:
    """Reads and validates every record of a split.

    Args:
      source: yields the records.
      split: the split's name.
      record_format: how fields become trajectories.
      on_bad_record: `error` or `drop`.
      task: the task's name, for messages.

    Raises:
      DataError: the split is unknown, unreadable or empty, or a record is bad and the
        policy is `error`.
      ConfigError: a template names a field that records do not have.
    """
    bad = BadRecords(on_bad_record, task)
    records, indices, identities = [], [], []
    num_read, templates_checked = 0, False
    for index, raw in enumerate(source.records(split)):
        num_read = index + 1
        identity = record_format.identity(raw.identity, raw.fields)
        if raw.fields is not None and not templates_checked:
            record_format.check_templates(identity, raw.fields)
            templates_checked = True
        try:
            if raw.problem is not None:
                raise raw.problem
            records.append(record_format.parse(raw.fields))
        except RecordProblem as problem:
            bad.handle(identity, problem)
            continue
        indices.append(index)
        identities.append(identity)
    report = RecordReport(split, num_read, tuple(bad.dropped), bad.reasons)
    _check_not_empty(report, source, task)
    if report.dropped:
        note(f"task '{task}', {report.summary()}")
    return LoadedSplit(
        prompts=[record.prompt for record in records],
        responses=[record.response for record in records],
        rewards=np.array([record.reward for record in records], np.float64),
        indices=np.array(indices, np.int64),
        identities=identities,
        report=report,
    )


def _check_not_empty(report: RecordReport, source: RecordSource, task: str) -> None:
    if report.num_kept:
        return
    where = f"task '{task}', split '{report.split}' ({source.description()})"
    if not report.num_read:
        raise DataError(f"{where} holds no records: there is nothing to train on")
    first = report.dropped[0]
    raise DataError(
        f"{where}: all {report.num_read:,} records are bad and were dropped, so nothing "
        f"is left. The first is {first.identity}: {first.message}. Check the field names "
        "and reward_kind of the task"
    )
