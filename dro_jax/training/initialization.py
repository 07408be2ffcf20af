"""From one pretrained policy to the policy, the value trunk and the reference."""

import jax
import numpy as np

from dro_jax.errors import CheckpointError
from dro_jax.models.model import VALUE, FeedbackModel, Params

_HEAD = "head/"


def initial_params(
    pretrained: Params, expected: Params, origin: str
) -> Params:
    """Fill a model's parameter tree from a pretrained policy.

    The policy takes the checkpoint's policy. A value estimate takes the checkpoint's
    own where that has the same shapes; else a separate network takes the policy's
    trunk, as the DRO paper does ("from the same initial checkpoint"), and its scalar
    head stays as in `expected`. A trunk of another size stays as in `expected` whole.

    Args:
      pretrained: a tree of arrays with the policy at its root.
      expected: a full, randomly initialised tree of the model to fill.
      origin: where `pretrained` comes from, for messages.

    Raises:
      CheckpointError: a policy parameter is missing, extra, or of another shape.
    """
    policy = _fill(
        FeedbackModel.policy_params(expected),
        FeedbackModel.policy_params(pretrained),
        origin,
    )
    if VALUE not in expected:
        return policy
    return {**policy, VALUE: _value_tree(pretrained, expected[VALUE])}


def _value_tree(pretrained: Params, expected: Params) -> Params:
    for source in (pretrained.get(VALUE, {}), FeedbackModel.policy_params(pretrained)):
        found = _flatten(source)
        trunk = {
            name: leaf
            for name, leaf in _flatten(expected).items()
            if not name.startswith(_HEAD) or name in found
        }
        fits = all(
            name in found and found[name].shape == leaf.shape
            for name, leaf in trunk.items()
        )
        if trunk and fits:
            return _take(expected, {name: found[name] for name in trunk})
    return expected


def _fill(expected: Params, given: Params, origin: str) -> Params:
    wanted, found = _flatten(expected), _flatten(given)
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
    return _take(expected, found)


def _take(expected: Params, found: dict) -> Params:
    """`expected` with the leaves that `found` has, by name, in their place."""
    return jax.tree_util.tree_map_with_path(
        lambda path, leaf: np.asarray(found.get(_name(path), leaf), leaf.dtype),
        expected,
    )


def _flatten(tree: Params) -> dict:
    return {
        _name(path): leaf for path, leaf in jax.tree_util.tree_leaves_with_path(tree)
    }


def _name(path) -> str:
    return "/".join(str(getattr(key, "key", key)) for key in path)
