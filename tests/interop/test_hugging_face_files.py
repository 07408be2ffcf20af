"""Folders as people have them: shards, half precision, copies, values, damage."""

import json
import pathlib
import shutil
import sys

import jax
import ml_dtypes
import numpy as np
import pytest
from safetensors.numpy import load_file, save_file

from dro_jax.errors import CheckpointError, ConfigError
from dro_jax.interop.hugging_face import (
    is_hub_name,
    open_hugging_face,
    write_hugging_face,
)
from dro_jax.interop.layouts import in_layout
from dro_jax.interop.stored_model import Leaf, StoredModel

GOLDEN = pathlib.Path(__file__).parents[1] / "golden" / "hf" / "t5_v1_1"
QUERY = "decoder.block.1.layer.0.SelfAttention.q.weight"
OUR_QUERY = "decoder/layers_1/self_attention/query/kernel"


@pytest.fixture
def state():
    return load_file(GOLDEN / "model.safetensors")


@pytest.fixture
def folder(tmp_path):
    """A copy of a golden model, to be spoilt."""
    copy = tmp_path / "model"
    shutil.copytree(GOLDEN, copy)
    return copy


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
    with pytest.raises(CheckpointError, match=r"decoder\.embed_tokens\.weight.*differs"):
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
    save_index(folder, weight_map | {QUERY: other.get(weight_map[QUERY], "model-0.safetensors")})
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


# ------------------------------------------------------------------------- writing


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


def with_value(stored, value, **settings):
    fields = {f: getattr(stored, f) for f in ("format", "path", "config", "policy")}
    leaves = {
        name: Leaf(array.shape, array.dtype, lambda array=array: array, origin=name)
        for name, array in value.items()
    }
    return StoredModel(**fields, value=leaves, value_config=settings)


def trunk_arrays(stored, parts):
    return {
        name: leaf.read()
        for name, leaf in stored.policy.items()
        if name.startswith(parts) and "logits_dense" not in name
    }


HEAD = {"head/kernel": np.linspace(0, 1, 32, dtype=np.float32)[:, None]}
WHOLE = ("encoder", "decoder", "token_embedder")


@pytest.mark.parametrize("parts", [WHOLE, ("encoder", "token_embedder"), ()])
@pytest.mark.parametrize("scan_layers", [False, True])
def test_value_estimate(tmp_path, parts, scan_layers):
    stored = in_layout(open_hugging_face(str(GOLDEN)), scan_layers)
    value = HEAD | (trunk_arrays(stored, parts) if parts else {})
    settings = {"network": "separate" if parts else "shared_head", "granularity": "token"}
    write_hugging_face(with_value(stored, value, **settings), str(tmp_path))
    read = open_hugging_face(str(tmp_path))
    assert read.value_config == settings and not read.ignored
    leaves = in_layout(read, scan_layers).value
    assert leaves.keys() == value.keys()
    for name, array in value.items():
        np.testing.assert_array_equal(leaves[name].read(), array, err_msg=name)


def test_value_trunk_of_other_sizes(tmp_path):
    small = open_hugging_face(str(GOLDEN.parent / "t5_v1_0"))
    value = HEAD | trunk_arrays(small, WHOLE)
    stored = with_value(open_hugging_face(str(GOLDEN)), value, network="separate")
    write_hugging_face(stored, str(tmp_path))
    trunk = open_hugging_face(str(tmp_path)).value_config["trunk"]
    assert trunk.mlp_activations == ("relu",)


def test_values_from_the_logits_have_settings_alone(tmp_path):
    stored = with_value(open_hugging_face(str(GOLDEN)), {}, network="policy_logits")
    write_hugging_face(stored, str(tmp_path))
    read = open_hugging_face(str(tmp_path))
    assert read.value_config == {"network": "policy_logits"} and not read.value


def test_damaged_value(tmp_path):
    stored = open_hugging_face(str(GOLDEN))
    value = HEAD | trunk_arrays(stored, WHOLE)
    write_hugging_face(with_value(stored, value, network="separate"), str(tmp_path))
    path = tmp_path / "value" / "model.safetensors"
    tensors = load_file(path)
    del tensors[QUERY]
    save_file(tensors | {"other": np.zeros(1, np.float32)}, path)
    with pytest.raises(CheckpointError, match=f"value has no tensor '{QUERY}'"):
        open_hugging_face(str(tmp_path))
    path.write_bytes(path.read_bytes()[:-1])
    with pytest.raises(CheckpointError, match=r"value/model\.safetensors is no complete"):
        open_hugging_face(str(tmp_path))


# ---------------------------------------------------------------------- tokenizers


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
