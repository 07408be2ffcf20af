"""Folders that are written for Hugging Face: shards, types, tokenizer files."""

import json
import pathlib

import ml_dtypes
import numpy as np
import pytest
from safetensors.numpy import load_file, save_file

from dro_jax.errors import CheckpointError, ConfigError
from dro_jax.interop.hugging_face import (
    open_hugging_face,
    write_hugging_face,
)

GOLDEN = pathlib.Path(__file__).parents[1] / "golden" / "hf" / "t5_v1_1"
QUERY = "decoder.block.1.layer.0.SelfAttention.q.weight"
OUR_QUERY = "decoder/layers_1/self_attention/query/kernel"


def test_written_shards(folder, state, tmp_path):
    stored = open_hugging_face(str(folder))
    limit = 40_000
    write_hugging_face(stored, str(tmp_path / "new"), shard_bytes=limit)
    index = json.loads((tmp_path / "new/model.safetensors.index.json").read_text())
    assert index["metadata"]["total_size"] == sum(x.nbytes for x in state.values())
    files = sorted(set(index["weight_map"].values()))
    assert files[0] == f"model-00001-of-{len(files):05}.safetensors" and len(files) > 5
    for file in files:
        shard = load_file(tmp_path / "new" / file)
        assert {index["weight_map"][name] for name in shard} == {file}
        size = sum(x.nbytes for x in shard.values())
        assert size <= limit or len(shard) == 1
        for name, array in shard.items():
            np.testing.assert_array_equal(array, state.pop(name))
    assert not state
    again = open_hugging_face(str(tmp_path / "new"))
    np.testing.assert_array_equal(
        again.policy[OUR_QUERY].read(), stored.policy[OUR_QUERY].read()
    )


def test_types_are_kept_and_aligned(folder, state, tmp_path):
    state[QUERY] = state[QUERY].astype(ml_dtypes.bfloat16)
    save_file(state, folder / "model.safetensors")
    write_hugging_face(open_hugging_face(str(folder)), str(tmp_path / "new"))
    written = load_file(tmp_path / "new" / "model.safetensors")
    assert written[QUERY].dtype == ml_dtypes.bfloat16
    for name, array in state.items():
        np.testing.assert_array_equal(written[name], array)
    assert json.loads((tmp_path / "new/config.json").read_text())["dtype"] == "float32"


def test_destination_that_is_not_empty(folder):
    with pytest.raises(CheckpointError, match="not empty"):
        write_hugging_face(open_hugging_face(str(GOLDEN)), str(folder))


def test_tokenizer_files_are_carried_along(folder, tmp_path):
    for name in ("spiece.model", "tokenizer_config.json", "special_tokens_map.json"):
        (folder / name).write_bytes(name.encode())
    (folder / "notes.txt").write_text("not a tokenizer's")
    stored = open_hugging_face(str(folder))
    write_hugging_face(stored, str(tmp_path / "new"))
    assert (tmp_path / "new" / "spiece.model").read_bytes() == b"spiece.model"
    assert {path.name for path in (tmp_path / "new").iterdir()} == {
        *(path.name for path in stored.tokenizer_files),
        "config.json",
        "generation_config.json",
        "model.safetensors",
    }


def test_tokenizer_that_does_not_fit(folder, tmp_path):
    stored = open_hugging_face(str(folder))
    text = tmp_path / "text.model"
    text.write_text("no model")
    with pytest.raises(ConfigError, match=r"text\.model is not a SentencePiece model"):
        write_hugging_face(stored, str(tmp_path / "a"), tokenizer=str(text))
    with pytest.raises(ConfigError, match=r"none\.model"):
        write_hugging_face(
            stored, str(tmp_path / "b"), tokenizer=str(tmp_path / "none.model")
        )
