"""Processes of one run that were started with different settings."""

import os
from typing import Any

from dro_jax.cli.configuration_diff import Configuration
from dro_jax.errors import ConfigError
from dro_jax.training import hosts

_MOST_SHOWN = 20


def check(configuration: str) -> None:
    """Refuses a run whose processes have different settings; paths may differ.

    Args:
      configuration: what `gin.config_str` gives here.

    Raises:
      ConfigError: on all processes, with the settings of the first two that differ.
    """
    if hosts.count() == 1:
        return
    told = hosts.first_says(lambda: configuration)
    differ = hosts.exchange(_differences(told, configuration))
    for process, its in enumerate(differ):
        if its:
            lines = "\n".join(f"  {line}" for line in its[:_MOST_SHOWN])
            more = len(its) - _MOST_SHOWN
            raise ConfigError(
                f"{hosts.name(process)} was started with other settings than "
                f"{hosts.name(0)}. What differs ({hosts.name(0)} → "
                f"{hosts.name(process)}):\n{lines}"
                + (f"\n  and {more} more" if more > 0 else "")
                + "\nGive "
                "all processes the same files and flags"
            )


def _differences(one: str, other: str) -> list[str]:
    if one == other:
        return []
    a, b = (Configuration.parse(text, "the configuration") for text in (one, other))
    found = []
    for ours, theirs in ((a.macros, b.macros), (a.bindings, b.bindings)):
        for name in sorted({**ours, **theirs}):
            was, now = ours.get(name, "not set"), theirs.get(name, "not set")
            if repr(was) != repr(now) and not (_is_path(was) and _is_path(now)):
                found.append(f"{name}: {was!r} → {now!r}")
    return found


def _is_path(value: Any) -> bool:
    return isinstance(value, str) and os.sep in value
