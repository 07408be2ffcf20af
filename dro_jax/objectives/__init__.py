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
    "_behaviour_cloning": (
        "nll",
        "weighted_bc",
        "r_gold",
        "awr",
        "NLL",
        "WeightedBC",
        "RGold",
        "AWR",
    ),
    "_a_lol": (
        "r_lol",
        "a_lol",
        "a_lol_ref_free",
        "a_lol_seq",
        "a_lol_kl",
        "RLoL",
        "ALoL",
        "ALoLRefFree",
        "ALoLSeq",
        "ALoLKL",
    ),
    "_signed_rewards": ("RewardWeighted",),
    "_bco": ("bco", "bco_shift", "BCO"),
    "_kto": ("kto", "mismatched_kl", "kto_weights", "KTO"),
    "_unpaired": (
        "una",
        "apo_zero",
        "desirable_labels",
        "UNA",
        "APOZero",
        "Labelled",
    ),
    "_policy_gradient": ("topr", "pmpo", "TOPR", "PMPO"),
    "_regression": (
        "rpo",
        "rpo_prompt_values",
        "qrpo",
        "qrpo_log_partition",
        "quantiles",
        "RPO",
        "QRPO",
    ),
    "_paired": ("dpo", "ipo", "DPO", "IPO"),
    "_ranked": ("pro", "PRO"),
    "_ppo": (
        "ppo_clip",
        "ppo_value",
        "ppo_token_rewards",
        "generalized_advantages",
        "whiten",
    ),
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
