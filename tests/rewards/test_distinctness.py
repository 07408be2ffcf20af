import json

import pytest

from dro_jax.errors import DataError
from dro_jax.rewards import Distinctness

CORPUS = [
    "The parcel is late, sorry!",
    "I am sorry that the parcel is late.",
    "Please see the café's menu; 42 items.",
    "ok",
    "The THE the late_late",
]
RESPONSES = [
    "The parcel is very late",
    "sorry sorry parcel late the menu items please café",
    "ok",
    "unknown words alone here",
    "",
    "I a",
    "The parcel the parcel is late and the menu 42 items see",
]
# scikit-learn 1.9.1: CountVectorizer(), TfidfTransformer(smooth_idf=True) fitted to
# CORPUS; the mean of a row's non-zero numbers, times nnz/10 where nnz < 5.
GOLDEN = [
    0.19803288829689036,
    0.3395987900245845,
    0.1,
    0.0,
    0.0,
    0.0,
    0.33977863110361184,
]


@pytest.fixture
def corpus(tmp_path):
    path = tmp_path / "log.jsonl"
    path.write_text("".join(json.dumps({"response": t}) + "\n" for t in CORPUS))
    return str(path)


def test_is_the_mean_tf_idf_of_scikit_learn(corpus):
    found = Distinctness(corpus)([""] * len(RESPONSES), RESPONSES)
    assert found.total.tolist() == pytest.approx(GOLDEN, rel=1e-12)


def test_without_a_corpus_the_responses_are_it(corpus):
    prompts = [""] * len(CORPUS)
    own = Distinctness()(prompts, CORPUS).total
    assert own.tolist() == Distinctness(corpus)(prompts, CORPUS).total.tolist()
    assert Distinctness()([], []).total.shape == (0,)


def test_the_corpus_tells_fingerprints_apart(corpus, tmp_path):
    other = tmp_path / "other.jsonl"
    other.write_text('{"response": "ok", "text": "ok"}\n')
    found = Distinctness(str(other)).fingerprint
    assert found != Distinctness(corpus).fingerprint != Distinctness().fingerprint
    assert found == Distinctness(str(other), field="text").fingerprint


def test_a_record_without_the_text_is_named(tmp_path):
    path = tmp_path / "log.jsonl"
    path.write_text('{"response": "ok"}\n{"reply": "ok"}\n')
    with pytest.raises(DataError, match="log.jsonl line 2 has no text 'response'"):
        Distinctness(str(path))(["p"], ["r"])


def test_the_corpus_may_be_in_any_layout(tmp_path, corpus):
    path = tmp_path / "raw.json"
    rows = [{"instruction": "a", "completions": [{"response": t}]} for t in CORPUS]
    path.write_text(json.dumps(rows))
    found = Distinctness(str(path), layout="ultrafeedback")
    assert found.fingerprint == Distinctness(corpus).fingerprint
    assert found([""] * len(RESPONSES), RESPONSES).total.tolist() == pytest.approx(
        GOLDEN
    )
