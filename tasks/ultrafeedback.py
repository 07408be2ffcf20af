"""UltraFeedback: the DRO paper's task, each completion of an instruction one trajectory.

- `ultrafeedback`: openbmb's files, four completions of different models to an
  instruction, rated by GPT-4. The reward is `overall_score`, 1 to 10; `reward_field` may
  name another: `fine-grained_score`, the mean of the aspects, or an aspect's rating, 1 to 5,
  `helpfulness`, `honesty`, `instruction_following`, `truthfulness`. Rewards are
  normalised to mean 0 and variance 1 over the split `train`, as the paper does.

The files come as one split. One instruction in fifty is for validation, by a hash of its
text, the same ones always, with all its completions. Completions without a score are left
out, counted and listed.

Files, in the folder that the environment variable `DRO_JAX_DATA` names: `ultrafeedback/`
with the published ones, JSONL or Parquet.

Sources: Cui et al. 2023 (arXiv 2310.01377) for the data; Richemond et al. 2024 (arXiv
2405.19107) for single trajectories and normalised rewards.
"""

from typing import Any

from dro_jax.data.hashed_splits import split_by_text
from dro_jax.data.layouts import find_layout
from dro_jax.data.record_source import RecordSource
from dro_jax.tasks.published import PublishedTask, published_files, task_of_run

_LAYOUT = find_layout("ultrafeedback")
_ADVICE = (
    "copy the files of https://huggingface.co/datasets/openbmb/UltraFeedback "
    "(evol_instruct.jsonl, false_qa.jsonl, flan.jsonl, …) into the folder ultrafeedback."
)
_ONE_IN = 50


def _instruction(fields: Any) -> Any:
    return fields.get("instruction")


def _source() -> RecordSource:
    stored = published_files({"all": "ultrafeedback"}, _ADVICE)
    return split_by_text(_LAYOUT.source(stored), _instruction, _ONE_IN)


TASKS = {
    "ultrafeedback": PublishedTask(
        "ultrafeedback",
        "Answers of language models to instructions, each with GPT-4's score.",
        _source,
        {**_LAYOUT.settings, "reward_transform": "normalize"},
    )
}
for _task in TASKS.values():
    _task.register()


def ultrafeedback_task(task: str = "ultrafeedback", **settings: Any) -> str:
    """The name of the task with a run's settings.

    Args:
      task: `ultrafeedback`.
      **settings: those of `dro_jax.tasks.published.task_of_run`, as `reward_field`.

    Raises:
      ConfigError: as there.
    """
    return task_of_run(TASKS, "ultrafeedback_task", task, **settings)
