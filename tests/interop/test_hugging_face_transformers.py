"""What is written loads in transformers and computes, decodes and tokenises the same."""

import dataclasses
import importlib.metadata
import pathlib
import shutil

import jax
import numpy as np
import pytest
import sentencepiece
import seqio
from flax.traverse_util import unflatten_dict
from in_transformers import ask, needs

from dro_jax.interop.hugging_face import open_hugging_face, write_hugging_face
from dro_jax.interop.layouts import in_layout
from dro_jax.models.decoding import temperature_sample
from dro_jax.models.t5 import T5

GOLDEN = pathlib.Path(__file__).parents[1] / "golden" / "hf"
MODELS = ["t5_v1_0", "t5_v1_1", "MT5", "UMT5"]
STEPS = 12
# Both work in float32 and round differently.
TOLERANCE = 2e-3

with_torch = needs("transformers", "torch")
with_tokenizers = needs("transformers", "google.protobuf")
pytestmark = pytest.mark.slow


@pytest.fixture
def source(request, tmp_path):
    """The folder of a model that transformers wrote."""
    if (GOLDEN / request.param).exists():
        return GOLDEN / request.param
    folder = tmp_path / "source"
    ask("make", kind=request.param, folder=folder, untied=request.param == "MT5")
    return folder


def prompts():
    rng = np.random.default_rng(1)
    tokens = rng.integers(3, 384, (3, 9)).astype(np.int32)
    tokens[1, 6:] = 0
    return tokens


TARGETS = np.full((3, 4), 5, np.int32)
INPUTS = np.pad(TARGETS, ((0, 0), (1, 0)))[:, :-1]


def ours(stored):
    flat = {name: leaf.read() for name, leaf in stored.policy.items()}
    params = unflatten_dict(flat, sep="/")
    network = T5(stored.config)
    logits = jax.jit(network.apply)({"params": params}, prompts(), INPUTS, TARGETS)
    decoded = temperature_sample(
        network,
        params,
        prompts(),
        jax.random.key(0),
        temperature=0.0,
        max_decode_length=STEPS,
    )
    return np.asarray(logits), np.asarray(decoded.tokens[:, 0])


def assert_same_in_transformers(stored, folder, scale=1.0):
    found = ask(
        "compute",
        folder=folder,
        prompts=prompts().tolist(),
        inputs=INPUTS.tolist(),
        steps=STEPS,
    )
    assert not found["problems"]
    # transformers 5 takes every T5 for tied, whatever config.json says, and tells where
    # the numbers say otherwise; of a tied model it says nothing.
    if stored.config.logits_via_embedding:
        assert not found["warnings"]
    else:
        (warning,) = found["warnings"]
        assert "lm_head.weight" in warning and "NOT tie them" in warning
    logits, tokens = ours(stored)
    np.testing.assert_allclose(logits * scale, found["logits"], atol=TOLERANCE)
    decoded = np.asarray(found["decoded"])
    np.testing.assert_array_equal(tokens[:, : decoded.shape[1]], decoded)
    assert not tokens[:, decoded.shape[1] :].any()
    assert len(np.unique(decoded)) > 3  # not one token over and over


@with_torch
@pytest.mark.parametrize("source", MODELS, indirect=True)
@pytest.mark.parametrize("shard_bytes", [5_000_000_000, 40_000])
def test_transformers_computes_and_decodes_the_same(source, shard_bytes, tmp_path):
    stored = open_hugging_face(str(source))
    write_hugging_face(stored, str(tmp_path / "new"), shard_bytes=shard_bytes)
    assert_same_in_transformers(stored, tmp_path / "new")


@with_torch
@pytest.mark.parametrize("version", ["t5_v1_0", "t5_v1_1"])
def test_a_t5x_model_in_transformers(version, tmp_path):
    """Without Hugging Face's config.json, and from stacked layers."""
    source = in_layout(open_hugging_face(str(GOLDEN / version)), scan_layers=True)
    stored = dataclasses.replace(source, format="t5x", path="checkpoint_0")
    write_hugging_face(stored, str(tmp_path / "new"))
    assert_same_in_transformers(stored, tmp_path / "new")


@with_torch
def test_models_that_transformers_saved_again(tmp_path):
    """transformers 5 then says tie_word_embeddings = true for a T5 1.1 too."""
    ask("save_again", folder=GOLDEN / "t5_v1_1", new_folder=tmp_path)
    assert '"tie_word_embeddings": true' in (tmp_path / "config.json").read_text()
    again = open_hugging_face(str(tmp_path))
    source = open_hugging_face(str(GOLDEN / "t5_v1_1"))
    assert again.config == source.config and not again.ignored
    for name, leaf in source.policy.items():
        np.testing.assert_array_equal(again.policy[name].read(), leaf.read())


@with_torch
def test_untied_umt5_is_scaled_by_transformers_before_5_24(tmp_path):
    """As docs/troubleshooting.md says; the tokens are the same."""
    ask("make", kind="UMT5", folder=tmp_path / "source", untied=True)
    config = tmp_path / "source" / "config.json"
    text = config.read_text()
    assert '"tie_word_embeddings": true' in text
    # As Google's umT5 say.
    text = text.replace('_embeddings": true', '_embeddings": false')
    config.write_text(text.replace('decoder_outputs": true', 'decoder_outputs": false'))
    stored = open_hugging_face(str(tmp_path / "source"))
    assert not stored.config.logits_via_embedding
    write_hugging_face(stored, str(tmp_path / "new"))
    found = tuple(map(int, importlib.metadata.version("transformers").split(".")[:2]))
    scale = 32**-0.5 if found < (5, 24) else 1.0
    assert_same_in_transformers(stored, tmp_path / "new", scale=scale)


