"""Rewards of sampled responses, on the scale of the rewards that training sees."""

import math
from collections.abc import Sequence

import numpy as np

from dro_jax.data.different_prompts import DifferentPrompts
from dro_jax.data.tasks import FeedbackTask
from dro_jax.errors import ConfigError, DataError
from dro_jax.rewards.interface import Reward
from dro_jax.rewards.task_reward import FunctionReward


class SampleRewards:
    """What responses to a split's prompts are worth.

    A score passes through its task's `reward_transform` as a recorded reward does, the
    statistics being those of the train split: ``scale · transform(score) + shift``.

    Args:
      prompts: of the split.
      reward: scores responses; None, each task's own program.
      scale, shift: bring scores of other units to those of the log's rewards.

    Raises:
      ConfigError: there is neither a reward nor a program.
    """

    def __init__(
        self,
        prompts: DifferentPrompts,
        reward: Reward | None,
        *,
        scale: float = 1.0,
        shift: float = 0.0,
    ):
        self._prompts, self._scale, self._shift = prompts, scale, shift
        self._rewards = _rewards_of(prompts.records.tasks, reward)

    def __call__(self, places: np.ndarray, responses: Sequence[str]) -> np.ndarray:
        """``[R]`` float32 rewards of responses, as training reads them.

        Args:
          places: ``[R]`` the prompts' places among all.
          responses: texts.

        Raises:
          DataError: a score is not finite, or the transform makes it so.
        """
        prompts = self._prompts.texts(places)
        found = np.empty(len(places), np.float32)
        for task, own in self._prompts.by_task(places):
            reward = self._rewards[task.name]
            asked = [prompts[i] for i in own], [responses[i] for i in own]
            try:
                scores = reward(*asked).total
            except DataError as error:
                raise DataError(f"reward '{reward.name}': {error}") from error
            found[own] = task.source.on_training_scale(scores)
        return found * np.float32(self._scale) + np.float32(self._shift)


def check_units(owner: str, scale: float, shift: float) -> None:
    """Refuses a scale and shift of rewards that cannot be.

    Args:
      owner: whose settings they are, for the message.
      scale, shift: as of :class:`SampleRewards`.

    Raises:
      ConfigError: they are no finite numbers, or would turn better into worse.
    """
    if not (scale > 0 and math.isfinite(scale)):
        raise ConfigError(
            f"{owner}.scale = {scale}: give a number above 0, which keeps the better of "
            "two responses the better"
        )
    if not math.isfinite(shift):
        raise ConfigError(f"{owner}.shift = {shift}: give a finite number")


def reward_facts(
    tasks: Sequence[FeedbackTask], reward: Reward | None
) -> dict[str, str]:
    """What rewards of responses depend on beside prompts and responses, by name.

    Raises:
      ConfigError: there is neither a reward nor a program.
    """
    found = _rewards_of(tasks, reward)
    facts = {f"reward of {task.name}": found[task.name].fingerprint for task in tasks}
    return facts | {
        f"reward_transform of {task.name}": task.source.transform_digest()
        for task in tasks
    }


def _rewards_of(
    tasks: Sequence[FeedbackTask], reward: Reward | None
) -> dict[str, Reward]:
    for task in tasks:
        if reward is None and task.reward_fn is None:
            raise ConfigError(
                f"no program knows the reward of task '{task.name}', so sampled responses "
                "need one that scores them: set REWARD, as the files of "
                "gin_configs/rewards do"
            )
    return {task.name: reward or FunctionReward(task.reward_fn) for task in tasks}
