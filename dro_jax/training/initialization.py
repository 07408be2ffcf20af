"""Starting parameters: random, or from one pretrained policy; born in their shards."""

import collections
import dataclasses
import pathlib
from collections.abc import Mapping
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from flax import traverse_util

from dro_jax.data import vocabularies
from dro_jax.data.interface import HostBatch
from dro_jax.errors import CheckpointError
from dro_jax.interop import formats
from dro_jax.interop.network_shape import differences
from dro_jax.interop.stored_model import Leaf, Leaves, StoredModel
from dro_jax.messages import say
from dro_jax.models.model import FeedbackModel
from dro_jax.models.networks import VALUE, Batch, Params
from dro_jax.models.reward_network import REWARD
from dro_jax.models.t5_config import T5Config
from dro_jax.training.sharding import ParamLayout, Partitioner

_EMBEDDING = "token_embedder/embedding"
_HEAD, _DECODER = "head/", "decoder/"
Flat = Mapping[str, Any]  # leaves by path, "encoder/layers_0/…"


def random_params(
    model: FeedbackModel, key: jax.Array, batch: Batch, layout: ParamLayout
) -> Params:
    """Fresh parameters for batches shaped as `batch`."""

    def init(key):
        return model.init(key, batch)[0]

    return jax.jit(init, out_shardings=layout.shardings)(key)


def pretrained_params(
    model: FeedbackModel,
    path: str | pathlib.Path,
    key: jax.Array,
    batch: Batch,
    layout: ParamLayout,
) -> Params:
    """Parameters filled from a pretrained policy.

    The policy takes the checkpoint's policy. A value estimate takes the checkpoint's
    own where that has the same shapes; else a separate network takes the policy's
    trunk, as the DRO paper does ("from the same initial checkpoint"), and its scalar
    head is fresh. A trunk of another size is fresh as a whole. A reward model takes the
    checkpoint's encoder and embedding; its pool and head are fresh.

    Args:
      model: gives the parameter tree.
      path: a model in any format that `dro_jax.interop.formats.open_model` reads.
      key: for what the checkpoint does not hold.
      batch: an example of the batches to come.
      layout: of the model's parameters.

    Raises:
      CheckpointError: a policy parameter is missing, extra, or of another shape.
    """
    expected = traverse_util.flatten_dict(layout.shapes, sep="/")
    shardings = traverse_util.flatten_dict(layout.shardings, sep="/")
    stored = formats.open_model(path, scan_layers=model.network_config.scan_layers)
    stored = _check_policy(_of_policy(expected), stored, path, model.network_config)
    for note in stored.notes:
        say(f"{stored.path}: {note}")
    origins = {**stored.policy, **_value(expected, stored)}

    def missing(key):
        leaves = traverse_util.flatten_dict(model.init(key, batch)[0], sep="/")
        return _without(leaves, origins)

    # Compiles the initialisers of the missing leaves alone: for a head, not a T5.
    fresh = jax.jit(missing, out_shardings=_without(shardings, origins))(key)
    taken = _placed(origins, expected, shardings)
    return traverse_util.unflatten_dict(fresh | taken, sep="/")


def stored_params(
    model: FeedbackModel, stored: StoredModel, partitioner: Partitioner, *, value: bool
) -> Params:
    """A checkpoint's own parameters in their shards, none of them made anew.

    Args:
      model: gives the parameter tree.
      stored: the checkpoint; its policy has the model's shapes.
      partitioner: where they go.
      value: whether those of the value estimate are wanted too, if the model has one.

    Raises:
      CheckpointError: the value estimate is missing, or has other shapes.
    """
    with partitioner.context():
        layout = ParamLayout.of(model, smallest_batch(), partitioner)
        expected = traverse_util.flatten_dict(layout.shapes, sep="/")
        shardings = traverse_util.flatten_dict(layout.shardings, sep="/")
        origins = dict(stored.policy)
        if value:
            wanted = _shapes(_value_part(expected))
            if wanted != {
                n: x for n, x in _shapes(stored.value).items() if n in wanted
            }:
                raise CheckpointError(
                    f"the checkpoint at {stored.path} holds no value estimate of the "
                    "shapes that the model's has: give the gin files and settings that "
                    "it was trained with"
                )
            origins |= {f"{VALUE}/{name}": stored.value[name] for name in wanted}
        return traverse_util.unflatten_dict(
            _placed(origins, expected, shardings), sep="/"
        )


def smallest_batch() -> HostBatch:
    """The smallest batch that parameters can be made for: their shapes need no data."""
    rows = jax.device_count()
    tokens = np.ones((rows, 1), np.int32)
    return {
        "encoder_input_tokens": tokens,
        "decoder_input_tokens": tokens,
        "decoder_target_tokens": tokens,
        "decoder_loss_weights": tokens,
        "rewards": np.zeros((rows, 1), np.float32),
        "trajectory_weights": np.ones((rows, 1), np.float32),
    }


def check_fits(model: FeedbackModel, path: str | pathlib.Path, shapes: Params) -> None:
    """Refuses a checkpoint that :func:`pretrained_params` would refuse; reads no array.

    Args:
      model, path: as there.
      shapes: of the model's parameters.

    Raises:
      CheckpointError: as there.
    """
    expected = _of_policy(traverse_util.flatten_dict(shapes, sep="/"))
    config = model.network_config
    stored = formats.open_model(path, scan_layers=config.scan_layers)
    _check_policy(expected, stored, path, config)


