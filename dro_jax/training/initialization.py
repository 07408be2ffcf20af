"""Starting parameters: random, or from one pretrained policy; born in their shards."""

import pathlib
from typing import Any

import jax
import jax.numpy as jnp
from flax import traverse_util

from dro_jax.errors import CheckpointError
from dro_jax.models.model import FeedbackModel
from dro_jax.models.networks import VALUE, Batch, Params
from dro_jax.training import checkpoints
from dro_jax.training.sharding import ParamLayout

_HEAD = "head/"
Leaves = dict[str, Any]  # by path, "encoder/layers_0/…"


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
    head is fresh. A trunk of another size is fresh as a whole.

    Args:
      model: gives the parameter tree.
      path: a model folder, or one checkpoint in it.
      key: for what the checkpoint does not hold.
      batch: an example of the batches to come.
      layout: of the model's parameters.

    Raises:
      CheckpointError: a policy parameter is missing, extra, or of another shape.
    """
    expected = traverse_util.flatten_dict(layout.shapes, sep="/")
    shardings = traverse_util.flatten_dict(layout.shardings, sep="/")
    found = checkpoints.param_shapes(path)
    origins = _policy(expected, found, str(path)) | _value(expected, found)
    loaded = checkpoints.load_leaves(
        path, {origin: shardings[name] for name, origin in origins.items()}
    )

    def missing(key):
        leaves = traverse_util.flatten_dict(model.init(key, batch)[0], sep="/")
        return _without(leaves, origins)

    # Compiles the initialisers of the missing leaves alone: for a head, not a T5.
    fresh = jax.jit(missing, out_shardings=_without(shardings, origins))(key)
    # Copies: policy and value may start from one array, and a step donates its state.
    taken = {
        name: jnp.array(loaded[origin], expected[name].dtype, copy=True)
        for name, origin in origins.items()
    }
    return traverse_util.unflatten_dict(fresh | taken, sep="/")


def _policy(expected: Leaves, given: Leaves, origin: str) -> dict[str, str]:
    """Where each policy parameter comes from: from under its own name."""
    wanted, found = _without_value(expected), _without_value(given)
    problems = [f"missing {name}" for name in wanted if name not in found]
    problems += [f"unexpected {name}" for name in found if name not in wanted]
    problems += [
        f"{name} has shape {found[name].shape}, the model needs {leaf.shape}"
        for name, leaf in wanted.items()
        if name in found and found[name].shape != leaf.shape
    ]
    if problems:
        shown = "; ".join(problems[:5])
        more = f"; and {len(problems) - 5} more" if len(problems) > 5 else ""
        raise CheckpointError(
            f"the checkpoint at {origin} does not fit the model: {shown}{more}. "
            "Use the gin model file that the checkpoint was made with"
        )
    return {name: name for name in found}


def _value(expected: Leaves, given: Leaves) -> dict[str, str]:
    """Where each value parameter comes from, of those that are in the checkpoint."""
    wanted = _value_part(expected)
    trunk = {n: leaf for n, leaf in wanted.items() if not n.startswith(_HEAD)}
    for leaves, source, prefix in (
        (wanted, _value_part(given), f"{VALUE}/"),
        (trunk, _without_value(given), ""),
    ):
        fits = all(
            name in source and source[name].shape == leaf.shape
            for name, leaf in leaves.items()
        )
        if leaves and fits:
            return {f"{VALUE}/{name}": f"{prefix}{name}" for name in leaves}
    return {}


def _value_part(leaves: Leaves) -> Leaves:
    prefix = f"{VALUE}/"
    return {
        n.removeprefix(prefix): x for n, x in leaves.items() if n.startswith(prefix)
    }


def _without_value(leaves: Leaves) -> Leaves:
    return {n: x for n, x in leaves.items() if not n.startswith(f"{VALUE}/")}


def _without(leaves: Leaves, names: Leaves) -> Leaves:
    return {name: leaf for name, leaf in leaves.items() if name not in names}
