"""What people name that is no whole T5 is told for what it is, and what to do."""

import json
import pathlib
import shutil

import numpy as np
import pytest
from safetensors.numpy import load_file, save_file

from dro_jax.errors import CheckpointError
from dro_jax.interop import formats

GOLDEN = pathlib.Path(__file__).parents[1] / "golden" / "hf" / "t5_v1_1"
QUERY = "decoder.block.1.layer.0.SelfAttention.q.weight"
OUR_QUERY = "decoder/layers_1/self_attention/query/kernel"


@pytest.fixture(scope="module")
def state():
    return load_file(GOLDEN / "model.safetensors")


def model(folder, tensors=None, **settings):
    """A copy of the golden model, its weights or settings exchanged."""
    folder.mkdir(parents=True, exist_ok=True)
    config = json.loads((GOLDEN / "config.json").read_text()) | settings
    (folder / "config.json").write_text(json.dumps(config))
    if tensors is None:
        shutil.copy(GOLDEN / "model.safetensors", folder)
    elif tensors:
        save_file(tensors, folder / "model.safetensors")
    return folder


def refused(folder, *parts):
    """The one message that opening a folder ends with."""
    with pytest.raises(CheckpointError) as caught:
        formats.open_model(folder)
    for part in parts:
        assert part in str(caught.value), str(caught.value)


def adapter(folder):
    folder.mkdir(exist_ok=True)
    told = {"peft_type": "LORA", "base_model_name_or_path": "google/flan-t5-base"}
    (folder / "adapter_config.json").write_text(json.dumps(told))
    save_file({"a.lora_A.weight": np.zeros(1)}, folder / "adapter_model.safetensors")
    return folder


def test_an_adapter(tmp_path, state):
    merge = "merge_and_unload().save_pretrained("
    refused(adapter(tmp_path / "a"), "(LoRA) of google/flan-t5-base", merge)
    refused(adapter(model(tmp_path / "b", {})), "merge it first", str(tmp_path / "b"))
    # Saved whole, but not merged.
    wrapped = {f"base_model.model.{name}": x for name, x in state.items()}
    wrapped |= {f"base_model.model.{QUERY[:-7]}.lora_A.default.weight": np.zeros(1)}
    refused(model(tmp_path / "c", wrapped), "merge it first")


def test_the_cache_of_the_hub(tmp_path):
    root = tmp_path / "hub" / "models--google--flan-t5-base"
    for version in ("abc", "def"):
        model(root / "snapshots" / version)
    (root / "refs").mkdir()
    (root / "refs" / "main").write_text("def")
    wanted = str(root / "snapshots" / "def")
    refused(root, "in the cache of Hugging Face's hub", wanted)
    refused(root / "snapshots", wanted)
    refused(tmp_path / "hub", "it has google/flan-t5-base", wanted)
    assert formats.open_model(wanted).format == "hf"
    # A copy of the version without what its links lead to.
    weights = root / "snapshots" / "def" / "model.safetensors"
    weights.unlink()
    weights.symlink_to("../../blobs/0123")
    refused(wanted, "a link to what is not there (../../blobs/0123)", "cp -rL")


def test_checkpoints_of_a_trainer(tmp_path):
    for step in (500, 1000):
        model(tmp_path / f"checkpoint-{step}")
    refused(tmp_path, "transformers' Trainer", str(tmp_path / "checkpoint-1000"))


@pytest.mark.parametrize(
    ("architecture", "model_type", "message"),
    [
        ("LlamaForCausalLM", "llama", "a decoder-only model"),
        ("GPT2LMHeadModel", "gpt2", "a decoder-only model"),
        ("T5EncoderModel", "t5", "it has no decoder"),
        ("T5ForSequenceClassification", "t5", "a classifier"),
        ("BertForMaskedLM", "bert", "an encoder without a decoder"),
        ("BartForConditionalGeneration", "bart", "another architecture"),
        ("LongT5ForConditionalGeneration", "longt5", "another architecture"),
        ("UnknownModel", "unknown", "model_type 'unknown'"),
    ],
)
def test_models_of_other_kinds(architecture, model_type, message, tmp_path):
    # Told before the weights are looked for.
    folder = model(
        tmp_path / "m", {}, architectures=[architecture], model_type=model_type
    )
    refused(folder, message, str(folder))


def test_an_encoder_that_calls_itself_a_t5(tmp_path, state):
    encoder = {n: x for n, x in state.items() if not n.startswith("decoder.")}
    refused(model(tmp_path / "m", encoder), "it has no decoder")


@pytest.mark.parametrize(
    "wrap",
    [
        lambda name: f"module.{name}",
        lambda name: f"_orig_mod.{name}",
        lambda name: f"module._orig_mod.model.{name}",
        # What has no counterpart outside keeps its name.
        lambda name: name if name == "lm_head.weight" else f"model.{name}",
        lambda name: name.replace(".layer.", "._orig_mod.layer."),
        lambda name: f"_fsdp_wrapped_module.{name}",
    ],
)
def test_a_model_saved_inside_a_wrapper_is_read(wrap, tmp_path, state):
    wrapped = {wrap(name): array for name, array in state.items()}
    stored = formats.open_model(model(tmp_path / "m", wrapped))
    assert len(stored.policy) == 52 and not stored.ignored
    np.testing.assert_array_equal(stored.policy[OUR_QUERY].read(), state[QUERY].T)
    assert stored.policy[OUR_QUERY].origin.endswith(wrap(QUERY))
    (note,) = stored.notes
    assert "is read as" in note
    assert not formats.open_model(GOLDEN).notes


def test_models_inside_something_else(tmp_path, state):
    inside = {f"question_model.{name}": array for name, array in state.items()}
    refused(model(tmp_path / "a", inside), "'question_model.'", "save_pretrained")
    twice = {f"module.{name}": array for name, array in state.items()}
    twice |= {f"_orig_mod.{name}": array for name, array in twice.items()}
    refused(model(tmp_path / "b", twice), "holds two models")


def test_files_that_are_not_the_weights(tmp_path):
    folder = model(tmp_path / "m", {})
    weights = folder / "model.safetensors"
    weights.write_text("version https://git-lfs.github.com/spec/v1\noid sha256:00\n")
    refused(folder, "a pointer of Git LFS", "git lfs pull")
    weights.rename(folder / "model-00001-of-00002.safetensors")
    refused(folder, "these are shards: fetch model.safetensors.index.json")
    (folder / "model-00001-of-00002.safetensors").rename(folder / "other.safetensors")
    refused(folder, "other.safetensors; if that is the model, name it")
    (folder / "other.safetensors").rename(folder / "flax_model.msgpack")
    refused(folder, "Flax's weights", "from_flax=True")
    (folder / "flax_model.msgpack").rename(folder / "pytorch_model.bin")
    refused(folder, f"from_pretrained('{folder}').save_pretrained", "any code")
    (tmp_path / "g").mkdir()
    (tmp_path / "g" / "model.Q4.gguf").write_bytes(b"GGUF")
    refused(tmp_path / "g", "llama.cpp")


def test_shards_that_are_missing_are_all_named(tmp_path, state):
    folder = model(tmp_path / "m", {})
    places = {n: f"model-{i % 3}.safetensors" for i, n in enumerate(sorted(state))}
    held = {n: x for n, x in state.items() if places[n] == "model-1.safetensors"}
    save_file(held, folder / "model-1.safetensors")
    index = folder / "model.safetensors.index.json"
    index.write_text(json.dumps({"weight_map": places}))
    refused(folder, "(missing: model-0.safetensors, model-2.safetensors)")
