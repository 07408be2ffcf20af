"""How much responses of one policy repeat each other."""

from collections.abc import Sequence

import numpy as np

ORDER = 4
SMOOTHING = 0.1
"""What counts for n-grams of an order of which none is found elsewhere."""


def self_bleu(texts: Sequence[str]) -> float:
    """Mean BLEU-4 of each text against all others as its references.

    With p_n the share of a text's n-grams that another text has too (each counted no
    more often than the other text that has it most often), c its length in words and r
    the length of the other text nearest in length, the shorter of two::

        BLEU = min(1, exp(1 - r/c)) · (Π_n p_n)^(1/N),   N = min(4, c)

    Where p_n is 0, 0.1 is taken for the number found; where no word is found, BLEU is 0.
    Texts without words are left out. Exact for the whole set, in time that grows as it
    does. It rises with the set: compare sets of equal size only.

    Source: Zhu et al. 2018, "Texygen: A Benchmarking Platform for Text Generation
    Models", https://arxiv.org/abs/1802.01886, there by nltk with its smoothing method 1;
    of a text with fewer than four words, only the n-grams that it has count, as in
    sacrebleu's `effective_order`.

    Args:
      texts: N responses; words are what ``str.split`` yields.

    Returns:
      A number in [0, 1], 1 where all are the same; 0.0 for fewer than two texts with
      words.
    """
    sentences = [words for words in (text.split() for text in texts) if words]
    if len(sentences) < 2:
        return 0.0
    lengths = np.array([len(words) for words in sentences])
    numbers: dict[str, int] = {}
    words = np.array(
        [numbers.setdefault(w, len(numbers)) for s in sentences for w in s]
    )
    found = _found(words, lengths)  # [ORDER, N]
    total = np.maximum(lengths - np.arange(ORDER)[:, None], 0)
    share = np.where(found > 0, found, SMOOTHING) / np.maximum(total, 1)
    logs = np.where(total > 0, np.log(share), 0).sum(0) / np.minimum(lengths, ORDER)
    brevity = np.minimum(1 - _nearest(lengths) / lengths, 0)
    return float(np.mean(np.where(found[0] > 0, np.exp(brevity + logs), 0)))


def _found(words: np.ndarray, lengths: np.ndarray) -> np.ndarray:
    """``[ORDER, N]`` how many n-grams of each text another has too.

    Args:
      words: ``[W]`` all words of all texts, one after the other, as numbers.
      lengths: ``[N]`` how many are each text's, at least 1.
    """
    text = np.repeat(np.arange(len(lengths)), lengths)
    left = np.repeat(np.cumsum(lengths), lengths) - np.arange(len(words))  # to its end
    gram, found = words, []
    starts = np.arange(len(words))
    for order in range(1, ORDER + 1):
        if order > 1:
            # An n-gram is a shorter one and the word after it.
            longer = left[starts] >= order
            starts, gram = starts[longer], gram[longer]
            pairs = gram * (words.max() + 1) + words[starts + order - 1]
            gram = np.unique(pairs, return_inverse=True)[1]
        found.append(_shared(text[starts], gram, len(lengths)))
    return np.stack(found)


def _shared(text: np.ndarray, gram: np.ndarray, texts: int) -> np.ndarray:
    """``[N]`` how many of each text's n-grams the text that has most of them has too."""
    if not len(gram):
        return np.zeros(texts, int)
    size = gram.max() + 1
    key, count = np.unique(text * size + gram, return_counts=True)
    of_text, gram = np.divmod(key, size)
    rows = np.lexsort((-count, gram))  # an n-gram's texts together, most of it first
    of_text, gram, count = of_text[rows], gram[rows], count[rows]
    first = np.concatenate([[True], gram[1:] != gram[:-1]])
    has_next = np.concatenate([~first[1:], [False]])
    second = np.where(has_next, np.roll(count, -1), 0)
    most = count[first][np.cumsum(first) - 1]
    elsewhere = np.where(first, second, most)
    return np.bincount(of_text, np.minimum(count, elsewhere), texts).astype(int)


def _nearest(lengths: np.ndarray) -> np.ndarray:
    """``[N]`` the length of another text that is nearest, the shorter of two."""
    unique, place, count = np.unique(lengths, return_inverse=True, return_counts=True)
    far = np.iinfo(np.int64).max // 2
    shorter = np.concatenate([[-far], unique[:-1]])
    longer = np.concatenate([unique[1:], [far]])
    other = np.where(unique - shorter <= longer - unique, shorter, longer)
    return np.where(count > 1, unique, other)[place]
