"""Offline alignment objectives: arrays in, one loss per trajectory out.

Functions are usable alone, with any model::

    from dro_jax import objectives
    policy_losses, value_losses = objectives.dro_v(
        policy_logprobs, reference_logprobs, rewards, values, tau=1.0)

Files are private, as in optax, a family each: `dro` names the function. What a file
exports is its `__all__`; a new file is one line here.
"""

# ruff: noqa: I001  Names are listed once, in their files; families as in the docs.
from dro_jax.objectives._dro import *
from dro_jax.objectives._dro_group import *
from dro_jax.objectives._behaviour_cloning import *
from dro_jax.objectives._signed_rewards import *
from dro_jax.objectives._r_lol import *
from dro_jax.objectives._a_lol import *
from dro_jax.objectives._unpaired import *
from dro_jax.objectives._kto import *
from dro_jax.objectives._bco import *
from dro_jax.objectives._policy_gradient import *
from dro_jax.objectives._asym_re import *
from dro_jax.objectives._prompt_values import *
from dro_jax.objectives._rpo import *
from dro_jax.objectives._a_star_po import *
from dro_jax.objectives._qrpo import *
from dro_jax.objectives._soft_q import *
from dro_jax.objectives._paired import *
from dro_jax.objectives._length_averaged import *
from dro_jax.objectives._ranked import *
from dro_jax.objectives._nca import *
from dro_jax.objectives._advantages import *
from dro_jax.objectives._ppo_losses import *
from dro_jax.objectives._ppo import *
from dro_jax.objectives._reward_model import *
from dro_jax.objectives.interface import Losses as Losses
from dro_jax.objectives.interface import Needs as Needs
from dro_jax.objectives.interface import Objective as Objective
from dro_jax.objectives.interface import Rollouts as Rollouts
from dro_jax.objectives.interface import Trajectories as Trajectories
from dro_jax.objectives.theory import Theory as Theory
