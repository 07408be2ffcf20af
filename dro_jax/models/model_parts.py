"""Which parts a model has beside its objective, and that they fit it."""

from dro_jax.errors import ConfigError
from dro_jax.models.reward_network import RewardConfig
from dro_jax.models.value import ValueConfig
from dro_jax.objectives.interface import Objective

# All that can be had of a reward model, which has no policy, and of what is beside it.
_WITH_SCORES = ("scores", "groups", "split_rewards")


def check_objective(objective: Objective) -> None:
    """Refuses what is no objective.

    Raises:
      ConfigError: it is none, or needs both a policy and a reward model.
    """
    if not isinstance(objective, Objective):
        raise ConfigError(
            f"FeedbackModel.objective is {objective!r}, which is no objective: "
            "name one of dro_jax.objectives (gin: include a file of "
            "gin_configs/objectives), or derive your own from "
            "dro_jax.objectives.Objective"
        )
    needs = objective.needs
    others = [n for n, x in vars(needs).items() if x and n not in _WITH_SCORES]
    if needs.scores and others:
        raise ConfigError(
            f"{type(objective).__name__} trains a reward model (needs.scores), which has "
            f"no {', '.join(others)}: remove them from its needs"
        )


def value_of(objective: Objective, value: ValueConfig | None) -> ValueConfig | None:
    """The value estimate of a model.

    Raises:
      ConfigError: one is set that the objective does not use, or cannot.
    """
    if objective.needs.token_values:
        value = value or ValueConfig(granularity="token")
        if not value.per_token:
            raise ConfigError(
                f"{type(objective).__name__} reads a value at each token, and "
                f"FeedbackModel.value has granularity = {value.granularity!r}: set "
                "ValueConfig.granularity = 'token'"
            )
    if objective.needs.logits_value:
        value = value or ValueConfig(network="policy_logits")
        if value != ValueConfig(network="policy_logits"):
            raise ConfigError(
                f"{type(objective).__name__} takes the policy's own logits for its value, "
                f"and FeedbackModel.value has network = {value.network!r} and granularity "
                f"= {value.granularity!r}: set ValueConfig.network = 'policy_logits' and "
                "leave the others out (gin: or VALUE = None)"
            )
    if objective.needs.value:
        return value or ValueConfig()
    if value is not None:
        raise ConfigError(
            f"{type(objective).__name__} uses no value estimate, but "
            "FeedbackModel.value is set: remove it (gin: VALUE = None) or choose "
            "an objective that uses one, such as DROV"
        )
    return None


def reward_of(objective: Objective, reward: RewardConfig | None) -> RewardConfig | None:
    """How scores are read where the model is a reward model; None where it is a policy.

    Raises:
      ConfigError: it is set, and the objective trains a policy.
    """
    if objective.needs.scores:
        return reward or RewardConfig()
    if reward is not None:
        raise ConfigError(
            f"{type(objective).__name__} trains a policy, but FeedbackModel.reward is "
            "set, which belongs to a reward model: remove it, or choose an objective "
            "that trains one, such as RewardRegression"
        )
    return None