@with_torch
def test_value_trunk_is_an_encoder_for_transformers(tmp_path):
    stored = open_hugging_face(str(GOLDEN / "t5_v1_1"))
    trunk = {
        name: leaf for name, leaf in stored.policy.items() if "logits_dense" not in name
    }
    stored = dataclasses.replace(
        stored, value=trunk, value_config={"network": "separate"}
    )
    write_hugging_face(stored, str(tmp_path / "new"))
    assert_same_in_transformers(stored, tmp_path / "new")
    states = [
        ask("encoder_states", folder=folder, prompts=prompts().tolist())
        for folder in (tmp_path / "new" / "value", tmp_path / "new")
    ]
    np.testing.assert_array_equal(*states)


# ---------------------------------------------------------------------- tokenizers

TEXTS = [
    "the cat sat on the mat",
    "please send <extra_id_0> to my <extra_id_1>",
    "<extra_id_2> the parcel is late <extra_id_99>",
    "  two  spaces, a dög ",
]


@pytest.fixture(scope="module")
def vocabulary_file(tmp_path_factory):
    return train_vocabulary(tmp_path_factory.mktemp("vocabulary") / "spm.model")


def train_vocabulary(path):
    sentences = (
        "the cat sat on the mat",
        "please send the parcel to my house",
        "we are sorry that the parcel is late",
    )
    with open(path, "wb") as file:
        sentencepiece.SentencePieceTrainer.train(
            sentence_iterator=iter(sentences * 20),
            model_writer=file,
            vocab_size=60,
            hard_vocab_limit=False,
            minloglevel=2,
            pad_id=0,
            eos_id=1,
            unk_id=2,
            bos_id=-1,
        )
    return path


def assert_same_tokens(folder, vocabulary, texts=TEXTS, **options):
    ids = list(vocabulary.encode("the parcel is late"))
    numbers = (0, 1, 99)
    found = ask(
        "tokenize",
        folder=folder,
        texts=texts,
        tokens=[f"<extra_id_{i}>" for i in numbers],
        ids=ids,
        **options,
    )
    for text, tokens in zip(texts, found["texts"], strict=True):
        assert tokens == [*vocabulary.encode(text), vocabulary.eos_id], text
    for i, token in zip(numbers, found["tokens"], strict=True):
        assert vocabulary.encode(f"<extra_id_{i}>") == [token]
    assert found["size"] == vocabulary.vocab_size
    assert found["decoded"] == vocabulary.decode(ids) == "the parcel is late"


@with_tokenizers
def test_written_tokenizer_gives_the_task_s_ids(vocabulary_file, tmp_path):
    stored = open_hugging_face(str(GOLDEN / "t5_v1_1"))
    write_hugging_face(stored, str(tmp_path / "new"), tokenizer=str(vocabulary_file))
    vocabulary = seqio.SentencePieceVocabulary(str(vocabulary_file), extra_ids=100)
    # As transformers itself writes it, in its own format, it is carried along too.
    shutil.copytree(GOLDEN / "t5_v1_1", tmp_path / "saved")
    assert_same_tokens(tmp_path / "new", vocabulary, save_to=tmp_path / "saved")
    for source, copy in (("new", "again"), ("saved", "of_saved")):
        again = open_hugging_face(str(tmp_path / source))
        assert again.tokenizer_files
        write_hugging_face(again, str(tmp_path / copy))
        assert_same_tokens(tmp_path / copy, vocabulary)


@with_tokenizers
def test_a_vocabulary_that_holds_its_extra_ids(tmp_path):
    """As mT5's file; transformers knows such ids with their leading space alone."""
    plain = train_vocabulary(tmp_path / "plain.model")
    path = tmp_path / "with_extra.model"
    path.write_bytes(seqio.SentencePieceVocabulary(str(plain), extra_ids=100).sp_model)
    stored = open_hugging_face(str(GOLDEN / "t5_v1_1"))
    write_hugging_face(stored, str(tmp_path / "new"), tokenizer=str(path))
    vocabulary = seqio.SentencePieceVocabulary(str(path))
    texts = ["the cat sat on the mat", "send it to my house"]
    found = ask(
        "tokenize",
        folder=tmp_path / "new",
        texts=texts,
        tokens=["▁<extra_id_0>"],
        ids=[1],
    )
    assert found["size"] == vocabulary.vocab_size
    assert found["tokens"] == vocabulary.encode("<extra_id_0>")
    assert found["texts"] == [[*vocabulary.encode(text), 1] for text in texts]


@with_tokenizers
def test_bytes(tmp_path):
    stored = open_hugging_face(str(GOLDEN / "t5_v1_1"))
    write_hugging_face(stored, str(tmp_path / "new"), tokenizer="byte")
    vocabulary = seqio.ByteVocabulary()
    texts = ["a cat", "dög 犬"]
    found = ask("tokenize", folder=tmp_path / "new", texts=texts, tokens=[], ids=[1])
    assert found["texts"] == [[*vocabulary.encode(text), 1] for text in texts]
    assert found["size"] == stored.config.vocab_size
