"""HelpSteer2: responses with five attributes that people marked from 0 to 4.

- `helpsteer2`: NVIDIA's files, two responses to a prompt. The reward is `helpfulness`;
  `reward_field` may name another: `correctness`, `coherence`, `complexity` or `verbosity`.
  Rewards are normalised to mean 0 and variance 1 over the split `train`.

The splits `train` and `validation` are those that are published. A prompt may hold
earlier turns, behind `<extra_id_1>`.

Files, in the folder that the environment variable `DRO_JAX_DATA` names: `helpsteer2/` with
`train.jsonl.gz` and `validation.jsonl.gz`, or Parquet files whose names begin so.

Source: Wang et al. 2024 (arXiv 2406.08673).
"""

from typing import Any

from dro_jax.data.layouts import find_layout
from dro_jax.data.record_source import RecordSource
from dro_jax.tasks.published import PublishedTask, published_files, task_of_run

_LAYOUT = find_layout("helpsteer2")
_ADVICE = (
    "copy train.jsonl.gz and validation.jsonl.gz of "
    "https://huggingface.co/datasets/nvidia/HelpSteer2 into the folder helpsteer2."
)


def _source() -> RecordSource:
    files = {split: f"helpsteer2/{split}*" for split in ("train", "validation")}
    return _LAYOUT.source(published_files(files, _ADVICE))


TASKS = {
    "helpsteer2": PublishedTask(
        "helpsteer2",
        "Responses with people's marks for helpfulness and four other attributes.",
        _source,
        {**_LAYOUT.settings, "reward_transform": "normalize"},
    )
}
for _task in TASKS.values():
    _task.register()


def helpsteer2_task(task: str = "helpsteer2", **settings: Any) -> str:
    """The name of the task with a run's settings.

    Args:
      task: `helpsteer2`.
      **settings: those of `dro_jax.tasks.published.task_of_run`, as `reward_field`.

    Raises:
      ConfigError: as there.
    """
    return task_of_run(TASKS, "helpsteer2_task", task, **settings)
