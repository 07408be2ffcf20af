"""Folders of Hugging Face's T5 models, opened and written.

Covers T5 1.0, T5 1.1, Flan-T5, byT5, mT5, umT5 and models fine-tuned from them. Files are
read with safetensors, without torch or transformers, and no pickle is ever read.
"""

import pathlib
import re
from collections.abc import Mapping
from typing import Any

from dro_jax.errors import CheckpointError, ConfigError
from dro_jax.interop import hugging_face_files as files
from dro_jax.interop import hugging_face_leaves as translation
from dro_jax.interop import hugging_face_output as output
from dro_jax.interop import tokenizer_files, value_files
from dro_jax.interop.foreign_models import (
    check_no_foreign_folder,
    check_no_foreign_model,
    check_no_foreign_tensors,
)
from dro_jax.interop.hub import from_hub, is_hub_name
from dro_jax.interop.hugging_face_names import (
    EMBEDDING,
    OUTPUT_LAYER,
    config_from_hugging_face,
    config_to_hugging_face,
    parameter_names,
)
from dro_jax.interop.locations import check_free
from dro_jax.interop.stored_model import Leaves, StoredModel
from dro_jax.interop.wrapped_names import without_wrappers
from dro_jax.models.t5_config import T5Config

CONFIG = "config.json"
_GENERATION = "generation_config.json"
_COPIES = ("encoder.embed_tokens.weight", "decoder.embed_tokens.weight")
_BLOCK = re.compile(r"(encoder|decoder)\.block\.(\d+)\.")
_UNUSED_BIAS = "EncDecAttention.relative_attention_bias.weight"
# Of a source's config.json, what depends on who wrote it or follows from other settings.
_NOT_CARRIED = (
    "_name_or_path",
    "architectures",
    "dense_act_fn",
    "is_gated_act",
    "quantization_config",
    "scale_decoder_outputs",
    "torch_dtype",
    "transformers_version",
)
_SPECIAL_IDS = ("decoder_start_token_id", "pad_token_id", "eos_token_id")
_COMPARED_AT_ONCE = 1 << 24  # elements


def open_hugging_face(path: str) -> StoredModel:
    """A folder that `save_pretrained` or :func:`write_hugging_face` wrote.

    Args:
      path: the folder, or a model's name on the hub where there is no such folder.

    Returns:
      The model, each array read when it is asked for. An umT5, which has a relative
      position bias in each layer, has its layers stacked; others have not.

    Raises:
      CheckpointError: files or tensors are missing, damaged or do not fit; the hub
        cannot be reached.
    """
    folder = pathlib.Path(path)
    if not folder.is_dir():
        if not is_hub_name(path):
            raise CheckpointError(
                f"there is no local folder {path} of a Hugging Face model: a model that "
                "lies elsewhere must be copied here first."
            )
        folder = _from_hub(path)
    check_no_foreign_folder(folder)
    settings = files.read_json(folder / CONFIG)
    check_no_foreign_model(folder, settings)
    try:
        config = config_from_hugging_face(settings)
    except ConfigError as error:
        raise CheckpointError(f"{folder}: {error}") from error
    own_biases = settings["model_type"] == "umt5"
    tensors, taken_off = without_wrappers(files.stored_tensors(folder), str(folder))
    check_no_foreign_tensors(folder, tensors)
    policy, ignored = _policy(tensors, config, folder, own_biases)
    value, value_config, ignored_value = value_files.read_value(folder, config)
    return StoredModel(
        format="hf",
        path=str(folder),
        config=config,
        policy=policy,
        value=value,
        value_config=value_config,
        ignored=ignored | ignored_value,
        notes=(taken_off,) if taken_off else (),
        tokenizer_files=tokenizer_files.find(folder),
    )


def _from_hub(name: str) -> pathlib.Path:
    def check(folder: pathlib.Path) -> None:
        check_no_foreign_folder(folder)
        check_no_foreign_model(folder, files.read_json(folder / CONFIG))

    return from_hub(name, check, ["*.safetensors", *tokenizer_files.NAMES])


# ------------------------------------------------------------------------- reading


def _policy(
    tensors: dict[str, files.StoredTensor],
    config: T5Config,
    folder: pathlib.Path,
    own_biases: bool,
) -> tuple[Leaves, dict[str, str]]:
    given = dict(tensors)
    copies = [name for name in (*_COPIES, OUTPUT_LAYER) if name in tensors]
    tied = [name for name in copies if name in _COPIES or config.logits_via_embedding]
    if tied:
        given.setdefault(EMBEDDING, tensors[tied[0]])
    if EMBEDDING in given:
        # A model whose output layer equals its embedding is saved without it, even
        # if it is a 1.1 model, which does not scale its decoder's output.
        given.setdefault(OUTPUT_LAYER, given[EMBEDDING])
    names = parameter_names(config, bias_in_each_layer=own_biases)
    policy = translation.leaves_of(given, names, config, str(folder))
    used = {given[part].name for parts in names.values() for part in parts}
    ignored = {}
    for name in tied:
        if name not in used:
            _check_copy(tensors[name], given[EMBEDDING])
            ignored[name] = f"the same numbers as {given[EMBEDDING].name}"
    for name, tensor in tensors.items():
        if name not in used and name not in ignored:
            ignored[name] = _why_unused(tensor, config)
    return policy, ignored


