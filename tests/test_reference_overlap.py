import sys

import numpy as np
import pytest

from dro_jax.errors import ConfigError
from dro_jax.reference_overlap import bleu_statistics, corpus_bleu, rouge_l

RESPONSES = [
    "The cat sat on the mat.",
    "It's raining today, again",
    "",
    "Guten Tag zusammen",
]
REFERENCES = [
    ["A cat sat on the mat.", "The cat is on the mat!"],
    ["It is raining again today"],
    ["nothing"],
    ["Guten Morgen zusammen", "Hallo"],
]


def totals(found, there, length, reference):
    return np.array([[*found, *there, length, reference]], float)


def test_bleu_by_hand():
    # 4/5, 2/4, 1/3, 1/2; 5 tokens against 6.
    sums = totals([4, 2, 1, 1], [5, 4, 3, 2], 5, 6)
    expected = 100 * np.exp(1 - 6 / 5) * (4 / 5 * 2 / 4 * 1 / 3 * 1 / 2) ** 0.25
    np.testing.assert_allclose(corpus_bleu(sums), [expected])


def test_smoothing_halves_each_time():
    # sacrebleu 2.6.0: corpus_score of "a b c d" against "a c b d e", and of "a b c d e"
    # against "a b x d e f": 4 of 4, then 1/2 of 3, 1/4 of 2, 1/8 of 1; and 4 of 5, 2 of
    # 4, 1/2 of 3, 1/4 of 2.
    sums = np.concatenate(
        [
            totals([4, 0, 0, 0], [4, 3, 2, 1], 4, 5),
            totals([4, 2, 0, 0], [5, 4, 3, 2], 5, 6),
        ]
    )
    np.testing.assert_allclose(
        corpus_bleu(sums), [17.593148699905946, 24.736929544091932], rtol=1e-12
    )


def test_nothing_found_and_too_short_are_zero():
    sums = np.concatenate(
        [totals([0] * 4, [5, 4, 3, 2], 5, 5), totals([3, 2, 1, 0], [3, 2, 1, 0], 3, 3),
         totals([0] * 4, [0] * 4, 0, 4)]
    )  # fmt: skip
    assert corpus_bleu(sums).tolist() == [0.0, 0.0, 0.0]


def test_bleu_is_sacrebleus():
    bleu = pytest.importorskip("sacrebleu.metrics.bleu")
    sums = bleu_statistics(RESPONSES, REFERENCES)
    assert sums.shape == (4, 10)
    found = corpus_bleu(sums.sum(0, keepdims=True))[0]
    assert found == pytest.approx(51.08094274089757, rel=1e-12)  # sacrebleu 2.6.0
    columns = [[r[n] if n < len(r) else None for r in REFERENCES] for n in range(2)]
    theirs = bleu.BLEU().corpus_score(RESPONSES, columns).score
    assert found == pytest.approx(theirs, rel=1e-12)
    # Resamples are corpora of their own.
    drawn = bleu.BLEU().corpus_score(
        [RESPONSES[n] for n in (0, 0, 1)], [[c[n] for n in (0, 0, 1)] for c in columns]
    )
    again = corpus_bleu((2 * sums[0] + sums[1])[None])[0]
    assert again == pytest.approx(drawn.score, rel=1e-12)


def test_rouge_l_is_rouge_scores():
    pytest.importorskip("rouge_score")
    # rouge-score 0.1.2. By hand: 5 of 6 words both ways; "it raining today" or "again" of
    # it s raining today again and it is raining again today, 3 of 5; 2 of 3.
    np.testing.assert_allclose(
        rouge_l(RESPONSES, REFERENCES), [5 / 6, 3 / 5, 0, 2 / 3], rtol=1e-12
    )


def test_no_responses():
    pytest.importorskip("sacrebleu")
    pytest.importorskip("rouge_score")
    assert bleu_statistics([], []).shape == (0, 10)
    assert rouge_l([], []).shape == (0,)


@pytest.mark.parametrize(
    "metric, package", [(bleu_statistics, "sacrebleu"), (rouge_l, "rouge-score")]
)
def test_a_missing_package_is_named(monkeypatch, metric, package):
    for module in ("sacrebleu.metrics.bleu", "rouge_score.rouge_scorer"):
        monkeypatch.setitem(sys.modules, module, None)  # importing it now fails
    with pytest.raises(ConfigError, match=f"{package} is not .*dro-jax.metrics"):
        metric(RESPONSES, REFERENCES)
