"""A split over the tasks that have it: what is known of it before any batch is made."""

import dataclasses
from collections.abc import Callable, Mapping, Sequence

from dro_jax.data.feedback_source import fingerprint
from dro_jax.data.grouping import Groups
from dro_jax.data.mixtures import tasks_and_rates
from dro_jax.data.prompt_records import prompt_records
from dro_jax.data.record_ids import PromptRecords
from dro_jax.data.split_fingerprint import rewards_digest, split_fingerprint
from dro_jax.data.tasks import FeedbackTask
from dro_jax.errors import DataError


@dataclasses.dataclass(frozen=True)
class SplitTasks:
    """The tasks of a name that have a split.

    Attributes:
      split: the split's name.
      shares: each task with its mixing rate, ordered by the tasks' names.
    """

    split: str
    shares: Sequence[tuple[FeedbackTask, float]]

    @classmethod
    def of(
        cls,
        name: str,
        split: str,
        module: str | Sequence[str] | None,
        *,
        cached: bool,
    ) -> "SplitTasks":
        """Of a task or mixture.

        Args:
          name: the task's or mixture's.
          split: the split's.
          module: modules that register the tasks, as errors name them.
          cached: refuse splits that are not prepared.

        Raises:
          ConfigError: the name is unknown, a task has no feedback or is not prepared.
          DataError: no task has the split.
        """
        every = tasks_and_rates(name, module)
        having = [(task, rate) for task, rate in every if split in task.splits]
        if not having:
            known = sorted({split for task, _ in every for split in task.splits})
            raise DataError(
                f"'{name}' has no split '{split}': its splits are {', '.join(known)}"
            )
        if cached:
            for task, _ in having:
                task.source.check_prepared(split, module)
        return cls(split, having)

    @property
    def tasks(self) -> list[FeedbackTask]:
        """Those tasks."""
        return [task for task, _ in self.shares]

    def num_records(self) -> int:
        """Valid records, over all tasks."""
        return sum(task.num_input_examples(self.split) for task in self.tasks)

    def prompt_records(self) -> PromptRecords:
        """The records by prompt."""
        return prompt_records(self.tasks, self.split)

    def fingerprint(
        self, lengths: Mapping[str, int], *, rewards: bool
    ) -> dict[str, str]:
        """What log-probabilities depend on, and training with `rewards`."""
        found = split_fingerprint(self.tasks, self.split, lengths)
        return found | (rewards_digest(self.tasks, self.split) if rewards else {})

    def facts(
        self,
        lengths: Mapping[str, int],
        groups: Callable[[FeedbackTask], Groups] | None,
    ) -> dict[str, dict]:
        """What a run should keep of its data, by task, as values that JSON holds.

        Args:
          lengths: the most tokens of `inputs` and `targets`.
          groups: of a task; None where records are not grouped.

        Returns:
          For each task `rewards` (figures of this split before and after the
          transform), `records` (how many were read, which were dropped and why) and
          `reading` (the most tokens of each text, and the side that is cut); grouped,
          `groups` too.
        """
        return {
            task.name: {
                "rewards": task.statistics(self.split).to_json(),
                "records": task.record_report(self.split).to_json(),
                "reading": {
                    name: {"length": lengths[name], "cut": side}
                    for name, side in zip(
                        ("inputs", "targets"), task.truncation, strict=True
                    )
                },
                **({} if groups is None else {"groups": groups(task).to_json()}),
            }
            for task in self.tasks
        }


def identity_among(
    tasks: Sequence[FeedbackTask], record_id: Sequence[int], split: str, name: str
) -> str:
    """A record of a batch in a person's words.

    Args:
      tasks: one of which has the record.
      record_id: one pair of a batch's `record_ids`.
      split: the split's name.
      name: of the tasks or their mixture, for the error.

    Raises:
      DataError: no task has such a record.
    """
    for task in tasks:
        if fingerprint(task.name) == int(record_id[0]):
            return task.identity(record_id, split)
    raise DataError(
        f"record id {[int(part) for part in record_id]} belongs to no task of '{name}'"
    )
