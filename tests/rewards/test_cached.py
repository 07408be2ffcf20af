import dataclasses

import numpy as np
import pytest

from dro_jax.errors import ConfigError, DataError
from dro_jax.rewards import CachedReward, Distinctness, Length, Scores, WeightedSum
from dro_jax.rewards.cached import _opened, score_gradually
from dro_jax.rewards.score_cache import ScoreCache


@dataclasses.dataclass
class Counting:
    """A reward that tells what it was asked."""

    fingerprint: str = "counting"
    name: str = "counting"
    asked: list = dataclasses.field(default_factory=list)
    fails_at: str = ""

    def __call__(self, prompts, responses):
        if self.fails_at in responses:
            raise KeyboardInterrupt
        self.asked.append(list(zip(prompts, responses, strict=True)))
        lengths = np.array([len(p + r) / 3 for p, r in self.asked[-1]], np.float64)
        return Scores(lengths, {"half": lengths / 2})


PROMPTS = ["p", "p", "q", "p", "p"]
RESPONSES = ["one", "three", "one", "one", "five"]


def test_no_pair_is_asked_for_twice_and_scores_are_exact(tmp_path):
    dear = Counting()
    cached = CachedReward(dear, tmp_path, batch_size=2)
    assert (cached.name, cached.fingerprint) == ("counting", "counting")
    plain = Counting()(PROMPTS, RESPONSES)
    for _ in range(2):
        found = cached(PROMPTS, RESPONSES)
        assert found.total.tolist() == plain.total.tolist()
        assert found.parts["half"].tolist() == plain.parts["half"].tolist()
    assert dear.asked == [
        [("p", "one"), ("p", "three")],
        [("q", "one"), ("p", "five")],
    ]
    assert cached([], []).total.shape == (0,)


def test_a_process_reads_a_cache_once_and_writes_one_file(tmp_path, monkeypatch):
    reads = []
    take = ScoreCache._take
    monkeypatch.setattr(
        ScoreCache, "_take", lambda cache, line: (reads.append(line), take(cache, line))
    )
    parts = WeightedSum([CachedReward(Counting("read once"), tmp_path)], [2.0])
    prompts, responses = ["p"] * 40, [str(n) for n in range(40)]
    for _ in range(2):
        score_gradually(parts, prompts, responses, batch_size=4)
    (folder,) = tmp_path.iterdir()
    assert len(list(folder.iterdir())) == 1
    # Its own lines, each seen once more where something was missing beside.
    assert len(reads) <= 40
    _opened.cache_clear()  # as another process has it
    again = Counting("read once")
    CachedReward(again, tmp_path)(prompts, responses)
    assert again.asked == []


def test_what_was_scored_before_it_ended_is_kept(tmp_path):
    dear = Counting(fails_at="five")
    with pytest.raises(KeyboardInterrupt):
        CachedReward(dear, tmp_path, batch_size=1)(PROMPTS, RESPONSES)
    _opened.cache_clear()  # as another process has it
    again = Counting()
    CachedReward(again, tmp_path)(PROMPTS, RESPONSES)
    assert again.asked == [[("p", "five")]]


def test_another_scorer_is_asked_anew(tmp_path):
    CachedReward(Counting(), tmp_path)(PROMPTS, RESPONSES)
    other = Counting(fingerprint="other weights")
    CachedReward(other, tmp_path)(PROMPTS, RESPONSES)
    assert len(other.asked) == 1


def test_parts_that_differ_are_refused(tmp_path):
    class Changing(Counting):
        def __call__(self, prompts, responses):
            part = np.ones(len(responses))
            return Scores(part, {responses[0]: part})

    with pytest.raises(DataError, match="parts one .* and three"):
        CachedReward(Changing(), tmp_path, batch_size=1)(PROMPTS, RESPONSES)


def test_a_reward_that_looks_at_other_responses_is_not_cached():
    for reward in (Distinctness(), WeightedSum([Length(), Distinctness()], [1, 1])):
        with pytest.raises(ConfigError, match="name a corpus"):
            CachedReward(reward)
    CachedReward(WeightedSum([Length(), Distinctness("log.jsonl")], [1, 1]))
