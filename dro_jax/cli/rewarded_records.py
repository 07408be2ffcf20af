"""Records with responses to score, and what they become with their scores."""

import dataclasses
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from dro_jax.cli.result_fields import ResultFields
from dro_jax.data.raw_records import read_texts
from dro_jax.data.record_format import RecordFormat
from dro_jax.data.records import RawRecord
from dro_jax.errors import DataError
from dro_jax.rewards.interface import Scores

REWARD, REWARDS, PARTS = "reward", "rewards", "reward_parts"
_RESPONSES = "responses"


@dataclasses.dataclass(frozen=True)
class Rewarded:
    """The records of a file, one response after another.

    Attributes:
      records: as they stand there.
      prompts, responses: the texts to score, N in all.
      counts: how many of these each record has; None, it has one, in a field of its own.
    """

    records: Sequence[RawRecord]
    prompts: Sequence[str]
    responses: Sequence[str]
    counts: Sequence[int | None]

    @classmethod
    def of(cls, records: Sequence[RawRecord], record_format: RecordFormat):
        """Reads their texts.

        Raises:
          DataError: a record has neither a response nor a list of them.
        """
        prompts, responses, counts = [], [], []
        for raw in records:
            listed = _listed(raw, record_format)
            prompt, response = read_texts(record_format, raw, responses=listed is None)
            own = [response] if listed is None else listed
            prompts += [prompt] * len(own)
            responses += own
            counts.append(None if listed is None else len(own))
        return cls(records, prompts, responses, counts)

    def with_scores(
        self, scores: Mapping[str, Scores], fields: ResultFields
    ) -> Iterator[dict[str, Any]]:
        """The records with rewards; of lists, each of their entries.

        Args:
          scores: of all responses by the reward's name, the first the one that counts.
          fields: the names of what is added.
        """
        row = 0
        for raw, count in zip(self.records, self.counts, strict=True):
            if count is None:
                yield fields.added_to(raw.fields, _values(scores, row))
                row += 1
                continue
            entries = [
                fields.added_to(entry, _values(scores, row + n))
                for n, entry in enumerate(raw.fields[_RESPONSES])
            ]
            yield {**raw.fields, _RESPONSES: entries}
            row += count


def _listed(raw: RawRecord, record_format: RecordFormat) -> list[str] | None:
    """The texts of `responses`, where a record has these and no other response."""
    fields = raw.fields
    if fields is None or _RESPONSES not in fields:
        return None
    if record_format.response_field in fields:
        return None
    entries = fields[_RESPONSES]
    whole = isinstance(entries, list) and all(
        isinstance(entry, dict) and isinstance(entry.get("response"), str)
        for entry in entries
    )
    if not whole:
        raise DataError(
            f"{raw.identity} has {_RESPONSES!r}, which are not as `dro-jax generate` "
            'writes them: [{"response": "…"}, …]. Name another field by '
            "--response_field"
        )
    return [entry["response"] for entry in entries]


def _values(scores: Mapping[str, Scores], row: int) -> dict[str, Any]:
    totals = {name: float(found.total[row]) for name, found in scores.items()}
    parts = {
        name: {part: float(numbers[row]) for part, numbers in found.parts.items()}
        for name, found in scores.items()
        if found.parts
    }
    values = {REWARD: next(iter(totals.values())), REWARDS: totals}
    return values | ({PARTS: parts} if parts else {})
