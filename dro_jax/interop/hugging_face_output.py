"""Folders of safetensors files, written one tensor at a time."""

import json
import pathlib
from collections.abc import Iterable, Mapping
from typing import Any

import numpy as np

from dro_jax.errors import ConfigError
from dro_jax.interop.hugging_face_files import DTYPES, INDEX, WEIGHTS, Form

SHARD_BYTES = 5_000_000_000
_HEADER_ALIGNMENT = 8


def write_tensors(
    folder: pathlib.Path,
    forms: Mapping[str, Form],
    tensors: Iterable[tuple[str, np.ndarray]],
    shard_bytes: int = SHARD_BYTES,
) -> None:
    """Writes `model.safetensors`, or shards and their index, each tensor as it comes.

    Args:
      folder: exists.
      forms: of every tensor, in the order in which shards are filled.
      tensors: each of `forms`, once; in the same order, few files are opened.
      shard_bytes: the most data in one file, unless a tensor alone is larger.
    """
    shards = _shards(forms, shard_bytes)
    places = {}
    for number, shard in enumerate(shards, 1):
        name = WEIGHTS
        if len(shards) > 1:
            name = f"model-{number:05}-of-{len(shards):05}.safetensors"
        for tensor, offset in _start_file(folder / name, shard).items():
            places[tensor] = (folder / name, offset)
    for tensor, array in tensors:
        path, offset = places[tensor]
        with path.open("r+b") as file:
            file.seek(offset)
            # As bytes, since NumPy hands no buffer of a bfloat16 to a file.
            file.write(np.ascontiguousarray(array).reshape(-1).view(np.uint8))
    if len(shards) > 1:
        total = sum(form.nbytes for form in forms.values())
        weight_map = {tensor: path.name for tensor, (path, _) in places.items()}
        write_json(
            folder / INDEX,
            {"metadata": {"total_size": total}, "weight_map": weight_map},
        )


def write_json(path: pathlib.Path, content: Mapping[str, Any]) -> None:
    """Writes a JSON object as people read it."""
    text = json.dumps(content, indent=2, ensure_ascii=False)
    path.write_text(text + "\n", encoding="utf-8")


def _shards(forms: Mapping[str, Form], limit: int) -> list[dict[str, Form]]:
    shards: list[dict[str, Form]] = [{}]
    size = 0
    for name, form in forms.items():
        if shards[-1] and size + form.nbytes > limit:
            shards.append({})
            size = 0
        shards[-1][name] = form
        size += form.nbytes
    return shards


def _start_file(path: pathlib.Path, forms: Mapping[str, Form]) -> dict[str, int]:
    """Writes the header of a file of its full size; returns where each tensor goes."""
    # Wide types first, so that each tensor is aligned, as readers expect.
    widest_first = sorted(forms.items(), key=lambda item: -item[1].dtype.itemsize)
    names = {dtype: name for name, dtype in DTYPES.items()}
    for name, form in widest_first:
        if form.dtype not in names:
            raise ConfigError(
                f"{name} is {form.dtype}, which is no type of a model's weights: "
                f"safetensors are written of {', '.join(map(str, names))}"
            )
    header: dict[str, Any] = {"__metadata__": {"format": "pt"}}
    offsets, end = {}, 0
    for name, form in widest_first:
        offsets[name], end = end, end + form.nbytes
        header[name] = {
            "dtype": names[form.dtype],
            "shape": list(form.shape),
            "data_offsets": [offsets[name], end],
        }
    text = json.dumps(header, separators=(",", ":")).encode()
    text += b" " * (-len(text) % _HEADER_ALIGNMENT)
    with path.open("wb") as file:
        file.write(len(text).to_bytes(8, "little") + text)
        start = file.tell()
        # Its full size at once, so that tensors can be written in any order.
        file.truncate(start + end)
    return {name: start + offset for name, offset in offsets.items()}
