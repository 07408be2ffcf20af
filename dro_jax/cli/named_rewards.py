"""The rewards that gin files name."""

from dro_jax.cli import gin_setup
from dro_jax.errors import ConfigError
from dro_jax.rewards.interface import Reward

MACRO = "REWARD"
SUGGESTED = "--gin_file=gin_configs/rewards/….gin (docs/rewards.md)"


def named_rewards() -> list[Reward]:
    """Those that `REWARD` is, one or several, the one that counts first; maybe none.

    Raises:
      ConfigError: it is something else, or two have one name.
    """
    found = gin_setup.macro(MACRO, default=None)
    if found is None:
        return []
    rewards = list(found) if isinstance(found, list | tuple) else [found]
    for reward in rewards:
        if not callable(reward) or not isinstance(getattr(reward, "name", None), str):
            raise ConfigError(
                f"{MACRO} = {reward!r:.80} is no reward: set it by {SUGGESTED}, or to "
                "one as @rewards.Length() is"
            )
    names = [reward.name for reward in rewards]
    for name in names:
        if names.count(name) > 1:
            raise ConfigError(
                f"{MACRO} has two rewards called {name!r}: give each a name of its own"
            )
    return rewards
