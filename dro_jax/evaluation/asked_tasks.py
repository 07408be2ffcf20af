"""What the tasks of a held-out split are asked, and what scores the answers."""

import dataclasses
from typing import NamedTuple

from dro_jax.data.interface import Dataset
from dro_jax.data.prompt_batches import Prompts
from dro_jax.errors import ConfigError
from dro_jax.evaluation.evaluated_run import SampledResponse
from dro_jax.evaluation.prompts import Prompt, as_tokens, split_prompts
from dro_jax.evaluation.sampled_evaluation import SampledEvaluation
from dro_jax.evaluation.scoring import with_rewards
from dro_jax.rewards.interface import Reward
from dro_jax.rewards.task_reward import FunctionReward

# Prompts whose logged responses are scored to learn names: as many as the win rate at
# equal length needs.
_EXAMPLES = 5


class AskedTask(NamedTuple):
    """A task, its prompts as texts and tokens, and what scores the answers."""

    name: str
    prompts: tuple[Prompt, ...]
    tokens: Prompts
    rewards: tuple[Reward, ...]

    def examples(
        self, num_samples: int, *, with_reference: bool, with_value: bool
    ) -> list[SampledResponse]:
        """A few logged responses as if they had been sampled; numbers mean nothing.

        They are scored, which tells of rewards that cannot be used, and of their parts.

        Args:
          num_samples: of each prompt.
          with_reference: whether there is a log π_ref.
          with_value: whether there is a V.
        """
        found = [
            SampledResponse(
                prompt_id=prompt.id,
                sample=sample,
                prompt=prompt.text,
                response=prompt.references[0],
                tokens=1,
                cut=False,
                logprob=-1.0,
                reference_logprob=-1.0 if with_reference else None,
                references=prompt.references,
                value=float(place) if with_value else None,
            )
            for place, prompt in enumerate(self.prompts[:_EXAMPLES])
            for sample in range(num_samples)
        ]
        # Some figures have no value where all rewards are equal.
        return [
            dataclasses.replace(one, rewards=dict.fromkeys(one.rewards, float(place)))
            for place, one in enumerate(with_rewards(found, self.rewards))
        ]


def asked_tasks(settings: SampledEvaluation, dataset: Dataset) -> tuple[AskedTask, ...]:
    """The prompts of a held-out split, by task, with what scores responses to them.

    Raises:
      ConfigError: the data set has no texts.
      DataError: the split cannot be read.
    """
    if not hasattr(dataset, "tasks"):
        raise ConfigError(
            f"sampled_evaluation asks prompts of {dataset.name}, and "
            f"{type(dataset).__name__} has no tasks with texts: give a DatasetConfig as "
            "train.train_eval_dataset_cfg (EVAL_DATASET)"
        )
    tasks = [task for task in dataset.tasks() if dataset.split in task.splits]
    rewards = settings.all_rewards
    asked = [
        (task, split_prompts(task.records(dataset.split), settings.num_prompts))
        for task in tasks
    ]
    # Of some tasks alone it would be another figure than of all.
    by_program = rewards is None and all(task.reward_fn is not None for task in tasks)
    return tuple(
        AskedTask(
            task.name,
            prompts,
            as_tokens(task, prompts, dataset.task_feature_lengths),
            (FunctionReward(task.reward_fn),) if by_program else rewards or (),
        )
        for task, prompts in asked
    )
