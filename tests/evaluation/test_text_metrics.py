import numpy as np
import pytest

from dro_jax.evaluation.text_metrics import (
    bootstrap_mean_interval,
    distinct_n,
    mean_length,
)


def test_distinct_counts_over_the_whole_set():
    # By hand. Words: a b a c | a b -> 6 unigrams, 3 distinct; bigrams ab ba ac | ab ->
    # 4, 3 distinct; trigrams aba bac -> 2 distinct of 2.
    texts = ["a b a c", "a  b\n"]
    assert distinct_n(texts, 1) == 3 / 6
    assert distinct_n(texts, 2) == 3 / 4
    assert distinct_n(texts, 3) == 1.0


def test_no_ngram_spans_two_texts():
    # "b c" would be a second bigram if the texts were joined.
    assert distinct_n(["a b", "c"], 2) == 1.0
    assert distinct_n(["a b", "c a b"], 2) == 2 / 3


def test_words_keep_case_and_punctuation():
    assert distinct_n(["Yes yes yes."], 1) == 1.0


@pytest.mark.parametrize("texts", [[], ["", "  "], ["one", "two"]])
def test_distinct_without_ngrams_is_zero(texts):
    assert distinct_n(texts, 2) == 0.0


@pytest.mark.parametrize("n", [0, -1])
def test_distinct_refuses_n_below_one(n):
    with pytest.raises(ValueError, match="n >= 1"):
        distinct_n(["a b"], n)


def test_mean_length_counts_words():
    # (3 + 1 + 0) / 3.
    assert mean_length(["a b  c", "d", ""]) == pytest.approx(4 / 3)
    assert mean_length([]) == 0.0


def test_bootstrap_of_a_constant_is_that_constant():
    assert bootstrap_mean_interval([0.25] * 7) == (0.25, 0.25)


def test_bootstrap_of_two_values_is_the_binomial_law():
    # The resampled mean of (0, 1) is 0, 1/2, 1 with probability 1/4, 1/2, 1/4, so the
    # central 40% is 1/2 alone and the central 80% reaches both ends.
    assert bootstrap_mean_interval([0.0, 1.0], confidence=0.4) == (0.5, 0.5)
    assert bootstrap_mean_interval([0.0, 1.0], confidence=0.8) == (0.0, 1.0)


def test_bootstrap_agrees_with_the_normal_interval():
    # The central limit theorem: mean +- 1.96 sd / sqrt(N), sd the population one.
    values = np.random.default_rng(0).uniform(size=2000)
    half = 1.96 * values.std() / np.sqrt(values.size)
    low, high = bootstrap_mean_interval(values, num_resamples=4000)
    assert low == pytest.approx(values.mean() - half, abs=0.1 * half)
    assert high == pytest.approx(values.mean() + half, abs=0.1 * half)


def test_bootstrap_depends_on_the_seed_only():
    values = np.linspace(0.0, 1.0, 11) ** 2
    first = bootstrap_mean_interval(values, seed=3)
    assert bootstrap_mean_interval(list(values), seed=3) == first
    assert bootstrap_mean_interval(values, seed=4) != first


@pytest.mark.parametrize("values", [[], [[1.0, 2.0]], [1.0, float("nan")], 1.0])
def test_bootstrap_refuses_unusable_values(values):
    with pytest.raises(ValueError, match="non-empty one-dimensional"):
        bootstrap_mean_interval(values)


@pytest.mark.parametrize(
    "setting", [{"confidence": 0.0}, {"confidence": 1.0}, {"num_resamples": 0}]
)
def test_bootstrap_refuses_unusable_settings(setting):
    with pytest.raises(ValueError, match="confidence"):
        bootstrap_mean_interval([1.0, 2.0], **setting)