def check_tokenizer(path: str | pathlib.Path, vocabulary: Any) -> None:
    """Refuse a task's vocabulary that is not that of the checkpoint's own tokenizer.

    Args:
      path: as in :func:`pretrained_params`.
      vocabulary: the task's, or None; Hugging Face's folders hold a tokenizer.

    Raises:
      DataError: they give other ids to the same text.
    """
    files = formats.open_model(path).tokenizer_files
    if files and vocabulary is not None:
        vocabularies.check_tokenizer(vocabulary, files)


def load_policy_params(
    network: T5Config, path: str | pathlib.Path, shapes: Params, shardings: Any
) -> Params:
    """A stored policy's parameters, each on its devices and of its type.

    Args:
      network: the policy's, which says whether layers are stacked.
      path: as in :func:`pretrained_params`.
      shapes: the policy's parameters, leaves with shape and dtype.
      shardings: where each goes.

    Raises:
      CheckpointError: a parameter is missing, extra, or of another shape.
    """
    expected = traverse_util.flatten_dict(shapes, sep="/")
    stored = formats.open_model(path, scan_layers=network.scan_layers)
    _check_policy(expected, stored, path, network)
    flat = _placed(
        stored.policy, expected, traverse_util.flatten_dict(shardings, sep="/")
    )
    return traverse_util.unflatten_dict(flat, sep="/")


def _placed(origins: Leaves, expected: Flat, shardings: Flat) -> dict[str, jax.Array]:
    """Arrays on their devices; each is read once, placed, and its host copy dropped."""
    # By leaf: policy and value name the same arrays of a file, each of which is read
    # once, and the host holds one at a time.
    names_of = collections.defaultdict(list)
    leaf_of = {}
    for name, leaf in origins.items():
        names_of[id(leaf)].append(name)
        leaf_of[id(leaf)] = leaf
    placed = {}
    for key, (name, *others) in names_of.items():
        leaf: Leaf = leaf_of[key]
        array = leaf.place(shardings[name]).astype(expected[name].dtype)
        placed[name] = array
        # Copies: value and policy may start from one array, and a step donates both.
        for other in others:
            placed[other] = jnp.array(array, expected[other].dtype, copy=True)
    return placed


def _check_policy(
    expected: Flat,
    stored: StoredModel,
    path: str | pathlib.Path,
    network: T5Config,
) -> StoredModel:
    """The stored model, of its policy what the expected one has: it may be an encoder."""
    if not any(name.startswith(_DECODER) for name in expected):
        policy = {n: x for n, x in stored.policy.items() if not n.startswith(_DECODER)}
        stored = dataclasses.replace(stored, policy=policy)
    wanted = _shapes(expected)
    found = _shapes(stored.policy)
    rows, needed = found[_EMBEDDING][0], wanted[_EMBEDDING][0]
    if rows != needed:
        raise CheckpointError(
            f"the checkpoint at {path} does not fit the model: its vocabulary has "
            f"{rows} rows ({_EMBEDDING} {found[_EMBEDDING]}), the model's {needed}. Set "
            f"VOCAB_SIZE = {rows} and use the vocabulary that it was trained with"
        )
    if problems := differences(wanted, found, "the model"):
        raise CheckpointError(
            f"the checkpoint at {path} does not fit the model: {problems}. "
            "Use the gin model file that the checkpoint was made with"
        )
    # T5X's formats do not record what shapes do not show.
    known = stored.config.mlp_activations
    if stored.format == "hf" and known != network.mlp_activations:
        raise CheckpointError(
            f"the checkpoint at {path} has the activations {known} (config.json), the "
            f"model {network.mlp_activations}: set T5Config.mlp_activations = {known}"
        )
    return stored


def _value(expected: Flat, stored: StoredModel) -> dict[str, Leaf]:
    """Where each value parameter comes from, of those that are in the checkpoint."""
    wanted = _shapes(_value_part(expected))
    trunk = {n: shape for n, shape in wanted.items() if not n.startswith(_HEAD)}
    for shapes, source in ((wanted, stored.value), (trunk, stored.policy)):
        found = _shapes(source)
        if shapes and all(found.get(n) == shape for n, shape in shapes.items()):
            return {f"{VALUE}/{name}": source[name] for name in shapes}
    return {}


def _shapes(leaves: Flat) -> dict[str, tuple[int, ...]]:
    return {name: tuple(leaf.shape) for name, leaf in leaves.items()}


def _value_part(leaves: Flat) -> dict[str, Any]:
    prefix = f"{VALUE}/"
    return {
        n.removeprefix(prefix): x for n, x in leaves.items() if n.startswith(prefix)
    }


def _of_policy(leaves: Flat) -> dict[str, Any]:
    beside = (f"{VALUE}/", f"{REWARD}/")
    return {n: x for n, x in leaves.items() if not n.startswith(beside)}


def _without(leaves: Flat, names: Flat) -> dict[str, Any]:
    return {name: leaf for name, leaf in leaves.items() if name not in names}
