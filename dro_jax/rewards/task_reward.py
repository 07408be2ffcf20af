"""The true reward of a task whose program knows it."""

import dataclasses
import functools
from collections.abc import Callable, Sequence
from typing import Any

import numpy as np

from dro_jax.errors import ConfigError
from dro_jax.rewards.fingerprints import fingerprint
from dro_jax.rewards.interface import Scores

RewardFn = Callable[[str, str], float]
TRUE_REWARD = "true_reward"


@dataclasses.dataclass(frozen=True)
class FunctionReward:
    """A function of prompt and response.

    Attributes:
      function: gives a finite number.
      name: what tables call it.
    """

    function: RewardFn
    name: str = TRUE_REWARD

    @property
    def fingerprint(self) -> str:
        return fingerprint("FunctionReward", _code(self.function))

    def __call__(self, prompts: Sequence[str], responses: Sequence[str]) -> Scores:
        pairs = zip(prompts, responses, strict=True)
        return Scores(np.array([self.function(*pair) for pair in pairs], np.float64))


@dataclasses.dataclass(frozen=True)
class TaskReward:
    """The true reward of a feedback task that has a `reward_fn`.

    Attributes:
      task: a task's name, or that of a mixture whose tasks have the same.
      module: what registers it; a name or several.
      name: what tables call it.

    Raises (when called):
      ConfigError: there is no such task, or no program knows its reward.
    """

    task: str
    module: str | Sequence[str] | None = None
    name: str = TRUE_REWARD

    @property
    def fingerprint(self) -> str:
        return self._reward().fingerprint

    def __call__(self, prompts: Sequence[str], responses: Sequence[str]) -> Scores:
        return self._reward()(prompts, responses)

    def _reward(self) -> FunctionReward:
        # Imported late: other rewards need nothing of data.
        from dro_jax.data.mixtures import tasks_and_rates
        from dro_jax.data.modules import import_modules

        import_modules(self.module, "TaskReward.module")
        tasks = [task for task, _ in tasks_and_rates(self.task, self.module)]
        functions = {task.reward_fn for task in tasks}
        if len(functions) > 1 or None in functions:
            without = [task.name for task in tasks if task.reward_fn is None]
            raise ConfigError(
                f"no program knows the true reward of '{self.task}'"
                + (f" (task {', '.join(without)})" if len(tasks) > 1 else "")
                + ": register the task with reward_fn=…, or use another reward, as "
                "gin_configs/rewards/ has them"
            )
        (function,) = functions
        return FunctionReward(function, self.name)


def _code(function: Any) -> Any:
    """What tells a function from a later version of it."""
    from dro_jax.data.store.code_digest import Unknown, code_of

    try:
        return code_of(function)
    except Unknown:
        if isinstance(function, functools.partial):
            function = function.func
        # By name alone: it is told from others, not from its own next version.
        return [function.__module__, getattr(function, "__qualname__", repr(function))]
