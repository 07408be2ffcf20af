"""Folders that people name and that hold no model which can be read: what they are."""

import json
import os
import pathlib
import re
from collections.abc import Iterable, Mapping
from typing import Any

from dro_jax.errors import CheckpointError

ADAPTER = "adapter_config.json"
_HUB_CACHE = "models--"
_TRAINER_STEP = re.compile(r"checkpoint-(\d+)")
_OUR_FAMILY = ("t5", "mt5", "umt5")
_KINDS = (
    (
        re.compile(r"(CausalLM|LMHeadModel)$"),
        (
            "a decoder-only model. dro_jax aligns encoder-decoders of the T5 family; for a "
            "model of this kind use a trainer of decoder-only models, with the objectives of "
            "dro_jax.objectives as plain functions"
        ),
    ),
    (
        re.compile(r"EncoderModel$"),
        (
            "an encoder alone, as sentence encoders are: it has no decoder, so it gives no "
            "responses. Take the whole T5 that it was made from"
        ),
    ),
    (
        re.compile(r"For(Sequence|Token)Classification$|ForQuestionAnswering$"),
        (
            "a classifier or tagger, which writes no responses. Take the T5 that it was made "
            "from"
        ),
    ),
    (
        re.compile(r"(ForMaskedLM|ForPreTraining|BertModel|RobertaModel)$"),
        "an encoder without a decoder. Take a T5 1.0 or 1.1, Flan-T5, byT5, mT5 or umT5",
    ),
    (
        re.compile(r"(ForConditionalGeneration|ForSpeechSeq2Seq|MTModel)$"),
        (
            "an encoder-decoder of another architecture. Take a T5 1.0 or 1.1, Flan-T5, "
            "byT5, mT5 or umT5"
        ),
    ),
)


def check_no_foreign_folder(folder: pathlib.Path) -> None:
    """Names a folder that holds something else than one whole model.

    Args:
      folder: a local one.

    Raises:
      CheckpointError: it is an adapter, the root of a hub's cache, or what else people
        take for a model's folder; says what to do.
    """
    if (folder / ADAPTER).is_file():
        raise CheckpointError(_adapter(folder))
    names = sorted(os.listdir(folder))
    if "config.json" in names:
        return
    if "snapshots" in names or folder.name == "snapshots":
        raise CheckpointError(_cache_of_a_model(folder))
    if cached := [name for name in names if name.startswith(_HUB_CACHE)]:
        models = ", ".join(
            name[len(_HUB_CACHE) :].replace("--", "/") for name in cached
        )
        raise CheckpointError(
            f"{folder} is the cache of Hugging Face's hub; it has {models}. Give the "
            f"name of one, or its folder, {_snapshot(folder / cached[0])}"
        )
    steps = [name for name in names if _TRAINER_STEP.fullmatch(name)]
    if steps := sorted(steps, key=lambda name: int(name.split("-")[1])):
        raise CheckpointError(
            f"{folder} holds checkpoints of transformers' Trainer: give one of them, as "
            f"{folder / steps[-1]}"
        )
    if gguf := [name for name in names if name.endswith(".gguf")]:
        raise CheckpointError(
            f"{folder / gguf[0]} is llama.cpp's format, whose weights are mostly "
            "quantised; it is not read: take the folder that it was made from"
        )


def check_no_foreign_model(folder: pathlib.Path, settings: Mapping[str, Any]) -> None:
    """Names a model of another kind by what its `config.json` says.

    Raises:
      CheckpointError: it is none of the T5 family, or a part of one.
    """
    architectures = settings.get("architectures")
    if not isinstance(architectures, list) or not architectures:
        return
    name = str(architectures[0])
    ours = settings.get("model_type") in _OUR_FAMILY
    if ours and name.endswith("ForConditionalGeneration"):
        return
    for pattern, kind in _KINDS:
        if pattern.search(name) and not (not ours and re.match("U?M?T5For", name)):
            raise CheckpointError(f"{folder} is {kind} (config.json: {name})")


def check_no_foreign_tensors(folder: pathlib.Path, names: Iterable[str]) -> None:
    """Names a model by what its tensors are called.

    Raises:
      CheckpointError: an adapter is not merged, or there is no decoder.
    """
    names = list(names)
    if any(".lora_" in name for name in names):
        raise CheckpointError(_adapter(folder))
    if not any(name.startswith("decoder.") for name in names) and any(
        name.startswith("encoder.block.") for name in names
    ):
        raise CheckpointError(
            f"{folder} is {_KINDS[1][1]} (its files hold no tensor decoder.…)"
        )


def _adapter(folder: pathlib.Path) -> str:
    base = ""
    try:
        told = json.loads((folder / ADAPTER).read_text("utf-8"))
        base = f" of {told['base_model_name_or_path']}"
    except (OSError, ValueError, KeyError, TypeError):
        pass
    return (
        f"{folder} holds an adapter (LoRA){base}, not a whole model: merge it first, "
        "where peft is installed, by `from peft import AutoPeftModelForSeq2SeqLM; "
        f"AutoPeftModelForSeq2SeqLM.from_pretrained('{folder}').merge_and_unload()"
        ".save_pretrained('MERGED')`, and give that folder"
    )


def _cache_of_a_model(folder: pathlib.Path) -> str:
    root = folder.parent if folder.name == "snapshots" else folder
    return (
        f"{folder} is a model in the cache of Hugging Face's hub: give the folder of one "
        f"of its versions, {_snapshot(root)}"
    )


def _snapshot(root: pathlib.Path) -> pathlib.Path:
    """The version that `main` is; without one, any."""
    try:
        main = root / "snapshots" / (root / "refs" / "main").read_text("utf-8").strip()
        if main.is_dir():
            return main
    except (OSError, UnicodeDecodeError):
        pass
    try:
        versions = sorted((root / "snapshots").iterdir())
    except OSError:
        versions = []
    return versions[0] if versions else root / "snapshots" / "…"
