"""Starting parameters: random, or from one pretrained policy."""

from typing import Any

import jax
import numpy as np
from flax import traverse_util

from dro_jax.errors import CheckpointError
from dro_jax.models.model import VALUE, Batch, FeedbackModel, Params

_HEAD = "head/"
Leaves = dict[str, Any]  # by path, "encoder/layers_0/…"


def random_params(model: FeedbackModel, key: jax.Array, batch: Batch) -> Params:
    """Fresh parameters for batches shaped as `batch`."""
    return jax.jit(lambda key: model.init(key, batch)[0])(key)


def pretrained_params(
    model: FeedbackModel, pretrained: Params, key: jax.Array, batch: Batch, origin: str
) -> Params:
    """Parameters filled from a pretrained policy.

    The policy takes the checkpoint's policy. A value estimate takes the checkpoint's
    own where that has the same shapes; else a separate network takes the policy's
    trunk, as the DRO paper does ("from the same initial checkpoint"), and its scalar
    head is fresh. A trunk of another size is fresh as a whole.

    Args:
      model: gives the parameter tree.
      pretrained: a tree of arrays with the policy at its root.
      key: for what the checkpoint does not hold.
      batch: an example of the batches to come.
      origin: where `pretrained` comes from, for messages.

    Raises:
      CheckpointError: a policy parameter is missing, extra, or of another shape.
    """

    def init(key):
        return traverse_util.flatten_dict(model.init(key, batch)[0], sep="/")

    expected = jax.eval_shape(init, key)
    given = traverse_util.flatten_dict(pretrained, sep="/")
    taken = _policy(expected, given, origin) | _value(expected, given)
    # Compiles the initialisers of the missing leaves alone: for a head, not a T5.
    fresh = jax.jit(lambda key: _without(init(key), taken))(key)
    leaves = fresh | {
        name: np.asarray(leaf, expected[name].dtype) for name, leaf in taken.items()
    }
    return jax.device_put(traverse_util.unflatten_dict(leaves, sep="/"))


def _policy(expected: Leaves, given: Leaves, origin: str) -> Leaves:
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
    return found


def _value(expected: Leaves, given: Leaves) -> Leaves:
    wanted = _value_part(expected)
    trunk = {n: leaf for n, leaf in wanted.items() if not n.startswith(_HEAD)}
    for leaves, source in (
        (wanted, _value_part(given)),
        (trunk, _without_value(given)),
    ):
        fits = all(
            name in source and source[name].shape == leaf.shape
            for name, leaf in leaves.items()
        )
        if leaves and fits:
            return {f"{VALUE}/{name}": source[name] for name in leaves}
    return {}


def _value_part(leaves: Leaves) -> Leaves:
    prefix = f"{VALUE}/"
    return {n.removeprefix(prefix): x for n, x in leaves.items() if n.startswith(prefix)}


def _without_value(leaves: Leaves) -> Leaves:
    return {n: x for n, x in leaves.items() if not n.startswith(f"{VALUE}/")}


def _without(leaves: Leaves, names: Leaves) -> Leaves:
    return {name: leaf for name, leaf in leaves.items() if name not in names}
