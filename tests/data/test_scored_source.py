"""Records whose reward is computed as they are read."""

import dataclasses

import numpy as np
import pytest
from split_texts import responses_of

from dro_jax.errors import ConfigError, DataError
from dro_jax.rewards import Distinctness, Length, Scores


@dataclasses.dataclass
class Keeping:
    """A length of prompt and response that remembers what it was asked."""

    name: str = "keeping"
    fingerprint: str = "keeping"
    asked: list = dataclasses.field(default_factory=list)

    def __call__(self, prompts, responses):
        self.asked += list(zip(prompts, responses, strict=True))
        return Scores(np.array([len(p + r) for p, r in self.asked[-len(prompts) :]]))


ROWS = [
    {"q": "ab", "a": "c", "reward": 99.0},
    {"q": "ab", "a": ""},
    b"no json",
    {"q": "abc", "a": "de"},
]


def test_records_have_the_scores_of_their_texts_as_rewards(register):
    task = register(
        ROWS,
        prompt_field="q",
        response_field="a",
        prompt_template="Q: {prompt}",
        on_bad_record="drop",
        scored_by=(scorer := Keeping()),
    )
    records = task.records("train")
    assert scorer.asked == [("Q: ab", "c"), ("Q: abc", "de")]
    assert list(records.rewards) == [6.0, 8.0]  # and not the 99 that the file holds
    assert list(responses_of(records)) == ["c", "de"]
    assert records.report.reasons() == {"empty_response": 1, "not_json": 1}
    assert "scored by keeping" in str(task.source)


def test_a_bad_record_stops_the_run_where_it_must(register):
    task = register(
        ROWS, prompt_field="q", response_field="a", id_field="q", scored_by=Length()
    )
    with pytest.raises(DataError, match=r"line 2 \(q ab\): the response .*empty"):
        task.records("train")


def test_what_was_scored_is_kept_until_the_scorer_is_another(register, monkeypatch):
    rows = [{"prompt": "ab", "response": "c"}]
    asked = []
    for name, fingerprint in (("a", "1"), ("b", "1"), ("c", "2")):
        scorer = Keeping(fingerprint=fingerprint)
        task = register(rows, f"scored_{name}", scored_by=scorer)
        assert list(task.records("train").rewards) == [3.0]
        asked.append(len(scorer.asked))
    assert asked == [1, 0, 1]


def test_many_records_are_scored_a_part_at_a_time(register, monkeypatch):
    monkeypatch.setattr("dro_jax.data.scored_source._AT_ONCE", 2)
    rows = [{"prompt": "p" * n, "response": "r"} for n in range(1, 6)]
    task = register(rows, scored_by=Keeping("parts", "parts"))
    assert list(task.records("train").rewards) == [2.0, 3.0, 4.0, 5.0, 6.0]


@pytest.mark.parametrize(
    ("scorer", "message"),
    [
        ("length", "'length' is no reward"),
        (Distinctness(), "give its Distinctness a corpus"),
    ],
)
def test_what_cannot_score_records_is_refused(register, scorer, message):
    with pytest.raises(ConfigError, match=message):
        register([], scored_by=scorer)
