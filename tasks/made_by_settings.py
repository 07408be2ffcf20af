"""Tasks that are made of a run's settings, where gin asks for their name anew each time."""

from collections.abc import Callable, Mapping
from typing import Any

from dro_jax.data import registry
from dro_jax.errors import ConfigError

_made: dict[str, tuple[str, Mapping[str, Any]]] = {}


def made_once(
    name: str, kind: str, settings: Mapping[str, Any], register: Callable[[], Any]
) -> str:
    """The name of a task, registered by the first call.

    Args:
      name: the task's.
      kind: the function that gin names, for messages.
      settings: that the task is made of.
      register: makes it.

    Raises:
      ConfigError: the name was registered with other settings; what `register` raises.
    """
    # One that was taken out of the registry leaves its name to another.
    if name not in _made or name not in registry.task_names():
        register()
        _made[name] = kind, settings
    elif _made[name][0] != kind or not _are_same(_made[name][1], settings):
        raise ConfigError(
            f"task '{name}' was registered with other settings in this process: set "
            f"{kind}.name to another name"
        )
    return name


def _are_same(first: Mapping[str, Any], second: Mapping[str, Any]) -> bool:
    return first.keys() == second.keys() and all(
        first[name] == second[name] or _fingerprints_agree(first[name], second[name])
        for name in first
    )


def _fingerprints_agree(first: Any, second: Any) -> bool:
    """Whether two things are one reward: gin makes it anew for each who asks."""
    own = getattr(first, "fingerprint", None)
    return own is not None and own == getattr(second, "fingerprint", None)
