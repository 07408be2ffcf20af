"""The tree of a T5X train state, which both of its checkpoint formats hold."""

import collections
from collections.abc import Mapping
from typing import Any

from dro_jax.errors import CheckpointError
from dro_jax.interop.network_shape import config_from_shapes
from dro_jax.interop.stored_model import Format, Leaf, Leaves, StoredModel
from dro_jax.models.reward_network import REWARD
from dro_jax.plurals import counted

STEP = "state/step"
_TARGET = "target/"
_VALUE = "target/value/"
_REWARD = f"{REWARD}/"
_REFERENCE = "flax_mutables/reference/"
_REASONS = {
    "state": "the optimiser's state: a run from this checkpoint starts it afresh",
    "flax_mutables": "a collection of the T5X model that dro_jax has no use for",
}


def stored_model(leaves: Mapping[str, Leaf], path: str, format: Format) -> StoredModel:
    """Sorts the arrays of a train state.

    Args:
      leaves: by `/`-joined name from the root, `target/encoder/…`.
      path: of the checkpoint's folder, for messages.
      format: how it is stored.

    Raises:
      CheckpointError: the policy is not that of a T5, or a reward model is in its place.
    """
    target = _under(leaves, _TARGET)
    if any(name.startswith(_REWARD) for name in target):
        raise CheckpointError(
            f"{path} holds a reward model (`dro-jax train` with reward_regression or "
            "bradley_terry), which has no decoder and is no policy: it scores responses "
            "(REWARD_MODEL_DIR of gin_configs/rewards/reward_model.gin)"
        )
    value = _under(target, "value/")
    policy = {name: x for name, x in target.items() if not name.startswith("value/")}
    reference = _under(leaves, _REFERENCE)
    rest = [
        name
        for name in leaves
        if not name.startswith((_TARGET, _REFERENCE)) and name != STEP
    ]
    shapes = {name: leaf.shape for name, leaf in policy.items()}
    return StoredModel(
        format=format,
        path=path,
        config=config_from_shapes(shapes, f"the policy in {path}"),
        policy=policy,
        value=value,
        reference=reference,
        step=int(leaves[STEP].read()) if STEP in leaves else 0,
        value_config=_value_config(value),
        ignored=_ignored(rest),
    )


def leaves(stored: StoredModel) -> dict[str, Leaf]:
    """The arrays of a model by their names in a train state."""
    parts = {
        _TARGET: stored.policy,
        _VALUE: stored.value,
        _REFERENCE: stored.reference,
    }
    return {
        f"{prefix}{name}": leaf
        for prefix, part in parts.items()
        for name, leaf in part.items()
    }


def first_line(error: Exception) -> str:
    """What an error of a library says, short enough for a message."""
    text = str(error).strip() or type(error).__name__
    return text.splitlines()[0][:300]


def _under(leaves: Mapping[str, Leaf], prefix: str) -> dict[str, Leaf]:
    return {
        name.removeprefix(prefix): leaf
        for name, leaf in leaves.items()
        if name.startswith(prefix)
    }


def _value_config(value: Leaves) -> dict[str, Any]:
    """The settings of a value estimate that the names of its parameters show."""
    if not value:
        return {}
    if all(name.startswith("head/") for name in value):
        return {"network": "shared_head"}
    if any(name.startswith("decoder/") for name in value):
        return {"network": "separate"}
    return {"network": "separate", "readout": "encoder_pool"}


def _ignored(names: list[str]) -> dict[str, str]:
    groups = collections.Counter("/".join(name.split("/")[:2]) for name in names)
    return {
        f"{group}/… ({counted(count, 'tensor')})": _REASONS.get(
            group.split("/")[0], "not part of a model that dro_jax knows"
        )
        for group, count in groups.items()
    }
