import pytest

from dro_jax.evaluation.text_metrics import distinct_n, mean_length


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
