"""Folders as people have them: shards, half precision, copies, damage."""

import json
import pathlib
import shutil
import sys

import jax
import ml_dtypes
import numpy as np
import pytest
from safetensors.numpy import save_file

from dro_jax.errors import CheckpointError
from dro_jax.interop.hugging_face import (
    is_hub_name,
    open_hugging_face,
)

GOLDEN = pathlib.Path(__file__).parents[1] / "golden" / "hf" / "t5_v1_1"
QUERY = "decoder.block.1.layer.0.SelfAttention.q.weight"
OUR_QUERY = "decoder/layers_1/self_attention/query/kernel"


def save_shards(folder, state):
    """Two shards and their index, as large models have."""
    (folder / "model.safetensors").unlink()
    weight_map = {
        name: f"model-{i % 2}.safetensors" for i, name in enumerate(sorted(state))
    }
    for file in set(weight_map.values()):
        shard = {name: x for name, x in state.items() if weight_map[name] == file}
        save_file(shard, folder / file)
    save_index(folder, weight_map)
    return weight_map


def save_index(folder, weight_map):
    index = folder / "model.safetensors.index.json"
    index.write_text(json.dumps({"weight_map": weight_map}))


def change_config(folder, **settings):
    path = folder / "config.json"
    path.write_text(json.dumps(json.loads(path.read_text()) | settings))


# ------------------------------------------------------------------------- reading


@pytest.mark.parametrize("dtype", [ml_dtypes.bfloat16, np.float16])
def test_shards_in_half_precision(folder, state, dtype):
    state = {name: array.astype(dtype) for name, array in state.items()}
    save_shards(folder, state)
    stored = open_hugging_face(str(folder))
    leaf = stored.policy[OUR_QUERY]
    assert leaf.dtype == dtype and leaf.read().dtype == dtype
    np.testing.assert_array_equal(leaf.read(), state[QUERY].T)
    assert leaf.origin.endswith(f"safetensors: {QUERY}")


def test_each_device_reads_its_part(folder, state):
    mesh = jax.make_mesh((2, 4), ("data", "model"))
    stored = open_hugging_face(str(folder))
    spec = jax.sharding.PartitionSpec("data", "model")
    for path, expected in (
        (OUR_QUERY, state[QUERY].T),
        ("token_embedder/embedding", state["shared.weight"]),
    ):
        placed = stored.policy[path].place(jax.sharding.NamedSharding(mesh, spec))
        np.testing.assert_array_equal(placed, expected)
        assert placed.addressable_shards[0].data.shape == (
            expected.shape[0] // 2,
            expected.shape[1] // 4,
        )


def test_nothing_is_dropped_in_silence(folder, state):
    """Copies of the embedding, what old T5 files hold, and what is none of ours."""
    bias = "decoder.block.0.layer.1.EncDecAttention.relative_attention_bias.weight"
    extra = {
        "encoder.embed_tokens.weight": state["shared.weight"].copy(),
        bias: np.zeros((32, 4), np.float32),
        "classifier.weight": np.zeros((2, 32), np.float32),
    }
    save_file(state | extra, folder / "model.safetensors")
    ignored = open_hugging_face(str(folder)).ignored
    assert ignored.keys() == extra.keys()
    assert "same numbers as shared.weight" in ignored["encoder.embed_tokens.weight"]
    assert "no T5 uses it" in ignored[bias]
    assert "no parameter" in ignored["classifier.weight"]


def test_embedding_under_another_name(folder, state):
    renamed = {
        "encoder.embed_tokens.weight" if name == "shared.weight" else name: array
        for name, array in state.items()
    }
    save_file(renamed, folder / "model.safetensors")
    stored = open_hugging_face(str(folder))
    embedding = stored.policy["token_embedder/embedding"].read()
    np.testing.assert_array_equal(embedding, state["shared.weight"])
    assert not stored.ignored


def test_a_copy_that_is_none(folder, state):
    copy = state["shared.weight"].copy()
    copy[-1, -1] += 1
    save_file(
        state | {"decoder.embed_tokens.weight": copy}, folder / "model.safetensors"
    )
    with pytest.raises(
        CheckpointError, match=r"decoder\.embed_tokens\.weight.*differs"
    ):
        open_hugging_face(str(folder))


def test_tied_model_with_an_output_layer_of_its_own(folder):
    change_config(folder, tie_word_embeddings=True, scale_decoder_outputs=True)
    with pytest.raises(CheckpointError, match=r"lm_head\.weight.*tie_word_embeddings"):
        open_hugging_face(str(folder))


# -------------------------------------------------------------------------- damage


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"vocab_size": 512}, r"shared\.weight.*\(384, 32\).*\(512, 32\)"),
        ({"num_layers": 1}, r"encoder\.block\.1.*encoder has 1 layers"),
        ({"num_layers": 3}, r"no tensor 'encoder\.block\.2\..* and \d+ others"),
        ({"model_type": "bert"}, r"model: config\.json has model_type 'bert'"),
    ],
)
def test_weights_and_config_of_different_models(folder, settings, message):
    change_config(folder, **settings)
    with pytest.raises(CheckpointError, match=message):
        open_hugging_face(str(folder))


