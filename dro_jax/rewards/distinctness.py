"""How unusual a response's words are among those of a corpus."""

import collections
import dataclasses
import functools
import hashlib
import math
import re
from collections.abc import Iterable, Mapping, Sequence

import numpy as np

from dro_jax.data.jsonl_source import JsonlSource
from dro_jax.data.layouts import find_layout
from dro_jax.errors import DataError
from dro_jax.rewards.fingerprints import fingerprint
from dro_jax.rewards.interface import Scores

# scikit-learn's words: two letters or digits and more, lower-cased.
_WORD = re.compile(r"\b\w\w+\b")
_FEW = 5
_FULL = 10.0


@dataclasses.dataclass(frozen=True)
class Distinctness:
    """The mean tf-idf of a response's words, as A-LoL rewards diversity.

    Of the words w that the corpus knows, with n documents of which df(w) hold w,

      v(w) = count(w) · (ln((1 + n) / (1 + df(w))) + 1),   reward = mean of v / ‖v‖,

    over the m distinct words of the response, times m/10 where m < 5, since few words
    have large shares of a norm of 1; 0 where none is known. Words are lower-cased runs
    of two letters or digits and more.

    Source: Baheti et al. 2024, arXiv 2305.14718, rewards of the Reddit and
    Wizard-of-Wikipedia tasks, with the numbers of their code
    (https://github.com/abaheti95/LoL-RL, utils/rl_utils.py, `get_batch_tfidf_reward`);
    tf-idf as scikit-learn's CountVectorizer and TfidfTransformer have it.

    Attributes:
      corpus: files of records, as a log's; None, the responses that are scored
        together are the corpus, so that a score depends on those beside it.
      field: of the records, which holds the text of a document.
      layout: what an object of the files holds, a name in `dro_jax.data.layouts`.
      name: what tables call it.

    Raises (when called):
      DataError: the corpus is missing, or a record has no such text.
    """

    corpus: str | None = None
    field: str = "response"
    layout: str = "trajectories"
    name: str = "distinctness"

    @property
    def fingerprint(self) -> str:
        if self.corpus is None:
            return fingerprint("Distinctness", None)
        return fingerprint("Distinctness", self._corpus().digest)

    @property
    def looks_at_others(self) -> bool:
        """Whether a score depends on the other responses of the call."""
        return self.corpus is None

    def __call__(self, prompts: Sequence[str], responses: Sequence[str]) -> Scores:
        if self.corpus is None:
            corpus = _Corpus.of(responses)
        else:
            corpus = self._corpus()
        return Scores(np.array(list(map(corpus.score, responses)), np.float64))

    def _corpus(self) -> "_Corpus":
        return _corpus(self.corpus, self.field, self.layout)


@dataclasses.dataclass(frozen=True)
class _Corpus:
    """Inverse document frequencies, and what tells the corpus from another."""

    idf: Mapping[str, float]
    digest: str

    @classmethod
    def of(cls, documents: Iterable[str]) -> "_Corpus":
        count, holding, digest = 0, collections.Counter(), hashlib.sha256()
        for document in documents:
            count += 1
            holding.update(set(_words(document)))
            text = document.encode("utf-8", "surrogatepass")
            digest.update(b"%d:%b" % (len(text), text))
        idf = {w: math.log((1 + count) / (1 + df)) + 1 for w, df in holding.items()}
        return cls(idf, digest.hexdigest())

    def score(self, response: str) -> float:
        counts = collections.Counter(_words(response))
        values = [n * self.idf[word] for word, n in counts.items() if word in self.idf]
        if not values:
            return 0.0
        # `fsum`: the same whatever the order of the words.
        norm = math.sqrt(math.fsum(value * value for value in values))
        mean = math.fsum(values) / norm / len(values)
        return mean * (len(values) / _FULL if len(values) < _FEW else 1.0)


@functools.lru_cache(maxsize=4)
def _corpus(path: str, field: str, layout: str) -> _Corpus:
    stored = JsonlSource(
        {"corpus": path}, advice="check Distinctness.corpus, in gin files CORPUS"
    )
    source = find_layout(layout).source(stored)

    def texts():
        for record in source.records("corpus"):
            text = record.fields.get(field) if record.problem is None else None
            if not isinstance(text, str):
                raise DataError(
                    f"{record.identity} has no text {field!r}: set Distinctness.field to "
                    "the field that holds the corpus's texts"
                )
            yield text

    return _Corpus.of(texts())


def _words(text: str) -> list[str]:
    return _WORD.findall(text.lower())
