"""The network that stored parameters are of, told from their names and shapes."""

import dataclasses
import functools
import re
from collections.abc import Mapping

import jax
import jax.numpy as jnp
from flax.traverse_util import flatten_dict

from dro_jax.errors import CheckpointError, ConfigError
from dro_jax.models import layer_stacking
from dro_jax.models.t5 import T5
from dro_jax.models.t5_config import T5Config

Shapes = Mapping[str, tuple[int, ...]]
_SHOWN = 5
_MOST_LAYERS = 1000


def parameter_shapes(config: T5Config) -> dict[str, tuple[int, ...]]:
    """The shape of each parameter of a policy, by T5X's name, in the config's layout."""
    one_layer = dataclasses.replace(
        config, num_encoder_layers=1, num_decoder_layers=1, scan_layers=False
    )
    num_layers = {
        "encoder": config.num_encoder_layers,
        "decoder": config.num_decoder_layers,
    }
    shapes = {}
    for name, shape in _traced_shapes(one_layer).items():
        stack, _, rest = name.partition("/layers_0/")
        for i in range(num_layers[stack] if rest else 1):
            shapes[f"{stack}/layers_{i}/{rest}" if rest else name] = shape
    if not config.scan_layers:
        return shapes
    plan = layer_stacking.stacking(shapes)
    used = {source for entry in plan.values() for source in entry.sources}
    kept = {name: shape for name, shape in shapes.items() if name not in used}
    return kept | {name: entry.shape for name, entry in plan.items()}


@functools.lru_cache(maxsize=8)
def _traced_shapes(config: T5Config) -> dict[str, tuple[int, ...]]:
    tokens = jnp.ones((1, 2), jnp.int32)
    params = jax.eval_shape(
        lambda key: T5(config).init(key, tokens, tokens, tokens)["params"],
        jax.random.key(0),
    )
    return {name: x.shape for name, x in flatten_dict(params, sep="/").items()}


def config_from_shapes(shapes: Shapes, where: str = "the checkpoint") -> T5Config:
    """The configuration of a policy; what shapes do not show has its default.

    One branch in the feed-forward layers is taken for T5 1.0's ReLU, two for T5 1.1's
    gated GELU.

    Args:
      shapes: of the policy's parameters by name, in either of T5X's layouts.
      where: what holds them, for the message.

    Raises:
      CheckpointError: they are not a T5's; names what is missing, extra or misshapen.
    """
    scanned = layer_stacking.is_stacked(shapes)

    def size(name: str, axis: int, rank: int) -> int:
        # What is missing or misshapen counts as 1: the comparison below tells of it.
        shape = shapes.get(name, ())
        return max(shape[axis], 1) if len(shape) == rank else 1

    def num_layers(stack: str) -> int:
        found = re.findall(rf"(?m)^{stack}/layers_(\d+)/", "\n".join(shapes))
        count = (
            size(f"{stack}/{stack}/pre_mlp_layer_norm/scale", 1, 2)
            if scanned
            else max(map(int, found), default=0) + 1
        )
        return min(count, _MOST_LAYERS)

    layer = "encoder/encoder" if scanned else "encoder/layers_0"
    if scanned:
        num_heads = size(f"{layer}/attention/query/kernel", 2, 4)
        head_dim = size(f"{layer}/attention/query/kernel", 3, 4)
    else:
        num_heads = size("encoder/relpos_bias/rel_embedding", 0, 2)
        joined = size(f"{layer}/attention/query/kernel", 1, 2)
        head_dim = max(joined // num_heads, 1)
    try:
        config = T5Config(
            vocab_size=size("token_embedder/embedding", 0, 2),
            emb_dim=size("encoder/encoder_norm/scale", 0, 1),
            num_heads=num_heads,
            head_dim=head_dim,
            num_encoder_layers=num_layers("encoder"),
            num_decoder_layers=num_layers("decoder"),
            mlp_dim=size(f"{layer}/mlp/wo/kernel", 0, 3 if scanned else 2),
            mlp_activations=("gelu", "linear")
            if f"{layer}/mlp/wi_0/kernel" in shapes
            else ("relu",),
            logits_via_embedding="decoder/logits_dense/kernel" not in shapes,
            scan_layers=scanned,
        )
        problems = differences(parameter_shapes(config), shapes, "a T5 of its sizes")
    except ConfigError as error:
        raise CheckpointError(f"{where} holds no T5: {error}") from error
    if problems:
        raise CheckpointError(
            f"{where} does not look like a T5 as T5X names it: {problems}. Take a "
            "checkpoint of a T5 1.0 or 1.1, or of a model of that architecture"
        )
    return config


def differences(wanted: Shapes, found: Shapes, who: str) -> str:
    """How found parameters differ from those wanted; empty where they do not.

    Args:
      wanted: shapes by name.
      found: shapes by name.
      who: wants them, for the text.
    """
    problems = [f"missing {name}" for name in wanted if name not in found]
    problems += [f"unexpected {name}" for name in found if name not in wanted]
    problems += [
        f"{name} has shape {tuple(found[name])}, {who} needs {tuple(shape)}"
        for name, shape in wanted.items()
        if name in found and tuple(found[name]) != tuple(shape)
    ]
    more = len(problems) - _SHOWN
    shown = "; ".join(problems[:_SHOWN])
    return f"{shown}; and {more} more" if more > 0 else shown
