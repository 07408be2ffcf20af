"""An optimiser for each layer by itself, where a scan keeps layers in one array."""

import re
from collections.abc import Iterable

import jax
import optax

from dro_jax.models.layer_stacking import layers_of
from dro_jax.models.t5_stacks import PARAM_SCAN_AXIS

_REST = "rest"  # the parameters of no stack
_FACTOR = re.compile(r"/v_row/(?:value/)?(encoder|decoder)/\1/")
_STACK = re.compile(r"/inner_states/(?:value_)?(?:encoder|decoder)/")


def per_layer(tx: optax.GradientTransformation) -> optax.GradientTransformation:
    """Applies `tx` to each layer of stacked parameters as if they were not stacked.

    For what looks at a parameter as a whole: its root mean square, its row and column
    means. T5X's Adafactor does the same with its factor dimension BATCH. Heads are
    joined, so that an attention kernel is the matrix that it is without a scan.

    The state of a stack has the layers first and then what `tx` keeps for one layer. A
    tree without stacked layers gets the updates and the state of `tx` itself.

    Args:
      tx: reads no parameter but the one that it updates.
    """

    def init(params):
        return _by_stack(tx, params).init(params)

    def update(updates, state, params=None):
        if params is None:
            raise ValueError("per_layer needs the parameters: update(…, params)")
        return _by_stack(tx, params).update(updates, state, params)

    return optax.GradientTransformation(init, update)


def spans_layers(names: Iterable[str]) -> bool:
    """Whether a state is of an Adafactor over stacked layers without :func:`per_layer`.

    Args:
      names: of the state's arrays, their paths joined by `/`.
    """
    return any(_FACTOR.search(name) and not _STACK.search(name) for name in names)


def _by_stack(tx, params):
    """`tx` over the layers of each stack, and as it is for all else."""
    found = jax.tree_util.tree_flatten_with_path(params)[0]
    layers = layers_of({_name(path): leaf.shape for path, leaf in found})
    if not layers:
        return tx
    # A stack a transformation: the encoder's and the decoder's depths may differ.
    labels = {name: layer.stack.replace("/", "_") for name, layer in layers.items()}
    stacks = sorted(set(labels.values()))
    return optax.partition(
        {_REST: tx} | {stack: _over_layers(tx, layers) for stack in stacks},
        _map(lambda name, _: labels.get(name, _REST), params),
    )


def _over_layers(tx, layers):
    """`tx` mapped over the layers' axis of a tree of stacked parameters."""

    def one_layer(tree):
        return _map(lambda name, x: x.reshape(layers[name].shape), tree)

    def init(params):
        return tx.init(one_layer(params))

    def update(updates, state, params):
        new, state = tx.update(one_layer(updates), state, one_layer(params))
        return jax.tree.map(lambda x, like: x.reshape(like.shape), new, updates), state

    axis = PARAM_SCAN_AXIS
    return optax.GradientTransformation(
        jax.vmap(init, in_axes=axis),
        jax.vmap(update, in_axes=(axis, 0, axis), out_axes=(axis, 0)),
    )


def _map(function, tree):
    """``function(name, leaf)`` for each leaf."""
    return jax.tree_util.tree_map_with_path(
        lambda path, x: function(_name(path), x), tree
    )


def _name(path) -> str:
    return jax.tree_util.keystr(path, simple=True, separator="/")
