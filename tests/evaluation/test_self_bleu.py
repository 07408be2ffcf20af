import math

import numpy as np
import pytest

from dro_jax.evaluation.self_bleu import self_bleu

LONG = [
    "the cat sat on the mat today",
    "the cat sat on a mat",
    "a dog ran in the park and the cat sat",
    "please open the ticket again",
    "please open the old ticket again now",
]
SHORT = [
    "yes",
    "yes please",
    "no no no",
    "the cat sat on the mat",
    "the cat sat here on the mat",
    "alone word",
]


def test_two_texts_by_hand():
    # "a b c d" has 3 words, 1 pair (a b) and neither triple nor quadruple of "a b d e f":
    # p = 3/4, 1/3, 0.1/2, 0.1/1; 4 words against 5. The other: 3/5, 1/4, 0.1/3, 0.1/2.
    one = math.exp(1 - 5 / 4) * (3 / 4 * 1 / 3 * 0.1 / 2 * 0.1) ** 0.25
    other = (3 / 5 * 1 / 4 * 0.1 / 3 * 0.1 / 2) ** 0.25
    assert self_bleu(["a b c d", "a b d e f"]) == pytest.approx((one + other) / 2)


def test_words_count_no_more_often_than_elsewhere():
    # "a a a" against "a" and "a a": 2 of 3 words, 1 of 2 pairs, 0.1 of 1 triple; the
    # nearest length is 2. "a" and "a a" are found whole; nearest to 2 is 1, not 3.
    three = (2 / 3 * 1 / 2 * 0.1) ** (1 / 3)
    assert self_bleu(["a a a", "a", "a a"]) == pytest.approx(
        (three + math.exp(1 - 2 / 1) + 1) / 3
    )


def test_values_of_nltk():
    # nltk 3.10.4: mean of sentence_bleu(others, text, SmoothingFunction().method1).
    assert self_bleu(LONG) == pytest.approx(0.32306909059881905, rel=1e-12)


def test_values_of_sacrebleu_for_short_texts():
    # sacrebleu 2.6.0: BLEU(tokenize="none", effective_order=True, smooth_method="floor",
    # smooth_value=0.1), mean of sentence_score / 100.
    assert self_bleu(SHORT) == pytest.approx(0.19234497331371117, rel=1e-12)


def test_many_texts_as_sacrebleu_has_them():
    bleu = pytest.importorskip("sacrebleu.metrics.bleu")
    metric = bleu.BLEU(
        tokenize="none", effective_order=True, smooth_method="floor", smooth_value=0.1
    )
    rng = np.random.default_rng(0)
    texts = [
        " ".join(f"w{word}" for word in rng.zipf(1.5, rng.integers(1, 12)).clip(0, 20))
        for _ in range(40)
    ]
    slow = [
        metric.sentence_score(text, texts[:n] + texts[n + 1 :]).score
        for n, text in enumerate(texts)
    ]
    assert self_bleu(texts) == pytest.approx(np.mean(slow) / 100, rel=1e-12)


def test_like_texts_have_one_and_unlike_none():
    assert self_bleu(["a b c d e"] * 3) == pytest.approx(1.0)
    assert self_bleu(["a b", "c d", "e"]) == 0.0


def test_texts_without_words_are_left_out():
    assert self_bleu([*LONG, "", "  \n"]) == self_bleu(LONG)


@pytest.mark.parametrize("texts", [[], ["a b"], ["a b", " "]])
def test_fewer_than_two_texts_have_none(texts):
    assert self_bleu(texts) == 0.0