def _check_copy(copy: files.StoredTensor, embedding: files.StoredTensor) -> None:
    same = copy.form.shape == embedding.form.shape
    # A few rows at a time, both may be gigabytes; as bytes, NaN is not equal to NaN.
    if same:
        rows, columns = embedding.form.shape
        step = max(1, _COMPARED_AT_ONCE // columns)
        for start in range(0, rows, step):
            part = (slice(start, min(start + step, rows)), slice(None))
            same = same and copy.read(part).tobytes() == embedding.read(part).tobytes()
    if same:
        return
    if copy.name == OUTPUT_LAYER:
        raise CheckpointError(
            f"config.json ties the embeddings (tie_word_embeddings), but "
            f"{OUTPUT_LAYER} of {copy.file} differs from {embedding.name}; if the model "
            "is a T5 1.1 or one made from it, whose decoder's output is not scaled, set "
            "tie_word_embeddings to false in its config.json."
        )
    raise CheckpointError(
        f"{copy.name} of {copy.file} differs from {embedding.name}; a T5 has one "
        "embedding for both sides."
    )


def _why_unused(tensor: files.StoredTensor, config: T5Config) -> str:
    if tensor.name.endswith(_UNUSED_BIAS):
        return "left over in old T5 files; no T5 uses it"
    sizes = {
        "encoder": config.num_encoder_layers,
        "decoder": config.num_decoder_layers,
    }
    block = _BLOCK.match(tensor.name)
    if block and int(block[2]) >= sizes[block[1]]:
        raise CheckpointError(
            f"{tensor.file} holds {tensor.name}, but by config.json the {block[1]} has "
            f"{sizes[block[1]]} layers: weights and config.json are of different models."
        )
    return "no parameter of such a T5"


# ------------------------------------------------------------------------- writing


def write_hugging_face(
    stored: StoredModel,
    destination: str,
    *,
    tokenizer: str | None = None,
    shard_bytes: int = output.SHARD_BYTES,
) -> None:
    """Writes a folder that `AutoModelForSeq2SeqLM.from_pretrained` loads.

    One parameter is in memory at a time.

    Args:
      stored: the model, in either layout; its frozen reference is not written.
      destination: the folder: new, or empty.
      tokenizer: a SentencePiece model, or `byte`; default the files beside the source.
      shard_bytes: the most data in one file.

    Raises:
      CheckpointError: the folder is not empty, or a parameter has no place in such a
        model.
      ConfigError: transformers has no such T5, or the tokenizer does not fit.
    """
    model_type = written_model_type(stored)
    names = _names(stored, model_type)
    forms = translation.forms_of(stored.policy, names, stored.config)
    dtypes = {form.dtype for form in forms.values()}
    widest = max(dtypes, key=lambda dtype: dtype.itemsize)
    config = _source_settings(stored, CONFIG, without=_NOT_CARRIED)
    ids = {name: config[name] for name in _SPECIAL_IDS if name in config}
    config |= config_to_hugging_face(stored.config, model_type=model_type)
    config |= ids | {"dtype": widest.name}
    generation = _source_settings(stored, _GENERATION)
    generation = generation or {name: config[name] for name in _SPECIAL_IDS}
    folder = pathlib.Path(destination)
    check_free(folder)
    folder.mkdir(parents=True, exist_ok=True)
    tokenizer_files.write(stored, folder, tokenizer)
    tensors = translation.tensors_of(stored.policy, names, stored.config)
    output.write_tensors(folder, forms, tensors, shard_bytes)
    value_files.write_value(stored, folder)
    output.write_json(folder / _GENERATION, generation)
    # Last: what lacks it is no model folder.
    output.write_json(folder / CONFIG, config)


def written_model_type(stored: StoredModel) -> str:
    """The `model_type` with which transformers computes the same function."""
    source = _source_settings(stored, CONFIG).get("model_type")
    if translation.biases_differ(stored.policy, stored.config):
        return "umt5"
    if source == "umt5" and stored.config.scan_layers:
        return "umt5"
    # transformers 5 scales no mT5's decoder output, so a tied one must be a T5.
    if source == "mt5" and not stored.config.logits_via_embedding:
        return "mt5"
    return "t5"


def written_names(stored: StoredModel) -> Mapping[str, tuple[str, ...]]:
    """The tensors that each parameter of the policy becomes, for a summary."""
    return _names(stored, written_model_type(stored))


def _names(stored: StoredModel, model_type: str) -> Mapping[str, tuple[str, ...]]:
    return parameter_names(stored.config, bias_in_each_layer=model_type == "umt5")


def _source_settings(
    stored: StoredModel, name: str, without: tuple[str, ...] = ()
) -> dict[str, Any]:
    path = pathlib.Path(stored.path) / name
    if stored.format != "hf" or not path.exists():
        return {}
    return {k: v for k, v in files.read_json(path).items() if k not in without}
