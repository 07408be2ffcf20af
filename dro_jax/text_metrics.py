"""Statistics of generated text: diversity and length.

Plain Python and NumPy. Words are what ``str.split`` yields: runs of characters without
white space, case and punctuation kept.
"""

from collections.abc import Sequence

import numpy as np


def distinct_n(texts: Sequence[str], n: int) -> float:
    """Share of the n-grams of a set of texts that differ from each other.

    distinct-n = |set of all n-grams| / |all n-grams|, counted over the whole set, so
    that texts which repeat each other lower it; no n-gram spans two texts. It falls as
    the set grows: compare sets of equal size only.

    Source: Li et al. 2016, "A Diversity-Promoting Objective Function for Neural
    Conversation Models", https://arxiv.org/abs/1510.03055 (distinct-1, distinct-2).

    Args:
      texts: the responses.
      n: words in an n-gram, at least 1.

    Returns:
      A number in (0, 1], or 0.0 where no text has n words.

    Raises:
      ValueError: ``n`` is below 1.
    """
    if n < 1:
        raise ValueError(f"distinct_n needs n >= 1, got {n}")
    ngrams = [
        tuple(words[start : start + n])
        for words in (text.split() for text in texts)
        for start in range(len(words) - n + 1)
    ]
    return len(set(ngrams)) / len(ngrams) if ngrams else 0.0


def mean_length(texts: Sequence[str]) -> float:
    """Mean number of words a text; 0.0 for no texts, and an empty text counts as 0."""
    return float(np.mean([len(text.split()) for text in texts])) if texts else 0.0
