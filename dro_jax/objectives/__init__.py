"""Offline alignment objectives: arrays in, one loss per trajectory out.

Functions are usable alone, with any model::

    from dro_jax import objectives
    policy_losses, value_losses = objectives.dro_v(
        policy_logprobs, reference_logprobs, rewards, values, tau=1.0)

Files are private, as in optax: `dro` names the function. Names are resolved on first
use, so importing this package does not import jax.
"""

import importlib

_MODULES = {
    "_dro": ("dro", "dro_v", "dro_p", "DRO", "DROV", "DROP"),
    "_behaviour_cloning": ("nll", "NLL"),
    "interface": ("Losses", "Needs", "Objective", "Trajectories"),
}
_HOME = {name: module for module, names in _MODULES.items() for name in names}

__all__ = list(_HOME)


def __getattr__(name: str):
    if name not in _HOME:
        raise AttributeError(f"dro_jax.objectives has no objective named {name!r}")
    value = getattr(importlib.import_module(f"{__name__}.{_HOME[name]}"), name)
    globals()[name] = value
    return value


def __dir__():
    return __all__
