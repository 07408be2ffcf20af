"""Records whose reward is computed as they are read, where the files hold none."""

import itertools
from collections.abc import Iterator, Sequence
from typing import Any, Protocol

import numpy as np

from dro_jax.data.record_format import RecordFormat
from dro_jax.data.record_source import Parts, RecordSource
from dro_jax.data.records import DerivedFields, RawRecord, RecordProblem
from dro_jax.data.store.units import Unit
from dro_jax.errors import ConfigError

# Classifiers sort these by length; more would keep other hosts waiting for a sign of life.
_AT_ONCE = 256


class Scorer(Protocol):
    """A reward, as `dro_jax.rewards` has them."""

    name: str
    fingerprint: str

    def __call__(self, prompts: Sequence[str], responses: Sequence[str]) -> Any:
        """Something with `total`, ``[N]`` scores."""
        ...


class ScoredSource(RecordSource):
    """Records with the score of their responses in the reward's field.

    What a file holds in that field makes place for the score. What was scored is kept
    with the prepared split, under the scorer's fingerprint.

    Args:
      source: yields the records.
      record_format: by which prompt and response become the texts that are scored.
      scorer: each response's score must depend on it and its prompt alone.

    Raises:
      ConfigError: the scorer is no reward, or its scores depend on what is beside.
    """

    def __init__(
        self, source: RecordSource, record_format: RecordFormat, scorer: Scorer
    ):
        if not callable(scorer) or not hasattr(scorer, "name"):
            raise ConfigError(
                f"scored_by = {scorer!r:.80} is no reward: give one of dro_jax.rewards, "
                "in gin as @rewards.Classifier()"
            )
        if getattr(scorer, "looks_at_others", False):
            raise ConfigError(
                f"the reward '{scorer.name}' depends on the responses that are scored "
                "together, so it cannot score records as they are read: give its "
                "Distinctness a corpus"
            )
        self._source = source
        self._format = record_format
        self._scorer = scorer

    @property
    def splits(self) -> Sequence[str]:
        return self._source.splits

    def description(self) -> str:
        return f"{self._source.description()}, scored by {self._scorer.name}"

    def records(self, split: str) -> Iterator[RawRecord]:
        return self._scored(self._source.records(split))

    def parts(self, split: str) -> Parts:
        """Those of the source; what records hold depends on the scorer too."""
        units, contents, paths = self._source.parts(split)
        if contents is not None:
            contents = ["scored", contents, self._scorer.fingerprint]
        return Parts(units, contents, paths)

    def unit_records(self, split: str, unit: Unit) -> Iterator[RawRecord]:
        return self._scored(self._source.unit_records(split, unit))

    def _scored(self, records: Iterator[RawRecord]) -> Iterator[RawRecord]:
        records = iter(records)
        while chunk := list(itertools.islice(records, _AT_ONCE)):
            found = [self._texts(raw) for raw in chunk]
            texts = [text for text in found if not isinstance(text, RawRecord)]
            prompts, responses = zip(*texts, strict=True) if texts else ((), ())
            scores = iter(self._scorer(prompts, responses).total if texts else ())
            for raw, text in zip(chunk, found, strict=True):
                if isinstance(text, RawRecord):
                    yield text
                else:
                    yield RawRecord(raw.identity, self._with(raw, next(scores)))

    def _texts(self, raw: RawRecord) -> tuple[str, str] | RawRecord:
        """Prompt and response; the record as a bad one, where it has no such texts."""
        if raw.problem is not None:
            return raw
        try:
            return self._format.prompt(raw.fields), self._format.response(raw.fields)
        except RecordProblem as problem:
            # `id_field` still names it.
            return RawRecord(raw.identity, raw.fields, problem)

    def _with(self, raw: RawRecord, score: np.floating) -> DerivedFields:
        fields = raw.fields
        return DerivedFields(
            {**fields, self._format.reward_field: float(score)},
            getattr(fields, "names", {}),
            getattr(fields, "stored", fields),
        )
