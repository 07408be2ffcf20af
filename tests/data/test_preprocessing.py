"""End-of-text tokens and truncation, token by token. In bytes, 'a' is 100 and so on."""

import pytest
import tensorflow as tf

from dro_jax.data.preprocessing import encode_batch
from dro_jax.data.vocabularies import resolve_vocabulary
from dro_jax.errors import ConfigError

A, B, C, D = 100, 101, 102, 103
EOS = 1


def _encode(prompt, response, lengths, prompt_side="left", response_side="right"):
    encoded, lengths = encode_batch(
        {
            "inputs": tf.constant([prompt, "a"]),
            "targets": tf.constant([response, "a"]),
            "reward": tf.constant([[0.5], [1.0]]),
            "record_id": tf.constant([[7, 0], [7, 1]]),
        },
        resolve_vocabulary("byte"),
        lengths,
        prompt_truncation=prompt_side,
        response_truncation=response_side,
    )
    rows = {}
    for name in ("inputs", "targets"):
        row, other = encoded[name].numpy()
        rows[name] = row[: lengths[name][0]].tolist()
        assert not row[lengths[name][0] :].any()
        assert other[:2].tolist() == [A, EOS]
        assert not other[2:].any()
        assert lengths[name][1] == 2
    return rows["inputs"], rows["targets"], encoded["truncated"][0].numpy().tolist()


@pytest.mark.parametrize(
    ("side", "length", "tokens", "cut"),
    [
        ("left", None, [A, B, C, D, EOS], 0),
        ("left", 6, [A, B, C, D, EOS], 0),
        ("left", 5, [A, B, C, D, EOS], 0),
        ("left", 4, [B, C, D, EOS], 1),
        ("left", 2, [D, EOS], 1),
        ("right", 5, [A, B, C, D, EOS], 0),
        ("right", 4, [A, B, C, EOS], 1),
        ("right", 2, [A, EOS], 1),
    ],
)
def test_prompts_always_end_in_eos(side, length, tokens, cut):
    lengths = {} if length is None else {"inputs": length}
    assert _encode("abcd", "a", lengths, prompt_side=side) == (tokens, [A, EOS], [cut])


@pytest.mark.parametrize(
    ("side", "length", "tokens", "cut"),
    [
        ("right", None, [A, B, C, D, EOS], 0),
        ("right", 5, [A, B, C, D, EOS], 0),
        ("right", 4, [A, B, C, D], 2),
        ("right", 2, [A, B], 2),
        ("left", 5, [A, B, C, D, EOS], 0),
        ("left", 4, [B, C, D, EOS], 2),
    ],
)
def test_a_response_whose_end_is_cut_has_no_eos(side, length, tokens, cut):
    lengths = {} if length is None else {"targets": length}
    assert _encode("a", "abcd", lengths, response_side=side) == (
        [A, EOS],
        tokens,
        [cut],
    )


def test_both_may_be_cut():
    assert _encode("abcd", "abcd", {"inputs": 3, "targets": 3}) == (
        [C, D, EOS],
        [A, B, C],
        [3],
    )


def test_seqio_sees_single_examples_with_their_texts(register):
    records = [{"prompt": f"p{i}", "response": "ab", "reward": i} for i in range(130)]
    task = register(records)
    examples = list(
        task.get_dataset({"inputs": 2, "targets": 9}, shuffle=False).as_numpy_iterator()
    )
    assert len(examples) == 130
    for i, example in enumerate(examples):
        assert example["inputs_pretokenized"].decode() == f"p{i}"
        assert example["targets_pretokenized"] == b"ab"
        assert example["inputs"].tolist() == [ord(str(i)[-1]) + 3, EOS]
        assert example["targets"].tolist() == [A, B, EOS]
        assert example["reward"].tolist() == [i]
        assert example["record_id"][1] == i
        assert example["truncated"].tolist() == [1]


@pytest.mark.parametrize("setting", ["prompt_truncation", "response_truncation"])
def test_unknown_side(register, setting):
    with pytest.raises(ConfigError, match=f"{setting} = 'middle' is unknown"):
        register([], **{setting: "middle"})
