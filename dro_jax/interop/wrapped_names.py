"""Tensors of a model that was saved inside something: their names without it."""

import dataclasses
import re
from collections.abc import Mapping

from dro_jax.errors import CheckpointError
from dro_jax.interop.hugging_face_files import StoredTensor

# What torch puts between a module and its parent, anywhere in a name.
_WRAPPERS = re.compile(
    r"(?<![^.])(_orig_mod|_fsdp_wrapped_module|_checkpoint_wrapped_module)\."
)
# What people call the model inside another module, and DistributedDataParallel.
_OUTSIDE = re.compile(
    r"((?:module|model|_forward_module|pretrained_model|policy|net|transformer"
    r"|base_model)\.)+"
)
_EMBEDDING = re.compile(r"(.*?)(?:shared|encoder\.embed_tokens)\.weight")


def without_wrappers(
    tensors: Mapping[str, StoredTensor], where: str
) -> tuple[dict[str, StoredTensor], str]:
    """The tensors by the names that they have in the model itself.

    Args:
      tensors: by the names that they are stored under.
      where: the folder, for messages.

    Returns:
      The tensors, and what was taken off, or ''.

    Raises:
      CheckpointError: the model lies in something unknown, or two names become one.
    """
    names = {name: _WRAPPERS.sub("", name) for name in tensors}
    prefix = _prefix(names.values(), where)
    names = {name: plain.removeprefix(prefix) for name, plain in names.items()}
    if all(name == plain for name, plain in names.items()):
        return dict(tensors), ""
    found: dict[str, StoredTensor] = {}
    for name, plain in names.items():
        if plain in found:
            raise CheckpointError(
                f"{where} holds {found[plain].stored_name} and {name}, which are both "
                f"{plain} of a model: it holds two models. Save one of them"
            )
        found[plain] = dataclasses.replace(tensors[name], name=plain, stored_as=name)
    example = next(name for name, plain in names.items() if name != plain)
    return found, f"{example} is read as {names[example]}, others likewise"


def _prefix(names, where: str) -> str:
    found = {match[1] for name in names if (match := _EMBEDDING.fullmatch(name))}
    if not found or "" in found:
        return ""
    prefix = min(found, key=len)
    if not _OUTSIDE.fullmatch(prefix):
        raise CheckpointError(
            f"{where} holds tensors whose names begin with {prefix!r}: it is a model "
            "inside another. Save the T5 alone, by its own save_pretrained"
        )
    return prefix