def test_missing_tensor(folder, state):
    del state[QUERY]
    save_file(state, folder / "model.safetensors")
    with pytest.raises(CheckpointError, match=f"no tensor '{QUERY}'"):
        open_hugging_face(str(folder))


def test_truncated_file(folder):
    path = folder / "model.safetensors"
    path.write_bytes(path.read_bytes()[:-100])
    with pytest.raises(CheckpointError, match=r"model\.safetensors is no complete"):
        open_hugging_face(str(folder))


def test_file_that_is_truncated_after_it_was_opened(folder):
    stored = open_hugging_face(str(folder))
    path = folder / "model.safetensors"
    path.write_bytes(path.read_bytes()[:-100])
    with pytest.raises(CheckpointError, match=r"q\.weight of .*cannot be read"):
        stored.policy[OUR_QUERY].read()


def test_truncated_shard(folder, state):
    save_shards(folder, state)
    path = folder / "model-1.safetensors"
    path.write_bytes(path.read_bytes()[:50])
    with pytest.raises(CheckpointError, match=r"model-1\.safetensors is no complete"):
        open_hugging_face(str(folder))


def test_missing_shard(folder, state):
    weight_map = save_shards(folder, state)
    (folder / "model-1.safetensors").unlink()
    first = next(name for name, file in weight_map.items() if "-1." in file)
    with pytest.raises(CheckpointError, match=rf"model-1\.safetensors, .*{first}"):
        open_hugging_face(str(folder))


def test_index_that_misplaces_a_tensor(folder, state):
    weight_map = save_shards(folder, state)
    other = {"model-0.safetensors": "model-1.safetensors"}
    save_index(
        folder,
        weight_map | {QUERY: other.get(weight_map[QUERY], "model-0.safetensors")},
    )
    with pytest.raises(CheckpointError, match=f"places {QUERY} in"):
        open_hugging_face(str(folder))


@pytest.mark.parametrize("text", ["{}", '{"weight_map": {}}', "[1]", "{", "\xff"])
def test_index_that_is_none(folder, text):
    (folder / "model.safetensors").unlink()
    index = folder / "model.safetensors.index.json"
    index.write_bytes(text.encode("latin-1"))
    with pytest.raises(CheckpointError, match=r"model\.safetensors\.index\.json"):
        open_hugging_face(str(folder))


def test_index_that_leads_out_of_the_folder(folder, state):
    (folder / "model.safetensors").rename(folder.parent / "model.safetensors")
    save_index(folder, dict.fromkeys(state, "../model.safetensors"))
    with pytest.raises(CheckpointError, match="not in its folder"):
        open_hugging_face(str(folder))


def test_quantised_weights(folder, state):
    state[QUERY] = state[QUERY].astype(np.int8)
    save_file(state, folder / "model.safetensors")
    with pytest.raises(CheckpointError, match=f"{QUERY}.*I8.*quantised"):
        open_hugging_face(str(folder))


@pytest.mark.parametrize("name", ["pytorch_model.bin", "tf_model.h5"])
def test_a_pickle_is_not_read(folder, name):
    (folder / "model.safetensors").unlink()
    (folder / name).write_bytes(b"\x80\x04.")
    with pytest.raises(CheckpointError, match=f"{name}.*save_pretrained"):
        open_hugging_face(str(folder))


def test_missing_files(tmp_path):
    with pytest.raises(CheckpointError, match=r"config\.json"):
        open_hugging_face(str(tmp_path))
    shutil.copy(GOLDEN / "config.json", tmp_path)
    with pytest.raises(CheckpointError, match=r"no model\.safetensors"):
        open_hugging_face(str(tmp_path))


# ----------------------------------------------------------------------------- hub


def test_hub_name_without_the_package(monkeypatch):
    monkeypatch.setitem(sys.modules, "huggingface_hub", None)
    with pytest.raises(CheckpointError, match=r"pip install 'dro-jax\[hf\]'"):
        open_hugging_face("google/t5-v1_1-small")


def test_hub_name(monkeypatch, tmp_path):
    """The hub's client is given the name and what to fetch: no pickles."""
    asked = {}

    class Hub:
        @staticmethod
        def snapshot_download(name, allow_patterns):
            asked[name] = allow_patterns
            if name == "google/none":
                raise OSError("404\nmore")
            return str(GOLDEN)

    monkeypatch.setitem(sys.modules, "huggingface_hub", Hub)
    monkeypatch.chdir(tmp_path)
    assert len(open_hugging_face("google/t5-v1_1-small").policy) == 52
    patterns = asked["google/t5-v1_1-small"]
    assert {"*.safetensors", "*.json", "spiece.model"} <= set(patterns)
    with pytest.raises(CheckpointError, match=r"no folder google/none.*OSError: 404\)"):
        open_hugging_face("google/none")
    # A local folder of that name wins.
    (tmp_path / "google" / "t5-v1_1-small").mkdir(parents=True)
    assert not is_hub_name("google/t5-v1_1-small")
    with pytest.raises(CheckpointError, match="holds no config"):
        open_hugging_face("google/t5-v1_1-small")
    with pytest.raises(CheckpointError, match="no local folder gs://bucket/model"):
        open_hugging_face("gs://bucket/model")
