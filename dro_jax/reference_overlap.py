"""How near responses are to what was logged for their prompts: BLEU and ROUGE-L."""

from collections.abc import Sequence

import numpy as np

from dro_jax.errors import ConfigError

MISSING = (
    "the package {package} is not installed, which computes it: "
    "pip install 'dro-jax[metrics]'"
)
BLEU_ORDER = 4


def bleu_statistics(
    responses: Sequence[str], references: Sequence[Sequence[str]]
) -> np.ndarray:
    """What corpus BLEU is made of, for each response, by sacrebleu.

    Source: Post 2018, "A Call for Clarity in Reporting BLEU Scores",
    https://arxiv.org/abs/1804.08771: tokens of `13a`, case kept.

    Args:
      responses: N texts.
      references: of each, one or more.

    Returns:
      ``[N, 10]``: n-grams found in a reference, n = 1 to 4; n-grams there are; the
      response's length; that of the reference nearest in length, in sacrebleu's tokens.

    Raises:
      ConfigError: sacrebleu is not installed.
    """
    try:
        from sacrebleu.metrics.bleu import BLEU
    except ImportError as error:
        raise ConfigError(MISSING.format(package="sacrebleu")) from error
    # Effective order says that single sentences are meant; counts are the same.
    metric = BLEU(effective_order=True)
    scores = (
        metric.sentence_score(text, list(logged))
        for text, logged in zip(responses, references, strict=True)
    )
    rows = [[*s.counts, *s.totals, s.sys_len, s.ref_len] for s in scores]
    return np.array(rows, np.float64).reshape(len(rows), 2 * BLEU_ORDER + 2)


def corpus_bleu(totals: np.ndarray) -> np.ndarray:
    """BLEU of whole corpora, from 0 to 100, as sacrebleu's default prints it.

    With m_n n-grams found of t_n, lengths c and r::

        BLEU = 100 · min(1, exp(1 - r/c)) · (Π_{n=1..4} m_n/t_n)^(1/4)

    Where m_n is 0, 1/2 is taken for it, and half of what was last taken each time again
    (smoothing `exp`); where nothing was found, or no text has four tokens, it is 0.

    Source: Papineni et al. 2002, https://aclanthology.org/P02-1040; smoothing of Chen
    and Cherry 2014, https://aclanthology.org/W14-3346, method 3.

    Args:
      totals: ``[R, 10]`` sums of :func:`bleu_statistics`.

    Returns:
      ``[R]``.
    """
    found, there = totals[:, :BLEU_ORDER], totals[:, BLEU_ORDER:-2]
    length, reference = totals[:, -2], totals[:, -1]
    taken = np.where(found > 0, found, 0.5 ** np.cumsum(found == 0, axis=1))
    logs = np.log(taken / np.maximum(there, 1)).mean(1)
    brevity = np.minimum(1 - reference / np.maximum(length, 1), 0)
    whole = found.any(1) & there.all(1)
    return np.where(whole, 100 * np.exp(brevity + logs), 0.0)


def rouge_l(
    responses: Sequence[str], references: Sequence[Sequence[str]]
) -> np.ndarray:
    """F-measure of the longest common subsequence with the best reference, by rouge-score.

    With L words in common of c and r words, P = L/c and R = L/r: F = 2PR/(P + R). Words
    are runs of a to z and 0 to 9 in lower case, so that other scripts have none; no stems.

    Source: Lin 2004, "ROUGE", https://aclanthology.org/W04-1013.

    Args:
      responses: N texts.
      references: of each, one or more.

    Returns:
      ``[N]`` in [0, 1].

    Raises:
      ConfigError: rouge-score is not installed.
    """
    try:
        from rouge_score.rouge_scorer import RougeScorer
    except ImportError as error:
        raise ConfigError(MISSING.format(package="rouge-score")) from error
    scorer = RougeScorer(["rougeL"])
    return np.array(
        [
            scorer.score_multi(list(logged), text)["rougeL"].fmeasure
            for text, logged in zip(responses, references, strict=True)
        ],
        np.float64,
    )
